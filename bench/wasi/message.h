/* What a component and the native helper send each other; both are little-endian. */
#ifndef BENCH_MESSAGE_H
#define BENCH_MESSAGE_H

#include <stdint.h>

struct message {
    uint32_t delay_us; /* the helper sends it back after so long, */
    uint32_t target;   /* on this connection (in the order in which they were made, the one for orders not counted) */
    uint64_t stamp;    /* the sender's own */
    uint64_t sent;     /* filled in by the helper: its real-time clock */
};

#endif
