/* SPDX-License-Identifier: MIT
 *
 * The queue: sources, posts, wakers, and the wait. What every platform shares.
 *
 * A source is a slot. Backends say what is ready (poise__ready), which links the slot into the ready list once;
 * poise_next takes it out again. What changes a source takes it off that list at once, so nothing stale is ever in it
 * (G5). Modes that a kernel lacks are kept here: a one-shot disarms its slot, an edge silences a direction until
 * poise_again.
 *
 * poise_watch, poise_unwatch       O(1), and the kernel's own: one epoll_ctl; poll and wasip2: one fstat for a watch;
 *                                  poll: the next wait makes its list anew, O(n); wasip2: a watch of a known source
 *                                  that was idle for long is O(such sources)
 * poise_again, poise_post          O(1)
 * poise_wait                       O(events), and the kernel's own; poll: O(n); wasip2: O(active sources), and O(n)
 *                                  when nothing is ready (wasi/crowd.c); epoll after an orphan (backend/epoll.c,
 *                                  trap 1): one epoll_ctl for each source
 * poise_next                       O(1)
 * poise_timer_start, _stop         O(1), amortised: what takes the last timer of a bucket that is due, be it a stop,
 *                                  sorts the next such bucket
 * a timer that fires               O(1) amortised for each of at most 8 levels, and its share of sorting what is due
 *                                  within the same 66 us
 * poise_wake                       O(1), lock-free
 * poise_waker_close                O(1); of one that was woken and not taken: O(such wakers)
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "backend.h"
#include "queue.h"

#define MODES ((uint32_t)(POISE_EDGE | POISE_ONESHOT))

enum { FIRST_CAPACITY = 16, DEFAULT_BATCH = 256, MOST_BATCH = 65536, MOST_SLOTS = 1 << 24 };
enum { DEFAULT_COLD_LATENCY = 1000000 }; /* ns */

_Static_assert(sizeof(struct slot) <= 48, "a registered source is at most 48 bytes");
_Static_assert(sizeof(poise_timer) <= (sizeof(void *) == 8 ? 48 : 32),
               "a timer is promised not to grow: callers embed it");
_Static_assert(sizeof(poise_waker) == 6 * sizeof(void *), "a waker is promised not to grow: callers embed it");

/* ---- opening and closing ---------------------------------------------------------------------------------------- */

static void *default_realloc(void *context, void *block, size_t size)
{
    (void)context;
    if (size == 0) {
        free(block);
        return NULL;
    }
    return realloc(block, size);
}

/* A name is asked for as it is; without one, the first of the platform that can be opened. */
static int open_backend(poise *queue, const char *name)
{
    if (name != NULL && !poise__backend_known(name)) {
        return -EINVAL;
    }
    int result = -ENOTSUP;
    for (size_t i = 0; poise__backends[i] != NULL && result == -ENOTSUP; i++) {
        if (name == NULL || strcmp(name, poise__backends[i]->name) == 0) {
            queue->backend = poise__backends[i];
            result = queue->backend->open(queue);
        }
    }
    return result;
}

int poise_open(poise **result, const poise_options *options)
{
    static const poise_options defaults = { .size = sizeof(poise_options) };
    if (result == NULL) {
        return -EINVAL;
    }
    *result = NULL;
    if (options == NULL) {
        options = &defaults;
    }
    if (options->size != sizeof(poise_options) || options->batch > MOST_BATCH) {
        return -EINVAL;
    }
    void *(*reallocate)(void *, void *, size_t) = options->realloc != NULL ? options->realloc : default_realloc;
    poise *queue = reallocate(options->context, NULL, sizeof *queue);
    if (queue == NULL) {
        return -ENOMEM;
    }
    memset(queue, 0, sizeof *queue);
    queue->realloc = reallocate;
    queue->context = options->context;
    queue->batch = options->batch != 0 ? options->batch : DEFAULT_BATCH;
    queue->cold_latency = options->cold_latency_ns != 0 ? options->cold_latency_ns : DEFAULT_COLD_LATENCY;
    queue->unused = NONE;
    queue->ready = queue->posted = (struct list){ NONE, NONE };
    poise__timers_init(&queue->timers);
    const char *name = options->backend != NULL ? options->backend : getenv("POISE_BACKEND");
    if (name != NULL && *name == '\0') {
        name = NULL;
    }
    int error = lock_init(&queue->lock);
    if (error == 0) {
        error = open_backend(queue, name);
        if (error != 0) {
            lock_destroy(&queue->lock);
        }
    }
    if (error != 0) {
        (void)queue_realloc(queue, queue, 0);
        return error;
    }
    *result = queue;
    return 0;
}

/* Takes no lock and tells the kernel nothing of the sources: a child after fork may call it (G17). */
void poise_close(poise *queue)
{
    if (queue == NULL) {
        return;
    }
    queue->backend->close(queue);
    lock_destroy(&queue->lock);
    (void)queue_realloc(queue, queue->slots, 0);
    (void)queue_realloc(queue, queue->buckets, 0);
    (void)queue_realloc(queue, queue, 0);
}

const char *poise_backend(const poise *queue) { return queue != NULL ? queue->backend->name : NULL; }

const char *poise_version(void) { return "0.1.0"; }

uint64_t poise_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* ---- slots ------------------------------------------------------------------------------------------------------ */

static void list_remove(poise *queue, struct list *list, uint32_t index)
{
    const struct slot *slot = &queue->slots[index];
    if (list->head == index) {
        list_begin(list, slot->next);
    } else {
        queue->slots[slot->previous].next = slot->next;
    }
    *(slot->next != NONE ? &queue->slots[slot->next].previous : &list->tail) = slot->previous;
}

static void unlist(poise *queue, uint32_t index)
{
    struct slot *slot = &queue->slots[index];
    if (slot->state & SLOT_IN_READY) {
        list_remove(queue, &queue->ready, index);
    } else if (slot->state & SLOT_IN_POSTED) {
        list_remove(queue, &queue->posted, index);
    }
    slot->state &= (uint8_t)~(unsigned)(SLOT_IN_READY | SLOT_IN_POSTED);
}

static void enlist(poise *queue, uint32_t index, unsigned which)
{
    list_append(queue, which == SLOT_IN_READY ? &queue->ready : &queue->posted, index);
    queue->slots[index].state |= (uint8_t)which;
}

/* What the next wait can report of a source without asking the kernel: posts, and files that are always ready. A post
 * is heard even where an edge waits for poise_again: it says that there is more than the kernel knows. */
static uint32_t ready_without_kernel(const struct slot *slot)
{
    if (slot->state & (SLOT_FREE | SLOT_DISARMED)) {
        return 0;
    }
    uint32_t ready = slot->posted & slot->interest & DIRECTIONS;
    return slot->state & SLOT_ALWAYS ? ready | (queue_armed(slot) & ~(uint32_t)POISE_PRIORITY) : ready;
}

/* Puts a source on the list where it belongs after any change. */
static void settle(poise *queue, uint32_t index)
{
    struct slot *slot = &queue->slots[index];
    if (slot->state & SLOT_IN_READY) {
        if (((slot->ready | slot->posted) & slot->interest & DIRECTIONS) != 0) {
            return;
        }
        slot->ready = 0;
        unlist(queue, index);
    }
    bool wanted = ready_without_kernel(slot) != 0;
    if (wanted && !(slot->state & SLOT_IN_POSTED)) {
        enlist(queue, index, SLOT_IN_POSTED);
    } else if (!wanted) {
        unlist(queue, index);
    }
}

/* What is ready without the kernel must end a wait that blocks already (G19), also that of an outer loop. */
static void announce(poise *queue, const struct slot *slot)
{
    if ((queue->waiting || queue->nested) && (slot->state & SLOT_IN_POSTED)) {
        queue->backend->wake(queue);
    }
}

static uint32_t *bucket_of(const poise *queue, poise_source source)
{
    /* Descriptors and handles are small dense numbers: themselves the best hash. Kinds start far apart. */
    return &queue->buckets[((uint32_t)source.id + source.kind * UINT32_C(0x9E3779B1)) & (queue->capacity - 1)];
}

static uint32_t find(const poise *queue, poise_source source)
{
    uint32_t index = queue->capacity != 0 ? *bucket_of(queue, source) : NONE;
    while (index != NONE &&
           (queue->slots[index].source.id != source.id || queue->slots[index].source.kind != source.kind)) {
        index = queue->slots[index].chain;
    }
    return index;
}

static int grow(poise *queue)
{
    uint32_t capacity = queue->capacity != 0 ? queue->capacity * 2 : FIRST_CAPACITY;
    if (capacity > MOST_SLOTS) {
        return -ENOMEM;
    }
    int result = queue->backend->reserve(queue, capacity);
    if (result != 0) {
        return result;
    }
    struct slot *slots = queue_realloc(queue, queue->slots, capacity * sizeof *slots);
    if (slots == NULL) {
        return -ENOMEM;
    }
    queue->slots = slots;
    uint32_t *buckets = queue_realloc(queue, queue->buckets, capacity * sizeof *buckets);
    if (buckets == NULL) {
        return -ENOMEM; /* larger slots than the capacity says: no harm */
    }
    queue->buckets = buckets;
    queue->capacity = capacity;
    memset(buckets, 0xff, capacity * sizeof *buckets);
    for (uint32_t i = 0; i < queue->used; i++) {
        if (!(slots[i].state & SLOT_FREE)) {
            uint32_t *bucket = bucket_of(queue, slots[i].source);
            slots[i].chain = *bucket;
            *bucket = i;
        }
    }
    return 0;
}

static int take_slot(poise *queue, poise_source source, uint32_t *result)
{
    uint32_t index = queue->unused;
    if (index == NONE && queue->used == queue->capacity) {
        int error = grow(queue);
        if (error != 0) {
            return error;
        }
    }
    uint32_t generation = 0;
    if (index != NONE) {
        queue->unused = queue->slots[index].next;
        generation = queue->slots[index].generation;
    } else {
        index = queue->used++;
    }
    uint32_t *bucket = bucket_of(queue, source);
    queue->slots[index] =
        (struct slot){ .source = source, .generation = generation, .chain = *bucket, .state = SLOT_NEW };
    *bucket = index;
    *result = index;
    return 0;
}

static void free_slot(poise *queue, uint32_t index)
{
    struct slot *slot = &queue->slots[index];
    if (slot->state != 0) {
        unlist(queue, index);
    }
    uint32_t *link = bucket_of(queue, slot->source);
    while (*link != index) {
        link = &queue->slots[*link].chain;
    }
    *link = slot->chain;
    slot->state = SLOT_FREE;
    slot->generation++;
    slot->next = queue->unused;
    queue->unused = index;
}

/* ---- sources ---------------------------------------------------------------------------------------------------- */

/* By name what a failed poise_watch has changed: copying all of a slot that was written to just now stalls. */
static inline void restore(struct slot *slot, const struct slot *before)
{
    slot->generation = before->generation;
    slot->interest = before->interest;
    slot->posted = before->posted;
    slot->ready = before->ready;
    slot->error = before->error;
    slot->quiet = before->quiet;
    slot->state = before->state;
}

/* What was gathered, and not taken, when it is watched again. */
static COLD void keep_gathered(struct slot *slot, uint32_t interest)
{
    if (slot->error == EBADF) { /* parked, and that not taken: the number is open again, or arm says so */
        slot->ready = 0;
    }
    /* The number may be another file's now, and hints must be true: level tells them again. */
    slot->ready &= DIRECTIONS;
    slot->ready &= (uint16_t)interest;
    /* What is still asked for is the one event of a one-shot (G4). */
    if ((interest & POISE_ONESHOT) && ((slot->ready | slot->posted) & interest & DIRECTIONS)) {
        slot->state |= SLOT_DISARMED;
    }
}

static int watch(poise *queue, poise_source source, uint32_t interest, void *data)
{
    uint32_t index = find(queue, source);
    bool is_new = index == NONE;
    if (is_new) {
        int error = take_slot(queue, source, &index);
        if (error != 0) {
            return error;
        }
    }
    struct slot *slot = &queue->slots[index];
    struct slot before = *slot;
    slot->interest = (uint16_t)interest;
    slot->quiet = 0;
    slot->state &= (uint8_t)~(unsigned)SLOT_DISARMED;
    if (RARE(slot->state & SLOT_IN_READY)) {
        keep_gathered(slot, interest);
    }
    slot->error = 0;
    int result = queue->backend->arm(queue, index, ARM_WATCH);
    if (RARE(result < 0)) {
        if (is_new) {
            free_slot(queue, index);
        } else {
            restore(slot, &before);
        }
        return result;
    }
    slot->data = data;
    slot->state &= (uint8_t)~(unsigned)(SLOT_ALWAYS | SLOT_NEW);
    slot->state |= result == ALWAYS_READY ? SLOT_ALWAYS : 0;
    if (RARE(slot->state != 0 || slot->posted != 0)) {
        settle(queue, index);
        announce(queue, slot);
    }
    return 0;
}

int poise_watch(poise *queue, poise_source source, uint32_t interest, void *data)
{
    if (queue == NULL || (interest & ~(DIRECTIONS | MODES)) != 0 || (interest & MODES) == MODES) {
        return -EINVAL;
    }
    lock_take(&queue->lock);
    int result = watch(queue, source, interest, data);
    lock_drop(&queue->lock);
    return result;
}

int poise_unwatch(poise *queue, poise_source source)
{
    if (queue == NULL) {
        return -EINVAL;
    }
    lock_take(&queue->lock);
    uint32_t index = find(queue, source);
    if (index != NONE) {
        if (!(queue->slots[index].state & SLOT_ALWAYS)) {
            queue->backend->forget(queue, index);
        }
        free_slot(queue, index);
    }
    lock_drop(&queue->lock);
    return index != NONE ? 0 : -ENOENT;
}

void poise__again(struct poise *queue, uint32_t index, uint32_t directions)
{
    struct slot *slot = &queue->slots[index];
    if ((slot->quiet & directions) == 0) {
        return;
    }
    slot->quiet &= (uint8_t)~directions;
    if (!(slot->state & SLOT_ALWAYS)) {
        (void)queue->backend->arm(queue, index, ARM_CHANGE);
    }
    settle(queue, index);
    announce(queue, slot);
}

uint32_t poise__slot_of(const struct poise *queue, poise_source source) { return find(queue, source); }

int poise_again(poise *queue, poise_source source, uint32_t directions)
{
    if (queue == NULL || (directions & ~DIRECTIONS) != 0) {
        return -EINVAL;
    }
    lock_take(&queue->lock);
    uint32_t index = find(queue, source);
    if (index != NONE) {
        poise__again(queue, index, directions);
    }
    lock_drop(&queue->lock);
    return index != NONE ? 0 : -ENOENT;
}

int poise_post(poise *queue, poise_source source, uint32_t ready)
{
    if (queue == NULL || ready == 0 || (ready & ~DIRECTIONS) != 0) {
        return -EINVAL;
    }
    lock_take(&queue->lock);
    uint32_t index = find(queue, source);
    if (index != NONE) {
        queue->slots[index].posted |= (uint16_t)ready;
        settle(queue, index);
        announce(queue, &queue->slots[index]);
    }
    lock_drop(&queue->lock);
    return index != NONE ? 0 : -ENOENT;
}

/* ---- what is ready ---------------------------------------------------------------------------------------------- */

/* What a report does to its source: a one-shot is disarmed, and an edge is quiet where the kernel does not see to it. */
static void apply_mode(poise *queue, uint32_t index, uint32_t readiness, bool from_kernel)
{
    struct slot *slot = &queue->slots[index];
    bool always = slot->state & SLOT_ALWAYS;
    bool kernel_modes = queue->backend->features & KERNEL_MODES;
    bool changed = false;
    if (slot->interest & POISE_ONESHOT) {
        slot->state |= SLOT_DISARMED;
        changed = !(from_kernel && kernel_modes);
    } else if ((slot->interest & POISE_EDGE) && (always || (from_kernel && !kernel_modes))) {
        slot->quiet |= (uint8_t)(readiness & DIRECTIONS);
        changed = true;
    }
    if (changed && !always) {
        (void)queue->backend->arm(queue, index, ARM_CHANGE);
    }
}

/* Links a source into the ready list, or merges into what is gathered there. Then its mode takes effect. */
static bool report(poise *queue, uint32_t index, uint32_t readiness, bool from_kernel)
{
    struct slot *slot = &queue->slots[index];
    bool added = !(slot->state & SLOT_IN_READY);
    slot->ready |= (uint16_t)readiness;
    if (added) {
        if (slot->state & SLOT_IN_POSTED) {
            unlist(queue, index);
        }
        enlist(queue, index, SLOT_IN_READY);
    }
    if (slot->interest & MODES) {
        apply_mode(queue, index, readiness, from_kernel);
    }
    return added;
}

int poise__ready(struct poise *queue, uint32_t index, uint32_t generation, uint32_t readiness)
{
    struct slot *slot = &queue->slots[index];
    if (slot->generation != generation || (slot->state & SLOT_FREE)) {
        return -1;
    }
    uint32_t wanted = readiness & queue_armed(slot);
    return wanted != 0 && report(queue, index, wanted | (readiness & HINTS), true) ? 1 : 0;
}

int poise__park(poise *queue, uint32_t index)
{
    struct slot *slot = &queue->slots[index];
    uint32_t asked = queue_armed(slot);
    slot->state |= SLOT_DISARMED;
    if (asked == 0) {
        return 0;
    }
    slot->error = EBADF;
    slot->ready |= (uint16_t)(asked | POISE_ERROR);
    unlist(queue, index);
    enlist(queue, index, SLOT_IN_READY);
    if (!(slot->state & SLOT_ALWAYS)) {
        (void)queue->backend->arm(queue, index, ARM_CHANGE);
    }
    return 1;
}

void poise__replaced(poise *queue, uint32_t index)
{
    struct slot *slot = &queue->slots[index];
    slot->generation++;
    slot->ready = 0; /* poise_watch takes it off its list, if nothing else keeps it there */
    slot->posted = 0;
    slot->error = 0;
    slot->state &= (uint8_t)~(unsigned)SLOT_DISARMED;
}

static bool anything(const poise *queue)
{
    return queue->ready.head != NONE || queue->woken != NULL || timers_any_due(&queue->timers);
}

static void gather_posts(poise *queue)
{
    uint32_t last = queue->posted.tail;
    for (uint32_t index = queue->posted.head; index != NONE;) {
        const struct slot *slot = &queue->slots[index];
        uint32_t next = index != last ? slot->next : NONE;
        struct stat status; /* not F_GETFD: the libc of WASI 0.1 answers that itself, also for a closed descriptor */
        if ((slot->state & SLOT_ALWAYS) && fstat(slot->source.id, &status) != 0 && errno == EBADF) {
            (void)poise__park(queue, index); /* a file that was closed before it was unwatched */
        } else {
            (void)report(queue, index, ready_without_kernel(slot), false);
        }
        index = next;
    }
}

/* ---- wakers ----------------------------------------------------------------------------------------------------- */

enum { WAKER_QUEUE, WAKER_NEXT, WAKER_WOKEN }; /* words of poise_waker.reserved */

static void gather_wakes(poise *queue)
{
    uintptr_t pushed = __atomic_exchange_n(&queue->wakes, 0, __ATOMIC_ACQUIRE);
    uintptr_t in_order = 0;
    while (pushed != 0) {
        poise_waker *waker = (poise_waker *)pushed;
        pushed = waker->reserved[WAKER_NEXT];
        waker->reserved[WAKER_NEXT] = in_order;
        in_order = (uintptr_t)waker;
    }
    for (; in_order != 0; in_order = ((poise_waker *)in_order)->reserved[WAKER_NEXT]) {
        poise_waker *waker = (poise_waker *)in_order;
        if (queue->woken == NULL) {
            queue->woken = waker;
        } else {
            queue->woken_last->reserved[WAKER_NEXT] = in_order;
        }
        queue->woken_last = waker;
    }
}

int poise_waker_open(poise *queue, poise_waker *waker, void *data)
{
    if (queue == NULL || waker == NULL) {
        return -EINVAL;
    }
    if (waker->reserved[WAKER_QUEUE] != 0) {
        return -EBUSY;
    }
    waker->data = data;
    waker->reserved[WAKER_WOKEN] = 0;
    waker->reserved[WAKER_NEXT] = 0;
    __atomic_store_n(&waker->reserved[WAKER_QUEUE], (uintptr_t)queue, __ATOMIC_RELEASE);
    return 0;
}

/* Returns whether there were none: then whoever pushed has to wake. (Not from what is in the list: that may be taken by
 * now.) */
static bool push_wakes(poise *queue, poise_waker *first, poise_waker *last)
{
    uintptr_t head = __atomic_load_n(&queue->wakes, __ATOMIC_RELAXED);
    do {
        last->reserved[WAKER_NEXT] = head;
    } while (
        !__atomic_compare_exchange_n(&queue->wakes, &head, (uintptr_t)first, true, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    return head == 0;
}

/* Takes a waker out of a list that begins at *first; *last becomes the last one that stays. */
static void take_out(poise_waker **first, poise_waker **last, const poise_waker *waker)
{
    poise_waker *previous = NULL;
    for (poise_waker *at = *first; at != NULL; at = (poise_waker *)at->reserved[WAKER_NEXT]) {
        if (at != waker) {
            previous = at;
        } else if (previous != NULL) {
            previous->reserved[WAKER_NEXT] = at->reserved[WAKER_NEXT];
        } else {
            *first = (poise_waker *)at->reserved[WAKER_NEXT];
        }
    }
    *last = previous;
}

void poise_waker_close(poise_waker *waker)
{
    if (waker == NULL || waker->reserved[WAKER_QUEUE] == 0) {
        return;
    }
    poise *queue = (poise *)waker->reserved[WAKER_QUEUE];
    if (__atomic_load_n(&waker->reserved[WAKER_WOKEN], __ATOMIC_ACQUIRE)) { /* it is in one of these */
        take_out(&queue->woken, &queue->woken_last, waker);
        poise_waker *first = (poise_waker *)__atomic_exchange_n(&queue->wakes, 0, __ATOMIC_ACQUIRE);
        poise_waker *last = NULL;
        take_out(&first, &last, waker);
        if (first != NULL) {
            (void)push_wakes(queue, first, last); /* whoever woke them has woken the queue */
        }
    }
    waker->reserved[WAKER_WOKEN] = 0;
    waker->reserved[WAKER_QUEUE] = 0;
}

/* From any thread or signal handler: two atomic operations, and a system call only for the first waker since the last
 * wait. It stays "woken" until poise_next takes it, so further wakes coalesce and the last is never lost. */
void poise_wake(poise_waker *waker)
{
    poise *queue = waker != NULL ? (poise *)__atomic_load_n(&waker->reserved[WAKER_QUEUE], __ATOMIC_ACQUIRE) : NULL;
    if (queue == NULL || __atomic_exchange_n(&waker->reserved[WAKER_WOKEN], 1, __ATOMIC_ACQ_REL)) {
        return;
    }
    if (push_wakes(queue, waker, waker)) {
        int saved = errno;
        queue->backend->wake(queue);
        errno = saved;
    }
}

/* ---- waiting ---------------------------------------------------------------------------------------------------- */

/* What needs no kernel. */
static bool anything_to_gather(const poise *queue)
{
    return queue->posted.head != NONE || __atomic_load_n(&queue->wakes, __ATOMIC_ACQUIRE) != 0;
}

static COLD void gather(poise *queue)
{
    gather_posts(queue);
    gather_wakes(queue);
}

static inline int wait_until(poise *queue, uint64_t deadline)
{
    uint64_t limit = deadline;
    if (RARE(anything(queue) || anything_to_gather(queue))) {
        if (!anything_to_gather(queue)) {
            return 1; /* left from the wait before: they come first, without another look at the kernel (G6) */
        }
        gather(queue);
        limit = anything(queue) ? 0 : deadline;
    }
    for (;; limit = deadline) {
        uint64_t until = poise__timers_next(&queue->timers);
        bool timers = until != UINT64_MAX;
        int result = queue->backend->wait(queue, until < limit ? until : limit);
        if (RARE(result < 0)) {
            return anything(queue) ? 1 : result;
        }
        if (RARE(anything_to_gather(queue))) {
            gather(queue);
        }
        if (timers) {
            poise__timers_gather(&queue->timers, poise_now());
        }
        if (anything(queue)) {
            return 1;
        }
        if (deadline == 0 || (deadline != UINT64_MAX && poise_now() >= deadline)) {
            return 0;
        }
    }
}

static uint64_t deadline_of(int64_t timeout_ns)
{
    if (timeout_ns == POISE_FOREVER) {
        return UINT64_MAX;
    }
    return timeout_ns > 0 ? poise_now() + (uint64_t)timeout_ns : 0; /* both are below 2^63 */
}

int poise_wait(poise *queue, int64_t timeout_ns)
{
    if (RARE(queue == NULL)) {
        return -EINVAL;
    }
    uint64_t deadline = deadline_of(timeout_ns);
    lock_take(&queue->lock);
    queue->deadline = deadline;
    int result = wait_until(queue, deadline);
    lock_drop(&queue->lock);
    return result;
}

static void take_source(poise *queue, poise_event *event)
{
    uint32_t index = queue->ready.head;
    struct slot *slot = &queue->slots[index];
    event->data = slot->data;
    event->ready = slot->ready;
    event->result = slot->ready & POISE_ERROR ? -(int32_t)slot->error : 0;
    if (RARE(slot->posted != 0)) {
        uint32_t posted = slot->posted & slot->interest & DIRECTIONS;
        event->ready |= posted;
        slot->posted &= (uint16_t)~posted;
    }
    slot->ready = 0;
    slot->error = 0;
    list_begin(&queue->ready, slot->next);
    slot->state &= (uint8_t)~(unsigned)SLOT_IN_READY;
    if (RARE(slot->state & SLOT_ALWAYS)) {
        settle(queue, index);
    }
}

static COLD bool take_waker(poise *queue, poise_event *event)
{
    poise_waker *waker = queue->woken;
    queue->woken = (poise_waker *)waker->reserved[WAKER_NEXT];
    *event = (poise_event){ .data = waker->data, .ready = POISE_WAKE };
    __atomic_store_n(&waker->reserved[WAKER_WOKEN], 0, __ATOMIC_RELEASE); /* from here on a wake counts anew */
    return true;
}

static COLD bool next_timer(poise *queue, poise_event *event)
{
    poise_timer *timer = poise__timers_take(&queue->timers);
    timer->reserved[TIMER_OWNER] = 0;
    *event = (poise_event){ .data = timer->data, .ready = POISE_TIMER };
    return true;
}

/* Wakers and timers belong to the waiting thread, so they need no lock. */
static inline bool next_other(poise *queue, poise_event *event)
{
    if (queue->woken != NULL) {
        return take_waker(queue, event);
    }
    return timers_any_due(&queue->timers) && next_timer(queue, event);
}

static COLD bool next_source(poise *queue, poise_event *event)
{
    lock_take(&queue->lock);
    bool found = queue->ready.head != NONE; /* another thread may have unwatched the last one meanwhile */
    if (found) {
        take_source(queue, event);
    }
    lock_drop(&queue->lock);
    return found || next_other(queue, event);
}

/* Every turn ends with a call that finds nothing. It takes no lock: only a wait, so this thread, adds to the ready list.
 * (What finds a source is a function of its own, so that this one saves no registers.) */
bool poise_next(poise *queue, poise_event *event)
{
    if (RARE(queue == NULL || event == NULL)) {
        return false;
    }
    if (__atomic_load_n(&queue->ready.head, __ATOMIC_RELAXED) != NONE) {
        return next_source(queue, event);
    }
    return next_other(queue, event);
}

int poise_fileno(const poise *constant)
{
    poise *queue = (poise *)(uintptr_t)constant;
    if (queue == NULL) {
        return -EINVAL;
    }
    if (queue->backend->fileno == NULL) {
        return -ENOTSUP;
    }
    lock_take(&queue->lock);
    queue->nested = true;
    int result = queue->backend->fileno(queue);
    lock_drop(&queue->lock);
    return result;
}

uint64_t poise_deadline(const poise *constant)
{
    poise *queue = (poise *)(uintptr_t)constant;
    if (queue == NULL) {
        return UINT64_MAX;
    }
    lock_take(&queue->lock);
    bool now = anything(queue) || anything_to_gather(queue);
    uint64_t deadline = now ? 0 : poise__timers_next(&queue->timers);
    lock_drop(&queue->lock);
    return deadline;
}

/* ---- timers: only the waiting thread touches them, so they need no lock ------------------------------------------ */

int poise_timer_start(poise *queue, poise_timer *timer, uint64_t deadline_ns, void *data)
{
    if (queue == NULL || timer == NULL) {
        return -EINVAL;
    }
    uintptr_t owner = timer->reserved[TIMER_OWNER];
    if (owner != 0 && owner != (uintptr_t)queue) {
        return -EBUSY;
    }
    if (owner != 0) {
        poise__timers_stop(&queue->timers, timer);
    }
    timer->data = data;
    timer->reserved[TIMER_OWNER] = (uintptr_t)queue;
    poise__timers_start(&queue->timers, timer, deadline_ns);
    return 0;
}

bool poise_timer_stop(poise *queue, poise_timer *timer)
{
    if (queue == NULL || timer == NULL || timer->reserved[TIMER_OWNER] != (uintptr_t)queue) {
        return false;
    }
    poise__timers_stop(&queue->timers, timer);
    timer->reserved[TIMER_OWNER] = 0;
    return true;
}
