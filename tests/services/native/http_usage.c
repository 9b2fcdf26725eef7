/* See ../http_kit.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "http_kit.h"
#include "resolve_kit.h"

struct http_usage http_usage(void)
{
    struct usage now = usage();
    return (struct http_usage){ now.descriptors, now.memory, now.handles };
}

bool http_refuse(bool refuses) { return !refuses; }
