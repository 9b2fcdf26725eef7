/* G11, G14, G15, G16 and G18: what a source is, pausing, failures, two queues, posts. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "test.h"

#include <unistd.h>

#if !defined(__wasi__) || __has_include(<netinet/in.h>)
#include <sys/socket.h>
#endif
#ifndef __wasi__
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#endif

enum {
    IN = POISE_READABLE,
    OUT = POISE_WRITABLE,
    BOTH = POISE_READABLE | POISE_WRITABLE,
    HINTS = POISE_ERROR | POISE_READ_CLOSED | POISE_WRITE_CLOSED
};

/* ---- G11: a source is its number
 * --------------------------------------------------------------------------------------- */

/* For 60 ms: nothing but what the closed source may give, which is one event and what was gathered before, and no
 * wait that returns for nothing. */
static void no_spinning(poise *queue, const void *closed, int gathered)
{
    uint64_t end = poise_now() + (uint64_t)(60 * MS);
    int waits = 0, events = 0;
    for (uint64_t now = poise_now(); now < end; now = poise_now()) {
        struct seen seen;
        CHECK(wait_all(queue, (int64_t)(end - now), &seen) >= 0);
        events += seen_count(&seen, closed);
        waits++;
    }
    CHECK_RANGE(events, 0, 1 + gathered);
    CHECK_RANGE(waits, 1, 4 + gathered);
}

TEST(G11, closed_first)
{
    NEED_SOCKETS();
    static const uint32_t interests[] = {
        IN, OUT, BOTH, IN | POISE_EDGE, BOTH | POISE_EDGE, IN | POISE_ONESHOT, BOTH | POISE_ONESHOT, 0
    };
    for (size_t i = 0; i < sizeof interests / sizeof interests[0]; i++) {
        poise *queue = open_queue();
        int fd[2];
        tcp_pair(fd);
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), interests[i], fd), 0);
        close(fd[0]);
        CALL(no_spinning(queue, fd, 0));
        CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), 0);
        CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), -ENOENT);
        CALL(check_unharmed(queue));
        poise_close(queue);
        close(fd[1]);
    }
}

/* The wait has seen the source open, and has its handles. */
TEST(G11, closed_after_a_wait)
{
    NEED_SOCKETS();
    static const uint32_t interests[] = { IN, BOTH, IN | POISE_EDGE, BOTH | POISE_ONESHOT };
    for (size_t i = 0; i < sizeof interests / sizeof interests[0]; i++) {
        poise *queue = open_queue();
        int fd[2];
        tcp_pair(fd);
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), interests[i], fd), 0);
        send_byte(fd[1]);
        CHECK(wait_for(queue, fd) != 0);
        close(fd[0]);
        CALL(no_spinning(queue, fd, 0));
        CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), 0);
        CALL(check_unharmed(queue));
        poise_close(queue);
        close(fd[1]);
    }
}

TEST(G11, closed_with_an_event_gathered)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    send_byte(fd[1]);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    CHECK(poise_wait(queue, patience()) > 0);
    close(fd[0]);
    CHECK(poise_wait(queue, 0) >= 0);
    CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), 0);
    poise_event event;
    CHECK(!poise_next(queue, &event));
    CALL(check_unharmed(queue));
    poise_close(queue);
    close(fd[1]);
}

TEST(G11, others_are_not_harmed)
{
    NEED_SOCKETS();
    enum { N = 10 };
    poise *queue = open_queue();
    int fd[N][2];
    tcp_pairs(fd, N);
    for (int i = 0; i < N; i++)
        CHECK_INT(poise_watch(queue, poise_fd(fd[i][0]), IN | (i % 4 == 1 ? POISE_EDGE : 0), &fd[i]), 0);
    settle(queue);
    for (int i = 0; i < N; i += 2)
        close(fd[i][0]);
    for (int i = 1; i < N; i += 2) {
        send_byte(fd[i][1]);
        CHECK(wait_for(queue, &fd[i]) & IN);
        drain(fd[i][0]);
        CHECK_INT(poise_again(queue, poise_fd(fd[i][0]), IN), 0);
    }
    for (int i = 0; i < N; i += 2)
        CHECK_INT(poise_unwatch(queue, poise_fd(fd[i][0])), 0);
    for (int i = 1; i < N; i += 2) {
        send_byte(fd[i][1]);
        CHECK(wait_for(queue, &fd[i]) & IN);
        drain(fd[i][0]);
        CHECK_INT(poise_again(queue, poise_fd(fd[i][0]), IN), 0);
    }
    poise_close(queue);
    for (int i = 0; i < N; i++) {
        if (i % 2 != 0)
            close(fd[i][0]);
        close(fd[i][1]);
    }
}

/* Makes a pair whose fd[0] has the number of a descriptor that was just closed. The listener is older than that, lest
 * it take the number itself. */
static void pair_with_number(int listener, uint16_t port, int number, int fd[2])
{
    tcp_pair_by(listener, port, fd);
    close(listener);
#ifndef __wasi__
    if (fd[0] != number && fd[1] != number) {
        MUST(fcntl(number, F_GETFD) == -1);
        MUST(dup2(fd[0], number) == number);
        close(fd[0]);
        fd[0] = number;
    }
#endif
    if (fd[1] == number) {
        fd[1] = fd[0];
        fd[0] = number;
    }
    CHECK_INT(fd[0], number);
}

/* Closed, not unwatched, and the number is somebody else's: watched again at once, it is the new one. */
TEST(G11, number_watched_again)
{
    NEED_SOCKETS();
    for (int seen_closed = 0; seen_closed < 2; seen_closed++)
        for (int gathered = 0; gathered < 2; gathered++) {
            poise *queue = open_queue();
            int fd[2], fresh[2];
            uint16_t port;
            int listener = tcp_listen(&port);
            tcp_pair(fd);
            if (gathered)
                send_byte(fd[1]);
            CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
            if (gathered)
                CHECK(poise_wait(queue, patience()) > 0);
            close(fd[0]);
            if (seen_closed)
                CALL(no_spinning(queue, fd, gathered));
            CALL(pair_with_number(listener, port, fd[0], fresh));
            CHECK_INT(poise_watch(queue, poise_fd(fresh[0]), IN, fresh), 0);
            CHECK(silent(queue, fd, 10 * MS)); /* the old data: never (G5) */
            settle(queue);
            CHECK(silent(queue, fresh, 10 * MS));
            send_byte(fresh[1]);
            CHECK_INT(wait_for(queue, fresh), IN);
            drain(fresh[0]);
            settle(queue);
            CHECK(silent(queue, fresh, 10 * MS));
            CHECK_INT(poise_unwatch(queue, poise_fd(fresh[0])), 0);
            CHECK_INT(poise_unwatch(queue, poise_fd(fresh[0])), -ENOENT);
            poise_close(queue);
            close(fd[1]);
            close_pair(fresh);
        }
}

/* As above, in modes that keep state about the old one. */
TEST(G11, number_watched_again_in_each_mode)
{
    NEED_SOCKETS();
    static const uint32_t modes[] = { 0, POISE_EDGE, POISE_ONESHOT };
    for (int before = 0; before < 3; before++)
        for (int after = 0; after < 3; after++) {
            poise *queue = open_queue();
            int fd[2], fresh[2];
            uint16_t port;
            int listener = tcp_listen(&port);
            tcp_pair(fd);
            send_byte(fd[1]);
            CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | modes[before], fd), 0);
            CHECK_INT(wait_for(queue, fd), IN); /* the edge waits for poise_again, the one-shot is disarmed */
            close(fd[0]);
            CALL(pair_with_number(listener, port, fd[0], fresh));
            send_byte(fresh[1]);
            await_readable(fresh[0]);
            CHECK_INT(poise_watch(queue, poise_fd(fresh[0]), IN | modes[after], fresh), 0);
            CHECK_INT(wait_for(queue, fresh), IN);
            if (modes[after] != 0)
                CHECK(silent(queue, fresh, 10 * MS));
            poise_close(queue);
            close(fd[1]);
            close_pair(fresh);
        }
}

/* Not watched again: its events may be missing or the new one's, but nothing breaks, and unwatch works. */
TEST(G11, number_reused_unnoticed)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2], fresh[2];
    uint16_t port;
    int listener = tcp_listen(&port);
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    settle(queue);
    close(fd[0]);
    CALL(pair_with_number(listener, port, fd[0], fresh));
    CALL(check_unharmed(queue));
    send_byte(fresh[1]);
    struct seen seen;
    for (int i = 0; i < 3; i++)
        CHECK(wait_all(queue, 5 * MS, &seen) >= 0);
    CHECK_INT(poise_unwatch(queue, poise_fd(fresh[0])), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fresh[0]), IN, fresh), 0);
    CHECK_INT(wait_for(queue, fresh), IN);
    CALL(check_unharmed(queue));
    poise_close(queue);
    close(fd[1]);
    close_pair(fresh);
}

/* poise_again and poise_post of a number that was closed do no harm either. */
TEST(G11, again_and_post_after_close)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_EDGE, fd), 0);
    send_byte(fd[1]);
    CHECK_INT(wait_for(queue, fd), IN);
    close(fd[0]);
    poise_again(queue, poise_fd(fd[0]), IN);
    poise_post(queue, poise_fd(fd[0]), IN);
    uint64_t end = poise_now() + (uint64_t)(50 * MS);
    int waits = 0;
    for (uint64_t now = poise_now(); now < end; now = poise_now(), waits++) {
        struct seen seen;
        CHECK(wait_all(queue, (int64_t)(end - now), &seen) >= 0);
    }
    CHECK_RANGE(waits, 1, 6);
    CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), 0);
    CALL(check_unharmed(queue));
    poise_close(queue);
    close(fd[1]);
}

TEST(G11, watch_of_a_closed_number)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    close(fd[0]);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), OUT, fd), -EBADF);
    CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), 0);
    CALL(check_unharmed(queue)); /* this takes the number for a socket of its own */
    poise_close(queue);
    close(fd[1]);
}

TEST(G11, file_closed_first)
{
    int file = open_file();
    NEED_FILE(file);
    poise *queue = open_queue();
    CHECK_INT(poise_watch(queue, poise_fd(file), IN, &file), 0);
    CHECK_INT(wait_for(queue, &file), IN);
    close(file);
    CALL(no_spinning(queue, &file, 0));
    CHECK_INT(poise_unwatch(queue, poise_fd(file)), 0);
    CALL(check_unharmed(queue));
    poise_close(queue);
}

#ifdef __wasi__
TEST(G11, description_outlives_its_descriptor) { SKIP("WASI has no dup"); }
TEST(G11, description_in_a_child) { SKIP("WASI has no fork"); }
TEST(G11, orphan_leaves_the_others_as_they_were) { SKIP("WASI has no dup"); }
#else
/* epoll's orphan: neither to be deleted nor changed, and reported by every wait. */
TEST(G11, description_outlives_its_descriptor)
{
    static const uint32_t interests[] = { IN, OUT, BOTH, IN | POISE_EDGE, BOTH | POISE_ONESHOT, 0 };
    for (size_t i = 0; i < sizeof interests / sizeof interests[0]; i++) {
        poise *queue = open_queue();
        int fd[2], fresh[2];
        tcp_pair(fd);
        tcp_pair(fresh);
        int copy = dup(fd[0]);
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), interests[i], fd), 0);
        send_byte(fd[1]);
        if (i % 2 == 0) { /* closed, or replaced by another socket at once */
            close(fd[0]);
        } else {
            MUST(dup2(fresh[0], fd[0]) == fd[0]);
            close(fresh[0]);
            fresh[0] = fd[0];
        }
        CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), 0);
        CALL(idle(queue, 200 * MS));
        CHECK_INT(poise_watch(queue, poise_fd(fresh[0]), IN, fresh), 0);
        CALL(idle(queue, 200 * MS));
        send_byte(fresh[1]);
        CHECK_INT(wait_for(queue, fresh), IN);
        drain(fresh[0]);
        send_byte(fd[1]);
        CALL(idle(queue, 200 * MS));
        CALL(check_unharmed(queue));
        poise_close(queue);
        close(copy);
        close(fd[1]);
        close_pair(fresh);
    }
}

/* Watched anew without an unwatch: the orphan is the old description's. */
TEST(G11, orphan_watched_over)
{
    poise *queue = open_queue();
    int fd[2], fresh[2];
    tcp_pair(fd);
    int copy = dup(fd[0]);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    tcp_pair(fresh);
    MUST(dup2(fresh[0], fd[0]) == fd[0]);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fresh), 0);
    send_byte(fd[1]); /* to the old description, which is still open */
    CALL(idle(queue, 200 * MS));
    send_byte(fresh[1]);
    CHECK_INT(wait_for(queue, fresh), IN);
    drain(fd[0]);
    CALL(idle(queue, 200 * MS));
    poise_close(queue);
    close(copy);
    close_pair(fd);
    close_pair(fresh);
}

TEST(G11, description_in_a_child)
{
    poise *queue = open_queue();
    int fd[2], hold[2];
    tcp_pair(fd);
    MUST(pipe(hold) == 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    pid_t child = fork();
    MUST(child >= 0);
    if (child == 0) {
        char byte;
        close(hold[1]);
        _exit(read(hold[0], &byte, 1) == 0 ? 0 : 1); /* holds the socket's description until the parent lets go */
    }
    close(hold[0]);
    close(fd[0]);
    send_byte(fd[1]);
    CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), 0);
    idle(queue, 200 * MS);
    close(hold[1]);
    int status;
    MUST(waitpid(child, &status, 0) == child);
    if (test_over)
        return;
    CALL(check_unharmed(queue));
    poise_close(queue);
    close(fd[1]);
}

/* Whatever is done about an orphan, it leaves no mark on other sources, nor on the queue's own descriptor. */
TEST(G11, orphan_leaves_the_others_as_they_were)
{
    enum { LEVEL, EDGE, FIRED, PAUSED, ARMED, N };
    poise *queue = open_queue();
    int fd[N][2], orphan[2];
    poise_waker waker = { 0 };
    tcp_pairs(fd, N);
    tcp_pair(orphan);
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[FIRED][0]), OUT | POISE_ONESHOT, &fd[FIRED]), 0);
    CHECK_INT(wait_for(queue, &fd[FIRED]), OUT);
    CHECK_INT(poise_watch(queue, poise_fd(fd[LEVEL][0]), IN, &fd[LEVEL]), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[EDGE][0]), IN | POISE_EDGE, &fd[EDGE]), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[PAUSED][0]), 0, &fd[PAUSED]), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[ARMED][0]), IN | POISE_ONESHOT, &fd[ARMED]), 0);
    send_byte(fd[PAUSED][1]);
    int nested = poise_fileno(queue);
    for (int round = 0; round < 3; round++) {
        tcp_pair(orphan);
        int copy = dup(orphan[0]);
        CHECK_INT(poise_watch(queue, poise_fd(orphan[0]), BOTH, orphan), 0);
        CHECK(wait_for(queue, orphan) != 0);
        close(orphan[0]);
        CHECK_INT(poise_unwatch(queue, poise_fd(orphan[0])), 0);
        struct seen seen;
        for (uint64_t end = poise_now() + (uint64_t)(20 * MS), now = poise_now(); now < end; now = poise_now())
            CHECK(wait_all(queue, (int64_t)(end - now), &seen) >= 0 && seen_count(&seen, &fd[FIRED]) == 0 &&
                  seen_count(&seen, &fd[PAUSED]) == 0 && seen_count(&seen, orphan) == 0);
        CALL(idle(queue, 200 * MS));
        poise_wake(&waker);
        CHECK_INT(wait_for(queue, &waker), POISE_WAKE);
        send_byte(fd[LEVEL][1]);
        CHECK_INT(wait_for(queue, &fd[LEVEL]), IN);
        drain(fd[LEVEL][0]);
        send_byte(fd[EDGE][1]);
        CHECK_INT(wait_for(queue, &fd[EDGE]), IN);
        drain(fd[EDGE][0]);
        CHECK_INT(poise_again(queue, poise_fd(fd[EDGE][0]), IN), 0);
        CHECK_INT(poise_fileno(queue), nested);
        if (nested >= 0) {
            struct pollfd outer = { .fd = nested, .events = POLLIN };
            CHECK_INT(poll(&outer, 1, 0), 0);
            send_byte(fd[LEVEL][1]);
            CHECK_INT(poll(&outer, 1, 1000), 1);
            CHECK_INT(wait_for(queue, &fd[LEVEL]), IN);
            drain(fd[LEVEL][0]);
        }
        close(copy);
        close(orphan[1]);
    }
    send_byte(fd[ARMED][1]);
    CHECK_INT(wait_for(queue, &fd[ARMED]), IN);
    CHECK(silent(queue, &fd[ARMED], 10 * MS));
    CHECK_INT(poise_watch(queue, poise_fd(fd[PAUSED][0]), IN, &fd[PAUSED]), 0);
    CHECK_INT(wait_for(queue, &fd[PAUSED]), IN);
    poise_waker_close(&waker);
    poise_close(queue);
    for (int i = 0; i < N; i++)
        close_pair(fd[i]);
}
#endif

/* ---- G14: watching again, pausing, files
 * --------------------------------------------------------------------------------- */

TEST(G14, interest_is_replaced)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2], fresh;
    tcp_pair(fd);
    send_byte(fd[1]);
    await_readable(fd[0]);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), OUT, fd), 0);
    CHECK_INT(wait_for(queue, fd), OUT);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, &fresh), 0);
    struct seen seen;
    for (int i = 0; i < 3; i++) {
        CHECK(wait_all(queue, patience(), &seen) > 0);
        CHECK_INT(seen.n, 1);
        CHECK(seen.event[0].data == &fresh);
        CHECK_INT(seen.event[0].ready, IN);
    }
    /* One registration, however often it was watched. */
    CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), 0);
    CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), -ENOENT);
    CHECK_INT(wait_all(queue, 10 * MS, &seen), 0);
    poise_close(queue);
    close_pair(fd);
}

TEST(G14, paused_reports_nothing)
{
    NEED_SOCKETS();
    static const uint32_t modes[] = { 0, POISE_EDGE, POISE_ONESHOT };
    for (int i = 0; i < 3; i++) {
        poise *queue = open_queue();
        int fd[2];
        tcp_pair(fd);
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), BOTH | modes[i], fd), 0);
        CHECK(wait_for(queue, fd) != 0);
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), modes[i], fd), 0); /* a mode alone pauses, too */
        send_byte(fd[1]);
        CALL(idle(queue, 60 * MS));
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | modes[i], fd), 0);
        CHECK_INT(wait_for(queue, fd), IN); /* nothing is lost meanwhile */
        poise_close(queue);
        close_pair(fd);
    }
}

TEST(G14, paused_from_the_start)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), 0, NULL), 0);
    send_byte(fd[1]);
    CHECK(silent(queue, NULL, 15 * MS));
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_EDGE, fd), 0);
    CHECK_INT(wait_for(queue, fd), IN);
    CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), 0);
    poise_close(queue);
    close_pair(fd);
}

/* Not even an error, or the end, and no wait that returns for nothing. */
TEST(G14, paused_while_it_ends)
{
    NEED_SOCKETS();
    for (int reset = 0; reset < 2; reset++) {
        poise *queue = open_queue();
        int fd[2];
        tcp_pair(fd);
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
        settle(queue);
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), 0, fd), 0);
        if (reset) {
            send_byte(fd[0]);
            await_readable(fd[1]);
        }
        close(fd[1]);
        await_readable(fd[0]);
        CALL(idle(queue, 60 * MS));
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
        CHECK(wait_for(queue, fd) & IN);
        poise_close(queue);
        close(fd[0]);
    }
}

TEST(G14, paused_with_an_event_gathered)
{
    NEED_SOCKETS();
    static const uint32_t modes[] = { 0, POISE_EDGE, POISE_ONESHOT };
    for (int i = 0; i < 3; i++) {
        poise *queue = open_queue();
        int fd[2];
        poise_event event;
        tcp_pair(fd);
        send_byte(fd[1]);
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | modes[i], fd), 0);
        CHECK(poise_wait(queue, patience()) > 0);
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), 0, fd), 0);
        CHECK(!poise_next(queue, &event));
        CHECK(silent(queue, fd, 15 * MS));
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | modes[i], fd), 0);
        CHECK_INT(wait_for(queue, fd), IN);
        if (modes[i] != 0)
            CHECK(silent(queue, fd, 15 * MS));
        poise_close(queue);
        close_pair(fd);
    }
}

/* Paused and resumed in the loop, many times: what a server does that stops reading while it can't write. */
TEST(G14, pause_and_resume)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    size_t got = 0, sent = 0;
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    for (int i = 0; i < 20; i++) {
        send_byte(fd[1]);
        sent++;
        CHECK_INT(wait_for(queue, fd), IN);
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), 0, fd), 0);
        send_byte(fd[1]);
        sent++;
        CHECK_INT(poise_wait(queue, 0), 0);
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
        CHECK_INT(wait_for(queue, fd), IN);
        got += drain(fd[0]);
    }
    got += drain_exactly(fd[0], sent - got);
    CHECK_INT(got, sent);
    poise_close(queue);
    close_pair(fd);
}

TEST(G14, file_is_always_ready)
{
    int file = open_file();
    NEED_FILE(file);
    poise *queue = open_queue();
    CHECK_INT(poise_watch(queue, poise_fd(file), BOTH, &file), 0);
    for (int i = 0; i < 5; i++) {
        struct seen seen;
        CHECK(wait_all(queue, i % 2 == 0 ? POISE_FOREVER : 0, &seen) > 0);
        CHECK_INT(seen_count(&seen, &file), 1);
        CHECK_INT(seen_ready(&seen, &file), BOTH);
    }
    CHECK_INT(poise_watch(queue, poise_fd(file), OUT, &file), 0);
    CHECK_INT(wait_for(queue, &file), OUT);
    CHECK_INT(poise_watch(queue, poise_fd(file), 0, &file), 0);
    CHECK_INT(poise_wait(queue, 5 * MS), 0);
    CHECK_INT(poise_watch(queue, poise_fd(file), IN, &file), 0);
    CHECK_INT(wait_for(queue, &file), IN);
    CHECK_INT(poise_unwatch(queue, poise_fd(file)), 0);
    CHECK_INT(poise_wait(queue, 5 * MS), 0);
    CHECK_INT(poise_unwatch(queue, poise_fd(file)), -ENOENT);
    poise_close(queue);
    close(file);
}

/* Always ready, and yet sources, wakers and timers come out. */
TEST(G14, file_beside_others)
{
    NEED_SOCKETS();
    int file = open_file();
    NEED_FILE(file);
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(file), IN, &file), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    for (int i = 0; i < 3; i++) {
        send_byte(fd[1]);
        CHECK_INT(wait_for(queue, fd), IN);
        drain(fd[0]);
        CHECK_INT(wait_for(queue, &file), IN);
    }
    CALL(check_unharmed(queue));
    poise_close(queue);
    close_pair(fd);
    close(file);
}

#ifndef __wasi__
TEST(G14, directory_and_device)
{
    poise *queue = open_queue();
    int folder = open(".", O_RDONLY | O_DIRECTORY), device = open("/dev/null", O_RDWR);
    MUST(folder >= 0 && device >= 0);
    CHECK_INT(poise_watch(queue, poise_fd(folder), IN, &folder), 0);
    CHECK_INT(poise_watch(queue, poise_fd(device), BOTH, &device), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(wait_for(queue, &folder), IN);
        CHECK_INT(wait_for(queue, &device), BOTH);
    }
    poise_close(queue);
    close(folder);
    close(device);
}
#endif

/* ---- G15: ends and failures
 * ------------------------------------------------------------------------------------------------- */

TEST(G15, healthy_sources_have_no_hints)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), BOTH, fd), 0);
    send_byte(fd[1]);
    for (int i = 0; i < 10; i++) {
        struct seen seen;
        CHECK(wait_all(queue, patience(), &seen) > 0);
        CHECK_INT(seen_ready(&seen, fd) & (uint32_t)~BOTH, 0);
        CHECK_INT(seen.event[0].result, 0);
    }
    poise_close(queue);
    close_pair(fd);
}

TEST(G15, half_close)
{
    NEED_SOCKETS();
    static const uint32_t modes[] = { 0, POISE_EDGE, POISE_ONESHOT };
    for (int i = 0; i < 3; i++) {
        poise *queue = open_queue();
        int fd[2];
        char byte;
        tcp_pair(fd);
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | modes[i], fd), 0);
        settle(queue);
        if (modes[i] != 0)
            CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | modes[i], fd), 0);
        MUST(shutdown(fd[1], SHUT_WR) == 0);
        uint32_t ready = wait_for(queue, fd);
        CHECK(ready & IN);
        CHECK_INT(ready & (OUT | POISE_ERROR | POISE_WRITE_CLOSED), 0); /* hints are true */
        await_readable(fd[0]);
        CHECK_INT(recv(fd[0], &byte, 1, 0), 0);
        if (!on_wasi())
            CHECK(ready & POISE_READ_CLOSED); /* Linux knows */
        poise_close(queue);
        close_pair(fd);
    }
}

/* The peer sends no more, and goes on reading. */
TEST(G15, half_close_leaves_the_other_direction)
{
    NEED_SOCKETS();
    if (host_is("jco"))
        SKIP("jco closes both directions of a connection when one is shut down");
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    MUST(shutdown(fd[1], SHUT_WR) == 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), BOTH, fd), 0);
    CHECK(wait_for_bits(queue, fd, IN) != 0);
    for (int i = 0; i < 3; i++)
        CHECK_INT(wait_for_bits(queue, fd, OUT) & (POISE_ERROR | POISE_WRITE_CLOSED), 0);
    send_byte(fd[0]);
    CHECK_INT(poise_watch(queue, poise_fd(fd[1]), IN, &fd[1]), 0);
    CHECK_INT(wait_for(queue, &fd[1]) & (BOTH | POISE_READ_CLOSED), IN);
    CHECK_INT(drain_exactly(fd[1], 1), 1);
    poise_close(queue);
    close_pair(fd);
}

/* The end comes after the data, and both are readable. */
TEST(G15, data_then_close)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    char byte;
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    send_byte(fd[1]);
    close(fd[1]);
    CHECK(wait_for(queue, fd) & IN);
    await_readable(fd[0]);
    CHECK_INT(recv(fd[0], &byte, 1, 0), 1);
    ssize_t got = -1;
    for (int i = 0; i < 100 && got < 0; i++) {
        CHECK(wait_for(queue, fd) & IN);
        got = recv(fd[0], &byte, 1, 0);
        CHECK(got == 0 || (got < 0 && errno == EAGAIN));
    }
    CHECK_INT(got, 0);
    poise_close(queue);
    close(fd[0]);
}

/* A reset concerns both directions, even where there was no room to write. */
static void reset(uint32_t interest)
{
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    fill(fd[0]); /* what the peer has not read makes its close a reset */
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), interest, fd), 0);
    settle(queue);
    close(fd[1]);
    uint32_t asked = interest & BOTH, got = 0, hints = 0;
    uint64_t end = poise_now() + (uint64_t)patience();
    while ((got & asked) != asked && poise_now() < end) {
        struct seen seen;
        CHECK(wait_all(queue, patience(), &seen) >= 0);
        got |= seen_ready(&seen, fd);
        hints |= seen_ready(&seen, fd) & HINTS;
    }
    CHECK_INT(got & BOTH, asked);
    if (hints & (POISE_ERROR | POISE_WRITE_CLOSED)) /* true whenever set */
        CHECK(try_send(fd[0]) < 0 && errno != EAGAIN);
    if (hints & POISE_READ_CLOSED) {
        char byte;
        CHECK(recv(fd[0], &byte, 1, 0) <= 0 && errno != EAGAIN);
    }
    poise_close(queue);
    close(fd[0]);
}

TEST(G15, reset)
{
    NEED_SOCKETS();
    CALL(reset(BOTH));
    CALL(reset(IN));
    CALL(reset(OUT));
    CALL(reset(BOTH | POISE_EDGE));
    CALL(reset(IN | POISE_ONESHOT));
    CALL(reset(OUT | POISE_ONESHOT));
}

TEST(G15, refused_connect)
{
    NEED_SOCKETS();
    static const uint32_t interests[] = { OUT, BOTH, IN, OUT | POISE_EDGE, OUT | POISE_ONESHOT };
    for (size_t i = 0; i < sizeof interests / sizeof interests[0]; i++) {
        poise *queue = open_queue();
        uint16_t port;
        int listener = tcp_listen(&port);
        close(listener); /* nobody is there now */
        int fd = tcp_connect_start(port);
        CHECK_INT(poise_watch(queue, poise_fd(fd), interests[i], &fd), 0);
        uint32_t asked = interests[i] & BOTH, got = 0;
        uint64_t end = poise_now() + (uint64_t)patience();
        poise_event failed = { 0 };
        while ((got & asked) != asked && poise_now() < end) {
            struct seen seen;
            CHECK(wait_all(queue, patience(), &seen) > 0);
            got |= seen_ready(&seen, &fd);
            for (int k = 0; k < seen.n; k++)
                if (seen.event[k].ready & POISE_ERROR)
                    failed = seen.event[k];
        }
        CHECK_INT(got & BOTH, asked);
        if (!on_wasi() || backend_is("wasip2")) /* what is told where it can be known */
            CHECK(failed.ready & POISE_ERROR);
        if (!on_wasi()) /* nobody is there: whichever direction was asked for */
            CHECK_INT(failed.ready & HINTS, HINTS);
        CHECK(failed.result == 0 || failed.result == -ECONNREFUSED);
        if (backend_is("wasip2"))
            CHECK_INT(failed.result, -ECONNREFUSED);
        if (interests[i] == asked) { /* level: again and again, at once */
            uint64_t start = poise_now();
            for (int k = 0; k < 5; k++)
                CHECK(wait_for(queue, &fd) & asked);
            CHECK_RANGE(poise_now() - start, 0, patience());
        }
        CHECK_INT(socket_error(fd), ECONNREFUSED);
        CHECK_INT(poise_unwatch(queue, poise_fd(fd)), 0);
        CALL(check_unharmed(queue));
        poise_close(queue);
        close(fd);
    }
}

#ifndef __wasi__
/* To the kernel it is hung up; but nothing has been closed, and it may be connected yet. */
TEST(G15, unconnected_is_not_closed)
{
    static const uint32_t interests[] = { OUT, BOTH, IN };
    int fd[2] = { tcp_socket(), socket(AF_UNIX, SOCK_STREAM, 0) };
    MUST(fd[1] >= 0);
    poise *queue = open_queue();
    for (int i = 0; i < 2; i++)
        for (size_t k = 0; k < sizeof interests / sizeof interests[0]; k++) {
            CHECK_INT(poise_watch(queue, poise_fd(fd[i]), interests[k], &fd[i]), 0);
            CHECK_INT(wait_for(queue, &fd[i]) & (BOTH | HINTS), interests[k]);
            CHECK_INT(poise_unwatch(queue, poise_fd(fd[i])), 0);
        }
    poise_close(queue);
    close(fd[0]);
    close(fd[1]);
}
#endif

#ifndef __wasi__
/* The kernel tells of the end for reading only who asks for it: of both ends' close, whoever watches for anything. */
static void check_both_closed(int fd)
{
    static const uint32_t interests[] = {
        OUT, BOTH, IN, OUT | POISE_EDGE, BOTH | POISE_EDGE, IN | POISE_EDGE, OUT | POISE_ONESHOT
    };
    for (size_t i = 0; i < sizeof interests / sizeof interests[0]; i++) {
        poise *queue = open_queue();
        CHECK_INT(poise_watch(queue, poise_fd(fd), interests[i], &fd), 0);
        CHECK_INT(wait_for(queue, &fd), (interests[i] & BOTH) | POISE_READ_CLOSED | POISE_WRITE_CLOSED);
        poise_close(queue);
    }
    close(fd);
}

/* By poll(2): the end of both directions has arrived. */
static void await_hangup(int fd)
{
    struct pollfd end = { .fd = fd };
    MUST(poll(&end, 1, (int)(patience() / MS)) == 1 && (end.revents & POLLHUP) != 0);
}

TEST(G15, both_directions_closed)
{
    int fd[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) == 0);
    close(fd[1]);
    CALL(check_both_closed(fd[0]));

    tcp_pair(fd); /* the other end, and this one */
    close(fd[1]);
    MUST(shutdown(fd[0], SHUT_WR) == 0);
    await_hangup(fd[0]);
    CALL(check_both_closed(fd[0]));

    tcp_pair(fd); /* a reset, and somebody has taken the error */
    send_byte(fd[0]);
    await_readable(fd[1]);
    close(fd[1]);
    await_hangup(fd[0]);
    CHECK_INT(socket_error(fd[0]), ECONNRESET);
    CALL(check_both_closed(fd[0]));
}

/* This end reads no more, and the peer goes on: nothing was expected, and yet it comes. */
TEST(G15, own_end_of_reading)
{
    poise *queue = open_queue();
    int fd[2];
    char byte;
    tcp_pair(fd);
    MUST(shutdown(fd[0], SHUT_RD) == 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), BOTH, fd), 0);
    CHECK_INT(wait_for_bits(queue, fd, IN), BOTH | POISE_READ_CLOSED);
    CHECK_INT(recv(fd[0], &byte, 1, 0), 0);
    send_byte(fd[1]);
    struct pollfd arrived = { .fd = fd[0], .events = POLLIN };
    ssize_t got = 0;
    for (uint64_t end = poise_now() + (uint64_t)patience(); got == 0 && poise_now() < end;) {
        (void)poll(&arrived, 1, 1);
        got = recv(fd[0], &byte, 1, 0);
    }
    CHECK_INT(got, 1);
    CHECK_INT(wait_for_bits(queue, fd, IN), BOTH | POISE_READ_CLOSED);
    poise_close(queue);
    close_pair(fd);
}

/* The last writer has gone, and the next one comes. */
TEST(G15, next_writer)
{
    char folder[64], path[80], byte;
    snprintf(folder, sizeof folder, "%s/poise-XXXXXX", P_tmpdir);
    MUST(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/fifo", folder);
    MUST(mkfifo(path, 0600) == 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK), writer = open(path, O_WRONLY | O_NONBLOCK);
    MUST(reader >= 0 && writer >= 0);
    poise *queue = open_queue();
    CHECK_INT(poise_watch(queue, poise_fd(reader), IN, &reader), 0);
    CHECK_INT(poise_wait(queue, 0), 0);
    close(writer);
    CHECK_INT(wait_for(queue, &reader), IN | POISE_READ_CLOSED);
    CHECK_INT(read(reader, &byte, 1), 0);
    writer = open(path, O_WRONLY | O_NONBLOCK);
    MUST(writer >= 0);
    CHECK_INT(poise_wait(queue, 0), 0);
    MUST(write(writer, "x", 1) == 1);
    CHECK_INT(wait_for(queue, &reader), IN);
    CHECK_INT(read(reader, &byte, 1), 1);
    poise_close(queue);
    close(reader);
    close(writer);
    unlink(path);
    rmdir(folder);
}
#endif

TEST(G15, own_shutdown)
{
    NEED_SOCKETS();
    if (host_is("jco"))
        SKIP("jco does not report the end of what the program itself has shut down");
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    settle(queue);
    MUST(shutdown(fd[0], SHUT_RDWR) == 0);
    CHECK(wait_for(queue, fd) & IN);
    poise_close(queue);
    close_pair(fd);
}

#ifndef __wasi__
TEST(G15, pipe_ends)
{
    static const uint32_t modes[] = { 0, POISE_EDGE, POISE_ONESHOT };
    for (int i = 0; i < 3; i++) {
        poise *queue = open_queue();
        int fd[2];
        char byte;
        uint32_t ready;
        MUST(pipe(fd) == 0);
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | modes[i], fd), 0);
        CHECK(silent(queue, fd, 5 * MS));
        close(fd[1]);
        ready = wait_for(queue, fd);
        CHECK(ready & IN); /* POLLHUP alone is what the kernel says */
        CHECK_INT(ready & (OUT | POISE_WRITE_CLOSED), 0);
        CHECK_INT(read(fd[0], &byte, 1), 0);
        if (modes[i] != 0)
            CHECK(silent(queue, fd, 5 * MS));
        close(fd[0]);
        poise_close(queue);

        queue = open_queue();
        MUST(pipe(fd) == 0);
        set_nonblocking(fd[1]);
        while (write(fd[1], "xxxxxxxx", 8) > 0)
            ;
        CHECK_INT(poise_watch(queue, poise_fd(fd[1]), OUT | modes[i], fd), 0);
        CHECK(silent(queue, fd, 5 * MS));
        close(fd[0]);
        ready = wait_for(queue, fd);
        CHECK(ready & OUT); /* POLLERR alone is what the kernel says */
        CHECK_INT(ready & (IN | POISE_READ_CLOSED), 0);
        CHECK(ready & (POISE_ERROR | POISE_WRITE_CLOSED));
        if (modes[i] != 0)
            CHECK(silent(queue, fd, 5 * MS));
        close(fd[1]);
        poise_close(queue);
    }
}

TEST(G15, refused_datagram)
{
    poise *queue = open_queue();
    uint16_t port, gone;
    int fd = udp_bound(&port), other = udp_bound(&gone);
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    MUST(getsockname(other, (struct sockaddr *)&address, &size) == 0);
    close(other);
    MUST(connect(fd, (struct sockaddr *)&address, size) == 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd), IN, &fd), 0);
    MUST(send(fd, "x", 1, 0) == 1);
    uint32_t ready = wait_for(queue, &fd);
    CHECK(ready & IN);
    if (ready & POISE_ERROR)
        CHECK_INT(socket_error(fd), ECONNREFUSED);
    poise_close(queue);
    close(fd);
}
#endif

/* ---- G16: two queues
 * ---------------------------------------------------------------------------------------------------------- */

TEST(G16, same_descriptor)
{
    NEED_SOCKETS();
    poise *queue[2] = { open_queue(), open_queue() };
    int fd[2], data[2];
    tcp_pair(fd);
    for (int i = 0; i < 2; i++)
        CHECK_INT(poise_watch(queue[i], poise_fd(fd[0]), IN, &data[i]), 0);
    send_byte(fd[1]);
    for (int i = 0; i < 4; i++)
        CHECK_INT(wait_for(queue[i % 2], &data[i % 2]), IN);
    CHECK_INT(poise_watch(queue[0], poise_fd(fd[0]), 0, &data[0]), 0); /* paused in one */
    CHECK(silent(queue[0], &data[0], 10 * MS));
    CHECK_INT(wait_for(queue[1], &data[1]), IN);
    CHECK_INT(poise_watch(queue[0], poise_fd(fd[0]), OUT, &data[0]), 0); /* another interest */
    CHECK_INT(wait_for(queue[0], &data[0]), OUT);
    CHECK_INT(wait_for(queue[1], &data[1]), IN);
    CHECK_INT(poise_unwatch(queue[0], poise_fd(fd[0])), 0);
    CHECK_INT(poise_unwatch(queue[0], poise_fd(fd[0])), -ENOENT);
    CHECK_INT(poise_wait(queue[0], 10 * MS), 0);
    CHECK_INT(wait_for(queue[1], &data[1]), IN);
    poise_close(queue[0]);
    CHECK_INT(wait_for(queue[1], &data[1]), IN);
    poise_close(queue[1]);
    close_pair(fd);
}

TEST(G16, modes_are_a_queues_own)
{
    NEED_SOCKETS();
    poise *queue[3] = { open_queue(), open_queue(), open_queue() };
    int fd[2], data[3];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue[0], poise_fd(fd[0]), IN | POISE_ONESHOT, &data[0]), 0);
    CHECK_INT(poise_watch(queue[1], poise_fd(fd[0]), IN | POISE_EDGE, &data[1]), 0);
    CHECK_INT(poise_watch(queue[2], poise_fd(fd[0]), IN, &data[2]), 0);
    send_byte(fd[1]);
    for (int i = 0; i < 3; i++)
        CHECK_INT(wait_for(queue[i], &data[i]), IN);
    CHECK(silent(queue[0], &data[0], 10 * MS));
    CHECK(silent(queue[1], &data[1], 10 * MS));
    CHECK_INT(wait_for(queue[2], &data[2]), IN);
    CHECK_INT(poise_watch(queue[0], poise_fd(fd[0]), IN | POISE_ONESHOT, &data[0]), 0);
    CHECK_INT(wait_for(queue[0], &data[0]), IN);
    CHECK_INT(wait_for(queue[2], &data[2]), IN);
    for (int i = 0; i < 3; i++)
        poise_close(queue[i]);
    close_pair(fd);
}

/* Closed while both have it: both come to terms with it. */
TEST(G16, closed_first)
{
    NEED_SOCKETS();
    poise *queue[2] = { open_queue(), open_queue() };
    int fd[2], data[2];
    tcp_pair(fd);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(poise_watch(queue[i], poise_fd(fd[0]), IN, &data[i]), 0);
        settle(queue[i]);
    }
    close(fd[0]);
    for (int i = 0; i < 2; i++) {
        CALL(no_spinning(queue[i], &data[i], 0));
        CHECK_INT(poise_unwatch(queue[i], poise_fd(fd[0])), 0);
        CALL(check_unharmed(queue[i]));
        poise_close(queue[i]);
    }
    close(fd[1]);
}

/* ---- G18: posts
 * ------------------------------------------------------------------------------------------------------------------
 * */

TEST(G18, ready_without_the_kernel)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    settle(queue);
    for (int i = 0; i < 4; i++) {
        struct seen seen;
        CHECK_INT(poise_post(queue, poise_fd(fd[0]), IN), 0);
        CHECK_INT(poise_post(queue, poise_fd(fd[0]), IN), 0);
        CHECK(wait_all(queue, i % 2 == 0 ? POISE_FOREVER : 0, &seen) > 0); /* does not block */
        CHECK_INT(seen.n, 1);
        CHECK(seen.event[0].data == fd);
        CHECK_INT(seen.event[0].ready, IN);
        CHECK_INT(seen.event[0].result, 0);
        CHECK_INT(wait_all(queue, 5 * MS, &seen), 0); /* once, though level */
    }
    poise_close(queue);
    close_pair(fd);
}

TEST(G18, each_direction)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    fill(fd[0]);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), BOTH, fd), 0);
    settle(queue);
    struct seen seen;
    CHECK_INT(poise_post(queue, poise_fd(fd[0]), OUT), 0);
    CHECK(wait_all(queue, POISE_FOREVER, &seen) > 0);
    CHECK_INT(seen_ready(&seen, fd), OUT);
    CHECK_INT(poise_post(queue, poise_fd(fd[0]), OUT), 0);
    CHECK_INT(poise_post(queue, poise_fd(fd[0]), IN), 0);
    CHECK(wait_all(queue, POISE_FOREVER, &seen) > 0);
    CHECK_INT(seen_ready(&seen, fd), BOTH);
    CHECK_INT(seen_count(&seen, fd), 1);
    CHECK_INT(poise_post(queue, poise_fd(fd[0]), BOTH), 0);
    CHECK(wait_all(queue, POISE_FOREVER, &seen) > 0);
    CHECK_INT(seen_ready(&seen, fd), BOTH);
    CHECK_INT(wait_all(queue, 5 * MS, &seen), 0);
    poise_close(queue);
    close_pair(fd);
}

/* A post in the loop is the next wait's: a handler that posts itself each time does not keep the loop going. */
TEST(G18, in_the_loop)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    settle(queue);
    CHECK_INT(poise_post(queue, poise_fd(fd[0]), IN), 0);
    for (int i = 0; i < 5; i++) {
        poise_event event;
        CHECK(poise_wait(queue, POISE_FOREVER) > 0);
        CHECK(poise_next(queue, &event));
        CHECK(event.data == fd);
        CHECK_INT(poise_post(queue, poise_fd(fd[0]), IN), 0);
        CHECK(!poise_next(queue, &event));
    }
    poise_close(queue);
    close_pair(fd);
}

/* With its kernel readiness, it is one event, and not instead of other sources' events. */
TEST(G18, beside_the_kernel)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2][2];
    tcp_pairs(fd, 2);
    for (int i = 0; i < 2; i++) {
        send_byte(fd[i][1]);
        await_readable(fd[i][0]);
        CHECK_INT(poise_watch(queue, poise_fd(fd[i][0]), IN, &fd[i]), 0);
    }
    CHECK(wait_for(queue, &fd[0]) && wait_for(queue, &fd[1]));
    for (int i = 0; i < 5; i++) {
        struct seen seen;
        CHECK_INT(poise_post(queue, poise_fd(fd[0][0]), IN), 0);
        CHECK(wait_all(queue, patience(), &seen) > 0);
        CHECK_INT(seen_count(&seen, &fd[0]), 1);
        CHECK_INT(seen_count(&seen, &fd[1]), 1);
    }
    poise_close(queue);
    close_pair(fd[0]);
    close_pair(fd[1]);
}

TEST(G18, kept_while_paused)
{
    NEED_SOCKETS();
    for (int posted_first = 0; posted_first < 2; posted_first++) {
        poise *queue = open_queue();
        int fd[2];
        tcp_pair(fd);
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
        settle(queue);
        if (posted_first)
            CHECK_INT(poise_post(queue, poise_fd(fd[0]), IN), 0);
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), 0, fd), 0);
        if (!posted_first)
            CHECK_INT(poise_post(queue, poise_fd(fd[0]), IN), 0);
        CHECK_INT(poise_wait(queue, 10 * MS), 0);
        CHECK_INT(poise_wait(queue, 0), 0);
        struct seen seen;
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
        CHECK(wait_all(queue, POISE_FOREVER, &seen) > 0);
        CHECK_INT(seen_ready(&seen, fd), IN);
        CHECK_INT(wait_all(queue, 5 * MS, &seen), 0);
        poise_close(queue);
        close_pair(fd);
    }
}

TEST(G18, kept_while_disarmed)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), OUT | POISE_ONESHOT, fd), 0);
    CHECK_INT(wait_for(queue, fd), OUT);
    CHECK_INT(poise_post(queue, poise_fd(fd[0]), IN), 0);
    CHECK_INT(poise_wait(queue, 10 * MS), 0);
    struct seen seen;
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_ONESHOT, fd), 0);
    CHECK(wait_all(queue, POISE_FOREVER, &seen) > 0);
    CHECK_INT(seen_ready(&seen, fd), IN);
    send_byte(fd[1]); /* that was its one event */
    CHECK(silent(queue, fd, 15 * MS));
    poise_close(queue);
    close_pair(fd);
}

TEST(G18, is_the_one_event_of_a_oneshot)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_ONESHOT, fd), 0);
    settle(queue);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_ONESHOT, fd), 0);
    CHECK_INT(poise_post(queue, poise_fd(fd[0]), IN), 0);
    struct seen seen;
    CHECK(wait_all(queue, POISE_FOREVER, &seen) > 0);
    CHECK_INT(seen_ready(&seen, fd), IN);
    send_byte(fd[1]);
    await_readable(fd[0]);
    CHECK(silent(queue, fd, 15 * MS));
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_ONESHOT, fd), 0);
    CHECK_INT(wait_for(queue, fd), IN);
    poise_close(queue);
    close_pair(fd);
}

/* Of a source that is ready and posted: still one event. */
TEST(G18, oneshot_posted_and_ready)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    send_byte(fd[1]);
    await_readable(fd[0]);
    for (int i = 0; i < 5; i++) {
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_ONESHOT, fd), 0);
        CHECK_INT(poise_post(queue, poise_fd(fd[0]), IN), 0);
        struct seen seen;
        CHECK(wait_all(queue, POISE_FOREVER, &seen) > 0);
        CHECK_INT(seen_count(&seen, fd), 1);
        CHECK(silent(queue, fd, 10 * MS));
    }
    poise_close(queue);
    close_pair(fd);
}

/* In edge mode a post comes out although the direction waits for poise_again. */
TEST(G18, edge)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_EDGE, fd), 0);
    send_byte(fd[1]);
    CHECK_INT(wait_for(queue, fd), IN);
    for (int i = 0; i < 3; i++) {
        struct seen seen;
        CHECK_INT(poise_post(queue, poise_fd(fd[0]), IN), 0);
        CHECK(wait_all(queue, POISE_FOREVER, &seen) > 0);
        CHECK_INT(seen_ready(&seen, fd), IN);
        CHECK_INT(seen_count(&seen, fd), 1);
        CHECK(silent(queue, fd, 10 * MS));
    }
    drain(fd[0]);
    CHECK_INT(poise_again(queue, poise_fd(fd[0]), IN), 0);
    settle(queue);
    CHECK_INT(poise_again(queue, poise_fd(fd[0]), IN), 0);
    send_byte(fd[1]); /* and the kernel's edges are as they were */
    CHECK_INT(wait_for(queue, fd), IN);
    poise_close(queue);
    close_pair(fd);
}

TEST(G18, kept_while_the_direction_is_not_watched)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    fill(fd[0]);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), OUT, fd), 0);
    settle(queue);
    CHECK_INT(poise_post(queue, poise_fd(fd[0]), IN), 0);
    CHECK_INT(poise_wait(queue, 10 * MS), 0);
    /* Half of a post comes out, the other half is kept. */
    struct seen seen;
    CHECK_INT(poise_post(queue, poise_fd(fd[0]), BOTH), 0);
    CHECK(wait_all(queue, POISE_FOREVER, &seen) > 0);
    CHECK_INT(seen_ready(&seen, fd), OUT);
    CHECK_INT(wait_all(queue, 5 * MS, &seen), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), BOTH, fd), 0);
    CHECK(wait_all(queue, POISE_FOREVER, &seen) > 0);
    CHECK_INT(seen_ready(&seen, fd), IN);
    CHECK_INT(wait_all(queue, 5 * MS, &seen), 0);
    poise_close(queue);
    close_pair(fd);
}

TEST(G18, gathered_then_the_direction_is_dropped)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    poise_event event;
    tcp_pair(fd);
    fill(fd[0]);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    settle(queue);
    CHECK_INT(poise_post(queue, poise_fd(fd[0]), IN), 0);
    CHECK(poise_wait(queue, POISE_FOREVER) > 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), OUT, fd), 0);
    CHECK(!poise_next(queue, &event));
    CHECK_INT(poise_wait(queue, 5 * MS), 0);
    poise_close(queue);
    close_pair(fd);
}

TEST(G18, unwatch_forgets)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), 0, fd), 0);
    CHECK_INT(poise_post(queue, poise_fd(fd[0]), IN), 0);
    CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    CHECK(silent(queue, fd, 10 * MS));
    CHECK_INT(poise_post(queue, poise_fd(fd[0]), IN), 0);
    CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), 0);
    CHECK_INT(poise_wait(queue, 10 * MS), 0);
    poise_close(queue);
    close_pair(fd);
}

TEST(G18, with_leftovers)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    poise_timer timer = { 0 };
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    settle(queue);
    CHECK_INT(poise_timer_start(queue, &timer, 0, &timer), 0);
    CHECK(poise_wait(queue, 0) > 0);
    CHECK_INT(poise_post(queue, poise_fd(fd[0]), IN), 0);
    struct seen seen;
    CHECK(wait_all(queue, POISE_FOREVER, &seen) > 0);
    CHECK_INT(seen_ready(&seen, &timer), POISE_TIMER);
    CHECK_INT(seen_ready(&seen, fd), IN);
    poise_close(queue);
    close_pair(fd);
}

TEST(G18, file)
{
    int file = open_file();
    NEED_FILE(file);
    poise *queue = open_queue();
    CHECK_INT(poise_watch(queue, poise_fd(file), IN | POISE_EDGE, &file), 0);
    CHECK_INT(wait_for(queue, &file), IN);
    CHECK(silent(queue, &file, 5 * MS));
    CHECK_INT(poise_post(queue, poise_fd(file), IN), 0);
    struct seen seen;
    CHECK(wait_all(queue, POISE_FOREVER, &seen) > 0);
    CHECK_INT(seen_ready(&seen, &file), IN);
    CHECK(silent(queue, &file, 5 * MS));
    poise_close(queue);
    close(file);
}
