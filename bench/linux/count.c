/* SPDX-License-Identifier: MIT
 *
 * Counts by interposition: these functions stand before libc's, for the program and for its libraries.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "work.h"

_Thread_local struct counts counts;

/* glibc's own names for its allocator. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);

void *malloc(size_t size)
{
    counts.allocs++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    counts.allocs++;
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    counts.allocs++;
    return __libc_realloc(block, size);
}

int epoll_ctl(int set, int operation, int fd, struct epoll_event *event)
{
    counts.ctls++;
    return (int)syscall(SYS_epoll_ctl, set, operation, fd, event);
}

int epoll_wait(int set, struct epoll_event *events, int most, int timeout)
{
    counts.waits++;
    return (int)syscall(SYS_epoll_wait, set, events, most, timeout);
}

int epoll_pwait(int set, struct epoll_event *events, int most, int timeout, const sigset_t *signals)
{
    enum { KERNEL_SIGSET_BYTES = 8 };
    counts.waits++;
    return (int)syscall(SYS_epoll_pwait, set, events, most, timeout, signals, KERNEL_SIGSET_BYTES);
}
