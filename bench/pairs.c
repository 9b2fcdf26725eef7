/* SPDX-License-Identifier: MIT
 *
 * pairs N ACTIVE [ROUNDS]: N TCP pairs on the loopback, ACTIVE bytes in circulation: on an event the byte is read (once) and written into the
 * same pair again. poise and the C library's poll(2) take turns; what counts is the ratio. Runs natively and as a component.
 * With more than 2,700 pairs libc's poll(2) overwrites memory in a component: link with -Wl,-z,stack-size=8388608.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include <poise/net.h>
#include <poise/poise.h>
#include <unistd.h>

static int *servers, *clients;
static int pairs, active, events;
static bool *seen;

static void check(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "%s: errno %d\n", what, errno);
        exit(1);
    }
}

static void send_byte(int fd)
{
    struct pollfd room = { .fd = fd, .events = POLLOUT };
    while (poise_send(fd, "x", 1) != 1) {
        (void)poll(&room, 1, 100);
    }
}

/* Returns whether there was a byte. */
static bool serve(int i)
{
    char byte[8];
    if (poise_recv(servers[i], byte, sizeof byte) <= 0) {
        return false;
    }
    seen[i] = true;
    send_byte(clients[i]);
    return true;
}

static int served(void)
{
    int n = 0;
    for (int i = 0; i < pairs; i++) {
        n += seen[i];
        seen[i] = false;
    }
    return n;
}

static uint64_t with_poise(poise *queue)
{
    uint64_t begin = poise_now();
    for (int got = 0; got < events;) {
        poise_event event;
        check(poise_wait(queue, POISE_FOREVER) > 0, "poise_wait");
        while (poise_next(queue, &event)) {
            got += serve((int)(intptr_t)event.data);
        }
    }
    return poise_now() - begin;
}

static uint64_t with_poll(struct pollfd *list)
{
    uint64_t begin = poise_now();
    for (int got = 0; got < events;) {
        int n = poll(list, (nfds_t)pairs, -1);
        check(n > 0, "poll");
        for (int i = 0; n > 0; i++) {
            if (list[i].revents != 0) {
                n--;
                got += serve(i);
            }
        }
    }
    return poise_now() - begin;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    pairs = argc > 1 ? atoi(argv[1]) : 1;
    active = argc > 2 ? atoi(argv[2]) : 1;
    int rounds = argc > 3 ? atoi(argv[3]) : 11;
    events = pairs > 1000 ? 500 : pairs > 50 ? 2000 : 10000;
    check(pairs >= active && active > 0 && rounds > 0, "usage: pairs N ACTIVE [ROUNDS]");
    servers = calloc((size_t)pairs, sizeof *servers);
    clients = calloc((size_t)pairs, sizeof *clients);
    seen = calloc((size_t)pairs, sizeof *seen);
    struct pollfd *list = calloc((size_t)pairs, sizeof *list);
    double *ratios = calloc((size_t)rounds, sizeof *ratios);
    double *times = calloc((size_t)rounds, sizeof *times);
    poise *queue;
    poise_address address;
    check(poise_open(&queue, NULL) == 0, "poise_open");
    check(poise_address_parse(&address, "127.0.0.1", 0) == 0, "address");
    int listener = poise_tcp_listen(&address, 128);
    check(listener >= 0 && poise_local_address(listener, &address) == 0, "listen");
    for (int i = 0; i < pairs; i++) {
        struct pollfd ready = { .events = POLLOUT };
        clients[i] = ready.fd = poise_tcp_connect(&address);
        check(clients[i] >= 0, "connect");
        while (poise_tcp_connect_result(clients[i]) == -EINPROGRESS) {
            (void)poll(&ready, 1, 1000);
        }
        ready = (struct pollfd){ .fd = listener, .events = POLLIN };
        while ((servers[i] = poise_tcp_accept(listener, NULL)) == -EAGAIN) {
            (void)poll(&ready, 1, 1000);
        }
        check(servers[i] >= 0, "accept");
        list[i] = (struct pollfd){ .fd = servers[i], .events = POLLIN };
        check(poise_watch(queue, poise_fd(servers[i]), POISE_READABLE, (void *)(intptr_t)i) == 0, "watch");
    }
    for (int i = 0; i < active; i++) {
        send_byte(clients[i * (pairs / active)]);
    }
    int by_poise = 0;
    int by_poll = 0;
    for (int round = -1; round < rounds; round++) {
        uint64_t took[2];
        for (int turn = 0; turn < 2; turn++) {
            int which = (round + 1 + turn) % 2;
            took[which] = which == 0 ? with_poise(queue) : with_poll(list);
            int n = served();
            *(which == 0 ? &by_poise : &by_poll) = n;
        }
        if (round >= 0) {
            ratios[round] = (double)took[0] / (double)took[1];
            times[round] = (double)took[0] / events / 1000;
        }
    }
    qsort(ratios, (size_t)rounds, sizeof *ratios, ascending);
    qsort(times, (size_t)rounds, sizeof *times, ascending);
    printf(
        "%s n=%-5d active=%-4d %8.2f us/event   poise / poll(2): median %.3f (quartiles %.3f to %.3f)   served: poise "
        "%d, poll(2) %d\n",
        poise_backend(queue), pairs, active, times[rounds / 2], ratios[rounds / 2], ratios[rounds / 4],
        ratios[rounds * 3 / 4], by_poise, by_poll);
    poise_close(queue);
    return 0;
}
