/* N: a queue inside another event loop. Everything arrives there, and the loop does not spin meanwhile: how often it was
 * about to wait is counted, not how long anything takes. */
#include "nested.h"

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

enum { IN = POISE_READABLE, PAIRS = 8, BYTES = 50, TIMERS = 100, WAKES = 50, OUTSIDE = 10 };

static poise *nested;
static int served; /* calls of the serve function */

static void serve_all(poise *queue)
{
    served++;
    MUST(poise_dispatch(queue, 0) >= 0);
}

/* The other backends have no descriptor. */
static poise *open_nested(void) { return open_queue_with((poise_options){ .backend = "epoll" }); }

static void nonblocking_pair(int fd[2]) { MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) == 0); }

/* ---- everything at once ------------------------------------------------------------------------------------------ */

static struct {
    poise_handler readable[PAIRS], fed, fired, woken, from_outside;
    int fd[PAIRS][2];
    poise_interval feed;
    poise_timer timer[TIMERS], far, outside;
    poise_waker waker;
    int bytes_sent, bytes, timers, early, outside_started, outside_fired;
    unsigned handed_over, wakes_seen; /* by the thread; by the loop */
} all;

static void stop_if_complete(void)
{
    if (all.bytes == BYTES && all.timers == TIMERS && all.wakes_seen == WAKES && all.outside_fired == OUTSIDE)
        outer_stop();
}

static void on_readable(poise_handler *handler, poise *queue, const poise_event *event)
{
    (void)queue, (void)event;
    char bytes[64];
    ssize_t n = read(all.fd[handler - all.readable][0], bytes, sizeof bytes);
    all.bytes += n > 0 ? (int)n : 0;
    stop_if_complete();
}

static void on_feed(poise_handler *handler, poise *queue, const poise_event *event)
{
    (void)handler, (void)event;
    MUST(write(all.fd[all.bytes_sent++ % PAIRS][1], "x", 1) == 1);
    if (all.bytes_sent == BYTES)
        (void)poise_interval_stop(queue, &all.feed);
}

static void on_timer(poise_handler *handler, poise *queue, const poise_event *event)
{
    (void)handler, (void)queue, (void)event;
    all.early += poise_now() < all.timer[all.timers].deadline_ns; /* they come in order (G9) */
    all.timers++;
    stop_if_complete();
}

static void on_wake(poise_handler *handler, poise *queue, const poise_event *event)
{
    (void)handler, (void)queue, (void)event;
    all.wakes_seen = __atomic_load_n(&all.handed_over, __ATOMIC_ACQUIRE);
    stop_if_complete();
}

static void on_outside_timer(poise_handler *handler, poise *queue, const poise_event *event)
{
    (void)handler, (void)queue, (void)event;
    all.outside_fired++;
    stop_if_complete();
}

/* The outer loop's own timer starts one of the queue, which has nothing to do with poise_dispatch. */
static void start_outside(void)
{
    if (all.outside_fired == all.outside_started && all.outside_started < OUTSIDE) {
        all.outside_started++;
        MUST(poise_timer_start(nested, &all.outside, poise_now() + 500000, &all.from_outside) == 0);
    }
    if (all.outside_fired < OUTSIDE)
        outer_after(2, start_outside);
}

static void *wake_from_a_thread(void *unused)
{
    for (int i = 0; i < WAKES; i++) {
        __atomic_fetch_add(&all.handed_over, 1, __ATOMIC_RELEASE);
        poise_wake(&all.waker);
        usleep(500); /* so that the loop goes back to its wait, most times */
    }
    return unused;
}

TEST(N, everything_arrives_in_the_outer_loop)
{
    poise *queue = nested = open_nested();
    memset(&all, 0, sizeof all);
    all.fed.call = on_feed;
    all.fired.call = on_timer;
    all.woken.call = on_wake;
    all.from_outside.call = on_outside_timer;
    for (int i = 0; i < PAIRS; i++) {
        all.readable[i].call = on_readable;
        nonblocking_pair(all.fd[i]);
        CHECK_INT(poise_watch(queue, poise_fd(all.fd[i][0]), IN, &all.readable[i]), 0);
    }
    uint64_t now = poise_now();
    for (int i = 0; i < TIMERS; i++)
        CHECK_INT(poise_timer_start(queue, &all.timer[i], now + (uint64_t)i * 700000, &all.fired), 0);
    CHECK_INT(poise_timer_start(queue, &all.far, now + (uint64_t)(3600 * SECOND), NULL), 0);
    CHECK_INT(poise_interval_start(queue, &all.feed, now, 1000000, &all.fed), 0);
    CHECK_INT(poise_waker_open(queue, &all.waker, &all.woken), 0);
    outer_open(queue, serve_all);
    outer_after(2, start_outside);
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, wake_from_a_thread, NULL) == 0);
    outer_run();
    pthread_join(thread, NULL);
    CHECK_INT(all.bytes, BYTES);
    CHECK_INT(all.timers, TIMERS);
    CHECK_INT(all.early, 0);
    CHECK_INT(all.wakes_seen, WAKES);
    CHECK_INT(all.outside_fired, OUTSIDE);
    /* Each event and each timer of the outer loop is good for a turn; a deadline in whole milliseconds for one more. A
     * loop that spins takes tens of thousands in the 70 ms that this lasts at least. */
    CHECK_RANGE(outer_turns(), 1, 3 * (2 * BYTES + TIMERS + WAKES + 20 * OUTSIDE));
    outer_close();
    poise_waker_close(&all.waker);
    poise_close(queue);
    for (int i = 0; i < PAIRS; i++) {
        close(all.fd[i][0]);
        close(all.fd[i][1]);
    }
}

/* ---- one thing at a time ----------------------------------------------------------------------------------------- */

static poise_handler idle_handler, taken_handler;
static poise_timer timers[3];
static int pair[2], taken;

static void nobody_calls(poise_handler *handler, poise *queue, const poise_event *event)
{
    (void)handler, (void)queue, (void)event;
    test_failed(__FILE__, __LINE__, "an event of a source that is idle");
}

/* A queue that has much to wait for and nothing to do lets the outer loop sleep. */
TEST(N, idle)
{
    poise *queue = nested = open_nested();
    served = 0;
    idle_handler.call = nobody_calls;
    memset(timers, 0, sizeof timers);
    nonblocking_pair(pair);
    CHECK_INT(poise_watch(queue, poise_fd(pair[0]), IN, &idle_handler), 0);
    CHECK_INT(poise_watch(queue, poise_fd(pair[1]), IN, &idle_handler), 0);
    CHECK_INT(poise_timer_start(queue, &timers[0], poise_now() + (uint64_t)(3600 * SECOND), &idle_handler), 0);
    outer_open(queue, serve_all);
    outer_after(300, outer_stop);
    outer_run();
    CHECK_RANGE(outer_turns(), 1, 4);
    CHECK_RANGE(served, 0, 1);
    outer_close();
    poise_close(queue);
    close(pair[0]);
    close(pair[1]);
}

/* What is left untaken has no descriptor: poise_deadline says "now" until it has been taken. */
static void take_one(poise *queue)
{
    poise_event event;
    MUST(poise_wait(queue, 0) >= 0);
    if (poise_next(queue, &event) && ++taken == 3)
        outer_stop();
}

TEST(N, events_that_are_taken_one_by_one)
{
    poise *queue = nested = open_nested();
    taken = 0;
    memset(timers, 0, sizeof timers);
    for (int i = 0; i < 3; i++)
        CHECK_INT(poise_timer_start(queue, &timers[i], poise_now(), &timers[i]), 0);
    outer_open(queue, take_one);
    outer_run();
    CHECK_INT(taken, 3);
    CHECK_RANGE(outer_turns(), 3, 8);
    outer_close();
    poise_close(queue);
}

/* A post, too: here by the outer loop's own timer, which has nothing to do with the queue's descriptor. */
static void post(void) { MUST(poise_post(nested, poise_fd(pair[0]), IN) == 0); }

static void take_post(poise_handler *handler, poise *queue, const poise_event *event)
{
    (void)handler, (void)queue;
    taken += (event->ready & IN) != 0;
    outer_stop();
}

TEST(N, post)
{
    poise *queue = nested = open_nested();
    taken = 0;
    taken_handler.call = take_post;
    nonblocking_pair(pair);
    CHECK_INT(poise_watch(queue, poise_fd(pair[0]), IN, &taken_handler), 0);
    outer_open(queue, serve_all);
    outer_after(20, post);
    outer_run();
    CHECK_INT(taken, 1);
    CHECK_RANGE(outer_turns(), 1, 6);
    outer_close();
    poise_close(queue);
    close(pair[0]);
    close(pair[1]);
}

/* Without any timer: the descriptor alone tells of a source, and then of a wake by a thread that is no loop's. */
static poise_waker waker;
static pthread_t thread;
static poise_handler woken_handler;

static void send_outside(void) { MUST(write(pair[1], "x", 1) == 1); }

static void *wake_once(void *unused)
{
    usleep(20000); /* the loop waits by then, most likely */
    poise_wake(&waker);
    return unused;
}

static void take_byte(poise_handler *handler, poise *queue, const poise_event *event)
{
    (void)handler, (void)queue, (void)event;
    char byte;
    if (read(pair[0], &byte, 1) == 1 && ++taken == 1)
        MUST(pthread_create(&thread, NULL, wake_once, NULL) == 0);
}

static void take_wake(poise_handler *handler, poise *queue, const poise_event *event)
{
    (void)handler, (void)queue;
    taken += event->ready == POISE_WAKE;
    outer_stop();
}

TEST(N, source_and_waker_without_a_timer)
{
    poise *queue = nested = open_nested();
    taken = 0;
    memset(&waker, 0, sizeof waker);
    taken_handler.call = take_byte;
    woken_handler.call = take_wake;
    nonblocking_pair(pair);
    CHECK_INT(poise_watch(queue, poise_fd(pair[0]), IN, &taken_handler), 0);
    CHECK_INT(poise_waker_open(queue, &waker, &woken_handler), 0);
    outer_open(queue, serve_all);
    outer_after(20, send_outside);
    outer_run();
    pthread_join(thread, NULL);
    CHECK_INT(taken, 2);
    CHECK_RANGE(outer_turns(), 2, 8);
    outer_close();
    poise_waker_close(&waker);
    poise_close(queue);
    close(pair[0]);
    close(pair[1]);
}

/* A timer that is stopped and one that is started nearer change the deadline that the loop waits for. */
static void change_timers(void)
{
    MUST(poise_timer_stop(nested, &timers[0]));
    MUST(poise_timer_start(nested, &timers[1], poise_now() + (uint64_t)(20 * MS), &taken_handler) == 0);
}

static void take_timer(poise_handler *handler, poise *queue, const poise_event *event)
{
    (void)handler, (void)queue;
    taken += event->ready == POISE_TIMER;
    outer_stop();
}

TEST(N, timers_that_change)
{
    poise *queue = nested = open_nested();
    taken = 0;
    idle_handler.call = nobody_calls;
    taken_handler.call = take_timer;
    memset(timers, 0, sizeof timers);
    uint64_t now = poise_now();
    CHECK_INT(poise_timer_start(queue, &timers[0], now + (uint64_t)(10 * SECOND), &idle_handler), 0);
    CHECK_INT(poise_timer_start(queue, &timers[1], now + (uint64_t)(3600 * SECOND), &taken_handler), 0);
    outer_open(queue, serve_all);
    outer_after(20, change_timers);
    outer_run();
    CHECK_INT(taken, 1);
    CHECK(poise_now() >= timers[1].deadline_ns);
    CHECK_RANGE(outer_turns(), 2, 8);
    outer_close();
    poise_close(queue);
}
