/* SPDX-License-Identifier: MIT
 *
 * poise/adapters/hiredis.h - the asynchronous API of hiredis on a poise queue (tried: hiredis 0.14.1, 1.2.0).
 *
 *     redisAsyncContext *redis = redisAsyncConnect("127.0.0.1", 6379);
 *     int result = poise_hiredis_attach(queue, redis);
 *     redisAsyncCommand(redis, on_reply, NULL, "PING");
 *     ... poise_run(queue, &stop);
 *
 * From then on all of hiredis's own API serves; nothing more of this header is needed. docs/adapters.md has a program.
 *
 * Lifetime: hiredis says when the adapter's state (a block of about 200 bytes) goes: with redisAsyncFree, or with the
 * disconnect that redisAsyncDisconnect, an error or the server brings about. So there is no detach. The queue must
 * outlive the context. hiredis's own rules say what a callback may do: redisAsyncFree and redisAsyncDisconnect in a
 * reply's callback always; in the connect callback from hiredis 1.1 on; never in the disconnect callback, as the
 * context is freed when that returns. What is the caller's may be freed in any of them. After redisAsyncFree has
 * returned (called in a callback: when that has returned) no event of the context comes.
 *
 * Nested: a callback may call poise_dispatch. The context stands still until the callback returns; all else is served.
 *
 * Time limits: from hiredis 1.0 on redisOptions' connect_timeout and redisAsyncSetTimeout work, by a poise_timer; for
 * 0.14 use a timer of your own and redisAsyncFree.
 *
 * Errors after the attach come as hiredis gives them: callbacks with a NULL reply, the connect or disconnect callback
 * with REDIS_ERR, context->errstr. A poise_watch or poise_timer_start that fails (-ENOMEM, say) is one of them:
 * REDIS_ERR_OTHER, "poise: " and strerror's text.
 *
 * redisAsyncConnect looks names up with getaddrinfo, which blocks: give it an address (poise/resolve.h finds one).
 *
 * All calls, and the context itself, belong to the thread that waits. */
#ifndef POISE_ADAPTERS_HIREDIS_H
#define POISE_ADAPTERS_HIREDIS_H

#include <poise/loop.h>

#include <errno.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if HIREDIS_MAJOR >= 1
#include <hiredis/alloc.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct poise_hiredis { /* poise's own; redisAsyncContext's ev.data */
    poise_handler handler;     /* the first member */
    poise *queue;
    redisAsyncContext *context; /* NULL: hiredis has freed it while `inside` */
    poise_timer timer;
    poise_waker failure; /* hiredis's hooks return nothing: what fails there is told from the loop */
    int error;
    int fd;
    uint32_t interest;
    uint32_t nested; /* events that came while `inside` */
    bool inside;     /* hiredis is being called, and can't be entered again */
} poise_hiredis;

static inline void poise_hiredis__free(poise_hiredis *state)
{
#if HIREDIS_MAJOR >= 1
    hi_free(state);
#else
    free(state);
#endif
}

static inline void poise_hiredis__check(poise_hiredis *state, int result)
{
    if (result < 0) {
        state->error = result;
        poise_wake(&state->failure);
    }
}

static inline void poise_hiredis__want(void *data, uint32_t add, uint32_t remove)
{
    poise_hiredis *state = (poise_hiredis *)data;
    uint32_t interest = (state->interest | add) & ~remove;
    if (interest == state->interest)
        return;
    state->interest = interest;
    if (state->nested == 0)
        poise_hiredis__check(state, poise_watch(state->queue, poise_fd(state->fd), interest, &state->handler));
}

static inline void poise_hiredis__add_read(void *data) { poise_hiredis__want(data, POISE_READABLE, 0); }
static inline void poise_hiredis__del_read(void *data) { poise_hiredis__want(data, 0, POISE_READABLE); }
static inline void poise_hiredis__add_write(void *data) { poise_hiredis__want(data, POISE_WRITABLE, 0); }
static inline void poise_hiredis__del_write(void *data) { poise_hiredis__want(data, 0, POISE_WRITABLE); }

/* hiredis may still call the hooks after this, and 0.14 calls this twice: so they go as well. */
static inline void poise_hiredis__cleanup(void *data)
{
    poise_hiredis *state = (poise_hiredis *)data;
    memset(&state->context->ev, 0, sizeof state->context->ev);
    state->context = NULL;
    (void)poise_unwatch(state->queue, poise_fd(state->fd));
    (void)poise_timer_stop(state->queue, &state->timer);
    poise_waker_close(&state->failure);
    if (!state->inside)
        poise_hiredis__free(state);
}

#if HIREDIS_MAJOR >= 1
static inline void poise_hiredis__schedule(void *data, struct timeval after)
{
    poise_hiredis *state = (poise_hiredis *)data;
    uint64_t ns = (uint64_t)after.tv_sec * 1000000000 + (uint64_t)after.tv_usec * 1000;
    poise_hiredis__check(state, poise_timer_start(state->queue, &state->timer, poise_now() + ns, &state->handler));
}
#endif

/* Ends the connection with state->error: the next read of hiredis sees that there was one. */
static inline void poise_hiredis__fail(poise_hiredis *state)
{
    redisAsyncContext *context = state->context;
    context->c.err = REDIS_ERR_OTHER;
    (void)snprintf(context->c.errstr, sizeof context->c.errstr, "poise: %s", strerror(-state->error));
    context->err = context->c.err;
    context->errstr = context->c.errstr;
    if (context->c.flags & REDIS_CONNECTED) {
        redisAsyncHandleRead(context);
        return;
    }
#if HIREDIS_MAJOR >= 1
    redisAsyncHandleTimeout(context);
#else
    if (context->onConnect != NULL)
        context->onConnect(context, REDIS_ERR);
    redisAsyncFree(context);
#endif
}

/* An event is a hint; but on Linux hiredis takes it for a connection while the connect is still under way. */
static inline bool poise_hiredis__connecting(const poise_hiredis *state)
{
    struct pollfd source = { state->fd, POLLOUT, 0 };
    return !(state->context->c.flags & REDIS_CONNECTED) && poll(&source, 1, 0) == 0;
}

static inline void poise_hiredis__call(poise_handler *handler, poise *queue, const poise_event *event)
{
    poise_hiredis *state = (poise_hiredis *)(void *)handler;
    /* The flags: a redisAsyncFree of the program's own calls back, and that dispatches. There will be no more events. */
    if (state->inside || (state->context->c.flags & (REDIS_IN_CALLBACK | REDIS_FREEING)) != 0) {
        state->nested |= event->ready;
        (void)poise_watch(queue, poise_fd(state->fd), 0, handler);
        return;
    }
    state->inside = true;
    if (event->ready & POISE_WAKE) {
        poise_hiredis__fail(state);
#if HIREDIS_MAJOR >= 1
    } else if (event->ready & POISE_TIMER) {
        redisAsyncHandleTimeout(state->context);
#endif
    } else if (!poise_hiredis__connecting(state)) {
        if (event->ready & state->interest & POISE_READABLE)
            redisAsyncHandleRead(state->context);
        if (state->context != NULL && (event->ready & state->interest & POISE_WRITABLE))
            redisAsyncHandleWrite(state->context);
    }
    state->inside = false;
    if (state->context == NULL) {
        poise_hiredis__free(state);
    } else if (state->nested != 0) { /* sources are reported again, timers and wakers are not */
        if (state->nested & POISE_TIMER)
            poise_hiredis__check(state, poise_timer_start(queue, &state->timer, poise_now(), handler));
        if (state->nested & POISE_WAKE)
            poise_wake(&state->failure);
        state->nested = 0;
        poise_hiredis__check(state, poise_watch(queue, poise_fd(state->fd), state->interest, handler));
    }
}

/* Attaches a context: do it right after redisAsyncConnect (or ...WithOptions), before callbacks are set and commands
 * sent. -EINVAL: NULL, or the context has failed (context->errstr); -EBUSY: it is attached to something; -ENOMEM; the
 * errors of poise_watch. After a failure the context is the caller's to free, as before. */
static inline int poise_hiredis_attach(poise *queue, redisAsyncContext *context)
{
    if (queue == NULL || context == NULL || context->err != 0)
        return -EINVAL;
    if (context->ev.data != NULL)
        return -EBUSY;
#if HIREDIS_MAJOR >= 1
    poise_hiredis *state = (poise_hiredis *)hi_calloc(1, sizeof *state);
#else
    poise_hiredis *state = (poise_hiredis *)calloc(1, sizeof *state);
#endif
    if (state == NULL)
        return -ENOMEM;
    state->handler.call = poise_hiredis__call;
    state->queue = queue;
    state->context = context;
    state->fd = context->c.fd;
    int result = poise_waker_open(queue, &state->failure, &state->handler);
    if (result == 0) {
        result = poise_watch(queue, poise_fd(state->fd), 0, &state->handler); /* paused until a hook is called */
        if (result < 0)
            poise_waker_close(&state->failure);
    }
    if (result < 0) {
        poise_hiredis__free(state);
        return result;
    }
    context->ev.data = state;
    context->ev.addRead = poise_hiredis__add_read;
    context->ev.delRead = poise_hiredis__del_read;
    context->ev.addWrite = poise_hiredis__add_write;
    context->ev.delWrite = poise_hiredis__del_write;
    context->ev.cleanup = poise_hiredis__cleanup;
#if HIREDIS_MAJOR >= 1
    context->ev.scheduleTimer = poise_hiredis__schedule;
#endif
    return 0;
}

#ifdef __cplusplus
}
#endif
#endif
