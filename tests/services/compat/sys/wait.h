/* SPDX-License-Identifier: MIT
 *
 * WASI has no child processes. libpq's helpers can put the end of one into words. */
#ifndef COMPAT_SYS_WAIT_H
#define COMPAT_SYS_WAIT_H

#define WIFEXITED(status) (((status) & 0x7f) == 0)
#define WEXITSTATUS(status) (((status) >> 8) & 0xff)
#define WIFSIGNALED(status) (!WIFEXITED(status))
#define WTERMSIG(status) ((status) & 0x7f)

#endif
