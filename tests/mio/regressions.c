/* mio's tests/regressions.rs */
#include "kit.h"

/* Nothing has made another descriptor of the stream, which would keep it open. */
TEST(regressions, issue_776)
{
    poise *queue = open_queue();
    poise_address address;
    char bytes[16];
    int listener = listen_at(V4, &address);
    int client = poise_tcp_connect(&address);
    CHECK(client >= 0);
    CHECK_INT(poise_watch(queue, poise_fd(client), BOTH | EDGE, &client), 0);
    CHECK(wait_for_bits(queue, &client, OUT) != 0);
    int server = patient_accept(listener, NULL);
    CHECK(server >= 0);
    CHECK_INT(receive(queue, client, bytes, sizeof bytes, NULL), -EAGAIN);
    close(client); /* still watched */
    ptrdiff_t n = patient_recv(server, bytes, sizeof bytes, NULL);
    poise_close(queue);
    close(server);
    close(listener);
    POINT(n == 0);
}

/* ---- issue_1205 -------------------------------------------------------------------------------------------------- */

#ifdef __wasi__

/* A single thread wakes itself between two waits: the first ends with a timer's event. */
static void wait_and_be_woken(poise *queue, poise_waker *waker, struct seen *seen)
{
    struct seen timed;
    poise_timer timer = { 0 };
    CHECK_INT(poise_timer_start(queue, &timer, poise_now() + (uint64_t)(20 * MS), &timer), 0);
    CHECK(wait_all(queue, POISE_FOREVER, &timed) > 0);
    CHECK_INT(timed.n, 1);
    CHECK_INT(seen_ready(&timed, &timer), POISE_TIMER);
    poise_wake(waker);
    CHECK(wait_all(queue, POISE_FOREVER, seen) > 0);
}

#else

#include <pthread.h>
#include <time.h>

static void *wake_later(void *waker)
{
    struct timespec time = { .tv_nsec = 50 * MS };
    nanosleep(&time, NULL);
    poise_wake(waker);
    return NULL;
}

static void wait_and_be_woken(poise *queue, poise_waker *waker, struct seen *seen)
{
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, wake_later, waker) == 0);
    int n = wait_all(queue, POISE_FOREVER, seen);
    MUST(pthread_join(thread, NULL) == 0);
    CHECK(n > 0);
}

#endif

TEST(regressions, issue_1205)
{
    poise *queue = open_queue();
    poise_waker waker = { 0 };
    poise_address address;
    struct seen seen;
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    int listener = listen_at(V4, &address);
    CHECK_INT(poise_watch(queue, poise_fd(listener), IN | EDGE, &listener), 0);
    CHECK_INT(poise_wait(queue, 0), 0);
    int client = poise_tcp_connect(&address);
    CHECK(client >= 0);
    await_readable(listener); /* so that there is an event to be missed */
    CHECK_INT(poise_unwatch(queue, poise_fd(listener)), 0);
    CALL(wait_and_be_woken(queue, &waker, &seen));
    poise_waker_close(&waker);
    poise_close(queue);
    close(client);
    close(listener);
    POINT(seen.n == 1 && seen_ready(&seen, &waker) == POISE_WAKE);
}

/* ---- issue_1403 -------------------------------------------------------------------------------------------------- */

#ifdef __wasi__

TEST(regressions, issue_1403) { SKIP("WASI has no Unix sockets"); }

#else

TEST(regressions, issue_1403)
{
    static char sent[1024], got[1024];
    open_folder();
    poise_address address = named("a"), from = address;
    memset(sent, 1, sizeof sent);
    int bound = poise_unix_bind(&address), unbound = poise_unix_bind(NULL);
    CHECK(bound >= 0 && unbound >= 0);
    CHECK_INT(poise_send_to(unbound, sent, sizeof sent, &address), sizeof sent);
    ptrdiff_t n = poise_recv_from(bound, got, sizeof got, &from);
    close(unbound);
    close(bound);
    close_folder();
    CHECK_INT(n, sizeof sent);
    CHECK(memcmp(sent, got, sizeof sent) == 0);
    POINT(poise_address_path(&from, NULL) == NULL);
}

#endif
