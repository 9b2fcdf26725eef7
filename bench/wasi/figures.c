/* Counts, clocks, delays, and the C library's allocator, counted. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_SAMPLES = 1 << 20 }; /* more than a round has; what is beyond is not kept */

struct figures figures;
struct samples delays, wait_times;
static uint8_t *seen;
uint64_t allocations;
static uint64_t began;

static uint64_t read_clock(clockid_t clock)
{
    struct timespec time;
    (void)clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

uint64_t now_ns(void) { return read_clock(CLOCK_MONOTONIC); }
uint64_t wall_ns(void) { return read_clock(CLOCK_REALTIME); }

uint32_t rnd(void)
{
    static uint32_t r = 12345;
    r ^= r << 13;
    r ^= r >> 17;
    r ^= r << 5;
    return r;
}

void figures_open(void)
{
    seen = room_for((size_t)settings.n, sizeof *seen);
    delays.values = room_for(MOST_SAMPLES, sizeof *delays.values);
    wait_times.values = room_for(MOST_SAMPLES, sizeof *wait_times.values);
}

void figures_reset(void)
{
    figures = (struct figures){ 0 };
    delays.n = wait_times.n = 0;
    memset(seen, 0, (size_t)settings.n);
}

void sample(struct samples *samples, uint64_t value)
{
    if (samples->n < MOST_SAMPLES)
        samples->values[samples->n++] = value;
}

void served(uint32_t source)
{
    figures.ops++;
    figures.served += !seen[source];
    seen[source] = 1;
}

void start_clock(void) { began = now_ns(); }
void stop_clock(void) { figures.ns += now_ns() - began; }

/* The linker (--wrap) sends every call of the allocator here, libc's own and those for the host's results, too. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *block, size_t size);

void *__wrap_malloc(size_t size)
{
    allocations++;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    allocations++;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *block, size_t size)
{
    allocations++;
    return __real_realloc(block, size);
}
