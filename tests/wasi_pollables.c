/* poise/wasi.h: any pollable of the host as a source. On every other backend: -ENOTSUP. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "wasi_kit.h"

#include <poise/wasi.h>

TEST(BRIDGE, pollable_elsewhere)
{
    if (backend_is("wasip2"))
        return; /* the other tests of this file */
    poise *queue = open_queue();
    CHECK_INT(poise_watch(queue, poise_pollable(1), POISE_READABLE, NULL), -ENOTSUP);
    CHECK_INT(poise_watch(queue, poise_pollable(0), POISE_READABLE, NULL), -ENOTSUP);
    CHECK_INT(poise_unwatch(queue, poise_pollable(1)), -ENOENT);
    check_unharmed(queue);
    poise_close(queue);
}

#if TEST_WASIP2

#include <poll.h>
#include <unistd.h>
#include <wasi/wasip2.h>

#define R ((uint32_t)POISE_READABLE)
#define W ((uint32_t)POISE_WRITABLE)

static int32_t in(uint64_t ns) { return monotonic_clock_subscribe_duration(ns).__handle; }
static int32_t never(void) { return in((uint64_t)(3600 * SECOND)); }
static void drop(int32_t handle) { poll_pollable_drop_own((poll_own_pollable_t){ handle }); }
static bool is_ready(int32_t handle) { return poll_method_pollable_ready((poll_borrow_pollable_t){ handle }); }

/* Ready now and for good: a moment that has passed. */
static int32_t passed(void)
{
    int32_t handle = in(0);
    poll_method_pollable_block((poll_borrow_pollable_t){ handle });
    return handle;
}

/* ---- what is wrong ------------------------------------------------------------------------------------------------- */

TEST(BRIDGE, pollable_bad_input)
{
    NEED_WASIP2();
    poise *queue = open_queue();
    int32_t handle = never();
    CHECK_INT(poise_watch(queue, poise_pollable(0), R, NULL), -EBADF);
    CHECK_INT(poise_watch(queue, poise_pollable(-1), R, NULL), -EBADF);
    CHECK_INT(poise_watch(queue, poise_pollable(INT32_MIN), R, NULL), -EBADF);
    CHECK_INT(poise_watch(queue, poise_pollable(handle), R | POISE_PRIORITY, NULL), -ENOTSUP);
    CHECK_INT(poise_watch(queue, poise_pollable(handle), R | POISE_EDGE | POISE_ONESHOT, NULL), -EINVAL);
    CHECK_INT(poise_watch(queue, poise_pollable(handle), 1u << 30, NULL), -EINVAL);
    CHECK_INT(poise_watch(queue, (poise_source){ 2, handle }, R, NULL), -ENOTSUP);
    CHECK_INT(poise_unwatch(queue, poise_pollable(handle)), -ENOENT);
    CHECK_INT(poise_again(queue, poise_pollable(handle), R), -ENOENT);
    CHECK_INT(poise_post(queue, poise_pollable(handle), R), -ENOENT);
    CHECK_INT(poise_watch(queue, poise_pollable(handle), R, NULL), 0);
    CHECK_INT(poise_watch(queue, poise_pollable(handle), R | POISE_PRIORITY, NULL), -ENOTSUP); /* stays as it was */
    CHECK_INT(poise_unwatch(queue, poise_pollable(handle)), 0);
    CHECK_INT(poise_unwatch(queue, poise_pollable(handle)), -ENOENT);
    check_unharmed(queue);
    poise_close(queue);
    drop(handle);
}

/* A descriptor and a handle of the same number are two sources. */
TEST(BRIDGE, pollable_is_no_descriptor)
{
    NEED_WASIP2();
    poise *queue = open_queue();
    int fd[2];
    int a, b;
    tcp_pair(fd);
    int32_t handle = passed();
    while (handle < fd[0]) /* until there is one of that number */
        handle = passed();
    CHECK_INT(handle >= fd[0], 1);
    if (handle == fd[0]) {
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), R, &a), 0);
        CHECK_INT(poise_watch(queue, poise_pollable(fd[0]), R, &b), 0);
        struct seen seen;
        CHECK(wait_all(queue, patience(), &seen) > 0);
        CHECK_INT(seen_count(&seen, &a), 0);
        CHECK_INT(seen_count(&seen, &b), 1);
        CHECK_INT(poise_unwatch(queue, poise_pollable(fd[0])), 0);
        CHECK(silent(queue, &b, 5 * MS));
        send_byte(fd[1]);
        CHECK((wait_for(queue, &a) & R) != 0);
    }
    poise_close(queue);
    close_pair(fd);
}

/* ---- level, edge, one-shot, paused, posted --------------------------------------------------------------------------- */

TEST(BRIDGE, pollable_level)
{
    NEED_WASIP2();
    poise *queue = open_queue();
    uint64_t start = poise_now();
    int32_t handle = in((uint64_t)(20 * MS));
    CHECK_INT(poise_watch(queue, poise_pollable(handle), R, &handle), 0);
    CHECK(silent(queue, &handle, 10 * MS) || poise_now() - start >= (uint64_t)(20 * MS));
    CHECK_INT(wait_for(queue, &handle), R);
    CHECK(poise_now() - start >= (uint64_t)(20 * MS));
    for (int i = 0; i < 20; i++)
        CHECK_INT(wait_for(queue, &handle), R); /* it stays so */
    CHECK_INT(poise_watch(queue, poise_pollable(handle), W, &handle), 0);
    CHECK_INT(wait_for(queue, &handle), W);
    CHECK_INT(poise_watch(queue, poise_pollable(handle), R | W, &queue), 0);
    CHECK_INT(wait_for(queue, &queue), R | W);
    CHECK_INT(poise_watch(queue, poise_pollable(handle), 0, &handle), 0);
    CHECK(silent(queue, &handle, 10 * MS));
    CHECK_INT(poise_watch(queue, poise_pollable(handle), R, &handle), 0);
    CHECK_INT(wait_for(queue, &handle), R);
    CHECK_INT(poise_unwatch(queue, poise_pollable(handle)), 0);
    CHECK(silent(queue, &handle, 10 * MS));
    drop(handle);
    poise_close(queue);
}

TEST(BRIDGE, pollable_edge)
{
    NEED_WASIP2();
    poise *queue = open_queue();
    int32_t handle = in((uint64_t)(5 * MS));
    CHECK_INT(poise_watch(queue, poise_pollable(handle), R | POISE_EDGE, &handle), 0);
    CHECK_INT(wait_for(queue, &handle), R);
    CHECK(silent(queue, &handle, 20 * MS));
    CHECK_INT(poise_again(queue, poise_pollable(handle), R), 0);
    CHECK_INT(wait_for(queue, &handle), R);
    CHECK(silent(queue, &handle, 5 * MS));
    CHECK_INT(poise_watch(queue, poise_pollable(handle), R | POISE_EDGE, &handle), 0);
    CHECK_INT(wait_for(queue, &handle), R);
    CHECK_INT(poise_unwatch(queue, poise_pollable(handle)), 0);
    drop(handle);
    poise_close(queue);
}

TEST(BRIDGE, pollable_oneshot)
{
    NEED_WASIP2();
    poise *queue = open_queue();
    int32_t handle = in((uint64_t)(5 * MS));
    for (int i = 0; i < 3; i++) {
        CHECK_INT(poise_watch(queue, poise_pollable(handle), R | POISE_ONESHOT, &handle), 0);
        CHECK_INT(wait_for(queue, &handle), R);
        CHECK(silent(queue, &handle, 10 * MS));
    }
    CHECK_INT(poise_unwatch(queue, poise_pollable(handle)), 0);
    drop(handle);
    poise_close(queue);
}

TEST(BRIDGE, pollable_post)
{
    NEED_WASIP2();
    poise *queue = open_queue();
    int32_t handle = never();
    CHECK_INT(poise_watch(queue, poise_pollable(handle), R, &handle), 0);
    CHECK_INT(poise_post(queue, poise_pollable(handle), R), 0);
    CHECK_INT(wait_for(queue, &handle), R);
    CHECK(silent(queue, &handle, 10 * MS));
    CHECK_INT(poise_watch(queue, poise_pollable(handle), 0, &handle), 0);
    CHECK_INT(poise_post(queue, poise_pollable(handle), R), 0);
    CHECK(silent(queue, &handle, 10 * MS));
    CHECK_INT(poise_watch(queue, poise_pollable(handle), R | POISE_ONESHOT, &handle), 0);
    CHECK_INT(wait_for(queue, &handle), R);
    CHECK_INT(poise_unwatch(queue, poise_pollable(handle)), 0);
    drop(handle);
    poise_close(queue);
}

/* ---- dropped --------------------------------------------------------------------------------------------------------- */

static void drop_while_watched(uint32_t mode, bool waited)
{
    poise *queue = open_queue();
    int32_t handle = never();
    struct seen seen;
    CHECK_INT(poise_watch(queue, poise_pollable(handle), R | mode, &handle), 0);
    if (waited)
        CHECK_INT(wait_all(queue, 0, &seen), 0);
    drop(handle);
    if (!waited)
        CHECK_INT(poise_unwatch(queue, poise_pollable(handle)), 0); /* nobody has named it yet: too late to notice */
    CHECK_INT(wait_all(queue, 20 * MS, &seen), waited ? 1 : 0);
    if (waited) {
        CHECK_INT(seen.n, 1);
        CHECK_INT(seen.event[0].ready, R | POISE_ERROR);
        CHECK_INT(seen.event[0].result, -EBADF);
    }
    CHECK(silent(queue, &handle, 10 * MS)); /* once */
    int32_t other = passed();
    CHECK_INT(other, handle); /* the host gives the number again */
    if (waited) {
        CHECK_INT(poise_watch(queue, poise_pollable(other), R | mode, &other), 0);
        CHECK_INT(wait_for(queue, &other), R);
        CHECK_INT(poise_unwatch(queue, poise_pollable(other)), 0);
    }
    CHECK(silent(queue, &other, 5 * MS));
    drop(other);
    poise_close(queue);
}

TEST(BRIDGE, pollable_dropped_while_watched)
{
    NEED_WASIP2();
    static const uint32_t modes[] = { 0, POISE_EDGE, POISE_ONESHOT };
    for (int i = 0; i < 3; i++) {
        CALL(drop_while_watched(modes[i], true));
        CALL(drop_while_watched(modes[i], false));
    }
}

/* Gathered and not taken, then unwatched and dropped; paused, then dropped; dropped under the eyes of two queues. */
TEST(BRIDGE, pollable_dropped_in_other_ways)
{
    NEED_WASIP2();
    poise *queue = open_queue(), *other = open_queue();
    int32_t handle = passed();
    struct seen seen;
    poise_event event;
    CHECK_INT(poise_watch(queue, poise_pollable(handle), R, &handle), 0);
    CHECK(poise_wait(queue, patience()) > 0);
    CHECK_INT(poise_unwatch(queue, poise_pollable(handle)), 0);
    drop(handle);
    CHECK(!poise_next(queue, &event));
    CHECK_INT(wait_all(queue, 5 * MS, &seen), 0);

    handle = never();
    CHECK_INT(poise_watch(queue, poise_pollable(handle), R, &handle), 0);
    CHECK_INT(wait_all(queue, 0, &seen), 0);
    CHECK_INT(poise_watch(queue, poise_pollable(handle), 0, &handle), 0);
    drop(handle);
    CHECK_INT(wait_all(queue, 5 * MS, &seen), 0);
    CHECK_INT(poise_unwatch(queue, poise_pollable(handle)), 0);

    handle = never();
    CHECK_INT(poise_watch(queue, poise_pollable(handle), R, &handle), 0);
    CHECK_INT(poise_watch(other, poise_pollable(handle), R, &handle), 0);
    CHECK_INT(wait_all(queue, 0, &seen), 0);
    CHECK_INT(wait_all(other, 0, &seen), 0);
    drop(handle);
    CHECK_INT(wait_all(queue, 5 * MS, &seen), 1);
    CHECK_INT(seen_ready(&seen, &handle), R | POISE_ERROR);
    CHECK_INT(wait_all(other, 5 * MS, &seen), 1);
    CHECK_INT(seen_ready(&seen, &handle), R | POISE_ERROR);
    poise_close(other);
    check_unharmed(queue);
    poise_close(queue);
}

/* Many handles, of which many numbers are the same again: opened, watched, unwatched, dropped. */
TEST(BRIDGE, pollable_numbers_reused)
{
    NEED_WASIP2();
    poise *queue = open_queue();
    struct seen seen;
    for (unsigned i = 0; i < scale(1000); i++) {
        int32_t handle = i % 2 ? passed() : never();
        CHECK_INT(poise_watch(queue, poise_pollable(handle), R, &handle), 0);
        CHECK_INT(wait_all(queue, 0, &seen), (int)(i % 2));
        if (i % 3 == 0)
            drop(handle); /* first */
        CHECK_INT(poise_unwatch(queue, poise_pollable(handle)), 0);
        if (i % 3 != 0)
            drop(handle);
    }
    check_unharmed(queue);
    poise_close(queue);
}

/* ---- what stands behind them ------------------------------------------------------------------------------------------- */

TEST(BRIDGE, two_hundred_pollables)
{
    NEED_WASIP2();
    enum { N = 200 };
    poise *queue = open_queue_with((poise_options){ .batch = 16 });
    int32_t handle[N];
    bool came[N] = { false };
    int missing = N;
    for (int i = 0; i < N; i++) {
        handle[i] = in((uint64_t)(i % 20 * MS));
        CHECK_INT(poise_watch(queue, poise_pollable(handle[i]), R | POISE_ONESHOT, &came[i]), 0);
    }
    for (uint64_t end = poise_now() + (uint64_t)patience(); missing > 0 && poise_now() < end;) {
        CHECK(poise_wait(queue, 100 * MS) >= 0);
        poise_event event;
        while (poise_next(queue, &event)) {
            bool *one = event.data;
            CHECK_INT(event.ready, R);
            CHECK(!*one);
            *one = true;
            missing--;
        }
    }
    CHECK_INT(missing, 0);
    /* All of them ready now, in level mode: each within ceil(200 / 16) + 1 waits, again and again. */
    for (int i = 0; i < N; i++)
        CHECK_INT(poise_watch(queue, poise_pollable(handle[i]), R, &came[i]), 0);
    for (int round = 0; round < 3; round++) {
        memset(came, 0, sizeof came);
        for (int i = 0; i < (N + 15) / 16 + 1; i++) {
            CHECK(poise_wait(queue, 0) > 0);
            poise_event event;
            while (poise_next(queue, &event))
                *(bool *)event.data = true;
        }
        for (int i = 0; i < N; i++)
            CHECK(came[i]);
    }
    for (int i = 0; i < N; i++) {
        CHECK_INT(poise_unwatch(queue, poise_pollable(handle[i])), 0);
        drop(handle[i]);
    }
    check_unharmed(queue);
    poise_close(queue);
}

TEST(BRIDGE, name_lookup)
{
    NEED_WASIP2();
    poise *queue = open_queue();
    instance_network_own_network_t network = instance_network_instance_network();
    ip_name_lookup_own_resolve_address_stream_t stream;
    ip_name_lookup_error_code_t error = 0;
    wasip2_string_t name = { (uint8_t *)(uintptr_t)"localhost", 9 };
    int addresses = 0;
    CHECK(ip_name_lookup_resolve_addresses(network_borrow_network(network), &name, &stream, &error));
    ip_name_lookup_borrow_resolve_address_stream_t borrowed = ip_name_lookup_borrow_resolve_address_stream(stream);
    int32_t handle = ip_name_lookup_method_resolve_address_stream_subscribe(borrowed).__handle;
    CHECK_INT(poise_watch(queue, poise_pollable(handle), R, &stream), 0);
    for (;;) {
        ip_name_lookup_option_ip_address_t address;
        if (ip_name_lookup_method_resolve_address_stream_resolve_next_address(borrowed, &address, &error)) {
            if (!address.is_some)
                break;
            CHECK_INT(address.val.tag == NETWORK_IP_ADDRESS_IPV4 ? address.val.val.ipv4.f0 : 127, 127);
            addresses++;
        } else {
            CHECK_INT(error, NETWORK_ERROR_CODE_WOULD_BLOCK);
            CHECK_INT(wait_for(queue, &stream), R);
        }
    }
    CHECK(addresses > 0);
    CHECK_INT(poise_unwatch(queue, poise_pollable(handle)), 0);
    drop(handle);
    ip_name_lookup_resolve_address_stream_drop_own(stream);
    network_network_drop_own(network);
    check_unharmed(queue);
    poise_close(queue);
}

/* Standard input by its own pollable, beside the descriptor. */
TEST(BRIDGE, standard_input_pollable)
{
    NEED_WASIP2();
    poise *queue = open_queue();
    struct seen seen;
    stdin_own_input_stream_t stream = stdin_get_stdin();
    int32_t handle = streams_method_input_stream_subscribe(streams_borrow_input_stream(stream)).__handle;
    CHECK_INT(poise_watch(queue, poise_pollable(handle), R, &stream), 0);
    CHECK_INT(poise_watch(queue, poise_fd(0), R, &handle), 0);
    CHECK(wait_all(queue, 20 * MS, &seen) >= 0);
    if (is_ready(handle)) { /* at its end, say */
        CHECK_INT(wait_for(queue, &stream), R);
        CHECK_INT(wait_for(queue, &handle), R);
    } else if (feed_stdin()) {
        CHECK_INT(wait_for(queue, &stream), R);
        CHECK_INT(wait_for(queue, &handle), R);
        char line[2];
        CHECK_INT(read(0, line, sizeof line), 2);
    }
    CHECK_INT(poise_unwatch(queue, poise_fd(0)), 0);
    CHECK_INT(poise_unwatch(queue, poise_pollable(handle)), 0);
    drop(handle);
    if (!host_is(
            "jco")) /* its get-stdin gives libc's stream once more, which has libc's pollable: the drop would trap */
        streams_input_stream_drop_own(stream);
    poise_close(queue);
}

/* Pollables, descriptors, timers and a waker end the same wait; and sources come out before timers. */
TEST(BRIDGE, pollable_among_others)
{
    NEED_WASIP2();
    poise *queue = open_queue();
    int fd[2];
    tcp_pair(fd);
    int32_t handle = passed();
    poise_timer timer;
    poise_waker waker;
    memset(&timer, 0, sizeof timer);
    memset(&waker, 0, sizeof waker);
    send_byte(fd[1]);
    await_readable(fd[0]);
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    CHECK_INT(poise_timer_start(queue, &timer, 1, &timer), 0);
    CHECK_INT(poise_watch(queue, poise_pollable(handle), R, &handle), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), R, fd), 0);
    poise_wake(&waker);
    struct seen seen;
    CHECK(wait_all(queue, patience(), &seen) > 0);
    CHECK_INT(seen_ready(&seen, &handle), R);
    CHECK_INT(seen_ready(&seen, fd) & R, R);
    CHECK_INT(seen_ready(&seen, &waker), POISE_WAKE);
    CHECK_INT(seen.event[seen.n - 1].ready, POISE_TIMER);
    poise_waker_close(&waker);
    poise_close(queue);
    drop(handle);
    close_pair(fd);
}

#endif
