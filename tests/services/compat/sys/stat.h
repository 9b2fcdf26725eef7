/* SPDX-License-Identifier: MIT
 *
 * umask: WASI's files have no modes. libpq's helpers call it where they make folders, which libpq never does. */
#include_next <sys/stat.h>

#ifndef COMPAT_SYS_STAT_H
#define COMPAT_SYS_STAT_H

static __inline mode_t umask(mode_t mask)
{
    (void)mask;
    return 0;
}

#endif
