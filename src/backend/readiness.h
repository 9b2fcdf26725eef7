/* What the kernel's flags mean in poise's words. epoll and poll(2) share their meanings (poll(2), epoll_ctl(2)), not
 * always their values. */
#ifndef POISE_READINESS_H
#define POISE_READINESS_H

#include <poll.h>
#include <sys/stat.h>

#include "../backend.h"

struct flags {
    bool in, out, priority, error, hangup, read_hangup;
};

/* A read hang-up is told to who asks for it, a hang-up to all. */
static inline bool both_ways_closed(int fd)
{
#ifdef POLLRDHUP
    const int both = POLLRDHUP | POLLHUP;
    struct pollfd now = { .fd = fd, .events = POLLRDHUP };
    return poll(&now, 1, 0) > 0 && (now.revents & both) == both;
#else
    (void)fd;
    return false;
#endif
}

/* A hang-up or an error concerns every direction that was asked for (G15): the operation that was waited for will not
 * block.
 *
 * The hints must be true whenever they are set: nothing more is expected to come, or will be taken. (Expected: after its
 * own SHUT_RD a TCP socket still gives what the peer goes on sending, and a next writer may open a FIFO.) A hang-up
 * alone does not tell: an unconnected TCP socket has one, too. With a read hang-up both directions of a socket are
 * closed; who watches for POISE_WRITABLE alone has not asked for that, so the kernel is asked once more. On a pipe, a
 * hang-up says that the last writer has gone, and an error that the last reader has. What it is costs an fstat, and for
 * a socket a poll, on that rare path only. */
static inline uint32_t closed_hints(int fd, struct flags flags)
{
    const uint32_t both = POISE_READ_CLOSED | POISE_WRITE_CLOSED;
    if (flags.read_hangup)
        return flags.hangup ? both : (uint32_t)POISE_READ_CLOSED;
    struct stat status;
    if ((!flags.hangup && !flags.error) || fstat(fd, &status) != 0)
        return 0;
    if (S_ISFIFO(status.st_mode))
        return (flags.hangup ? (uint32_t)POISE_READ_CLOSED : 0) | (flags.error ? (uint32_t)POISE_WRITE_CLOSED : 0);
    return S_ISSOCK(status.st_mode) && flags.hangup && both_ways_closed(fd) ? both : 0;
}

static inline uint32_t readiness(int fd, struct flags flags)
{
    uint32_t ready = (flags.in || flags.read_hangup ? (uint32_t)POISE_READABLE : 0) |
                     (flags.out ? (uint32_t)POISE_WRITABLE : 0) | (flags.priority ? (uint32_t)POISE_PRIORITY : 0);
    if (flags.hangup || flags.error)
        ready |= DIRECTIONS | (flags.error ? (uint32_t)POISE_ERROR : 0);
    return ready | closed_hints(fd, flags);
}

#endif
