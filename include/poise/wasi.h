/* SPDX-License-Identifier: MIT
 *
 * poise/wasi.h - WASI 0.2 handles as sources.
 *
 * A pollable (wasi:io/poll) stands for anything that a WASI 0.2 host can wait for: a name look-up, an HTTP response, a
 * clock, standard input. poise_watch takes one like a descriptor. It is ready or it is not: every direction that was
 * asked for comes out (ask for POISE_READABLE unless there is a reason not to); POISE_PRIORITY is -ENOTSUP. In edge mode
 * poise_again arms it again, and so does an operation of its stream that finds nothing, if it goes through libc's binding.
 *
 * The handle is borrowed: poise never drops it. Call poise_unwatch before you drop it, or what owns it. A drop through
 * libc's binding (poll_pollable_drop_own) of a handle that is still watched is noticed, reported once as POISE_ERROR
 * with result -EBADF, and the source is parked; a drop by any other binding is not, and the next wait traps (the host's
 * rule for unknown handles).
 *
 * Everywhere else, and where the bridge of a component is not in force (see docs/platforms.md), watching a pollable is
 * -ENOTSUP.
 */
#ifndef POISE_WASI_H
#define POISE_WASI_H

#include <poise/poise.h>

/* The kind of a pollable in poise_source; descriptors are kind 0. */
#define POISE_KIND_POLLABLE 1u

static inline poise_source poise_pollable(int32_t handle)
{
    poise_source source;
    source.kind = POISE_KIND_POLLABLE;
    source.id = handle;
    return source;
}

#endif
