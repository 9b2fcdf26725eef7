/* SPDX-License-Identifier: MIT
 *
 * poll(2): any POSIX system, WASI 0.1, and WASI where nothing better is to be had. The executable specification of the
 * other backends.
 *
 * The list for poll is made from the slots, in their order, whenever a registration has changed; so adding and removing
 * are O(1), and the rotation of G7 is the order of the slots. poll itself is O(n) on every call, which is why nothing
 * cleverer would pay.
 *
 * The traps of poll(2):
 *  1. Another thread may watch while poll runs on the list: it makes a new block if it must grow, and leaves the old
 *     one to the wait.
 *  2. POLLHUP, POLLERR and POLLNVAL come whether asked for or not: a paused source is not in the list at all.
 *  3. A closed descriptor is POLLNVAL on every call: it is reported once as an error and parked until poise_watch.
 *  4. Milliseconds, an int of them: rounded up, and longer waits take several calls.
 * and of WASI's libc (wasi-libc 2026-04):
 *  5. A call in which nothing could become ready traps the component (empty poll list): a wait always has a time-out
 *     there, and says -EDEADLK when it would need none.
 *  6. A closed or unconnected TCP descriptor may make the whole call fail: then each is asked alone.
 *  7. While something is ready the host's reactor does not run, and other sources are never seen: every few waits an
 *     empty poll with no time yields to it. And what is ready without the host (a failed connect, an unbound UDP
 *     socket) makes libc return before it asks the host: less often, each of the others is asked alone.
 *  8. More than about 2,700 descriptors overwrite the stack, and of many that are ready the host reports 128: use
 *     wasip2.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "readiness.h"

#ifndef POLLRDHUP
#define POLLRDHUP 0
#endif

struct entry { /* beside the pollfd of the same number */
    uint32_t slot, generation;
};

/* One block: its head, then the pollfds (one more for the waker), then the entries. */
struct block {
    struct block *retired; /* the block that a growing queue took out of use while a wait ran on it */
    uint32_t capacity;
    struct pollfd fds[];
};

struct set {
    struct block *block;
    uint32_t count;
    bool changed;
    uint32_t last;       /* the slot that the wait before reported last */
    unsigned hurry;      /* waits in a row that found something */
    uint32_t last_asked; /* the same where each was asked alone (trap 7) */
    bool asked;
    int pipe[2]; /* for wakes; -1 where there are no threads */
};

static struct set *set_of(struct poise *queue) { return queue->platform; }

static struct entry *entries_of(struct block *block)
{
    return (struct entry *)(void *)&block->fds[block->capacity + 1];
}

/* ---- what WASI does otherwise ---- */

#ifdef __wasi__

enum { PRIORITY_SUPPORTED = 0, FOR_EVER = INT_MAX };
enum { YIELD_EVERY = 8, ASK_EACH_EVERY = 64 }; /* waits that found something: a yield is one host call, asking each n */

static int open_pipe(int fds[2])
{
    fds[0] = fds[1] = -1;
    return 0;
}

/* Standard input can be asked for reading alone, standard output for writing alone: both at once fail. */
static void poll_one(struct pollfd *fd)
{
    short events = fd->events;
    short ready = 0;
    for (int direction = POLLIN; direction <= POLLOUT; direction += POLLOUT - POLLIN) {
        fd->events = (short)(events & direction);
        fd->revents = 0;
        if (fd->events != 0 && poll(fd, 1, 0) < 0) {
            fd->revents = errno == EBADF ? POLLNVAL : 0;
        }
        ready = (short)(ready | fd->revents);
    }
    fd->events = events;
    fd->revents = ready;
}

/* Asks those alone that are not known to be ready. Returns how many are ready. */
static int poll_each(struct pollfd *fds, nfds_t n)
{
    int ready = 0;
    for (nfds_t i = 0; i < n; i++) {
        if (fds[i].revents == 0) {
            poll_one(&fds[i]);
        }
        ready += fds[i].revents != 0;
    }
    return ready;
}

/* Leaves out who makes a call fail as a whole. Returns whether nobody is left. */
static bool leave_out(struct pollfd *fds, nfds_t n)
{
    bool none = true;
    for (nfds_t i = 0; i < n; i++) {
        if (poll(&fds[i], 1, 0) < 0) {
            fds[i].fd = -1;
        } else {
            none = false;
        }
    }
    return none;
}

static int poll_all(struct set *set, struct pollfd *fds, nfds_t n, int milliseconds)
{
    if (set->hurry % YIELD_EVERY == YIELD_EVERY - 1) {
        (void)poll(NULL, 0, 0);
    }
    int result = poll(fds, n, milliseconds);
    if (result > 0 && set->hurry % ASK_EACH_EVERY == ASK_EACH_EVERY - 1) {
        result = poll_each(fds, n);
        set->last = set->last_asked; /* these take turns among themselves */
        set->asked = true;
    } else if (result < 0 && errno != EINTR && n > 0) {
        set->changed = true; /* who was left out may have become something by the next wait */
        for (nfds_t i = 0; i < n; i++) {
            fds[i].revents = 0;
        }
        result = poll_each(fds, n);
        if (result == 0) {
            bool none = leave_out(fds, n);
            if (none && milliseconds == FOR_EVER) {
                errno = EDEADLK;
                return -1;
            }
            result = poll(fds, n, milliseconds);
        }
    }
    return result;
}

#else

enum { PRIORITY_SUPPORTED = 1, FOR_EVER = -1 };

static int open_pipe(int fds[2])
{
#ifdef __linux__
    return pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0 ? 0 : -errno;
#else
    if (pipe(fds) != 0) {
        return -errno;
    }
    for (int i = 0; i < 2; i++) {
        (void)fcntl(fds[i], F_SETFD, FD_CLOEXEC);
        (void)fcntl(fds[i], F_SETFL, O_NONBLOCK);
    }
    return 0;
#endif
}

static int poll_all(struct set *set, struct pollfd *fds, nfds_t n, int milliseconds)
{
    (void)set;
    return poll(fds, n, milliseconds);
}

#endif

/* ---- opening and closing ---- */

static int reserve(struct poise *queue, uint32_t slots)
{
    struct set *set = set_of(queue);
    size_t each = sizeof(struct pollfd) + sizeof(struct entry);
    if ((size_t)slots > (SIZE_MAX - sizeof(struct block)) / each - 1) {
        return -ENOMEM;
    }
    struct block *block = queue_realloc(queue, NULL, sizeof *block + ((size_t)slots + 1) * each);
    if (block == NULL) {
        return -ENOMEM;
    }
    *block = (struct block){ .capacity = slots };
    if (queue->waiting) {
        block->retired = set->block;
    } else {
        (void)queue_realloc(queue, set->block, 0);
    }
    set->block = block;
    set->changed = true;
    return 0;
}

static int open_(struct poise *queue)
{
    struct set *set = queue_realloc(queue, NULL, sizeof *set);
    if (set == NULL) {
        return -ENOMEM;
    }
    *set = (struct set){ .last = NONE, .last_asked = NONE };
    queue->platform = set;
    int result = reserve(queue, 0);
    if (result == 0) {
        result = open_pipe(set->pipe);
        if (result != 0) {
            (void)queue_realloc(queue, set->block, 0);
        }
    }
    if (result != 0) {
        (void)queue_realloc(queue, set, 0);
    }
    return result;
}

static void free_retired(struct poise *queue)
{
    struct block *block = set_of(queue)->block;
    while (block->retired != NULL) {
        struct block *old = block->retired;
        block->retired = old->retired;
        (void)queue_realloc(queue, old, 0);
    }
}

static void close_(struct poise *queue)
{
    struct set *set = set_of(queue);
    free_retired(queue);
    if (set->pipe[0] >= 0) {
        (void)close(set->pipe[0]);
        (void)close(set->pipe[1]);
    }
    (void)queue_realloc(queue, set->block, 0);
    (void)queue_realloc(queue, set, 0);
}

static void wake(struct poise *queue)
{
    if (HAVE_THREADS) {
        (void)!write(set_of(queue)->pipe[1], "", 1); /* full: it is readable already */
    }
}

/* ---- sources ---- */

static int arm(struct poise *queue, uint32_t index, enum arm why)
{
    struct slot *slot = &queue->slots[index];
    if (why == ARM_WATCH) {
        struct stat status = { 0 };
        if (slot->source.kind != 0 || (!PRIORITY_SUPPORTED && (slot->interest & POISE_PRIORITY))) {
            return -ENOTSUP;
        }
        if (slot->source.id < 0 || (fstat(slot->source.id, &status) != 0 && errno == EBADF)) {
            return -EBADF;
        }
        if (queue->waiting && !(slot->state & SLOT_NEW)) {
            slot->generation++; /* what poll reports now may be of another file that had the number */
        }
        set_of(queue)->changed = true;
        if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) {
            return ALWAYS_READY;
        }
    }
    set_of(queue)->changed = true;
    if (queue->waiting) {
        wake(queue);
    }
    return 0;
}

static void forget(struct poise *queue, uint32_t index)
{
    (void)index; /* a wait that is blocked may still report it: the generation tells */
    set_of(queue)->changed = true;
    if (queue->waiting) {
        wake(queue); /* its owner may close the descriptor now, and poll must not go on with the number */
    }
}

/* ---- waiting ---- */

static void make_list(struct poise *queue)
{
    struct set *set = set_of(queue);
    struct entry *entries = entries_of(set->block);
    uint32_t n = 0;
    for (uint32_t i = 0; i < queue->used; i++) {
        const struct slot *slot = &queue->slots[i];
        uint32_t armed = slot->state & SLOT_ALWAYS ? 0 : queue_armed(slot);
        if (armed != 0) {
            int events = (armed & POISE_READABLE ? POLLIN | POLLRDHUP : 0) | (armed & POISE_WRITABLE ? POLLOUT : 0) |
                         (armed & POISE_PRIORITY ? POLLPRI : 0);
            set->block->fds[n] = (struct pollfd){ .fd = slot->source.id, .events = (short)events };
            entries[n++] = (struct entry){ i, slot->generation };
        }
    }
    set->count = n;
    set->changed = false;
}

static int milliseconds_until(uint64_t until_ns)
{
    if (until_ns == 0) {
        return 0;
    }
    if (until_ns == UINT64_MAX) {
        return FOR_EVER;
    }
    uint64_t now = poise_now();
    uint64_t left = until_ns > now ? until_ns - now : 0;
    uint64_t milliseconds = left / 1000000 + (left % 1000000 != 0);
    return milliseconds < INT_MAX ? (int)milliseconds : INT_MAX;
}

static int report(struct poise *queue, const struct pollfd *fd, struct entry entry)
{
    if (fd->revents & POLLNVAL) {
        return queue->slots[entry.slot].generation == entry.generation ? poise__park(queue, entry.slot) : 0;
    }
    return poise__ready(queue, entry.slot, entry.generation,
                        readiness(fd->fd, (struct flags){ .in = fd->revents & POLLIN,
                                                          .out = fd->revents & POLLOUT,
                                                          .priority = fd->revents & POLLPRI,
                                                          .error = fd->revents & POLLERR,
                                                          .hangup = fd->revents & POLLHUP,
                                                          .read_hangup = fd->revents & POLLRDHUP }));
}

/* Takes up to a batch, from behind the source that the wait before reported last, and around. */
static void take(struct poise *queue, struct block *block, uint32_t count, int ready)
{
    struct set *set = set_of(queue);
    const struct entry *entries = entries_of(block);
    uint32_t low = 0; /* the first entry behind set->last: entries are in the order of their slots */
    for (uint32_t high = count; low < high && set->last != NONE;) {
        uint32_t middle = low + (high - low) / 2;
        if (entries[middle].slot <= set->last) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    unsigned added = 0;
    for (uint32_t i = 0; i < count && ready > 0 && added < queue->batch; i++) {
        uint32_t at = low + i < count ? low + i : low + i - count;
        if (block->fds[at].revents == 0) {
            continue;
        }
        ready--;
        if (report(queue, &block->fds[at], entries[at]) > 0) {
            added++;
            set->last = entries[at].slot;
        }
    }
    if (set->asked) {
        set->asked = false;
        set->last_asked = set->last;
    }
    set->hurry = added > 0 ? set->hurry + 1 : 0;
}

static int wait(struct poise *queue, uint64_t until_ns)
{
    struct set *set = set_of(queue);
    if (set->changed) {
        make_list(queue);
    }
    struct block *block = set->block;
    uint32_t count = set->count;
    nfds_t n = count;
    if (HAVE_THREADS) {
        block->fds[n++] = (struct pollfd){ .fd = set->pipe[0], .events = POLLIN };
    } else if (count == 0 && until_ns == UINT64_MAX) {
        return -EDEADLK;
    }
    int milliseconds = milliseconds_until(until_ns);
    queue_unlock(queue);
    int ready = poll_all(set, block->fds, n, milliseconds);
    int error = ready < 0 ? errno : 0;
    queue_relock(queue);
    if (HAVE_THREADS && ready > 0 && block->fds[count].revents != 0) {
        char drain[64];
        if (block->fds[count].revents & POLLNVAL) {
            return -EBADF; /* the program has closed poise's own descriptor */
        }
        ready--;
        while (read(set->pipe[0], drain, sizeof drain) == (ssize_t)sizeof drain) {}
    }
    if (ready > 0) {
        take(queue, block, count, ready);
    }
    free_retired(queue);
    return ready >= 0 || error == EINTR ? 0 : -error;
}

const struct backend poise__poll = {
    .name = "poll",
    .open = open_,
    .close = close_,
    .reserve = reserve,
    .arm = arm,
    .forget = forget,
    .wait = wait,
    .wake = wake,
};
