/* SPDX-License-Identifier: MIT
 *
 * poise/adapters/cares.h - a c-ares channel on a poise queue (tried: 1.18.1, 1.34.8). poise/resolve.h is the smaller
 * choice for addresses, and the one that also works where there is no c-ares; this is for all that c-ares can do (MX,
 * SRV, TXT ...).
 *
 *     poise_cares cares = { 0 };
 *     int result = poise_cares_init(queue, &cares, NULL, 0);       // after ares_library_init
 *     ares_getaddrinfo(cares.channel, "example.org", "80", &hints, on_answer, NULL);
 *     ... poise_run(queue, &stop);
 *
 * From then on c-ares's own calls on cares.channel serve; nothing has to be said when a query is started. Time-outs are
 * c-ares's own (ARES_OPT_TIMEOUTMS, ARES_OPT_TRIES); one may be late by up to a second where queries share a socket.
 * While a socket of c-ares is open, a timer runs each second at least; when there is no query, none is (but
 * ARES_FLAG_STAYOPEN's).
 *
 * Lifetime: the caller's storage, all zero before; unmoved until poise_cares_close; the queue must outlive it. In
 * c-ares's callbacks all that is the caller's may be freed; the channel may not be destroyed there, says c-ares:
 * poise_cares_close is -EBUSY. Nor is ares_cancel safe there (1.18 frees a query twice), or anywhere else if a callback
 * dispatches: poise_cares_cancel is. Closing
 * calls the callbacks that are left, with ARES_EDESTRUCTION, before it returns. For each socket of c-ares a small block
 * is allocated. The channel must not be one with ARES_OPT_EVENT_THREAD.
 *
 * Nested: a callback may call poise_dispatch. The channel stands still until it returns; all else is served. That, and
 * -EBUSY, is so for callbacks that come from the loop or from poise_cares_close. A query that is answered at once calls
 * back out of the program's own ares_query or ares_getaddrinfo: there neither dispatch nor close.
 *
 * Errors: as the status of each query's callback. poise_watch or poise_timer_start has failed (-ENOMEM, say): `error`
 * is that, and all queries end with ARES_ECANCELLED. The channel may be used further.
 *
 * All calls belong to the thread that waits. */
#ifndef POISE_ADAPTERS_CARES_H
#define POISE_ADAPTERS_CARES_H

#include <poise/loop.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h> /* which ares.h itself forgets */
#include <sys/time.h>

#include <ares.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct poise_cares_socket poise_cares_socket;

typedef struct poise_cares {
    ares_channel channel; /* NULL: none */
    int error;            /* of poise; 0: none */

    poise_handler handler; /* poise's own, from here on */
    poise *queue;
    poise_timer timer;
    poise_waker cancel; /* c-ares's hook returns nothing: what fails there is told from the loop */
    poise_cares_socket *sockets;
    bool inside;     /* c-ares is being called, and can't be entered again */
    uint32_t nested; /* what has come meanwhile; sockets are then paused */
} poise_cares;

struct poise_cares_socket {
    poise_handler handler; /* the first member */
    poise_cares *cares;
    poise_cares_socket *next;
    ares_socket_t fd;
    uint32_t interest;
};

static inline void poise_cares__check(poise_cares *cares, int result)
{
    if (result < 0) {
        cares->error = result;
        poise_wake(&cares->cancel);
    }
}

static inline void poise_cares__watch(poise_cares_socket *socket, uint32_t interest)
{
    poise_cares *cares = socket->cares;
    poise_cares__check(cares, poise_watch(cares->queue, poise_fd((int)socket->fd), interest, &socket->handler));
}

static inline void poise_cares__start(poise_cares *cares, uint64_t after_ns)
{
    poise_cares__check(cares, poise_timer_start(cares->queue, &cares->timer, poise_now() + after_ns, &cares->handler));
}

/* Lets c-ares work on a socket (or ARES_SOCKET_BAD: on its time-outs), and asks it when it has to next. */
static inline void poise_cares__process(poise_cares *cares, ares_socket_t read_fd, ares_socket_t write_fd)
{
    cares->inside = true;
    ares_process_fd(cares->channel, read_fd, write_fd);
    if (cares->nested & POISE_WAKE)
        ares_cancel(cares->channel);
    cares->inside = false;
    if (cares->nested != 0) {
        cares->nested = 0;
        for (poise_cares_socket *socket = cares->sockets; socket != NULL; socket = socket->next)
            poise_cares__watch(socket, socket->interest);
    }
    if (cares->sockets != NULL) {
        struct timeval most = { 1, 0 }, after; /* a query that is started on an open socket says nothing */
        struct timeval *next = ares_timeout(cares->channel, &most, &after);
        poise_cares__start(cares, (uint64_t)next->tv_sec * 1000000000 + (uint64_t)next->tv_usec * 1000);
    } else {
        (void)poise_timer_stop(cares->queue, &cares->timer);
    }
}

static inline void poise_cares__ready(poise_handler *handler, poise *queue, const poise_event *event)
{
    poise_cares_socket *socket = (poise_cares_socket *)(void *)handler;
    (void)queue;
    if (socket->cares->inside) {
        socket->cares->nested |= event->ready;
        poise_cares__watch(socket, 0);
        return;
    }
    poise_cares__process(socket->cares, event->ready & POISE_READABLE ? socket->fd : ARES_SOCKET_BAD,
                         event->ready & POISE_WRITABLE ? socket->fd : ARES_SOCKET_BAD);
}

static inline void poise_cares__call(poise_handler *handler, poise *queue, const poise_event *event)
{
    poise_cares *cares = (poise_cares *)(void *)((char *)handler - offsetof(poise_cares, handler));
    (void)queue;
    cares->nested |= cares->inside ? event->ready : event->ready & POISE_WAKE;
    if (!cares->inside)
        poise_cares__process(cares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

/* c-ares's hook: what to watch. Neither: the socket is about to be closed. */
static inline void poise_cares__state(void *data, ares_socket_t fd, int readable, int writable)
{
    poise_cares *cares = (poise_cares *)data;
    poise_cares_socket **at = &cares->sockets;
    while (*at != NULL && (*at)->fd != fd)
        at = &(*at)->next;
    poise_cares_socket *socket = *at;
    if (!readable && !writable) {
        if (socket == NULL)
            return;
        *at = socket->next;
        (void)poise_unwatch(cares->queue, poise_fd((int)fd));
        free(socket);
        return;
    }
    if (socket == NULL) {
        socket = (poise_cares_socket *)calloc(1, sizeof *socket);
        if (socket == NULL) {
            poise_cares__check(cares, -ENOMEM);
            return;
        }
        socket->handler.call = poise_cares__ready;
        socket->cares = cares;
        socket->fd = fd;
        socket->next = cares->sockets;
        cares->sockets = socket;
        if (!cares->inside)
            poise_cares__start(cares, 0); /* to ask for the time-out when the query has been sent */
    }
    socket->interest = (readable ? (uint32_t)POISE_READABLE : 0) | (writable ? (uint32_t)POISE_WRITABLE : 0);
    poise_cares__watch(socket, socket->interest);
}

/* Makes a channel on a queue: ares_init_options with these options (NULL: none) and their mask, and the hook added. 0:
 * it is cares->channel; > 0: a status of c-ares (ares_strerror), such as ARES_EFILE or ARES_ENOTINITIALIZED; < 0:
 * -EINVAL: NULL, or ARES_OPT_SOCK_STATE_CB in the mask; -EBUSY: cares has a channel; -ENOMEM, or another error of
 * poise_waker_open. */
static inline int poise_cares_init(poise *queue, poise_cares *cares, const struct ares_options *options, int mask)
{
    if (queue == NULL || cares == NULL || (mask & ARES_OPT_SOCK_STATE_CB) != 0 || (options == NULL && mask != 0))
        return -EINVAL;
    if (cares->channel != NULL)
        return -EBUSY;
    struct ares_options own;
    memset(&own, 0, sizeof own);
    if (options != NULL)
        own = *options;
    own.sock_state_cb = poise_cares__state;
    own.sock_state_cb_data = cares;
    cares->handler.call = poise_cares__call;
    cares->queue = queue;
    cares->error = 0;
    int result = poise_waker_open(queue, &cares->cancel, &cares->handler);
    if (result < 0)
        return result;
    result = ares_init_options(&cares->channel, &own, mask | ARES_OPT_SOCK_STATE_CB);
    if (result != ARES_SUCCESS) {
        cares->channel = NULL;
        poise_waker_close(&cares->cancel);
    }
    return result;
}

/* Ends all queries with ARES_ECANCELLED, from the loop: not before this returns. At any time. No channel: nothing. */
static inline void poise_cares_cancel(poise_cares *cares)
{
    if (cares != NULL && cares->channel != NULL)
        poise_wake(&cares->cancel);
}

/* Destroys the channel. Queries that run end with ARES_EDESTRUCTION now, and nothing of it is left in the queue. No
 * channel: nothing. -EBUSY: called in a callback of c-ares; then it is still there. */
static inline int poise_cares_close(poise_cares *cares)
{
    if (cares == NULL || cares->channel == NULL)
        return 0;
    if (cares->inside)
        return -EBUSY;
    cares->inside = true; /* for the callbacks that come now */
    ares_destroy(cares->channel);
    cares->inside = false;
    cares->nested = 0;
    cares->channel = NULL;
    (void)poise_timer_stop(cares->queue, &cares->timer);
    poise_waker_close(&cares->cancel);
    return 0;
}

#ifdef __cplusplus
}
#endif
#endif
