/* SPDX-License-Identifier: MIT
 *
 * The workloads with wakes. The main thread's queue is side 0, the second thread's is side 1.
 */
#include "work.h"

#include <pthread.h>

/* Each side's progress in a line of the cache of its own. */
static struct {
    _Alignas(128) struct progress progress;
} sides[2];

struct progress *wake_progress(unsigned side) { return &sides[side].progress; }

static bool pingpong;

void work_wake(unsigned side)
{
    struct progress *progress = wake_progress(side);
    progress->done++;
    if (pingpong && progress->done < progress->goal) {
        peer_wake(1 - side);
    }
}

static void *other_thread(void *ignored)
{
    if (config.cpus == 2) {
        pin_to_processor(1);
    }
    wake_progress(1)->goal = UINT64_MAX;
    peer_wake_run(1);
    return ignored;
}

static const char *pingpong_set_up(void)
{
    if (config.cpus == 0) {
        wrong("cpus", "1 or 2");
    }
    if (config.cpus > processors()) {
        return "there is one processor only";
    }
    pingpong = true;
    pin_to_processor(0);
    peer_wake_open(0);
    peer_wake_open(1);
    pthread_t thread;
    if (pthread_create(&thread, NULL, other_thread, NULL) != 0) {
        wrong("pthread_create", "no thread");
    }
    return NULL;
}

static void pingpong_round(uint64_t count)
{
    *wake_progress(0) = (struct progress){ .goal = count };
    clock_start();
    peer_wake(1);
    peer_wake_run(0);
    clock_stop(count);
}

static const char *alone_set_up(void)
{
    peer_wake_open(0);
    return NULL;
}

static void check_taken(uint64_t wanted)
{
    if (wake_progress(0)->done != wanted) {
        wrong("wakes", "taken too often, or not at all");
    }
}

static void take_round(uint64_t count)
{
    wake_progress(0)->done = 0;
    clock_start();
    for (uint64_t i = 0; i < count; i++) {
        peer_wake(0);
        peer_wake_once(0);
    }
    clock_stop(count);
    check_taken(count);
}

static void call_round(uint64_t count)
{
    wake_progress(0)->done = 0;
    peer_wake(0);
    clock_start();
    for (uint64_t i = 0; i < count; i++) {
        peer_wake(0);
    }
    clock_stop(count);
    peer_wake_once(0);
    check_taken(1);
}

const struct workload wake_workloads[] = {
    { .name = "wake-pingpong",
      .keys = "cpus ",
      .defaults = { .cpus = 1 },
      .set_up = pingpong_set_up,
      .round = pingpong_round,
      .warm_up = 1000,
      .level_only = true },
    { .name = "wake-take",
      .keys = "",
      .set_up = alone_set_up,
      .round = take_round,
      .warm_up = 1000,
      .level_only = true },
    { .name = "wake-call",
      .keys = "",
      .set_up = alone_set_up,
      .round = call_round,
      .warm_up = 1000,
      .level_only = true },
    { .name = NULL },
};
