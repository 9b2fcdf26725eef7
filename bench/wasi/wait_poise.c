/* The library. */
#include "bench.h"

#include <errno.h>
#include <poise/poise.h>
#include <poll.h>
#include <stdlib.h>

#include "wasi/host.h"

const char *const waiter_name = "poise";
static poise *queue;
static poise_timer *timers;
static uint64_t fired;

static void check(int result, const char *what)
{
    if (result < 0) {
        errno = -result;
        die(what);
    }
}

void waiter_open(uint32_t sources, uint32_t n)
{
    poise_options options = { .size = sizeof options,
                              .batch = (unsigned)settings.batch,
                              .cold_latency_ns = (uint64_t)settings.cold_latency_ns };
    (void)sources;
    check(poise_open(&queue, &options), "poise_open");
    timers = room_for(n, sizeof *timers);
}

/* What comes out as data: the source's number and one, for a timer NULL. */
void waiter_add(uint32_t source, int fd, short events)
{
    uint32_t interest = events == POLLOUT ? POISE_WRITABLE : POISE_READABLE;
    check(poise_watch(queue, poise_fd(fd), interest, (void *)(uintptr_t)(source + 1)), "poise_watch");
}

uint32_t waiter_wait(int64_t timeout_ns, uint32_t *ready)
{
    uint32_t n = 0;
    poise_event event;
    check(poise_wait(queue, timeout_ns == WAIT_FOREVER ? POISE_FOREVER : timeout_ns), "poise_wait");
    while (poise_next(queue, &event)) {
        if (event.data != NULL)
            ready[n++] = (uint32_t)(uintptr_t)event.data - 1;
        else
            fired++;
    }
    return n;
}

bool waiter_has_timers(void) { return true; }

void waiter_start(uint32_t timer, uint64_t after_ns)
{
    check(poise_timer_start(queue, &timers[timer], poise_now() + after_ns, NULL), "poise_timer_start");
}

void waiter_stop(uint32_t timer) { (void)poise_timer_stop(queue, &timers[timer]); }

uint64_t waiter_fired(void) { return fired; }

struct host_counts waiter_host(void)
{
    struct host_calls calls = poise__host_calls;
    return (struct host_counts){ calls.polls, calls.yields, calls.subscribes, calls.drops, calls.looks };
}
