/* What the tests of the adapters share: dispatching with a limit, and what is in use before and after. */
#ifndef POISE_TESTS_ADAPTERS_H
#define POISE_TESTS_ADAPTERS_H

#include "services.h"
#include "wasi_kit.h"

#include <poise/loop.h>

#include <fcntl.h>
#include <unistd.h>

/* An adapter that is included between these two lines calls poise by way of us, so that a test can let it fail:
 *     #define poise_watch watch_or_fail
 *     #define poise_timer_start timer_start_or_fail */
static int poise_fails;            /* 0, or a negative errno */
static uint32_t watched_for[1000]; /* by descriptor: the interest of the last watch */

static inline int watch_or_fail(poise *queue, poise_source source, uint32_t interest, void *data)
{
    if (poise_fails != 0)
        return poise_fails;
    MUST(source.id >= 0 && source.id < 1000);
    watched_for[source.id] = interest;
    return poise_watch(queue, source, interest, data);
}

static inline int timer_start_or_fail(poise *queue, poise_timer *timer, uint64_t deadline_ns, void *data)
{
    return poise_fails != 0 ? poise_fails : poise_timer_start(queue, timer, deadline_ns, data);
}

/* How many handlers were called by the two functions below: a source that spins shows in it. */
static unsigned dispatched;

/* Dispatches until *done, at most 5 times patience() in all: these are whole conversations. */
static inline bool dispatch_until(poise *queue, const bool *done)
{
    uint64_t end = poise_now() + 5 * (uint64_t)patience();
    for (uint64_t now = poise_now(); !*done && now < end; now = poise_now()) {
        int result = poise_dispatch(queue, (int64_t)(end - now));
        if (result < 0)
            break;
        dispatched += (unsigned)result;
    }
    return *done;
}

/* Dispatches for a while, to see what comes that should not. */
static inline void dispatch_for(poise *queue, int64_t ns)
{
    uint64_t end = poise_now() + (uint64_t)ns;
    for (uint64_t now = poise_now(); now < end; now = poise_now())
        if (poise_dispatch(queue, (int64_t)(end - now)) < 0)
            break;
}

/* Open descriptors, and pollables of the host. */
struct usage {
    int descriptors;
    int64_t pollables;
};

static inline struct usage usage(void)
{
    struct calls now = calls();
    struct usage usage = { 0, (int64_t)now.subscribes - (int64_t)now.drops };
    (void)access(".", F_OK); /* the first time, wasi-libc makes descriptors of the folders that the host gives */
    for (int fd = 0; fd < 1000; fd++)
        usage.descriptors += fcntl(fd, F_GETFL) >= 0;
    return usage;
}

static inline void check_usage(struct usage before)
{
    struct usage after = usage();
    CHECK_INT(after.descriptors, before.descriptors);
    CHECK_INT(after.pollables, before.pollables);
}

/* A timer of the test that gives up: its handler counts, and sets a flag. */
struct alarm_clock {
    poise_handler handler; /* the first member */
    poise_timer timer;
    bool rang;
};

static inline void alarm_rings(poise_handler *handler, poise *queue, const poise_event *event)
{
    (void)queue, (void)event;
    ((struct alarm_clock *)(void *)handler)->rang = true;
}

static inline void alarm_start(poise *queue, struct alarm_clock *alarm, int64_t after_ns)
{
    memset(alarm, 0, sizeof *alarm);
    alarm->handler.call = alarm_rings;
    MUST(poise_timer_start(queue, &alarm->timer, poise_now() + (uint64_t)after_ns, &alarm->handler) == 0);
}

#endif
