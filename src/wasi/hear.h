/* What the program's own reads and writes tell of the streams behind pollables, and nothing else: see hear.c. */
#ifndef POISE_HEAR_H
#define POISE_HEAR_H

#include <stdbool.h>
#include <stdint.h>

enum heard {
    HEARD_EMPTY,  /* an operation found nothing, or no room: EAGAIN */
    HEARD_PART,   /* one did less than it was asked to: the program may stop here, and wait */
    HEARD_CLOSED, /* no more will come, or be taken */
    HEARD_FAILED, /* the same, and the next read says why */
};

/* Called with the pollable of the stream, or 0: it is unknown, and there was a time without memory. Returns whether to look
 * what is behind a part. */
extern bool (*poise__heard)(int32_t pollable, enum heard what);

/* There was no memory to note a pollable: from then on, what is heard of an unknown stream may concern anyone. */
extern bool poise__hear_deaf;

/* Called by poise_shutdown. */
extern void (*poise__heard_shutdown)(int fd, int how);

#endif
