/* SPDX-License-Identifier: MIT
 *
 * PROGRAM PEER WORKLOAD [KEY=VALUE...]: README.md has the keys, the workloads and the lines that go to and fro. */
#include "bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct settings settings = { .n = 1, .active = 1, .timed = 1, .gap_us = -1, .latency_us = 200, .limit_ms = 30000 };

_Noreturn void die(const char *what)
{
    fprintf(stderr, "%s: %s: errno %d\n", settings.peer, what, errno);
    exit(1);
}

static _Noreturn void wrong(const char *what, const char *argument)
{
    fprintf(stderr, "bench: %s: %s\n", what, argument);
    exit(2);
}

static _Noreturn void unsupported(const char *reason)
{
    printf("unsupported %s\n", reason);
    fflush(stdout);
    _Exit(0);
}

void *room_for(size_t n, size_t size)
{
    void *block = calloc(n > 0 ? n : 1, size);
    if (block == NULL)
        die("no memory");
    return block;
}

static void set(char *argument)
{
    static const struct {
        const char *key;
        long *number;
        const char **text;
        long least, most;
    } keys[] = {
        { "n", &settings.n, NULL, 1, 100000 },
        { "active", &settings.active, NULL, 1, 100000 },
        { "drain", &settings.drain, NULL, 0, 1 },
        { "timed", &settings.timed, NULL, 0, 1 },
        { "gap_us", &settings.gap_us, NULL, 0, 10000000 },
        { "latency_us", &settings.latency_us, NULL, 0, 10000000 },
        { "port", &settings.port, NULL, 1, 65535 },
        { "limit_ms", &settings.limit_ms, NULL, 1, 1000000 },
        { "cold_latency_ns", &settings.cold_latency_ns, NULL, 0, 1000000000 },
        { "batch", &settings.batch, NULL, 0, 65536 },
        { "op", NULL, &settings.op, 0, 0 },
        { "address", NULL, &settings.address, 0, 0 },
    };
    char *value = strchr(argument, '=');
    if (value == NULL)
        wrong("no KEY=VALUE", argument);
    *value++ = '\0';
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strcmp(keys[i].key, argument) != 0)
            continue;
        if (keys[i].text != NULL) {
            *keys[i].text = value;
            return;
        }
        char *end;
        *keys[i].number = strtol(value, &end, 10);
        if (*value == '\0' || *end != '\0' || *keys[i].number < keys[i].least || *keys[i].number > keys[i].most)
            wrong("no such value", value);
        return;
    }
    wrong("no such key", argument);
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void print_samples(const char *prefix, struct samples *samples)
{
    if (samples->n == 0)
        return;
    qsort(samples->values, samples->n, sizeof *samples->values, ascending);
    printf(" %sp50=%llu %sp99=%llu %smax=%llu", prefix, (unsigned long long)samples->values[samples->n / 2], prefix,
           (unsigned long long)samples->values[samples->n * 99 / 100], prefix,
           (unsigned long long)samples->values[samples->n - 1]);
}

static void print_number(const char *key, uint64_t value) { printf(" %s=%llu", key, (unsigned long long)value); }

static uint64_t calls_of(const struct host_counts *host)
{
    return host->polls + host->yields + host->subscribes + host->drops;
}

static void print_round(const struct host_counts *before)
{
    struct host_counts host = waiter_host();
    printf("ns=%llu", (unsigned long long)figures.ns);
    print_number("ops", figures.ops);
    print_number("waits", figures.waits);
    print_number("reads", figures.reads);
    print_number("writes", figures.writes);
    print_number("again", figures.again);
    print_number("served", figures.served);
    print_number("allocs", figures.allocs);
    if (host.polls > 0) {
        print_number("polls", host.polls - before->polls);
        print_number("yields", host.yields - before->yields);
        print_number("subscribes", host.subscribes - before->subscribes);
        print_number("drops", host.drops - before->drops);
        print_number("calls", calls_of(&host) - calls_of(before));
        print_number("looks", host.looks - before->looks);
    }
    if (figures.seen + figures.lost > 0) {
        print_number("seen", figures.seen);
        print_number("lost", figures.lost);
    }
    if (wait_times.n > 0)
        print_number("wait_ns", figures.wait_ns);
    print_samples("wait_", &wait_times);
    print_samples("", &delays);
    printf("\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        wrong("usage", "PROGRAM PEER WORKLOAD [KEY=VALUE...]");
    settings.peer = argv[1];
    settings.workload = argv[2];
    settings.op = "fire";
    settings.address = "127.0.0.1";
    if (strcmp(argv[1], waiter_name) != 0)
        wrong("this program is the peer", waiter_name);
    for (int i = 3; i < argc; i++)
        set(argv[i]);
    const struct workload *workload = workload_named(settings.workload);
    if (workload == NULL)
        wrong("no such workload", settings.workload);
    if (settings.active > settings.n && !workload->timers)
        wrong("more are active than there are", settings.workload);
    if (settings.active == settings.n && strcmp(workload->name, "cold") == 0)
        wrong("none is cold", settings.workload);
    if (settings.port != 0 && workload->helper == NO_HELPER)
        wrong("it has no use for the helper", settings.workload);
    if (workload->timers && !waiter_has_timers())
        unsupported("it has no timers");
    if (workload->helper == HELPER_NEEDED && settings.port == 0)
        wrong("it needs the native helper", settings.workload);

    prepare(workload);
    printf("ready\n");
    fflush(stdout);
    char line[64];
    while (fgets(line, sizeof line, stdin) != NULL) {
        uint64_t count = strncmp(line, "round ", 6) == 0 ? strtoull(line + 6, NULL, 10) : 0;
        if (count == 0)
            wrong("not a round", line);
        struct host_counts before = waiter_host();
        figures_reset();
        workload->round(count);
        print_round(&before);
    }
    fflush(stdout);
    _Exit(0); /* not one close after the other: the host closes all, and a close may wait for its peer */
}
