/* G17 and G19, and what G5 says of other threads: native alone. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "test.h"

#ifdef __wasi__

TEST(G5, unwatch_by_another_thread) { SKIP("WASI has no threads"); }
TEST(G17, child_closes_the_queue) { SKIP("WASI has no fork"); }
TEST(G17, descriptors_are_close_on_exec) { SKIP("WASI has no fork"); }
TEST(G19, watch) { SKIP("WASI has no threads"); }
TEST(G19, watch_of_a_file) { SKIP("WASI has no threads"); }
TEST(G19, unwatch) { SKIP("WASI has no threads"); }
TEST(G19, again) { SKIP("WASI has no threads"); }
TEST(G19, post) { SKIP("WASI has no threads"); }
TEST(G19, all_at_once) { SKIP("WASI has no threads"); }

#else

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { IN = POISE_READABLE, OUT = POISE_WRITABLE, BOTH = POISE_READABLE | POISE_WRITABLE };

static void pause_ms(long ms)
{
    struct timespec time = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&time, NULL);
}

/* ---- G17: fork
 * -------------------------------------------------------------------------------------------------------- */

static int open_descriptors(bool seen[1024])
{
    int n = 0;
    DIR *folder = opendir("/proc/self/fd");
    struct dirent *entry;
    memset(seen, 0, 1024 * sizeof seen[0]);
    MUST(folder != NULL);
    while ((entry = readdir(folder)) != NULL) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] != '.' && fd != dirfd(folder) && fd < 1024) {
            seen[fd] = true;
            n++;
        }
    }
    closedir(folder);
    return n;
}

TEST(G17, descriptors_are_close_on_exec)
{
    bool before[1024], with[1024], after[1024];
    int n = open_descriptors(before);
    poise *queue = open_queue();
    poise_waker waker = { 0 };
    int fd[2];
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    CHECK_INT(poise_fileno(queue) >= 0, backend_is("epoll"));
    CALL(check_unharmed(queue));
    CHECK_INT(open_descriptors(with) > n, 1);
    for (int i = 0; i < 1024; i++)
        if (with[i] && !before[i])
            CHECK_INT(fcntl(i, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    /* Also what it makes later, for an orphan. */
    tcp_pair(fd);
    int copy = dup(fd[0]);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), OUT, fd), 0);
    close(fd[0]);
    CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), 0);
    for (int i = 0; i < 3; i++)
        CHECK(poise_wait(queue, 5 * MS) >= 0);
    close(copy);
    close(fd[1]);
    open_descriptors(with);
    for (int i = 0; i < 1024; i++)
        if (with[i] && !before[i])
            CHECK_INT(fcntl(i, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    poise_waker_close(&waker);
    poise_close(queue);
    CHECK_INT(open_descriptors(after), n);
}

TEST(G17, child_closes_the_queue)
{
    enum { LEVEL, EDGE, ONESHOT, N };
    bool before[1024], after[1024];
    struct memory memory = { 0 };
    int fd[N][2];
    tcp_pairs(fd, N);
    int n = open_descriptors(before);
    poise *queue = open_queue_with((poise_options){ .realloc = memory_realloc, .context = &memory });
    poise_waker waker = { 0 };
    poise_timer timer = { 0 };
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[LEVEL][0]), IN, &fd[LEVEL]), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[EDGE][0]), IN | POISE_EDGE, &fd[EDGE]), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[ONESHOT][0]), IN | POISE_ONESHOT, &fd[ONESHOT]), 0);
    CHECK_INT(poise_timer_start(queue, &timer, poise_now() + 30000000, &timer), 0);
    CHECK_INT(poise_wait(queue, 0), 0);
    pid_t child = fork();
    MUST(child >= 0);
    if (child == 0) { /* closes its own copies, and nothing else */
        poise_close(queue);
        bool same = open_descriptors(after) == n && memcmp(before, after, sizeof before) == 0;
        _exit(same && memory.live == 0 ? 0 : 1);
    }
    int status;
    MUST(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 0);
    CHECK_INT(wait_for(queue, &timer), POISE_TIMER);
    for (int i = 0; i < N; i++) {
        send_byte(fd[i][1]);
        CHECK_INT(wait_for(queue, &fd[i]), IN);
        drain(fd[i][0]);
    }
    poise_wake(&waker);
    CHECK_INT(wait_for(queue, &waker), POISE_WAKE);
    for (int i = 0; i < N; i++)
        CHECK_INT(poise_unwatch(queue, poise_fd(fd[i][0])), 0);
    CALL(check_unharmed(queue));
    poise_waker_close(&waker);
    poise_close(queue);
    for (int i = 0; i < N; i++)
        close_pair(fd[i]);
}

/* ---- G19: another thread reaches a wait that is blocked
 * ----------------------------------------------------------------- */

struct later {
    poise *queue;
    poise_source source;
    enum { WATCH, UNWATCH, AGAIN, POST } what;
    uint32_t bits;
    void *data;
    int send_to; /* a byte, first; -1: none */
    _Atomic int result;
};

static void *do_later(void *argument)
{
    struct later *later = argument;
    pause_ms(20);
    if (later->send_to >= 0)
        send_byte(later->send_to);
    if (later->send_to >= 0)
        pause_ms(5);
    switch (later->what) {
    case WATCH: later->result = poise_watch(later->queue, later->source, later->bits, later->data); break;
    case UNWATCH: later->result = poise_unwatch(later->queue, later->source); break;
    case AGAIN: later->result = poise_again(later->queue, later->source, later->bits); break;
    case POST: later->result = poise_post(later->queue, later->source, later->bits); break;
    }
    return NULL;
}

/* Waits for ever (nearly) while a thread does that, and expects an event with these bits of `data`. */
static void reaches(struct later later, void *data, uint32_t bits)
{
    pthread_t thread;
    struct seen seen;
    later.result = 1;
    uint64_t start = poise_now();
    MUST(pthread_create(&thread, NULL, do_later, &later) == 0);
    int result = wait_all(later.queue, 20 * SECOND, &seen);
    uint64_t waited = poise_now() - start;
    pthread_join(thread, NULL);
    CHECK_INT(later.result, 0);
    CHECK_INT(result > 0, 1);
    CHECK_RANGE(waited, MS, 5 * SECOND);
    CHECK_INT(seen_ready(&seen, data), bits);
}

TEST(G19, watch)
{
    poise *queue = open_queue();
    int fd[3][2];
    tcp_pairs(fd, 3);
    send_byte(fd[0][1]);
    await_readable(fd[0][0]);
    /* New, to a wait on nothing. */
    struct later later = { .queue = queue, .source = poise_fd(fd[0][0]), .what = WATCH, .bits = IN, .send_to = -1 };
    later.data = fd;
    CALL(reaches(later, fd, IN));
    /* Paused, then resumed, beside another one. */
    CHECK_INT(poise_watch(queue, poise_fd(fd[1][0]), IN, &fd[1]), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0][0]), 0, fd), 0);
    later.data = &fd[2];
    CALL(reaches(later, &fd[2], IN));
    CHECK_INT(poise_unwatch(queue, poise_fd(fd[0][0])), 0);
    /* Another direction of a source that the wait knows. */
    later.source = poise_fd(fd[1][0]);
    later.bits = BOTH;
    later.data = &fd[1];
    CALL(reaches(later, &fd[1], OUT));
    /* A one-shot that has fired. */
    CHECK_INT(poise_watch(queue, poise_fd(fd[1][0]), OUT | POISE_ONESHOT, &fd[1]), 0);
    CHECK_INT(wait_for(queue, &fd[1]), OUT);
    later.bits = OUT | POISE_ONESHOT;
    CALL(reaches(later, &fd[1], OUT));
    /* Watched while the wait goes on, ready only then. */
    later.source = poise_fd(fd[2][0]);
    later.bits = IN;
    later.data = &fd[2];
    struct later byte = {
        .queue = queue, .source = poise_fd(fd[2][0]), .what = WATCH, .bits = IN, .data = &fd[2], .send_to = fd[2][1]
    };
    CALL(reaches(byte, &fd[2], IN));
    poise_close(queue);
    for (int i = 0; i < 3; i++)
        close_pair(fd[i]);
}

TEST(G19, watch_of_a_file)
{
    int file = open_file();
    NEED_FILE(file);
    poise *queue = open_queue();
    struct later later = {
        .queue = queue, .source = poise_fd(file), .what = WATCH, .bits = IN, .data = &file, .send_to = -1
    };
    CALL(reaches(later, &file, IN));
    CHECK_INT(poise_watch(queue, poise_fd(file), IN | POISE_EDGE, &file), 0);
    CHECK_INT(wait_for(queue, &file), IN);
    later.what = AGAIN;
    CALL(reaches(later, &file, IN));
    poise_close(queue);
    close(file);
}

/* Unwatched, or paused, while a wait has it: what comes then is not reported, and the wait goes on. */
TEST(G19, unwatch)
{
    for (int paused = 0; paused < 2; paused++) {
        poise *queue = open_queue();
        int fd[2];
        tcp_pair(fd);
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
        settle(queue);
        struct later later = {
            .queue = queue, .source = poise_fd(fd[0]), .what = paused ? WATCH : UNWATCH, .send_to = -1
        };
        later.data = fd;
        pthread_t thread;
        later.result = 1;
        MUST(pthread_create(&thread, NULL, do_later, &later) == 0);
        int result = poise_wait(queue, 60 * MS);
        pthread_join(thread, NULL);
        CHECK_INT(result, 0);
        CHECK_INT(later.result, 0);
        /* The byte comes while the wait is blocked with what it knew before. */
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
        MUST(pthread_create(&thread, NULL, do_later, &later) == 0);
        uint64_t start = poise_now();
        bool sent = false, quiet = true;
        while (poise_now() - start < (uint64_t)(80 * MS)) {
            struct seen seen;
            CHECK(wait_all(queue, 40 * MS, &seen) >= 0);
            if (sent && seen_count(&seen, fd) != 0)
                quiet = false;
            if (!sent) {
                pthread_join(thread, NULL);
                send_byte(fd[1]);
                sent = true;
            }
        }
        CHECK(quiet);
        poise_close(queue);
        close_pair(fd);
    }
}

TEST(G19, again)
{
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_EDGE, fd), 0);
    send_byte(fd[1]);
    CHECK_INT(wait_for(queue, fd), IN);
    for (int i = 0; i < 3; i++) {
        drain(fd[0]);
        struct later later = { .queue = queue, .source = poise_fd(fd[0]), .what = AGAIN, .bits = IN, .send_to = fd[1] };
        CALL(reaches(later, fd, IN));
    }
    poise_close(queue);
    close_pair(fd);
}

TEST(G19, post)
{
    static const uint32_t modes[] = { 0, POISE_EDGE, POISE_ONESHOT };
    for (int i = 0; i < 3; i++) {
        poise *queue = open_queue();
        int fd[2];
        tcp_pair(fd);
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | modes[i], fd), 0);
        CHECK(silent(queue, fd, 5 * MS));
        struct later later = { .queue = queue, .source = poise_fd(fd[0]), .what = POST, .bits = IN, .send_to = -1 };
        CALL(reaches(later, fd, IN));
        CHECK(silent(queue, fd, 5 * MS));
        if (modes[i] == POISE_ONESHOT) /* its one event */
            CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | modes[i], fd), 0);
        CALL(reaches(later, fd, IN));
        /* Kept while paused, also when it comes to a blocked wait, which it does not end. */
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), 0, fd), 0);
        pthread_t thread;
        MUST(pthread_create(&thread, NULL, do_later, &later) == 0);
        int result = poise_wait(queue, 50 * MS);
        pthread_join(thread, NULL);
        CHECK_INT(result, 0);
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | modes[i], fd), 0);
        CHECK_INT(wait_for(queue, fd), IN);
        poise_close(queue);
        close_pair(fd);
    }
}

/* Threads that do all of it to their own sources, while the main thread waits and takes. The data of each event says
 * whose it is and of which life: one that had ended when poise_next began is stale (G5). */
enum { WORKERS = 4, SOURCES = 8 };

struct worker {
    poise *queue;
    int fd[SOURCES][2];
    _Atomic unsigned ended[SOURCES]; /* lives up to this one are over */
    unsigned number, rounds;
    _Atomic bool failed;
};

static void *life(unsigned worker, unsigned source, unsigned number)
{
    return (void *)(uintptr_t)((uint64_t)number << 16 | worker << 8 | source);
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    uint32_t random = worker->number * 7919 + 1;
    unsigned lives[SOURCES] = { 0 };
    for (unsigned round = 0; round < worker->rounds; round++) {
        random = random * 1664525 + 1013904223;
        unsigned i = (random >> 8) % SOURCES, what = (random >> 16) % 8;
        poise_source source = poise_fd(worker->fd[i][0]);
        uint32_t mode = (random >> 20) % 3 == 0 ? POISE_ONESHOT : (random >> 20) % 3 == 1 ? POISE_EDGE : 0;
        int result = 0;
        if (what < 3 || lives[i] == worker->ended[i]) {
            /* Another data is another life: the one before ends with poise_watch. */
            lives[i]++;
            result =
                poise_watch(worker->queue, source, (what == 0 ? BOTH : OUT) | mode, life(worker->number, i, lives[i]));
            worker->ended[i] = lives[i] - 1;
        } else if (what == 3) {
            result = poise_unwatch(worker->queue, source);
            worker->ended[i] = lives[i];
        } else if (what == 4) {
            result = poise_again(worker->queue, source, BOTH);
        } else if (what == 5) {
            result = poise_post(worker->queue, source, IN);
        } else if (what == 6) {
            result = poise_watch(worker->queue, source, 0, life(worker->number, i, lives[i]));
        } else {
            result = poise_watch(worker->queue, source, BOTH | POISE_ONESHOT, life(worker->number, i, lives[i]));
        }
        if (result != 0)
            worker->failed = true;
        if (round % 16 == 0)
            pause_ms(0);
    }
    return NULL;
}

static void all_at_once(void)
{
    poise *queue = open_queue_with((poise_options){ .batch = 8 });
    struct worker worker[WORKERS];
    pthread_t thread[WORKERS];
    poise_waker waker = { 0 };
    poise_timer tick = { 0 };
    unsigned events = 0, stale = 0;
    memset(worker, 0, sizeof worker);
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        tcp_pairs(worker[i].fd, SOURCES);
        worker[i].queue = queue;
        worker[i].number = i;
        worker[i].rounds = scale(4000);
        MUST(pthread_create(&thread[i], NULL, work, &worker[i]) == 0);
    }
    uint64_t end = poise_now() + (uint64_t)(500 * MS);
    while (poise_now() < end) {
        poise_event event;
        unsigned ended[WORKERS][SOURCES];
        CHECK_INT(poise_timer_start(queue, &tick, poise_now() + 200000, &tick), 0);
        CHECK(poise_wait(queue, SECOND) > 0);
        for (;;) {
            for (unsigned i = 0; i < WORKERS; i++)
                for (unsigned k = 0; k < SOURCES; k++)
                    ended[i][k] = worker[i].ended[k];
            if (!poise_next(queue, &event))
                break;
            if (event.data == &tick)
                continue;
            events++;
            uint64_t data = (uint64_t)(uintptr_t)event.data;
            stale += data >> 16 <= ended[data >> 8 & 255][data & 255];
        }
    }
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(thread[i], NULL);
    CHECK(events > 0);
    CHECK_INT(stale, 0);
    for (unsigned i = 0; i < WORKERS; i++)
        CHECK(!worker[i].failed);
    CALL(check_unharmed(queue));
    poise_waker_close(&waker);
    poise_close(queue);
    for (unsigned i = 0; i < WORKERS; i++)
        for (unsigned k = 0; k < SOURCES; k++)
            close_pair(worker[i].fd[k]);
}

TEST(G19, all_at_once) { CALL(all_at_once()); }

/* A thread unwatches and tells; whatever poise_next begins after that gives nothing of it. */
TEST(G5, unwatch_by_another_thread) { CALL(all_at_once()); }

#endif
