/* A queue inside another event loop: nested.c has the tests, uv.c and glib.c one outer loop each. */
#ifndef POISE_NESTED_H
#define POISE_NESTED_H

#include "../test.h"

#include <poise/loop.h>

/* Begins to serve the queue in an outer loop, by poise_fileno and poise_deadline: `serve` is called when the descriptor
 * is readable or the deadline has come, and takes what there is. */
void outer_open(poise *queue, void (*serve)(poise *queue));
void outer_after(unsigned ms, void (*call)(void)); /* a timer of the outer loop's own, once */
void outer_run(void);                              /* until a call of outer_stop */
void outer_stop(void);
unsigned outer_turns(void); /* how often the loop was about to wait since outer_open */
void outer_close(void);

/* What uv.c and glib.c share: how long a wait in milliseconds may take, rounded up. -1: for ever. */
static inline int milliseconds_until(uint64_t deadline)
{
    uint64_t now = poise_now();
    if (deadline == UINT64_MAX)
        return -1;
    if (deadline <= now)
        return 0;
    uint64_t ms = (deadline - now - 1) / 1000000 + 1;
    return ms < 1000000 ? (int)ms : 1000000; /* then it looks again */
}

#endif
