/* SPDX-License-Identifier: MIT
 *
 * WASI 0.2: one host call, wasi:io/poll.poll, on the pollables that stand behind the sources (wasi/bridge.c) and on any
 * other.
 *
 * The traps of its hosts (wasmtime 47 and 48, jco-transpile 0.15) and libc:
 *  1. An empty list traps, and so does a handle that was dropped: a wait on nothing is -EDEADLK, and the bridge says
 *     what libc drops.
 *  2. One call does not report all that is ready: wasmtime (tokio) gives a component a budget of 128 steps, which
 *     ready handles, reads and writes use up, and only a call that blocks renews. Beyond it nothing is ready; the
 *     lowest handles come first, and on 47 none beyond the first 128 named once one of these is ready. So a wait that
 *     may find the budget used up begins with a yield (a poll of a fresh zero duration alone, which blocks for no
 *     time), and more than one call can take go to the host in windows of 128, each with a handle that is ready (so
 *     that it does not block), and each after a yield.
 *  3. A poll that finds something at once does not let the host's reactor run: with one source that stays ready,
 *     nobody else's bytes are ever seen. The same yields cure it.
 *  4. A zero time-out must be a fresh handle: a kept one is ready at once and starves the reactor, too.
 *  5. A handle for a deadline costs four to five times as much to make as to name again: it is kept until its time has
 *     come, or an earlier one is needed.
 *  6. The order of the result is not specified. It is marked, and read in the order of the rotation.
 *  7. bind, listen and a failed connect change what stands behind a descriptor and drop nothing. Whatever has no
 *     handle is therefore looked at again by each wait: an unbound TCP socket (not ready), an unbound UDP socket or a
 *     failed connect (ready at once).
 *     Edges that were reported stay on that list, too: it is the new handle that arms them.
 *  8. A connect is finished by libc, in its poll. When the handle of a connecting socket is ready, the bridge tells
 *     libc so, and what libc finds is the event; the handle stays valid, and ready, so it must be captured again at
 *     once.
 *  9. A connected TCP socket's own pollable is always ready. Never wait for it: captures of a connected socket name
 *     its streams'.
 * 10. Each handle that a call names costs 0.25 to 0.65 us, ready or not. So not all are named in each wait
 *     (wasi/crowd.c says which).
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "../backend.h"
#include "../wasi/bridge.h"
#include "../wasi/crowd.h"
#include "../wasi/hear.h"
#include "../wasi/host.h"

enum { WINDOW = 128, FEW = 16 /* sources: all of them in each call */, KIND_POLLABLE = 1 };

/* Trap 2: what the host lets a component do between two yields, and what poise guesses that an event costs of it: the
 * answer itself, and what the program then does. Too low a guess delays some events of a crowd until the next yield;
 * every guess yields within 16 waits. */
enum { BUDGET = 128, EVENT_COSTS = 8 };
enum { IN, OUT }; /* a pollable of its own, which has one direction, is IN */

enum entry_flags {
    LOOSE = 1 << 0,      /* on the list of those that the next wait looks at again */
    CONNECTING = 1 << 1, /* its handle means that libc has a connect to finish */
    READY_IN = 1 << 2,   /* ready without a handle: READY_IN << direction */
    GONE = 1 << 4,       /* a pollable that was dropped while it was watched */
    FOUND_IN = 1 << 5,   /* the host says that it is ready: FOUND_IN << direction */
    SOCKET = 1 << 7,     /* not standard input, whose reads are not ours to add to */
    PART = 1 << 8,       /* the last read took a part, and nobody has looked behind it, */
    TRIED = 1 << 9,      /* and then there was an event */
    CLOSED_IN = 1 << 10, /* an operation has said so: CLOSED_IN << direction */
    FAILED = 1 << 12,    /* the next read says why */
    SHUT_IN = 1 << 13,   /* by poise_shutdown: ready, whether the host says so (wasmtime) or not (jco) */
    LOOK = 1 << 16,      /* and the bits above: behind how many reads to look */
};
enum { LOOKS = 31 * LOOK };
enum { AT_ONCE = READY_IN | READY_IN << OUT, FOUND = FOUND_IN | FOUND_IN << OUT };
enum {
    CLOSED_BOTH = CLOSED_IN | CLOSED_IN << OUT,
    HEARD = SOCKET | PART | TRIED | CLOSED_BOTH | FAILED | SHUT_IN | LOOKS
};

struct entry {         /* beside the slot of the same number */
    int32_t handle[2]; /* 0: none */
    uint32_t chain[2]; /* next place in the same bucket of the handles; a place is slot * 2 + direction */
    uint32_t loose;    /* next on that list */
    uint32_t flags;
};

struct set {
    struct set *next;      /* all queues of this backend: the drop of a handle concerns each */
    struct entry *entries; /* the block that holds the following arrays, too */
    uint32_t *buckets;     /* handle to place */
    int32_t *list;         /* room for all handles and a timer: what the host is asked, and then what it answers */
    struct crowd crowd;    /* whom to ask about; its arrays */
    uint32_t capacity;     /* in slots */
    uint32_t at_once;      /* how many are ready without asking */
    uint32_t fresh;        /* watched since the last wait, which may have let libc make pollables */
    uint32_t loose;        /* first slot to look at again */
    bool changed;          /* handles came or went since this wait began */
    bool crowded;          /* the last wait for all found many: there may be more than one call reports */
    uint32_t spent;        /* of the host's budget since the last yield, by our guess */
    int32_t timer;         /* kept handle, 0: none */
    uint64_t timer_at;
    struct poise *queue;
};

_Static_assert(sizeof(struct entry) + sizeof(struct heat) + 4 * sizeof(uint32_t) <= 48, "at most 48 bytes a source");

static struct set *all_sets;
static uint32_t all_slots; /* the sum of their capacities */

static struct set *set_of(struct poise *queue) { return queue->platform; }

/* ---- handles to places ------------------------------------------------------------------------------------------ */

static uint32_t *bucket_of(struct set *set, int32_t handle)
{
    return &set->buckets[(uint32_t)handle & (set->capacity - 1)];
}

static void put_handle(struct set *set, uint32_t place, int32_t handle)
{
    struct entry *entry = &set->entries[place / 2];
    uint32_t *bucket = bucket_of(set, handle);
    entry->handle[place % 2] = handle;
    entry->chain[place % 2] = *bucket;
    *bucket = place;
    set->changed = true;
}

static void remove_handle(struct set *set, uint32_t place)
{
    struct entry *entry = &set->entries[place / 2];
    if (entry->handle[place % 2] == 0) {
        return;
    }
    uint32_t *link = bucket_of(set, entry->handle[place % 2]);
    while (*link != place) {
        link = &set->entries[*link / 2].chain[*link % 2];
    }
    *link = entry->chain[place % 2];
    entry->handle[place % 2] = 0;
    set->changed = true;
}

static void look_again(struct set *set, uint32_t slot)
{
    struct entry *entry = &set->entries[slot];
    if (!(entry->flags & LOOSE)) {
        entry->flags |= LOOSE;
        entry->loose = set->loose;
        set->loose = slot;
    }
}

/* The streams of one source go together. */
static void forget_heard(struct entry *entry) { entry->flags &= ~(uint32_t)(HEARD & ~SOCKET); }

/* The drop hook: libc drops a handle, of a descriptor that was closed or that changed. */
static void dropped(int32_t handle)
{
    for (struct set *set = all_sets; set != NULL; set = set->next) {
        uint32_t place = set->capacity != 0 ? *bucket_of(set, handle) : NONE;
        while (place != NONE) {
            struct entry *entry = &set->entries[place / 2];
            uint32_t next = entry->chain[place % 2];
            if (entry->handle[place % 2] == handle) {
                remove_handle(set, place);
                forget_heard(entry);
                look_again(set, place / 2);
                entry->flags |= set->queue->slots[place / 2].source.kind == KIND_POLLABLE ? GONE : 0;
            }
            place = next;
        }
    }
}

/* ---- what the program's own calls tell (wasi/hear.c) -------------------------------------------------------------- */

static uint32_t bits_of(const struct slot *slot, uint32_t direction)
{
    if (slot->source.kind == KIND_POLLABLE) {
        return direction == IN ? DIRECTIONS : 0;
    }
    return direction == IN ? POISE_READABLE : POISE_WRITABLE;
}

/* A read took a part. The stream goes on being ready, so the next wait ends at once: for nothing if no more has come,
 * and then it is better to look behind the reads that follow. If more has come, as in a ping-pong, a look only costs: it
 * found nothing, and the host has to hear from its reactor of what came a moment later (a third more for each event). So
 * we go by what became of the last wait that came without a look, and after 31 looks we try one more. */
static bool worth_a_look(struct entry *entry)
{
    if (entry->flags & LOOKS) {
        entry->flags -= LOOK;
        return true;
    }
    entry->flags |= PART;
    return false;
}

/* Returns whether to look behind a part. */
static bool heard_of(struct set *set, uint32_t place, enum heard what)
{
    struct entry *entry = &set->entries[place / 2];
    const struct slot *slot = &set->queue->slots[place / 2];
    uint32_t direction = place % 2;
    if (what == HEARD_CLOSED || what == HEARD_FAILED) {
        entry->flags &= ~(uint32_t)FAILED;
        entry->flags |= (uint32_t)CLOSED_IN << direction | (what == HEARD_FAILED ? FAILED : 0);
        return false;
    }
    poise__again(set->queue, place / 2, bits_of(slot, direction));
    if (direction == OUT) {
        return false;
    }
    entry->flags |= what == HEARD_EMPTY && (entry->flags & TRIED) ? LOOKS : 0;
    entry->flags &= ~(uint32_t)(PART | TRIED);
    bool watched = (entry->flags & SOCKET) && (slot->interest & POISE_READABLE);
    return what == HEARD_PART && watched && worth_a_look(entry);
}

static bool heard(int32_t pollable, enum heard what)
{
    bool look = false;
    for (struct set *set = all_sets; set != NULL; set = set->next) {
        uint32_t place = set->capacity != 0 ? *bucket_of(set, pollable) : NONE;
        for (; place != NONE; place = set->entries[place / 2].chain[place % 2]) {
            if (set->entries[place / 2].handle[place % 2] == pollable) {
                look |= heard_of(set, place, what);
            }
        }
    }
    return look;
}

/* Whose stream it was is not known, for want of memory at that time: so it may be anyone's whose stream is not. Spurious
 * events at worst. When all of those have gone, so has this. */
static void heard_unknown(bool input)
{
    bool unknown = false;
    for (struct set *set = all_sets; set != NULL; set = set->next) {
        for (uint32_t place = 0; place < set->queue->used * 2; place++) {
            int32_t handle = set->entries[place / 2].handle[place % 2];
            const struct slot *slot = &set->queue->slots[place / 2];
            if (handle == 0 || slot->source.kind == KIND_POLLABLE || poise__hear_knows(handle)) {
                continue;
            }
            unknown = true;
            if (input == (place % 2 == IN)) {
                poise__again(set->queue, place / 2, bits_of(slot, place % 2));
            }
        }
    }
    poise__hear_deaf = unknown;
}

/* Of what has no handle yet nothing would say that it is another socket. */
static void heard_shutdown(int fd, int how)
{
    for (struct set *set = all_sets; set != NULL; set = set->next) {
        uint32_t index = poise__slot_of(set->queue, poise_fd(fd));
        struct entry *entry = index != NONE ? &set->entries[index] : NULL;
        if (entry != NULL && (entry->handle[IN] != 0 || entry->handle[OUT] != 0)) {
            entry->flags |= how != SHUT_WR ? (uint32_t)CLOSED_IN | SHUT_IN : 0;
            entry->flags |= how != SHUT_RD ? (uint32_t)CLOSED_IN << OUT : 0;
            look_again(set, index);
        }
    }
}

/* ---- opening and closing ---------------------------------------------------------------------------------------- */

/* One block for everything that grows with the slots: in whole numbers of the largest alignment, from large to small. */
static int reserve(struct poise *queue, uint32_t slots)
{
    struct set *set = set_of(queue);
    size_t each = sizeof *set->entries + sizeof *set->crowd.heat + 4 * sizeof(uint32_t);
    if (!poise__hear_reserve(all_slots - set->capacity + slots)) {
        return -ENOMEM;
    }
    struct entry *entries = queue_realloc(queue, NULL, slots * each + sizeof *set->list);
    if (entries == NULL) {
        (void)poise__hear_reserve(all_slots);
        return -ENOMEM;
    }
    struct heat *heat = (struct heat *)&entries[slots];
    uint32_t *order = (uint32_t *)&heat[slots];
    uint32_t old = set->capacity;
    all_slots += slots - old;
    if (old > 0) {
        memcpy(entries, set->entries, old * sizeof *entries);
        memcpy(heat, set->crowd.heat, old * sizeof *heat);
        memcpy(order, set->crowd.order, set->crowd.count * sizeof *order);
    }
    memset(&entries[old], 0, (slots - old) * sizeof *entries);
    memset(&heat[old], 0, (slots - old) * sizeof *heat);
    (void)queue_realloc(queue, set->entries, 0);
    set->entries = entries;
    set->crowd.heat = heat;
    set->crowd.order = order;
    set->buckets = &order[slots];
    set->list = (int32_t *)&set->buckets[slots];
    set->capacity = slots;
    memset(set->buckets, 0xff, slots * sizeof *set->buckets);
    for (uint32_t place = 0; place < old * 2; place++) {
        int32_t handle = entries[place / 2].handle[place % 2];
        if (handle != 0) {
            put_handle(set, place, handle);
        }
    }
    return 0;
}

static int open_(struct poise *queue)
{
    if (!poise__bridge_in_force()) {
        return -ENOTSUP;
    }
    struct set *set = queue_realloc(queue, NULL, sizeof *set);
    if (set == NULL) {
        return -ENOMEM;
    }
    *set = (struct set){ .next = all_sets, .loose = NONE, .spent = BUDGET, .queue = queue };
    set->crowd.trust = MOST_TRUST;
    queue->platform = set;
    if (reserve(queue, 0) != 0) { /* room for the timer alone */
        (void)queue_realloc(queue, set, 0);
        return -ENOMEM;
    }
    all_sets = set;
    poise__bridge_dropped = dropped;
    poise__heard = heard;
    poise__heard_unknown = heard_unknown;
    poise__heard_shutdown = heard_shutdown;
    return 0;
}

static void close_(struct poise *queue)
{
    struct set *set = set_of(queue);
    struct set **link = &all_sets;
    while (*link != set) {
        link = &(*link)->next;
    }
    *link = set->next;
    all_slots -= set->capacity;
    (void)poise__hear_reserve(all_slots);
    if (set->timer != 0) {
        poise__host_drop(set->timer);
    }
    (void)queue_realloc(queue, set->entries, 0);
    (void)queue_realloc(queue, set, 0);
}

/* ---- sources ---------------------------------------------------------------------------------------------------- */

static bool wanted(const struct slot *slot, int direction)
{
    uint32_t armed = queue_armed(slot);
    return (armed & bits_of(slot, (uint32_t)direction)) != 0;
}

static int arm(struct poise *queue, uint32_t index, enum arm why)
{
    struct set *set = set_of(queue);
    struct slot *slot = &queue->slots[index];
    struct entry *entry = &set->entries[index];
    int32_t id = slot->source.id;
    if (why == ARM_WATCH) {
        struct stat status = { 0 };
        if (slot->state & SLOT_NEW) {
            set->fresh += set->fresh < queue->used; /* more there cannot be */
            if (!poise__hear_room(set->fresh)) {
                return -ENOMEM;
            }
            entry->flags &= LOOSE; /* whatever had the slot before, and maybe was a file when it went */
        }
        if (slot->source.kind > KIND_POLLABLE || (slot->interest & POISE_PRIORITY)) {
            return -ENOTSUP;
        }
        if (slot->source.kind == KIND_POLLABLE) {
            if (id <= 0) {
                return -EBADF;
            }
            if (entry->flags & GONE) { /* another handle with the same number */
                poise__replaced(queue, index);
            }
            entry->flags &= ~(uint32_t)GONE;
            if (entry->handle[IN] == 0) { /* now, and not when it is captured: it may be dropped before the next wait */
                put_handle(set, index * 2 + IN, id);
            }
        } else if (id < 0 || (fstat(id, &status) != 0 && errno == EBADF)) {
            return -EBADF;
        } else if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) {
            return ALWAYS_READY;
        } else {
            entry->flags = (entry->flags & ~(uint32_t)SOCKET) | (S_ISSOCK(status.st_mode) ? SOCKET : 0);
        }
    }
    bool warm = why == ARM_WATCH || !set->crowd.heat[index].listed; /* whoever watches it expects something */
    for (int direction = IN; direction <= OUT; direction++) {
        if (!wanted(slot, direction)) {
            continue;
        }
        if (entry->handle[direction] == 0) {
            look_again(set, index);
        }
        if (warm) {
            poise__crowd_warm(&set->crowd, index);
        }
    }
    return 0;
}

static void forget(struct poise *queue, uint32_t index)
{
    struct set *set = set_of(queue);
    remove_handle(set, index * 2 + IN);
    remove_handle(set, index * 2 + OUT);
    set->entries[index].flags &= LOOSE; /* still on that list: the next wait finds that it wants nothing */
}

static int error_of(int fd)
{
    int error = 0;
    socklen_t size = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : 0;
}

/* Captures what stands behind a source now. It stays loose if a direction that it is watched for has no handle (trap 7).
 * An edge that was reported is captured, too: what the program hears of its stream arms it again, and so does another
 * stream in its place. Returns whether it may have been cold, and should not be. */
static bool capture(struct poise *queue, uint32_t index)
{
    struct set *set = set_of(queue);
    struct slot *slot = &queue->slots[index];
    struct entry *entry = &set->entries[index];
    if (slot->state & (SLOT_FREE | SLOT_ALWAYS)) {
        return false;
    }
    if (slot->source.kind == KIND_POLLABLE) {
        if (entry->flags & GONE) {
            if (wanted(slot, IN)) { /* else when it is armed again */
                (void)poise__park(queue, index);
            }
        }
        return false;
    }
    uint32_t before = entry->flags;
    if (before & CONNECTING) { /* it may be connected by now, and then its own handle is ready for ever (trap 9) */
        remove_handle(set, index * 2 + IN);
        remove_handle(set, index * 2 + OUT);
    }
    entry->flags &= LOOSE | HEARD;
    for (int direction = IN; direction <= OUT; direction++) {
        uint32_t place = index * 2 + (uint32_t)direction;
        int32_t handle = 0;
        if (!(slot->interest & bits_of(slot, (uint32_t)direction)) || (slot->state & SLOT_DISARMED)) {
            continue; /* a handle from before stays valid until libc drops it */
        }
        int result = poise__bridge_capture(slot->source.id, direction == IN ? POLLIN : POLLOUT, &handle);
        if (result == -EBADF) {
            remove_handle(set, index * 2 + IN);
            remove_handle(set, index * 2 + OUT);
            if (queue_armed(slot) != 0) { /* else when it is armed again */
                (void)poise__park(queue, index);
            }
            return false;
        }
        if (result != CAPTURE_HANDLE || handle != entry->handle[direction]) {
            remove_handle(set, place);
        }
        if (result == CAPTURE_HANDLE) {
            if (entry->handle[direction] == 0) {
                put_handle(set, place, handle);
                poise__hear_deaf |= !poise__hear_knows(handle);
                poise__again(queue, index, bits_of(slot, (uint32_t)direction));
            }
        }
        bool shut = direction == IN && (entry->flags & SHUT_IN);
        if (result != CAPTURE_HANDLE || shut) {
            bool ready = (result == CAPTURE_READY || shut) && wanted(slot, direction);
            entry->flags |= ready ? (uint32_t)READY_IN << direction : 0;
            look_again(set, index);
        }
    }
    if ((entry->handle[IN] != 0 || entry->handle[OUT] != 0) && error_of(slot->source.id) == EINPROGRESS) {
        entry->flags |= CONNECTING;
    }
    set->at_once += (entry->flags & AT_ONCE) != 0;
    set->spent += set->changed ? EVENT_COSTS : 0; /* somebody has made or changed a socket */
    bool has_handle = entry->handle[IN] != 0 || entry->handle[OUT] != 0;
    return (entry->flags & AT_ONCE & ~before) || (has_handle && !set->crowd.heat[index].listed);
}

static void capture_loose(struct poise *queue)
{
    struct set *set = set_of(queue);
    uint32_t index = set->loose;
    set->loose = NONE;
    set->at_once = 0;
    set->fresh = 0;
    while (index != NONE) {
        struct entry *entry = &set->entries[index];
        uint32_t next = entry->loose;
        entry->flags &= ~(uint32_t)LOOSE;
        if (capture(queue, index)) {
            poise__crowd_warm(&set->crowd, index);
        }
        index = next;
    }
}

/* ---- what is ready ---------------------------------------------------------------------------------------------- */

/* Trap 8. Returns the readiness that libc found. */
static uint32_t finish_connect(struct poise *queue, uint32_t index, int32_t handle)
{
    struct set *set = set_of(queue);
    const struct slot *slot = &queue->slots[index];
    int directions = (wanted(slot, IN) ? POLLIN : 0) | (wanted(slot, OUT) ? POLLOUT : 0);
    int32_t now = 0;
    int found = 0;
    if (poise__bridge_capture(slot->source.id, (short)(wanted(slot, IN) ? POLLIN : POLLOUT), &now) == CAPTURE_HANDLE &&
        now == handle) {
        found = poise__bridge_inject(slot->source.id, (short)directions, handle);
        if (found == -ENOMEM) {
            look_again(set, index); /* no memory now: a spurious event, and a later wait reports the connect */
            return DIRECTIONS;
        }
    } /* else the program's own poll(2) has finished it */
    (void)capture(queue, index); /* now: later, its streams would arm the edge that is about to be reported */
    return (found & POLLIN ? (uint32_t)POISE_READABLE : 0) | (found & POLLOUT ? (uint32_t)POISE_WRITABLE : 0);
}

/* Reports a source that was found ready. Returns whether that added it to the ready list. */
static bool report(struct poise *queue, uint32_t index)
{
    struct set *set = set_of(queue);
    const struct slot *slot = &queue->slots[index];
    struct entry *entry = &set->entries[index];
    bool in = entry->flags & FOUND_IN;
    bool out = entry->flags & FOUND_IN << OUT;
    uint32_t ready = (in ? (uint32_t)POISE_READABLE : 0) | (out ? (uint32_t)POISE_WRITABLE : 0);
    entry->flags |= in && (entry->flags & PART) ? TRIED : 0;
    entry->flags &= ~(uint32_t)(FOUND | PART);
    if (slot->source.kind == KIND_POLLABLE) {
        ready = DIRECTIONS;
    } else if ((entry->flags & (CONNECTING | AT_ONCE)) && !(entry->flags & SHUT_IN)) {
        if (entry->flags & CONNECTING) {
            ready = finish_connect(queue, index, entry->handle[in ? IN : OUT]);
        }
        int error = error_of(slot->source.id);
        if (error != 0 && error != EINPROGRESS) {
            queue_error(queue, index, error);
            ready |= DIRECTIONS | POISE_ERROR | POISE_READ_CLOSED | POISE_WRITE_CLOSED;
        }
    } else {
        ready |= (entry->flags & CLOSED_IN ? (uint32_t)POISE_READ_CLOSED : 0) |
                 (entry->flags & CLOSED_IN << OUT ? (uint32_t)POISE_WRITE_CLOSED : 0) |
                 (entry->flags & FAILED ? (uint32_t)POISE_ERROR : 0);
    }
    return poise__ready(queue, index, slot->generation, ready) > 0;
}

/* ---- asking the host -------------------------------------------------------------------------------------------- */

/* One call: sources, in the order in which they are to come out, and their handles. */
struct window {
    uint32_t sources, handles;
    uint32_t found;             /* handles that are ready */
    uint32_t position[WINDOW];  /* of each source, in the crowd's order; those of cold ones ascend */
    uint32_t place[WINDOW + 1]; /* of each handle; the last source may have two */
    int32_t handle[WINDOW + 2]; /* and one that ends the call */
};

/* What a wait still has to ask about, and what it has found. */
struct plan {
    uint32_t ring;      /* how many hot ones there were when it began */
    uint32_t start;     /* where among them it began, */
    uint32_t at;        /* and goes on, */
    uint32_t hot, cold; /* with so many of the hot, and of the cold ones */
    uint32_t rest;      /* how many cold ones it leaves out */
    uint32_t moved;     /* how far the hot ones' rotation has come */
    bool warm;          /* some hot one waits for something */
    unsigned added;     /* sources to the ready list */
    bool found;
    bool expected;  /* one of these is a hot one that had to be expected, */
    bool surprised; /* one was cold */
};

static bool waits(const struct slot *slot, int direction)
{
    return !(slot->state & SLOT_ALWAYS) && wanted(slot, direction);
}

/* The handle that a source waits for in one direction, or 0. */
static int32_t waits_for(struct poise *queue, uint32_t index, int direction)
{
    return waits(&queue->slots[index], direction) ? set_of(queue)->entries[index].handle[direction] : 0;
}

/* Returns whether the source waits for anything. */
static bool add(struct poise *queue, struct window *window, uint32_t position)
{
    struct set *set = set_of(queue);
    uint32_t index = set->crowd.order[position];
    struct entry *entry = &set->entries[index];
    uint32_t before = window->handles + window->found;
    for (int direction = IN; direction <= OUT; direction++) {
        int32_t handle = waits_for(queue, index, direction);
        if (waits(&queue->slots[index], direction) && (entry->flags & (uint32_t)READY_IN << direction)) {
            entry->flags |= (uint32_t)FOUND_IN << direction;
            window->found++;
        } else if (handle != 0) {
            window->place[window->handles] = index * 2 + (uint32_t)direction;
            window->handle[window->handles++] = handle;
        }
    }
    if (window->handles + window->found == before) {
        return false;
    }
    window->position[window->sources++] = position;
    return true;
}

static bool room(const struct window *window) { return window->sources < WINDOW && window->handles < WINDOW; }

static void fill(struct poise *queue, struct window *window, struct plan *plan)
{
    struct crowd *crowd = &set_of(queue)->crowd;
    window->sources = window->handles = window->found = 0;
    for (; plan->hot > 0 && room(window); plan->hot--) {
        plan->warm |= add(queue, window, plan->at);
        plan->at = plan->at + 1 < plan->ring ? plan->at + 1 : 0;
    }
    for (bool begun = false; plan->cold > 0 && room(window);) {
        uint32_t position = poise__crowd_next_cold(crowd);
        if (position == NONE && !begun) {
            position = poise__crowd_next_cold(crowd);
        } else if (position == NONE) {
            break; /* the end of a turn is the end of a window: positions ascend */
        }
        if (position == NONE) {
            plan->cold = 0;
        } else if (add(queue, window, position)) {
            begun = true;
            plan->cold--;
        } else {
            poise__crowd_drop(crowd, position);
        }
    }
}

static void mark(struct set *set, uint32_t place) { set->entries[place / 2].flags |= (uint32_t)FOUND_IN << place % 2; }

/* A timer whose time has come: naming it again would starve the reactor (trap 4). */
static void drop_timer(struct set *set, int32_t handle)
{
    if (handle == set->timer) {
        poise__host_drop(handle);
        set->timer = 0;
    }
}

/* With one more handle that ends the call (0: none). */
static void ask(struct poise *queue, struct window *window, int32_t extra)
{
    struct set *set = set_of(queue);
    uint32_t ready[WINDOW + 2];
    window->handle[window->handles] = extra;
    uint32_t asked = window->handles + (extra != 0);
    uint32_t answers = asked > 0 ? poise__host_poll(window->handle, asked, ready, WINDOW + 2) : 0;
    set->spent += answers;
    for (uint32_t i = 0; i < answers; i++) {
        if (ready[i] < window->handles) {
            mark(set, window->place[ready[i]]);
            window->found++;
        } else {
            drop_timer(set, extra);
        }
    }
}

/* Takes a source that may have been marked: reports it, if the batch has room for it. */
static void take(struct poise *queue, struct plan *plan, uint32_t position)
{
    struct set *set = set_of(queue);
    struct crowd *crowd = &set->crowd;
    uint32_t index = crowd->order[position];
    bool hot = position < plan->ring;
    bool full = plan->added >= queue->batch;
    if (!(set->entries[index].flags & FOUND)) {
        return;
    }
    plan->found = true;
    plan->surprised |= !hot;
    if (!full) {
        plan->added += report(queue, index);
        if (hot) {
            crowd->next_hot = position + 1;
            plan->moved = position + 1 - plan->start + (position < plan->start ? plan->ring : 0);
        }
    }
    set->entries[index].flags &= ~(uint32_t)FOUND;
    if (!full) {
        plan->expected |= poise__crowd_ready(crowd, position, 0);
    } else if (!hot) { /* its turn comes among the hot ones */
        (void)poise__crowd_ready(crowd, position, 2);
    }
}

static void take_all(struct poise *queue, struct plan *plan, const struct window *window)
{
    for (uint32_t i = 0; i < window->sources; i++) {
        take(queue, plan, window->position[i]);
    }
}

/* ---- waiting ---------------------------------------------------------------------------------------------------- */

/* A handle of a moment in between will do. An earlier one than the latest ends a wait too early once, and is dropped
 * then. (Relative time-outs are another moment in each wait: making a handle for each costs as much as the poll.) */
static int32_t timer_for(struct set *set, uint64_t earliest, uint64_t latest)
{
    if (set->timer != 0 && (set->timer_at < earliest || set->timer_at > latest)) {
        poise__host_drop(set->timer);
        set->timer = 0;
    }
    if (set->timer == 0) {
        set->timer = poise__host_instant(latest);
        set->timer_at = latest;
    }
    return set->timer;
}

static int32_t yield(struct set *set)
{
    set->spent = 0;
    return poise__host_yield();
}

/* One call, which blocks until a moment between two (latest 0: looks once; UINT64_MAX: for ever). */
static void block(struct poise *queue, struct plan *plan, struct window *window, uint64_t earliest, uint64_t latest)
{
    struct set *set = set_of(queue);
    int32_t extra = 0;
    if (set->spent + window->handles > BUDGET) {
        poise__host_drop(yield(set));
    }
    if (latest == 0) {
        extra = poise__host_zero();
    } else if (latest != UINT64_MAX) {
        extra = timer_for(set, earliest, latest);
    }
    ask(queue, window, extra);
    if (latest == 0) {
        poise__host_drop(extra);
    }
    take_all(queue, plan, window);
}

static bool done(const struct set *set, const struct plan *plan)
{
    return plan->found || set->changed; /* what changed has to be captured anew */
}

/* Calls that do not block, one for each window (trap 2), for all that the plan names, or until one finds something. A
 * yield before each: what happens meanwhile is seen in the windows to come. */
static void look_through(struct poise *queue, struct plan *plan, struct window *first, bool all)
{
    struct set *set = set_of(queue);
    for (struct window *window = first; window->sources > 0; fill(queue, window, plan)) {
        int32_t ready = yield(set);
        ask(queue, window, ready);
        poise__host_drop(ready);
        take_all(queue, plan, window);
        if (done(set, plan) && !all) {
            return;
        }
        if (plan->added >= queue->batch) {
            plan->hot = 0; /* the cold ones have their share all the same */
        }
    }
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* One call for the first `sources` of the order, however many: none was ready a moment before, so few will be. Returns
 * how many handles that were. The host reads the list before it answers, so the canonical ABI: one buffer is enough. */
static uint32_t block_on(struct poise *queue, struct plan *plan, uint32_t sources, uint64_t earliest, uint64_t latest)
{
    struct set *set = set_of(queue);
    int32_t extra = latest != UINT64_MAX ? timer_for(set, earliest, latest) : 0;
    uint32_t named = 0;
    for (uint32_t i = 0; i < sources * 2; i++) {
        named += (set->list[named] = waits_for(queue, set->crowd.order[i / 2], (int)(i % 2))) != 0;
    }
    if (named == 0 && extra == 0) {
        return 0;
    }
    set->list[named] = extra;
    uint32_t *ready = (uint32_t *)set->list;
    uint32_t answers = poise__host_poll(set->list, named + (extra != 0), ready, set->capacity * 2 + 1);
    set->spent += answers;
    set->crowded = answers >= WINDOW / 2;
    set->crowd.named += sources > plan->ring ? sources - plan->ring : 0;
    qsort(ready, answers, sizeof *ready, ascending);
    if (answers > 0 && ready[answers - 1] == named) {
        drop_timer(set, extra);
        answers--;
    }
    uint32_t at = 0;
    for (uint32_t i = 0, next = 0; next < answers && i < sources * 2; i++) { /* which ones were these? */
        uint32_t index = set->crowd.order[i / 2];
        if (waits_for(queue, index, (int)(i % 2)) != 0 && at++ == ready[next]) {
            mark(set, index * 2 + i % 2);
            next++;
        }
    }
    for (uint32_t i = 0; i < plan->ring; i++) {
        take(queue, plan, (plan->start + i) % plan->ring);
    }
    for (uint32_t i = plan->ring; i < sources; i++) {
        take(queue, plan, i);
    }
    return named;
}

static struct plan plan_of(const struct crowd *crowd, uint32_t cold)
{
    uint32_t at = crowd->next_hot < crowd->hot ? crowd->next_hot : 0;
    return (struct plan){ .ring = crowd->hot, .start = at, .at = at, .hot = crowd->hot, .cold = cold };
}

/* All of them fit into one call. */
static int wait_for_few(struct poise *queue, uint64_t until_ns, struct plan *plan)
{
    struct crowd *crowd = &set_of(queue)->crowd;
    struct window window;
    crowd->next_cold = 0; /* so that no turn ends in the middle */
    fill(queue, &window, plan);
    if (window.sources == 0 && until_ns == UINT64_MAX) {
        return -EDEADLK;
    }
    block(queue, plan, &window, 0, until_ns);
    return 0;
}

/* What the plan names, in one call that blocks until a moment between two (latest 0: not at all). If that does not fit,
 * in calls that do not block, and then one for the hot ones. */
static void look(struct poise *queue, struct plan *plan, uint64_t earliest, uint64_t latest)
{
    struct set *set = set_of(queue);
    struct window window;
    fill(queue, &window, plan);
    if (plan->hot == 0 && room(&window)) { /* the end of a turn is enough for one wait */
        plan->rest += plan->cold;
        plan->cold = 0;
    }
    bool blocks = latest != 0 && plan->warm;
    if (plan->hot + plan->cold > 0) {
        look_through(queue, plan, &window, true);
        if (!done(set, plan) && blocks) {
            (void)block_on(queue, plan, plan->ring, earliest, latest);
        }
    } else if (window.sources > 0) {
        block(queue, plan, &window, earliest, blocks ? latest : 0);
    }
}

/* If hot ones are to be expected: they and some cold ones, and if nothing is ready the hot ones alone for a while. If any
 * may be next, and many are ready: as many as one call takes. Then, and else at once: all. */
static int wait_for_crowd(struct poise *queue, uint64_t until_ns, struct plan *plan)
{
    struct set *set = set_of(queue);
    struct crowd *crowd = &set->crowd;
    uint64_t now = poise_now();
    uint32_t due = poise__crowd_begin(crowd, now, queue->cold_latency, (uint32_t *)set->list);
    until_ns = until_ns > now ? until_ns : 0; /* due: for that not all need be asked */
    uint64_t patience = until_ns != 0 && crowd->hot > 0 ? poise__crowd_patience(crowd) : 0;
    bool dense = poise__crowd_dense(crowd, WINDOW / 2) || set->crowded;
    set->crowded = false;
    *plan = plan_of(crowd, patience == 0 && dense && due < WINDOW ? WINDOW : due);
    plan->rest = crowd->count - crowd->hot - due;
    if (patience != 0 || until_ns == 0 || dense) {
        bool ends = until_ns < now + patience;
        look(queue, plan, ends ? 0 : now + patience / 2, patience == 0 ? 0 : ends ? until_ns : now + patience);
        if (done(set, plan) || until_ns == 0 || (ends && patience != 0 && plan->warm)) {
            return 0;
        }
        if (patience != 0 && plan->warm) {
            poise__crowd_learn(crowd, false);
        }
    }
    poise__host_drop(yield(set));
    plan->rest = 0;
    uint32_t named = block_on(queue, plan, crowd->count, 0, until_ns);
    poise__crowd_saw_all(crowd, poise_now());
    return named == 0 && until_ns == UINT64_MAX ? -EDEADLK : 0;
}

static int wait(struct poise *queue, uint64_t until_ns)
{
    struct set *set = set_of(queue);
    struct crowd *crowd = &set->crowd;
    capture_loose(queue);
    set->changed = false;
    /* A wait that would return nothing has looked at all (G7). */
    bool thorough = until_ns == queue->deadline && queue->ready.head == NONE && set->at_once == 0;
    if (queue->ready.head != NONE || set->at_once > 0) { /* one was parked, or is ready without asking */
        until_ns = 0;
    }
    struct plan plan = plan_of(crowd, crowd->count - crowd->hot);
    bool few = crowd->count <= FEW;
    int result = few ? wait_for_few(queue, until_ns, &plan) : wait_for_crowd(queue, until_ns, &plan);
    if (plan.rest > 0 && thorough && plan.added == 0 && until_ns <= poise_now()) {
        struct window window;
        plan.cold = plan.rest;
        fill(queue, &window, &plan);
        look_through(queue, &plan, &window, false);
    }
    set->spent += plan.added * EVENT_COSTS;
    crowd->asked += plan.added < queue->batch ? plan.ring : plan.moved;
    if (plan.expected != plan.surprised) {
        poise__crowd_learn(crowd, plan.expected);
    }
    return result;
}

static void wake(struct poise *queue)
{
    (void)queue; /* one thread, no signals: nobody could wake a wait that blocks */
}

const struct backend poise__wasip2 = {
    .name = "wasip2",
    .open = open_,
    .close = close_,
    .reserve = reserve,
    .arm = arm,
    .forget = forget,
    .wait = wait,
    .wake = wake,
};
