/* What is done and measured: README.md has each workload in words. */
#include "bench.h"
#include "message.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

enum { HOUR = 3600, LOST_NS = 500000000, WARM_UP_WAITS = 500, WARM_UP_NS = 2000000000 };

static uint32_t *ready;
static uint64_t begun, limit; /* when this round began, and when it ends with what it has */

/* ---- one wait ---------------------------------------------------------------------------------------------------- */

static uint32_t wait_for(int64_t timeout_ns)
{
    uint64_t before = allocations;
    uint32_t n = waiter_wait(timeout_ns, ready);
    figures.waits++;
    figures.allocs += allocations - before;
    return n;
}

/* The time after the wait, where it is asked for; else 0. */
static uint64_t timed_wait(int64_t timeout_ns, uint32_t *n)
{
    if (!settings.timed) {
        *n = wait_for(timeout_ns);
        return 0;
    }
    uint64_t before = now_ns();
    *n = wait_for(timeout_ns);
    uint64_t after = now_ns();
    figures.wait_ns += after - before;
    sample(&wait_times, after - before);
    return after;
}

/* The time is looked at now and then only: it is a host call. */
bool time_is_up(void) { return figures.waits % 64 == 0 && now_ns() > limit; }

void begin_round(void)
{
    begun = now_ns();
    limit = begun + (uint64_t)settings.limit_ms * 1000000;
    start_clock();
}

static uint64_t some(uint64_t mean_ns) { return mean_ns / 1000 * (500 + rnd() % 1000); }

static uint64_t gap_ns(void) { return (uint64_t)settings.gap_us * 1000; }

static uint32_t any_source(void) { return rnd() % (uint32_t)settings.n; }

static uint32_t active_source(uint32_t k) { return k * (uint32_t)(settings.n / settings.active); }

static bool is_active(uint32_t source)
{
    uint32_t stride = (uint32_t)(settings.n / settings.active);
    return source % stride == 0 && source / stride < (uint32_t)settings.active;
}

/* ---- active ------------------------------------------------------------------------------------------------------ */

static void active_begin(void)
{
    for (uint32_t k = 0; k < (uint32_t)settings.active; k++)
        write_to(active_source(k), "x", 1);
}

static void active_round(uint64_t count)
{
    begin_round();
    while (figures.ops < count && !time_is_up()) {
        uint32_t n;
        (void)timed_wait(WAIT_FOREVER, &n);
        for (uint32_t i = 0; i < n; i++) {
            char bytes[MOST_READ];
            if (read_of(ready[i], bytes) > 0) {
                served(ready[i]);
                write_to(ready[i], "x", 1);
            }
        }
    }
    stop_clock();
}

/* ---- event: some bytes come, are read at once, and the next wait finds that this was all --------------------------- */

static bool read_event(uint32_t source)
{
    char bytes[MOST_READ];
    if (read_of(source, bytes) <= 0)
        return false;
    served(source);
    return true;
}

static void event_round(uint64_t count)
{
    begin_round();
    while (figures.ops < count && !time_is_up()) {
        write_to(active_source((uint32_t)(figures.ops % (uint64_t)settings.active)), "hello", 5);
        for (bool come = false; !come;) {
            uint32_t n = wait_for(WAIT_FOREVER);
            for (uint32_t i = 0; i < n; i++)
                come |= read_event(ready[i]);
        }
        for (uint32_t n; (n = wait_for(0)) > 0;) {
            for (uint32_t i = 0; i < n; i++)
                (void)read_event(ready[i]);
        }
    }
    stop_clock();
}

/* ---- random: messages are the time of their sending --------------------------------------------------------------- */

static void send_time(uint32_t source)
{
    uint64_t now = now_ns();
    write_to(source, &now, sizeof now);
}

/* Notes the delays of the messages in bytes, returns how many there were. Those that an earlier round has given up do
 * not count. */
static uint64_t note_times(const char *bytes, long size, uint64_t now)
{
    uint64_t n = 0;
    for (; size >= (long)sizeof now; size -= (long)sizeof now, bytes += sizeof now) {
        uint64_t then;
        memcpy(&then, bytes, sizeof then);
        if (then >= begun) {
            sample(&delays, now > then ? now - then : 0); /* it may have been written while others were served */
            n++;
        }
    }
    return n;
}

static void random_round(uint64_t count)
{
    uint64_t started = 0;
    begin_round();
    for (; started < (uint64_t)settings.active && started < count; started++)
        send_time(any_source());
    while (figures.ops < count && !time_is_up()) {
        uint32_t n;
        uint64_t now = timed_wait(WAIT_FOREVER, &n);
        for (uint32_t i = 0; i < n; i++) {
            char bytes[MOST_READ];
            uint64_t messages = note_times(bytes, read_of(ready[i], bytes), now);
            for (uint64_t k = 0; k < messages; k++) {
                served(ready[i]);
                if (started < count) {
                    started++;
                    send_time(any_source());
                }
            }
        }
    }
    stop_clock();
}

/* ---- cold: active, and now and then a message for one that is not ------------------------------------------------- */

static void send_cold(void)
{
    uint32_t source;
    do {
        source = any_source();
    } while (is_active(source));
    send_time(source);
}

static void cold_round(uint64_t count)
{
    uint64_t sent = 0;
    begin_round();
    uint64_t now = now_ns();
    uint64_t last = now;
    uint64_t next = now + gap_ns();
    while (figures.seen < count && (sent < count || now - last < LOST_NS)) {
        uint32_t n;
        if (sent < count && now >= next) {
            send_cold();
            sent++;
            last = now;
            next = now + some(gap_ns());
        }
        now = timed_wait(WAIT_FOREVER, &n);
        for (uint32_t i = 0; i < n; i++) {
            char bytes[MOST_READ];
            long size = read_of(ready[i], bytes);
            if (size >= (long)sizeof now) {
                figures.seen += note_times(bytes, size, now);
            } else if (size > 0) {
                served(ready[i]);
                write_to(ready[i], "x", 1);
            }
        }
    }
    stop_clock();
    for (figures.lost = 0; figures.seen + figures.lost < sent; figures.lost++)
        sample(&delays, LOST_NS); /* at least so long */
}

/* ---- silent: nothing for a while, then one message ---------------------------------------------------------------- */

/* Waits for messages until `wanted` of them have come. A delay counts from when the message was sent. */
static void await_messages(uint64_t wanted)
{
    while (figures.ops < wanted) {
        uint32_t n = wait_for(WAIT_FOREVER);
        uint64_t wall = settings.port != 0 ? wall_ns() : 0;
        uint64_t now = settings.port != 0 ? 0 : now_ns();
        for (uint32_t i = 0; i < n; i++) {
            char bytes[MOST_READ];
            struct message message;
            long size = read_of(ready[i], bytes);
            if (settings.port == 0 && note_times(bytes, size, now) > 0)
                served(ready[i]);
            if (settings.port != 0 && size == (long)sizeof message) {
                memcpy(&message, bytes, sizeof message);
                sample(&delays, wall > message.sent ? wall - message.sent : 0);
                served(ready[i]);
            }
        }
    }
}

/* A wait that gives something comes from the last read: only the next one finds that it took all. */
static void be_silent(uint64_t gap)
{
    uint64_t now = now_ns();
    for (uint64_t until = now + gap; now < until; now = now_ns()) {
        uint32_t n = wait_for((int64_t)(until - now));
        for (uint32_t i = 0; i < n; i++) {
            char bytes[MOST_READ];
            (void)read_of(ready[i], bytes);
        }
    }
}

static void silent_round(uint64_t count)
{
    begin_round();
    while (figures.ops < count && now_ns() < limit) {
        uint64_t gap = some(gap_ns());
        if (settings.port != 0) {
            struct message message = { .delay_us = (uint32_t)(gap / 1000), .target = any_source() };
            order(&message, sizeof message);
        } else {
            be_silent(gap);
            send_time(any_source());
        }
        await_messages(figures.ops + 1);
    }
    stop_clock();
}

/* ---- request ----------------------------------------------------------------------------------------------------- */

static void send_request(uint32_t source)
{
    struct message message = { .delay_us = (uint32_t)settings.latency_us, .target = source, .stamp = now_ns() };
    write_to(source, &message, sizeof message);
}

static void request_round(uint64_t count)
{
    uint64_t started = 0;
    uint64_t latency = (uint64_t)settings.latency_us * 1000;
    begin_round();
    for (; started < (uint64_t)settings.active && started < count; started++)
        send_request(active_source((uint32_t)started));
    while (figures.ops < count && !time_is_up()) {
        uint32_t n;
        uint64_t now = timed_wait(WAIT_FOREVER, &n);
        for (uint32_t i = 0; i < n; i++) {
            char bytes[MOST_READ];
            struct message message;
            if (read_of(ready[i], bytes) != (long)sizeof message)
                continue;
            memcpy(&message, bytes, sizeof message);
            uint64_t took = now - message.stamp;
            sample(&delays, took > latency ? took - latency : 0);
            served(ready[i]);
            if (started < count) {
                started++;
                send_request(ready[i]);
            }
        }
    }
    stop_clock();
}

/* ---- idle, timers ------------------------------------------------------------------------------------------------ */

static void idle_round(uint64_t count)
{
    begin_round();
    for (; figures.ops < count; figures.ops++)
        (void)wait_for(0);
    stop_clock();
}

static uint64_t due(uint32_t timer) { return (uint64_t)HOUR * 1000000000 + timer * 1000; }

static void timers_begin(void)
{
    for (uint32_t i = 0; i < (uint32_t)settings.n; i++)
        waiter_start(i, due(i));
}

static void start_batch(uint32_t batch)
{
    for (uint32_t i = (uint32_t)settings.n; i < (uint32_t)settings.n + batch; i++)
        waiter_start(i, due(i));
}

static void stop_batch(uint32_t batch)
{
    for (uint32_t i = (uint32_t)settings.n; i < (uint32_t)settings.n + batch; i++)
        waiter_stop(i);
}

static void fire_batch(uint32_t batch)
{
    uint64_t fired = waiter_fired();
    for (uint32_t i = (uint32_t)settings.n; i < (uint32_t)settings.n + batch; i++)
        waiter_start(i, 0);
    while (waiter_fired() < fired + batch)
        (void)wait_for(WAIT_FOREVER);
}

static void timers_round(uint64_t count)
{
    uint32_t batch = (uint32_t)settings.active;
    for (; figures.ops < count; figures.ops += batch) {
        if (strcmp(settings.op, "stop") == 0)
            start_batch(batch);
        start_clock();
        if (strcmp(settings.op, "start") == 0)
            start_batch(batch);
        else if (strcmp(settings.op, "stop") == 0)
            stop_batch(batch);
        else
            fire_batch(batch);
        stop_clock();
        if (strcmp(settings.op, "start") == 0)
            stop_batch(batch);
    }
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

static const struct workload workloads[] = {
    { "active", NO_HELPER, false, false, NULL, active_begin, active_round, 50, 0 },
    { "random", NO_HELPER, false, true, NULL, NULL, random_round, 50, 0 },
    { "cold", NO_HELPER, false, true, NULL, active_begin, cold_round, 50, 1000 },
    { "silent", HELPER_POSSIBLE, false, false, NULL, NULL, silent_round, 5, 20000 },
    { "request", HELPER_NEEDED, false, true, NULL, NULL, request_round, 50, 0 },
    { "event", NO_HELPER, false, false, NULL, NULL, event_round, 50, 0 },
    { "idle", NO_HELPER, false, false, NULL, NULL, idle_round, 50, 0 },
    { "io", NO_HELPER, false, false, io_make, NULL, io_round, 500, 0 },
    { "timers", NO_HELPER, true, false, NULL, timers_begin, timers_round, 50, 0 },
};

const struct workload *workload_named(const char *name)
{
    for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++) {
        if (strcmp(workloads[i].name, name) == 0)
            return &workloads[i];
    }
    return NULL;
}

static void warm_up(const struct workload *workload)
{
    uint64_t waits = 0;
    uint64_t until = now_ns() + WARM_UP_NS;
    while (waits < WARM_UP_WAITS && now_ns() < until) {
        figures_reset();
        workload->round((uint64_t)workload->warm_up);
        waits += workload->timers || workload->make != NULL ? figures.ops : figures.waits;
    }
}

void prepare(const struct workload *workload)
{
    uint32_t n = (uint32_t)settings.n;
    settings.timed |= workload->delays;
    if (settings.gap_us < 0)
        settings.gap_us = workload->gap_us;
    ready = room_for(n, sizeof *ready);
    figures_open();
    if (workload->timers) {
        waiter_open(0, n + (uint32_t)settings.active);
    } else {
        waiter_open(n, 0);
        if (workload->make != NULL)
            workload->make();
        else if (settings.port != 0)
            connect_helper();
        else
            make_pairs(POLLIN);
        if (workload->make == NULL)
            drop_what_came(ready);
    }
    if (workload->begin != NULL)
        workload->begin();
    warm_up(workload);
}
