/* L: poise/loop.h. Handlers that undo things while they are dispatched, and repeating timers: these are tried by what
 * their deadlines are, not by how long anything takes. */
#include "test.h"

#include <poise/loop.h>
#include <poise/net.h>

#include <unistd.h>

enum { IN = POISE_READABLE };

/* A handler of one author: not the first member, counts, and then does what the test wants. */
struct probe {
    int calls;
    uint32_t ready;
    bool data_is_handler;
    poise *queue; /* it was called with */
    poise_handler handler;
    void (*act)(struct probe *probe, poise *queue);
    poise_timer timer;
    poise_waker waker;
    poise_interval interval;
    struct probe *other;
    int fd[2];
    bool stop;
    bool stopped; /* what a stop has returned */
    int result;
};

static struct probe *probe_of(poise_handler *handler)
{
    return (struct probe *)((char *)handler - offsetof(struct probe, handler));
}

static void note(poise_handler *handler, poise *queue, const poise_event *event)
{
    struct probe *probe = probe_of(handler);
    probe->calls++;
    probe->ready = event->ready;
    probe->data_is_handler = event->data == handler;
    probe->queue = queue;
    if (probe->act != NULL)
        probe->act(probe, queue);
}

static struct probe *probe_new(void)
{
    struct probe *probe = calloc(1, sizeof *probe);
    MUST(probe != NULL);
    probe->handler.call = note;
    return probe;
}

/* Two probes that know each other: with a timer each that is due, or a waker each that was woken. */
static void two(struct probe *probe[2])
{
    probe[0] = probe_new();
    probe[1] = probe_new();
    probe[0]->other = probe[1];
    probe[1]->other = probe[0];
}

static void two_timers(poise *queue, struct probe *probe[2])
{
    two(probe);
    for (int i = 0; i < 2; i++)
        MUST(poise_timer_start(queue, &probe[i]->timer, 0, &probe[i]->handler) == 0);
}

static void two_wakers(poise *queue, struct probe *probe[2])
{
    two(probe);
    for (int i = 0; i < 2; i++) {
        MUST(poise_waker_open(queue, &probe[i]->waker, &probe[i]->handler) == 0);
        poise_wake(&probe[i]->waker);
    }
}

/* Two sockets with a byte to read each. */
static void two_sockets(poise *queue, struct probe *probe[2])
{
    two(probe);
    for (int i = 0; i < 2; i++) {
        tcp_pair(probe[i]->fd);
        send_byte(probe[i]->fd[1]);
        await_readable(probe[i]->fd[0]);
        MUST(poise_watch(queue, poise_fd(probe[i]->fd[0]), IN, &probe[i]->handler) == 0);
    }
}

static void free_both(struct probe *probe[2])
{
    free(probe[0]);
    free(probe[1]);
}

static int calls_of(struct probe *probe[2]) { return probe[0]->calls + probe[1]->calls; }

/* ---- dispatching ------------------------------------------------------------------------------------------------- */

TEST(L, dispatch_calls_each_handler)
{
    poise *queue = open_queue();
    struct probe *probe[2];
    two_timers(queue, probe);
    CHECK_INT(poise_dispatch(queue, patience()), 2);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(probe[i]->calls, 1);
        CHECK_INT(probe[i]->ready, POISE_TIMER);
        CHECK(probe[i]->data_is_handler);
        CHECK(probe[i]->queue == queue);
    }
    CHECK_INT(poise_dispatch(queue, 0), 0); /* the time is up */
    CHECK_INT(poise_dispatch(queue, 10 * MS), 0);
    CHECK_INT(calls_of(probe), 2);
    poise_close(queue);
    free_both(probe);
}

TEST(L, dispatch_waits_once)
{
    poise *queue = open_queue();
    struct probe *probe[2];
    two_timers(queue, probe);
    MUST(poise_timer_start(queue, &probe[1]->timer, poise_now() + (uint64_t)(3600 * SECOND), &probe[1]->handler) == 0);
    CHECK_INT(poise_dispatch(queue, POISE_FOREVER), 1); /* and not until the time is up */
    CHECK_INT(poise_dispatch(queue, 10 * MS), 0);
    CHECK_INT(probe[0]->calls, 1);
    CHECK_INT(probe[1]->calls, 0);
    poise_close(queue);
    free_both(probe);
}

TEST(L, data_null_calls_nobody)
{
    poise *queue = open_queue();
    struct probe *probe[2];
    two_timers(queue, probe);
    MUST(poise_timer_start(queue, &probe[0]->timer, 0, NULL) == 0);
    CHECK_INT(poise_dispatch(queue, patience()), 1);
    CHECK_INT(probe[0]->calls, 0);
    CHECK_INT(probe[1]->calls, 1);
    MUST(poise_timer_start(queue, &probe[0]->timer, 0, NULL) == 0);
    CHECK_INT(poise_dispatch(queue, patience()), 0);
    poise_close(queue);
    free_both(probe);
}

/* Another author's kind of handler: the first member, with data of its own. */
struct echo {
    poise_handler handler;
    int fd;
    size_t echoed;
    bool ended;
};

static void echo_ready(poise_handler *handler, poise *queue, const poise_event *event)
{
    struct echo *echo = (struct echo *)handler;
    char bytes[64];
    ptrdiff_t n = (event->ready & IN) != 0 ? poise_recv(echo->fd, bytes, sizeof bytes) : -EAGAIN;
    if (n == -EAGAIN)
        return;
    echo->ended = n <= 0;
    if (echo->ended)
        (void)poise_unwatch(queue, poise_fd(echo->fd));
    else if (poise_send(echo->fd, bytes, (size_t)n) == n)
        echo->echoed += (size_t)n;
}

TEST(L, two_authors_share_a_queue)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    struct probe *timed[2], *woken[2];
    struct echo echo = { .handler = { echo_ready } };
    int fd[2];
    tcp_pair(fd);
    echo.fd = fd[0];
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, &echo.handler), 0);
    two_timers(queue, timed);
    two_wakers(queue, woken);
    send_bytes(fd[1], 5);
    uint64_t end = poise_now() + (uint64_t)patience();
    while ((echo.echoed < 5 || calls_of(timed) + calls_of(woken) < 4) && poise_now() < end)
        CHECK(poise_dispatch(queue, patience()) >= 0);
    CHECK_INT(echo.echoed, 5);
    CHECK_INT(calls_of(timed), 2);
    CHECK_INT(calls_of(woken), 2);
    CHECK_INT(woken[0]->ready, POISE_WAKE);
    CHECK_INT(drain_exactly(fd[1], 5), 5);
    MUST(poise_shutdown(fd[1], SHUT_WR) == 0);
    while (!echo.ended && poise_now() < end)
        CHECK(poise_dispatch(queue, patience()) >= 0);
    CHECK(echo.ended);
    CHECK_INT(poise_dispatch(queue, 10 * MS), 0);
    poise_close(queue);
    close_pair(fd);
    free_both(timed);
    free_both(woken);
}

/* ---- handlers that undo things ----------------------------------------------------------------------------------- */

static void unwatch_both(struct probe *probe, poise *queue)
{
    (void)poise_unwatch(queue, poise_fd(probe->fd[0]));
    (void)poise_unwatch(queue, poise_fd(probe->other->fd[0]));
}

TEST(L, unwatches_itself_and_another_that_was_gathered)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    struct probe *probe[2];
    two_sockets(queue, probe);
    probe[0]->act = probe[1]->act = unwatch_both;
    CHECK(poise_wait(queue, patience()) > 0); /* both are gathered, most likely in this one */
    CHECK_INT(poise_dispatch(queue, patience()), 1);
    CHECK_INT(poise_dispatch(queue, 10 * MS), 0);
    CHECK_INT(calls_of(probe), 1);
    poise_close(queue);
    for (int i = 0; i < 2; i++)
        close_pair(probe[i]->fd);
    free_both(probe);
}

static int freed;

static void free_this_one(struct probe *probe, poise *queue)
{
    if (probe->fd[1] != 0) {
        (void)poise_unwatch(queue, poise_fd(probe->fd[0]));
        close_pair(probe->fd);
    }
    (void)poise_timer_stop(queue, &probe->timer);
    poise_waker_close(&probe->waker);
    memset(probe, 0xa5, sizeof *probe); /* a call, or a look at it, does not go unnoticed without a sanitizer either */
    free(probe);
    freed++;
}

static void free_both_of_them(struct probe *probe, poise *queue)
{
    free_this_one(probe->other, queue);
    free_this_one(probe, queue);
}

static void frees(struct probe *probe[2], poise *queue)
{
    freed = 0;
    probe[0]->act = probe[1]->act = free_this_one;
    while (freed < 2)
        CHECK(poise_dispatch(queue, patience()) > 0);
    CHECK_INT(poise_dispatch(queue, 10 * MS), 0);
}

TEST(L, frees_itself)
{
    poise *queue = open_queue();
    struct probe *probe[2];
    two_timers(queue, probe);
    CALL(frees(probe, queue));
    two_wakers(queue, probe);
    CALL(frees(probe, queue));
    if (has_sockets()) {
        two_sockets(queue, probe);
        CALL(frees(probe, queue));
    }
    poise_close(queue);
}

/* Whichever comes first frees both: the other one's event has been gathered. */
static void frees_both(struct probe *probe[2], poise *queue)
{
    freed = 0;
    probe[0]->act = probe[1]->act = free_both_of_them;
    CHECK_INT(poise_dispatch(queue, patience()), 1);
    CHECK_INT(freed, 2);
    CHECK_INT(poise_dispatch(queue, 10 * MS), 0);
}

TEST(L, frees_another_that_was_gathered)
{
    poise *queue = open_queue();
    struct probe *probe[2];
    two_timers(queue, probe);
    CALL(frees_both(probe, queue));
    two_wakers(queue, probe);
    CALL(frees_both(probe, queue));
    if (has_sockets()) {
        two_sockets(queue, probe);
        CALL(frees_both(probe, queue));
    }
    poise_close(queue);
}

static void stop_the_others_timer(struct probe *probe, poise *queue)
{
    probe->stopped = poise_timer_stop(queue, &probe->other->timer);
}

TEST(L, stops_anothers_timer)
{
    poise *queue = open_queue();
    struct probe *probe[2];
    two_timers(queue, probe);
    probe[0]->act = probe[1]->act = stop_the_others_timer;
    CHECK_INT(poise_dispatch(queue, patience()), 1);
    CHECK_INT(poise_dispatch(queue, 10 * MS), 0);
    CHECK_INT(probe[0]->calls, 1); /* ties come in the order of their start (G9) */
    CHECK(probe[0]->stopped);
    CHECK_INT(probe[1]->calls, 0);
    poise_close(queue);
    free_both(probe);
}

static void close_the_others_waker(struct probe *probe, poise *queue)
{
    (void)queue;
    poise_waker_close(&probe->other->waker);
}

TEST(L, closes_anothers_waker)
{
    poise *queue = open_queue();
    struct probe *probe[2];
    two_wakers(queue, probe);
    probe[0]->act = probe[1]->act = close_the_others_waker;
    CHECK_INT(poise_dispatch(queue, patience()), 1);
    CHECK_INT(poise_dispatch(queue, 10 * MS), 0);
    CHECK_INT(calls_of(probe), 1);
    poise_close(queue);
    free_both(probe);
}

/* The number of a descriptor that a handler has closed is another's at once: its handler gets no event of the old. */
static void replace_the_others(struct probe *probe, poise *queue)
{
    struct probe *other = probe->other;
    if (probe->calls > 1)
        return;
    (void)poise_unwatch(queue, poise_fd(other->fd[0]));
    (void)poise_unwatch(queue, poise_fd(probe->fd[0]));
    close_pair(other->fd);
    tcp_pair(other->fd); /* nothing to read */
    probe->result = poise_watch(queue, poise_fd(other->fd[0]), IN, &other->handler);
}

TEST(L, closes_and_opens_anothers_descriptor)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    struct probe *probe[2];
    two_sockets(queue, probe);
    probe[0]->act = probe[1]->act = replace_the_others;
    CHECK(poise_wait(queue, patience()) > 0);
    CHECK_INT(poise_dispatch(queue, patience()), 1);
    CHECK_INT(calls_of(probe), 1);
    struct probe *other = probe[0]->calls == 1 ? probe[1] : probe[0];
    CHECK_INT(other->other->result, 0);
    settle(queue);
    other->act = NULL;
    send_byte(other->fd[1]);
    CHECK(poise_dispatch(queue, patience()) > 0);
    CHECK(other->calls > 0);
    poise_close(queue);
    for (int i = 0; i < 2; i++)
        close_pair(probe[i]->fd);
    free_both(probe);
}

static void start_anew(struct probe *probe, poise *queue)
{
    if (probe->calls < 5)
        probe->result = poise_timer_start(queue, &probe->timer, 0, &probe->handler);
}

TEST(L, starts_its_timer_anew)
{
    poise *queue = open_queue();
    struct probe *probe[2];
    two_timers(queue, probe);
    (void)poise_timer_stop(queue, &probe[1]->timer);
    probe[0]->act = start_anew;
    for (int i = 0; i < 5; i++) /* each time for the next wait, though the deadline has passed */
        CHECK_INT(poise_dispatch(queue, patience()), 1);
    CHECK_INT(poise_dispatch(queue, 10 * MS), 0);
    CHECK_INT(probe[0]->calls, 5);
    CHECK_INT(probe[0]->result, 0);
    poise_close(queue);
    free_both(probe);
}

static void dispatch_within(struct probe *probe, poise *queue) { probe->result = poise_dispatch(queue, 0); }

TEST(L, dispatches_in_a_handler)
{
    poise *queue = open_queue();
    struct probe *probe[2];
    two_timers(queue, probe);
    probe[0]->act = dispatch_within;
    CHECK_INT(poise_dispatch(queue, patience()), 1); /* the other was called by the inner one */
    CHECK_INT(probe[0]->result, 1);
    CHECK_INT(probe[0]->calls, 1);
    CHECK_INT(probe[1]->calls, 1);
    poise_close(queue);
    free_both(probe);
}

static void dispatch_and_touch_nothing(struct probe *probe, poise *queue)
{
    (void)probe;
    (void)poise_dispatch(queue, 0);
}

TEST(L, freed_by_a_dispatch_within_its_call)
{
    poise *queue = open_queue();
    struct probe *probe[2];
    two_timers(queue, probe);
    freed = 0;
    probe[0]->act = dispatch_and_touch_nothing;
    probe[1]->act = free_both_of_them;
    CHECK_INT(poise_dispatch(queue, patience()), 1);
    CHECK_INT(freed, 2);
    check_unharmed(queue);
    poise_close(queue);
}

/* ---- poise_run --------------------------------------------------------------------------------------------------- */

static void stop_now(struct probe *probe, poise *queue)
{
    (void)queue;
    probe->stop = true;
}

TEST(L, run_looks_at_stop_first)
{
    poise *queue = open_queue();
    struct probe *probe[2];
    two_timers(queue, probe);
    poise_event event;
    probe[0]->stop = true;
    CHECK_INT(poise_run(queue, &probe[0]->stop), 0);
    CHECK(!poise_next(queue, &event)); /* it has not even waited */
    CHECK(poise_wait(queue, 0) > 0);
    CHECK_INT(poise_run(queue, &probe[0]->stop), 0); /* nor does it take what is gathered */
    CHECK_INT(calls_of(probe), 0);
    CHECK_INT(poise_dispatch(queue, 0), 2);
    poise_close(queue);
    free_both(probe);
}

TEST(L, run_stops_after_a_handler)
{
    poise *queue = open_queue();
    struct probe *probe[2];
    two_timers(queue, probe);
    probe[0]->act = stop_now;
    CHECK_INT(poise_run(queue, &probe[0]->stop), 0);
    CHECK_INT(probe[0]->calls, 1);
    CHECK_INT(probe[1]->calls, 0);
    CHECK_INT(poise_dispatch(queue, 0), 1); /* what was left is not lost */
    CHECK_INT(probe[1]->calls, 1);
    poise_close(queue);
    free_both(probe);
}

static void restart_until_the_fifth(struct probe *probe, poise *queue)
{
    start_anew(probe, queue);
    probe->stop = probe->calls == 5;
}

TEST(L, run_waits_again_and_again)
{
    poise *queue = open_queue();
    struct probe *probe[2];
    two_timers(queue, probe);
    probe[0]->act = restart_until_the_fifth;
    CHECK_INT(poise_run(queue, &probe[0]->stop), 0);
    CHECK_INT(probe[0]->calls, 5);
    CHECK_INT(probe[1]->calls, 1);
    poise_close(queue);
    free_both(probe);
}

TEST(L, run_sleeps)
{
    poise *queue = open_queue();
    struct probe *probe[2];
    two_timers(queue, probe);
    probe[0]->act = stop_now;
    int64_t before = cpu_time();
    CHECK_INT(poise_timer_start(queue, &probe[0]->timer, poise_now() + 300 * (uint64_t)MS, &probe[0]->handler), 0);
    CHECK_INT(poise_run(queue, &probe[0]->stop), 0);
    CHECK_RANGE(cpu_time() - before, 0, 20 * MS); /* who spins may get little more on a busy machine */
    poise_close(queue);
    free_both(probe);
}

static void close_the_queue(struct probe *probe, poise *queue)
{
    probe->stop = true;
    poise_close(queue);
}

TEST(L, run_with_a_handler_that_closes_the_queue)
{
    struct probe *probe[2];
    struct memory memory = { 0 };
    poise *queue = open_queue_with((poise_options){ .realloc = memory_realloc, .context = &memory });
    two_timers(queue, probe); /* the second one is gathered and never dispatched */
    probe[0]->act = close_the_queue;
    CHECK_INT(poise_run(queue, &probe[0]->stop), 0);
    CHECK_INT(calls_of(probe), 1);
    CHECK_INT(memory.live, 0);
    free_both(probe);
}

static void run_within(struct probe *probe, poise *queue)
{
    if (probe->calls > 1)
        return;
    MUST(poise_timer_start(queue, &probe->timer, 0, &probe->handler) == 0);
    probe->result = poise_run(queue, &probe->other->stop);
    probe->stop = true;
}

TEST(L, run_in_a_handler_of_run)
{
    poise *queue = open_queue();
    struct probe *probe[2];
    two_timers(queue, probe);
    probe[0]->act = run_within;
    probe[0]->result = 1;
    probe[1]->act = stop_now;
    CHECK_INT(poise_run(queue, &probe[0]->stop), 0);
    CHECK_INT(probe[0]->result, 0);
    CHECK_INT(calls_of(probe), 2); /* the outer one has stopped before the second event of the first */
    CHECK_INT(poise_dispatch(queue, 0), 1);
    poise_close(queue);
    free_both(probe);
}

static void close_in_both_runs(struct probe *probe, poise *queue)
{
    probe->other->stop = true;
    close_the_queue(probe, queue);
}

static void run_within_to_the_end(struct probe *probe, poise *queue)
{
    probe->result = poise_run(queue, &probe->other->stop);
}

TEST(L, run_in_a_handler_of_run_that_closes_the_queue)
{
    poise *queue = open_queue();
    struct probe *probe[2];
    two_timers(queue, probe);
    probe[0]->act = run_within_to_the_end;
    probe[0]->result = 1;
    probe[1]->act = close_in_both_runs;
    CHECK_INT(poise_run(queue, &probe[0]->stop), 0);
    CHECK_INT(probe[0]->result, 0);
    CHECK_INT(calls_of(probe), 2);
    free_both(probe);
}

TEST(L, errors)
{
    poise *queue = open_queue();
    bool stop = false;
    CHECK_INT(poise_dispatch(NULL, 0), -EINVAL);
    CHECK_INT(poise_dispatch(NULL, POISE_FOREVER), -EINVAL);
    CHECK_INT(poise_run(NULL, &stop), -EINVAL);
    CHECK_INT(poise_run(queue, NULL), -EINVAL);
    CHECK_INT(poise_run(NULL, NULL), -EINVAL);
    if (on_wasi()) { /* elsewhere these wait: a thread may still wake them */
        struct probe *probe[2];
        CHECK_INT(poise_dispatch(queue, POISE_FOREVER), -EDEADLK);
        two_timers(queue, probe);
        CHECK_INT(poise_run(queue, &stop), -EDEADLK); /* once both have been called */
        CHECK_INT(calls_of(probe), 2);
        free_both(probe);
    }
    check_unharmed(queue);
    poise_close(queue);
}

/* ---- repeating timers -------------------------------------------------------------------------------------------- */

/* Reads the clock until it says at least so much. */
static void until(uint64_t ns)
{
    while (poise_now() < ns) {}
}

static void stop_at_the_twentieth(struct probe *probe, poise *queue)
{
    probe->stop = probe->calls == 20;
    if (probe->calls == 7) /* one that takes long, so that some calls are missed, in a queue that is otherwise idle */
        until(probe->interval.timer.deadline_ns + 3 * probe->interval.interval_ns);
    (void)queue;
}

/* What makes up for whatever this machine is busy with: each call that was left out is counted. */
struct sum {
    struct probe probe;
    uint64_t first, missed;
    int wrong; /* calls after which the next deadline was not the one that it must be */
};

static void add_up(struct probe *probe, poise *queue)
{
    struct sum *sum = (struct sum *)probe;
    const poise_interval *interval = &probe->interval;
    sum->missed += interval->missed;
    uint64_t steps = (uint64_t)probe->calls + sum->missed;
    sum->wrong += interval->timer.deadline_ns != sum->first + steps * interval->interval_ns;
    sum->wrong += poise_now() < interval->timer.deadline_ns - interval->interval_ns;
    stop_at_the_twentieth(probe, queue);
}

TEST(L, interval_does_not_drift)
{
    poise *queue = open_queue();
    struct sum sum = { .probe = { .handler = { note }, .act = add_up } };
    struct probe *probe = &sum.probe;
    sum.first = poise_now() + (uint64_t)MS;
    CHECK_INT(poise_interval_start(queue, &probe->interval, sum.first, 1000003, &probe->handler), 0);
    CHECK_INT(probe->interval.timer.deadline_ns, sum.first);
    CHECK_INT(poise_run(queue, &probe->stop), 0);
    CHECK_INT(probe->calls, 20);
    CHECK_INT(sum.wrong, 0);
    CHECK(sum.missed >= 3); /* the seventh call took more than three intervals */
    CHECK_INT(probe->ready, POISE_TIMER);
    CHECK(probe->data_is_handler);
    CHECK(probe->queue == queue);
    CHECK(poise_interval_stop(queue, &probe->interval));
    CHECK_INT(poise_dispatch(queue, 10 * MS), 0);
    poise_close(queue);
}

TEST(L, interval_counts_what_it_missed)
{
    poise *queue = open_queue();
    struct probe *probe = probe_new();
    poise_interval *interval = &probe->interval;
    uint64_t first = poise_now(), step = 100000;
    CHECK_INT(poise_interval_start(queue, interval, first, step, &probe->handler), 0);
    until(first + 10 * step);
    uint64_t before = poise_now();
    CHECK_INT(poise_dispatch(queue, 0), 1); /* one call, not eleven */
    uint64_t after = poise_now();
    CHECK_RANGE(interval->missed, (before - first) / step, (after - first) / step);
    CHECK_INT(interval->timer.deadline_ns, first + (interval->missed + 1) * step);
    CHECK(interval->timer.deadline_ns > before);
    until(interval->timer.deadline_ns);
    uint64_t due = interval->timer.deadline_ns, missed = interval->missed;
    CHECK_INT(poise_dispatch(queue, 0), 1);
    CHECK_INT(interval->timer.deadline_ns, due + (interval->missed + 1) * step); /* of this call alone */
    CHECK(interval->missed < missed || poise_now() - due >= missed * step);
    poise_close(queue);
    free(probe);
}

TEST(L, interval_with_extreme_numbers)
{
    static const struct {
        uint64_t first, step;
    } numbers[] = {
        { 0, UINT64_MAX }, { 1, UINT64_MAX }, { 1000, UINT64_MAX - 999 }, { 0, UINT64_MAX / 2 }, { 1, UINT64_MAX / 2 },
        { 0, 1 },          { 1, 1 }
    };
    poise *queue = open_queue();
    struct probe *probe = probe_new();
    poise_interval *interval = &probe->interval;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        uint64_t first = numbers[i].first, step = numbers[i].step;
        probe->calls = 0;
        CHECK_INT(poise_interval_start(queue, interval, first, step, &probe->handler), 0);
        CHECK_INT(interval->missed, 0);
        uint64_t before = poise_now();
        CHECK_INT(poise_dispatch(queue, 0), 1); /* it has passed: at once, and once */
        CHECK_INT(probe->calls, 1);
        if (step == 1) {
            CHECK_RANGE(interval->missed, before - first, poise_now() - first);
            CHECK_INT(interval->timer.deadline_ns, first + interval->missed + 1);
        } else {
            CHECK_INT(interval->missed, 0);
            CHECK(interval->timer.deadline_ns == (first > UINT64_MAX - step ? UINT64_MAX : first + step));
            CHECK_INT(poise_dispatch(queue, 0), 0);
        }
        CHECK(poise_interval_stop(queue, interval));
    }
    CHECK_INT(poise_interval_start(queue, interval, UINT64_MAX, 1, &probe->handler), 0); /* a deadline, too */
    CHECK_INT(poise_dispatch(queue, 0), 0);
    CHECK(poise_interval_stop(queue, interval));
    poise_close(queue);
    free(probe);
}

TEST(L, interval_restarted_while_it_runs)
{
    poise *queue = open_queue();
    struct probe *probe[2];
    two(probe);
    poise_interval *interval = &probe[0]->interval;
    uint64_t far = poise_now() + (uint64_t)(3600 * SECOND);
    CHECK_INT(poise_interval_start(queue, interval, 0, 1000, &probe[0]->handler), 0);
    CHECK(poise_wait(queue, 0) > 0); /* gathered */
    CHECK_INT(poise_interval_start(queue, interval, far, (uint64_t)SECOND, &probe[0]->handler), 0);
    CHECK_INT(poise_dispatch(queue, 0), 0); /* and void */
    CHECK_INT(interval->timer.deadline_ns, far);
    CHECK_INT(poise_interval_start(queue, interval, 0, (uint64_t)SECOND, &probe[1]->handler), 0);
    CHECK_INT(poise_dispatch(queue, 0), 1); /* the new handler, with the new interval */
    CHECK_INT(probe[0]->calls, 0);
    CHECK_INT(probe[1]->calls, 1);
    CHECK_INT(interval->timer.deadline_ns, (interval->missed + 1) * (uint64_t)SECOND);
    CHECK(poise_interval_stop(queue, interval));
    CHECK(!poise_interval_stop(queue, interval));
    CHECK_INT(poise_dispatch(queue, 10 * MS), 0);
    poise_close(queue);
    free_both(probe);
}

static void stop_own_interval(struct probe *probe, poise *queue)
{
    probe->stopped = poise_interval_stop(queue, &probe->interval);
    probe->result = poise_interval_stop(queue, &probe->interval) ? 1 : 0;
}

TEST(L, interval_stopped_by_its_handler)
{
    poise *queue = open_queue();
    struct probe *probe = probe_new();
    probe->act = stop_own_interval;
    CHECK_INT(poise_interval_start(queue, &probe->interval, 0, 1000, &probe->handler), 0);
    CHECK_INT(poise_dispatch(queue, 0), 1);
    CHECK(probe->stopped); /* it was running: it is started again before its handler is called */
    CHECK_INT(probe->result, 0);
    CHECK_INT(poise_dispatch(queue, 10 * MS), 0);
    CHECK_INT(probe->calls, 1);
    poise_close(queue);
    free(probe);
}

static void stop_and_free(struct probe *probe, poise *queue)
{
    (void)poise_interval_stop(queue, &probe->interval);
    free_this_one(probe, queue);
}

TEST(L, interval_freed_by_its_handler)
{
    poise *queue = open_queue();
    struct probe *probe = probe_new();
    probe->act = stop_and_free;
    freed = 0;
    CHECK_INT(poise_interval_start(queue, &probe->interval, 0, 1000, &probe->handler), 0);
    CHECK_INT(poise_dispatch(queue, 0), 1);
    CHECK_INT(freed, 1);
    CHECK_INT(poise_dispatch(queue, 10 * MS), 0);
    check_unharmed(queue);
    poise_close(queue);
}

static void restart_with_another_step(struct probe *probe, poise *queue)
{
    if (probe->calls == 1)
        probe->result = poise_interval_start(queue, &probe->interval, 5, (uint64_t)SECOND, &probe->handler);
}

TEST(L, interval_restarted_by_its_handler)
{
    poise *queue = open_queue();
    struct probe *probe = probe_new();
    probe->act = restart_with_another_step;
    CHECK_INT(poise_interval_start(queue, &probe->interval, 0, 1000, &probe->handler), 0);
    CHECK_INT(poise_dispatch(queue, 0), 1);
    CHECK_INT(probe->result, 0);
    CHECK_INT(probe->interval.timer.deadline_ns, 5); /* what the handler said, not what the tick said before it */
    CHECK_INT(probe->interval.missed, 0);
    CHECK_INT(poise_dispatch(queue, 0), 1);
    CHECK_INT(probe->calls, 2);
    CHECK_INT(probe->interval.timer.deadline_ns, 5 + (probe->interval.missed + 1) * (uint64_t)SECOND);
    poise_close(queue);
    free(probe);
}

static void stop_the_others_interval(struct probe *probe, poise *queue)
{
    probe->stopped = poise_interval_stop(queue, &probe->other->interval);
}

TEST(L, interval_stopped_after_it_was_gathered)
{
    poise *queue = open_queue();
    struct probe *probe[2];
    two(probe);
    probe[0]->act = probe[1]->act = stop_the_others_interval;
    for (int i = 0; i < 2; i++)
        CHECK_INT(poise_interval_start(queue, &probe[i]->interval, 0, UINT64_MAX, &probe[i]->handler), 0);
    CHECK_INT(poise_dispatch(queue, 0), 1);
    CHECK_INT(poise_dispatch(queue, 10 * MS), 0);
    CHECK_INT(calls_of(probe), 1);
    CHECK(probe[0]->stopped);
    poise_close(queue);
    free_both(probe);
}

static void dispatch_its_own_next(struct probe *probe, poise *queue)
{
    if (probe->calls > 1)
        return;
    until(probe->interval.timer.deadline_ns);
    probe->result = poise_dispatch(queue, 0);
}

TEST(L, interval_that_comes_again_within_its_handler)
{
    poise *queue = open_queue();
    struct probe *probe = probe_new();
    probe->act = dispatch_its_own_next;
    uint64_t first = poise_now();
    CHECK_INT(poise_interval_start(queue, &probe->interval, first, (uint64_t)MS, &probe->handler), 0);
    CHECK_INT(poise_dispatch(queue, patience()), 1);
    CHECK_INT(probe->result, 1);
    CHECK_INT(probe->calls, 2);
    CHECK_INT((probe->interval.timer.deadline_ns - first) % (uint64_t)MS, 0);
    poise_close(queue);
    free(probe);
}

TEST(L, interval_errors)
{
    poise *queue = open_queue(), *another = open_queue();
    struct probe *probe[2];
    two(probe);
    poise_interval *interval = &probe[0]->interval;
    poise_handler *handler = &probe[0]->handler;
    uint64_t far = poise_now() + (uint64_t)(3600 * SECOND);
    CHECK_INT(poise_interval_start(NULL, interval, 0, 1, handler), -EINVAL);
    CHECK_INT(poise_interval_start(queue, NULL, 0, 1, handler), -EINVAL);
    CHECK_INT(poise_interval_start(queue, interval, 0, 0, handler), -EINVAL);
    CHECK_INT(poise_interval_start(queue, interval, 0, 1, NULL), -EINVAL);
    CHECK(!poise_interval_stop(queue, interval)); /* never started */
    CHECK(!poise_interval_stop(NULL, interval));
    CHECK(!poise_interval_stop(queue, NULL));
    CHECK_INT(poise_dispatch(queue, 0), 0);
    CHECK_INT(poise_interval_start(queue, interval, far, (uint64_t)SECOND, handler), 0);
    CHECK_INT(poise_interval_start(another, interval, 0, 1, &probe[1]->handler), -EBUSY);
    CHECK_INT(poise_interval_start(queue, interval, 0, 0, &probe[1]->handler), -EINVAL);
    CHECK(!poise_interval_stop(another, interval));
    CHECK_INT(interval->timer.deadline_ns, far); /* nothing has changed: it runs where it ran */
    CHECK_INT(interval->interval_ns, SECOND);
    CHECK(interval->target == handler);
    CHECK(poise_interval_stop(queue, interval));
    CHECK_INT(poise_interval_start(another, interval, 0, UINT64_MAX, handler), 0); /* and now it may */
    CHECK_INT(poise_dispatch(another, 0), 1);
    CHECK_INT(probe[0]->calls, 1);
    check_unharmed(queue);
    poise_close(another);
    poise_close(queue);
    free_both(probe);
}
