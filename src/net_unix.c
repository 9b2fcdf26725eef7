/* SPDX-License-Identifier: MIT
 *
 * What stays on the machine: Unix sockets and their addresses, pairs, pipes. include/poise/net.h says what each call
 * promises; what comes after the opening (accept, send, receive, shut down) is in net.c.
 *
 * unix(7): a path's length counts its terminating zero, if there is room for one; an abstract name has a zero in front
 * and none behind; no name at all is the length of the family alone, which is here no address (length 0). */
#include "net.h"

#include <fcntl.h>
#include <stddef.h>

enum { PATH = offsetof(struct sockaddr_un, sun_path), ROOM = sizeof((struct sockaddr_un *)NULL)->sun_path };
_Static_assert((int)sizeof("unix:") + (int)ROOM <= (int)POISE_ADDRESS_TEXT, "the text of a Unix address has room");
_Static_assert(sizeof(struct sockaddr_un) <= sizeof(struct sockaddr_storage), "a Unix address fits");

/* ---- addresses --------------------------------------------------------------------------------------------------- */

static int take_name(poise_address *address, const char *path, size_t length)
{
    set_none(address);
    if (path == NULL)
        return -EINVAL;
    bool abstract = length > 0 && path[0] == '\0';
    if (length == 0)
        length = strlen(path);
    if (length == 0 || (!abstract && memchr(path, '\0', length) != NULL))
        return -EINVAL;
    if (!HAS_UNIX_SOCKETS)
        return -EAFNOSUPPORT;
    if (length > ROOM)
        return -ENAMETOOLONG;
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    memcpy(name.sun_path, path, length);
    set(address, &name, PATH + length + (abstract || length == ROOM ? 0 : 1));
    return 0;
}

int poise_address_unix(poise_address *address, const char *path, size_t length)
{
    if (address == NULL)
        return -EINVAL;
    poise_address taken; /* the path may lie in the address: poise_address_path */
    int result = take_name(&taken, path, length);
    *address = taken;
    return result;
}

int poise__unix_from(poise_address *address, const struct sockaddr *from, size_t length)
{
    if (!HAS_UNIX_SOCKETS)
        return -EAFNOSUPPORT;
    if (length <= PATH)
        return -EINVAL; /* no name */
    const char *path = (const char *)from + PATH;
    length -= PATH;
    if (path[0] != '\0')
        length = strnlen(path, length);
    return take_name(address, path, length);
}

const char *poise_address_path(const poise_address *address, size_t *length)
{
    const char *path = NULL;
    size_t n = 0;
    if (family_of(address) == AF_UNIX) {
        path = (const char *)&address->storage + PATH;
        n = address->length - PATH < ROOM ? address->length - PATH : ROOM;
        if (path[0] != '\0')
            n = strnlen(path, n);
    }
    if (length != NULL)
        *length = n;
    return path;
}

void poise__unix_format(const poise_address *address, char text[POISE_ADDRESS_TEXT])
{
    size_t length;
    const char *path = poise_address_path(address, &length);
    for (const char *prefix = "unix:"; *prefix != '\0'; prefix++)
        *text++ = *prefix;
    for (size_t i = 0; i < length; i++)
        *text++ = path[i] != '\0' ? path[i] : '@';
    *text = '\0';
}

bool poise__unix_equal(const poise_address *a, const poise_address *b)
{
    size_t x, y;
    const char *path = poise_address_path(a, &x), *other = poise_address_path(b, &y);
    return x == y && (x == 0 || memcmp(path, other, x) == 0);
}

/* ---- sockets ----------------------------------------------------------------------------------------------------- */

static int open_unix(int type)
{
    if (!HAS_UNIX_SOCKETS)
        return -EAFNOSUPPORT;
    int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

static int open_unix_for(const poise_address *address, int type)
{
    if (family_of(address) == AF_UNSPEC)
        return -EINVAL;
    return family_of(address) == AF_UNIX ? open_unix(type) : -EAFNOSUPPORT;
}

int poise_unix_listen(const poise_address *local, int backlog)
{
    int fd = open_unix_for(local, SOCK_STREAM);
    if (fd < 0)
        return fd;
    if (bind(fd, where(local), local->length) < 0 || listen(fd, backlog > 0 ? backlog : DEFAULT_BACKLOG) < 0)
        return closed(fd, errno);
    return fd;
}

int poise_unix_connect(const poise_address *peer)
{
    int fd = open_unix_for(peer, SOCK_STREAM);
    if (fd < 0)
        return fd;
    int result;
    do
        result = connect(fd, where(peer), peer->length);
    while (result < 0 && errno == EINTR);
    return result < 0 ? closed(fd, errno) : fd;
}

int poise_unix_bind(const poise_address *local)
{
    int fd = local != NULL ? open_unix_for(local, SOCK_DGRAM) : open_unix(SOCK_DGRAM);
    if (fd < 0)
        return fd;
    if (local != NULL && bind(fd, where(local), local->length) < 0)
        return closed(fd, errno);
    return fd;
}

/* ---- two ends at once -------------------------------------------------------------------------------------------- */

static int two_ends(int fd[2], int result)
{
    int error = errno;
    if (result < 0)
        fd[0] = fd[1] = -1;
    return result < 0 ? -error : 0;
}

int poise_unix_pair(int fd[2], int type)
{
    if (fd == NULL)
        return -EINVAL;
    if (type != SOCK_STREAM && type != SOCK_DGRAM) {
        fd[0] = fd[1] = -1;
        return -EINVAL;
    }
    return two_ends(fd, socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd));
}

int poise_pipe(int fd[2]) { return fd != NULL ? two_ends(fd, pipe2(fd, O_NONBLOCK | O_CLOEXEC)) : -EINVAL; }
