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

/* Called with each pollable of the stream. Returns whether to look behind a part. */
extern bool (*poise__heard)(int32_t pollable, enum heard what);

/* There was no memory to note a pollable, or somebody else has subscribed. Until this is set to false, heard_unknown is
 * called for an operation that gave nothing, or a part, on a stream of which no pollable is known. */
extern bool poise__hear_deaf;
extern void (*poise__heard_unknown)(bool input);
bool poise__hear_knows(int32_t pollable);

/* Makes room for both directions of so many sources: in all queues together; beside what is known already. False: there is
 * no memory. */
bool poise__hear_reserve(uint32_t sources);
bool poise__hear_room(uint32_t sources);

void poise__hear_dropped(int32_t pollable); /* the bridge says so of each */

/* Called by poise_shutdown. */
extern void (*poise__heard_shutdown)(int fd, int how);

#endif
