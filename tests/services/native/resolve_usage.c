/* See ../resolve_kit.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "resolve_kit.h"

#include <dirent.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

struct usage usage(void)
{
    struct usage usage = { 0, 0, 0 };
    DIR *folder = opendir("/proc/self/fd");
    MUST(folder != NULL);
    while (readdir(folder) != NULL)
        usage.descriptors++;
    closedir(folder);
    struct mallinfo2 heap = mallinfo2();
    usage.memory = (int64_t)(heap.uordblks + heap.hblkhd);
    return usage;
}

static struct rlimit limit_before;
static int fillers[64], fillers_n;

/* Fills up what is left below a low limit, and gives some of it back. */
bool limit_descriptors(int spare)
{
    MUST(getrlimit(RLIMIT_NOFILE, &limit_before) == 0);
    int first = dup(0);
    MUST(first >= 0);
    struct rlimit limit = limit_before;
    limit.rlim_cur = (rlim_t)first + 32;
    MUST(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    for (int fd = first; fd >= 0; fd = dup(0)) {
        MUST(fillers_n < 64);
        fillers[fillers_n++] = fd;
    }
    give_descriptors(spare);
    return true;
}

void give_descriptors(int n)
{
    for (int i = 0; i < n && fillers_n > 0; i++)
        close(fillers[--fillers_n]);
}

void unlimit_descriptors(void)
{
    give_descriptors(fillers_n);
    MUST(setrlimit(RLIMIT_NOFILE, &limit_before) == 0);
}

const char *host_memory(void)
{
    static char text[64];
    char line[128] = "";
    FILE *file = fopen("/proc/self/statm", "r");
    MUST(file != NULL && fgets(line, sizeof line, file) != NULL && strchr(line, ' ') != NULL);
    fclose(file);
    long pages = strtol(strchr(line, ' '), NULL, 10); /* the second number */
    snprintf(text, sizeof text, "%ld KB resident", pages * (sysconf(_SC_PAGESIZE) / 1024));
    return text;
}
