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
 *     time), and long lists go to the host in windows of 128, each with a handle that is ready (so that it does not
 *     block), with a yield after a window that found something.
 *  3. A poll that finds something at once does not let the host's reactor run: with one source that stays ready,
 *     nobody else's bytes are ever seen. The same yields cure it.
 *  4. A zero time-out must be a fresh handle: a kept one is ready at once and starves the reactor, too.
 *  5. A handle for a deadline costs four to five times as much to make as to name again: it is kept until its time has
 *     come, or an earlier one is needed.
 *  6. The order of the result is not specified. It is marked, and read in the order of the rotation.
 *  7. bind, listen and a failed connect change what stands behind a descriptor and drop nothing. Whatever has no
 *     handle is therefore looked at again by each wait: an unbound TCP socket (not ready), an unbound UDP socket or a
 *     failed connect (ready at once).
 *  8. A connect is finished by libc, in its poll. When the handle of a connecting socket is ready, the bridge tells
 *     libc so, and what libc finds is the event; the handle stays valid, and ready, so it must be captured again at
 *     once.
 *  9. A connected TCP socket's own pollable is always ready. Never wait for it: captures of a connected socket name
 *     its streams'.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "../backend.h"
#include "../wasi/bridge.h"
#include "../wasi/host.h"

enum { WINDOW = 128, KIND_POLLABLE = 1 };

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
};

struct entry {         /* beside the slot of the same number */
    int32_t handle[2]; /* 0: none */
    uint32_t chain[2]; /* next place in the same bucket of the handles */
    uint32_t loose;    /* next on that list */
    uint32_t flags;
};

/* A place is a direction of a slot: slot * 2 + direction. Places in use, in order, are what a wait names. */
struct set {
    struct set *next;      /* all queues of this backend: the drop of a handle concerns each */
    struct entry *entries; /* the block that holds the following arrays, too */
    uint32_t *buckets;     /* handle to place */
    int32_t *handles;      /* what the host is asked; 0: ready without asking. Room for the timer behind the last */
    uint32_t *places;      /* which place each of these handles stands for */
    uint32_t *ready;       /* what the host answers */
    uint8_t *marks;        /* the same by position */
    uint32_t capacity;     /* in slots */
    uint32_t count;        /* of places in the list */
    uint32_t at_once;      /* of these, how many are ready without asking */
    uint32_t loose;        /* first slot to look at again */
    bool changed;          /* the list must be made anew */
    uint32_t last;         /* the last place of the slot that was reported last */
    uint32_t spent;        /* of the host's budget since the last yield, by our guess */
    int32_t timer;         /* kept handle, 0: none */
    uint64_t timer_at;
    struct poise *queue;
};

static struct set *all_sets;

static struct set *set_of(struct poise *queue) { return queue->platform; }

/* ---- handles to places ------------------------------------------------------------------------------------------ */

static uint32_t *bucket_of(struct set *set, int32_t handle)
{
    return &set->buckets[(uint32_t)handle & (set->capacity * 2 - 1)];
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
                look_again(set, place / 2);
                entry->flags |= set->queue->slots[place / 2].source.kind == KIND_POLLABLE ? GONE : 0;
            }
            place = next;
        }
    }
}

/* ---- opening and closing ---------------------------------------------------------------------------------------- */

/* One block for everything that grows with the slots. */
static int reserve(struct poise *queue, uint32_t slots)
{
    struct set *set = set_of(queue);
    size_t places = (size_t)slots * 2;
    size_t each = sizeof(struct entry) + 2 * (4 * sizeof(uint32_t) + sizeof(uint8_t));
    struct entry *entries = queue_realloc(queue, NULL, slots * each + 2 * sizeof(uint32_t));
    if (entries == NULL) {
        return -ENOMEM;
    }
    uint32_t old = set->capacity;
    if (old > 0) {
        memcpy(entries, set->entries, old * sizeof *entries);
    }
    memset(&entries[old], 0, (slots - old) * sizeof *entries);
    (void)queue_realloc(queue, set->entries, 0);
    set->entries = entries;
    set->buckets = (uint32_t *)&entries[slots];
    set->handles = (int32_t *)&set->buckets[places];
    set->places = (uint32_t *)&set->handles[places + 1];
    set->ready = &set->places[places];
    set->marks = (uint8_t *)&set->ready[places + 1];
    set->capacity = slots;
    set->changed = true;
    memset(set->buckets, 0xff, places * sizeof *set->buckets);
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
    *set = (struct set){ .next = all_sets, .loose = NONE, .last = NONE, .spent = BUDGET, .queue = queue };
    queue->platform = set;
    if (reserve(queue, 0) != 0) { /* room for the timer alone */
        (void)queue_realloc(queue, set, 0);
        return -ENOMEM;
    }
    all_sets = set;
    poise__bridge_dropped = dropped;
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
    if (slot->source.kind == KIND_POLLABLE) {
        return direction == IN && armed != 0;
    }
    return (armed & (direction == IN ? POISE_READABLE : POISE_WRITABLE)) != 0;
}

static int arm(struct poise *queue, uint32_t index, enum arm why)
{
    struct set *set = set_of(queue);
    struct slot *slot = &queue->slots[index];
    struct entry *entry = &set->entries[index];
    int32_t id = slot->source.id;
    if (why == ARM_WATCH) {
        struct stat status = { 0 };
        if (slot->source.kind > KIND_POLLABLE || (slot->interest & POISE_PRIORITY)) {
            return -ENOTSUP;
        }
        if (slot->source.kind == KIND_POLLABLE) {
            if (id <= 0) {
                return -EBADF;
            }
            entry->flags &= ~(uint32_t)GONE;
        } else if (id < 0 || (fstat(id, &status) != 0 && errno == EBADF)) {
            return -EBADF;
        } else if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) {
            set->changed = true;
            return ALWAYS_READY;
        }
    }
    set->changed = true;
    for (int direction = IN; direction <= OUT; direction++) {
        if (wanted(slot, direction) && entry->handle[direction] == 0) {
            look_again(set, index);
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
    set->changed = true;
}

static int error_of(int fd)
{
    int error = 0;
    socklen_t size = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : 0;
}

/* Captures what stands behind a source now. It stays loose if a direction that is wanted has no handle (trap 7). */
static void capture(struct poise *queue, uint32_t index)
{
    struct set *set = set_of(queue);
    struct slot *slot = &queue->slots[index];
    struct entry *entry = &set->entries[index];
    if (slot->state & (SLOT_FREE | SLOT_ALWAYS)) {
        return;
    }
    if (slot->source.kind == KIND_POLLABLE) {
        if (entry->flags & GONE) {
            if (wanted(slot, IN)) { /* else when it is armed again */
                (void)poise__park(queue, index);
            }
        } else if (entry->handle[IN] == 0) {
            put_handle(set, index * 2 + IN, slot->source.id);
        }
        return;
    }
    uint32_t before = entry->flags;
    if (before & CONNECTING) { /* it may be connected by now, and then its own handle is ready for ever (trap 9) */
        remove_handle(set, index * 2 + IN);
        remove_handle(set, index * 2 + OUT);
    }
    entry->flags &= LOOSE;
    for (int direction = IN; direction <= OUT; direction++) {
        uint32_t place = index * 2 + (uint32_t)direction;
        int32_t handle = 0;
        if (!wanted(slot, direction)) {
            continue; /* a handle from before stays valid until libc drops it */
        }
        int result = poise__bridge_capture(slot->source.id, direction == IN ? POLLIN : POLLOUT, &handle);
        if (result == -EBADF) {
            remove_handle(set, index * 2 + IN);
            remove_handle(set, index * 2 + OUT);
            (void)poise__park(queue, index);
            set->changed = true; /* also if it was ready without a handle */
            return;
        }
        if (result != CAPTURE_HANDLE || handle != entry->handle[direction]) {
            remove_handle(set, place);
        }
        if (result == CAPTURE_HANDLE) {
            if (entry->handle[direction] == 0) {
                put_handle(set, place, handle);
            }
        } else {
            entry->flags |= result == CAPTURE_READY ? (uint32_t)READY_IN << direction : 0;
            look_again(set, index);
        }
    }
    if ((entry->handle[IN] != 0 || entry->handle[OUT] != 0) && error_of(slot->source.id) == EINPROGRESS) {
        entry->flags |= CONNECTING;
    }
    if ((entry->flags ^ before) & ~(uint32_t)LOOSE) {
        set->changed = true;
    }
    set->spent += set->changed ? EVENT_COSTS : 0; /* somebody has made or changed a socket */
}

static void capture_loose(struct poise *queue)
{
    struct set *set = set_of(queue);
    uint32_t index = set->loose;
    set->loose = NONE;
    while (index != NONE) {
        struct entry *entry = &set->entries[index];
        uint32_t next = entry->loose;
        entry->flags &= ~(uint32_t)LOOSE;
        capture(queue, index);
        index = next;
    }
}

static void make_list(struct poise *queue)
{
    struct set *set = set_of(queue);
    uint32_t n = 0;
    set->at_once = 0;
    for (uint32_t place = 0; place < queue->used * 2; place++) {
        const struct slot *slot = &queue->slots[place / 2];
        const struct entry *entry = &set->entries[place / 2];
        int direction = (int)(place % 2);
        if ((slot->state & SLOT_ALWAYS) || !wanted(slot, direction)) {
            continue;
        }
        bool ready = entry->flags & (uint32_t)READY_IN << direction;
        if (ready || entry->handle[direction] != 0) {
            set->handles[n] = ready ? 0 : entry->handle[direction];
            set->places[n++] = place;
            set->at_once += ready;
        }
    }
    set->count = n;
    set->changed = false;
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
    for (int direction = IN; direction <= OUT; direction++) {
        remove_handle(set, index * 2 + (uint32_t)direction);
    }
    look_again(set, index);
    return (found & POLLIN ? (uint32_t)POISE_READABLE : 0) | (found & POLLOUT ? (uint32_t)POISE_WRITABLE : 0);
}

/* Reports the place at a position of the list, and the slot's other direction with it if that is ready, too. Returns
 * whether that added a source to the ready list. */
static bool report(struct poise *queue, uint32_t position, bool both)
{
    struct set *set = set_of(queue);
    uint32_t place = set->places[position];
    uint32_t index = place / 2;
    const struct slot *slot = &queue->slots[index];
    struct entry *entry = &set->entries[index];
    uint32_t ready = both ? POISE_READABLE | POISE_WRITABLE : place % 2 == IN ? POISE_READABLE : POISE_WRITABLE;
    if (slot->source.kind == KIND_POLLABLE) {
        ready = DIRECTIONS;
    } else if (set->handles[position] != 0) {
        if (entry->handle[place % 2] != set->handles[position]) {
            return false; /* the other direction of the same connect: finished a moment ago */
        }
        if (entry->flags & CONNECTING) {
            ready = finish_connect(queue, index, set->handles[position]);
        }
    }
    if (slot->source.kind != KIND_POLLABLE && (set->handles[position] == 0 || entry->flags & CONNECTING)) {
        int error = error_of(slot->source.id);
        if (error != 0 && error != EINPROGRESS) {
            queue_error(queue, index, error);
            ready |= DIRECTIONS | POISE_ERROR;
        }
    }
    if (poise__ready(queue, index, slot->generation, ready) <= 0) {
        return false;
    }
    set->last = index * 2 + OUT;
    return true;
}

static uint32_t around(const struct set *set, uint32_t position)
{
    return position < set->count ? position : position - set->count;
}

/* Asks the host about n places from a position on, and around the end of the list, with one more handle at the end (0:
 * none). Reports what is ready, up to a batch in all; returns how many places were ready. */
static uint32_t ask(struct poise *queue, uint32_t from, uint32_t n, int32_t extra, unsigned *added)
{
    struct set *set = set_of(queue);
    int32_t window[WINDOW + 1];
    uint32_t where[WINDOW];
    uint32_t named = 0;
    uint32_t found = 0;
    const int32_t *list = window;
    if (n > WINDOW) { /* the whole list, as it stands */
        list = set->handles;
        set->handles[n] = extra;
        named = n;
        memset(set->marks, 0, n);
    } else {
        for (uint32_t i = 0; i < n; i++) {
            uint32_t position = around(set, from + i);
            set->marks[position] = set->handles[position] == 0;
            found += set->marks[position];
            if (set->handles[position] != 0) {
                where[named] = position;
                window[named++] = set->handles[position];
            }
        }
        window[named] = extra;
    }
    uint32_t asked = named + (extra != 0);
    uint32_t answers = asked > 0 ? poise__host_poll(list, asked, set->ready, set->capacity * 2 + 1) : 0;
    set->spent += answers;
    for (uint32_t i = 0; i < answers; i++) {
        if (set->ready[i] < named) {
            set->marks[n > WINDOW ? set->ready[i] : where[set->ready[i]]] = 1;
            found++;
        } else if (extra == set->timer) {
            poise__host_drop(set->timer); /* its time has come: naming it again would starve the reactor (trap 4) */
            set->timer = 0;
        }
    }
    for (uint32_t i = 0; i < n && *added < queue->batch && found > 0; i++) {
        uint32_t position = around(set, from + i);
        if (set->marks[position] == 0) {
            continue;
        }
        bool both = i + 1 < n && position + 1 < set->count &&
                    set->places[position + 1] / 2 == set->places[position] / 2 && set->marks[position + 1] != 0;
        *added += report(queue, position, both);
        i += both;
    }
    return found;
}

/* ---- waiting ---------------------------------------------------------------------------------------------------- */

/* A kept handle of an earlier moment will do: it ends a wait too early once, and is dropped then. (Relative time-outs
 * are another moment in each wait: making a handle for each costs as much as the poll.) */
static int32_t timer_for(struct set *set, uint64_t until_ns)
{
    if (set->timer != 0 && set->timer_at > until_ns) {
        poise__host_drop(set->timer);
        set->timer = 0;
    }
    if (set->timer == 0) {
        set->timer = poise__host_instant(until_ns);
        set->timer_at = until_ns;
    }
    return set->timer;
}

/* The first position behind the place that was reported last: places are in order. */
static uint32_t rotation(const struct set *set)
{
    uint32_t low = 0;
    for (uint32_t high = set->count; low < high && set->last != NONE;) {
        uint32_t middle = low + (high - low) / 2;
        if (set->places[middle] <= set->last) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < set->count ? low : 0;
}

static int32_t yield(struct set *set)
{
    set->spent = 0;
    return poise__host_yield();
}

/* Long lists, in windows that do not block (trap 2). The one place where hot and cold sources will be told apart. */
static void look_through(struct poise *queue, uint32_t from, unsigned *added)
{
    struct set *set = set_of(queue);
    int32_t ready = yield(set);
    for (uint32_t done = 0; done < set->count && *added < queue->batch;) {
        uint32_t n = set->count - done < WINDOW ? set->count - done : WINDOW;
        uint32_t position = around(set, from + done);
        uint32_t last = around(set, position + n - 1);
        if (n > 1 && last + 1 < set->count && set->places[last + 1] / 2 == set->places[last] / 2) {
            n--; /* both directions of a source belong into one window */
        }
        uint32_t found = ask(queue, position, n, ready, added);
        done += n;
        if (done < set->count && *added < queue->batch && (found > 0 || set->spent >= BUDGET / 2)) {
            poise__host_drop(ready);
            ready = yield(set);
        }
    }
    poise__host_drop(ready);
}

/* Asks about a short list, or blocks on a long one in which nothing was ready. */
static void ask_all(struct poise *queue, uint32_t from, uint64_t until_ns, unsigned *added)
{
    int32_t extra = 0;
    if (until_ns == 0) {
        extra = poise__host_zero();
    } else if (until_ns != UINT64_MAX) {
        extra = timer_for(set_of(queue), until_ns);
    }
    (void)ask(queue, from, set_of(queue)->count, extra, added);
    if (until_ns == 0) {
        poise__host_drop(extra);
    }
}

static int wait(struct poise *queue, uint64_t until_ns)
{
    struct set *set = set_of(queue);
    unsigned added = 0;
    capture_loose(queue);
    if (queue->ready.head != NONE) { /* something was parked: that is an event */
        until_ns = 0;
    }
    if (set->changed) {
        make_list(queue);
    }
    if (set->count == 0 && until_ns == UINT64_MAX) {
        return -EDEADLK;
    }
    if (set->at_once > 0) {
        until_ns = 0;
    }
    uint32_t from = rotation(set);
    if (set->count > WINDOW) {
        look_through(queue, from, &added);
        if (added == 0 && until_ns != 0 && !set->changed) {
            ask_all(queue, from, until_ns, &added);
        }
    } else {
        if (set->spent + set->count > BUDGET) {
            poise__host_drop(yield(set));
        }
        ask_all(queue, from, until_ns, &added);
    }
    set->spent += added * EVENT_COSTS;
    return 0;
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
