/* SPDX-License-Identifier: MIT
 *
 * Linux: epoll(7).
 *
 * The traps of this kernel:
 *  1. A registration belongs to the open file description, not to the number. When a descriptor is closed while a dup
 *     or a forked child still holds the description, it can be neither deleted nor changed, and every epoll_wait goes
 *     on reporting it (epoll(7), questions 6). The generation in epoll_data hides such an orphan, but the processor
 *     would burn: after a dead report the next wait makes a new set of what is live. (Unless something was unwatched
 *     by another thread while the wait was blocked: then the report may just be late, and if it is an orphan it comes
 *     again.)
 *  2. A number that was closed and given to another file is unknown to the set: MOD says ENOENT, and ADD is right.
 *  3. Regular files and directories are refused with EPERM. The queue itself keeps them always ready.
 *  4. EPOLLERR and EPOLLHUP are reported whether asked for or not. A paused source is therefore MODified to EPOLLET
 *     with no bits: one report at most, which the queue drops.
 *  5. epoll_wait has milliseconds only; epoll_pwait2 (Linux 5.11) has nanoseconds, costs more, and may be missing or
 *     filtered. So what is far off is waited for in whole milliseconds at first, rounded down, and then the rest.
 *  6. An eventfd with EPOLLET reports each write anew, though it is never read: a wake costs one system call less.
 *  7. epoll_wait does not take a maximum of 0, and places of a batch can be used up by the waker, by orphans and by
 *     paused sources (4): then more calls fill them, else the bound of G7 would not hold.
 */
#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "readiness.h"

#define WAKE UINT64_MAX /* epoll_data of the eventfd: no slot has this number */

enum { MOST_LATE = 100 }; /* some: each costs a call of epoll_wait, a rebuild one of epoll_ctl for each source */
/* ns: a second call when such a time-out ends, for cheaper ones all the time. The kernel may be late by up to 1/200 of a
 * time-out: so much is left to the second one. */
enum { FAR_OFF = 100000000 };
_Static_assert(DIRECTIONS == 7, "enter has a table of them");

struct set {
    int epoll, event;
    int wrapper;         /* for poise_fileno: outlives a rebuild; -1 until asked for */
    uint32_t forgotten;  /* counts changes that make a report which is under way look dead */
    uint32_t late;       /* dead reports that may have been such */
    bool orphans;        /* a dead report came that was none, or too many in a row to be */
    bool stuck;          /* a new set could not be made: the orphans go on being reported */
    bool no_nanoseconds; /* epoll_pwait2 is missing */
    _Alignas(8) struct epoll_event events[];
};

static struct set *set_of(struct poise *queue) { return queue->platform; }

/* Tells the kernel how a source is watched. */
static inline int enter(const struct poise *queue, int operation, uint32_t index)
{
    static const uint32_t events[] = {
        EPOLLET, /* trap 4 */
        EPOLLIN | EPOLLRDHUP,
        EPOLLOUT,
        EPOLLIN | EPOLLRDHUP | EPOLLOUT,
        EPOLLPRI,
        EPOLLPRI | EPOLLIN | EPOLLRDHUP,
        EPOLLPRI | EPOLLOUT,
        EPOLLPRI | EPOLLIN | EPOLLRDHUP | EPOLLOUT,
    }; /* by POISE_READABLE, _WRITABLE, _PRIORITY */
    const struct set *set = queue->platform;
    const struct slot *slot = &queue->slots[index];
    uint32_t modes =
        (slot->interest & POISE_EDGE ? EPOLLET : 0u) | (slot->interest & POISE_ONESHOT ? EPOLLONESHOT : 0u);
    struct epoll_event event = { .events = events[queue_armed(slot)] | modes,
                                 .data.u64 = (uint64_t)slot->generation << 32 | index };
    return epoll_ctl(set->epoll, operation, slot->source.id, &event) == 0 ? 0 : -errno;
}

/* ---- opening and closing ---- */

static int make_set(int event)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event wake = { .events = EPOLLIN | EPOLLET, .data.u64 = WAKE };
    if (epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, event, &wake) != 0) {
        int error = errno;
        (void)close(epoll);
        errno = error;
        return -1;
    }
    return epoll;
}

static int open_(struct poise *queue)
{
    struct set *set = queue_realloc(queue, NULL, sizeof *set + queue->batch * sizeof set->events[0]);
    if (set == NULL) {
        return -ENOMEM;
    }
    *set = (struct set){ .epoll = -1, .wrapper = -1 };
    set->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (set->event >= 0) {
        set->epoll = make_set(set->event);
    }
    if (set->epoll < 0) {
        int error = errno;
        if (set->event >= 0) {
            (void)close(set->event);
        }
        (void)queue_realloc(queue, set, 0);
        return -error;
    }
    queue->platform = set;
    return 0;
}

static void close_(struct poise *queue)
{
    struct set *set = set_of(queue);
    (void)close(set->epoll);
    (void)close(set->event);
    if (set->wrapper >= 0) {
        (void)close(set->wrapper);
    }
    (void)queue_realloc(queue, set, 0);
}

static int reserve(struct poise *queue, uint32_t slots)
{
    (void)queue;
    (void)slots;
    return 0; /* the kernel allocates */
}

/* ---- sources ---- */

/* The kernel has refused what poise_watch asked for. */
static COLD int refused(struct poise *queue, uint32_t index, bool known, int result)
{
    if (known && result == -ENOENT) { /* trap 2 */
        poise__replaced(queue, index);
        result = enter(queue, EPOLL_CTL_ADD, index);
    }
    if (result == -EEXIST) { /* an orphan came home: its description was dup'ed back onto its number */
        result = enter(queue, EPOLL_CTL_MOD, index);
    }
    if (result == -EPERM) { /* trap 3 */
        if (known) {
            poise__replaced(queue, index);
        }
        return ALWAYS_READY;
    }
    return result;
}

static int arm(struct poise *queue, uint32_t index, enum arm why)
{
    struct set *set = set_of(queue);
    struct slot *slot = &queue->slots[index];
    if (slot->source.kind != 0) {
        return -ENOTSUP;
    }
    bool known = !(slot->state & (SLOT_NEW | SLOT_ALWAYS));
    if (why == ARM_CHANGE) {
        if (known) { /* an error: its owner closed it, or gave the number away. Until poise_watch nothing is to be done */
            (void)enter(queue, EPOLL_CTL_MOD, index);
        }
        return 0;
    }
    int result;
    if (known) { /* a report under way may be of another file of this number: MOD asks again */
        slot->generation++;
        set->forgotten++;
        result = enter(queue, EPOLL_CTL_MOD, index);
    } else {
        result = enter(queue, EPOLL_CTL_ADD, index);
    }
    return RARE(result != 0) ? refused(queue, index, known, result) : 0;
}

static void forget(struct poise *queue, uint32_t index)
{
    struct set *set = set_of(queue);
    set->forgotten++;
    /* A number that was closed or replaced is EBADF or ENOENT here: nothing to forget. */
    (void)epoll_ctl(set->epoll, EPOLL_CTL_DEL, queue->slots[index].source.id, NULL);
}

/* A new set of what is live, without the orphans. If it can't be made (a server at its limit of descriptors), the old
 * one goes on, and the next wait tries again. */
static void rebuild(struct poise *queue)
{
    struct set *set = set_of(queue);
    int fresh = make_set(set->event);
    set->stuck = true;
    if (fresh < 0) {
        return;
    }
    int old = set->epoll;
    set->epoll = fresh;
    for (uint32_t i = 0; i < queue->used; i++) {
        if (queue->slots[i].state & (SLOT_FREE | SLOT_ALWAYS)) {
            continue;
        }
        int result = enter(queue, EPOLL_CTL_ADD, i);
        if (result == -ENOMEM || result == -ENOSPC) {
            set->epoll = old;
            (void)close(fresh);
            return;
        } /* else: closed by its owner before unwatch, which G11 allows */
    }
    if (set->wrapper >= 0) {
        struct epoll_event inner = { .events = EPOLLIN };
        if (epoll_ctl(set->wrapper, EPOLL_CTL_ADD, fresh, &inner) != 0) {
            set->epoll = old;
            (void)close(fresh);
            return;
        }
        /* Trap 1 holds for our own sets, too: a forked child may have the old one. */
        (void)epoll_ctl(set->wrapper, EPOLL_CTL_DEL, old, &(struct epoll_event){ 0 });
    }
    (void)close(old);
    set->orphans = set->stuck = false;
    set->late = 0;
}

/* ---- waiting ---- */

static COLD int wait_timed(struct set *set, int epoll, int most, uint64_t until_ns)
{
    uint64_t now = poise_now();
    uint64_t left = until_ns > now ? until_ns - now : 0;
    if (left > FAR_OFF) {
        left -= left / 128;
        return epoll_wait(epoll, set->events, most, left / 1000000 < INT_MAX ? (int)(left / 1000000) : INT_MAX);
    }
#ifdef SYS_epoll_pwait2
    if (!set->no_nanoseconds) {
        struct {
            int64_t seconds, nanoseconds;
        } timeout = { (int64_t)(left / 1000000000), (int64_t)(left % 1000000000) };
        long n = syscall(SYS_epoll_pwait2, epoll, set->events, most, &timeout, NULL, (size_t)0);
        if (n >= 0 || (errno != ENOSYS && errno != EPERM)) {
            return (int)n;
        }
        set->no_nanoseconds = true;
    }
#endif
    uint64_t milliseconds = left / 1000000 + (left % 1000000 != 0);
    return epoll_wait(epoll, set->events, most, (int)milliseconds);
}

/* Anything but plain readiness. */
static COLD uint32_t all_flags(int fd, uint32_t events)
{
    return readiness(fd, (struct flags){ .in = events & EPOLLIN,
                                         .out = events & EPOLLOUT,
                                         .priority = events & EPOLLPRI,
                                         .error = events & EPOLLERR,
                                         .hangup = events & EPOLLHUP,
                                         .read_hangup = events & EPOLLRDHUP });
}

/* Reports n events. Returns how many places of the batch went to something else than sources (trap 7). */
static inline int take(struct poise *queue, int n, uint32_t forgotten)
{
    struct set *set = set_of(queue);
    int wasted = 0;
    for (int i = 0; i < n; i++) {
        uint64_t data = set->events[i].data.u64;
        if (data == WAKE) {
            wasted++;
            continue;
        }
        uint32_t events = set->events[i].events;
        uint32_t index = (uint32_t)data;
        uint32_t ready =
            (events & EPOLLIN ? (uint32_t)POISE_READABLE : 0) | (events & EPOLLOUT ? (uint32_t)POISE_WRITABLE : 0);
        if (RARE(events & ~(uint32_t)(EPOLLIN | EPOLLOUT))) {
            ready = all_flags(queue->slots[index].source.id, events);
        }
        int result = queue_ready(queue, index, (uint32_t)(data >> 32), ready);
        if (result == 0) {
            wasted += !(queue->slots[index].state & SLOT_IN_READY);
        } else if (result < 0) {
            wasted++;
            set->late++;
            set->orphans |= set->forgotten == forgotten || set->late > MOST_LATE;
        }
    }
    return wasted;
}

/* Some places of the batch went to what is no source (trap 7). */
static COLD void make_good(struct poise *queue, int n, int wasted, bool may_sleep)
{
    struct set *set = set_of(queue);
    int most = (int)queue->batch;
    for (uint32_t again = 0; again <= queue->used && n == most && wasted > 0; again++) {
        if (set->orphans) {
            rebuild(queue);
        }
        most = wasted;
        n = epoll_wait(set->epoll, set->events, most, 0);
        wasted = take(queue, n, set->forgotten);
    }
    if (set->stuck && may_sleep && n > 0 && wasted == n) { /* at least don't spin */
        queue_unlock(queue);
        (void)nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        queue_relock(queue);
    }
}

static int wait(struct poise *queue, uint64_t until_ns)
{
    struct set *set = set_of(queue);
    if (RARE(set->orphans)) {
        rebuild(queue);
    }
    int epoll = set->epoll;
    int most = (int)queue->batch;
    uint32_t forgotten = set->forgotten;
    queue_unlock(queue);
    int n = until_ns == 0 || until_ns == UINT64_MAX ? epoll_wait(epoll, set->events, most, until_ns == 0 ? 0 : -1)
                                                    : wait_timed(set, epoll, most, until_ns);
    if (RARE(n < 0)) {
        int error = errno;
        queue_relock(queue);
        return error == EINTR ? 0 : -error;
    }
    queue_relock(queue);
    int wasted = take(queue, n, forgotten);
    if (RARE(wasted > 0)) {
        make_good(queue, n, wasted, until_ns != 0);
    }
    return 0;
}

static void wake(struct poise *queue)
{
    static const uint64_t one = 1;
    (void)!write(set_of(queue)->event, &one, sizeof one); /* fails only at 2^64 - 2 unread wakes */
}

static int fileno_(struct poise *queue)
{
    struct set *set = set_of(queue);
    if (set->wrapper < 0) {
        int wrapper = epoll_create1(EPOLL_CLOEXEC);
        struct epoll_event inner = { .events = EPOLLIN };
        if (wrapper < 0) {
            return -errno;
        }
        if (epoll_ctl(wrapper, EPOLL_CTL_ADD, set->epoll, &inner) != 0) {
            int error = errno;
            (void)close(wrapper);
            return -error;
        }
        set->wrapper = wrapper;
    }
    return set->wrapper;
}

const struct backend poise__epoll = {
    .name = "epoll",
    .features = KERNEL_MODES,
    .open = open_,
    .close = close_,
    .reserve = reserve,
    .arm = arm,
    .forget = forget,
    .wait = wait,
    .wake = wake,
    .fileno = fileno_,
};
