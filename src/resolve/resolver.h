/* SPDX-License-Identifier: MIT
 *
 * The inside of a poise_lookup, and the contract between lookup.c and the one file of the platform, the resolver. */
#ifndef POISE_RESOLVER_H
#define POISE_RESOLVER_H

#include <poise/resolve.h>

enum { NOT_STARTED, RUNNING, ENDED }; /* what has become of a look-up or a connect */

struct found;

/* What poise_lookup.reserved holds. */
struct lookup {
    poise *queue;
    uint64_t deadline_ns;
    struct found *found; /* all addresses so far; taken or not */
    union {
        void *block;
        int32_t handle[2];
    } resolver;                                /* the platform's own */
    uint32_t found_n, found_room, found_first; /* all before the first are taken */
    int32_t result;                            /* why the resolver ended; then what poise_lookup_next says */
    uint16_t port;
    uint8_t family, state; /* AF_... fits */
    bool asking;           /* the resolver has something to stop */
    bool some;             /* an address was taken */
} __attribute__((__may_alias__));

static inline struct lookup *lookup_of(poise_lookup *lookup) { return (struct lookup *)(void *)lookup->reserved; }

/* ---- the resolver ------------------------------------------------------------------------------------------------ */

/* Starts to ask for lookup_of(lookup)->family. 0, or a negative errno value: then there is nothing to stop;
 * -ENOENT, -EHOSTUNREACH and -ETIMEDOUT are answers. */
int poise__resolver_start(poise_lookup *lookup, const char *name);
/* Takes in what has come: hands each address to poise__lookup_found. -EAGAIN: more may come; else the end, 0 or why it
 * failed, and then there is still poise__resolver_stop to call. */
int poise__resolver_turn(poise_lookup *lookup);
/* Whether an address of this family may still come. */
bool poise__resolver_expects(const poise_lookup *lookup, int family);
/* When it needs a turn without an event: 0 at once, UINT64_MAX never. */
uint64_t poise__resolver_deadline(const poise_lookup *lookup);
/* Leaves nothing in the queue, and gives everything back. */
void poise__resolver_stop(poise_lookup *lookup);

/* ---- for the resolver -------------------------------------------------------------------------------------------- */

/* bytes: of an in_addr or in6_addr. Those of a family that was not asked for are left out. 0 or -ENOMEM. */
int poise__lookup_found(poise_lookup *lookup, int family, const void *bytes);

/* ---- for connect.c, which takes addresses by family -------------------------------------------------------------- */

/* Does what is due. -EAGAIN while an address may still come, else 0, or why it failed; asks to be called again by an
 * event when there is more, and not because something found was not taken. */
int poise__lookup_turn(poise_lookup *lookup);
/* Takes the next address of a family (AF_UNSPEC: of either). False: there is none now. */
bool poise__lookup_take(poise_lookup *lookup, int family, poise_address *address);
/* The same, and leaves it there. */
bool poise__lookup_peek(poise_lookup *lookup, int family, poise_address *address);
/* No more will come; what was found and not taken stays. False: so it was before. */
bool poise__lookup_stop_asking(poise_lookup *lookup);
/* Whether one of this family may still come. */
bool poise__lookup_expects(poise_lookup *lookup, int family);

#endif
