/* The whole contract between the queue and a platform: seven functions (and an eighth where a queue can be nested), and
 * what they may call back.
 *
 * A backend knows descriptors and readiness. It knows nothing of timers, data pointers, modes that its kernel lacks, or
 * what the user takes. All functions but wake run with the queue's lock held; wait drops it while it blocks
 * (queue_unlock, queue_relock). */
#ifndef POISE_BACKEND_H
#define POISE_BACKEND_H

#include "queue.h"

enum {
    KERNEL_MODES = 1 << 0, /* the kernel itself keeps edges, and disarms a one-shot when it reports it */
};

enum arm {
    ARM_WATCH,  /* the user named the source: say -EBADF, -ENOTSUP, or ALWAYS_READY if that is what it is */
    ARM_CHANGE, /* the armed directions of a known source have changed: cannot fail */
};

enum { ALWAYS_READY = 1 }; /* what arm returns for a file: the queue looks after it alone, the backend forgets it */

struct backend {
    const char *name;
    uint32_t features;
    int (*open)(struct poise *queue); /* -ENOTSUP: not here, try the next of the platform */
    void (*close)(struct poise *queue);
    int (*reserve)(struct poise *queue, uint32_t slots); /* besides open the only one that may allocate (G12) */
    int (*arm)(struct poise *queue, uint32_t slot, enum arm why);
    void (*forget)(struct poise *queue, uint32_t slot);
    int (*wait)(struct poise *queue, uint64_t until_ns); /* 0: look once; UINT64_MAX: for ever. May return early: 0 */
    void (*wake)(struct poise *queue);                   /* ends a wait; async-signal-safe */
    int (*fileno)(struct poise *queue);                  /* optional: what an outer loop can wait for */
};

extern const struct backend *const poise__backends[]; /* the best of this platform first, then a NULL */
bool poise__backend_known(const char *name);          /* known to poise, here or on another platform */

/* ---- for backends ---- */

/* The directions that a source waits for now: 0 when it is paused, disarmed or free. */
static inline uint32_t queue_armed(const struct slot *slot)
{
    return slot->state & (SLOT_FREE | SLOT_DISARMED) ? 0 : slot->interest & DIRECTIONS & ~(uint32_t)slot->quiet;
}

/* Reports readiness: only from wait, since poise_next looks at the list without the lock. 1: the source was added to the ready list; 0: it was there already, or did not want to hear of it;
 * -1: this generation is dead, the report came from a file that nobody watches any more. */
int poise__ready(struct poise *queue, uint32_t slot, uint32_t generation, uint32_t readiness);

/* The same for a backend with KERNEL_MODES: what most reports need, without a call. (queue.c's report does the rest; the
 * two must change together.) */
static inline int queue_ready(struct poise *queue, uint32_t index, uint32_t generation, uint32_t readiness)
{
    struct slot *slot = &queue->slots[index];
    uint32_t wanted = readiness & slot->interest & DIRECTIONS;
    if (RARE(slot->state != 0 || slot->quiet != 0 || slot->generation != generation || wanted == 0)) {
        return poise__ready(queue, index, generation, readiness);
    }
    slot->ready = (uint16_t)(wanted | (readiness & HINTS));
    slot->state = slot->interest & POISE_ONESHOT ? SLOT_IN_READY | SLOT_DISARMED : SLOT_IN_READY;
    list_append(queue, &queue->ready, index);
    return 1;
}

/* With POISE_ERROR: why, as a positive errno value, where it is known. */
static inline void queue_error(struct poise *queue, uint32_t slot, int error)
{
    queue->slots[slot].error = (uint16_t)error;
}

/* The descriptor was closed: one last event, then nothing until poise_watch. Only from wait. Returns what poise__ready
 * does. */
int poise__park(struct poise *queue, uint32_t slot);

/* poise_again, by a backend that has seen the program's EAGAIN itself. */
void poise__again(struct poise *queue, uint32_t slot, uint32_t directions);

uint32_t poise__slot_of(const struct poise *queue, poise_source source); /* NONE: it is not watched */

/* In arm: the number stands for another file now. What was gathered from the old one is dropped. */
void poise__replaced(struct poise *queue, uint32_t slot);

static inline void queue_unlock(struct poise *queue)
{
    queue->waiting = true;
    lock_drop(&queue->lock);
}

static inline void queue_relock(struct poise *queue)
{
    lock_take(&queue->lock);
    queue->waiting = false;
}

static inline void *queue_realloc(struct poise *queue, void *block, size_t size)
{
    return block != NULL || size != 0 ? queue->realloc(queue->context, block, size) : NULL;
}

#endif
