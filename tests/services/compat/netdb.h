/* SPDX-License-Identifier: MIT
 *
 * A name or literal without an address of the family that was asked for: wasi-libc's getaddrinfo says success, with an empty
 * list. POSIX wants an error there, and hiredis relies on it: it asks for IPv4 alone first, and for IPv6 after an error. */
#include_next <netdb.h>

#ifndef COMPAT_NETDB_H
#define COMPAT_NETDB_H

static __inline int compat_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                                       struct addrinfo **list)
{
    int result = getaddrinfo(name, service, hints, list);
    return result == 0 && !*list ? EAI_NONAME : result;
}
#define getaddrinfo compat_getaddrinfo

#endif
