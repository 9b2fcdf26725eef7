/* SPDX-License-Identifier: MIT
 *
 * WASI has no Unix-domain sockets, and wasi-libc's sockaddr_un has no path. With it hiredis and libpq compile; a connect to
 * such an address fails, as socket(AF_UNIX) does. */
#ifndef COMPAT_SYS_UN_H
#define COMPAT_SYS_UN_H

#include <sys/socket.h>

/* No longer than sockaddr_storage, which libpq copies it to: wasi-libc's is only 48 bytes long. */
struct sockaddr_un {
    sa_family_t sun_family;
    char sun_path[sizeof(struct sockaddr_storage) - sizeof(sa_family_t)];
};
_Static_assert(sizeof(struct sockaddr_un) == sizeof(struct sockaddr_storage), "sockaddr_un fits into sockaddr_storage");

#endif
