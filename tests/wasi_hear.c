/* What the backend wasip2 hears of the program's own reads and writes (src/wasi/hear.c): the closed hints, and that a read
 * which took everything is not followed by a wait for nothing. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "wasi_kit.h"

#if TEST_WASIP2

#include <poise/net.h>
#include <time.h>
#include <unistd.h>
#include <wasi/hear.h> /* of src/ */

#define IN ((uint32_t)POISE_READABLE)
#define OUT ((uint32_t)POISE_WRITABLE)
#define BOTH (IN | OUT)
#define CLOSED ((uint32_t)(POISE_READ_CLOSED | POISE_WRITE_CLOSED))

static poise *queue;
static int fd[2];
static char bytes[65536];

static void begin(uint32_t interest)
{
    queue = open_queue();
    tcp_pair(fd);
    MUST(poise_watch(queue, poise_fd(fd[0]), interest, fd) == 0);
    settle(queue);
}

static void end(void)
{
    poise_close(queue);
    close_pair(fd);
}

/* Sends so many bytes, and takes them all by one recv after one event. */
static void exchange(size_t n, size_t room)
{
    send_bytes(fd[1], n);
    CHECK(wait_for_bits(queue, fd, IN) != 0);
    await_readable(fd[0]);
    CHECK_INT(poise_recv(fd[0], bytes, room), n);
}

/* The next wait, before anything else comes. Whether it was for nothing. */
static void wait_for_nothing(uint32_t interest, bool *needless)
{
    struct seen seen;
    MUST(poise_watch(queue, poise_fd(fd[0]), interest, fd) == 0);
    *needless = wait_all(queue, 0, &seen) > 0;
    if (*needless) {
        CHECK_INT(seen_ready(&seen, fd), IN);
        CHECK_INT(poise_recv(fd[0], bytes, sizeof bytes), -EAGAIN);
    }
}

/* One recv for each event, and a wait before more comes: once that was for nothing, poise looks behind each read. */
TEST(BRIDGE, no_wait_for_nothing)
{
    NEED_WASIP2();
    enum { ROUNDS = 100, AGAIN = 32 }; /* it tries again behind so many reads */
    static const uint32_t modes[] = { 0, POISE_EDGE, POISE_ONESHOT };
    for (int m = 0; m < 3; m++) {
        begin(IN | modes[m]);
        unsigned needless = 0;
        uint64_t looks = poise__host_calls.looks;
        for (int i = 0; i < ROUNDS; i++) {
            bool one = false;
            CALL(exchange(5, 64));
            CALL(wait_for_nothing(IN | modes[m], &one));
            needless += one;
            MUST(poise_watch(queue, poise_fd(fd[0]), IN | modes[m], fd) == 0);
        }
        CHECK_RANGE(needless, 0, ROUNDS / AGAIN + 1);
        if (needless > 0) /* jco's streams are not ready once more */
            CHECK_RANGE(poise__host_calls.looks - looks, ROUNDS - needless - 1, ROUNDS);
        end();
    }
}

/* Who reads until EAGAIN, and who finds more after each wait, pays for no look. */
TEST(BRIDGE, no_look_for_those_who_need_none)
{
    NEED_WASIP2();
    begin(IN);
    uint64_t looks = poise__host_calls.looks;
    for (int i = 0; i < 20; i++) {
        CALL(exchange(5, 64));
        CHECK_INT(poise_recv(fd[0], bytes, sizeof bytes), -EAGAIN);
    }
    for (int i = 0; i < 20; i++)
        CALL(exchange(5, 64));
    CHECK_INT(poise__host_calls.looks - looks, 0);
    end();
}

/* So that it looks behind the reads that follow. */
static void let_it_look(void)
{
    bool needless = false;
    for (int i = 0; i < 3 && !needless; i++) {
        CALL(exchange(5, 64));
        CALL(wait_for_nothing(IN, &needless));
    }
    CHECK(needless || host_is("jco"));
}

/* What is found behind a part is the program's, in order. */
TEST(BRIDGE, nothing_lost_behind_a_part)
{
    NEED_WASIP2();
    enum { ALL = 200000 };
    begin(IN);
    size_t sent = 0, got = 0;
    unsigned seed = 1;
    for (int turn = 0; got < ALL; turn++) {
        static char out[4000];
        if (got == sent && turn % 16 == 0)
            CALL(let_it_look());
        seed = seed * 1103515245 + 12345;
        size_t n = seed >> 16 & 0xfff;
        n = n < sizeof out ? n : sizeof out;
        n = n < ALL - sent ? n : ALL - sent;
        for (size_t i = 0; i < n; i++)
            out[i] = (char)((sent + i) % 251);
        ptrdiff_t taken = n > 0 ? poise_send(fd[1], out, n) : 0;
        CHECK(taken >= 0 || taken == -EAGAIN);
        sent += taken > 0 ? (size_t)taken : 0;
        if (got == sent)
            continue;
        CHECK(wait_for_bits(queue, fd, IN) != 0);
        ptrdiff_t arrived = poise_recv(fd[0], bytes, (seed >> 8 & 0xfff) + 1);
        CHECK(arrived > 0 || arrived == -EAGAIN);
        for (ptrdiff_t i = 0; i < arrived; i++)
            CHECK(bytes[i] == (char)((got + (size_t)i) % 251));
        got += arrived > 0 ? (size_t)arrived : 0;
    }
    CHECK_INT(got, ALL);
    end();
}

/* An end is known once a read has found it: the program's, or the look behind the last bytes. */
TEST(BRIDGE, read_closed_is_heard)
{
    NEED_WASIP2();
    for (unsigned n = 0; n <= 5; n += 5) {
        begin(IN);
        CALL(let_it_look());
        if (n > 0)
            send_bytes(fd[1], n);
        MUST(poise_shutdown(fd[1], SHUT_WR) == 0);
        uint32_t ready = 0;
        for (size_t got = 0; !(ready & POISE_READ_CLOSED);) {
            ready = wait_for(queue, fd);
            CHECK_INT(ready & ~(uint32_t)POISE_READ_CLOSED, IN);
            ptrdiff_t taken = poise_recv(fd[0], bytes, sizeof bytes);
            CHECK(taken > 0 || taken == 0 || (taken == -EAGAIN && !(ready & POISE_READ_CLOSED)));
            got += taken > 0 ? (size_t)taken : 0;
            CHECK(got == n || taken < 0);
        }
        CHECK_INT(poise_recv(fd[0], bytes, sizeof bytes), 0);
        end();
    }
}

TEST(BRIDGE, write_closed_is_heard)
{
    NEED_WASIP2();
    begin(OUT);
    close(fd[1]);
    ptrdiff_t sent = 0;
    uint32_t ready = 0;
    for (uint64_t until = poise_now() + (uint64_t)patience(); sent >= 0 || sent == -EAGAIN;) {
        CHECK(poise_now() < until);
        ready = wait_for(queue, fd);
        CHECK_INT(ready & BOTH, OUT);
        CHECK(!(ready & POISE_WRITE_CLOSED));
        sent = poise_send(fd[0], "x", 1);
    }
    CHECK_INT(wait_for(queue, fd) & (BOTH | POISE_WRITE_CLOSED), OUT | POISE_WRITE_CLOSED);
    poise_close(queue);
    close(fd[0]);
}

TEST(BRIDGE, own_shutdown_is_heard)
{
    NEED_WASIP2();
    if (host_is("jco"))
        SKIP("jco does not report the end of what the program itself has shut down");
    begin(BOTH);
    CHECK_INT(wait_for(queue, fd), OUT);
    CHECK_INT(poise_shutdown(fd[0], SHUT_WR), 0);
    CHECK(wait_for_bits(queue, fd, OUT | POISE_WRITE_CLOSED) != 0);
    CHECK_INT(wait_for_bits(queue, fd, OUT) & POISE_READ_CLOSED, 0);
    CHECK_INT(poise_shutdown(fd[0], SHUT_RD), 0);
    CHECK(wait_for_bits(queue, fd, BOTH | CLOSED) != 0);
    end();
}

/* One connection that is reset behind its last bytes. Whether the failure was announced. */
static void reset_behind_a_part(bool *announced)
{
    begin(IN);
    CALL(let_it_look());
    send_bytes(fd[0], 5); /* not read: a close resets the connection */
    await_readable(fd[1]);
    send_bytes(fd[1], 5);
    close(fd[1]);
    CHECK(wait_for_bits(queue, fd, IN) != 0);
    nanosleep(&(struct timespec){ .tv_nsec = 10 * MS }, NULL);
    ptrdiff_t got = poise_recv(fd[0], bytes, sizeof bytes);
    CHECK(got == 5 || got == -EIO || got == 0);
    uint32_t ready = wait_for_bits(queue, fd, IN);
    ptrdiff_t after = poise_recv(fd[0], bytes, sizeof bytes);
    *announced = ready & POISE_ERROR;
    CHECK(*announced ? after == -EIO : after == -EIO || after == 0);
    CHECK_INT(wait_for_bits(queue, fd, IN) & (POISE_ERROR | POISE_READ_CLOSED), POISE_READ_CLOSED);
    CHECK_INT(poise_recv(fd[0], bytes, sizeof bytes), 0);
    poise_close(queue);
    close(fd[0]);
}

/* A failure that lies behind the last bytes is announced, and told by the next read, not lost. It comes when it comes. */
TEST(BRIDGE, failure_behind_a_part)
{
    NEED_WASIP2();
    bool announced = false;
    for (int i = 0; i < 20 && !announced; i++)
        CALL(reset_behind_a_part(&announced));
    CHECK(announced || !host_is("wasmtime-47")); /* others send an end before the reset */
}

/* Another stream behind the same number starts anew. */
TEST(BRIDGE, what_was_heard_ends_with_the_stream)
{
    NEED_WASIP2();
    begin(BOTH);
    MUST(poise_shutdown(fd[1], SHUT_WR) == 0);
    while (poise_recv(fd[0], bytes, sizeof bytes) != 0)
        CHECK(wait_for_bits(queue, fd, IN) != 0);
    CHECK(wait_for_bits(queue, fd, POISE_READ_CLOSED) != 0);
    uint16_t port;
    int listener = tcp_listen(&port), number = fd[0];
    close(fd[1]);
    close(number);
    tcp_pair_by(listener, port, fd);
    CHECK(fd[0] == number || fd[1] == number);
    CHECK_INT(poise_watch(queue, poise_fd(number), BOTH, fd), 0);
    for (int i = 0; i < 3; i++)
        CHECK_INT(wait_for_bits(queue, fd, OUT) & CLOSED, 0);
    close(listener);
    end();
}

/* Among many that come and go, each is told from the others. */
TEST(BRIDGE, each_of_many_is_heard)
{
    NEED_WASIP2();
    enum { PAIRS = 150, ROUNDS = 4 };
    static int pair[PAIRS][2];
    queue = open_queue();
    tcp_pairs(pair, PAIRS);
    for (int i = 0; i < PAIRS; i++)
        CHECK_INT(poise_watch(queue, poise_fd(pair[i][0]), BOTH | POISE_EDGE, pair[i]), 0);
    for (int round = 0; round < ROUNDS; round++) {
        settle(queue);
        for (int i = round; i < PAIRS; i += 3) { /* others in their place */
            close_pair(pair[i]);
            tcp_pair(pair[i]);
            CHECK_INT(poise_watch(queue, poise_fd(pair[i][0]), BOTH | POISE_EDGE, pair[i]), 0);
        }
        for (int k = 0; k < 2 * PAIRS; k++) {
            int i = k % PAIRS;
            send_byte(pair[i][1]);
            for (size_t got = 0; got == 0; got = drain(pair[i][0]))
                CHECK(wait_for_bits(queue, pair[i], IN) != 0);
        }
    }
    for (int i = 0; i < PAIRS; i++)
        close_pair(pair[i]);
    poise_close(queue);
}

/* Without memory to note who is who, any EAGAIN arms every edge: nothing is lost. */
TEST(BRIDGE, hearing_without_memory)
{
    NEED_WASIP2();
    enum { PAIRS = 200 };
    static int pair[PAIRS][2];
    MUST(malloc_counted());
    queue = open_queue();
    tcp_pairs(pair, PAIRS);
    for (int i = 0; i < PAIRS; i++)
        CHECK_INT(poise_watch(queue, poise_fd(pair[i][0]), BOTH | POISE_EDGE, pair[i]), 0);
    malloc_fails(true);
    int result = poise_wait(queue, 0);
    malloc_fails(false);
    CHECK(result > 0);
    CHECK(poise__hear_deaf);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < PAIRS; i++) {
            send_byte(pair[i][1]);
            for (size_t got = 0; got == 0; got = drain(pair[i][0]))
                CHECK(wait_for_bits(queue, pair[i], IN) != 0);
        }
    }
    for (int i = 0; i < PAIRS; i++)
        close_pair(pair[i]);
    poise_close(queue);
    poise__hear_deaf = false;
}

#else
typedef int nothing_to_hear; /* ISO C wants a declaration */
#endif
