/* The queue's own structures. Only src/ sees them. */
#ifndef POISE_QUEUE_H
#define POISE_QUEUE_H

#include <poise/poise.h>

#include "lock.h"
#include "timer.h"

#define DIRECTIONS ((uint32_t)(POISE_READABLE | POISE_WRITABLE | POISE_PRIORITY))
#define HINTS ((uint32_t)(POISE_ERROR | POISE_READ_CLOSED | POISE_WRITE_CLOSED))
/* For the way of every event: docs/performance.md has what each is worth. */
#define RARE(condition) __builtin_expect(!!(condition), 0)
#define COLD __attribute__((noinline)) /* keeps its registers out of its caller */

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
    uint16_t posted; /* by poise_post, and not taken; survives a pause */
    uint16_t ready;  /* gathered and not taken: 0 unless SLOT_IN_READY */
    uint16_t error;  /* positive errno value for poise_event.result */
    uint8_t quiet;   /* directions that were reported in edge mode and wait for poise_again */
    uint8_t state;
};

/* Of slots, by number: in order, O(1) to add and to remove from anywhere. The head's previous one and the tail of an empty
 * list say nothing. */
struct list {
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
    uint64_t cold_latency; /* poise_options.cold_latency_ns */
    uint64_t deadline;     /* when the wait that runs ends with nothing: see backend.h, wait */

    struct slot *slots;
    uint32_t used, capacity; /* slots that were ever in use; a power of two, also the number of buckets */
    uint32_t unused;         /* free list */
    uint32_t *buckets;       /* source to slot */
    struct list ready, posted;

    uintptr_t wakes;                 /* wakers that were woken, last first: pushed by poise_wake without a lock */
    poise_waker *woken, *woken_last; /* wakers that were gathered, in order */

    struct timers timers;
};

/* The waiting thread looks whether there is a first one without the lock: see poise_next. */
static inline void list_begin(struct list *list, uint32_t index)
{
    __atomic_store_n(&list->head, index, __ATOMIC_RELAXED);
}

static inline void list_append(struct poise *queue, struct list *list, uint32_t index)
{
    struct slot *slot = &queue->slots[index];
    slot->next = NONE;
    slot->previous = list->tail;
    if (list->head == NONE) {
        list_begin(list, index);
    } else {
        queue->slots[list->tail].next = index;
    }
    list->tail = index;
}

#endif
