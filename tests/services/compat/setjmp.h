/* SPDX-License-Identifier: MIT
 *
 * wasi-libc's setjmp needs a host with exception handling. libpq's helpers set a jump in one place, for a signal that ends
 * reading from a terminal: a signal that never comes, so nothing ever jumps. */
#ifndef COMPAT_SETJMP_H
#define COMPAT_SETJMP_H

typedef int jmp_buf[1];
typedef int sigjmp_buf[1];

static __inline int compat_setjmp(const int *buffer)
{
    (void)buffer;
    return 0;
}
#define setjmp(buffer) compat_setjmp(buffer)
#define sigsetjmp(buffer, mask) ((void)(mask), compat_setjmp(buffer))

#endif
