/* Handles of the host: after many opens and closes nothing is left. Pollables are counted where they are made (libc's in
 * wasi_hooks.c, poise's in src/wasi/host.c) and where they are dropped. tests/bridge.py runs these tests on a host that gives
 * a program a few hundred handles in all, too. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "wasi_kit.h"

#if TEST_WASIP2

#include <netinet/in.h>
#include <poise/wasi.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wasi/wasip2.h>

#define R ((uint32_t)POISE_READABLE)
#define W ((uint32_t)POISE_WRITABLE)

static void drop(int32_t handle) { poll_pollable_drop_own((poll_own_pollable_t){ handle }); }

/* What is in use. */
struct usage {
    int64_t pollables;
    int fd; /* of a new socket */
};

static struct usage usage(void)
{
    struct usage usage;
    struct calls now = calls();
    usage.pollables = (int64_t)now.subscribes - (int64_t)now.drops;
    usage.fd = socket(AF_INET, SOCK_DGRAM, 0);
    MUST(usage.fd >= 0);
    close(usage.fd);
    return usage;
}

static void check_usage(struct usage before)
{
    struct usage after = usage();
    CHECK_INT(after.pollables, before.pollables);
    CHECK_INT(after.fd, before.fd);
}

static struct sockaddr_in loopback(uint16_t port)
{
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static int udp(unsigned state, uint16_t port)
{
    struct sockaddr_in address = loopback(0);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    MUST(fd >= 0);
    set_nonblocking(fd);
    if (state > 0)
        MUST(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    if (state > 1) {
        address = loopback(port);
        MUST(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    }
    return fd;
}

/* Sockets in five states; watched for this or that, in this mode or that; waited for or not; closed before or after unwatch, or
 * with the queue. */
TEST(BRIDGE, ten_thousand_sockets)
{
    NEED_WASIP2();
    uint16_t port, udp_port;
    int listener = tcp_listen(&port);
    int other = udp_bound(&udp_port);
    struct seen seen;
    static const uint32_t interests[] = { R, W, R | W, R | POISE_EDGE, W | POISE_ONESHOT, R | W | POISE_ONESHOT, 0 };
    poise *queue = open_queue();
    CHECK_INT(poise_watch(queue, poise_fd(listener), R | POISE_EDGE, &listener), 0);
    (void)wait_all(queue, 0, &seen);
    struct usage before = usage();
    unsigned n = scale(10000);
    for (unsigned i = 0; i < n; i++) {
        int fd = i % 5 < 3 ? udp(i % 5, udp_port) : tcp_socket();
        if (i % 5 == 4) { /* refused, connecting or connected */
            struct sockaddr_in address = loopback(port);
            (void)connect(fd, (struct sockaddr *)&address, sizeof address);
        }
        CHECK_INT(poise_watch(queue, poise_fd(fd), interests[i % 7], &fd), 0);
        if (i % 3 != 0)
            CHECK(wait_all(queue, 0, &seen) >= 0);
        bool unwatch_first = i % 11 < 6;
        if (unwatch_first)
            CHECK_INT(poise_unwatch(queue, poise_fd(fd)), 0);
        close(fd);
        if (i % 2)
            CHECK(wait_all(queue, 0, &seen) >= 0);
        if (!unwatch_first)
            CHECK_INT(poise_unwatch(queue, poise_fd(fd)), 0);
        if (i % 5 == 4) {
            int server;
            CHECK_INT(poise_again(queue, poise_fd(listener), R), 0);
            await_readable(listener);
            while ((server = accept_one(listener)) >= 0)
                close(server);
        }
    }
    CHECK(wait_all(queue, 0, &seen) >= 0);
    CALL(check_usage(before));
    check_unharmed(queue);
    poise_close(queue);
    close(listener);
    close(other);
}

/* Closed while watched, and the number watched again, never unwatched: the queue's own bookkeeping does not grow either. */
TEST(BRIDGE, ten_thousand_of_one_number)
{
    NEED_WASIP2();
    uint16_t port;
    int other = udp_bound(&port);
    struct memory memory = { .live = 0 };
    poise *queue = open_queue_with((poise_options){ .realloc = memory_realloc, .context = &memory });
    struct seen seen;
    struct usage before = usage();
    unsigned grown = 0;
    for (unsigned i = 0; i < scale(10000); i++) {
        int fd = i % 4 < 3 ? udp(i % 4, port) : tcp_socket();
        CHECK_INT(fd, before.fd);
        CHECK_INT(poise_watch(queue, poise_fd(fd), R | W, &fd), 0);
        if (i % 3)
            CHECK(wait_all(queue, 0, &seen) >= 0);
        close(fd);
        if (i == 100)
            grown = memory.calls;
    }
    CHECK(grown == 0 || memory.calls == grown);
    CHECK(wait_all(queue, 0, &seen) >= 0);
    CALL(check_usage(before));
    poise_close(queue);
    CHECK_INT(memory.live, 0);
    close(other);
}

TEST(BRIDGE, thousands_of_connections)
{
    NEED_WASIP2();
    uint16_t port;
    int listener = tcp_listen(&port);
    poise *queue = open_queue();
    struct seen seen;
    struct usage before = usage();
    for (unsigned i = 0; i < scale(2000) + 2; i++) {
        if (i == 2)
            before = usage(); /* with what the listener has, and keeps */
        int client = tcp_connect_start(port);
        CHECK_INT(poise_watch(queue, poise_fd(client), R | W, &client), 0);
        CHECK((wait_for_bits(queue, &client, W) & W) != 0);
        await_readable(listener);
        int server = accept_one(listener);
        CHECK(server >= 0);
        CHECK_INT(poise_watch(queue, poise_fd(server), R | W | POISE_EDGE, &server), 0);
        send_byte(client);
        CHECK((wait_for_bits(queue, &server, R) & R) != 0 || i % 2);
        if (i % 2) { /* the server's end first, while both are watched */
            close(server);
            CHECK_INT(poise_unwatch(queue, poise_fd(server)), 0);
            CHECK_INT(poise_unwatch(queue, poise_fd(client)), 0);
            close(client);
        } else {
            close(client);
            close(server);
            CHECK(wait_all(queue, 0, &seen) >= 0);
            CHECK_INT(poise_unwatch(queue, poise_fd(client)), 0);
            CHECK_INT(poise_unwatch(queue, poise_fd(server)), 0);
        }
    }
    CALL(check_usage(before));
    poise_close(queue);
    close(listener);
}

TEST(BRIDGE, ten_thousand_queues)
{
    NEED_WASIP2();
    int fd[2];
    tcp_pair(fd);
    int32_t handle = monotonic_clock_subscribe_duration((uint64_t)(3600 * SECOND)).__handle;
    struct pollfd asked = { .fd = fd[0], .events = POLLIN | POLLOUT };
    (void)poll(&asked, 1, 0); /* libc's handles for it are made once */
    struct usage before = usage();
    struct memory memory = { .live = 0 };
    for (unsigned i = 0; i < scale(10000); i++) {
        poise *queue = open_queue_with((poise_options){ .realloc = memory_realloc, .context = &memory });
        poise_timer timer;
        poise_event event;
        memset(&timer, 0, sizeof timer);
        if (i % 2) {
            CHECK_INT(poise_timer_start(queue, &timer, poise_now() + (uint64_t)SECOND, &timer), 0);
            CHECK_INT(poise_watch(queue, poise_fd(fd[0]), R | W, fd), 0);
            CHECK_INT(poise_watch(queue, poise_pollable(handle), R, fd), 0);
            CHECK(poise_wait(queue, (int)i % 3 * MS / 100) >= 0); /* the timer's handle is the queue's */
            if (i % 4 == 1)
                while (poise_next(queue, &event))
                    ;
        }
        poise_close(queue);
        CHECK_INT(memory.live, 0);
    }
    drop(handle);
    before.pollables--;
    CALL(check_usage(before));
    close_pair(fd);
}

/* Queues that come and go while another one lives: a drop is told to those that live, and to no other. */
TEST(BRIDGE, queues_come_and_go)
{
    NEED_WASIP2();
    enum { QUEUES = 8 };
    poise *queue[QUEUES] = { NULL };
    uint16_t port;
    int other = udp_bound(&port);
    struct seen seen;
    for (unsigned i = 0; i < scale(2000); i++) {
        unsigned at = i * 7 % QUEUES;
        poise_close(queue[at]);
        queue[at] = open_queue();
        int fd = udp(1 + i % 2, port);
        for (int j = 0; j < QUEUES; j++) {
            if (queue[j] != NULL) {
                CHECK_INT(poise_watch(queue[j], poise_fd(fd), R, &fd), 0);
                CHECK(wait_all(queue[j], 0, &seen) >= 0);
            }
        }
        close(fd);
        for (int j = 0; j < QUEUES; j++) {
            if (queue[j] != NULL) {
                CHECK_INT(wait_all(queue[j], 0, &seen), 1);
                CHECK_INT(seen_ready(&seen, &fd), R | POISE_ERROR);
                if (i % 3)
                    CHECK_INT(poise_unwatch(queue[j], poise_fd(fd)), 0);
            }
        }
    }
    for (int j = 0; j < QUEUES; j++)
        poise_close(queue[j]);
    close(other);
}

#else
typedef int nothing_to_leak; /* ISO C wants a declaration */
#endif
