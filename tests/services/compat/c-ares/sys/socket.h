/* SPDX-License-Identifier: MIT
 *
 * For c-ares alone. WASI's hosts may answer EAGAIN to the first send on a fresh UDP socket, and take it after a turn of their
 * own (wasmtime 47 often does). c-ares leaves such a datagram lying until its own time-out, two seconds. Here a send that
 * would block waits for room, for 100 ms at most, and tries once more. */
#include_next <sys/socket.h>

#ifndef COMPAT_C_ARES_SYS_SOCKET_H
#define COMPAT_C_ARES_SYS_SOCKET_H

#include <errno.h>
#include <poll.h>
#include <stddef.h>

static __inline ssize_t compat_sendto(int fd, const void *bytes, size_t size, int flags, const struct sockaddr *to,
                                      socklen_t length)
{
    ssize_t n = to ? sendto(fd, bytes, size, flags, to, length) : send(fd, bytes, size, flags);
    struct pollfd room;
    int type = 0;
    socklen_t type_size = sizeof(type);
    if (n >= 0 || errno != EAGAIN)
        return n;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) == 0 && type == SOCK_DGRAM) {
        room.fd = fd;
        room.events = POLLOUT;
        room.revents = 0;
        poll(&room, 1, 100);
        return to ? sendto(fd, bytes, size, flags, to, length) : send(fd, bytes, size, flags);
    }
    errno = EAGAIN;
    return -1;
}
#define sendto compat_sendto
#define send(fd, bytes, size, flags) compat_sendto(fd, bytes, size, flags, NULL, 0)

#endif
