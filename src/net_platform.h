/* SPDX-License-Identifier: MIT
 *
 * What the systems do differently about sockets. net.c asks nowhere else which system it is on. */
#ifndef POISE_NET_PLATFORM_H
#define POISE_NET_PLATFORM_H

#include <errno.h>
#include <stdbool.h>
#include <sys/socket.h>

#ifdef __wasi__

enum {
    /* There is no SIGPIPE, and wasi-libc's UDP refuses MSG_NOSIGNAL (EOPNOTSUPP). */
    SEND_FLAGS = 0,
    /* wasi-libc's accept aborts the program if it is asked for the address of a peer that has reset the connection
     * already ("How to recover from this?" in its tcp.c): accept without, then ask. */
    ACCEPT_TELLS_PEER = false
};

#if __has_include(<wasi/version.h>)
#include <wasi/version.h>
#endif
#ifdef __wasip1__

/* WASI 0.1 has no calls for what libc doesn't declare there: each fails with ENOTSUP. */
#define SO_REUSEADDR 2
#define SO_ERROR 4
#define NOT_THERE(name, ...)            \
    static inline int name(__VA_ARGS__) \
    {                                   \
        errno = ENOTSUP;                \
        return -1;                      \
    }
#define _ __attribute__((unused))
NOT_THERE(socket, _ int family, _ int type, _ int protocol)
NOT_THERE(bind, _ int fd, _ const struct sockaddr *address, _ socklen_t length)
NOT_THERE(listen, _ int fd, _ int backlog)
NOT_THERE(connect, _ int fd, _ const struct sockaddr *address, _ socklen_t length)
NOT_THERE(getsockname, _ int fd, _ struct sockaddr *address, _ socklen_t *length)
NOT_THERE(getpeername, _ int fd, _ struct sockaddr *address, _ socklen_t *length)
NOT_THERE(setsockopt, _ int fd, _ int level, _ int option, _ const void *value, _ socklen_t length)
NOT_THERE(sendto, _ int fd, _ const void *b, _ size_t n, _ int flags, _ const struct sockaddr *to, _ socklen_t length)
NOT_THERE(recvfrom, _ int fd, _ void *b, _ size_t n, _ int flags, _ struct sockaddr *from, _ socklen_t *length)
#undef _
#undef NOT_THERE

#endif
#else

enum { SEND_FLAGS = MSG_NOSIGNAL, ACCEPT_TELLS_PEER = true };

#endif
#endif
