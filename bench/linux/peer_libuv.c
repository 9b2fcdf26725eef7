/* SPDX-License-Identifier: MIT
 *
 * libuv: uv_poll_t for descriptors of the program's own, uv_timer_t, uv_async_t; one loop that runs until the round is
 * over.
 */
#include "work.h"

#include <uv.h>

const char *const peer_names[] = { "libuv", NULL };
const bool peer_has_timers = true;

struct uv_end {
    struct end end;
    uv_poll_t poll;
};

const size_t peer_end_size = sizeof(struct uv_end);

static uv_loop_t loop;
static uv_timer_t *timers;

static struct {
    uv_loop_t loop;
    uv_async_t async;
} wakers[2];

static void must(int result)
{
    if (result < 0) {
        wrong("libuv", uv_strerror(result));
    }
}

static uv_poll_t *poll_of(struct end *end) { return &((struct uv_end *)(void *)end)->poll; }

void peer_open(void) { must(uv_loop_init(&loop)); }

/* ---- descriptors ---- */

static void on_event(uv_poll_t *poll, int status, int ready)
{
    (void)status, (void)ready;
    work_event(poll->data);
    if (work.done >= work.goal) {
        uv_stop(&loop);
    }
}

/* There are no one-shots: the handle is stopped, and its re-arm starts it. */
static void on_only_event(uv_poll_t *poll, int status, int ready)
{
    must(uv_poll_stop(poll));
    on_event(poll, status, ready);
}

void peer_prepare(struct end *end)
{
    must(uv_poll_init(&loop, poll_of(end), end->fd));
    poll_of(end)->data = end;
}

void peer_release(struct end *end) { uv_close((uv_handle_t *)poll_of(end), NULL); }

void peer_watch(struct end *end) { must(uv_poll_start(poll_of(end), UV_READABLE, on_event)); }

void peer_unwatch(struct end *end) { must(uv_poll_stop(poll_of(end))); }

void peer_pause(struct end *end) { must(uv_poll_stop(poll_of(end))); }

void peer_resume(struct end *end) { peer_watch(end); }

void peer_watch_once(struct end *end) { must(uv_poll_start(poll_of(end), UV_READABLE, on_only_event)); }

void peer_rearm(struct end *end) { peer_watch_once(end); }

void peer_again(struct end *end) { (void)end; }

void peer_run(void) { (void)uv_run(&loop, UV_RUN_DEFAULT); }

void peer_look(void) { (void)uv_run(&loop, UV_RUN_NOWAIT); }

/* ---- timers, in milliseconds ---- */

static void on_timer(uv_timer_t *timer) { work_timer((size_t)(timer - timers)); }

void peer_make_timers(size_t count)
{
    timers = zeroed(count, sizeof *timers);
    for (size_t i = 0; i < count; i++) {
        must(uv_timer_init(&loop, &timers[i]));
    }
}

void peer_refresh_time(void) { uv_update_time(&loop); }

void peer_timer_start(size_t index, uint64_t after_ns)
{
    must(uv_timer_start(&timers[index], on_timer, after_ns / 1000000, 0));
}

void peer_timer_restart(size_t index, uint64_t after_ns) { peer_timer_start(index, after_ns); }

void peer_timer_stop(size_t index) { must(uv_timer_stop(&timers[index])); }

/* ---- wakes ---- */

static void on_wake(uv_async_t *async)
{
    unsigned side = async == &wakers[1].async;
    work_wake(side);
    if (wake_progress(side)->done >= wake_progress(side)->goal) {
        uv_stop(&wakers[side].loop);
    }
}

void peer_wake_open(unsigned side)
{
    must(uv_loop_init(&wakers[side].loop));
    must(uv_async_init(&wakers[side].loop, &wakers[side].async, on_wake));
}

void peer_wake(unsigned side) { must(uv_async_send(&wakers[side].async)); }

void peer_wake_once(unsigned side) { (void)uv_run(&wakers[side].loop, UV_RUN_ONCE); }

void peer_wake_run(unsigned side) { (void)uv_run(&wakers[side].loop, UV_RUN_DEFAULT); }
