/* SPDX-License-Identifier: MIT
 *
 * sources BACKEND N: what a queue allocates for N descriptors (UDP sockets), and while they are in use. Prints
 * `empty=BYTES full=BYTES events=N allocs=CALLS`: allocs counts calls of the allocator during the events, in which a
 * source is also paused, resumed, unwatched and watched again, and a timer started.
 */
#include "counted.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 1000 };

static int udp_socket(struct sockaddr_in *address)
{
    socklen_t length = sizeof *address;
    *address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    must(fd >= 0, "socket");
    must(bind(fd, (struct sockaddr *)address, sizeof *address) == 0, "bind");
    must(getsockname(fd, (struct sockaddr *)address, &length) == 0, "getsockname");
    return fd;
}

static void watch(poise *queue, int fd, uint32_t interest)
{
    must(poise_watch(queue, poise_fd(fd), interest, NULL) == 0, "poise_watch");
}

/* Waits for the datagram, past time-outs and the events of others. */
static void receive(poise *queue, int fd)
{
    char byte;
    while (recv(fd, &byte, 1, MSG_DONTWAIT) != 1) {
        poise_event event;
        must(poise_wait(queue, POISE_FOREVER) >= 0, "poise_wait");
        while (poise_next(queue, &event)) {}
    }
}

int main(int argc, char **argv)
{
    long n = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    if (n < 1) {
        return fputs("usage: sources BACKEND N\n", stderr), 2;
    }
    struct counted counted;
    poise *queue = counted_open(&counted, argv[1]);
    poise_timer timer = { 0 };
    struct sockaddr_in address;
    int sender = udp_socket(&address);
    size_t empty = counted.bytes;
    int fd = sender;
    for (long i = 0; i < n; i++) {
        fd = udp_socket(&address);
        watch(queue, fd, POISE_READABLE);
    }
    (void)poise_timer_start(queue, &timer, poise_now() + 1000000000, NULL);
    must(poise_wait(queue, 0) >= 0, "poise_wait");
    size_t full = counted.bytes;
    counted.calls = 0;
    for (int i = 0; i < EVENTS; i++) {
        must(sendto(sender, "x", 1, 0, (struct sockaddr *)&address, sizeof address) == 1, "sendto");
        receive(queue, fd);
        watch(queue, fd, 0);
        watch(queue, fd, POISE_READABLE);
        must(poise_unwatch(queue, poise_fd(fd)) == 0, "poise_unwatch");
        watch(queue, fd, POISE_READABLE);
        (void)poise_timer_start(queue, &timer, poise_now() + 1000000000, NULL);
    }
    printf("empty=%zu full=%zu events=%d allocs=%zu\n", empty, full, EVENTS, counted.calls);
    poise_close(queue);
    return 0;
}
