/* SPDX-License-Identifier: MIT
 *
 * An allocator for a queue that knows how many bytes are in use, and how often it was called.
 */
#ifndef BENCH_COUNTED_H
#define BENCH_COUNTED_H

#include <poise/poise.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct counted {
    size_t bytes, calls;
};

union header { /* in front of each block: its size */
    size_t size;
    max_align_t aligned;
};

static void *counted_realloc(void *context, void *block, size_t size)
{
    struct counted *counted = context;
    union header *old = block == NULL ? NULL : (union header *)block - 1;
    counted->calls++;
    counted->bytes -= old == NULL ? 0 : old->size;
    if (size == 0) {
        free(old);
        return NULL;
    }
    union header *new = realloc(old, sizeof *new + size);
    if (new == NULL) {
        counted->bytes += old == NULL ? 0 : old->size;
        return NULL;
    }
    new->size = size;
    counted->bytes += size;
    return new + 1;
}

static void must(bool good, const char *what)
{
    if (!good) {
        perror(what);
        exit(1);
    }
}

static poise *counted_open(struct counted *counted, const char *backend)
{
    poise *queue = NULL;
    poise_options options = {
        .size = sizeof options, .backend = backend, .realloc = counted_realloc, .context = counted
    };
    *counted = (struct counted){ 0 };
    must(poise_open(&queue, &options) == 0, "poise_open");
    return queue;
}

#endif
