/* A queue at its work: both ends of a connection, a timer and a waker. Says which backend it was. */
#ifndef POISE_BRIDGE_WITH_POISE_H
#define POISE_BRIDGE_WITH_POISE_H

#include <poise/poise.h>

#include "check.h"

static inline uint32_t wait_for(poise *queue, const void *data)
{
    uint64_t end = poise_now() + UINT64_C(20000000000);
    while (poise_now() < end) {
        CHECK(poise_wait(queue, INT64_C(1000000000)) >= 0);
        poise_event event;
        uint32_t ready = 0;
        while (poise_next(queue, &event))
            ready |= event.data == data ? event.ready : 0;
        if (ready != 0)
            return ready;
    }
    return 0;
}

static inline void check_queue(const char *backend)
{
    poise *queue = NULL;
    poise_timer timer;
    poise_waker waker;
    int fd[2];
    char byte;
    memset(&timer, 0, sizeof timer);
    memset(&waker, 0, sizeof waker);
    CHECK(poise_open(&queue, NULL) == 0);
    CHECK(strcmp(poise_backend(queue), backend) == 0);
    tcp_pair(fd);
    CHECK(poise_watch(queue, poise_fd(fd[0]), POISE_READABLE, &fd[0]) == 0);
    CHECK(poise_watch(queue, poise_fd(fd[1]), POISE_READABLE | POISE_WRITABLE | POISE_EDGE, &fd[1]) == 0);
    CHECK(poise_waker_open(queue, &waker, &waker) == 0);
    CHECK((wait_for(queue, &fd[1]) & POISE_WRITABLE) != 0);
    for (int i = 0; i < 50; i++) {
        send_byte(fd[1]);
        while (recv(fd[0], &byte, 1, 0) != 1)
            CHECK((wait_for(queue, &fd[0]) & POISE_READABLE) != 0);
        CHECK(poise_timer_start(queue, &timer, poise_now() + 1000000, &timer) == 0);
        CHECK(wait_for(queue, &timer) == POISE_TIMER);
        poise_wake(&waker);
        CHECK(wait_for(queue, &waker) == POISE_WAKE);
    }
    close(fd[0]); /* first, for once */
    CHECK(poise_wait(queue, 1000000) >= 0);
    CHECK(poise_unwatch(queue, poise_fd(fd[0])) == 0 && poise_unwatch(queue, poise_fd(fd[1])) == 0);
    close(fd[1]);
    poise_waker_close(&waker);
    poise_close(queue);
}

#endif
