/* What the header says beside the promises: names, versions, nesting. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "test.h"

#ifndef __wasi__
#include <poll.h>
#endif
#include <unistd.h>

enum { IN = POISE_READABLE, OUT = POISE_WRITABLE };

TEST(API, version)
{
    unsigned major, minor, patch;
    CHECK_INT(sscanf(poise_version(), "%u.%u.%u", &major, &minor, &patch), 3);
    CHECK_INT(major << 16 | minor << 8 | patch, POISE_VERSION_NUMBER);
}

TEST(API, backend)
{
    poise *queue = open_queue();
    CHECK(strcmp(poise_backend(queue), test_backend) == 0);
    poise_close(queue);
    CHECK_INT(poise_open(&queue, NULL), 0);
    CHECK(strlen(poise_backend(queue)) > 0);
    poise_close(queue);
    /* Only wasip2 alone, where the host knows it. */
    static const char *const names[] = { "epoll", "poll", "wasip2" };
    unsigned found = 0;
    for (int i = 0; i < 3; i++) {
        poise_options options = { .size = sizeof options, .backend = names[i] };
        int result = poise_open(&queue, &options);
        if (result == 0) {
            CHECK(strcmp(poise_backend(queue), names[i]) == 0);
            poise_close(queue);
            found++;
        } else {
            CHECK_INT(result, -ENOTSUP);
            CHECK(queue == NULL);
        }
    }
    CHECK_INT(found, has_sockets() ? 2 : 1);
}

TEST(API, source_is_a_value)
{
    CHECK_INT(poise_fd(7).id, 7);
    CHECK_INT(poise_fd(7).kind, 0);
    CHECK_INT(poise_fd(-1).id, -1);
}

TEST(API, clock)
{
    uint64_t last = poise_now();
    for (int i = 0; i < 1000; i++) {
        uint64_t now = poise_now();
        CHECK(now >= last);
        last = now;
    }
    CHECK(last > 0);
}

TEST(API, close_with_everything_open)
{
    poise *queue = open_queue();
    poise_timer timer = { 0 };
    poise_waker waker = { 0 };
    CHECK_INT(poise_watch(queue, poise_fd(1), OUT, NULL), 0);
    CHECK_INT(poise_timer_start(queue, &timer, 0, NULL), 0);
    CHECK_INT(poise_waker_open(queue, &waker, NULL), 0);
    poise_wake(&waker);
    CHECK(poise_wait(queue, 0) > 0);
    poise_close(queue);
    /* Zeroed, they serve another queue. */
    memset(&timer, 0, sizeof timer);
    memset(&waker, 0, sizeof waker);
    queue = open_queue();
    CHECK_INT(poise_timer_start(queue, &timer, 0, &timer), 0);
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    poise_wake(&waker);
    struct seen seen;
    CHECK(wait_all(queue, 0, &seen) > 0);
    CHECK_INT(seen.n, 2);
    poise_waker_close(&waker);
    poise_close(queue);
}

TEST(API, data_may_be_null)
{
    poise *queue = open_queue();
    poise_timer timer = { 0 };
    CHECK_INT(poise_timer_start(queue, &timer, 0, NULL), 0);
    poise_event event = { .data = &timer };
    CHECK(poise_wait(queue, 0) > 0);
    CHECK(poise_next(queue, &event));
    CHECK(event.data == NULL);
    CHECK(!poise_next(queue, &event));
    poise_close(queue);
}

/* When an outer loop has to call poise_wait. */
TEST(API, deadline)
{
    poise *queue = open_queue();
    poise_timer timer = { 0 }, later = { 0 };
    poise_waker waker = { 0 };
    poise_event event;
    CHECK(poise_deadline(queue) == UINT64_MAX);
    uint64_t deadline = poise_now() + (uint64_t)(30 * MS);
    CHECK_INT(poise_timer_start(queue, &later, deadline + (uint64_t)SECOND, &later), 0);
    CHECK_INT(poise_timer_start(queue, &timer, deadline, &timer), 0);
    CHECK(poise_deadline(queue) <= deadline);
    CHECK(poise_deadline(queue) > deadline - (uint64_t)(29 * MS));
    /* A loop that waits as told gets there in few rounds. */
    unsigned rounds = 0;
    while (poise_wait(queue, 0) == 0) {
        uint64_t now = poise_now(), next = poise_deadline(queue);
        CHECK(next != UINT64_MAX);
        CHECK(rounds++ < 20);
        while (now < next)
            now = poise_now();
    }
    CHECK(poise_now() >= deadline);
    CHECK_INT(poise_deadline(queue), 0); /* there is something to take */
    CHECK(poise_next(queue, &event));
    CHECK(event.data == &timer);
    CHECK(poise_deadline(queue) > deadline);
    CHECK(poise_timer_stop(queue, &later));
    CHECK(poise_deadline(queue) == UINT64_MAX);
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    CHECK(poise_deadline(queue) == UINT64_MAX);
    poise_wake(&waker);
    CHECK_INT(poise_deadline(queue), 0);
    CHECK(poise_wait(queue, 0) > 0);
    CHECK_INT(poise_deadline(queue), 0);
    CHECK(poise_next(queue, &event));
    CHECK(poise_deadline(queue) == UINT64_MAX);
    poise_waker_close(&waker);
    poise_close(queue);
}

TEST(API, deadline_of_sources)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd[2];
    poise_event event;
    tcp_pair(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    settle(queue);
    CHECK(poise_deadline(queue) == UINT64_MAX);
    CHECK_INT(poise_post(queue, poise_fd(fd[0]), IN), 0);
    CHECK_INT(poise_deadline(queue), 0);
    CHECK(poise_wait(queue, 0) > 0);
    CHECK_INT(poise_deadline(queue), 0);
    CHECK(poise_next(queue, &event));
    CHECK(poise_deadline(queue) == UINT64_MAX);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), 0, fd), 0);
    CHECK_INT(poise_post(queue, poise_fd(fd[0]), IN), 0);
    CHECK(poise_deadline(queue) == UINT64_MAX); /* kept, not to be taken now */
    poise_close(queue);
    close_pair(fd);
}

#ifndef __wasi__
/* The queue in another loop: readable when there is something to take from the kernel, and silent when not. */
TEST(API, fileno)
{
    poise *queue = open_queue();
    poise_waker waker = { 0 };
    int fd[2], nested = poise_fileno(queue);
    if (!backend_is("epoll")) {
        CHECK_INT(nested, -ENOTSUP);
        poise_close(queue);
        return;
    }
    CHECK(nested >= 0);
    CHECK_INT(poise_fileno(queue), nested);
    struct pollfd outer = { .fd = nested, .events = POLLIN };
    tcp_pair(fd);
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    CHECK_INT(poll(&outer, 1, 0), 0);
    for (int i = 0; i < 3; i++) {
        send_byte(fd[1]);
        CHECK_INT(poll(&outer, 1, 2000), 1);
        struct seen seen;
        CHECK(wait_all(queue, 0, &seen) > 0);
        CHECK_INT(seen_ready(&seen, fd), IN);
        drain(fd[0]);
        CHECK_INT(poise_wait(queue, 0), 0);
        CHECK_INT(poll(&outer, 1, 0), 0);
        poise_wake(&waker);
        CHECK_INT(poll(&outer, 1, 2000), 1);
        CHECK(wait_all(queue, 0, &seen) > 0);
        CHECK_INT(seen_ready(&seen, &waker), POISE_WAKE);
        CHECK_INT(poise_wait(queue, 0), 0);
        CHECK_INT(poll(&outer, 1, 0), 0);
    }
    /* One queue in another. */
    poise *parent = open_queue();
    CHECK_INT(poise_watch(parent, poise_fd(nested), IN, queue), 0);
    CHECK_INT(poise_wait(parent, 10 * MS), 0);
    send_byte(fd[1]);
    CHECK_INT(wait_for(parent, queue), IN);
    poise_close(parent);
    poise_waker_close(&waker);
    poise_close(queue);
    close_pair(fd);
}
#else
TEST(API, fileno)
{
    poise *queue = open_queue();
    CHECK_INT(poise_fileno(queue), -ENOTSUP);
    poise_close(queue);
}
#endif
