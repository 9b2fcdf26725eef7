/* SPDX-License-Identifier: MIT
 *
 * poise/adapters/curl.h - the multi-socket API of libcurl on a poise queue (tried: 7.88.1, 8.22.0). poise/http.h is
 * the smaller choice, and the one that also works where there is no libcurl; this is for all that libcurl can do.
 *
 *     poise_curl curl = { 0 };
 *     curl.done = on_done;
 *     int result = poise_curl_attach(queue, &curl, multi);
 *     curl_multi_add_handle(multi, easy);
 *     ... poise_run(queue, &stop);
 *
 *     static void on_done(poise_curl *curl, CURL *easy, CURLcode result)
 *     {
 *         curl_multi_remove_handle(curl->multi, easy);
 *         curl_easy_cleanup(easy);
 *     }
 *
 * Transfers may be added at any time, in `done`, too. Don't call curl_multi_perform, ..._wait or ..._poll.
 *
 * Lifetime: the caller's storage, `done` and `data` set by the caller, the rest all zero; unmoved until
 * poise_curl_detach, which comes before curl_multi_cleanup; the queue must outlive it. In `done` all is allowed:
 * curl_multi_remove_handle and curl_easy_cleanup of its own or another transfer, poise_curl_detach, curl_multi_cleanup,
 * freeing the struct. In the callbacks of libcurl itself (CURLOPT_WRITEFUNCTION and the like) libcurl allows none of
 * these; end a transfer there by its return value. For each socket of libcurl a small block is allocated.
 *
 * Nested: a callback of libcurl may call poise_dispatch. The transfers stand still until it returns; all else is
 * served.
 *
 * Errors: of a transfer, as `done`'s result. If poise_watch or poise_timer_start fails (-ENOMEM, say), `failed` is
 * called from the loop: transfers may then wait for what never comes, so end them. (libcurl's own way, an error from
 * its hooks, is of no use: 7.88 crashes then.) In `failed` the same is allowed as in `done`.
 *
 * Names: libcurl looks them up in a thread or with c-ares, as it was built; without either it blocks.
 *
 * All calls belong to the thread that waits. */
#ifndef POISE_ADAPTERS_CURL_H
#define POISE_ADAPTERS_CURL_H

#include <poise/loop.h>

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct poise_curl_socket poise_curl_socket;

typedef struct poise_curl poise_curl;
struct poise_curl {
    void (*done)(poise_curl *curl, CURL *easy, CURLcode result); /* a transfer has ended; NULL: tells nobody */
    void (*failed)(poise_curl *curl, int error);                 /* a negative errno, of poise */
    void *data;                                                  /* the caller's */
    CURLM *multi;                                                /* NULL: not attached */

    poise_handler handler; /* poise's own, from here on */
    poise *queue;
    poise_timer timer;
    poise_waker failure;
    int error;
    poise_curl_socket *sockets;
    bool inside; /* libcurl is being called, and can't be entered again */
    bool nested; /* events came meanwhile: their sockets are paused */
    bool *gone;  /* where a running handler learns of poise_curl_detach */
};

struct poise_curl_socket {
    poise_handler handler; /* the first member */
    poise_curl *curl;
    poise_curl_socket *next;
    curl_socket_t fd;
    uint32_t interest;
};

static inline void poise_curl__check(poise_curl *curl, int result)
{
    if (result < 0) {
        curl->error = result;
        poise_wake(&curl->failure);
    }
}

static inline void poise_curl__watch(poise_curl_socket *socket, uint32_t interest)
{
    poise_curl *curl = socket->curl;
    poise_curl__check(curl, poise_watch(curl->queue, poise_fd((int)socket->fd), interest, &socket->handler));
}

static inline void poise_curl__start(poise_curl *curl, uint64_t after_ns)
{
    poise_curl__check(curl, poise_timer_start(curl->queue, &curl->timer, poise_now() + after_ns, &curl->handler));
}

/* After a call into libcurl: takes what is done. */
static inline void poise_curl__done(poise_curl *curl)
{
    bool gone = false, *outer = curl->gone;
    int left;
    curl->gone = &gone;
    for (CURLMsg *message; !gone && (message = curl_multi_info_read(curl->multi, &left)) != NULL;)
        if (message->msg == CURLMSG_DONE && curl->done != NULL)
            curl->done(curl, message->easy_handle, message->data.result);
    if (!gone)
        curl->gone = outer;
    else if (outer != NULL)
        *outer = true;
}

static inline void poise_curl__action(poise_curl *curl, curl_socket_t fd, int ready)
{
    int running;
    long milliseconds;
    curl->inside = true;
    CURLMcode code = curl_multi_socket_action(curl->multi, fd, ready, &running);
    curl->inside = false;
#if LIBCURL_VERSION_NUM >= 0x073b00
    if (code == CURLM_RECURSIVE_API_CALL) { /* a call of the program's own (curl_easy_pause) calls back: later, then */
        curl->nested = true;
        for (poise_curl_socket *socket = curl->sockets; socket != NULL; socket = socket->next)
            poise_curl__watch(socket, 0);
        poise_curl__start(curl, 1000000);
        return;
    }
#endif
    (void)code; /* of a transfer: `done` tells */
    if (curl->nested) {
        curl->nested = false;
        /* Our own timer has taken the place of curl's, which curl does not tell again. */
        if (curl_multi_timeout(curl->multi, &milliseconds) == CURLM_OK && milliseconds >= 0)
            poise_curl__start(curl, (uint64_t)milliseconds * 1000000);
        if (curl->error != 0)
            poise_wake(&curl->failure);
        for (poise_curl_socket *socket = curl->sockets; socket != NULL; socket = socket->next)
            poise_curl__watch(socket, socket->interest);
    }
    poise_curl__done(curl);
}

static inline void poise_curl__ready(poise_handler *handler, poise *queue, const poise_event *event)
{
    poise_curl_socket *socket = (poise_curl_socket *)(void *)handler;
    int ready =
        (event->ready & POISE_READABLE ? CURL_CSELECT_IN : 0) | (event->ready & POISE_WRITABLE ? CURL_CSELECT_OUT : 0);
    (void)queue;
    if (!socket->curl->inside) {
        poise_curl__action(socket->curl, socket->fd, ready);
    } else {
        socket->curl->nested = true;
        poise_curl__watch(socket, 0);
    }
}

static inline void poise_curl__fail(poise_curl *curl)
{
    int error = curl->error;
    curl->error = 0;
    if (error != 0 && curl->failed != NULL)
        curl->failed(curl, error);
}

static inline void poise_curl__call(poise_handler *handler, poise *queue, const poise_event *event)
{
    poise_curl *curl = (poise_curl *)(void *)((char *)handler - offsetof(poise_curl, handler));
    (void)queue;
    if (curl->inside && (event->ready & POISE_WAKE)) /* nested: again, when libcurl can be entered */
        curl->nested = true;
    else if (curl->inside)
        poise_curl__start(curl, 1000000);
    else if (event->ready & POISE_TIMER)
        poise_curl__action(curl, CURL_SOCKET_TIMEOUT, 0);
    else
        poise_curl__fail(curl);
}

/* libcurl's callbacks: what to watch, and until when. It says CURL_POLL_REMOVE before it closes a socket. */
static inline int poise_curl__socket(CURL *easy, curl_socket_t fd, int what, void *data, void *socket_data)
{
    poise_curl *curl = (poise_curl *)data;
    poise_curl_socket *socket = (poise_curl_socket *)socket_data;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        poise_curl_socket **at = &curl->sockets;
        while (*at != NULL && *at != socket)
            at = &(*at)->next;
        if (socket == NULL || *at == NULL)
            return 0;
        *at = socket->next;
        (void)poise_unwatch(curl->queue, poise_fd((int)fd));
        free(socket);
        return 0;
    }
    if (socket == NULL) {
        socket = (poise_curl_socket *)calloc(1, sizeof *socket);
        if (socket == NULL) {
            poise_curl__check(curl, -ENOMEM);
            return 0;
        }
        socket->handler.call = poise_curl__ready;
        socket->curl = curl;
        socket->fd = fd;
        socket->next = curl->sockets;
        curl->sockets = socket;
        (void)curl_multi_assign(curl->multi, fd, socket);
    }
    socket->interest =
        (what & CURL_POLL_IN ? (uint32_t)POISE_READABLE : 0) | (what & CURL_POLL_OUT ? (uint32_t)POISE_WRITABLE : 0);
    poise_curl__watch(socket, socket->interest);
    return 0;
}

static inline int poise_curl__timer(CURLM *multi, long milliseconds, void *data)
{
    poise_curl *curl = (poise_curl *)data;
    (void)multi;
    if (milliseconds < 0)
        (void)poise_timer_stop(curl->queue, &curl->timer);
    else
        poise_curl__start(curl, (uint64_t)milliseconds * 1000000);
    return 0;
}

/* Attaches a multi handle that has no transfers yet. -EINVAL: NULL; -EBUSY: curl is attached, or the multi handle is
 * inside one of its callbacks; -ENOMEM, or another error of poise_waker_open. */
static inline int poise_curl_attach(poise *queue, poise_curl *curl, CURLM *multi)
{
    if (queue == NULL || curl == NULL || multi == NULL)
        return -EINVAL;
    if (curl->multi != NULL)
        return -EBUSY;
    curl->handler.call = poise_curl__call;
    curl->queue = queue;
    curl->error = 0;
    curl->nested = false;
    int result = poise_waker_open(queue, &curl->failure, &curl->handler);
    if (result < 0)
        return result;
    if (curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, poise_curl__socket) != CURLM_OK ||
        curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, curl) != CURLM_OK ||
        curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, poise_curl__timer) != CURLM_OK ||
        curl_multi_setopt(multi, CURLMOPT_TIMERDATA, curl) != CURLM_OK) {
        poise_waker_close(&curl->failure);
        return -EBUSY;
    }
    curl->multi = multi;
    return 0;
}

/* Takes the multi handle off the queue; after that no event of it comes, and `done` is not called. Transfers that still
 * run stand still for good: remove them. Not attached: nothing. -EBUSY: called in a callback of libcurl (not `done`);
 * then it is still attached. */
static inline int poise_curl_detach(poise_curl *curl)
{
    if (curl == NULL || curl->multi == NULL)
        return 0;
    if (curl->inside || curl_multi_setopt(curl->multi, CURLMOPT_SOCKETFUNCTION, NULL) != CURLM_OK)
        return -EBUSY;
    (void)curl_multi_setopt(curl->multi, CURLMOPT_TIMERFUNCTION, NULL);
    (void)poise_timer_stop(curl->queue, &curl->timer);
    poise_waker_close(&curl->failure);
    while (curl->sockets != NULL) {
        poise_curl_socket *socket = curl->sockets;
        curl->sockets = socket->next;
        (void)curl_multi_assign(curl->multi, socket->fd, NULL);
        (void)poise_unwatch(curl->queue, poise_fd((int)socket->fd));
        free(socket);
    }
    if (curl->gone != NULL)
        *curl->gone = true;
    curl->gone = NULL;
    curl->multi = NULL;
    return 0;
}

#ifdef __cplusplus
}
#endif
#endif
