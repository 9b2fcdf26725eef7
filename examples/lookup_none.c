#include "lookup.h"

#include <errno.h>

int lookup_start(const char *name, poise_source *source)
{
    (void)name;
    (void)source;
    return -ENOTSUP; /* getaddrinfo would block; resolve.h is to come */
}

int lookup_next(poise_address *address)
{
    (void)address;
    return -ENOTSUP;
}

void lookup_end(void) {}
