/* SPDX-License-Identifier: MIT
 *
 * libevent: persistent events in the program's own structures; locks only where there are threads; one loop that runs
 * until the round is over.
 */
#include "work.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/thread.h>

const char *const peer_names[] = { "libevent", NULL };
const bool peer_has_timers = true;

struct event_end {
    struct end end;
    struct event event;
};

const size_t peer_end_size = sizeof(struct event_end);

static struct event_base *base;
static struct event *timers;

static struct {
    struct event_base *base;
    struct event event;
} wakers[2];

static void must(int result)
{
    if (result != 0) {
        die("libevent");
    }
}

static struct event *event_of(struct end *end) { return &((struct event_end *)(void *)end)->event; }

static struct event_base *make_base(void)
{
    struct event_base *result = event_base_new();
    if (result == NULL) {
        die("event_base_new");
    }
    return result;
}

void peer_open(void) { base = make_base(); }

/* ---- descriptors ---- */

static void on_event(evutil_socket_t fd, short ready, void *data)
{
    (void)fd, (void)ready;
    work_event(data);
    if (work.done >= work.goal) {
        (void)event_base_loopbreak(base);
    }
}

void peer_prepare(struct end *end)
{
    must(event_assign(event_of(end), base, end->fd, EV_READ | EV_PERSIST, on_event, end));
}

void peer_release(struct end *end) { (void)end; }

void peer_watch(struct end *end) { must(event_add(event_of(end), NULL)); }

void peer_unwatch(struct end *end) { must(event_del(event_of(end))); }

void peer_pause(struct end *end) { must(event_del(event_of(end))); }

void peer_resume(struct end *end) { must(event_add(event_of(end), NULL)); }

void peer_watch_once(struct end *end)
{
    must(event_assign(event_of(end), base, end->fd, EV_READ, on_event, end)); /* not persistent */
    must(event_add(event_of(end), NULL));
}

void peer_rearm(struct end *end) { must(event_add(event_of(end), NULL)); }

void peer_again(struct end *end) { (void)end; }

void peer_run(void) { (void)event_base_dispatch(base); }

void peer_look(void) { (void)event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK); }

/* ---- timers ---- */

static void on_timer(evutil_socket_t fd, short ready, void *data)
{
    (void)fd, (void)ready;
    work_timer((size_t)((struct event *)data - timers));
}

void peer_make_timers(size_t count)
{
    timers = zeroed(count, sizeof *timers);
    for (size_t i = 0; i < count; i++) {
        must(evtimer_assign(&timers[i], base, on_timer, &timers[i]));
    }
}

void peer_refresh_time(void) { (void)event_base_update_cache_time(base); }

void peer_timer_start(size_t index, uint64_t after_ns)
{
    struct timeval after = { (time_t)(after_ns / 1000000000), (suseconds_t)(after_ns % 1000000000 / 1000) };
    must(evtimer_add(&timers[index], &after));
}

void peer_timer_restart(size_t index, uint64_t after_ns) { peer_timer_start(index, after_ns); }

void peer_timer_stop(size_t index) { must(evtimer_del(&timers[index])); }

/* ---- wakes ---- */

static void on_wake(evutil_socket_t fd, short ready, void *data)
{
    (void)fd, (void)ready;
    unsigned side = data == &wakers[1];
    work_wake(side);
    if (wake_progress(side)->done >= wake_progress(side)->goal) {
        (void)event_base_loopbreak(wakers[side].base);
    }
}

void peer_wake_open(unsigned side)
{
    must(evthread_use_pthreads());
    wakers[side].base = make_base();
    must(event_assign(&wakers[side].event, wakers[side].base, -1, EV_PERSIST, on_wake, &wakers[side]));
}

void peer_wake(unsigned side) { event_active(&wakers[side].event, EV_READ, 0); }

void peer_wake_once(unsigned side) { (void)event_base_loop(wakers[side].base, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY); }

void peer_wake_run(unsigned side) { (void)event_base_loop(wakers[side].base, EVLOOP_NO_EXIT_ON_EMPTY); }
