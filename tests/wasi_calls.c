/* What a wait costs under WASI 0.2, counted: host calls, allocations, handles made and dropped. */
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

static int32_t in(uint64_t ns) { return monotonic_clock_subscribe_duration(ns).__handle; }
static void drop(int32_t handle) { poll_pollable_drop_own((poll_own_pollable_t){ handle }); }

static int32_t passed(void)
{
    int32_t handle = in(0);
    poll_method_pollable_block((poll_borrow_pollable_t){ handle });
    return handle;
}

/* One wait, and how many polls it made. */
static unsigned polls_of(poise *queue, int64_t timeout, int *result)
{
    struct calls before = calls();
    struct seen seen;
    *result = wait_all(queue, timeout, &seen);
    return (unsigned)(calls().polls - before.polls);
}

enum { FEW = 16 }; /* so many sources are named in each call */

/* n handles, `ready` of them ready, the others never. */
static void check_polls(unsigned n, unsigned ready)
{
    poise *queue = open_queue();
    int32_t handle[128];
    int result = 0;
    for (unsigned i = 0; i < n; i++) {
        handle[i] = i < ready ? passed() : in((uint64_t)(3600 * SECOND));
        CHECK_INT(poise_watch(queue, poise_pollable(handle[i]), R, &handle[i]), 0);
    }
    for (int i = 0; i < 30; i++) { /* more than the waits in a row until a yield, which is counted apart */
        int64_t timeout = i % 3 == 0 ? 0 : i % 3 == 1 ? patience() : POISE_FOREVER;
        if (ready == 0)
            timeout = i % 3 == 0 ? 0 : i % 3 == 1 ? MS : 300;
        unsigned polls = polls_of(queue, timeout, &result);
        if (ready > 0) {
            CHECK(result > 0);
            CHECK_RANGE(polls, 1, n <= FEW ? 1 : 2); /* more: the rotation of the cold ones may begin anew */
        } else {
            CHECK_INT(result, 0);
            CHECK_RANGE(polls, 1, n <= FEW ? 2 : 4); /* more: the hot ones, a timer that was too early, then all */
        }
    }
    for (unsigned i = 0; i < n; i++)
        drop(handle[i]);
    poise_close(queue);
}

TEST(BRIDGE, polls_of_a_wait)
{
    NEED_WASIP2();
    static const unsigned counts[] = { 1, 2, 17, 127, 128 };
    for (unsigned i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        CALL(check_polls(counts[i], 0));
        CALL(check_polls(counts[i], 1));
        CALL(check_polls(counts[i], counts[i] / 2 + 1));
    }
}

/* The same with descriptors, two handles each; and with what has none. */
TEST(BRIDGE, polls_of_a_wait_for_descriptors)
{
    NEED_WASIP2();
    enum { PAIRS = 30 };
    poise *queue = open_queue();
    int fd[PAIRS][2];
    int result = 0;
    tcp_pairs(fd, PAIRS);
    for (int i = 0; i < PAIRS; i++) {
        CHECK_INT(poise_watch(queue, poise_fd(fd[i][0]), R, fd[i]), 0);
        CHECK_INT(poise_watch(queue, poise_fd(fd[i][1]), R, fd[i]), 0);
    }
    settle(queue);
    for (int i = 0; i < 5; i++) {
        CHECK_RANGE(polls_of(queue, 0, &result), 1, 2);
        CHECK_INT(result, 0);
        CHECK_RANGE(polls_of(queue, 2 * MS, &result), 1, 3);
        CHECK_INT(result, 0);
        send_byte(fd[i][0]);
        await_readable(fd[i][1]);
        CHECK_INT(polls_of(queue, patience(), &result), 1);
        CHECK(result > 0);
        CHECK_INT(polls_of(queue, POISE_FOREVER, &result), 1);
        (void)drain(fd[i][1]);
        settle(queue);
    }
    int unbound = tcp_socket(); /* nothing stands behind it: it costs nothing */
    CHECK_INT(poise_watch(queue, poise_fd(unbound), R | W, &unbound), 0);
    CHECK_RANGE(polls_of(queue, 2 * MS, &result), 1, 3);
    CHECK_INT(result, 0);
    CHECK_INT(poise_unwatch(queue, poise_fd(fd[0][0])), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0][0]), R | W, fd), 0);
    for (int i = 0; i < 20; i++) {
        CHECK_INT(polls_of(queue, POISE_FOREVER, &result), 1); /* there is room */
        CHECK(result > 0);
    }
    poise_close(queue);
    close(unbound);
    for (int i = 0; i < PAIRS; i++)
        close_pair(fd[i]);
}

/* One more for each connect that libc finishes. */
TEST(BRIDGE, polls_of_a_connect)
{
    NEED_WASIP2();
    for (int i = 0; i < 10; i++) {
        poise *queue = open_queue();
        uint16_t port;
        int result = 0;
        int listener = tcp_listen(&port);
        int fd = tcp_connect_start(port);
        CHECK_INT(poise_watch(queue, poise_fd(fd), W, &fd), 0);
        CHECK_RANGE(polls_of(queue, patience(), &result), 1, 3);
        CHECK(result > 0);
        CHECK_RANGE(polls_of(queue, patience(), &result), 1, 2);
        CHECK(result > 0);
        CHECK_INT(polls_of(queue, patience(), &result), 1);
        poise_close(queue);
        close(fd);
        close(listener);
    }
}

/* More than 128 handles: windows of 128, each once, with a yield before each; or all in one call that blocks. */
TEST(BRIDGE, polls_of_a_long_wait)
{
    NEED_WASIP2();
    enum { N = 1000, WINDOWS = (N + 127) / 128 };
    static int32_t handle[N];
    poise *queue = open_queue();
    int result = 0;
    for (int i = 0; i < N; i++) {
        handle[i] = in((uint64_t)(3600 * SECOND));
        CHECK_INT(poise_watch(queue, poise_pollable(handle[i]), R, &handle[i]), 0);
    }
    struct calls before = calls();
    CHECK_RANGE(polls_of(queue, 0, &result), WINDOWS, WINDOWS + 1);
    CHECK_INT(result, 0);
    CHECK_RANGE(polls_of(queue, 20 * MS, &result), WINDOWS, 2 * (WINDOWS + 2));
    CHECK_INT(result, 0);
    CHECK(calls().yields - before.yields <= 2 * (WINDOWS + 1));
    poise_close(queue);
    for (int i = 0; i < N; i++)
        drop(handle[i]);
}

/* The handle for the nearest deadline is made once, however often a wait names it. */
TEST(BRIDGE, timer_handle_kept)
{
    NEED_WASIP2();
    enum { WAITS = 50 };
    poise *queue = open_queue();
    poise_timer timer, sooner;
    poise_waker waker;
    memset(&timer, 0, sizeof timer);
    memset(&sooner, 0, sizeof sooner);
    memset(&waker, 0, sizeof waker);
    int result = 0;
    int32_t handle = passed();
    CHECK_INT(poise_watch(queue, poise_pollable(handle), R, &handle), 0);
    CHECK_INT(poise_timer_start(queue, &timer, poise_now() + (uint64_t)(3600 * SECOND), &timer), 0);
    CHECK_INT(polls_of(queue, POISE_FOREVER, &result), 1);
    struct calls before = calls();
    for (int i = 0; i < WAITS; i++)
        CHECK_INT(polls_of(queue, POISE_FOREVER, &result), 1);
    struct calls after = calls();
    /* Yields have a handle each. */
    CHECK_INT(after.subscribes - before.subscribes, after.yields - before.yields);
    CHECK_INT(after.drops - before.drops, after.yields - before.yields);
    CHECK_RANGE(after.yields - before.yields, 1, WAITS / 2);

    /* Another deadline: one more, and the old one is dropped. */
    before = calls();
    CHECK_INT(poise_timer_start(queue, &sooner, poise_now() + (uint64_t)(1800 * SECOND), &sooner), 0);
    CHECK_INT(polls_of(queue, POISE_FOREVER, &result), 1);
    after = calls();
    CHECK_INT(after.subscribes - before.subscribes - (after.yields - before.yields), 1);
    CHECK_INT(after.drops - before.drops - (after.yields - before.yields), 1);

    /* Restarted to a later time on each event, as an idle time-out is: the nearest deadline stays. */
    before = calls();
    for (int i = 0; i < WAITS; i++) {
        CHECK_INT(poise_timer_start(queue, &timer, poise_now() + (uint64_t)(3600 * SECOND), &timer), 0);
        CHECK_INT(polls_of(queue, POISE_FOREVER, &result), 1);
    }
    after = calls();
    CHECK_INT(after.subscribes - before.subscribes, after.yields - before.yields);
    poise_close(queue);
    CHECK_INT(calls().drops - after.drops, 1); /* with the queue goes its handle */
    drop(handle);
}

/* A zero time-out looks with a fresh handle, and drops it. */
TEST(BRIDGE, zero_handle_fresh)
{
    NEED_WASIP2();
    poise *queue = open_queue();
    int32_t handle = in((uint64_t)(3600 * SECOND));
    int result = 0;
    CHECK_INT(poise_watch(queue, poise_pollable(handle), R, &handle), 0);
    struct calls before = calls();
    for (int i = 0; i < 20; i++) {
        CHECK_INT(polls_of(queue, 0, &result), 1);
        CHECK_INT(result, 0);
    }
    struct calls after = calls();
    CHECK_INT(after.subscribes - before.subscribes - (after.yields - before.yields), 20);
    CHECK_INT(after.drops - before.drops - (after.yields - before.yields), 20);
    poise_close(queue);
    drop(handle);
}

/* A wait on nothing is an error, and makes no host call: it would trap (G13). */
TEST(BRIDGE, nothing_to_wait_for)
{
    NEED_WASIP2();
    poise *queue = open_queue();
    int result = 0;
    CHECK_INT(polls_of(queue, POISE_FOREVER, &result), 0);
    CHECK_INT(result, -EDEADLK);
    int fd = tcp_socket(); /* nothing stands behind it */
    CHECK_INT(poise_watch(queue, poise_fd(fd), R | W, &fd), 0);
    CHECK_INT(polls_of(queue, POISE_FOREVER, &result), 0);
    CHECK_INT(result, -EDEADLK);
    CHECK_RANGE(polls_of(queue, MS, &result), 1, 2);
    CHECK_INT(result, 0);
    CHECK_INT(polls_of(queue, 0, &result), 1);
    CHECK_INT(result, 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd), 0, &fd), 0);
    CHECK_INT(polls_of(queue, POISE_FOREVER, &result), 0);
    CHECK_INT(result, -EDEADLK);
    CHECK_INT(poise_post(queue, poise_fd(fd), R), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd), R, &fd), 0);
    CHECK_RANGE(polls_of(queue, POISE_FOREVER, &result), 0, 1);
    CHECK_INT(result, 1);
    poise_close(queue);
    close(fd);
}

/* ---- memory --------------------------------------------------------------------------------------------------------- */

struct steady {
    poise *queue;
    int tcp[2], udp[2];
    uint16_t udp_port;
    poise_timer timer;
    poise_waker waker;
    int32_t handle;
};

/* Each round: a byte to and fro over TCP, a datagram, a timer, a waker, a pollable. UDP's receive makes libc allocate what the host
 * returns, in any program: the traffic of that alone is not counted. */
static void round_of(struct steady *steady, unsigned *allocations)
{
    char byte = 0;
    unsigned long before = malloc_calls();
    uint32_t seen = 0;
    CHECK_INT(poise_timer_start(steady->queue, &steady->timer, poise_now(), &steady->timer), 0);
    poise_wake(&steady->waker);
    CHECK_INT(poise_watch(steady->queue, poise_pollable(steady->handle), R | POISE_ONESHOT, &steady->handle), 0);
    CHECK(send(steady->tcp[0], "x", 1, 0) == 1 || errno == EAGAIN);
    for (int i = 0; i < 100 && seen != 31; i++) {
        poise_event event;
        CHECK(poise_wait(steady->queue, patience()) > 0);
        while (poise_next(steady->queue, &event)) {
            seen |= event.data == &steady->timer ? 1 : event.data == &steady->waker ? 2 : 0;
            seen |= event.data == &steady->handle ? 4 : 0;
            if (event.data == &steady->tcp[1] && recv(steady->tcp[1], &byte, 1, 0) == 1)
                (void)send(steady->tcp[1], "y", 1, 0);
            if (event.data == &steady->tcp[0] && recv(steady->tcp[0], &byte, 1, 0) == 1)
                seen |= 8 | 16;
        }
    }
    CHECK_INT(seen, 31);
    *allocations += (unsigned)(malloc_calls() - before);
}

TEST(BRIDGE, no_allocation)
{
    NEED_WASIP2();
    CHECK(malloc_counted());
    struct memory memory = { .live = 0 };
    struct steady steady;
    memset(&steady, 0, sizeof steady);
    steady.queue = open_queue_with((poise_options){ .realloc = memory_realloc, .context = &memory });
    steady.handle = passed();
    tcp_pair(steady.tcp);
    steady.udp[0] = udp_bound(&steady.udp_port);
    CHECK_INT(poise_waker_open(steady.queue, &steady.waker, &steady.waker), 0);
    CHECK_INT(poise_watch(steady.queue, poise_fd(steady.tcp[0]), R, &steady.tcp[0]), 0);
    CHECK_INT(poise_watch(steady.queue, poise_fd(steady.tcp[1]), R, &steady.tcp[1]), 0);
    CHECK_INT(poise_watch(steady.queue, poise_fd(steady.udp[0]), R, &steady.udp[0]), 0);
    unsigned warm = 0, steadily = 0;
    for (int i = 0; i < 10; i++)
        CALL(round_of(&steady, &warm));
    struct calls before = calls();
    unsigned calls_before = memory.calls;
    unsigned n = scale(500);
    for (unsigned i = 0; i < n; i++)
        CALL(round_of(&steady, &steadily));
    struct calls after = calls();
    CHECK_INT(after.allocations - before.allocations, 0);
    CHECK_INT(memory.calls, calls_before);
    /* What libc's own recv and send allocate for the host's results (a list for each byte that is read) is not poise's. */
    unsigned libc = 0;
    unsigned long start = malloc_calls();
    for (int i = 0; i < 20; i++) {
        char byte;
        send_byte(steady.tcp[0]);
        struct pollfd waiting = { .fd = steady.tcp[1], .events = POLLIN };
        while (recv(steady.tcp[1], &byte, 1, 0) != 1) {
            unsigned long here = malloc_calls();
            poll(&waiting, 1, 1000); /* which allocates, too */
            start += malloc_calls() - here;
        }
    }
    libc = (unsigned)(malloc_calls() - start);
    CHECK_RANGE(steadily, 0, libc == 0 ? 0 : libc * n / 5);
    poise_waker_close(&steady.waker);
    poise_close(steady.queue);
    CHECK_INT(memory.live, 0);
    close_pair(steady.tcp);
    close(steady.udp[0]);
    drop(steady.handle);
}

/* Without traffic, no libc is in the way: waits alone, of all kinds. */
TEST(BRIDGE, no_allocation_in_waits)
{
    NEED_WASIP2();
    CHECK(malloc_counted());
    poise *queue = open_queue();
    int32_t handle[300];
    int fd[2];
    tcp_pair(fd);
    for (int i = 0; i < 300; i++)
        handle[i] = i % 2 == 0 ? passed() : in((uint64_t)(3600 * SECOND));
    for (int n = 1; n <= 300; n += n < 10 ? 1 : 145) {
        for (int i = 0; i < n; i++)
            CHECK_INT(poise_watch(queue, poise_pollable(handle[i]), R, &handle[i]), 0);
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), R | W, fd), 0);
        struct seen seen;
        (void)wait_all(queue, 0, &seen);
        unsigned long start = malloc_calls();
        struct calls before = calls();
        for (int i = 0; i < 30; i++) {
            (void)wait_all(queue, i % 3 == 0 ? 0 : i % 3 == 1 ? MS : POISE_FOREVER, &seen);
            CHECK_INT(poise_watch(queue, poise_fd(fd[0]), i % 2 ? R : R | W | POISE_EDGE, fd), 0);
        }
        CHECK_INT(malloc_calls() - start, 0);
        CHECK_INT(calls().allocations - before.allocations, 0);
    }
    poise_close(queue);
    for (int i = 0; i < 300; i++)
        drop(handle[i]);
    close_pair(fd);
}

#else
typedef int nothing_to_count; /* ISO C wants a declaration */
#endif
