/* SPDX-License-Identifier: MIT
 *
 * WASI starts no programs: popen fails. libpq's helpers would ask other programs for their version, and PQprint start a pager. */
#include_next <stdio.h>

#ifndef COMPAT_STDIO_H
#define COMPAT_STDIO_H

#include <errno.h>

static __inline FILE *popen(const char *command, const char *mode)
{
    (void)command, (void)mode;
    errno = ENOSYS;
    return NULL;
}

static __inline int pclose(FILE *stream)
{
    (void)stream;
    errno = ECHILD;
    return -1;
}

#endif
