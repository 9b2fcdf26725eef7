/* A name look-up as a source of events, for everything.c: lookup_wasi.c under WASI 0.2, lookup_none.c elsewhere. */
#ifndef LOOKUP_H
#define LOOKUP_H

#include <poise/net.h>

/* Starts to look a name up, one at a time, and gives the source to watch for POISE_READABLE. -ENOTSUP: none here. */
int lookup_start(const char *name, poise_source *source);

/* Takes what came: 1, an address (with port 0); 0, that was all; -EAGAIN, nothing yet; else why it failed. */
int lookup_next(poise_address *address);

/* Gives the source back. Unwatch it first. */
void lookup_end(void);

#endif
