/* G12: no allocation but in open, watch of a new source, timer_start and waker_open; and none of these does harm when
 * there is no memory. Counted at options.realloc, and at malloc (count.c). */
#include "test.h"

#include <limits.h>
#include <unistd.h>

enum { IN = POISE_READABLE, OUT = POISE_WRITABLE, BOTH = POISE_READABLE | POISE_WRITABLE };

static poise *open_counted(struct memory *memory, unsigned batch)
{
    return open_queue_with((poise_options){ .realloc = memory_realloc, .context = memory, .batch = batch });
}

TEST(G12, everything_goes_through_realloc)
{
    struct memory memory = { 0 };
    unsigned long before = malloc_calls();
    poise *queue = open_counted(&memory, 0);
    CHECK(memory.calls > 0);
    CHECK(memory.live > 0);
    CHECK(malloc_counted() && "linked without --wrap=malloc,--wrap=calloc,--wrap=realloc");
    CHECK_INT(malloc_calls() - before - 1, memory.calls); /* poise itself calls no malloc */
    CALL(check_unharmed(queue));
    poise_close(queue);
    CHECK_INT(memory.live, 0);
}

TEST(G12, close_frees_everything)
{
    NEED_SOCKETS();
    enum { N = 40 };
    struct memory memory = { 0 };
    poise *queue = open_counted(&memory, 0);
    poise_timer timer[N];
    poise_waker waker[N];
    int fd[N][2];
    memset(timer, 0, sizeof timer);
    memset(waker, 0, sizeof waker);
    tcp_pairs(fd, N);
    for (int i = 0; i < N; i++) {
        send_byte(fd[i][1]);
        CHECK_INT(poise_watch(queue, poise_fd(fd[i][0]), BOTH, &fd[i]), 0);
        CHECK_INT(poise_timer_start(queue, &timer[i], (uint64_t)i, &timer[i]), 0);
        CHECK_INT(poise_waker_open(queue, &waker[i], &waker[i]), 0);
        poise_wake(&waker[i]);
    }
    CHECK(poise_wait(queue, 0) > 0); /* with everything running, woken, gathered and not taken */
    CHECK_INT(poise_unwatch(queue, poise_fd(fd[1][0])), 0);
    poise_close(queue);
    CHECK_INT(memory.live, 0);
    for (int i = 0; i < N; i++)
        close_pair(fd[i]);
}

/* Does `call`, and counts what it allocated. */
#define COUNTED(call)                                \
    do {                                             \
        unsigned calls_ = memory.calls;              \
        unsigned long mallocs_ = malloc_calls();     \
        call;                                        \
        CHECK_INT(memory.calls - calls_, 0);         \
        if (!mallocs_by_libc)                        \
            CHECK_INT(malloc_calls() - mallocs_, 0); \
    } while (0)

static void steady_state(unsigned ready, unsigned idle, uint32_t mode, bool mallocs_by_libc)
{
    struct memory memory = { 0 };
    poise *queue = open_counted(&memory, 16);
    unsigned n = ready + idle;
    int(*fd)[2] = calloc(n, sizeof *fd);
    poise_timer *timer = calloc(n, sizeof *timer);
    poise_waker *waker = calloc(n, sizeof *waker);
    tcp_pairs(fd, n);
    for (unsigned i = 0; i < n; i++) {
        CHECK_INT(poise_watch(queue, poise_fd(fd[i][0]), IN | mode, &fd[i]), 0);
        CHECK_INT(poise_waker_open(queue, &waker[i], &waker[i]), 0);
    }
    unsigned rounds = scale(30), warm = 3;
    unsigned served = 0;
    for (unsigned round = 0; round < rounds + warm; round++) {
        if (round == warm) /* the first rounds may finish what is done once */
            memory.fail_at = memory.calls + 1, memory.sticky = true;
        for (unsigned i = 0; i < ready; i++)
            send_byte(fd[i][1]);
        for (unsigned i = 0; i < n; i++) {
            COUNTED(CHECK_INT(poise_timer_start(queue, &timer[i], poise_now() + i * 1000, &timer[i]), 0));
            if (i % 3 == 0)
                COUNTED(poise_timer_stop(queue, &timer[i]));
            COUNTED(poise_wake(&waker[i]));
            COUNTED(CHECK_INT(poise_post(queue, poise_fd(fd[i][0]), IN), 0));
            COUNTED(CHECK_INT(poise_watch(queue, poise_fd(fd[i][0]), i % 2 == 0 ? 0 : OUT | mode, NULL), 0));
            COUNTED(CHECK_INT(poise_watch(queue, poise_fd(fd[i][0]), IN | mode, &fd[i]), 0));
        }
        for (unsigned waits = 0; waits < 2 * n / 16 + 3; waits++) {
            int result;
            poise_event event;
            bool more;
            COUNTED(result = poise_wait(queue, MS));
            CHECK(result >= 0);
            for (;;) {
                COUNTED(more = poise_next(queue, &event));
                if (!more)
                    break;
                for (unsigned i = 0; i < n; i++)
                    if (event.data == &fd[i]) {
                        served += drain(fd[i][0]) != 0;
                        COUNTED(CHECK_INT(poise_again(queue, poise_fd(fd[i][0]), IN), 0));
                        if (mode == POISE_ONESHOT)
                            COUNTED(CHECK_INT(poise_watch(queue, poise_fd(fd[i][0]), IN | mode, &fd[i]), 0));
                    }
            }
        }
        COUNTED((void)poise_deadline(queue));
    }
    CHECK(served >= rounds);
    for (unsigned i = 0; i < n; i++) {
        COUNTED(poise_waker_close(&waker[i]));
        COUNTED(CHECK_INT(poise_unwatch(queue, poise_fd(fd[i][0])), 0));
    }
    poise_close(queue);
    CHECK_INT(memory.live, 0);
    for (unsigned i = 0; i < n; i++)
        close_pair(fd[i]);
    free(fd);
    free(timer);
    free(waker);
}

TEST(G12, steady_state)
{
    NEED_SOCKETS();
    /* What the C library itself allocates in poll(2) under WASI is not poise's: there options.realloc alone is
     * counted. */
    bool mallocs_by_libc = on_wasi() && backend_is("poll");
    CALL(steady_state(4, 4, 0, mallocs_by_libc));
    CALL(steady_state(4, 4, POISE_EDGE, mallocs_by_libc));
    CALL(steady_state(4, 4, POISE_ONESHOT, mallocs_by_libc));
}

/* More than one window of the host's. */
TEST(G12, steady_state_of_many)
{
    NEED_SOCKETS();
    CALL(steady_state(20, scale(180), 0, on_wasi() && backend_is("poll")));
}

TEST(G12, steady_state_of_timers_and_wakers)
{
    enum { N = 300 };
    struct memory memory = { 0 };
    bool mallocs_by_libc = on_wasi() && backend_is("poll");
    poise *queue = open_counted(&memory, 0);
    poise_timer timer[N];
    poise_waker waker = { 0 };
    memset(timer, 0, sizeof timer);
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    for (int i = 0; i < N; i++)
        CHECK_INT(poise_timer_start(queue, &timer[i], 0, &timer[i]), 0);
    poise_event event;
    CHECK(poise_wait(queue, 0) > 0);
    while (poise_next(queue, &event))
        ;
    memory.fail_at = memory.calls + 1;
    memory.sticky = true;
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < N; i++) {
            int result;
            COUNTED(result = poise_timer_start(queue, &timer[i], poise_now() + i * 9973 % 3000000, &timer[i]));
            CHECK_INT(result, 0);
        }
        for (unsigned left = N; left > 0;) {
            int result;
            bool more;
            COUNTED(poise_wake(&waker));
            COUNTED(result = poise_wait(queue, POISE_FOREVER));
            CHECK(result > 0);
            for (;;) {
                COUNTED(more = poise_next(queue, &event));
                if (!more)
                    break;
                left -= event.data != &waker;
            }
        }
    }
    poise_waker_close(&waker);
    poise_close(queue);
    CHECK_INT(memory.live, 0);
}

/* ---- without memory
 * --------------------------------------------------------------------------------------------------- */

TEST(G12, open_without_memory)
{
    unsigned n = 1;
    for (;; n++) {
        struct memory memory = { .fail_at = n };
        poise *queue = (poise *)&memory;
        int result = try_open(&queue, (poise_options){ .realloc = memory_realloc, .context = &memory });
        if (result == 0) {
            CHECK(n > 1);
            CHECK(memory.calls < n);
            poise_close(queue);
            CHECK_INT(memory.live, 0);
            return;
        }
        CHECK_INT(result, -ENOMEM);
        CHECK(queue == NULL);
        CHECK_INT(memory.live, 0);
        CHECK(n < 1000);
    }
}

/* Each poise_watch fails at its first, second, ... allocation, until it succeeds; with what was there unharmed. */
TEST(G12, watch_without_memory)
{
    NEED_SOCKETS();
    unsigned n = scale(150);
    struct memory memory = { 0 };
    poise *queue = open_counted(&memory, 0);
    int(*fd)[2] = calloc(n, sizeof *fd);
    unsigned failures = 0;
    tcp_pairs(fd, n);
    for (unsigned i = 0; i < n; i++) {
        for (unsigned k = 1;; k++) {
            memory.fail_at = memory.calls + k;
            int result = poise_watch(queue, poise_fd(fd[i][0]), IN, &fd[i]);
            memory.fail_at = 0;
            if (result == 0)
                break;
            failures++;
            CHECK_INT(result, -ENOMEM);
            CHECK_INT(poise_unwatch(queue, poise_fd(fd[i][0])), -ENOENT);
            CHECK_INT(poise_post(queue, poise_fd(fd[i][0]), IN), -ENOENT);
            if (i > 0) {
                unsigned j = i / 2;
                send_byte(fd[j][1]);
                CHECK_INT(wait_for(queue, &fd[j]), IN);
                drain(fd[j][0]);
                settle(queue);
            }
            CHECK(k < 100);
        }
    }
    CHECK(failures > 0);
    for (unsigned i = 0; i < n; i += 7) {
        send_byte(fd[i][1]);
        CHECK_INT(wait_for(queue, &fd[i]), IN);
        drain(fd[i][0]);
    }
    CALL(check_unharmed(queue));
    poise_close(queue);
    CHECK_INT(memory.live, 0);
    for (unsigned i = 0; i < n; i++)
        close_pair(fd[i]);
    free(fd);
}

TEST(G12, timer_without_memory)
{
    enum { N = 300 };
    struct memory memory = { 0 };
    poise *queue = open_counted(&memory, 0);
    poise_timer timer[N];
    memset(timer, 0, sizeof timer);
    for (unsigned i = 0; i < N; i++)
        for (unsigned k = 1;; k++) {
            memory.fail_at = memory.calls + k;
            int result = poise_timer_start(queue, &timer[i], i, &timer[i]);
            memory.fail_at = 0;
            if (result == 0)
                break;
            CHECK_INT(result, -ENOMEM);
            CHECK(!poise_timer_stop(queue, &timer[i]));
            CHECK(k < 100);
        }
    unsigned taken = 0;
    while (taken < N) {
        poise_event event;
        CHECK(poise_wait(queue, 0) > 0);
        while (poise_next(queue, &event))
            CHECK(event.data == &timer[taken++]);
    }
    poise_close(queue);
    CHECK_INT(memory.live, 0);
}

TEST(G12, waker_without_memory)
{
    enum { N = 100 };
    struct memory memory = { 0 };
    poise *queue = open_counted(&memory, 0);
    poise_waker waker[N];
    memset(waker, 0, sizeof waker);
    for (unsigned i = 0; i < N; i++)
        for (unsigned k = 1;; k++) {
            memory.fail_at = memory.calls + k;
            int result = poise_waker_open(queue, &waker[i], &waker[i]);
            memory.fail_at = 0;
            if (result == 0)
                break;
            CHECK_INT(result, -ENOMEM);
            poise_wake(&waker[i]); /* of one that is not open: nothing */
            CHECK(k < 100);
        }
    for (unsigned i = 0; i < N; i++) {
        poise_wake(&waker[i]);
        CHECK_INT(wait_for(queue, &waker[i]), POISE_WAKE);
        poise_waker_close(&waker[i]);
    }
    poise_close(queue);
    CHECK_INT(memory.live, 0);
}

/* A known source is watched again without memory, and so is one whose slot was freed by another (no more than
 * before). */
TEST(G12, watch_again_without_memory)
{
    NEED_SOCKETS();
    struct memory memory = { 0 };
    poise *queue = open_counted(&memory, 0);
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    settle(queue);
    memory.fail_at = memory.calls + 1;
    memory.sticky = true;
    static const uint32_t interests[] = { OUT, 0, IN | POISE_EDGE, BOTH | POISE_ONESHOT, 0, IN };
    for (size_t i = 0; i < sizeof interests / sizeof interests[0]; i++) {
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), interests[i], fd), 0);
        if (interests[i] & OUT)
            CHECK_INT(wait_for(queue, fd), OUT);
        else
            CHECK(silent(queue, fd, 5 * MS));
    }
    send_byte(fd[1]);
    CHECK_INT(wait_for(queue, fd), IN);
    poise_close(queue);
    CHECK_INT(memory.live, 0);
    close_pair(fd);
}

/* WASI 0.2 needs a block for a connect that has ended: without it the connect is reported later, and not lost. */
TEST(G12, connect_without_memory)
{
    NEED_SOCKETS();
    for (int refused = 0; refused < 2; refused++) {
        poise *queue = open_queue();
        uint16_t port;
        int listener = tcp_listen(&port);
        if (refused)
            close(listener);
        int fd = tcp_connect_start(port);
        CHECK_INT(poise_watch(queue, poise_fd(fd), OUT | POISE_ONESHOT, &fd), 0);
        struct seen seen = { .n = 0 };
        uint64_t end = poise_now() + (uint64_t)(30 * MS);
        int result = 0, events = 0;
        while (result >= 0 && poise_now() < end && events == 0) {
            malloc_fails(!(on_wasi() && backend_is("poll"))); /* libc's poll(2) itself would abort */
            result = wait_all(queue, 5 * MS, &seen);
            malloc_fails(false);
            events += seen_count(&seen, &fd);
        }
        CHECK_RANGE(result, 0, INT_MAX);
        CHECK(events == 0 || (seen_ready(&seen, &fd) & OUT));
        CHECK(events == 1 || (wait_for(queue, &fd) & OUT));
        CHECK_INT(socket_error(fd), refused ? ECONNREFUSED : 0);
        CALL(check_unharmed(queue));
        poise_close(queue);
        close(fd);
        if (!refused)
            close(listener);
    }
}
