/* What the tests of poise/resolve.h and poise/connect.h share: what is in use before and after. */
#ifndef POISE_RESOLVE_KIT_H
#define POISE_RESOLVE_KIT_H

#include "services.h"

#include <poise/connect.h>

/* What the process holds. Descriptors: how many (WASI: below 2,000). Handles: the pollables and
 * look-ups of a component (wasip2/resolve_usage.c), natively none. Memory: bytes in use (WASI: of the component in all;
 * with a sanitizer 0). */
struct usage {
    int64_t descriptors, handles, memory;
};

struct usage usage(void);
const char *host_memory(void); /* for a message: what the process has of the system's memory */

static inline void check_usage(struct usage before)
{
    struct usage now = usage();
    CHECK_INT(now.descriptors, before.descriptors);
    CHECK_INT(now.handles, before.handles);
}

#define NEED_NAMES()                                         \
    do {                                                     \
        if (on_wasi() && !backend_is("wasip2"))              \
            SKIP("only the backend wasip2 knows pollables"); \
    } while (0)

/* Natively alone: the program that is the other end, or the limit, is the machine's. */
bool limit_descriptors(int spare); /* leaves so many to open; false: there is no limit here */
void give_descriptors(int n);      /* so many more */
void unlimit_descriptors(void);

#endif
