/* From a descriptor to its pollables, and nothing else: see bridge.c. */
#ifndef POISE_BRIDGE_H
#define POISE_BRIDGE_H

#include <stdbool.h>
#include <stdint.h>

/* Whether libc's poll(2) and its drop of a pollable come by here. Asked once, then known. */
bool poise__bridge_in_force(void);

enum capture {
    CAPTURE_HANDLE, /* libc would wait for *handle */
    CAPTURE_READY,  /* libc would not wait: an operation says at once what is the matter */
    CAPTURE_NEVER,  /* libc would wait for nothing (a listening socket for room) */
};

/* What libc's poll(2) would do for one direction (POLLIN or POLLOUT) of a descriptor. No host call of poll is made.
 * A negative errno value where poll fails: -EBADF (closed), -ENOTSUP (a TCP socket that is neither connected nor
 * listening), ... */
int poise__bridge_capture(int fd, short direction, int32_t *handle);

/* Tells libc that a handle is ready, so that it does what it does after a wait: it finishes a connect. Returns poll's
 * revents, 0 if libc found nothing, or -ENOMEM (libc frees the list that it gets, so it must come from malloc). */
int poise__bridge_inject(int fd, short directions, int32_t handle);

/* Called with each handle that libc is about to drop. */
extern void (*poise__bridge_dropped)(int32_t handle);

#endif
