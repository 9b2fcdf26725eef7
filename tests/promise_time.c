/* G8, G9 and G13: time-outs, timers, their order, and waits that nothing could end. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "test.h"

#include <unistd.h>

#ifndef __wasi__
#include <signal.h>
#include <time.h>
#endif

enum { IN = POISE_READABLE, OUT = POISE_WRITABLE };

/* ---- G8: never early, never capped
 * ---------------------------------------------------------------------------------- */

TEST(G8, timeout_is_never_early)
{
    static const int64_t timeouts[] = { 1,      999,    1000,    1001,    10000,   99999,
                                        300000, 999999, 1000000, 1000001, 1500000, 2999999 };
    poise *queue = open_queue();
    for (unsigned round = 0; round < scale(20); round++)
        for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++) {
            uint64_t start = poise_now();
            CHECK_INT(poise_wait(queue, timeouts[i]), 0);
            CHECK_RANGE(poise_now() - start, timeouts[i], timeouts[i] + patience());
        }
    poise_close(queue);
}

TEST(G8, timer_is_never_early)
{
    static const uint64_t delays[] = { 0, 1, 999, 1000, 50000, 300000, 999999, 1000000, 1000001, 1500000, 2999999 };
    poise *queue = open_queue();
    poise_timer timer = { 0 };
    for (unsigned round = 0; round < scale(20); round++)
        for (size_t i = 0; i < sizeof delays / sizeof delays[0]; i++) {
            uint64_t deadline = poise_now() + delays[i];
            struct seen seen;
            CHECK_INT(poise_timer_start(queue, &timer, deadline, &timer), 0);
            CHECK_INT(timer.deadline_ns, deadline);
            CHECK(wait_all(queue, POISE_FOREVER, &seen) > 0);
            uint64_t now = poise_now();
            CHECK_INT(seen.n, 1);
            CHECK_INT(seen.event[0].ready, POISE_TIMER);
            CHECK_INT(seen.event[0].result, 0);
            CHECK_RANGE(now - deadline, 0, patience());
        }
    poise_close(queue);
}

/* A wait takes all that is due, and nothing that is due a moment later. */
TEST(G8, timers_close_together)
{
    enum { N = 500 };
    poise *queue = open_queue();
    poise_timer timer[N];
    memset(timer, 0, sizeof timer);
    uint64_t base = poise_now() + (uint64_t)MS;
    for (unsigned i = 0; i < N; i++)
        CHECK_INT(poise_timer_start(queue, &timer[i], base + i * 7001, &timer[i]), 0);
    for (unsigned taken = 0; taken < N;) {
        poise_event event;
        CHECK(poise_wait(queue, patience()) > 0);
        while (poise_next(queue, &event)) {
            uint64_t now = poise_now();
            CHECK(event.data == &timer[taken]);
            CHECK(now >= timer[taken].deadline_ns);
            taken++;
        }
    }
    poise_close(queue);
}

/* Beside a descriptor, the backend's own time-out decides. */
TEST(G8, never_early_beside_a_source)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    settle(queue);
    poise_timer timer = { 0 };
    for (int64_t delay = 1; delay < 4000000; delay = delay * 3 + 1) {
        uint64_t start = poise_now();
        CHECK_INT(poise_wait(queue, delay), 0);
        CHECK_RANGE(poise_now() - start, delay, delay + patience());
        start = poise_now();
        struct seen seen;
        CHECK_INT(poise_timer_start(queue, &timer, start + (uint64_t)delay, &timer), 0);
        CHECK(wait_all(queue, POISE_FOREVER, &seen) > 0);
        CHECK_RANGE(poise_now() - start, delay, delay + patience());
        CHECK_INT(seen_ready(&seen, &timer), POISE_TIMER);
    }
    poise_close(queue);
    close_pair(fd);
}

/* What a wait had prepared for a far deadline does not hold up a near one; nor does a near one end a long wait early.
 * */
TEST(G8, nearer_and_farther)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    poise_timer near = { 0 }, far = { 0 };
    int fd[2];
    tcp_pair(fd);
    for (int i = 0; i < 4; i++) {
        CHECK_INT(poise_timer_start(queue, &far, poise_now() + (uint64_t)(30 * SECOND), &far), 0);
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), OUT | POISE_ONESHOT, fd), 0);
        CHECK_INT(wait_for(queue, fd), OUT);
        uint64_t start = poise_now();
        CHECK_INT(poise_timer_start(queue, &near, start + (uint64_t)(10 * MS), &near), 0);
        struct seen seen;
        CHECK(wait_all(queue, 20 * SECOND, &seen) > 0);
        CHECK_RANGE(poise_now() - start, 10 * MS, patience());
        CHECK_INT(seen_ready(&seen, &near), POISE_TIMER);
        CHECK_INT(seen.n, 1);
        CHECK_INT(poise_timer_start(queue, &near, poise_now() + (uint64_t)(2 * MS), &near), 0);
        CHECK(poise_timer_stop(queue, &near));
        start = poise_now();
        CHECK_INT(poise_wait(queue, 8 * MS), 0);
        CHECK_RANGE(poise_now() - start, 8 * MS, patience());
    }
    CHECK(poise_timer_stop(queue, &far));
    poise_close(queue);
    close_pair(fd);
}

/* The shorter of time-out and timer ends the wait. */
TEST(G8, timeout_before_a_timer)
{
    poise *queue = open_queue();
    poise_timer timer = { 0 };
    uint64_t start = poise_now();
    CHECK_INT(poise_timer_start(queue, &timer, start + (uint64_t)(40 * MS), &timer), 0);
    struct seen seen;
    int n = wait_all(queue, 5 * MS, &seen);
    /* On a busy machine it may be time for the timer, too. */
    CHECK_RANGE(poise_now() - start, n == 0 ? 5 * MS : 40 * MS, patience());
    CHECK(n > 0 || wait_all(queue, 10 * SECOND, &seen) > 0);
    CHECK_RANGE(poise_now() - start, 40 * MS, patience());
    CHECK_INT(seen_ready(&seen, &timer), POISE_TIMER);
    poise_close(queue);
}

static const int64_t huge[] = { INT64_C(2147483648) * 1000000,           /* 2^31 ms */
                                INT64_C(4294967296) * 1000000 + 5000000, /* 2^32 ms and 5 ms */
                                INT64_C(2147483648) * 1000000000,        /* 2^31 s */
                                INT64_MAX / 2,
                                INT64_MAX - 1,
                                POISE_FOREVER };

TEST(G8, long_timeout_beside_a_timer)
{
    poise *queue = open_queue();
    poise_timer timer = { 0 }, never = { 0 };
    CHECK_INT(poise_timer_start(queue, &never, UINT64_MAX, &never), 0);
    for (size_t i = 0; i < sizeof huge / sizeof huge[0]; i++) {
        uint64_t deadline = poise_now() + (uint64_t)(15 * MS);
        struct seen seen;
        CHECK_INT(poise_timer_start(queue, &timer, deadline, &timer), 0);
        CHECK(wait_all(queue, huge[i], &seen) > 0);
        CHECK_RANGE(poise_now() - deadline, 0, patience());
        CHECK_INT(seen.n, 1);
        CHECK_INT(seen_ready(&seen, &timer), POISE_TIMER);
    }
    CHECK(poise_timer_stop(queue, &never));
    poise_close(queue);
}

/* Timers that are never reached don't overflow into ones that are. */
TEST(G8, far_deadlines)
{
    static const uint64_t far[] = { UINT64_MAX, UINT64_MAX - 1, (uint64_t)INT64_MAX + 1, INT64_MAX, INT64_MAX - 1 };
    for (size_t i = 0; i < sizeof far / sizeof far[0]; i++) {
        poise *queue = open_queue();
        poise_timer timer = { 0 };
        CHECK_INT(poise_timer_start(queue, &timer, far[i], &timer), 0);
        uint64_t start = poise_now();
        CHECK_INT(poise_wait(queue, 15 * MS), 0);
        CHECK_RANGE(poise_now() - start, 15 * MS, patience());
        for (size_t k = 0; k < 3; k++)
            CHECK_INT(poise_wait(queue, 0), 0);
        CHECK(poise_timer_stop(queue, &timer));
        poise_close(queue);
    }
}

TEST(G8, zero_and_negative_do_not_block)
{
    static const int64_t timeouts[] = { 0, -1, -1000000, INT64_MIN, INT64_MIN + 1 };
    poise *queue = open_queue();
    poise_timer timer = { 0 }, later = { 0 };
    poise_waker waker = { 0 };
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    CHECK_INT(poise_timer_start(queue, &later, poise_now() + (uint64_t)(600 * SECOND), &later), 0);
    for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++) {
        uint64_t start = poise_now();
        CHECK_INT(poise_wait(queue, timeouts[i]), 0);
        CHECK(poise_now() - start < (uint64_t)patience());
        /* ... and look at what is due. */
        struct seen seen;
        CHECK_INT(poise_timer_start(queue, &timer, poise_now(), &timer), 0);
        poise_wake(&waker);
        CHECK(wait_all(queue, timeouts[i], &seen) > 0);
        CHECK_INT(seen.n, 2);
        CHECK_INT(seen_ready(&seen, &timer), POISE_TIMER);
        CHECK_INT(seen_ready(&seen, &waker), POISE_WAKE);
    }
    poise_waker_close(&waker);
    poise_close(queue);
}

TEST(G8, zero_looks_at_sources)
{
    NEED_SOCKETS();
    static const int64_t timeouts[] = { 0, -1, INT64_MIN };
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    settle(queue);
    for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++)
        CHECK_INT(poise_wait(queue, timeouts[i]), 0);
    send_byte(fd[1]);
    await_readable(fd[0]);
    for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++) {
        struct seen seen;
        CHECK(wait_all(queue, timeouts[i], &seen) > 0);
        CHECK_INT(seen_ready(&seen, fd), IN);
    }
    poise_close(queue);
    close_pair(fd);
}

#ifdef __wasi__
TEST(G8, signals_do_not_end_a_wait) { SKIP("WASI has no signals"); }
TEST(G8, long_timeout) { SKIP("WASI has no signals"); }
#else
static volatile sig_atomic_t signals;
static poise_waker *to_wake;

static void count_signal(int signal_number)
{
    (void)signal_number;
    signals = signals + 1;
    if (to_wake != NULL)
        poise_wake(to_wake);
}

/* Sends SIGUSR1 to the process after `first` ns, and then every `period` ns (0: once). */
static timer_t start_signals(int64_t first, int64_t period)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = count_signal;
    MUST(sigaction(SIGUSR1, &action, NULL) == 0);
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
    timer_t timer;
    struct itimerspec when = { .it_value = { first / SECOND, first % SECOND },
                               .it_interval = { period / SECOND, period % SECOND } };
    signals = 0;
    MUST(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    MUST(timer_settime(timer, 0, &when, NULL) == 0);
    return timer;
}

TEST(G8, signals_do_not_end_a_wait)
{
    poise *queue = open_queue();
    poise_timer timer = { 0 };
    to_wake = NULL;
    timer_t clock = start_signals(MS, MS);
    uint64_t start = poise_now();
    int result = poise_wait(queue, 60 * MS);
    uint64_t waited = poise_now() - start;
    int heard = signals;
    CHECK_INT(result, 0);
    CHECK(waited >= (uint64_t)(60 * MS));
    CHECK(heard >= 3);
    CHECK_INT(poise_timer_start(queue, &timer, poise_now() + (uint64_t)(30 * MS), &timer), 0);
    result = poise_wait(queue, POISE_FOREVER);
    CHECK_INT(result > 0, 1);
    CHECK(poise_now() >= timer.deadline_ns);
    timer_delete(clock);
    poise_close(queue);
}

/* What would overflow the kernel's type for a time-out, or be cut to 32 bits, would end the wait before the wake. */
TEST(G8, long_timeout)
{
    poise *queue = open_queue();
    poise_waker waker = { 0 };
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    to_wake = &waker;
    for (size_t i = 0; i < sizeof huge / sizeof huge[0]; i++) {
        timer_t clock = start_signals(60 * MS, 0);
        struct seen seen;
        int64_t before = cpu_time();
        CHECK(wait_all(queue, huge[i], &seen) > 0);
        CHECK_RANGE(cpu_time() - before, 0, 30 * MS); /* nor does it wake up again and again */
        CHECK_INT(seen_ready(&seen, &waker), POISE_WAKE);
        CHECK(signals > 0);
        timer_delete(clock);
    }
    to_wake = NULL;
    poise_waker_close(&waker);
    poise_close(queue);
}

#endif

/* Waiting takes no processor time. */
TEST(G8, waiting_is_idle)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    CALL(idle(queue, 200 * MS));
    poise_close(queue);
    close_pair(fd);
}
/* ---- G9: order
 * -------------------------------------------------------------------------------------------------------- */

TEST(G9, sources_and_wakers_before_timers)
{
    NEED_SOCKETS();
    enum { N = 4 };
    poise *queue = open_queue();
    int fd[N][2];
    poise_timer timer[N];
    poise_waker waker[N];
    memset(timer, 0, sizeof timer);
    memset(waker, 0, sizeof waker);
    tcp_pairs(fd, N);
    for (int i = 0; i < N; i++) {
        CHECK_INT(poise_timer_start(queue, &timer[i], 0, &timer[i]), 0);
        CHECK_INT(poise_waker_open(queue, &waker[i], &waker[i]), 0);
        poise_wake(&waker[i]);
        send_byte(fd[i][1]);
        await_readable(fd[i][0]);
        CHECK_INT(poise_watch(queue, poise_fd(fd[i][0]), IN, &fd[i]), 0);
    }
    for (int round = 0; round < 3; round++) {
        struct seen seen;
        CHECK(wait_all(queue, patience(), &seen) > 0);
        CHECK_INT(seen.n, 3 * N);
        for (int i = 0; i < N; i++) {
            CHECK_INT(seen.event[i].ready, IN);
            CHECK_INT(seen.event[N + i].ready, POISE_WAKE);
            CHECK_INT(seen.event[2 * N + i].ready, POISE_TIMER);
        }
        for (int i = 0; i < N; i++) {
            CHECK_INT(poise_timer_start(queue, &timer[i], 0, &timer[i]), 0);
            poise_wake(&waker[i]);
        }
    }
    for (int i = 0; i < N; i++) {
        poise_waker_close(&waker[i]);
        close_pair(fd[i]);
    }
    poise_close(queue);
}

TEST(G9, a_read_cancels_its_own_timeout)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    poise_timer timer = { 0 };
    poise_event event;
    tcp_pair(fd);
    send_byte(fd[1]);
    await_readable(fd[0]);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_ONESHOT, fd), 0);
    CHECK_INT(poise_timer_start(queue, &timer, 0, &timer), 0);
    CHECK(poise_wait(queue, patience()) > 0);
    CHECK(poise_next(queue, &event));
    CHECK(event.data == fd);
    CHECK(poise_timer_stop(queue, &timer));
    CHECK(!poise_next(queue, &event));
    CHECK_INT(poise_wait(queue, 10 * MS), 0);
    poise_close(queue);
    close_pair(fd);
}

TEST(G9, wakers_before_timers)
{
    poise *queue = open_queue();
    poise_timer timer = { 0 };
    poise_waker waker = { 0 };
    CHECK_INT(poise_timer_start(queue, &timer, 0, &timer), 0);
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    poise_wake(&waker);
    struct seen seen;
    CHECK(wait_all(queue, patience(), &seen) > 0);
    CHECK_INT(seen.n, 2);
    CHECK(seen.event[0].data == &waker);
    CHECK(seen.event[1].data == &timer);
    poise_waker_close(&waker);
    poise_close(queue);
}

TEST(G9, timers_by_deadline)
{
    enum { N = 61 };
    poise *queue = open_queue();
    poise_timer timer[N];
    memset(timer, 0, sizeof timer);
    uint64_t base = poise_now();
    for (unsigned i = 0; i < N; i++) {
        unsigned place = i * 17 % N; /* 61 is prime: each place once, in a jumbled order */
        CHECK_INT(poise_timer_start(queue, &timer[place], base + place, &timer[place]), 0);
    }
    unsigned taken = 0;
    while (taken < N) {
        poise_event event;
        CHECK(poise_wait(queue, patience()) > 0);
        while (poise_next(queue, &event))
            CHECK(event.data == &timer[taken++]);
    }
    CHECK_INT(poise_wait(queue, 0), 0);
    poise_close(queue);
}

TEST(G9, ties_in_the_order_of_their_start)
{
    enum { N = 100 };
    poise *queue = open_queue();
    poise_timer timer[N];
    int expected[N], n = 0;
    memset(timer, 0, sizeof timer);
    for (int i = 0; i < N; i++)
        CHECK_INT(poise_timer_start(queue, &timer[i], 5, &timer[i]), 0);
    for (int i = 0; i < N; i += 3)
        CHECK(poise_timer_stop(queue, &timer[i]));
    for (int i = 1; i < N; i += 3) /* a restart counts as the start */
        CHECK_INT(poise_timer_start(queue, &timer[i], 5, &timer[i]), 0);
    for (int i = 2; i < N; i += 3)
        expected[n++] = i;
    for (int i = 1; i < N; i += 3)
        expected[n++] = i;
    for (int i = 0; i < n;) {
        poise_event event;
        CHECK(poise_wait(queue, 0) > 0);
        while (poise_next(queue, &event)) {
            CHECK(i < n);
            CHECK(event.data == &timer[expected[i]]);
            i++;
        }
    }
    CHECK_INT(poise_wait(queue, 0), 0);
    poise_close(queue);
}

/* Against a plain list: random starts, restarts and stops, then everything in order. */
TEST(G9, many_timers)
{
    enum { N = 500 };
    poise *queue = open_queue();
    poise_timer *timer = calloc(N, sizeof *timer);
    unsigned *start = calloc(N, sizeof *start); /* 0: not running; else when it was started */
    uint32_t random = 12345;
    unsigned counter = 0, running = 0;
    for (unsigned step = 0; step < 4 * N; step++) {
        random = random * 1664525 + 1013904223;
        unsigned i = (random >> 8) % N;
        if ((random >> 28) < 4) {
            CHECK_INT(poise_timer_stop(queue, &timer[i]), start[i] != 0);
            running -= start[i] != 0;
            start[i] = 0;
        } else {
            CHECK_INT(poise_timer_start(queue, &timer[i], (random >> 4) % 64, &timer[i]), 0);
            running += start[i] == 0;
            start[i] = ++counter;
        }
    }
    uint64_t last_deadline = 0;
    unsigned last_start = 0;
    while (running > 0) {
        poise_event event;
        CHECK(poise_wait(queue, 0) > 0);
        while (poise_next(queue, &event)) {
            poise_timer *taken = event.data;
            unsigned i = (unsigned)(taken - timer);
            CHECK(start[i] != 0);
            CHECK(taken->deadline_ns > last_deadline || (taken->deadline_ns == last_deadline && start[i] > last_start));
            last_deadline = taken->deadline_ns;
            last_start = start[i];
            start[i] = 0;
            running--;
        }
    }
    CHECK_INT(poise_wait(queue, 0), 0);
    poise_close(queue);
    free(timer);
    free(start);
}

TEST(G9, started_after_the_wait_began)
{
    poise *queue = open_queue();
    poise_timer first = { 0 }, second = { 0 };
    poise_event event;
    CHECK_INT(poise_timer_start(queue, &first, 0, &first), 0);
    CHECK(poise_wait(queue, 0) > 0);
    CHECK_INT(poise_timer_start(queue, &second, 0, &second), 0);
    CHECK(poise_next(queue, &event));
    CHECK(event.data == &first);
    CHECK_INT(poise_timer_start(queue, &first, 0, &first), 0); /* in the loop, as a ticking timer does */
    CHECK(!poise_next(queue, &event));
    CHECK(poise_wait(queue, 0) > 0);
    CHECK(poise_next(queue, &event));
    CHECK(event.data == &second); /* a tie: started first */
    CHECK(poise_next(queue, &event));
    CHECK(event.data == &first);
    CHECK(!poise_next(queue, &event));
    poise_close(queue);
}

/* ---- G13: a wait that nothing could end
 * ------------------------------------------------------------------------------- */

#ifdef __wasi__
static void deadlock(poise *queue)
{
    CHECK_INT(poise_wait(queue, POISE_FOREVER), -EDEADLK);
    poise_event event;
    CHECK(!poise_next(queue, &event));
}
#else
/* With threads and signals, somebody may come: here a signal handler does. */
static void deadlock(poise *queue)
{
    poise_waker waker = { 0 };
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    to_wake = &waker;
    timer_t clock = start_signals(15 * MS, 0);
    struct seen seen;
    CHECK(wait_all(queue, POISE_FOREVER, &seen) > 0);
    CHECK_INT(seen_ready(&seen, &waker), POISE_WAKE);
    to_wake = NULL;
    timer_delete(clock);
    poise_waker_close(&waker);
}
#endif

TEST(G13, wait_on_nothing)
{
    poise *queue = open_queue();
    poise_timer timer = { 0 };
    poise_waker waker = { 0 };
    CALL(deadlock(queue));
    CHECK_INT(poise_wait(queue, 0), 0);
    CHECK_INT(poise_wait(queue, MS), 0);
    CHECK_INT(poise_timer_start(queue, &timer, poise_now() + (uint64_t)MS, &timer), 0);
    CHECK(poise_wait(queue, POISE_FOREVER) > 0);
    poise_event event;
    CHECK(poise_next(queue, &event));
    CALL(deadlock(queue)); /* the timer has run out */
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    poise_wake(&waker);
    CHECK(poise_wait(queue, POISE_FOREVER) > 0);
    CHECK(poise_next(queue, &event));
    CALL(deadlock(queue)); /* nobody could wake it any more */
    poise_waker_close(&waker);
    CALL(check_unharmed(queue));
    poise_close(queue);
}

TEST(G13, nothing_is_armed)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), 0, fd), 0);
    CALL(deadlock(queue)); /* paused */
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), OUT | POISE_ONESHOT, fd), 0);
    CHECK_INT(wait_for(queue, fd), OUT);
    CALL(deadlock(queue)); /* fired */
    CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), 0);
    CALL(deadlock(queue));
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), OUT, fd), 0);
    CHECK_INT(wait_for(queue, fd), OUT);
    CALL(check_unharmed(queue));
    poise_close(queue);
    close_pair(fd);
}
