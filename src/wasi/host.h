/* The few host calls of wasi:io/poll and wasi:clocks that the wait needs, counted, without allocation: see host.c. */
#ifndef POISE_HOST_H
#define POISE_HOST_H

#include <stddef.h>
#include <stdint.h>

struct host_list { /* list<u32> as the canonical ABI returns it */
    uint32_t *items;
    uint32_t n;
};

/* How often each call was made: the tests look at it. */
extern struct host_calls {
    uint64_t polls, yields, subscribes, drops, allocations;
    uint64_t heard, looks; /* hear.c: subscribes that others made; reads behind a part */
} poise__host_calls;

/* wasi:io/poll.poll as it is. The list must not be empty; the result comes from the program's allocator. */
void poise__host_poll_raw(const int32_t *handles, size_t n, struct host_list *result);

/* The same, with the result in a buffer of ours: the positions of what is ready. Returns how many (at most room). */
uint32_t poise__host_poll(const int32_t *handles, uint32_t n, uint32_t *ready, uint32_t room);

/* Where the list goes that the next host call returns, if it fits. NULL ends that. */
void poise__host_lend(void *buffer, size_t size, size_t align);

int32_t poise__host_instant(uint64_t deadline_ns); /* a pollable that is ready at that moment; the caller drops it */

/* Lets the host's reactor run (traps 2 and 3 of wasip2.c). The handle is ready, keeps a poll that names it from
 * blocking, and is the caller's to drop. */
int32_t poise__host_yield(void);

int32_t poise__host_zero(
    void); /* a fresh zero duration: a poll that names it looks once, and lets the reactor run once */

void poise__host_drop(int32_t pollable);

#endif
