/* SPDX-License-Identifier: MIT
 *
 * WASI has no signals: none is ever sent, blocked or pending. wasi-libc declares the names and an emulation of signal() and
 * raise(), but neither sigaction nor signal sets. Here all of them succeed and do nothing. libpq guards its writes from
 * SIGPIPE with these where MSG_NOSIGNAL is not enough. */
#ifndef COMPAT_SIGNAL_H
#define COMPAT_SIGNAL_H

#ifndef _WASI_EMULATED_SIGNAL
#define _WASI_EMULATED_SIGNAL /* declares the names; what is used of them here needs no -lwasi-emulated-signal */
#endif
#include_next <signal.h>

#include <__typedef_sigset_t.h>

/* wasi-libc's own are functions of that emulation. */
#undef SIG_ERR
#undef SIG_IGN
#define SIG_ERR ((void (*)(int)) - 1)
#define SIG_IGN ((void (*)(int)) - 2)

#define SIG_BLOCK 0
#define SIG_UNBLOCK 1
#define SIG_SETMASK 2
#define SA_RESTART 0x10000000
#define SA_NOCLDSTOP 1

struct sigaction {
    void (*sa_handler)(int);
    sigset_t sa_mask;
    int sa_flags;
};

static __inline int sigaction(int number, const struct sigaction *action, struct sigaction *before)
{
    (void)number, (void)action;
    if (before)
        *before = (struct sigaction){ 0 };
    return 0;
}

static __inline int sigemptyset(sigset_t *set)
{
    *set = 0;
    return 0;
}

static __inline int sigaddset(sigset_t *set, int number)
{
    (void)set, (void)number;
    return 0;
}

static __inline int sigismember(const sigset_t *set, int number)
{
    (void)set, (void)number;
    return 0;
}

static __inline int sigpending(sigset_t *set) { return sigemptyset(set); }

static __inline int sigwait(const sigset_t *set, int *number)
{
    (void)set;
    *number = 0;
    return 0;
}

static __inline int pthread_sigmask(int how, const sigset_t *set, sigset_t *before)
{
    (void)how, (void)set;
    return before ? sigemptyset(before) : 0;
}

#endif
