/* SPDX-License-Identifier: MIT
 *
 * poise/loop.h - callbacks on top of the core: `data` points to a handler.
 *
 * The convention: whatever is added to a queue (a source, a timer, a waker, a look-up) gets a poise_handler as its
 * `data`, and poise_dispatch calls that with each event. So the adapters of different authors share one queue, and none
 * has to know the others. All that is in a dispatched queue follows it; data NULL is allowed, and calls nobody.
 *
 *     struct client { poise_handler handler; int fd; };      // a pointer to the first member is one to the structure
 *
 *     static void client_ready(poise_handler *handler, poise *queue, const poise_event *event)
 *     {
 *         struct client *client = (struct client *)handler;
 *         ...
 *     }
 *     ...
 *     client->handler.call = client_ready;
 *     poise_watch(queue, poise_fd(client->fd), POISE_READABLE, &client->handler);
 *     ...
 *     int result = poise_run(queue, &stop);
 *
 * A handler is the caller's storage, most often a member of a structure of the caller's own. It stays where it is until
 * its source is unwatched, its timer stopped or its waker closed; after that it is not called any more (G5), not even
 * for an event that was gathered before.
 *
 * A handler may do anything but close the queue (for that see poise_run): watch, unwatch and close sources, its own
 * included; start and stop timers; free each handler that is in the queue no longer, itself included; call
 * poise_dispatch. An event is a hint, as ever.
 *
 * A loop of one's own does the same for each event: handler = event.data; if it isn't NULL, handler->call(handler,
 * queue, &event).
 *
 * Threads: all calls belong to the thread that waits, and handlers run there.
 */
#ifndef POISE_LOOP_H
#define POISE_LOOP_H

#include <poise/poise.h>

/* clang-format off */ /* columns made by hand */

#ifdef __cplusplus
extern "C" {
#endif

typedef struct poise_handler poise_handler;
struct poise_handler {
    void (*call)(poise_handler *handler, poise *queue, const poise_event *event);   /* event: until it returns       */
};

/* Waits once, as poise_wait does, and calls the handler of each event. Returns how many it has called (0: the time is
 * up, or all data was NULL), or poise_wait's error. */
POISE_API int poise_dispatch(poise *queue, int64_t timeout_ns);

/* Dispatches until *stop is true, which a handler sets. Looks at it first, and after each handler, so it has to outlive
 * the call. What was gathered and not dispatched by then comes out of the next wait (G6). Once *stop is true the queue
 * is not touched any more: the handler that sets it may also close the queue, if each poise_run that is under way has
 * its *stop true, and no poise_dispatch is under way. Returns 0, or poise_wait's error (WASI: -EDEADLK, nothing is left
 * that could happen; natively it waits for ever then). -EINVAL: NULL. */
POISE_API int poise_run(poise *queue, const bool *stop);

/* ---- repeating timers: the caller's storage, all zero before first use, unmoved while running -------------------- */

typedef struct poise_interval {
    poise_timer    timer;         /* its deadline_ns, to be read only: when the next call is due                      */
    poise_handler  handler;       /* poise's own                                                                      */
    poise_handler *target;        /* who is called                                                                    */
    uint64_t       interval_ns;   /* to be read only                                                                  */
    uint64_t       missed;        /* to be read only: calls left out before the last one, as the program was too late */
} poise_interval;

/* Calls the handler at first_ns on poise_now()'s clock (one that has passed: by the next dispatch), and then each
 * interval_ns after it: call k is due at first_ns + k * interval_ns, however late those before were. Calls that the
 * program is too late for are left out, not made up, and counted in `missed`. The event is a timer's: POISE_TIMER, and
 * its data is the handler. One that runs is started anew. The handler may start and stop its own interval; it has
 * been started again by then, so stop it before you free it.
 * -EINVAL: an interval of 0, or NULL; else the errors of poise_timer_start (-EBUSY: it runs in another queue), and
 * nothing has changed. */
POISE_API int poise_interval_start(poise *queue, poise_interval *interval, uint64_t first_ns, uint64_t interval_ns,
                                   poise_handler *handler);

/* True: it was running; it calls nobody from now on (G5). At any time, in its own handler, too. */
POISE_API bool poise_interval_stop(poise *queue, poise_interval *interval);

#ifdef __cplusplus
}
#endif
#endif
