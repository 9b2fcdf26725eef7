/* SPDX-License-Identifier: MIT
 *
 * libev: io watchers, ev_timer, ev_async; one loop that runs until the round is over.
 */
#include "work.h"

#include <ev.h>

const char *const peer_names[] = { "libev", NULL };
const bool peer_has_timers = true;

struct ev_end {
    struct end end;
    ev_io io;
};

const size_t peer_end_size = sizeof(struct ev_end);

static struct ev_loop *loop;
static ev_timer *timers;

static struct {
    struct ev_loop *loop;
    ev_async async;
} wakers[2];

static ev_io *io_of(struct end *end) { return &((struct ev_end *)(void *)end)->io; }

static struct ev_loop *make_loop(void)
{
    struct ev_loop *result = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (result == NULL) {
        die("ev_loop_new");
    }
    return result;
}

void peer_open(void) { loop = make_loop(); }

/* ---- descriptors ---- */

static void on_event(struct ev_loop *here, ev_io *io, int ready)
{
    (void)ready;
    work_event(io->data);
    if (work.done >= work.goal) {
        ev_break(here, EVBREAK_ONE);
    }
}

/* There are no one-shots: the watcher is stopped, and its re-arm starts it. */
static void on_only_event(struct ev_loop *here, ev_io *io, int ready)
{
    ev_io_stop(here, io);
    on_event(here, io, ready);
}

void peer_prepare(struct end *end)
{
    ev_io *io = io_of(end);
    ev_io_init(io, on_event, end->fd, EV_READ);
    io->data = end;
}

void peer_release(struct end *end) { (void)end; }

void peer_watch(struct end *end) { ev_io_start(loop, io_of(end)); }

void peer_unwatch(struct end *end) { ev_io_stop(loop, io_of(end)); }

void peer_pause(struct end *end) { ev_io_stop(loop, io_of(end)); }

void peer_resume(struct end *end) { ev_io_start(loop, io_of(end)); }

void peer_watch_once(struct end *end)
{
    ev_set_cb(io_of(end), on_only_event);
    ev_io_start(loop, io_of(end));
}

void peer_rearm(struct end *end) { ev_io_start(loop, io_of(end)); }

void peer_again(struct end *end) { (void)end; }

void peer_run(void) { (void)ev_run(loop, 0); }

void peer_look(void) { (void)ev_run(loop, EVRUN_NOWAIT); }

/* ---- timers ---- */

static void on_timer(struct ev_loop *here, ev_timer *timer, int ready)
{
    (void)here, (void)ready;
    work_timer((size_t)(timer - timers));
}

void peer_make_timers(size_t count)
{
    timers = zeroed(count, sizeof *timers);
    for (size_t i = 0; i < count; i++) {
        ev_timer_init(&timers[i], on_timer, 0., 0.);
    }
}

void peer_refresh_time(void) { ev_now_update(loop); }

void peer_timer_start(size_t index, uint64_t after_ns)
{
    ev_timer_set(&timers[index], (double)after_ns / 1e9, 0.);
    ev_timer_start(loop, &timers[index]);
}

/* "Again", made for idle time-outs, moves a timer in the heap, which is faster than stop and start. It starts what
 * repeats; with a repeat of 0, which would stop it, as short a one as there is. Afterwards it shall fire only once. */
void peer_timer_restart(size_t index, uint64_t after_ns)
{
    timers[index].repeat = after_ns != 0 ? (double)after_ns / 1e9 : 1e-9;
    ev_timer_again(loop, &timers[index]);
    timers[index].repeat = 0.;
}

void peer_timer_stop(size_t index) { ev_timer_stop(loop, &timers[index]); }

/* ---- wakes ---- */

static void on_wake(struct ev_loop *here, ev_async *async, int ready)
{
    (void)ready;
    unsigned side = async == &wakers[1].async;
    work_wake(side);
    if (wake_progress(side)->done >= wake_progress(side)->goal) {
        ev_break(here, EVBREAK_ONE);
    }
}

void peer_wake_open(unsigned side)
{
    wakers[side].loop = make_loop();
    ev_async_init(&wakers[side].async, on_wake);
    ev_async_start(wakers[side].loop, &wakers[side].async);
}

void peer_wake(unsigned side) { ev_async_send(wakers[side].loop, &wakers[side].async); }

void peer_wake_once(unsigned side) { (void)ev_run(wakers[side].loop, EVRUN_ONCE); }

void peer_wake_run(unsigned side) { (void)ev_run(wakers[side].loop, 0); }
