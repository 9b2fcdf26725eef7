/* See ../http_kit.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "http_kit.h"

#include <dirent.h>
#include <malloc.h>

struct http_usage http_usage(void)
{
    struct http_usage usage = { 0, 0, 0 };
    DIR *folder = opendir("/proc/self/fd");
    MUST(folder != NULL);
    while (readdir(folder) != NULL)
        usage.descriptors++;
    closedir(folder);
    struct mallinfo2 heap = mallinfo2();
    usage.memory = (int64_t)(heap.uordblks + heap.hblkhd);
    return usage;
}

bool http_refuse(bool refuses) { return !refuses; }
