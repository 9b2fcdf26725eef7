/* SPDX-License-Identifier: MIT
 *
 * No library at all: epoll(7), and eventfd(2) for wakes.
 */
#include "work.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

const char *const peer_names[] = { "epoll", "epoll-edge", NULL };
const size_t peer_end_size = sizeof(struct end);
const bool peer_has_timers = false;

static int set;
static struct epoll_event *events;
static uint32_t mode;

static struct {
    int set, event;
} wakers[2];

static int make_set(void)
{
    int result = epoll_create1(EPOLL_CLOEXEC);
    if (result < 0) {
        die("epoll_create1");
    }
    return result;
}

void peer_open(void)
{
    set = make_set();
    events = zeroed(config.batch, sizeof *events);
    mode = EPOLLIN | (config.edge ? (uint32_t)EPOLLET : 0);
}

/* ---- descriptors ---- */

static void control(int operation, struct end *end, uint32_t wanted)
{
    struct epoll_event event = { .events = wanted, .data.ptr = end };
    if (epoll_ctl(set, operation, end->fd, &event) != 0) {
        die("epoll_ctl");
    }
}

void peer_prepare(struct end *end) { (void)end; }

void peer_release(struct end *end) { (void)end; }

void peer_watch(struct end *end) { control(EPOLL_CTL_ADD, end, mode); }

void peer_unwatch(struct end *end) { control(EPOLL_CTL_DEL, end, 0); }

void peer_pause(struct end *end) { control(EPOLL_CTL_MOD, end, 0); }

void peer_resume(struct end *end) { control(EPOLL_CTL_MOD, end, EPOLLIN); }

void peer_watch_once(struct end *end) { control(EPOLL_CTL_ADD, end, EPOLLIN | EPOLLONESHOT); }

void peer_rearm(struct end *end) { control(EPOLL_CTL_MOD, end, EPOLLIN | EPOLLONESHOT); }

void peer_again(struct end *end) { (void)end; }

static void wait_once(int timeout)
{
    int n = epoll_wait(set, events, (int)config.batch, timeout);
    if (n < 0 && errno != EINTR) {
        die("epoll_wait");
    }
    for (int i = 0; i < n; i++) {
        work_event(events[i].data.ptr);
    }
}

void peer_run(void)
{
    while (work.done < work.goal) {
        wait_once(-1);
    }
}

void peer_look(void) { wait_once(0); }

/* ---- timers: there are none, and nobody asks ---- */

void peer_make_timers(size_t count) { (void)count; }

void peer_refresh_time(void) {}

void peer_timer_start(size_t index, uint64_t after_ns) { (void)index, (void)after_ns; }

void peer_timer_restart(size_t index, uint64_t after_ns) { (void)index, (void)after_ns; }

void peer_timer_stop(size_t index) { (void)index; }

/* ---- wakes ---- */

void peer_wake_open(unsigned side)
{
    wakers[side].set = make_set();
    wakers[side].event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = { .events = EPOLLIN };
    if (wakers[side].event < 0 || epoll_ctl(wakers[side].set, EPOLL_CTL_ADD, wakers[side].event, &event) != 0) {
        die("eventfd");
    }
}

void peer_wake(unsigned side)
{
    static const uint64_t one = 1;
    if (write(wakers[side].event, &one, sizeof one) != sizeof one) {
        die("write");
    }
}

void peer_wake_once(unsigned side)
{
    struct epoll_event event;
    uint64_t count;
    int n = epoll_wait(wakers[side].set, &event, 1, -1);
    if (n < 0 && errno != EINTR) {
        die("epoll_wait");
    }
    if (n == 1 && read(wakers[side].event, &count, sizeof count) == sizeof count) {
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
