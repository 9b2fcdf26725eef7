/* The C library's poll(2) on the whole array. Linked without poise, whose bridge it would go through otherwise; or, as the
 * peer `unwatched`, with poise and an open queue which watches none of this. */
#include "bench.h"

#include <poll.h>

#ifdef UNWATCHED
#include <poise/poise.h>

const char *const waiter_name = "unwatched";
#else
const char *const waiter_name = "libc";
#endif
static struct pollfd *list;
static uint32_t count;

void waiter_open(uint32_t sources, uint32_t timers)
{
    (void)timers;
    list = room_for(sources, sizeof *list);
#ifdef UNWATCHED
    poise *queue;
    if (poise_open(&queue, NULL) < 0)
        die("poise_open");
#endif
}

void waiter_add(uint32_t source, int fd, short events)
{
    list[source] = (struct pollfd){ .fd = fd, .events = events };
    count = source + 1;
}

uint32_t waiter_wait(int64_t timeout_ns, uint32_t *ready)
{
    uint32_t n = 0;
    int left = poll(list, count, timeout_ns == WAIT_FOREVER ? -1 : (int)((timeout_ns + 999999) / 1000000));
    if (left < 0)
        die("poll");
    for (uint32_t i = 0; left > 0; i++) {
        if (list[i].revents != 0) {
            ready[n++] = i;
            left--;
        }
    }
    return n;
}

bool waiter_has_timers(void) { return false; }
void waiter_start(uint32_t timer, uint64_t after_ns) { (void)timer, (void)after_ns; }
void waiter_stop(uint32_t timer) { (void)timer; }
uint64_t waiter_fired(void) { return 0; }
struct host_counts waiter_host(void) { return (struct host_counts){ 0 }; }
