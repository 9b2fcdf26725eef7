/* SPDX-License-Identifier: MIT
 *
 * The resolver of WASI 0.1, which has no call for that. */
#include "../resolver.h"

#include <errno.h>

int poise__resolver_start(poise_lookup *lookup, const char *name)
{
    (void)lookup;
    (void)name;
    return -ENOTSUP;
}

int poise__resolver_turn(poise_lookup *lookup)
{
    (void)lookup;
    return -ENOTSUP;
}

bool poise__resolver_expects(const poise_lookup *lookup, int family)
{
    (void)lookup;
    (void)family;
    return false;
}

uint64_t poise__resolver_deadline(const poise_lookup *lookup)
{
    (void)lookup;
    return UINT64_MAX;
}

void poise__resolver_stop(poise_lookup *lookup) { (void)lookup; }
