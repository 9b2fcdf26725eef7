/* The queue's own structures. Only src/ sees them. */
#ifndef POISE_QUEUE_H
#define POISE_QUEUE_H

#include <poise/poise.h>

#include "lock.h"
#include "timer.h"

#define DIRECTIONS ((uint32_t)(POISE_READABLE | POISE_WRITABLE | POISE_PRIORITY))
#define NONE UINT32_MAX /* no slot */

enum slot_state {
    SLOT_FREE = 1 << 0,
    SLOT_IN_READY = 1 << 1,  /* gathered: the next poise_next gives it */
    SLOT_IN_POSTED = 1 << 2, /* ready without the kernel: the next wait gathers it */
    SLOT_DISARMED = 1 << 3,  /* its one event was gathered (one-shot), or it was parked: nothing until poise_watch */
    SLOT_ALWAYS = 1 << 4,    /* a file: always ready, unknown to the backend */
    SLOT_NEW = 1 << 5,       /* its first poise_watch is under way: unknown to the backend */
};

/* A watched source. The generation tells one user of a slot from the next: a report that is late finds it changed. */
struct slot {
    void *data;
    poise_source source;
    uint32_t generation;
    uint32_t next, previous; /* in the ready or the posted list; next also in the free list */
    uint32_t chain;          /* next slot in the same bucket of the index */
    uint16_t interest;
    uint16_t ready;  /* gathered and not taken */
    uint16_t posted; /* by poise_post, and not taken; survives a pause */
    uint16_t error;  /* positive errno value for poise_event.result */
    uint8_t quiet;   /* directions that were reported in edge mode and wait for poise_again */
    uint8_t state;
};

struct list { /* of slots, by number: in order, O(1) to add and to remove from anywhere */
    uint32_t head, tail;
};

struct poise {
    const struct backend *backend;
    void *platform; /* the backend's own */
    struct lock lock;
    bool waiting; /* a wait is blocked, its lock dropped */
    bool nested;  /* an outer loop may wait for poise_fileno's descriptor */

    void *(*realloc)(void *context, void *block, size_t size);
    void *context;
    unsigned batch;

    struct slot *slots;
    uint32_t used, capacity; /* slots that were ever in use; a power of two, also the number of buckets */
    uint32_t unused;         /* free list */
    uint32_t *buckets;       /* source to slot */
    struct list ready, posted;

    uintptr_t wakes;                 /* wakers that were woken, last first: pushed by poise_wake without a lock */
    poise_waker *woken, *woken_last; /* wakers that were gathered, in order */

    struct timers timers;
};

#endif
