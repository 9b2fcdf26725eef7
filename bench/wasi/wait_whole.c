/* What a program with bindings of its own would do: every pollable in one raw wasi:io/poll call, always. The pollable
 * behind a descriptor is noted from libc's own poll(2), whose import this takes the place of; the answers come into a
 * buffer, without allocation. A timer is a pollable of its own. */
#include "bench.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define IMPORT(module, name) __attribute__((__import_module__(module), __import_name__(name)))

struct list { /* list<u32> as the host returns it */
    uint32_t *items;
    uint32_t n;
};

IMPORT("wasi:io/poll@0.2.0", "poll") extern void raw_poll(const int32_t *handles, size_t n, struct list *result);
IMPORT("wasi:io/poll@0.2.0", "[resource-drop]pollable") extern void raw_drop(int32_t handle);
IMPORT("wasi:clocks/monotonic-clock@0.2.0", "subscribe-duration") extern int32_t raw_duration(uint64_t ns);

extern void *cabi_realloc(void *block, size_t old, size_t align, size_t size); /* libc's */
void *cabi_import_realloc(void *block, size_t old, size_t align, size_t size);
void __wasm_import_poll_poll(uint8_t *handles, size_t n, uint8_t *result);

const char *const waiter_name = "whole";
static int32_t *handles; /* those of the sources, then those of the timers that run */
static uint32_t *answers, *timer_at, *timer_of;
static uint32_t sources, timers, room;
static int32_t captured;
static bool capturing, answering;
static uint64_t fired;
static struct host_counts host;

void __wasm_import_poll_poll(uint8_t *in, size_t n, uint8_t *result)
{
    const int32_t *list = (const int32_t *)(const void *)in;
    struct list *answer = (struct list *)(void *)result;
    if (capturing) {
        captured = n > 0 ? list[0] : 0;
        *answer = (struct list){ 0 };
    } else {
        raw_poll(list, n, answer);
    }
}

__attribute__((__export_name__("cabi_import_realloc"))) void *cabi_import_realloc(void *block, size_t old, size_t align,
                                                                                  size_t size)
{
    if (answering && block == NULL && align == sizeof *answers && size <= room * sizeof *answers) {
        answering = false;
        return answers;
    }
    return cabi_realloc(block, old, align, size);
}

void waiter_open(uint32_t most_sources, uint32_t most_timers)
{
    room = most_sources + most_timers + 1;
    handles = room_for(room, sizeof *handles);
    answers = room_for(room, sizeof *answers);
    timer_at = room_for(most_timers, sizeof *timer_at);
    timer_of = room_for(room, sizeof *timer_of);
}

void waiter_add(uint32_t source, int fd, short events)
{
    struct pollfd one = { .fd = fd, .events = events };
    captured = 0;
    capturing = true;
    (void)poll(&one, 1, -1);
    capturing = false;
    if (captured == 0)
        die("no pollable behind a descriptor");
    handles[source] = captured;
    sources = source + 1;
}

static int32_t duration(uint64_t ns)
{
    host.subscribes++;
    return raw_duration(ns);
}

static void drop(int32_t handle)
{
    host.drops++;
    raw_drop(handle);
}

static int descending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x < y) - (x > y);
}

/* From the last position to the first, as stopping one moves the last into its place. */
static void take_timers(uint32_t *positions, uint32_t n)
{
    qsort(positions, n, sizeof *positions, descending);
    for (uint32_t i = 0; i < n; i++)
        waiter_stop(timer_of[positions[i]]);
    fired += n;
}

uint32_t waiter_wait(int64_t timeout_ns, uint32_t *ready)
{
    uint32_t count = sources + timers;
    uint32_t named = count;
    struct list answer;
    if (timeout_ns != WAIT_FOREVER)
        handles[named++] = duration((uint64_t)timeout_ns);
    host.polls++;
    answering = true;
    raw_poll(handles, named, &answer);
    answering = false;
    if (named > count)
        drop(handles[count]);
    uint32_t n = 0;
    uint32_t due = 0;
    for (uint32_t i = 0; i < answer.n; i++) {
        if (answers[i] < sources)
            ready[n++] = answers[i];
        else if (answers[i] < count)
            answers[due++] = answers[i];
    }
    if (due > 0)
        take_timers(answers, due);
    return n;
}

bool waiter_has_timers(void) { return true; }

void waiter_start(uint32_t timer, uint64_t after_ns)
{
    uint32_t position = sources + timers++;
    handles[position] = duration(after_ns);
    timer_of[position] = timer;
    timer_at[timer] = position;
}

void waiter_stop(uint32_t timer)
{
    uint32_t position = timer_at[timer];
    uint32_t last = sources + --timers;
    drop(handles[position]);
    handles[position] = handles[last];
    timer_of[position] = timer_of[last];
    timer_at[timer_of[position]] = position;
}

uint64_t waiter_fired(void) { return fired; }
struct host_counts waiter_host(void) { return host; }
