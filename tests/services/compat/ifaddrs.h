/* SPDX-License-Identifier: MIT
 *
 * WASI does not tell the network interfaces of its host: wasi-libc declares getifaddrs, and has none. Here it fails, and
 * c-ares does without. */
#include_next <ifaddrs.h>

#ifndef COMPAT_IFADDRS_H
#define COMPAT_IFADDRS_H

#include <errno.h>

#define IFF_UP 1
#define IFF_LOOPBACK 8

static __inline int compat_getifaddrs(struct ifaddrs **list)
{
    *list = 0;
    errno = ENOSYS;
    return -1;
}
#define getifaddrs(list) compat_getifaddrs(list)
#define freeifaddrs(list) ((void)(list))

#endif
