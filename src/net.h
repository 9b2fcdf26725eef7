/* SPDX-License-Identifier: MIT
 *
 * What net.c and net_unix.c share. */
#ifndef POISE_SRC_NET_H
#define POISE_SRC_NET_H

#include <poise/net.h>

#include "net_platform.h"

#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

enum { DEFAULT_BACKLOG = 128 };

/* How long an address of this family is at least. A Unix socket's has a name: unix(7), "unnamed". */
static inline size_t least_length(int family)
{
    switch (family) {
    case AF_INET: return sizeof(struct sockaddr_in);
    case AF_INET6: return sizeof(struct sockaddr_in6);
    case AF_UNIX: return offsetof(struct sockaddr_un, sun_path) + 1;
    default: return offsetof(struct sockaddr, sa_family) + sizeof(sa_family_t);
    }
}

/* AF_UNSPEC: no address. So is one made by hand whose length cannot be. */
static inline int family_of(const poise_address *address)
{
    if (address == NULL || address->length == 0 || address->length > sizeof address->storage)
        return AF_UNSPEC;
    int family = address->storage.ss_family;
    return address->length >= least_length(family) ? family : AF_UNSPEC;
}

static inline void set_none(poise_address *address) { memset(address, 0, sizeof *address); }

/* Structures are copied in and out, not pointed into: a sockaddr_storage is no sockaddr_in to the compiler. */
static inline void set(poise_address *address, const void *from, size_t length)
{
    set_none(address);
    memcpy(&address->storage, from, length);
    address->length = (socklen_t)length;
}

static inline struct sockaddr *where(const poise_address *address) { return (struct sockaddr *)&address->storage; }

static inline int closed(int fd, int error)
{
    close(fd);
    return -error;
}

/* net_unix.c: the AF_UNIX part of poise_address_from, _format and _equal. What is read is not in `address` itself. */
int poise__unix_from(poise_address *address, const struct sockaddr *from, size_t length);
void poise__unix_format(const poise_address *address, char text[POISE_ADDRESS_TEXT]);
bool poise__unix_equal(const poise_address *a, const poise_address *b);

#endif
