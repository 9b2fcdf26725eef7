/* G1 to G4, G6 and G7: what is ready is reported, in each mode, and in turn. */
#include "test.h"

#include <unistd.h>

#ifndef __wasi__
#include <fcntl.h>
#include <sys/socket.h>
#endif

enum { IN = POISE_READABLE, OUT = POISE_WRITABLE, BOTH = POISE_READABLE | POISE_WRITABLE };

/* ---- G1: whatever holds is reported ------------------------------------------------------------------------------ */

TEST(G1, readable)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    send_byte(fd[1]);
    CHECK_INT(wait_for(queue, fd), IN);
    poise_close(queue);
    close_pair(fd);
}

TEST(G1, readable_before_watch)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    send_byte(fd[1]);
    await_readable(fd[0]);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    CHECK_INT(wait_for(queue, fd), IN);
    poise_close(queue);
    close_pair(fd);
}

TEST(G1, writable)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), OUT, fd), 0);
    CHECK_INT(wait_for(queue, fd), OUT);
    poise_close(queue);
    close_pair(fd);
}

TEST(G1, writable_when_there_is_room_again)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    size_t sent = fill(fd[0]);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), OUT, fd), 0);
    CHECK(silent(queue, fd, 20 * MS));
    CHECK_INT(drain_exactly(fd[1], sent), sent);
    CHECK_INT(wait_for(queue, fd), OUT);
    poise_close(queue);
    close_pair(fd);
}

TEST(G1, only_the_directions_asked_for)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    send_byte(fd[1]);
    await_readable(fd[0]);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), OUT, fd), 0);
    for (int i = 0; i < 3; i++)
        CHECK_INT(wait_for(queue, fd), OUT);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    for (int i = 0; i < 3; i++)
        CHECK_INT(wait_for(queue, fd), IN);
    poise_close(queue);
    close_pair(fd);
}

TEST(G1, both_directions)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), BOTH, fd), 0);
    CHECK((wait_for(queue, fd) & BOTH) == OUT);
    send_byte(fd[1]);
    CHECK(wait_for_bits(queue, fd, IN) != 0);
    CHECK(wait_for_bits(queue, fd, OUT) != 0);
    poise_close(queue);
    close_pair(fd);
}

TEST(G1, listener_and_connect)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    uint16_t port;
    int listener = tcp_listen(&port);
    CHECK_INT(poise_watch(queue, poise_fd(listener), IN, &listener), 0);
    CHECK(silent(queue, &listener, 10 * MS));
    int client = tcp_connect_start(port);
    CHECK_INT(poise_watch(queue, poise_fd(client), OUT, &client), 0);
    bool accepted = false, connected = false;
    uint64_t end = poise_now() + (uint64_t)patience();
    while (!(accepted && connected) && poise_now() < end) {
        struct seen seen;
        CHECK(wait_all(queue, patience(), &seen) > 0);
        accepted |= seen_ready(&seen, &listener) == IN;
        connected |= seen_ready(&seen, &client) == OUT;
    }
    CHECK(accepted);
    CHECK(connected);
    poise_close(queue);
    close(client);
    close(listener);
}

TEST(G1, datagram)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    uint16_t port, other;
    int fd = udp_bound(&port), sender = udp_bound(&other);
    CHECK_INT(poise_watch(queue, poise_fd(fd), IN, &fd), 0);
    settle(queue);
    udp_send(sender, port, 5);
    CHECK_INT(wait_for(queue, &fd), IN);
    CHECK_INT(poise_watch(queue, poise_fd(fd), OUT, &fd), 0);
    CHECK_INT(wait_for(queue, &fd), OUT);
    poise_close(queue);
    close(fd);
    close(sender);
}

TEST(G1, standard_input)
{
    if (!feed_stdin())
        SKIP("nobody feeds standard input: run by tests/run.py");
    poise *queue = open_queue();
    poise_timer timer = { 0 };
    CHECK_INT(poise_watch(queue, poise_fd(0), IN, &timer.data), 0);
    CHECK_INT(poise_timer_start(queue, &timer, poise_now() + 20000000, &timer), 0);
    CHECK(wait_for(queue, &timer.data) & IN);
    char line[2];
    CHECK_INT(read(0, line, 2), 2);
    CHECK(memcmp(line, "x\n", 2) == 0);
    CHECK_INT(poise_unwatch(queue, poise_fd(0)), 0);
    poise_close(queue);
}

/* Where there are no sockets, too: the modes, a pause, a post, one after the other. */
TEST(G1, standard_input_in_each_mode)
{
    if (!feed_stdin())
        SKIP("nobody feeds standard input: run by tests/run.py");
    poise_source input = poise_fd(0);
    poise *queue = open_queue();
    int data;
    char line[2];
    CHECK_INT(poise_watch(queue, input, IN | POISE_ONESHOT, &data), 0);
    CHECK(wait_for(queue, &data) & IN);
    CHECK(silent(queue, &data, 20 * MS));
    CHECK_INT(poise_watch(queue, input, IN | POISE_EDGE, &data), 0);
    CHECK(wait_for(queue, &data) & IN);
    CHECK(silent(queue, &data, 20 * MS));
    CHECK_INT(poise_again(queue, input, IN), 0);
    CHECK_INT(poise_watch(queue, input, 0, &data), 0);
    CHECK(silent(queue, &data, 20 * MS));
    CHECK_INT(poise_watch(queue, input, IN, &data), 0);
    for (int i = 0; i < 3; i++)
        CHECK(wait_for(queue, &data) & IN);
    CHECK_INT(read(0, line, 2), 2);
    settle(queue);
    CHECK(silent(queue, &data, 20 * MS));
    struct seen seen;
    CHECK_INT(poise_post(queue, input, IN), 0);
    CHECK(wait_all(queue, POISE_FOREVER, &seen) > 0);
    CHECK_INT(seen_ready(&seen, &data), IN);
    CHECK(silent(queue, &data, 20 * MS));
    CHECK_INT(poise_unwatch(queue, input), 0);
    CHECK_INT(poise_unwatch(queue, input), -ENOENT);
    poise_close(queue);
}

TEST(G1, standard_output)
{
    poise *queue = open_queue();
    CHECK_INT(poise_watch(queue, poise_fd(1), OUT, queue), 0);
    CHECK(wait_for(queue, queue) & OUT);
    poise_close(queue);
}

TEST(G1, every_one_of_many)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    unsigned n = scale(200);
    int(*fd)[2] = calloc(n, sizeof *fd);
    bool *got = calloc(n, sizeof *got);
    tcp_pairs(fd, n);
    for (unsigned i = 0; i < n; i++) {
        CHECK_INT(poise_watch(queue, poise_fd(fd[i][0]), IN, &fd[i]), 0);
        send_byte(fd[i][1]);
    }
    unsigned left = n;
    uint64_t end = poise_now() + (uint64_t)patience();
    while (left > 0 && poise_now() < end) {
        poise_event event;
        CHECK(poise_wait(queue, patience()) > 0);
        while (poise_next(queue, &event)) {
            ptrdiff_t i = (int(*)[2])event.data - fd;
            CHECK(i >= 0 && i < (ptrdiff_t)n);
            CHECK_INT(event.ready, IN);
            left -= !got[i];
            got[i] = true;
            drain(fd[i][0]);
        }
    }
    CHECK_INT(left, 0);
    poise_close(queue);
    for (unsigned i = 0; i < n; i++)
        close_pair(fd[i]);
    free(fd);
    free(got);
}

/* A wait that finds something at once must let the host look for news, too. The system may take its time (a time
 * slice is thousands of waits), but not as a rule. */
TEST(G1, beside_a_busy_source)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int busy[2], fd[2];
    tcp_pair(busy);
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(busy[0]), OUT, busy), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    unsigned rounds = scale(60), slow = 0;
    for (unsigned round = 0; round < rounds; round++) {
        send_byte(fd[1]);
        uint64_t end = poise_now() + (uint64_t)patience();
        unsigned waits = 0;
        struct seen seen;
        do {
            CHECK(wait_all(queue, patience(), &seen) > 0);
            CHECK(poise_now() < end);
            waits++;
        } while (seen_ready(&seen, fd) == 0);
        slow += waits > 200;
        CHECK_INT(drain_exactly(fd[0], 1), 1);
    }
    CHECK_RANGE(slow, 0, rounds / 3);
    poise_close(queue);
    close_pair(busy);
    close_pair(fd);
}

TEST(G1, out_of_band)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
#ifdef __wasi__
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), POISE_PRIORITY, fd), -ENOTSUP);
    CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), -ENOENT);
#else
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), POISE_PRIORITY, fd), 0);
    send_byte(fd[1]);
    CHECK(silent(queue, fd, 20 * MS));
    MUST(send(fd[1], "!", 1, MSG_OOB) == 1);
    CHECK_INT(wait_for(queue, fd) & (POISE_PRIORITY | BOTH), POISE_PRIORITY);
#endif
    poise_close(queue);
    close_pair(fd);
}

#ifndef __wasi__
TEST(G1, pipe)
{
    poise *queue = open_queue();
    int fd[2];
    MUST(pipe(fd) == 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, &fd[0]), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[1]), OUT | POISE_ONESHOT, &fd[1]), 0);
    CHECK_INT(wait_for(queue, &fd[1]), OUT);
    CHECK(silent(queue, &fd[0], 10 * MS));
    MUST(write(fd[1], "x", 1) == 1);
    CHECK_INT(wait_for(queue, &fd[0]), IN);
    poise_close(queue);
    close_pair(fd);
}
#endif

/* ---- G2: level
 * ----------------------------------------------------------------------------------------------------- */

TEST(G2, reported_while_it_holds)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    send_byte(fd[1]);
    await_readable(fd[0]);
    for (int i = 0; i < 10; i++) {
        struct seen seen;
        CHECK(wait_all(queue, patience(), &seen) > 0);
        CHECK_INT(seen_count(&seen, fd), 1);
        CHECK_INT(seen_ready(&seen, fd), IN);
    }
    drain(fd[0]);
    settle(queue);
    CHECK(silent(queue, fd, 20 * MS));
    send_byte(fd[1]);
    CHECK_INT(wait_for(queue, fd), IN);
    poise_close(queue);
    close_pair(fd);
}

TEST(G2, writable_while_there_is_room)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), OUT, fd), 0);
    for (int i = 0; i < 10; i++) {
        struct seen seen;
        CHECK(wait_all(queue, patience(), &seen) > 0);
        CHECK_INT(seen_ready(&seen, fd), OUT);
    }
    fill(fd[0]);
    settle(queue);
    CHECK(silent(queue, fd, 20 * MS));
    poise_close(queue);
    close_pair(fd);
}

/* What is read in part is reported again. */
TEST(G2, the_rest_is_reported)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    send_bytes(fd[1], 5);
    for (int i = 0; i < 5; i++) {
        char byte;
        CHECK_INT(wait_for(queue, fd), IN);
        CHECK_INT(read(fd[0], &byte, 1), 1);
    }
    drain(fd[0]); /* a host may want one read that finds nothing */
    settle(queue);
    CHECK(silent(queue, fd, 20 * MS));
    poise_close(queue);
    close_pair(fd);
}

/* ---- G3: edge
 * ------------------------------------------------------------------------------------------------------ */

TEST(G3, reported_once)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_EDGE, fd), 0);
    CHECK(silent(queue, fd, 10 * MS));
    send_byte(fd[1]);
    CHECK_INT(wait_for(queue, fd), IN);
    CALL(idle(queue, 60 * MS));
    poise_close(queue);
    close_pair(fd);
}

TEST(G3, reported_after_again)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_EDGE, fd), 0);
    for (int i = 0; i < 20; i++) {
        send_byte(fd[1]);
        size_t got = 0;
        while (got == 0) { /* spurious events allowed: EAGAIN, again, and on */
            CHECK_INT(wait_for(queue, fd), IN);
            got = drain(fd[0]);
            CHECK_INT(poise_again(queue, poise_fd(fd[0]), IN), 0);
        }
    }
    poise_close(queue);
    close_pair(fd);
}

/* What comes between EAGAIN and poise_again is a change, too. */
TEST(G3, change_before_again)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_EDGE, fd), 0);
    send_byte(fd[1]);
    CHECK_INT(wait_for(queue, fd), IN);
    drain(fd[0]);
    send_byte(fd[1]);
    await_readable(fd[0]);
    CHECK_INT(poise_again(queue, poise_fd(fd[0]), IN), 0);
    CHECK_INT(wait_for(queue, fd), IN);
    poise_close(queue);
    close_pair(fd);
}

TEST(G3, directions_are_independent)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), BOTH | POISE_EDGE, fd), 0);
    CHECK_INT(wait_for(queue, fd), OUT);
    settle(queue);
    CHECK(silent(queue, fd, 20 * MS));
    send_byte(fd[1]);
    CHECK(wait_for(queue, fd) & IN);
    drain(fd[0]);
    CHECK_INT(poise_again(queue, poise_fd(fd[0]), IN), 0);
    send_byte(fd[1]);
    CHECK(wait_for_bits(queue, fd, IN) != 0);
    size_t sent = fill(fd[0]);
    CHECK_INT(poise_again(queue, poise_fd(fd[0]), OUT), 0);
    settle(queue);
    CHECK(silent(queue, fd, 20 * MS));
    drain_exactly(fd[1], sent);
    CHECK(wait_for_bits(queue, fd, OUT) != 0);
    poise_close(queue);
    close_pair(fd);
}

TEST(G3, watch_arms_again)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    send_byte(fd[1]);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_EDGE, fd), 0);
        CHECK_INT(wait_for(queue, fd), IN);
        CHECK(silent(queue, fd, 10 * MS));
    }
    poise_close(queue);
    close_pair(fd);
}

TEST(G3, again_outside_edge_mode)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    send_byte(fd[1]);
    await_readable(fd[0]);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_ONESHOT, fd), 0);
    CHECK_INT(poise_again(queue, poise_fd(fd[0]), IN), 0);
    CHECK_INT(wait_for(queue, fd), IN);
    CHECK_INT(poise_again(queue, poise_fd(fd[0]), IN), 0);
    CHECK(silent(queue, fd, 20 * MS)); /* it does not arm a one-shot again */
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), 0, fd), 0);
    CHECK_INT(poise_again(queue, poise_fd(fd[0]), BOTH), 0);
    CHECK(silent(queue, fd, 20 * MS)); /* nor does it resume */
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    CHECK_INT(poise_again(queue, poise_fd(fd[0]), BOTH), 0);
    for (int i = 0; i < 3; i++)
        CHECK_INT(wait_for(queue, fd), IN);
    drain(fd[0]);
    CHECK_INT(poise_again(queue, poise_fd(fd[0]), IN), 0);
    settle(queue);
    CHECK(silent(queue, fd, 20 * MS));
    poise_close(queue);
    close_pair(fd);
}

TEST(G3, always_ready_file)
{
    int fd = open_file();
    NEED_FILE(fd);
    poise *queue = open_queue();
    CHECK_INT(poise_watch(queue, poise_fd(fd), IN | POISE_EDGE, &fd), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(wait_for(queue, &fd), IN);
        CHECK(silent(queue, &fd, 10 * MS));
        CHECK_INT(poise_again(queue, poise_fd(fd), IN), 0);
    }
    poise_close(queue);
    close(fd);
}

TEST(G3, listener)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    uint16_t port;
    int listener = tcp_listen(&port);
    int client[3];
    CHECK_INT(poise_watch(queue, poise_fd(listener), IN | POISE_EDGE, &listener), 0);
    for (int i = 0; i < 3; i++) {
        client[i] = tcp_connect_start(port);
        int accepted = -1;
        while (accepted < 0) {
            CHECK_INT(wait_for(queue, &listener), IN);
            accepted = accept_one(listener);
            CHECK_INT(accept_one(listener), -1);
            CHECK_INT(poise_again(queue, poise_fd(listener), IN), 0);
        }
        close(accepted);
    }
    for (int i = 0; i < 3; i++)
        close(client[i]);
    poise_close(queue);
    close(listener);
}

/* ---- G4: one-shot
 * --------------------------------------------------------------------------------------------------- */

TEST(G4, one_event)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    send_byte(fd[1]);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_ONESHOT, fd), 0);
        CHECK_INT(wait_for(queue, fd), IN);
        send_byte(fd[1]);
        CALL(idle(queue, 60 * MS));
    }
    poise_close(queue);
    close_pair(fd);
}

TEST(G4, disarms_all_directions)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), BOTH | POISE_ONESHOT, fd), 0);
    CHECK_INT(wait_for(queue, fd), OUT);
    send_byte(fd[1]);
    await_readable(fd[0]);
    CHECK(silent(queue, fd, 20 * MS));
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_ONESHOT, fd), 0);
    CHECK_INT(wait_for(queue, fd), IN);
    poise_close(queue);
    close_pair(fd);
}

TEST(G4, not_even_the_end)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), BOTH | POISE_ONESHOT, fd), 0);
    CHECK_INT(wait_for(queue, fd), OUT);
    close(fd[1]);
    await_readable(fd[0]);
    CHECK(silent(queue, fd, 20 * MS));
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_ONESHOT, fd), 0);
    CHECK(wait_for(queue, fd) & IN);
    CHECK(silent(queue, fd, 20 * MS));
    poise_close(queue);
    close(fd[0]);
}

/* Gathered, not taken, then watched anew: what was gathered is the one event, with the new data. */
TEST(G4, gathered_before_watch)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2], fresh;
    tcp_pair(fd);
    send_byte(fd[1]);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_ONESHOT, fd), 0);
    CHECK(poise_wait(queue, patience()) > 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_ONESHOT, &fresh), 0);
    poise_event event;
    CHECK(poise_next(queue, &event));
    CHECK(event.data == &fresh);
    CHECK_INT(event.ready, IN);
    CHECK(!poise_next(queue, &event));
    CHECK(silent(queue, &fresh, 20 * MS));
    /* The same with a wait in between. */
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_ONESHOT, fd), 0);
    CHECK(poise_wait(queue, patience()) > 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_ONESHOT, &fresh), 0);
    CHECK(poise_wait(queue, patience()) > 0);
    CHECK(poise_next(queue, &event));
    CHECK(event.data == &fresh);
    CHECK(!poise_next(queue, &event));
    CHECK(silent(queue, &fresh, 20 * MS));
    poise_close(queue);
    close_pair(fd);
}

TEST(G4, gathered_in_part_before_watch)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2], fresh;
    tcp_pair(fd);
    send_byte(fd[1]);
    await_readable(fd[0]);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), BOTH | POISE_ONESHOT, fd), 0);
    CHECK(poise_wait(queue, patience()) > 0); /* input, room or both */
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), OUT | POISE_ONESHOT, &fresh), 0);
    CHECK_INT(wait_for(queue, &fresh), OUT);
    CHECK(silent(queue, &fresh, 20 * MS));
    poise_close(queue);
    close_pair(fd);
}

TEST(G4, nothing_left_under_the_new_interest)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2], fresh;
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), OUT | POISE_ONESHOT, fd), 0);
    CHECK(poise_wait(queue, patience()) > 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_ONESHOT, &fresh), 0);
    poise_event event;
    CHECK(!poise_next(queue, &event));
    CHECK(silent(queue, &fresh, 20 * MS)); /* the new watch is still armed: */
    send_byte(fd[1]);
    CHECK_INT(wait_for(queue, &fresh), IN);
    CHECK(silent(queue, &fresh, 20 * MS));
    poise_close(queue);
    close_pair(fd);
}

TEST(G4, watch_in_the_loop)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    send_byte(fd[1]);
    await_readable(fd[0]);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_ONESHOT, fd), 0);
    for (int i = 0; i < 5; i++) {
        poise_event event;
        CHECK(poise_wait(queue, patience()) > 0);
        CHECK(poise_next(queue, &event));
        CHECK(event.data == fd);
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_ONESHOT, fd), 0);
        CHECK(!poise_next(queue, &event));
    }
    poise_close(queue);
    close_pair(fd);
}

TEST(G4, to_level_and_back)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    send_byte(fd[1]);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_ONESHOT, fd), 0);
    CHECK_INT(wait_for(queue, fd), IN);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    for (int i = 0; i < 3; i++)
        CHECK_INT(wait_for(queue, fd), IN);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_ONESHOT, fd), 0);
    CHECK_INT(wait_for(queue, fd), IN);
    CHECK(silent(queue, fd, 20 * MS));
    poise_close(queue);
    close_pair(fd);
}

TEST(G4, edge_with_oneshot)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_EDGE | POISE_ONESHOT, fd), -EINVAL);
    CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), -ENOENT);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), OUT, fd), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_EDGE | POISE_ONESHOT, NULL), -EINVAL);
    CHECK_INT(wait_for(queue, fd), OUT); /* as it was */
    poise_close(queue);
    close_pair(fd);
}

TEST(G4, file)
{
    int fd = open_file();
    NEED_FILE(fd);
    poise *queue = open_queue();
    for (int i = 0; i < 3; i++) {
        CHECK_INT(poise_watch(queue, poise_fd(fd), BOTH | POISE_ONESHOT, &fd), 0);
        CHECK((wait_for(queue, &fd) & BOTH) != 0);
        CHECK(silent(queue, &fd, 10 * MS));
    }
    poise_close(queue);
    close(fd);
}

/* ---- G6: leftovers
 * --------------------------------------------------------------------------------------------------- */

enum { LEFT = 8 };

/* One-shots, so that the kernel won't say it twice: each comes out once, however few are taken after each wait. */
TEST(G6, sources)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[LEFT][2], times[LEFT] = { 0 };
    tcp_pairs(fd, LEFT);
    for (int i = 0; i < LEFT; i++) {
        send_byte(fd[i][1]);
        await_readable(fd[i][0]);
        CHECK_INT(poise_watch(queue, poise_fd(fd[i][0]), IN | POISE_ONESHOT, &fd[i]), 0);
    }
    for (int taken = 0; taken < LEFT; taken++) {
        poise_event event;
        CHECK(poise_wait(queue, patience()) > 0);
        if (taken == 2) /* waits that take nothing lose nothing */
            for (int i = 0; i < 5; i++)
                CHECK(poise_wait(queue, patience()) > 0);
        CHECK(poise_next(queue, &event));
        times[(int(*)[2])event.data - fd]++;
    }
    poise_event event;
    CHECK(!poise_next(queue, &event));
    CHECK_INT(poise_wait(queue, 10 * MS), 0);
    for (int i = 0; i < LEFT; i++)
        CHECK_INT(times[i], 1);
    poise_close(queue);
    for (int i = 0; i < LEFT; i++)
        close_pair(fd[i]);
}

TEST(G6, edges)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[LEFT][2], times[LEFT] = { 0 };
    tcp_pairs(fd, LEFT);
    for (int i = 0; i < LEFT; i++) {
        send_byte(fd[i][1]);
        await_readable(fd[i][0]);
        CHECK_INT(poise_watch(queue, poise_fd(fd[i][0]), IN | POISE_EDGE, &fd[i]), 0);
    }
    for (int taken = 0; taken < LEFT; taken++) {
        poise_event event;
        CHECK(poise_wait(queue, patience()) > 0);
        CHECK(poise_next(queue, &event));
        times[(int(*)[2])event.data - fd]++;
    }
    for (int i = 0; i < LEFT; i++)
        CHECK_INT(times[i], 1);
    poise_close(queue);
    for (int i = 0; i < LEFT; i++)
        close_pair(fd[i]);
}

TEST(G6, timers_and_wakers)
{
    poise *queue = open_queue();
    poise_timer timer[3];
    poise_waker waker[3];
    int times[6] = { 0 };
    memset(timer, 0, sizeof timer);
    memset(waker, 0, sizeof waker);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(poise_waker_open(queue, &waker[i], &times[i]), 0);
        CHECK_INT(poise_timer_start(queue, &timer[i], 0, &times[3 + i]), 0);
        poise_wake(&waker[i]);
    }
    for (int taken = 0; taken < 6; taken++) {
        poise_event event;
        CHECK(poise_wait(queue, taken % 2 == 0 ? 0 : POISE_FOREVER) > 0); /* nor does it block */
        CHECK(poise_next(queue, &event));
        ++*(int *)event.data;
    }
    CHECK_INT(poise_wait(queue, 0), 0);
    for (int i = 0; i < 6; i++)
        CHECK_INT(times[i], 1);
    for (int i = 0; i < 3; i++)
        poise_waker_close(&waker[i]);
    poise_close(queue);
}

/* Left from an earlier wait, and what a later one found: in this order, although the later one has looked (for the
 * post). */
TEST(G6, first_of_the_next_wait)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int old[2][2], young[2][2];
    tcp_pairs(old, 2);
    tcp_pairs(young, 2);
    for (int i = 0; i < 2; i++) {
        send_byte(old[i][1]);
        await_readable(old[i][0]);
        CHECK_INT(poise_watch(queue, poise_fd(old[i][0]), IN | POISE_ONESHOT, &old[i]), 0);
        CHECK_INT(poise_watch(queue, poise_fd(young[i][0]), IN | POISE_ONESHOT, &young[i]), 0);
    }
    poise_event event;
    CHECK(poise_wait(queue, patience()) > 0);
    CHECK(poise_next(queue, &event));
    void *left = event.data == &old[0] ? &old[1] : &old[0];
    for (int i = 0; i < 2; i++) {
        send_byte(young[i][1]);
        await_readable(young[i][0]);
    }
    CHECK_INT(poise_post(queue, poise_fd(young[0][0]), IN), 0);
    CHECK(poise_wait(queue, patience()) > 0);
    CHECK(poise_next(queue, &event));
    CHECK(event.data == left);
    CHECK(poise_next(queue, &event));
    CHECK(event.data == &young[0] || event.data == &young[1]);
    if (!poise_next(queue, &event)) /* it may have looked at the kernel, or leave that to the next */
        CHECK(poise_wait(queue, patience()) > 0 && poise_next(queue, &event));
    CHECK(event.data == &young[0] || event.data == &young[1]);
    CHECK_INT(poise_wait(queue, 5 * MS), 0);
    poise_close(queue);
    for (int i = 0; i < 2; i++) {
        close_pair(old[i]);
        close_pair(young[i]);
    }
}

/* ---- G7: the batch, and turns
 * --------------------------------------------------------------------------------------- */

static void need_turns(void)
{
    if (on_wasi() && backend_is("poll") && !host_is("jco"))
        SKIP("libc's poll(2) in a component reports a part of what is ready, always the same");
}

static void turns(unsigned ready, unsigned idle, unsigned batch, uint32_t interest)
{
    poise *queue = open_queue_with((poise_options){ .batch = batch });
    unsigned n = ready + idle, bound = (ready + batch - 1) / batch + 1;
    int(*fd)[2] = calloc(n, sizeof *fd);
    unsigned *last = calloc(n, sizeof *last);
    uint32_t *reported = calloc(n, sizeof *reported);
    tcp_pairs(fd, n);
    for (unsigned i = 0; i < n; i++) /* the ready ones are spread among the idle ones */
        CHECK_INT(poise_watch(queue, poise_fd(fd[i][0]), interest, &fd[i]), 0);
    unsigned left = ready;
    for (unsigned k = 0; k < ready; k++) {
        unsigned i = (unsigned)((uint64_t)k * n / ready);
        send_byte(fd[i][1]);
        await_readable(fd[i][0]);
    }
    /* First let the host learn of all of them. */
    bool *known = calloc(n, sizeof *known);
    uint64_t end = poise_now() + (uint64_t)patience();
    while (left > 0 && poise_now() < end) {
        poise_event event;
        CHECK(poise_wait(queue, patience()) > 0);
        while (poise_next(queue, &event)) {
            size_t i = (size_t)((int(*)[2])event.data - fd);
            left -= !known[i];
            known[i] = true;
        }
    }
    CHECK_INT(left, 0);
    for (unsigned wait = 1; wait <= 5 * bound; wait++) {
        poise_event event;
        unsigned taken = 0;
        CHECK(poise_wait(queue, patience()) > 0);
        while (poise_next(queue, &event)) {
            size_t i = (size_t)((int(*)[2])event.data - fd);
            last[i] = wait;
            reported[i] |= event.ready;
            taken++;
        }
        CHECK_RANGE(taken, 1, batch);
        for (unsigned k = 0; k < ready; k++) {
            unsigned i = (unsigned)((uint64_t)k * n / ready);
            if (wait >= last[i] + bound)
                test_failed(__FILE__, __LINE__, "%u ready, %u idle, batch %u: source %u not in %u waits", ready, idle,
                            batch, i, wait - last[i]);
            if (test_over)
                return;
        }
    }
    for (unsigned k = 0; k < ready; k++) /* neither direction keeps the other from coming out */
        CHECK_INT(reported[(uint64_t)k * n / ready], interest);
    poise_close(queue);
    for (unsigned i = 0; i < n; i++)
        close_pair(fd[i]);
    free(fd);
    free(last);
    free(known);
    free(reported);
}

TEST(G7, turns)
{
    NEED_SOCKETS();
    CALL(need_turns());
    static const struct {
        unsigned ready, idle, batch;
    } cases[] = { { 1, 0, 1 },  { 2, 0, 1 },    { 5, 0, 1 },   { 5, 5, 2 },   { 16, 0, 16 }, { 17, 0, 16 },
                  { 40, 0, 7 }, { 40, 20, 16 }, { 64, 3, 64 }, { 33, 0, 32 }, { 3, 90, 2 },  { 10, 0, 256 } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        CALL(turns(cases[i].ready, cases[i].idle, cases[i].batch, IN));
    /* A source is one, though both its directions are ready. */
    CALL(turns(5, 0, 1, BOTH));
    CALL(turns(20, 0, 6, BOTH));
}

TEST(G7, turns_of_many)
{
    NEED_SOCKETS();
    CALL(need_turns());
    CALL(turns(scale(200), scale(100), 16, IN));
    CALL(turns(scale(300), 0, 256, IN));
    CALL(turns(scale(150), 0, 32, BOTH));
}

TEST(G7, turns_of_oneshots)
{
    NEED_SOCKETS();
    enum { READY = 40, BATCH = 7, BOUND = (READY + BATCH - 1) / BATCH + 1 };
    poise *queue = open_queue_with((poise_options){ .batch = BATCH });
    int fd[READY][2], times[READY] = { 0 };
    tcp_pairs(fd, READY);
    for (int i = 0; i < READY; i++) {
        send_byte(fd[i][1]);
        await_readable(fd[i][0]);
    }
    for (int i = 0; i < READY; i++)
        CHECK_INT(poise_watch(queue, poise_fd(fd[i][0]), IN | POISE_ONESHOT, &fd[i]), 0);
    int taken = 0;
    for (int wait = 0; wait < BOUND && taken < READY; wait++) {
        poise_event event;
        int now = 0;
        CHECK(poise_wait(queue, patience()) > 0);
        for (; poise_next(queue, &event); now++)
            times[(int(*)[2])event.data - fd]++;
        CHECK_RANGE(now, 1, BATCH);
        taken += now;
    }
    for (int i = 0; i < READY; i++)
        CHECK_INT(times[i], 1);
    CHECK_INT(poise_wait(queue, 10 * MS), 0);
    poise_close(queue);
    for (int i = 0; i < READY; i++)
        close_pair(fd[i]);
}

/* The batch is 256 if nothing is said. */
TEST(G7, default_batch)
{
    NEED_SOCKETS();
    unsigned n = scale(270);
    poise *queue = open_queue();
    int(*fd)[2] = calloc(n, sizeof *fd);
    tcp_pairs(fd, n);
    for (unsigned i = 0; i < n; i++)
        CHECK_INT(poise_watch(queue, poise_fd(fd[i][0]), OUT, &fd[i]), 0);
    unsigned most = 0;
    for (int wait = 0; wait < 5; wait++) {
        poise_event event;
        unsigned taken = 0;
        CHECK(poise_wait(queue, patience()) > 0);
        while (poise_next(queue, &event))
            taken++;
        most = taken > most ? taken : most;
    }
    CHECK(most <= 256);
    if (!on_wasi())
        CHECK(most == (n < 256 ? n : 256));
    poise_close(queue);
    for (unsigned i = 0; i < n; i++)
        close_pair(fd[i]);
    free(fd);
}

/* With a batch of one, a wait gives one ready source, and all timers, wakers, posts and files. */
TEST(G7, not_in_the_batch)
{
    NEED_SOCKETS();
    enum { N = 5 };
    poise *queue = open_queue_with((poise_options){ .batch = 1 });
    poise_timer timer[N];
    poise_waker waker[N];
    int posted[N][2], ready[2][2];
    memset(timer, 0, sizeof timer);
    memset(waker, 0, sizeof waker);
    tcp_pairs(posted, N);
    tcp_pairs(ready, 2);
    for (int i = 0; i < 2; i++) {
        send_byte(ready[i][1]);
        await_readable(ready[i][0]);
        CHECK_INT(poise_watch(queue, poise_fd(ready[i][0]), IN, &ready[i]), 0);
    }
    for (int i = 0; i < N; i++)
        CHECK_INT(poise_watch(queue, poise_fd(posted[i][0]), IN, &posted[i]), 0);
    settle(queue); /* takes some of the two ready ones, too */
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++) {
            CHECK_INT(poise_post(queue, poise_fd(posted[i][0]), IN), 0);
            CHECK_INT(poise_timer_start(queue, &timer[i], poise_now(), &timer[i]), 0);
            if (round == 0)
                CHECK_INT(poise_waker_open(queue, &waker[i], &waker[i]), 0);
            poise_wake(&waker[i]);
        }
        struct seen seen;
        CHECK(wait_all(queue, patience(), &seen) > 0);
        for (int i = 0; i < N; i++) {
            CHECK_INT(seen_ready(&seen, &posted[i]), IN);
            CHECK_INT(seen_ready(&seen, &timer[i]), POISE_TIMER);
            CHECK_INT(seen_ready(&seen, &waker[i]), POISE_WAKE);
        }
        CHECK_INT(seen.n, 3 * N + 1); /* whatever is posted: one more from the kernel */
        CHECK_INT(seen_count(&seen, &ready[0]) + seen_count(&seen, &ready[1]), 1);
    }
    for (int i = 0; i < N; i++)
        poise_waker_close(&waker[i]);
    poise_close(queue);
    for (int i = 0; i < N; i++)
        close_pair(posted[i]);
    close_pair(ready[0]);
    close_pair(ready[1]);
}

TEST(G7, files_not_in_the_batch)
{
    NEED_SOCKETS();
    int file[4];
    for (int i = 0; i < 4; i++) {
        file[i] = open_file();
        NEED_FILE(file[i]);
    }
    poise *queue = open_queue_with((poise_options){ .batch = 1 });
    int fd[2];
    tcp_pair(fd);
    send_byte(fd[1]);
    await_readable(fd[0]);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    for (int i = 0; i < 4; i++)
        CHECK_INT(poise_watch(queue, poise_fd(file[i]), IN, &file[i]), 0);
    int sockets = 0;
    for (int wait = 0; wait < 4; wait++) {
        struct seen seen;
        CHECK(wait_all(queue, patience(), &seen) > 0);
        for (int i = 0; i < 4; i++)
            CHECK_INT(seen_ready(&seen, &file[i]), IN);
        sockets += seen_count(&seen, fd);
    }
    CHECK_RANGE(sockets, 2, 4); /* a ready source, one of a batch: within two waits */
    poise_close(queue);
    close_pair(fd);
    for (int i = 0; i < 4; i++)
        close(file[i]);
}

/* A wait that would return nothing has looked at every source, however small the batch and wherever the turn is. */
TEST(G7, looks_at_every_source)
{
    NEED_SOCKETS();
    enum { N = 150 };
    poise *queue = open_queue_with((poise_options){ .batch = 1 });
    unsigned n = scale(N);
    int fd[N][2];
    tcp_pairs(fd, n);
    for (unsigned i = 0; i < n; i++)
        CHECK_INT(poise_watch(queue, poise_fd(fd[i][0]), IN, &fd[i]), 0);
    settle(queue);
    for (unsigned step = 0; step < 12; step++) {
        unsigned i = step * 7919 % n;
        send_byte(fd[i][1]);
        await_readable(fd[i][0]);
        struct seen seen;
        CHECK(wait_all(queue, 0, &seen) > 0);
        CHECK_INT(seen_ready(&seen, &fd[i]), IN);
        drain(fd[i][0]);
        settle(queue);
    }
    poise_close(queue);
    for (unsigned i = 0; i < n; i++)
        close_pair(fd[i]);
}
