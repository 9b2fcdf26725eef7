/* What the tests of the WASI parts share: host calls and live handles, counted. Natively, and in a 0.1 module, there are none. */
#ifndef POISE_WASI_KIT_H
#define POISE_WASI_KIT_H

#include "test.h"

#if defined(__wasi__) && __has_include(<wasi/version.h>)
#include <wasi/version.h>
#endif

#ifdef __wasip2__
#define TEST_WASIP2 1
#else
#define TEST_WASIP2 0
#endif

#if !defined(__wasi__) || TEST_WASIP2
#define TEST_SOCKETS 1
#else
#define TEST_SOCKETS 0
#endif

struct calls {
    uint64_t polls, yields;     /* of wasi:io/poll.poll, poise's and libc's; yields apart */
    uint64_t subscribes, drops; /* of pollables, poise's and libc's */
    uint64_t allocations;       /* results of poll that came from the program's allocator */
};

#if TEST_WASIP2

#include <wasi/host.h> /* of src/ */

extern uint64_t libc_subscribes; /* wasi_hooks.c */

static inline struct calls calls(void)
{
    return (struct calls){
        .polls = poise__host_calls.polls,
        .yields = poise__host_calls.yields,
        .subscribes = poise__host_calls.subscribes + poise__host_calls.heard + libc_subscribes,
        .drops = poise__host_calls.drops,
        .allocations = poise__host_calls.allocations,
    };
}

#else

static inline struct calls calls(void) { return (struct calls){ .polls = 0 }; }

#endif

/* The bridge's own tests run where there is one. */
#define NEED_WASIP2()                                        \
    do {                                                     \
        if (!TEST_WASIP2 || !backend_is("wasip2"))           \
            SKIP("only the backend wasip2 knows pollables"); \
    } while (0)

#endif
