/* SPDX-License-Identifier: MIT
 *
 * chain N ACTIVE [ROUNDS]: N socketpairs, ACTIVE bytes in circulation. On an event one byte is read and written into
 * the next pair: the benchmark that libevent and libev publish. poise's epoll backend and raw epoll take turns in one
 * process, and the ratio of each pair of rounds is what counts on a noisy machine.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <poise/poise.h>

enum { EVENTS = 100000, BATCH = 256 };

static int *readers, *writers;
static long pairs, active;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void pass_on(long i)
{
    char byte;
    if (read(readers[i], &byte, 1) != 1 || write(writers[i + 1 < pairs ? i + 1 : 0], &byte, 1) != 1) {
        die("pass_on");
    }
}

static double seconds(void) { return (double)poise_now() / 1e9; }

static void start(void)
{
    for (long i = 0; i < active; i++) {
        if (write(writers[i * (pairs / active)], "x", 1) != 1) {
            die("write");
        }
    }
}

static void drain(void)
{
    char bytes[64];
    for (long i = 0; i < pairs; i++) {
        while (recv(readers[i], bytes, sizeof bytes, MSG_DONTWAIT) > 0) {}
    }
}

static double raw_round(int set)
{
    static struct epoll_event events[BATCH];
    start();
    double begin = seconds();
    for (long seen = 0; seen < EVENTS;) {
        int n = epoll_wait(set, events, BATCH, -1);
        for (int i = 0; i < n; i++) {
            pass_on((long)events[i].data.u64);
        }
        seen += n;
    }
    double took = seconds() - begin;
    drain();
    return took;
}

static double poise_round(poise *queue)
{
    start();
    double begin = seconds();
    for (long seen = 0; seen < EVENTS;) {
        poise_event event;
        if (poise_wait(queue, POISE_FOREVER) < 0) {
            die("poise_wait");
        }
        while (poise_next(queue, &event)) {
            pass_on((long)(intptr_t)event.data);
            seen++;
        }
    }
    double took = seconds() - begin;
    drain();
    return took;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    pairs = argc > 1 ? atol(argv[1]) : 100;
    active = argc > 2 ? atol(argv[2]) : 1;
    long rounds = argc > 3 ? atol(argv[3]) : 31;
    struct rlimit limit;
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    readers = calloc((size_t)pairs, sizeof *readers);
    writers = calloc((size_t)pairs, sizeof *writers);
    double *ratios = calloc((size_t)rounds, sizeof *ratios);
    double *raw_times = calloc((size_t)rounds, sizeof *raw_times);
    if (readers == NULL || writers == NULL || ratios == NULL || raw_times == NULL || active < 1 || active > pairs) {
        fprintf(stderr, "usage: chain N ACTIVE [ROUNDS], 1 <= ACTIVE <= N\n");
        return 2;
    }
    poise *queue;
    poise_options options = { .size = sizeof options, .backend = "epoll", .batch = BATCH };
    int set = epoll_create1(EPOLL_CLOEXEC);
    if (set < 0 || poise_open(&queue, &options) != 0) {
        die("open");
    }
    for (long i = 0; i < pairs; i++) {
        int fds[2];
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) {
            die("socketpair");
        }
        readers[i] = fds[0];
        writers[i] = fds[1];
    }
    for (long round = -1; round < rounds; round++) { /* the first one warms up */
        /* Each has the descriptors to itself while it runs: a second registration would slow down every write. */
        double times[2];
        for (int turn = 0; turn < 2; turn++) {
            int which = (int)((round + 1 + turn) % 2);
            for (long i = 0; i < pairs; i++) {
                struct epoll_event event = { .events = EPOLLIN, .data.u64 = (uint64_t)i };
                if (which == 0 ? epoll_ctl(set, EPOLL_CTL_ADD, readers[i], &event) != 0
                               : poise_watch(queue, poise_fd(readers[i]), POISE_READABLE, (void *)(intptr_t)i) != 0) {
                    die("add");
                }
            }
            times[which] = which == 0 ? raw_round(set) : poise_round(queue);
            for (long i = 0; i < pairs; i++) {
                if (which == 0 ? epoll_ctl(set, EPOLL_CTL_DEL, readers[i], NULL) != 0
                               : poise_unwatch(queue, poise_fd(readers[i])) != 0) {
                    die("remove");
                }
            }
        }
        if (round >= 0) {
            ratios[round] = times[1] / times[0];
            raw_times[round] = times[0];
        }
    }
    qsort(ratios, (size_t)rounds, sizeof *ratios, ascending);
    qsort(raw_times, (size_t)rounds, sizeof *raw_times, ascending);
    printf(
        "n=%-5ld active=%-4ld raw epoll %6.0f ns/event   poise / raw: median %.3f (quartiles %.3f to %.3f, %ld pairs of rounds)\n",
        pairs, active, raw_times[rounds / 2] / EVENTS * 1e9, ratios[rounds / 2], ratios[rounds / 4],
        ratios[rounds * 3 / 4], rounds);
    poise_close(queue);
    return 0;
}
