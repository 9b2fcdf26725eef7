/* SPDX-License-Identifier: MIT
 *
 * PROGRAM PEER WORKLOAD [KEY=VALUE...]: the command line, the rounds that standard input asks for, and their clock.
 */
#include "work.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

struct config config;
struct progress work;
void (*work_event)(struct end *end);

static struct {
    uint64_t began, took, ops;
    uint64_t cpu_began, cpu_took;
    struct counts before, counts;
} clocked;

_Noreturn void die(const char *what)
{
    fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

_Noreturn void wrong(const char *what, const char *which)
{
    fprintf(stderr, "bench: %s: %s\n", what, which);
    exit(2);
}

void *zeroed(size_t count, size_t size)
{
    void *block = calloc(count, size);
    if (block == NULL) {
        die("calloc");
    }
    return block;
}

/* xorshift64: the same numbers for every peer. */
uint64_t next_random(void)
{
    static uint64_t state = UINT64_C(0x9E3779B97F4A7C15);
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void allowed_processors(cpu_set_t *set)
{
    if (sched_getaffinity(0, sizeof *set, set) != 0) {
        die("sched_getaffinity");
    }
}

unsigned processors(void)
{
    cpu_set_t set;
    allowed_processors(&set);
    return (unsigned)CPU_COUNT(&set);
}

void pin_to_processor(unsigned which)
{
    static cpu_set_t all; /* as it was before the first pinning */
    if (CPU_COUNT(&all) == 0) {
        allowed_processors(&all);
    }
    for (size_t i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &all) && which-- == 0) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(i, &one);
            if (sched_setaffinity(0, sizeof one, &one) != 0) {
                die("sched_setaffinity");
            }
            return;
        }
    }
}

/* ---- the clock ---- */

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void clock_start(void)
{
    clocked.before = counts;
    clocked.cpu_began = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    clocked.began = clock_ns(CLOCK_MONOTONIC);
}

void clock_stop(uint64_t ops)
{
    clocked.took += clock_ns(CLOCK_MONOTONIC) - clocked.began;
    clocked.cpu_took += clock_ns(CLOCK_THREAD_CPUTIME_ID) - clocked.cpu_began;
    clocked.ops += ops;
    clocked.counts.reads += counts.reads - clocked.before.reads;
    clocked.counts.writes += counts.writes - clocked.before.writes;
    clocked.counts.waits += counts.waits - clocked.before.waits;
    clocked.counts.ctls += counts.ctls - clocked.before.ctls;
    clocked.counts.allocs += counts.allocs - clocked.before.allocs;
}

static void clock_reset(void) { memset(&clocked, 0, sizeof clocked); }

static void print_round(void)
{
    printf("ns=%" PRIu64 " cpu_ns=%" PRIu64 " ops=%" PRIu64 " waits=%" PRIu64 " reads=%" PRIu64 " writes=%" PRIu64
           " ctls=%" PRIu64 " allocs=%" PRIu64 "\n",
           clocked.took, clocked.cpu_took, clocked.ops, clocked.counts.waits, clocked.counts.reads,
           clocked.counts.writes, clocked.counts.ctls, clocked.counts.allocs);
    (void)fflush(stdout);
}

/* ---- the command line ---- */

static const struct workload *find_workload(const char *name)
{
    const struct workload *const lists[] = { io_workloads, timer_workloads, wake_workloads };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        for (const struct workload *at = lists[i]; at->name != NULL; at++) {
            if (strcmp(at->name, name) == 0) {
                return at;
            }
        }
    }
    wrong("no such workload", name);
}

static void find_peer(const char *name)
{
    for (size_t i = 0; peer_names[i] != NULL; i++) {
        if (strcmp(peer_names[i], name) == 0) {
            config.edge = strstr(name, "-edge") != NULL;
            return;
        }
    }
    wrong("no such peer in this program", name);
}

static uint64_t parse_number(const char *text, const char *all)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || *text < '0' || *text > '9' || *end != '\0') {
        wrong("not a number", all);
    }
    return value;
}

static void parse_setting(const struct workload *workload, const char *setting)
{
    const struct {
        const char *key;
        uint64_t *value, most;
    } known[] = { { "n ", &config.n, 2000000 },       { "active ", &config.active, 1000000 },
                  { "drain ", &config.drain, 1 },     { "bytes ", &config.bytes, 4096 },
                  { "lump ", &config.lump, 1000000 }, { "burst ", &config.burst, 100 },
                  { "look ", &config.look, 1 },       { "cpus ", &config.cpus, 2 },
                  { "batch ", &config.batch, 65536 } };
    size_t length = strcspn(setting, "=");
    if (setting[length] != '=') {
        wrong("not KEY=VALUE", setting);
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        bool here = strstr(workload->keys, known[i].key) != NULL || known[i].value == &config.batch;
        if (here && strncmp(known[i].key, setting, length) == 0 && known[i].key[length] == ' ') {
            *known[i].value = parse_number(setting + length + 1, setting);
            if (*known[i].value > known[i].most) {
                wrong("too large", setting);
            }
            return;
        }
    }
    wrong("no such key for this workload", setting);
}

static const struct workload *parse(int argc, char **argv)
{
    if (argc < 3) {
        wrong("usage", "PROGRAM PEER WORKLOAD [KEY=VALUE...]; bench/linux/README.md");
    }
    const struct workload *workload = find_workload(argv[2]);
    config = workload->defaults;
    config.batch = 1024;
    find_peer(argv[1]);
    for (int i = 3; i < argc; i++) {
        parse_setting(workload, argv[i]);
    }
    return workload;
}

static void raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static const char *set_up(const struct workload *workload)
{
    if (workload->timers && !peer_has_timers) {
        return "it has no timers";
    }
    if (workload->level_only && config.edge) {
        return "edges make no difference here";
    }
    return workload->set_up();
}

int main(int argc, char **argv)
{
    const struct workload *workload = parse(argc, argv);
    raise_limit();
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a round that never ends does not outlive who asked for it */
    const char *reason = set_up(workload);
    if (reason != NULL) {
        printf("unsupported %s\n", reason);
        return 0;
    }
    if (workload->warm_up != 0) {
        workload->round(workload->warm_up);
    }
    if (workload->check != NULL) {
        workload->check();
    }
    puts("ready");
    (void)fflush(stdout);
    char line[64];
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "round ", 6) != 0) {
            wrong("not `round COUNT`", line);
        }
        clock_reset();
        workload->round(parse_number(line + 6, line));
        print_round();
    }
    if (workload->check != NULL) {
        workload->check();
    }
    return 0;
}
