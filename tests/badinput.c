/* Bad input: each with its documented error, and a queue that still does its work. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "test.h"

#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#ifndef __wasi__
#include <sys/resource.h>
#endif

enum { IN = POISE_READABLE, OUT = POISE_WRITABLE, BOTH = POISE_READABLE | POISE_WRITABLE };

static const uint32_t bad_flags[] = { POISE_ERROR,
                                      POISE_READ_CLOSED,
                                      POISE_WRITE_CLOSED,
                                      POISE_TIMER,
                                      POISE_WAKE,
                                      1u << 10,
                                      1u << 31,
                                      UINT32_MAX,
                                      POISE_READABLE | POISE_ERROR,
                                      POISE_READABLE | 1u << 16,
                                      POISE_EDGE | POISE_ONESHOT,
                                      POISE_READABLE | POISE_EDGE | POISE_ONESHOT };

TEST(BAD, open)
{
    poise *queue = (poise *)&queue;
    CHECK_INT(poise_open(NULL, NULL), -EINVAL);
    static const size_t sizes[] = { 0, 1, sizeof(poise_options) - 1, sizeof(poise_options) + 1, SIZE_MAX };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        poise_options options = { .size = sizes[i] };
        queue = (poise *)&queue;
        CHECK_INT(poise_open(&queue, &options), -EINVAL);
        CHECK(queue == NULL);
    }
    static const struct {
        const char *name;
        int error;
    } backends[] = { { "kqueue", -EINVAL },
                     { "epol", -EINVAL },
                     { "poll ", -EINVAL },
                     { "EPOLL", -EINVAL },
#ifdef __wasi__
                     { "epoll", -ENOTSUP }
#else
                     { "wasip2", -ENOTSUP }
#endif
    };
    for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++) {
        struct memory memory = { 0 };
        poise_options options = { .size = sizeof options, .backend = backends[i].name };
        options.realloc = memory_realloc;
        options.context = &memory;
        queue = (poise *)&queue;
        CHECK_INT(poise_open(&queue, &options), backends[i].error);
        CHECK(queue == NULL);
        CHECK_INT(memory.live, 0);
    }
}

TEST(BAD, open_by_environment)
{
    poise *queue;
    char kept[64] = "";
    if (getenv("POISE_BACKEND") != NULL)
        snprintf(kept, sizeof kept, "%s", getenv("POISE_BACKEND"));
    MUST(setenv("POISE_BACKEND", "kqueue", 1) == 0);
    CHECK_INT(poise_open(&queue, NULL), -EINVAL);
    CHECK(queue == NULL);
    MUST(setenv("POISE_BACKEND", on_wasi() ? "epoll" : "wasip2", 1) == 0);
    CHECK_INT(poise_open(&queue, NULL), -ENOTSUP);
    CHECK(queue == NULL);
    poise_options options = { .size = sizeof options, .backend = "poll" }; /* the option comes first */
    CHECK_INT(poise_open(&queue, &options), 0);
    CHECK(strcmp(poise_backend(queue), "poll") == 0);
    poise_close(queue);
    MUST(setenv("POISE_BACKEND", "poll", 1) == 0);
    CHECK_INT(poise_open(&queue, NULL), 0);
    CHECK(strcmp(poise_backend(queue), "poll") == 0);
    poise_close(queue);
    if (kept[0] != '\0')
        setenv("POISE_BACKEND", kept, 1);
    else
        unsetenv("POISE_BACKEND");
}

TEST(BAD, null)
{
    poise *queue = open_queue();
    poise_timer timer = { 0 };
    poise_waker waker = { 0 };
    poise_event event;
    CHECK_INT(poise_watch(NULL, poise_fd(1), OUT, NULL), -EINVAL);
    CHECK_INT(poise_unwatch(NULL, poise_fd(1)), -EINVAL);
    CHECK_INT(poise_again(NULL, poise_fd(1), IN), -EINVAL);
    CHECK_INT(poise_post(NULL, poise_fd(1), IN), -EINVAL);
    CHECK_INT(poise_wait(NULL, 0), -EINVAL);
    CHECK_INT(poise_wait(NULL, POISE_FOREVER), -EINVAL);
    CHECK(!poise_next(NULL, &event));
    CHECK_INT(poise_timer_start(NULL, &timer, 0, NULL), -EINVAL);
    CHECK_INT(poise_timer_start(queue, NULL, 0, NULL), -EINVAL);
    CHECK(!poise_timer_stop(NULL, &timer));
    CHECK(!poise_timer_stop(queue, NULL));
    CHECK_INT(poise_waker_open(NULL, &waker, NULL), -EINVAL);
    CHECK_INT(poise_waker_open(queue, NULL, NULL), -EINVAL);
    poise_waker_close(NULL);
    poise_waker_close(&waker); /* never opened */
    poise_wake(NULL);
    poise_wake(&waker);
    poise_close(NULL);
    CHECK_INT(poise_fileno(NULL), -EINVAL);
    CHECK(poise_deadline(NULL) == UINT64_MAX);
    CHECK(poise_backend(NULL) == NULL);
    /* Nowhere to put the event: it is not lost. */
    CHECK_INT(poise_timer_start(queue, &timer, 0, &timer), 0);
    CHECK(poise_wait(queue, 0) > 0);
    CHECK(!poise_next(queue, NULL));
    CHECK(poise_next(queue, &event));
    CHECK(event.data == &timer);
    CALL(check_unharmed(queue));
    poise_close(queue);
}

TEST(BAD, next_without_a_wait)
{
    poise *queue = open_queue();
    poise_event event;
    CHECK(!poise_next(queue, &event));
    CHECK_INT(poise_wait(queue, 0), 0);
    CHECK(!poise_next(queue, &event));
    CALL(check_unharmed(queue));
    poise_close(queue);
}

TEST(BAD, flags)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2], other;
    tcp_pair(fd);
    for (size_t i = 0; i < sizeof bad_flags / sizeof bad_flags[0]; i++) {
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), bad_flags[i], fd), -EINVAL);
        CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), -ENOENT); /* nothing was added */
    }
    /* A source that is watched stays as it was. */
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), OUT, fd), 0);
    for (size_t i = 0; i < sizeof bad_flags / sizeof bad_flags[0]; i++) {
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), bad_flags[i], &other), -EINVAL);
        CHECK_INT(wait_for(queue, fd), OUT);
    }
    static const uint32_t no_directions[] = { POISE_ERROR, POISE_READ_CLOSED, POISE_TIMER, POISE_WAKE,
                                              POISE_EDGE,  POISE_ONESHOT,     1u << 10,    1u << 31,
                                              UINT32_MAX,  IN | POISE_ERROR };
    for (size_t i = 0; i < sizeof no_directions / sizeof no_directions[0]; i++) {
        CHECK_INT(poise_again(queue, poise_fd(fd[0]), no_directions[i]), -EINVAL);
        CHECK_INT(poise_post(queue, poise_fd(fd[0]), no_directions[i]), -EINVAL);
    }
    CHECK_INT(poise_post(queue, poise_fd(fd[0]), 0), -EINVAL);
    CHECK_INT(wait_for(queue, fd), OUT);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    settle(queue);
    CHECK(silent(queue, fd, 5 * MS)); /* none of these posts came through */
    CALL(check_unharmed(queue));
    poise_close(queue);
    close_pair(fd);
}

TEST(BAD, numbers)
{
    static const int numbers[] = { -1, -2, -1000, INT_MIN, 99999, 1000000, INT_MAX };
    poise *queue = open_queue();
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        poise_source source = poise_fd(numbers[i]);
        CHECK_INT(poise_watch(queue, source, IN, NULL), -EBADF);
        CHECK_INT(poise_watch(queue, source, 0, NULL), -EBADF);
        CHECK_INT(poise_watch(queue, source, BOTH | POISE_ONESHOT, NULL), -EBADF);
        CHECK_INT(poise_unwatch(queue, source), -ENOENT);
        CHECK_INT(poise_again(queue, source, IN), -ENOENT);
        CHECK_INT(poise_post(queue, source, IN), -ENOENT);
    }
    CALL(check_unharmed(queue));
    poise_close(queue);
}

TEST(BAD, kinds)
{
    static const uint32_t kinds[] = { 2, 3, 1000, UINT32_MAX };
    poise *queue = open_queue();
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        poise_source source = { kinds[i], 1 };
        CHECK_INT(poise_watch(queue, source, IN, NULL), -ENOTSUP);
        CHECK_INT(poise_unwatch(queue, source), -ENOENT);
        CHECK_INT(poise_again(queue, source, IN), -ENOENT);
        CHECK_INT(poise_post(queue, source, IN), -ENOENT);
    }
    /* A pollable, where there are none. */
    poise_source pollable = { 1, 1 };
    if (!backend_is("wasip2")) {
        CHECK_INT(poise_watch(queue, pollable, IN, NULL), -ENOTSUP);
        CHECK_INT(poise_unwatch(queue, pollable), -ENOENT);
    } else {
        pollable.id = 0;
        CHECK_INT(poise_watch(queue, pollable, IN, NULL), -EBADF);
        pollable.id = -5;
        CHECK_INT(poise_watch(queue, pollable, IN, NULL), -EBADF);
    }
    CALL(check_unharmed(queue));
    poise_close(queue);
}

TEST(BAD, closed_descriptor)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    close(fd[0]);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), -EBADF);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), 0, fd), -EBADF);
    CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), -ENOENT);
    CHECK_INT(poise_again(queue, poise_fd(fd[0]), IN), -ENOENT);
    CHECK_INT(poise_post(queue, poise_fd(fd[0]), IN), -ENOENT);
    close(fd[1]);
    CALL(check_unharmed(queue));
    poise_close(queue);
}

/* A poise_watch that fails leaves the source as it was: here paused, with its data. */
TEST(BAD, failed_watch)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2], other;
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), 0, fd), 0);
#ifdef __wasi__
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), OUT | POISE_PRIORITY, &other), -ENOTSUP);
#else
    int copy = dup(fd[0]);
    close(fd[0]);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), OUT, &other), -EBADF);
    MUST(dup2(copy, fd[0]) == fd[0]);
    close(copy);
#endif
    CHECK_INT(poise_wait(queue, 10 * MS), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), OUT, fd), 0);
    CHECK_INT(wait_for(queue, fd), OUT);
#ifdef __wasi__
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_PRIORITY, &other), -ENOTSUP);
    for (int i = 0; i < 3; i++)
        CHECK_INT(wait_for(queue, fd), OUT);
#endif
    CALL(check_unharmed(queue));
    poise_close(queue);
    close_pair(fd);
}

TEST(BAD, not_watched)
{
    NEED_SOCKETS();
    poise *queue = open_queue(), *other = open_queue();
    int fd[2];
    tcp_pair(fd);
    for (int round = 0; round < 3; round++) {
        CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), -ENOENT);
        CHECK_INT(poise_again(queue, poise_fd(fd[0]), IN), -ENOENT);
        CHECK_INT(poise_post(queue, poise_fd(fd[0]), IN), -ENOENT);
        CHECK_INT(poise_watch(other, poise_fd(fd[0]), IN, fd), 0); /* another queue's does not count */
        CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), -ENOENT);
        CHECK_INT(poise_post(queue, poise_fd(fd[0]), IN), -ENOENT);
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
        CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), 0);
        CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), -ENOENT); /* twice */
        CHECK_INT(poise_unwatch(other, poise_fd(fd[0])), 0);
    }
    CALL(check_unharmed(queue));
    CALL(check_unharmed(other));
    poise_close(queue);
    poise_close(other);
    close_pair(fd);
}

/* Again and post with nothing, and of a direction that is not watched, are no errors. */
TEST(BAD, again_with_nothing)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_EDGE, fd), 0);
    CHECK_INT(poise_again(queue, poise_fd(fd[0]), 0), 0);
    CHECK_INT(poise_again(queue, poise_fd(fd[0]), OUT), 0);
    for (int i = 0; i < 100; i++)
        CHECK_INT(poise_again(queue, poise_fd(fd[0]), IN), 0);
    settle(queue);
    CHECK(silent(queue, fd, 5 * MS));
    send_byte(fd[1]);
    CHECK_INT(wait_for(queue, fd), IN);
    CALL(check_unharmed(queue));
    poise_close(queue);
    close_pair(fd);
}

TEST(BAD, timer)
{
    poise *queue = open_queue(), *other = open_queue();
    poise_timer timer = { 0 };
    CHECK(!poise_timer_stop(queue, &timer)); /* never started */
    CHECK_INT(poise_timer_start(queue, &timer, poise_now() + (uint64_t)(10 * MS), &timer), 0);
    CHECK_INT(poise_timer_start(other, &timer, 0, &other), -EBUSY); /* it runs in another queue */
    CHECK(!poise_timer_stop(other, &timer));
    CHECK_INT(wait_for(queue, &timer), POISE_TIMER);
    CHECK(!poise_timer_stop(queue, &timer));
    CHECK_INT(poise_timer_start(other, &timer, 0, &timer), 0); /* it has run out, so it is free */
    CHECK_INT(wait_for(other, &timer), POISE_TIMER);
    CHECK_INT(poise_timer_start(queue, &timer, 0, &timer), 0);
    CHECK(poise_wait(queue, 0) > 0);
    CHECK_INT(poise_timer_start(other, &timer, 0, &timer), -EBUSY); /* gathered, and not taken */
    CHECK(poise_timer_stop(queue, &timer));
    CHECK(!poise_timer_stop(queue, &timer));
    CALL(check_unharmed(queue));
    CALL(check_unharmed(other));
    poise_close(queue);
    poise_close(other);
}

TEST(BAD, waker)
{
    poise *queue = open_queue(), *other = open_queue();
    poise_waker waker = { 0 };
    poise_wake(&waker); /* never opened */
    CHECK_INT(poise_wait(queue, 0), 0);
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    CHECK_INT(poise_waker_open(queue, &waker, NULL), -EBUSY);
    CHECK_INT(poise_waker_open(other, &waker, NULL), -EBUSY);
    poise_wake(&waker);
    CHECK_INT(wait_for(queue, &waker), POISE_WAKE);
    CHECK_INT(poise_wait(other, 0), 0);
    poise_waker_close(&waker);
    poise_waker_close(&waker);
    poise_wake(&waker); /* closed */
    CHECK_INT(poise_wait(queue, 0), 0);
    CHECK_INT(poise_waker_open(other, &waker, &waker), 0);
    poise_wake(&waker);
    CHECK_INT(wait_for(other, &waker), POISE_WAKE);
    poise_waker_close(&waker);
    CALL(check_unharmed(queue));
    CALL(check_unharmed(other));
    poise_close(queue);
    poise_close(other);
}

#ifdef __wasi__
TEST(BAD, descriptor_limit) { SKIP("WASI has no limit of descriptors to set"); }
#else
/* With no descriptor left: open says so and leaks none; a queue that is open goes on, also when it comes upon an
 * orphan. */
TEST(BAD, descriptor_limit)
{
    struct rlimit limit, low;
    int fd[2], last = -1, extra[512], n = 0;
    poise *queue = open_queue(), *another = NULL;
    tcp_pair(fd);
    MUST(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    low = limit;
    int first = dup(0); /* the lowest number that is free */
    close(first);
    low.rlim_cur = (rlim_t)first + 100;
    MUST(setrlimit(RLIMIT_NOFILE, &low) == 0);
    while (n < 512 && (last = dup(0)) >= 0)
        extra[n++] = last;
    struct memory memory = { 0 };
    int result = 0, tries = 0;
    /* With none left, one left, ... until it is enough. */
    for (; tries < 10 && n > 0; tries++) {
        result = try_open(&another, (poise_options){ .realloc = memory_realloc, .context = &memory });
        if (result == 0)
            break;
        if (result != -EMFILE || another != NULL || memory.live != 0)
            break;
        /* It has not kept any: as many as before can still be opened. */
        int probe[16], free_now = 0;
        while (free_now < 16 && (probe[free_now] = dup(0)) >= 0)
            free_now++;
        for (int i = 0; i < free_now; i++)
            close(probe[i]);
        if (free_now != tries) {
            result = -1;
            break;
        }
        close(extra[--n]);
    }
    int wanted = result == 0 ? tries : -1;
    if (result == 0)
        poise_close(another);
    /* Fill up again, and use the other queue. */
    while (n < 512 && (last = dup(0)) >= 0)
        extra[n++] = last;
    int watched = poise_watch(queue, poise_fd(fd[0]), IN, fd);
    send_byte(fd[1]);
    uint32_t ready = wait_for(queue, fd);
    poise_waker waker = { 0 };
    poise_timer timer = { 0 };
    int opened = poise_waker_open(queue, &waker, &waker);
    poise_wake(&waker);
    uint32_t woken = wait_for(queue, &waker);
    int started = poise_timer_start(queue, &timer, 0, &timer);
    uint32_t timed = wait_for(queue, &timer);
    /* An orphan, and no descriptor for a new set: the old one is kept. */
    drain(fd[0]);
    int copy = extra[n - 1];
    MUST(dup2(fd[0], copy) == copy);
    send_byte(fd[1]);
    close(fd[0]);
    int placed = dup(0); /* the number is taken at once */
    int unwatched = poise_unwatch(queue, poise_fd(fd[0]));
    struct seen seen;
    int harm = 0;
    for (uint64_t end = poise_now() + (uint64_t)(20 * MS); poise_now() < end;) {
        poise_wake(&waker);
        if (wait_all(queue, 5 * MS, &seen) < 0 || seen_count(&seen, fd) != 0)
            harm++;
    }
    for (int i = 0; i < n; i++)
        close(extra[i]);
    close(placed);
    MUST(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK(wanted >= 1);
    CHECK_INT(watched, 0);
    CHECK_INT(ready, IN);
    CHECK_INT(opened, 0);
    CHECK_INT(woken, POISE_WAKE);
    CHECK_INT(started, 0);
    CHECK_INT(timed, POISE_TIMER);
    CHECK_INT(unwatched, 0);
    CHECK_INT(harm, 0);
    CALL(check_unharmed(queue));
    poise_waker_close(&waker);
    poise_close(queue);
    close(fd[1]);
}
#endif
