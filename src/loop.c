/* SPDX-License-Identifier: MIT
 *
 * Handlers and repeating timers: include/poise/loop.h says what each call promises. Knows the core by poise.h alone.
 *
 * What makes it safe for a handler to free and close anything: a handler is called with nothing of the caller's read
 * afterwards, and the next event is taken only when it has returned, so that the queue has forgotten what it has
 * unwatched (G5). */
#include <poise/loop.h>

#include <errno.h>

static int call(poise *queue, const poise_event *event)
{
    poise_handler *handler = event->data;
    if (handler == NULL)
        return 0;
    handler->call(handler, queue, event);
    return 1;
}

int poise_dispatch(poise *queue, int64_t timeout_ns)
{
    int result = poise_wait(queue, timeout_ns);
    if (result < 0)
        return result;
    int called = 0;
    poise_event event;
    while (poise_next(queue, &event))
        called += call(queue, &event);
    return called;
}

int poise_run(poise *queue, const bool *stop)
{
    if (queue == NULL || stop == NULL)
        return -EINVAL;
    while (!*stop) {
        int result = poise_wait(queue, POISE_FOREVER);
        if (result < 0)
            return result;
        poise_event event;
        while (!*stop && poise_next(queue, &event))
            (void)call(queue, &event);
    }
    return 0;
}

/* ---- repeating timers -------------------------------------------------------------------------------------------- */

/* The interval is started again before its handler is called, so that the handler may stop, restart or free it. */
static void tick(poise_handler *handler, poise *queue, const poise_event *event)
{
    poise_interval *interval = (poise_interval *)((char *)handler - offsetof(poise_interval, handler));
    poise_handler *target = interval->target;
    uint64_t step = interval->interval_ns;
    uint64_t due = interval->timer.deadline_ns;
    uint64_t missed = (poise_now() - due) / step; /* a timer is never early */
    uint64_t last = due + missed * step;
    uint64_t next = step <= UINT64_MAX - last ? last + step : UINT64_MAX; /* which is: never */
    (void)poise_timer_start(queue, &interval->timer, next, handler);      /* fails only for one that runs elsewhere */
    interval->missed = missed;
    poise_event own = *event;
    own.data = target;
    target->call(target, queue, &own);
}

int poise_interval_start(poise *queue, poise_interval *interval, uint64_t first_ns, uint64_t interval_ns,
                         poise_handler *handler)
{
    if (queue == NULL || interval == NULL || interval_ns == 0 || handler == NULL)
        return -EINVAL;
    int result = poise_timer_start(queue, &interval->timer, first_ns, &interval->handler);
    if (result < 0)
        return result;
    interval->handler.call = tick;
    interval->target = handler;
    interval->interval_ns = interval_ns;
    interval->missed = 0;
    return 0;
}

bool poise_interval_stop(poise *queue, poise_interval *interval)
{
    return interval != NULL && poise_timer_stop(queue, &interval->timer);
}
