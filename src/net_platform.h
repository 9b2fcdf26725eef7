/* SPDX-License-Identifier: MIT
 *
 * What the systems do differently about sockets. net.c asks nowhere else which system it is on. */
#ifndef POISE_NET_PLATFORM_H
#define POISE_NET_PLATFORM_H

#include <errno.h>
#include <stdbool.h>
#include <sys/socket.h>

#ifdef __wasi__

/* What libc doesn't declare there: each fails with ENOTSUP. */
#define NOT_THERE(name, ...)            \
    static inline int name(__VA_ARGS__) \
    {                                   \
        errno = ENOTSUP;                \
        return -1;                      \
    }
#define _ __attribute__((unused))

enum {
    /* There is no SIGPIPE, and wasi-libc's UDP refuses MSG_NOSIGNAL (EOPNOTSUPP). */
    SEND_FLAGS = 0,
    /* wasi-libc's accept aborts the program if it is asked for the address of a peer that has reset the connection
     * already ("How to recover from this?" in its tcp.c): accept without, then ask. */
    ACCEPT_TELLS_PEER = false,
    HAS_UNIX_SOCKETS = false
};

/* wasi-libc's own has no path. */
struct sockaddr_un {
    sa_family_t sun_family;
    char sun_path[sizeof(struct sockaddr_storage) - sizeof(sa_family_t)];
};

NOT_THERE(socketpair, _ int family, _ int type, _ int protocol, _ int fd[2])
NOT_THERE(pipe2, _ int fd[2], _ int flags)

#if __has_include(<wasi/version.h>)
#include <wasi/version.h>
#endif
#ifdef __wasip1__

#define SO_REUSEADDR 2
#define SO_ERROR 4
#define SO_KEEPALIVE 9
#define SO_DOMAIN 39
NOT_THERE(socket, _ int family, _ int type, _ int protocol)
NOT_THERE(bind, _ int fd, _ const struct sockaddr *address, _ socklen_t length)
NOT_THERE(listen, _ int fd, _ int backlog)
NOT_THERE(connect, _ int fd, _ const struct sockaddr *address, _ socklen_t length)
NOT_THERE(getsockname, _ int fd, _ struct sockaddr *address, _ socklen_t *length)
NOT_THERE(getpeername, _ int fd, _ struct sockaddr *address, _ socklen_t *length)
NOT_THERE(setsockopt, _ int fd, _ int level, _ int option, _ const void *value, _ socklen_t length)
NOT_THERE(sendto, _ int fd, _ const void *b, _ size_t n, _ int flags, _ const struct sockaddr *to, _ socklen_t length)
NOT_THERE(recvfrom, _ int fd, _ void *b, _ size_t n, _ int flags, _ struct sockaddr *from, _ socklen_t *length)
/* That one is declared, and knows SO_TYPE alone. */
NOT_THERE(ask_option, _ int fd, _ int level, _ int option, _ void *value, _ socklen_t *length)

#else

static inline int ask_option(int fd, int level, int option, void *value, socklen_t *length)
{
    return getsockopt(fd, level, option, value, length);
}

/* The backend wasip2 wants to know (wasi/hear.c). Weak: who has no queue need not link it. */
extern void (*poise__heard_shutdown)(int fd, int how) __attribute__((__weak__));

static inline void tell_shutdown(int fd, int how)
{
    if (&poise__heard_shutdown != NULL && poise__heard_shutdown != NULL) {
        poise__heard_shutdown(fd, how);
    }
}
#define TELLS_SHUTDOWN

#endif
#undef _
#undef NOT_THERE

/* While a TCP socket connects, and after that has failed, the host answers `invalid-state` to most questions about
 * options, and then wasi-libc calls abort() (tests/reproducers/option_while_connecting.c). So ask libc first how the
 * socket is: 0, or what to say instead. */
static inline int options_barred(int fd)
{
    int error = 0;
    socklen_t length = sizeof error;
    return ask_option(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 ? -errno : -error;
}

/* What "no address" means if libc said `error`: while a socket connects, after that has failed (wasi-libc may tell the
 * reason instead) and after a reset (ECONNRESET: wasi/socket_address.c) it is not connected. */
static inline int address_error(int fd, int error)
{
    int kept = 0;
    socklen_t length = sizeof kept;
    bool failed = ask_option(fd, SOL_SOCKET, SO_ERROR, &kept, &length) == 0 && kept != 0;
    return failed || error == ECONNRESET ? ENOTCONN : error;
}

#else

#include <sys/un.h>

enum { SEND_FLAGS = MSG_NOSIGNAL, ACCEPT_TELLS_PEER = true, HAS_UNIX_SOCKETS = true };

static inline int ask_option(int fd, int level, int option, void *value, socklen_t *length)
{
    return getsockopt(fd, level, option, value, length);
}

static inline int options_barred(int fd)
{
    (void)fd;
    return 0;
}

static inline int address_error(int fd, int error)
{
    (void)fd;
    return error;
}

#endif

#ifndef TELLS_SHUTDOWN
static inline void tell_shutdown(int fd, int how)
{
    (void)fd;
    (void)how;
}
#endif

#endif
