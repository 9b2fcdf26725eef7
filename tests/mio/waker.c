/* mio's tests/waker.rs */
#include "kit.h"

/* Waits for the waker's event, and for nothing else. */
static bool waker_event_comes(poise *queue, const poise_waker *waker)
{
    struct seen seen;
    return wait_all(queue, patience(), &seen) > 0 && seen.n == 1 && seen_ready(&seen, waker) == POISE_WAKE;
}

TEST(waker, waker)
{
    poise *queue = open_queue();
    poise_waker waker = { 0 };
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    poise_wake(&waker);
    bool came = waker_event_comes(queue, &waker);
    poise_waker_close(&waker);
    poise_close(queue);
    POINT(came);
}

TEST(waker, waker_multiple_wakeups_same_thread)
{
    poise *queue = open_queue();
    poise_waker waker = { 0 };
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    for (int i = 0; i < 3; i++)
        poise_wake(&waker);
    bool came = waker_event_comes(queue, &waker), silence = quiet(queue);
    poise_waker_close(&waker);
    poise_close(queue);
    POINT(came && silence);
}

#ifdef __wasi__

TEST(waker, waker_wakeup_different_thread) { SKIP("WASI has no threads"); }
TEST(waker, waker_multiple_wakeups_different_thread) { SKIP("WASI has no threads"); }

#else

#include <pthread.h>

static void *wake(void *waker)
{
    poise_wake(waker);
    return NULL;
}

TEST(waker, waker_wakeup_different_thread)
{
    poise *queue = open_queue();
    poise_waker waker = { 0 };
    pthread_t thread;
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    MUST(pthread_create(&thread, NULL, wake, &waker) == 0);
    bool came = waker_event_comes(queue, &waker), silence = quiet(queue);
    MUST(pthread_join(thread, NULL) == 0);
    poise_waker_close(&waker);
    poise_close(queue);
    POINT(came && silence);
}

struct delayed {
    poise_waker *waker;
    pthread_barrier_t barrier;
};

static void *wake_behind_barrier(void *of)
{
    struct delayed *delayed = of;
    pthread_barrier_wait(&delayed->barrier);
    poise_wake(delayed->waker);
    return NULL;
}

TEST(waker, waker_multiple_wakeups_different_thread)
{
    poise *queue = open_queue();
    poise_waker waker = { 0 };
    struct delayed delayed = { .waker = &waker };
    pthread_t threads[2];
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    MUST(pthread_barrier_init(&delayed.barrier, NULL, 2) == 0);
    MUST(pthread_create(&threads[0], NULL, wake, &waker) == 0);
    MUST(pthread_create(&threads[1], NULL, wake_behind_barrier, &delayed) == 0);
    bool first = waker_event_comes(queue, &waker);
    pthread_barrier_wait(&delayed.barrier);
    bool second = waker_event_comes(queue, &waker), silence = quiet(queue);
    for (int i = 0; i < 2; i++)
        MUST(pthread_join(threads[i], NULL) == 0);
    pthread_barrier_destroy(&delayed.barrier);
    poise_waker_close(&waker);
    poise_close(queue);
    CHECK(first);
    POINT(second && silence);
}

#endif

/* Of two wakers each comes out alone when it alone is woken, and both when both are. */
static bool each_has_its_own_event(poise *queue, poise_waker *one, poise_waker *other)
{
    poise_wake(one);
    bool alone = waker_event_comes(queue, one);
    poise_wake(other);
    poise_wake(one);
    struct seen seen;
    int n = wait_all(queue, patience(), &seen);
    return alone && n > 0 && seen.n == 2 && seen_ready(&seen, one) == POISE_WAKE &&
           seen_ready(&seen, other) == POISE_WAKE;
}

/* G10: a queue has as many wakers as one likes. */
TEST(waker, using_multiple_wakers_panics)
{
    poise *queue = open_queue();
    poise_waker first = { 0 }, second = { 0 };
    CHECK_INT(poise_waker_open(queue, &first, &first), 0);
    CHECK_INT(poise_waker_open(queue, &second, &second), 0);
    bool came = each_has_its_own_event(queue, &first, &second);
    poise_waker_close(&first);
    poise_waker_close(&second);
    poise_close(queue);
    POINT(came);
}

/* A queue's registry is its pointer, which is copied like any other. */
TEST(waker, using_multiple_wakers_panics_different_cloned_registries)
{
    poise *queue = open_queue(), *registry1 = queue, *registry2 = queue;
    poise_waker first = { 0 }, second = { 0 };
    CHECK_INT(poise_waker_open(registry1, &first, &first), 0);
    CHECK_INT(poise_waker_open(registry2, &second, &second), 0);
    bool came = each_has_its_own_event(queue, &second, &first);
    poise_waker_close(&first);
    poise_waker_close(&second);
    poise_close(queue);
    POINT(came);
}
