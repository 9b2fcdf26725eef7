/* G5: nothing stale ever comes out. Each of these gathers an event first, and then makes it void. */
#include "test.h"

#include <unistd.h>

enum { IN = POISE_READABLE, OUT = POISE_WRITABLE, BOTH = POISE_READABLE | POISE_WRITABLE };

static bool nothing_to_take(poise *queue)
{
    poise_event event;
    return !poise_next(queue, &event);
}

/* A source with a byte to read, of which a wait has gathered an event that is not taken. */
static void gather(poise *queue, int fd[2], uint32_t interest, void *data)
{
    tcp_pair(fd);
    send_byte(fd[1]);
    await_readable(fd[0]);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), interest, data), 0);
    CHECK(poise_wait(queue, patience()) > 0);
}

TEST(G5, unwatch)
{
    NEED_SOCKETS();
    static const uint32_t modes[] = { 0, POISE_EDGE, POISE_ONESHOT };
    for (int i = 0; i < 3; i++) {
        poise *queue = open_queue();
        int fd[2];
        CALL(gather(queue, fd, IN | modes[i], fd));
        CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), 0);
        CHECK(nothing_to_take(queue));
        CHECK_INT(poise_wait(queue, 10 * MS), 0);
        CHECK(nothing_to_take(queue));
        poise_close(queue);
        close_pair(fd);
    }
}

/* The event of an earlier life of the source does not come out in a later one. */
TEST(G5, unwatch_and_watch)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2], fresh;
    poise_event event;
    CALL(gather(queue, fd, BOTH, fd));
    CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), 0, &fresh), 0);
    CHECK(nothing_to_take(queue));
    CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), 0);
    drain(fd[0]);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, &fresh), 0);
    CHECK(nothing_to_take(queue)); /* the byte is gone, and the event is not this registration's */
    settle(queue);
    send_byte(fd[1]);
    CHECK(poise_wait(queue, patience()) > 0);
    CHECK(poise_next(queue, &event));
    CHECK(event.data == &fresh);
    CHECK_INT(event.ready, IN);
    poise_close(queue);
    close_pair(fd);
}

TEST(G5, unwatch_the_others_in_the_loop)
{
    NEED_SOCKETS();
    enum { N = 20 };
    poise *queue = open_queue();
    int fd[N][2];
    poise_event event;
    tcp_pairs(fd, N);
    for (int i = 0; i < N; i++) {
        send_byte(fd[i][1]);
        await_readable(fd[i][0]);
        CHECK_INT(poise_watch(queue, poise_fd(fd[i][0]), BOTH, &fd[i]), 0);
    }
    for (int round = 0; round < 3; round++) {
        CHECK(poise_wait(queue, patience()) > 0);
        CHECK(poise_next(queue, &event));
        for (int i = 0; i < N; i++)
            if (&fd[i] != event.data)
                CHECK_INT(poise_unwatch(queue, poise_fd(fd[i][0])), 0);
        CHECK(nothing_to_take(queue));
        for (int i = 0; i < N; i++) /* each with the data of another: the old ones are not to be seen */
            CHECK_INT(poise_watch(queue, poise_fd(fd[i][0]), BOTH, &fd[i]), 0);
        CHECK(nothing_to_take(queue));
    }
    poise_close(queue);
    for (int i = 0; i < N; i++)
        close_pair(fd[i]);
}

TEST(G5, unwatch_leftover_of_an_earlier_wait)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    poise_timer timer = { 0 };
    CALL(gather(queue, fd, IN | POISE_ONESHOT, fd));
    CHECK_INT(poise_timer_start(queue, &timer, 0, &timer), 0);
    CHECK(poise_wait(queue, 0) > 0);
    CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), 0);
    CHECK(poise_wait(queue, 0) > 0);
    poise_event event;
    CHECK(poise_next(queue, &event));
    CHECK(event.data == &timer);
    CHECK(nothing_to_take(queue));
    poise_close(queue);
    close_pair(fd);
}

/* "There is something to take" is true when poise_wait says so. */
TEST(G5, wait_counts_no_stale_events)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    poise_timer timer = { 0 };
    poise_waker waker = { 0 };
    CALL(gather(queue, fd, IN, fd));
    CHECK_INT(poise_timer_start(queue, &timer, 0, &timer), 0);
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    poise_wake(&waker);
    CHECK(poise_wait(queue, 0) > 0);
    CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), 0);
    CHECK(poise_timer_stop(queue, &timer));
    poise_waker_close(&waker);
    uint64_t start = poise_now();
    CHECK_INT(poise_wait(queue, 20 * MS), 0);
    CHECK(poise_now() - start >= (uint64_t)(20 * MS));
    CHECK(nothing_to_take(queue));
    poise_close(queue);
    close_pair(fd);
}

TEST(G5, timer_stop)
{
    poise *queue = open_queue();
    poise_timer timer[3];
    poise_event event;
    memset(timer, 0, sizeof timer);
    for (int i = 0; i < 3; i++)
        CHECK_INT(poise_timer_start(queue, &timer[i], (uint64_t)i, &timer[i]), 0);
    CHECK(poise_wait(queue, 0) > 0);
    CHECK(poise_timer_stop(queue, &timer[1])); /* gathered, not taken: it had not been taken, and never will */
    CHECK(poise_next(queue, &event));
    CHECK(event.data == &timer[0]);
    CHECK(!poise_timer_stop(queue, &timer[0])); /* taken */
    CHECK(poise_next(queue, &event));
    CHECK(event.data == &timer[2]);
    CHECK(nothing_to_take(queue));
    CHECK(!poise_timer_stop(queue, &timer[1]));
    CHECK_INT(poise_wait(queue, 0), 0);
    poise_close(queue);
}

TEST(G5, timer_stop_before_it_is_due)
{
    poise *queue = open_queue();
    poise_timer timer = { 0 };
    CHECK_INT(poise_timer_start(queue, &timer, poise_now() + 5000000, &timer), 0);
    CHECK(poise_timer_stop(queue, &timer));
    CHECK_INT(poise_wait(queue, 20 * MS), 0);
    CHECK(nothing_to_take(queue));
    poise_close(queue);
}

TEST(G5, timer_leftover_of_an_earlier_wait)
{
    poise *queue = open_queue();
    poise_timer timer[2];
    memset(timer, 0, sizeof timer);
    CHECK_INT(poise_timer_start(queue, &timer[0], 0, &timer[0]), 0);
    CHECK(poise_wait(queue, 0) > 0);
    CHECK_INT(poise_timer_start(queue, &timer[1], 0, &timer[1]), 0);
    CHECK(poise_wait(queue, 0) > 0);
    CHECK(poise_timer_stop(queue, &timer[0]));
    poise_event event;
    if (!poise_next(queue, &event)) { /* what became due meanwhile may be the next wait's */
        CHECK(poise_wait(queue, 0) > 0);
        CHECK(poise_next(queue, &event));
    }
    CHECK(event.data == &timer[1]);
    CHECK(nothing_to_take(queue));
    poise_close(queue);
}

TEST(G5, timer_restart)
{
    poise *queue = open_queue();
    poise_timer timer = { 0 };
    int old, fresh;
    CHECK_INT(poise_timer_start(queue, &timer, 0, &old), 0);
    CHECK(poise_wait(queue, 0) > 0);
    uint64_t deadline = poise_now() + 30000000;
    CHECK_INT(poise_timer_start(queue, &timer, deadline, &fresh), 0);
    CHECK(nothing_to_take(queue));
    struct seen seen;
    CHECK(wait_all(queue, patience(), &seen) > 0);
    CHECK(poise_now() >= deadline);
    CHECK_INT(seen.n, 1);
    CHECK_INT(seen_ready(&seen, &fresh), POISE_TIMER);
    CHECK_INT(poise_wait(queue, 10 * MS), 0);
    poise_close(queue);
}

TEST(G5, waker_close)
{
    poise *queue = open_queue();
    poise_waker waker[2];
    memset(waker, 0, sizeof waker);
    for (int i = 0; i < 2; i++)
        CHECK_INT(poise_waker_open(queue, &waker[i], &waker[i]), 0);
    poise_wake(&waker[0]);
    poise_wake(&waker[1]);
    CHECK(poise_wait(queue, 0) > 0);
    poise_waker_close(&waker[0]); /* gathered */
    poise_event event;
    CHECK(poise_next(queue, &event));
    CHECK(event.data == &waker[1]);
    CHECK(nothing_to_take(queue));
    poise_wake(&waker[1]); /* woken, not gathered */
    poise_waker_close(&waker[1]);
    CHECK_INT(poise_wait(queue, 10 * MS), 0);
    CHECK(nothing_to_take(queue));
    poise_close(queue);
}

TEST(G5, waker_opened_again)
{
    poise *queue = open_queue();
    poise_waker waker = { 0 };
    int old, fresh;
    CHECK_INT(poise_waker_open(queue, &waker, &old), 0);
    poise_wake(&waker);
    poise_waker_close(&waker);
    CHECK_INT(poise_waker_open(queue, &waker, &fresh), 0);
    CHECK_INT(poise_wait(queue, 10 * MS), 0); /* the wake was the closed one's */
    poise_wake(&waker);
    CHECK(poise_wait(queue, patience()) > 0);
    poise_waker_close(&waker);
    CHECK_INT(poise_waker_open(queue, &waker, &fresh), 0);
    CHECK(nothing_to_take(queue));
    poise_wake(&waker);
    CHECK_INT(wait_for(queue, &fresh), POISE_WAKE);
    poise_waker_close(&waker);
    poise_close(queue);
}

TEST(G5, data_of_the_last_watch)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2], fresh;
    poise_event event;
    CALL(gather(queue, fd, IN, fd));
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, &fresh), 0);
    if (poise_next(queue, &event))
        CHECK(event.data == &fresh);
    CHECK(nothing_to_take(queue));
    CHECK_INT(wait_for(queue, &fresh), IN);
    CHECK(silent(queue, fd, 10 * MS));
    poise_close(queue);
    close_pair(fd);
}

TEST(G5, interest_of_the_last_watch)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    poise_event event;
    CALL(gather(queue, fd, IN, fd));
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), OUT, fd), 0);
    if (poise_next(queue, &event))
        CHECK_INT(event.ready, OUT);
    close_pair(fd);
    poise_close(queue);
    queue = open_queue();
    CALL(gather(queue, fd, BOTH, fd));
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    if (poise_next(queue, &event))
        CHECK_INT(event.ready, IN);
    CHECK(nothing_to_take(queue));
    for (int i = 0; i < 3; i++)
        CHECK_INT(wait_for(queue, fd), IN);
    poise_close(queue);
    close_pair(fd);
}

TEST(G5, paused_after_it_was_gathered)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    CALL(gather(queue, fd, IN, fd));
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), 0, fd), 0);
    CHECK(nothing_to_take(queue));
    CHECK_INT(poise_wait(queue, 10 * MS), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    CHECK_INT(wait_for(queue, fd), IN);
    poise_close(queue);
    close_pair(fd);
}

/* Gathered, unwatched, closed, and the number belongs to a socket that is not readable. */
TEST(G5, number_of_a_new_socket)
{
    NEED_SOCKETS();
    for (int turn = 0; turn < 5; turn++) {
        poise *queue = open_queue();
        int fd[2], fresh[2];
        CALL(gather(queue, fd, IN, fd));
        CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), 0);
        close(fd[0]);
        tcp_pair(fresh); /* one of the two has the number now */
        CHECK_INT(poise_watch(queue, poise_fd(fresh[0]), IN, fresh), 0);
        CHECK_INT(poise_watch(queue, poise_fd(fresh[1]), IN, &fresh[1]), 0);
        CHECK(nothing_to_take(queue));
        CHECK(silent(queue, fd, 10 * MS));
        send_byte(fresh[1]);
        CHECK_INT(wait_for(queue, fresh), IN);
        poise_close(queue);
        close(fd[1]);
        close_pair(fresh);
    }
}
