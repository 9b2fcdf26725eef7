/* SPDX-License-Identifier: MIT
 *
 * Host calls under names of our own (an import may be declared as often as one likes), and poll without allocation.
 *
 * The host returns list<u32> by calling the component's cabi_import_realloc if it exports one, else cabi_realloc. Ours
 * hands out the buffer that was lent for a call of ours (poise__host_lend). It is weak: a program with a cabi_import_realloc of
 * its own keeps that, and the result is then what that one allocated, to be freed here. The rules: no import may be
 * called in it, it is asked for a size of 0, too, and nothing else may get the buffer afterwards.
 */
#include "host.h"

#include <stdlib.h>
#include <string.h>

#define IMPORT(module, name) __attribute__((__import_module__(module), __import_name__(name)))

IMPORT("wasi:io/poll@0.2.0", "poll")
extern void poise__import_poll(const int32_t *handles, size_t n, struct host_list *result);
IMPORT("wasi:io/poll@0.2.0", "[resource-drop]pollable") extern void poise__import_drop(int32_t pollable);
IMPORT("wasi:clocks/monotonic-clock@0.2.0", "subscribe-instant") extern int32_t poise__import_instant(uint64_t when);
IMPORT("wasi:clocks/monotonic-clock@0.2.0", "subscribe-duration") extern int32_t poise__import_duration(uint64_t ns);

extern void *cabi_realloc(void *block, size_t old, size_t align, size_t size); /* libc's, exported by every component */

struct host_calls poise__host_calls;

static struct {
    void *buffer; /* NULL: none */
    size_t size, align;
} lent;

__attribute__((__weak__, __export_name__("cabi_import_realloc"))) void *cabi_import_realloc(void *block, size_t old,
                                                                                            size_t align, size_t size);
void *cabi_import_realloc(void *block, size_t old, size_t align, size_t size)
{
    if (lent.buffer != NULL && block == NULL && align == lent.align && size <= lent.size) {
        void *buffer = lent.buffer;
        lent.buffer = NULL;
        return buffer;
    }
    return cabi_realloc(block, old, align, size);
}

void poise__host_lend(void *buffer, size_t size, size_t align)
{
    lent.buffer = buffer;
    lent.size = size;
    lent.align = align;
}

void poise__host_poll_raw(const int32_t *handles, size_t n, struct host_list *result)
{
    poise__host_calls.polls++;
    poise__import_poll(handles, n, result);
}

static uint32_t poll_into(const int32_t *handles, uint32_t n, uint32_t *ready, uint32_t room)
{
    struct host_list result;
    poise__host_lend(ready, room * sizeof *ready, sizeof *ready);
    poise__import_poll(handles, n, &result);
    poise__host_lend(NULL, 0, 0);
    uint32_t found = result.n < room ? result.n : room;
    if (result.items != ready) {
        poise__host_calls.allocations++;
        memcpy(ready, result.items, found * sizeof *ready);
        if (result.n > 0) {
            free(result.items);
        }
    }
    return found;
}

uint32_t poise__host_poll(const int32_t *handles, uint32_t n, uint32_t *ready, uint32_t room)
{
    poise__host_calls.polls++;
    return poll_into(handles, n, ready, room);
}

int32_t poise__host_instant(uint64_t deadline_ns)
{
    poise__host_calls.subscribes++;
    return poise__import_instant(deadline_ns);
}

int32_t poise__host_zero(void)
{
    poise__host_calls.subscribes++;
    return poise__import_duration(0);
}

int32_t poise__host_yield(void)
{
    int32_t zero = poise__host_zero();
    uint32_t ready[1];
    poise__host_calls.yields++;
    (void)poll_into(&zero, 1, ready, 1);
    return zero;
}

void poise__host_drop(int32_t pollable)
{
    poise__host_calls.drops++;
    poise__import_drop(pollable);
}
