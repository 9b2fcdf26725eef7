/* SPDX-License-Identifier: MIT
 *
 * The workloads with timers: config.n of them run, far ahead.
 */
#include "work.h"

#include <time.h>

static uint32_t *order; /* a random permutation, walked on with from round to round */
static uint64_t place;
static uint64_t fired;
static bool start_anew; /* what a timer does when it fires */

enum { RESTARTS = 49, STOPS = 25, CYCLE = RESTARTS + 2 * STOPS + 2 };

static const uint64_t MILLISECOND = 1000000;

static uint64_t far_ahead(void) { return (60000 + next_random() % 3600000) * MILLISECOND; }

/* The i-th of the order from here on. */
static size_t pick(uint64_t i)
{
    uint64_t at = place + i;
    return order[at < config.n ? at : at - config.n];
}

static void walk_on(uint64_t steps) { place = (place + steps) % config.n; }

static const char *set_up(void)
{
    if (config.n < CYCLE) {
        wrong("n", "at least 101");
    }
    if (config.lump == 0 || config.lump > config.n) {
        wrong("lump", "1 to n");
    }
    order = zeroed(config.n, sizeof *order);
    for (uint32_t i = 0; i < config.n; i++) {
        uint32_t other = (uint32_t)(next_random() % (i + 1));
        order[i] = order[other];
        order[other] = i;
    }
    peer_open();
    peer_make_timers(config.n);
    peer_refresh_time();
    for (size_t i = 0; i < config.n; i++) {
        peer_timer_start(i, far_ahead());
    }
    return NULL;
}

static void check_count(uint64_t count)
{
    if (count > config.n) {
        wrong("round", "more than there are timers");
    }
}

static void stop_many(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        peer_timer_stop(pick(i));
    }
}

static void start_many(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        peer_timer_start(pick(i), far_ahead());
    }
}

static void restart_many(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        peer_timer_restart(pick(i), far_ahead());
    }
}

static void start_round(uint64_t count)
{
    check_count(count);
    stop_many(count);
    clock_start();
    peer_refresh_time();
    start_many(count);
    clock_stop(count);
    walk_on(count);
}

static void stop_round(uint64_t count)
{
    check_count(count);
    clock_start();
    stop_many(count);
    clock_stop(count);
    peer_refresh_time();
    start_many(count);
    walk_on(count);
}

static void restart_round(uint64_t count)
{
    check_count(count);
    clock_start();
    peer_refresh_time();
    restart_many(count);
    clock_stop(count);
    walk_on(count);
}

void work_timer(size_t index)
{
    fired++;
    if (start_anew) {
        peer_timer_start(index, far_ahead());
    }
}

static void look_until_fired(uint64_t count)
{
    while (fired < count) {
        peer_look();
    }
}

/* One lump of timers that are due at the same time. */
static void fire_lump(uint64_t count)
{
    peer_refresh_time();
    for (uint64_t i = 0; i < count; i++) {
        peer_timer_restart(pick(i), next_random() % (5 * MILLISECOND));
    }
    (void)nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL); /* one library's clock has steps of 4 ms */
    fired = 0;
    clock_start();
    look_until_fired(count);
    clock_stop(fired);
    peer_refresh_time();
    start_many(count);
    walk_on(count);
}

static void fire_round(uint64_t count)
{
    for (uint64_t done = 0; done < count; done += config.lump) {
        fire_lump(config.lump);
    }
}

static void mixed_round(uint64_t count)
{
    uint64_t ops = 0;
    start_anew = true;
    clock_start();
    peer_refresh_time();
    for (; ops < count; ops += CYCLE) {
        restart_many(RESTARTS);
        walk_on(RESTARTS);
        stop_many(STOPS);
        start_many(STOPS);
        walk_on(STOPS);
        peer_timer_restart(pick(0), 0);
        walk_on(1);
        fired = 0;
        look_until_fired(1);
    }
    clock_stop(ops);
}

#define TIMERS(what, allowed, how)               \
    { .name = "timer-" what,                     \
      .keys = (allowed),                         \
      .defaults = { .n = 1000000, .lump = 100 }, \
      .set_up = set_up,                          \
      .round = (how),                            \
      .warm_up = CYCLE,                          \
      .level_only = true,                        \
      .timers = true }

const struct workload timer_workloads[] = {
    TIMERS("start", "n ", start_round),    TIMERS("stop", "n ", stop_round),   TIMERS("restart", "n ", restart_round),
    TIMERS("fire", "n lump ", fire_round), TIMERS("mixed", "n ", mixed_round), { .name = NULL },
};
