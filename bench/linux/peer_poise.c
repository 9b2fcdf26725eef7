/* SPDX-License-Identifier: MIT */
#include "work.h"

#include <errno.h>
#include <poise/poise.h>

const char *const peer_names[] = { "poise", "poise-edge", NULL };
const size_t peer_end_size = sizeof(struct end);
const bool peer_has_timers = true;

static poise *queues[2]; /* the second is another thread's, for wakes */
static poise *queue;
static uint32_t mode;

static poise_timer *timers;
static uint64_t now;

static poise_waker wakers[2];

static void must(int result)
{
    if (result < 0) {
        errno = -result;
        die("poise");
    }
}

static void open_queue(unsigned side)
{
    poise_options options = { .size = sizeof options, .backend = "epoll", .batch = (unsigned)config.batch };
    must(poise_open(&queues[side], &options));
}

void peer_open(void)
{
    open_queue(0);
    queue = queues[0];
    mode = POISE_READABLE | (config.edge ? (uint32_t)POISE_EDGE : 0);
}

/* ---- descriptors ---- */

void peer_prepare(struct end *end) { (void)end; }

void peer_release(struct end *end) { (void)end; }

void peer_watch(struct end *end) { must(poise_watch(queue, poise_fd(end->fd), mode, end)); }

void peer_unwatch(struct end *end) { must(poise_unwatch(queue, poise_fd(end->fd))); }

void peer_pause(struct end *end) { must(poise_watch(queue, poise_fd(end->fd), 0, end)); }

void peer_resume(struct end *end) { must(poise_watch(queue, poise_fd(end->fd), POISE_READABLE, end)); }

void peer_watch_once(struct end *end)
{
    must(poise_watch(queue, poise_fd(end->fd), POISE_READABLE | POISE_ONESHOT, end));
}

void peer_rearm(struct end *end) { peer_watch_once(end); }

void peer_again(struct end *end) { must(poise_again(queue, poise_fd(end->fd), POISE_READABLE)); }

static void wait_once(int64_t timeout_ns)
{
    poise_event event;
    must(poise_wait(queue, timeout_ns));
    while (poise_next(queue, &event)) {
        if (event.ready == POISE_TIMER) {
            work_timer((size_t)((poise_timer *)event.data - timers));
        } else {
            work_event(event.data);
        }
    }
}

void peer_run(void)
{
    while (work.done < work.goal) {
        wait_once(POISE_FOREVER);
    }
}

void peer_look(void) { wait_once(0); }

/* ---- timers ---- */

void peer_make_timers(size_t count) { timers = zeroed(count, sizeof *timers); }

void peer_refresh_time(void) { now = poise_now(); }

void peer_timer_start(size_t index, uint64_t after_ns)
{
    must(poise_timer_start(queue, &timers[index], now + after_ns, &timers[index]));
}

void peer_timer_restart(size_t index, uint64_t after_ns) { peer_timer_start(index, after_ns); }

void peer_timer_stop(size_t index)
{
    if (!poise_timer_stop(queue, &timers[index])) {
        wrong("poise_timer_stop", "it was not running");
    }
}

/* ---- wakes ---- */

void peer_wake_open(unsigned side)
{
    open_queue(side);
    must(poise_waker_open(queues[side], &wakers[side], NULL));
}

void peer_wake(unsigned side) { poise_wake(&wakers[side]); }

void peer_wake_once(unsigned side)
{
    poise_event event;
    must(poise_wait(queues[side], POISE_FOREVER));
    while (poise_next(queues[side], &event)) {
        work_wake(side);
    }
}

void peer_wake_run(unsigned side)
{
    const struct progress *progress = wake_progress(side);
    while (progress->done < progress->goal) {
        peer_wake_once(side);
    }
}
