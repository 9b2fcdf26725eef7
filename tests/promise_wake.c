/* G10: wakes, from the thread that waits, from other threads and from signal handlers. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "test.h"

#include <unistd.h>

#ifndef __wasi__
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <time.h>
#endif

TEST(G10, before_a_wait)
{
    poise *queue = open_queue();
    poise_waker waker = { 0 };
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    for (int i = 0; i < 5; i++) {
        struct seen seen;
        poise_wake(&waker);
        CHECK(wait_all(queue, i % 2 == 0 ? POISE_FOREVER : 0, &seen) > 0);
        CHECK_INT(seen.n, 1);
        CHECK(seen.event[0].data == &waker);
        CHECK_INT(seen.event[0].ready, POISE_WAKE);
        CHECK_INT(seen.event[0].result, 0);
        CHECK_INT(poise_wait(queue, MS), 0); /* once */
    }
    poise_waker_close(&waker);
    poise_close(queue);
}

TEST(G10, coalesce)
{
    poise *queue = open_queue();
    poise_waker waker = { 0 };
    struct seen seen;
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    for (int i = 0; i < 1000; i++)
        poise_wake(&waker);
    CHECK(wait_all(queue, POISE_FOREVER, &seen) > 0);
    CHECK_INT(seen.n, 1);
    CHECK_INT(poise_wait(queue, 5 * MS), 0);
    /* A wake of one that is gathered and not taken is part of that event, or makes one more: never none. */
    poise_wake(&waker);
    CHECK(poise_wait(queue, POISE_FOREVER) > 0);
    poise_wake(&waker);
    CHECK(poise_wait(queue, POISE_FOREVER) > 0);
    poise_event event;
    CHECK(poise_next(queue, &event));
    CHECK(event.data == &waker);
    poise_waker_close(&waker);
    poise_close(queue);
}

TEST(G10, after_its_event_was_taken)
{
    poise *queue = open_queue();
    poise_waker waker = { 0 };
    poise_event event;
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    poise_wake(&waker);
    for (int i = 0; i < 10; i++) {
        CHECK(poise_wait(queue, POISE_FOREVER) > 0);
        CHECK(poise_next(queue, &event));
        poise_wake(&waker);
        CHECK(!poise_next(queue, &event)); /* the next wait's */
    }
    CHECK(poise_wait(queue, 0) > 0);
    poise_waker_close(&waker);
    poise_close(queue);
}

TEST(G10, many_wakers)
{
    enum { N = 50 };
    poise *queue = open_queue();
    poise_waker waker[N];
    memset(waker, 0, sizeof waker);
    for (int i = 0; i < N; i++)
        CHECK_INT(poise_waker_open(queue, &waker[i], &waker[i]), 0);
    for (int round = 1; round <= 7; round++) {
        struct seen seen;
        int expected = 0;
        for (int i = 0; i < N; i += round, expected++)
            poise_wake(&waker[N - 1 - i]);
        CHECK(wait_all(queue, POISE_FOREVER, &seen) > 0);
        CHECK_INT(seen.n, expected);
        for (int i = 0; i < N; i += round)
            CHECK_INT(seen_ready(&seen, &waker[N - 1 - i]), POISE_WAKE);
    }
    for (int i = 0; i < N; i += 2) { /* those that are closed while woken take nobody with them */
        poise_wake(&waker[i]);
        poise_wake(&waker[i + 1]);
        poise_waker_close(&waker[i]);
    }
    struct seen seen;
    CHECK(wait_all(queue, POISE_FOREVER, &seen) > 0);
    CHECK_INT(seen.n, N / 2);
    for (int i = 1; i < N; i += 2) {
        CHECK_INT(seen_count(&seen, &waker[i]), 1);
        poise_waker_close(&waker[i]);
    }
    poise_close(queue);
}

TEST(G10, keeps_errno)
{
    poise *queue = open_queue();
    poise_waker waker = { 0 };
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    for (int i = 0; i < 3; i++) {
        errno = 77;
        poise_wake(&waker);
        CHECK_INT(errno, 77);
    }
    poise_waker_close(&waker);
    poise_close(queue);
}

TEST(G10, own_queue_only)
{
    poise *queue[2] = { open_queue(), open_queue() };
    poise_waker waker[2];
    memset(waker, 0, sizeof waker);
    for (int i = 0; i < 2; i++)
        CHECK_INT(poise_waker_open(queue[i], &waker[i], &waker[i]), 0);
    poise_wake(&waker[1]);
    struct seen seen;
    CHECK_INT(wait_all(queue[0], 5 * MS, &seen), 0);
    CHECK(wait_all(queue[1], 5 * MS, &seen) > 0);
    CHECK_INT(seen_ready(&seen, &waker[1]), POISE_WAKE);
    for (int i = 0; i < 2; i++) {
        poise_waker_close(&waker[i]);
        poise_close(queue[i]);
    }
}

/* A wake is heard beside sources, also while earlier events are left. */
TEST(G10, beside_sources_and_leftovers)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    poise_waker waker = { 0 };
    int fd[2][2];
    tcp_pairs(fd, 2);
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0][0]), POISE_READABLE, &fd[0]), 0);
    settle(queue);
    poise_wake(&waker);
    struct seen seen;
    CHECK(wait_all(queue, POISE_FOREVER, &seen) > 0);
    CHECK_INT(seen_ready(&seen, &waker), POISE_WAKE);
    CHECK_INT(poise_watch(queue, poise_fd(fd[1][0]), POISE_WRITABLE | POISE_ONESHOT, &fd[1]), 0);
    CHECK(poise_wait(queue, patience()) > 0);
    poise_wake(&waker);
    CHECK(wait_all(queue, POISE_FOREVER, &seen) > 0);
    CHECK_INT(seen_ready(&seen, &waker), POISE_WAKE);
    CHECK_INT(seen_ready(&seen, &fd[1]), POISE_WRITABLE);
    /* Every wait takes the wakes in, also behind a wake that is left. */
    poise_waker second = { 0 };
    CHECK_INT(poise_waker_open(queue, &second, &second), 0);
    poise_wake(&waker);
    CHECK(poise_wait(queue, POISE_FOREVER) > 0);
    poise_wake(&second);
    CHECK(wait_all(queue, POISE_FOREVER, &seen) > 0);
    CHECK_INT(seen.n, 2);
    CHECK(seen.event[0].data == &waker);
    CHECK(seen.event[1].data == &second);
    poise_waker_close(&second);
    poise_waker_close(&waker);
    poise_close(queue);
    close_pair(fd[0]);
    close_pair(fd[1]);
}

#ifdef __wasi__

TEST(G10, from_a_thread) { SKIP("WASI has no threads"); }
TEST(G10, from_eight_threads) { SKIP("WASI has no threads"); }
TEST(G10, from_a_signal_handler) { SKIP("WASI has no signals"); }
TEST(G10, from_a_storm_of_signals) { SKIP("WASI has no signals"); }

#else

static void pause_ns(long ns)
{
    struct timespec time = { 0, ns };
    nanosleep(&time, NULL);
}

static void *wake_later(void *waker)
{
    pause_ns(20000000);
    poise_wake(waker);
    return NULL;
}

TEST(G10, from_a_thread)
{
    poise *queue = open_queue();
    poise_waker waker = { 0 };
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    for (int i = 0; i < 4; i++) {
        pthread_t thread;
        struct seen seen;
        if (i == 2) /* on nothing but the waker at first, then beside a source */
            CHECK_INT(poise_watch(queue, poise_fd(fd[0]), POISE_READABLE, fd), 0);
        uint64_t start = poise_now();
        MUST(pthread_create(&thread, NULL, wake_later, &waker) == 0);
        CHECK(wait_all(queue, i % 2 == 0 ? POISE_FOREVER : 10 * SECOND, &seen) > 0);
        CHECK_INT(seen_ready(&seen, &waker), POISE_WAKE);
        CHECK_RANGE(poise_now() - start, MS, patience());
        pthread_join(thread, NULL);
    }
    poise_waker_close(&waker);
    poise_close(queue);
    close_pair(fd);
}

enum { THREADS = 8 };

/* Each thread counts, then wakes. What it counted last is seen after an event of its waker, or its last wake was
 * lost. */
struct counting {
    poise_waker *waker; /* its own, or one for two threads */
    _Atomic unsigned counted;
    unsigned rounds;
};

static void *count_and_wake(void *argument)
{
    struct counting *counting = argument;
    for (unsigned i = 0; i < counting->rounds; i++) {
        counting->counted++;
        poise_wake(counting->waker);
        if (i % 64 == 0)
            pause_ns(1000);
    }
    return NULL;
}

static void eight_threads(unsigned wakers)
{
    poise *queue = open_queue();
    poise_waker waker[THREADS];
    struct counting counting[THREADS];
    unsigned seen_last[THREADS] = { 0 };
    pthread_t thread[THREADS];
    poise_timer tick = { 0 };
    unsigned events = 0, done = 0;
    memset(waker, 0, sizeof waker);
    for (unsigned i = 0; i < wakers; i++)
        CHECK_INT(poise_waker_open(queue, &waker[i], &waker[i]), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        counting[i].waker = &waker[i % wakers];
        counting[i].counted = 0;
        counting[i].rounds = scale(5000);
        MUST(pthread_create(&thread[i], NULL, count_and_wake, &counting[i]) == 0);
    }
    while (done < THREADS) {
        poise_event event;
        if (events % 16 == 0)
            CHECK_INT(poise_timer_start(queue, &tick, poise_now() + 100000, &tick), 0);
        CHECK(poise_wait(queue, 10 * SECOND) > 0); /* 0: a wake was lost */
        while (poise_next(queue, &event)) {
            events++;
            if (event.data == &tick)
                continue;
            CHECK_INT(event.ready, POISE_WAKE);
            for (unsigned i = 0; i < THREADS; i++) {
                if (counting[i].waker != event.data || seen_last[i] == counting[i].rounds)
                    continue;
                seen_last[i] = counting[i].counted;
                done += seen_last[i] == counting[i].rounds;
            }
        }
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    for (unsigned i = 0; i < wakers; i++)
        poise_waker_close(&waker[i]);
    poise_close(queue);
}

TEST(G10, from_eight_threads)
{
    CALL(eight_threads(THREADS));
    CALL(eight_threads(3));
    CALL(eight_threads(1));
}

static poise_waker *signalled;
static volatile sig_atomic_t signals, errno_kept;

static void wake_from_handler(int signal_number)
{
    (void)signal_number;
    int before = errno;
    signals = signals + 1;
    poise_wake(signalled);
    errno_kept = errno == before;
}

static void handle(int signal_number)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = wake_from_handler;
    MUST(sigaction(signal_number, &action, NULL) == 0);
}

TEST(G10, from_a_signal_handler)
{
    poise *queue = open_queue();
    poise_waker waker = { 0 };
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    signalled = &waker;
    signals = 0;
    handle(SIGUSR2);
    raise(SIGUSR2); /* before */
    struct seen seen;
    CHECK(wait_all(queue, POISE_FOREVER, &seen) > 0);
    CHECK_INT(seen_ready(&seen, &waker), POISE_WAKE);
    for (int i = 0; i < 3; i++) { /* during */
        struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2 };
        struct itimerspec when = { .it_value = { 0, 15000000 } };
        timer_t timer;
        MUST(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
        MUST(timer_settime(timer, 0, &when, NULL) == 0);
        CHECK(wait_all(queue, POISE_FOREVER, &seen) > 0);
        CHECK_INT(seen_ready(&seen, &waker), POISE_WAKE);
        timer_delete(timer);
    }
    CHECK_INT(signals, 4);
    CHECK(errno_kept);
    poise_waker_close(&waker);
    poise_close(queue);
}

/* Signals that fall into every place of wait and next, while a thread wakes the same waker and another one. */
TEST(G10, from_a_storm_of_signals)
{
    poise *queue = open_queue();
    poise_waker waker[2];
    struct counting counting[2];
    pthread_t thread[2];
    sigset_t mask, old;
    memset(waker, 0, sizeof waker);
    for (int i = 0; i < 2; i++)
        CHECK_INT(poise_waker_open(queue, &waker[i], &waker[i]), 0);
    signalled = &waker[0];
    signals = 0;
    handle(SIGUSR2);
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &mask, &old); /* the handler runs on the thread that waits */
    for (int i = 0; i < 2; i++) {
        counting[i].waker = &waker[i];
        counting[i].counted = 0;
        counting[i].rounds = scale(2000);
        MUST(pthread_create(&thread[i], NULL, count_and_wake, &counting[i]) == 0);
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2 };
    struct itimerspec when = { .it_value = { 0, 20000 }, .it_interval = { 0, 20000 } };
    timer_t timer;
    MUST(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    MUST(timer_settime(timer, 0, &when, NULL) == 0);
    uint64_t end = poise_now() + (uint64_t)(10 * SECOND);
    int heard = 0, last = 0;
    unsigned finished = 0;
    while ((heard < 300 || finished < counting[1].rounds) && poise_now() < end) {
        struct seen seen;
        int result = wait_all(queue, SECOND, &seen);
        if (result <= 0)
            break;
        if (seen_count(&seen, &waker[1]) != 0)
            finished = counting[1].counted;
        heard += signals != last && seen_count(&seen, &waker[0]) != 0;
        last = signals;
    }
    timer_delete(timer);
    CHECK(heard >= 300);
    CHECK_INT(finished, counting[1].rounds);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    struct seen seen;
    while (wait_all(queue, 0, &seen) > 0)
        ;
    raise(SIGUSR2); /* after all that, it still works */
    CHECK(wait_all(queue, patience(), &seen) > 0);
    CHECK_INT(seen_ready(&seen, &waker[0]), POISE_WAKE);
    for (int i = 0; i < 2; i++)
        poise_waker_close(&waker[i]);
    poise_close(queue);
}

#endif
