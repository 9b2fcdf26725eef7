/* SPDX-License-Identifier: MIT
 *
 * No OpenSSL: random bytes of the host (wasi:random) under its names. libpq's helpers take theirs from OpenSSL or from the
 * file /dev/urandom, which WASI lacks; so one file, pg_strong_random.c, is compiled as if there were OpenSSL. Without it
 * no password can be given by SCRAM-SHA-256. */
#ifndef COMPAT_OPENSSL_RAND_H
#define COMPAT_OPENSSL_RAND_H

#include <stddef.h>
#include <unistd.h>

static __inline int RAND_status(void) { return 1; }

static __inline int RAND_poll(void) { return 1; }

/* getentropy(3) gives 256 bytes at most. */
static __inline int RAND_bytes(void *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        size_t part = size - done < 256 ? size - done : 256;
        if (getentropy((char *)bytes + done, part) < 0)
            return 0;
        done += part;
    }
    return 1;
}

#endif
