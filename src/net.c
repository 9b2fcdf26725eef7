/* SPDX-License-Identifier: MIT
 *
 * Non-blocking sockets: include/poise/net.h says what each call promises, net_platform.h where the systems differ. */
#include "net.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- addresses --------------------------------------------------------------------------------------------------- */

static struct sockaddr_in as_ipv4(const poise_address *address)
{
    struct sockaddr_in ipv4;
    memcpy(&ipv4, &address->storage, sizeof ipv4);
    return ipv4;
}

static struct sockaddr_in6 as_ipv6(const poise_address *address)
{
    struct sockaddr_in6 ipv6;
    memcpy(&ipv6, &address->storage, sizeof ipv6);
    return ipv6;
}

/* "fe80::1%2": the number behind the %, 0 if there is none. False: something else is behind it. */
static bool split_zone(char *literal, uint32_t *zone)
{
    char *mark = strchr(literal, '%');
    *zone = 0;
    if (mark == NULL)
        return true;
    *mark = '\0';
    if (mark[1] < '0' || mark[1] > '9')
        return false;
    char *end;
    errno = 0;
    unsigned long long number = strtoull(mark + 1, &end, 10);
    *zone = (uint32_t)number;
    return *end == '\0' && errno == 0 && number <= UINT32_MAX;
}

int poise_address_parse(poise_address *address, const char *text, uint16_t port)
{
    if (address == NULL)
        return -EINVAL;
    set_none(address);
    char literal[POISE_ADDRESS_TEXT];
    if (text == NULL || strlen(text) >= sizeof literal)
        return -EINVAL;
    memcpy(literal, text, strlen(text) + 1);

    struct sockaddr_in ipv4 = { .sin_family = AF_INET, .sin_port = htons(port) };
    struct sockaddr_in6 ipv6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    if (inet_pton(AF_INET, literal, &ipv4.sin_addr) == 1) {
        set(address, &ipv4, sizeof ipv4);
        return 0;
    }
    uint32_t zone;
    if (!split_zone(literal, &zone) || inet_pton(AF_INET6, literal, &ipv6.sin6_addr) != 1)
        return -EINVAL;
    ipv6.sin6_scope_id = zone;
    set(address, &ipv6, sizeof ipv6);
    return 0;
}

static int take_from(poise_address *address, const struct sockaddr *from, socklen_t length)
{
    set_none(address);
    if (from == NULL || length < least_length(AF_UNSPEC))
        return -EINVAL;
    int family = from->sa_family;
    if (family == AF_UNIX)
        return poise__unix_from(address, from, length);
    if (family != AF_INET && family != AF_INET6)
        return -EAFNOSUPPORT;
    if (length < least_length(family))
        return -EINVAL;
    set(address, from, least_length(family));
    return 0;
}

int poise_address_from(poise_address *address, const struct sockaddr *from, socklen_t length)
{
    if (address == NULL)
        return -EINVAL;
    poise_address taken; /* `from` may lie in the address: what a call of libc has filled in */
    int result = take_from(&taken, from, length);
    *address = taken;
    return result;
}

int poise_address_format(const poise_address *address, char *text, size_t size)
{
    if (address == NULL || text == NULL)
        return -EINVAL;
    char literal[INET6_ADDRSTRLEN];
    char whole[POISE_ADDRESS_TEXT] = "-";
    if (family_of(address) == AF_INET) {
        struct sockaddr_in ipv4 = as_ipv4(address);
        inet_ntop(AF_INET, &ipv4.sin_addr, literal, sizeof literal);
        snprintf(whole, sizeof whole, "%s:%u", literal, ntohs(ipv4.sin_port));
    } else if (family_of(address) == AF_INET6) {
        struct sockaddr_in6 ipv6 = as_ipv6(address);
        char zone[12] = "";
        if (ipv6.sin6_scope_id != 0)
            snprintf(zone, sizeof zone, "%%%lu", (unsigned long)ipv6.sin6_scope_id);
        inet_ntop(AF_INET6, &ipv6.sin6_addr, literal, sizeof literal);
        snprintf(whole, sizeof whole, "[%s%s]:%u", literal, zone, ntohs(ipv6.sin6_port));
    } else if (family_of(address) == AF_UNIX) {
        poise__unix_format(address, whole);
    }
    size_t length = strlen(whole);
    if (length >= size) {
        if (size > 0)
            text[0] = '\0';
        return -ENOSPC;
    }
    memcpy(text, whole, length + 1);
    return (int)length;
}

uint16_t poise_address_port(const poise_address *address)
{
    switch (family_of(address)) {
    case AF_INET: return ntohs(as_ipv4(address).sin_port);
    case AF_INET6: return ntohs(as_ipv6(address).sin6_port);
    default: return 0;
    }
}

bool poise_address_equal(const poise_address *a, const poise_address *b)
{
    if (family_of(a) != family_of(b))
        return false;
    if (family_of(a) == AF_INET) {
        struct sockaddr_in x = as_ipv4(a), y = as_ipv4(b);
        return x.sin_port == y.sin_port && x.sin_addr.s_addr == y.sin_addr.s_addr;
    }
    if (family_of(a) == AF_INET6) {
        struct sockaddr_in6 x = as_ipv6(a), y = as_ipv6(b);
        return x.sin6_port == y.sin6_port && x.sin6_scope_id == y.sin6_scope_id &&
               memcmp(&x.sin6_addr, &y.sin6_addr, sizeof x.sin6_addr) == 0;
    }
    return family_of(a) != AF_UNIX || poise__unix_equal(a, b);
}

/* What getsockname, getpeername, accept4 and recvfrom filled in. A length of 0, another family, or a Unix socket
 * without a name: no address. */
static void filled_in(poise_address *address)
{
    int family = family_of(address);
    if (family != AF_INET && family != AF_INET6)
        (void)poise_address_from(address, where(address), address->length);
}

static void make_room(poise_address *address)
{
    set_none(address);
    address->length = sizeof address->storage;
}

static int ask_address(int fd, poise_address *address, int (*ask)(int, struct sockaddr *, socklen_t *))
{
    if (address == NULL)
        return -EINVAL;
    make_room(address);
    if (ask(fd, where(address), &address->length) < 0) {
        int error = address_error(fd, errno);
        set_none(address);
        return -error;
    }
    filled_in(address);
    return 0;
}

/* Wrapped, as the C library may declare the parameters `restrict`, or as a union (glibc, for C++). */
static int own_name(int fd, struct sockaddr *name, socklen_t *length) { return getsockname(fd, name, length); }
static int peer_name(int fd, struct sockaddr *name, socklen_t *length) { return getpeername(fd, name, length); }

int poise_local_address(int fd, poise_address *address) { return ask_address(fd, address, own_name); }
int poise_peer_address(int fd, poise_address *address) { return ask_address(fd, address, peer_name); }

/* ---- TCP --------------------------------------------------------------------------------------------------------- */

/* A socket for this kind of address, IPv6 apart from IPv4. */
static int open_socket(const poise_address *address, int type)
{
    int family = family_of(address);
    if (family == AF_UNSPEC)
        return -EINVAL;
    if (family == AF_UNIX)
        return -EAFNOSUPPORT;
    int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* ENOPROTOOPT: wasi-libc before July 2026. Under WASI IPv6 is always apart. */
    const int on = 1;
    if (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0 && errno != ENOPROTOOPT)
        return closed(fd, errno);
    return fd;
}

int poise_tcp_listen(const poise_address *local, int backlog)
{
    int fd = open_socket(local, SOCK_STREAM);
    if (fd < 0)
        return fd;
    /* wasi-libc before July 2026 refuses a backlog of 0. */
    const int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 || bind(fd, where(local), local->length) < 0 ||
        listen(fd, backlog > 0 ? backlog : DEFAULT_BACKLOG) < 0)
        return closed(fd, errno);
    return fd;
}

/* accept(2): "Linux passes already-pending network errors on the new socket. Treat them like EAGAIN by retrying." Each
 * of these took a connection from the queue, so that trying again comes to an end. */
static bool connection_died(int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTUNREACH: return true;
    default: return false;
    }
}

int poise_tcp_accept(int listener, poise_address *peer)
{
    bool told = peer != NULL && ACCEPT_TELLS_PEER;
    int fd;
    do {
        if (peer != NULL)
            make_room(peer);
        fd = accept4(listener, told ? where(peer) : NULL, told ? &peer->length : NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (fd < 0 && connection_died(errno));
    if (fd < 0) {
        int error = errno;
        if (peer != NULL)
            set_none(peer);
        return -error;
    }
    if (told)
        filled_in(peer);
    else if (peer != NULL)
        (void)poise_peer_address(fd, peer); /* on failure: length 0, as promised */
    return fd;
}

int poise_tcp_connect(const poise_address *peer)
{
    int fd = open_socket(peer, SOCK_STREAM);
    if (fd < 0)
        return fd;
    /* EINTR: "the connection shall be established asynchronously" (POSIX), as with EINPROGRESS. */
    if (connect(fd, where(peer), peer->length) < 0 && errno != EINPROGRESS && errno != EINTR)
        return closed(fd, errno);
    return fd;
}

static int ask_result(int fd)
{
    int error = 0;
    socklen_t length = sizeof error;
    if (ask_option(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
        return -errno;
    if (error != 0)
        return -error; /* WASI: EINPROGRESS, too */
    poise_address peer;
    return poise_peer_address(fd, &peer);
}

int poise_tcp_connect_result(int fd)
{
    int result = ask_result(fd);
    if (result != -ENOTCONN)
        return result;
    /* Under way, or failed with an error that has been taken already. A socket that is not connected and not connecting
     * is ready for anything: POLLOUT | POLLHUP. So is one whose connect has ended since it was asked: ask again. */
    struct pollfd now = { .fd = fd, .events = POLLOUT };
    return poll(&now, 1, 0) == 0 ? -EINPROGRESS : ask_result(fd);
}

/* ---- UDP --------------------------------------------------------------------------------------------------------- */

int poise_udp_bind(const poise_address *local)
{
    int fd = open_socket(local, SOCK_DGRAM);
    if (fd < 0)
        return fd;
    if (bind(fd, where(local), local->length) < 0)
        return closed(fd, errno);
    return fd;
}

int poise_udp_connect(int fd, const poise_address *peer)
{
    if (family_of(peer) == AF_UNSPEC)
        return -EINVAL;
    int result;
    do
        result = connect(fd, where(peer), peer->length);
    while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : 0;
}

/* ---- bytes and datagrams ----------------------------------------------------------------------------------------- */

/* NULL is fine for nothing; wasi-libc would not take it. */
static bool has_bytes(const void **bytes, size_t size)
{
    if (*bytes == NULL && size == 0)
        *bytes = "";
    return *bytes != NULL;
}

ptrdiff_t poise_send(int fd, const void *bytes, size_t size)
{
    if (!has_bytes(&bytes, size))
        return -EINVAL;
    ssize_t n;
    do
        n = send(fd, bytes, size, SEND_FLAGS);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

ptrdiff_t poise_recv(int fd, void *bytes, size_t size)
{
    if (bytes == NULL)
        return -EINVAL;
    ssize_t n;
    do
        n = recv(fd, bytes, size, 0);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

ptrdiff_t poise_send_to(int fd, const void *bytes, size_t size, const poise_address *to)
{
    if (family_of(to) == AF_UNSPEC || !has_bytes(&bytes, size))
        return -EINVAL;
    ssize_t n;
    do
        n = sendto(fd, bytes, size, SEND_FLAGS, where(to), to->length);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

ptrdiff_t poise_recv_from(int fd, void *bytes, size_t size, poise_address *from)
{
    if (bytes == NULL)
        return -EINVAL;
    if (from == NULL)
        return poise_recv(fd, bytes, size);
    ssize_t n;
    do {
        make_room(from);
        n = recvfrom(fd, bytes, size, 0, where(from), &from->length);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        int error = errno;
        set_none(from);
        return -error;
    }
    filled_in(from);
    return n;
}

int poise_shutdown(int fd, int how)
{
    if (shutdown(fd, how) < 0)
        return -errno;
    tell_shutdown(fd, how);
    return 0;
}
