/* SPDX-License-Identifier: MIT
 *
 * pollables BACKEND N: what a queue allocates for N pollables (of clocks that are an hour away), and while waits see one
 * of them ready. Prints the same line as sources.c.
 */
#include "counted.h"

#include <poise/wasi.h>
#include <wasi/wasip2.h>

enum { EVENTS = 1000 };

static int32_t clock_in(uint64_t ns) { return monotonic_clock_subscribe_duration(ns).__handle; }

int main(int argc, char **argv)
{
    long n = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    if (n < 1) {
        return fputs("usage: pollables BACKEND N\n", stderr), 2;
    }
    struct counted counted;
    poise *queue = counted_open(&counted, argv[1]);
    size_t empty = counted.bytes;
    for (long i = 0; i < n; i++) {
        poise_source source = poise_pollable(clock_in(i == 0 ? 0 : 3600000000000));
        must(poise_watch(queue, source, POISE_READABLE, NULL) == 0, "poise_watch");
    }
    must(poise_wait(queue, 0) >= 0, "poise_wait");
    size_t full = counted.bytes;
    counted.calls = 0;
    int events = 0;
    while (events < EVENTS) {
        poise_event event;
        must(poise_wait(queue, POISE_FOREVER) >= 0, "poise_wait");
        while (poise_next(queue, &event)) {
            events++;
        }
    }
    printf("empty=%zu full=%zu events=%d allocs=%zu\n", empty, full, events, counted.calls);
    return 0; /* the host drops the handles */
}
