/* G3 without poise_again: where the kernel keeps edges, and where poise hears the program's EAGAIN itself. On the backend
 * poll it has to be said. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "test.h"

#include <poise/net.h>
#include <poll.h>
#include <unistd.h>

#define IN ((uint32_t)POISE_READABLE)
#define OUT ((uint32_t)POISE_WRITABLE)
#define BOTH (IN | OUT)
#define EDGE ((uint32_t)POISE_EDGE)

enum { ROUNDS = 10 };

/* The program has seen EAGAIN, or less than it asked for. */
static void seen_eagain(poise *queue, int fd, uint32_t directions)
{
    if (backend_is("poll"))
        (void)poise_again(queue, poise_fd(fd), directions);
}

/* Takes n bytes, one EAGAIN after each event. Spurious events may come in between. */
static void take(poise *queue, int fd, const void *data, size_t n)
{
    size_t got = 0;
    while (got < n) {
        CHECK(wait_for_bits(queue, data, IN) != 0);
        got += drain(fd);
        seen_eagain(queue, fd, IN);
    }
    CHECK_INT(got, n);
}

static void ping(poise *queue, int fd[2], const void *data)
{
    for (int i = 0; i < ROUNDS; i++) {
        send_bytes(fd[1], 10);
        CALL(take(queue, fd[0], data, 10));
    }
}

TEST(G3, armed_by_recv)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | EDGE, fd), 0);
    CALL(ping(queue, fd, fd));
    poise_close(queue);
    close_pair(fd);
}

/* epoll(7): a read of less than it was asked for has taken all there was. */
TEST(G3, armed_by_a_part)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | EDGE, fd), 0);
    for (int i = 0; i < ROUNDS; i++) {
        send_bytes(fd[1], 10);
        for (ptrdiff_t got = 0, n; got < 10; got += n > 0 ? n : 0) {
            char bytes[64];
            CHECK(wait_for_bits(queue, fd, IN) != 0);
            n = poise_recv(fd[0], bytes, sizeof bytes);
            CHECK(n > 0 || n == -EAGAIN);
            seen_eagain(queue, fd[0], IN);
        }
    }
    poise_close(queue);
    close_pair(fd);
}

TEST(G3, armed_by_accept)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    uint16_t port;
    int listener = tcp_listen(&port);
    CHECK_INT(poise_watch(queue, poise_fd(listener), IN | EDGE, &listener), 0);
    for (int i = 0; i < ROUNDS; i++) {
        int client = tcp_connect_start(port), accepted = -1;
        while (accepted < 0) {
            CHECK(wait_for_bits(queue, &listener, IN) != 0);
            for (int next = accept_one(listener); next >= 0; next = accept_one(listener))
                accepted = next;
            seen_eagain(queue, listener, IN);
        }
        close(accepted);
        close(client);
    }
    poise_close(queue);
    close(listener);
}

/* The way to the peer is filled, and emptied again. */
TEST(G3, armed_by_send)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), OUT | EDGE, fd), 0);
    CHECK_INT(wait_for(queue, fd), OUT);
    for (int i = 0; i < 3; i++) {
        size_t sent = fill(fd[0]);
        seen_eagain(queue, fd[0], OUT);
        settle(queue);
        CHECK(silent(queue, fd, 10 * MS));
        CHECK_INT(drain_exactly(fd[1], sent), sent);
        CHECK(wait_for_bits(queue, fd, OUT) != 0);
    }
    poise_close(queue);
    close_pair(fd);
}

/* A send that took a part is as good as one that says EAGAIN. */
TEST(G3, armed_by_a_part_sent)
{
    NEED_SOCKETS();
    enum { MUCH = 16 << 20 };
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    char *bytes = calloc(1, MUCH);
    MUST(bytes != NULL);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), OUT | EDGE, fd), 0);
    for (size_t sent = 0, got = 0; sent < MUCH;) {
        CHECK(wait_for_bits(queue, fd, OUT) != 0);
        ptrdiff_t n = poise_send(fd[0], bytes, MUCH - sent);
        CHECK(n > 0 || n == -EAGAIN);
        sent += n > 0 ? (size_t)n : 0;
        seen_eagain(queue, fd[0], OUT);
        got += drain_exactly(fd[1], sent - got);
    }
    free(bytes);
    poise_close(queue);
    close_pair(fd);
}

TEST(G3, armed_by_datagrams)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    uint16_t port, from_port;
    int fd = udp_bound(&port), from = udp_bound(&from_port);
    CHECK_INT(poise_watch(queue, poise_fd(fd), IN | EDGE, &fd), 0);
    (void)drain(fd); /* jco loses what comes before */
    for (int i = 0; i < ROUNDS; i++) {
        udp_send(from, port, 10);
        CALL(take(queue, fd, &fd, 10));
    }
    poise_close(queue);
    close(fd);
    close(from);
}

TEST(G3, armed_in_each_queue)
{
    NEED_SOCKETS();
    poise *queue[2] = { open_queue(), open_queue() };
    int fd[2];
    tcp_pair(fd);
    for (int k = 0; k < 2; k++)
        CHECK_INT(poise_watch(queue[k], poise_fd(fd[0]), IN | EDGE, &fd[k]), 0);
    for (int i = 0; i < ROUNDS; i++) {
        send_byte(fd[1]);
        for (size_t got = 0; got == 0;) {
            for (int k = 0; k < 2; k++)
                CHECK(wait_for_bits(queue[k], &fd[k], IN) != 0);
            got = drain(fd[0]);
            for (int k = 0; k < 2; k++)
                seen_eagain(queue[k], fd[0], IN);
        }
    }
    poise_close(queue[0]);
    CALL(ping(queue[1], fd, &fd[1]));
    poise_close(queue[1]);
    close_pair(fd);
}

/* What a queue, or poll(2), has done with the descriptor before does not matter. */
TEST(G3, armed_after_others)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    send_byte(fd[1]);
    await_readable(fd[0]);
    CHECK_INT(drain_exactly(fd[0], 1), 1);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), BOTH | EDGE, fd), 0);
        CALL(ping(queue, fd, fd));
        CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), 0);
    }
    poise_close(queue);
    queue = open_queue();
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | EDGE, fd), 0);
    CALL(ping(queue, fd, fd));
    poise_close(queue);
    close_pair(fd);
}

/* What a connect's event leads to happens before the next wait. */
TEST(G3, armed_after_a_connect)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    uint16_t port;
    int listener = tcp_listen(&port), fd[2] = { tcp_connect_start(port), -1 };
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), BOTH | EDGE, fd), 0);
    while (poise_tcp_connect_result(fd[0]) == -EINPROGRESS) {
        CHECK(wait_for_bits(queue, fd, OUT) != 0);
        seen_eagain(queue, fd[0], OUT);
    }
    CHECK_INT(poise_tcp_connect_result(fd[0]), 0);
    (void)drain(fd[0]);
    size_t sent = fill(fd[0]);
    seen_eagain(queue, fd[0], BOTH);
    await_readable(listener);
    fd[1] = accept_one(listener);
    CHECK(fd[1] >= 0);
    settle(queue);
    CHECK_INT(drain_exactly(fd[1], sent), sent);
    CHECK(wait_for_bits(queue, fd, OUT) != 0);
    CALL(ping(queue, fd, fd));
    poise_close(queue);
    close_pair(fd);
    close(listener);
}

static void one_connect(void)
{
    poise *queue = open_queue();
    uint16_t port;
    int listener = tcp_listen(&port), fd[2] = { tcp_connect_start(port), -1 };
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), OUT | EDGE, fd), 0);
    unsigned events = 0;
    while (poise_tcp_connect_result(fd[0]) == -EINPROGRESS) {
        CHECK(wait_for_bits(queue, fd, OUT) != 0);
        events++;
    }
    await_readable(listener);
    fd[1] = accept_one(listener);
    CHECK(fd[1] >= 0);
    if (events == 0)
        CHECK(wait_for_bits(queue, fd, OUT) != 0);
    CHECK(silent(queue, fd, 20 * MS));
    poise_close(queue);
    close_pair(fd);
    close(listener);
}

TEST(G3, connect_is_one_event)
{
    NEED_SOCKETS();
    for (int i = 0; i < 10; i++) /* some are under way when they are watched, some have ended */
        CALL(one_connect());
}

/* A socket that is watched before it is bound is ready at once under WASI, without a stream that EAGAIN could come from:
 * what it has later arms it. */
TEST(G3, armed_when_bound)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    uint16_t port;
    poise_address any, to;
    int from = udp_bound(&port), fd = udp_socket();
    MUST(poise_address_parse(&any, "127.0.0.1", 0) == 0 && poise_address_parse(&to, "127.0.0.1", port) == 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd), BOTH | EDGE, &fd), 0);
    CHECK(wait_for_bits(queue, &fd, OUT) != 0);
    ptrdiff_t sent = poise_send_to(fd, "x", 1, &to);
    for (; sent == -EAGAIN; sent = poise_send_to(fd, "x", 1, &to)) { /* a fresh socket's, for no reason */
        seen_eagain(queue, fd, OUT);
        CHECK(wait_for_bits(queue, &fd, OUT) != 0);
    }
    CHECK_INT(sent, 1);
    char byte;
    CHECK_INT(poise_recv(fd, &byte, 1), -EAGAIN);
    seen_eagain(queue, fd, BOTH);
    CHECK_INT(poise_local_address(fd, &any), 0);
    udp_send(from, poise_address_port(&any), 10);
    CALL(take(queue, fd, &fd, 10));
    poise_close(queue);
    close(fd);
    close(from);
}
