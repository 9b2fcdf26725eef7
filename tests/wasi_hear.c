/* What the backend wasip2 hears of the program's own reads and writes (src/wasi/hear.c): the closed hints, and that a read
 * which took everything is not followed by a wait for nothing. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "wasi_kit.h"

#if TEST_WASIP2

#include <poise/net.h>
#include <poise/wasi.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>
#include <wasi/bridge.h> /* of src/ */
#include <wasi/hear.h>
#include <wasi/wasip2.h>

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
    bool looks = false;
    for (int i = 0; i < 3 && !looks; i++) {
        uint64_t before = poise__host_calls.looks;
        bool needless = false;
        CALL(exchange(5, 64));
        CALL(wait_for_nothing(IN, &needless));
        looks = needless || poise__host_calls.looks > before;
    }
    CHECK(looks || host_is("jco")); /* whose streams are not ready once more */
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

/* What comes a moment later is not torn apart: so many small messages, so many whole ones. */
TEST(BRIDGE, messages_stay_whole_behind_a_part)
{
    NEED_WASIP2();
    enum { MESSAGE = 8 };
    begin(IN);
    uint64_t looks = poise__host_calls.looks;
    for (int i = 0; i < 200; i++) {
        if (i % 16 == 0)
            CALL(let_it_look());
        send_bytes(fd[1], MESSAGE);
        send_bytes(fd[1], MESSAGE);
        for (ptrdiff_t got = 0; got < 2 * MESSAGE;) {
            CHECK(wait_for_bits(queue, fd, IN) != 0);
            ptrdiff_t n = poise_recv(fd[0], bytes, 512);
            CHECK(n == -EAGAIN || (n > 0 && n % MESSAGE == 0));
            got += n > 0 ? n : 0;
        }
    }
    CHECK(poise__host_calls.looks > looks || host_is("jco"));
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
    begin(BOTH);
    CHECK_INT(wait_for(queue, fd), OUT);
    CHECK_INT(poise_shutdown(fd[0], SHUT_WR), 0);
    CHECK(wait_for_bits(queue, fd, OUT | POISE_WRITE_CLOSED) != 0);
    CHECK_INT(wait_for_bits(queue, fd, OUT) & POISE_READ_CLOSED, 0);
    CHECK_INT(poise_shutdown(fd[0], SHUT_RD), 0);
    for (int i = 0; i < 3; i++) /* level: again and again, by poise itself where the host does not say so (jco) */
        CHECK(wait_for_bits(queue, fd, BOTH | CLOSED) != 0);
    end();
    begin(IN | POISE_EDGE);
    CHECK_INT(poise_shutdown(fd[0], SHUT_RDWR), 0);
    CHECK_INT(wait_for(queue, fd), IN | CLOSED);
    CHECK(silent(queue, fd, 10 * MS));
    MUST(poise_watch(queue, poise_fd(fd[0]), IN | POISE_ONESHOT, fd) == 0);
    CHECK_INT(wait_for(queue, fd), IN | CLOSED);
    CHECK(silent(queue, fd, 10 * MS));
    MUST(poise_watch(queue, poise_fd(fd[0]), 0, fd) == 0);
    CALL(idle(queue, 20 * MS));
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

/* Closes the watched socket, and gives its number to another, which must not inherit anything. */
static void check_next_of_the_number(uint32_t interest)
{
    uint16_t port;
    int listener = tcp_listen(&port), number = fd[0];
    close(fd[1]);
    close(number);
    tcp_pair_by(listener, port, fd);
    close(listener);
    CHECK(fd[0] == number || fd[1] == number);
    CHECK_INT(poise_watch(queue, poise_fd(number), interest, fd), 0);
    send_byte(fd[0] == number ? fd[1] : fd[0]);
    for (int i = 0; i < 3; i++)
        CHECK_INT(wait_for(queue, fd) & CLOSED, 0);
    end();
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
    CALL(check_next_of_the_number(BOTH));
}

/* Of a direction that was not watched, and before any wait. */
TEST(BRIDGE, own_shutdown_ends_with_the_stream)
{
    NEED_WASIP2();
    for (int i = 0; i < 2; i++) {
        begin(IN);
        if (i == 1) { /* as if it was new */
            MUST(poise_unwatch(queue, poise_fd(fd[0])) == 0);
            MUST(poise_watch(queue, poise_fd(fd[0]), IN, fd) == 0);
        }
        MUST(poise_shutdown(fd[0], SHUT_WR) == 0);
        CALL(check_next_of_the_number(IN));
    }
}

/* A number that stood for a socket and then for a file leaves nothing to whoever comes after it in the queue. */
TEST(BRIDGE, what_was_heard_ends_with_a_file)
{
    NEED_WASIP2();
    int file = open_file();
    NEED_FILE(file);
    close(file);
    begin(IN);
    MUST(poise_shutdown(fd[0], SHUT_WR) == 0);
    int number = fd[0];
    close_pair(fd);
    file = open_file();
    int between = -1;
    if (file != number) { /* the lower one of both */
        between = file;
        file = open_file();
    }
    CHECK_INT(file, number);
    CHECK_INT(poise_watch(queue, poise_fd(file), IN, &file), 0);
    CHECK_INT(poise_unwatch(queue, poise_fd(file)), 0);
    tcp_pair(fd); /* other numbers, the same place in the queue */
    close(file);
    close(between);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN, fd), 0);
    send_byte(fd[1]);
    CHECK_INT(wait_for(queue, fd), IN);
    end();
}

/* ---- a stream of the program's own, by libc's bindings ------------------------------------------------------------ */

struct own_udp {
    udp_own_udp_socket_t socket;
    udp_own_incoming_datagram_stream_t in;
    udp_own_outgoing_datagram_stream_t out;
    uint16_t port;
};

static udp_borrow_incoming_datagram_stream_t in_of(const struct own_udp *udp)
{
    return udp_borrow_incoming_datagram_stream(udp->in);
}

static void open_udp(struct own_udp *udp)
{
    udp_error_code_t error;
    udp_ip_socket_address_t address = { .tag = 0 };
    address.val.ipv4.address = (network_ipv4_address_t){ 127, 0, 0, 1 };
    udp_tuple2_own_incoming_datagram_stream_own_outgoing_datagram_stream_t streams;
    instance_network_own_network_t network = instance_network_instance_network();
    MUST(udp_create_socket_create_udp_socket(0, &udp->socket, &error));
    udp_borrow_udp_socket_t socket = udp_borrow_udp_socket(udp->socket);
    MUST(udp_method_udp_socket_start_bind(socket, network_borrow_network(network), &address, &error));
    MUST(udp_method_udp_socket_finish_bind(socket, &error));
    MUST(udp_method_udp_socket_local_address(socket, &address, &error));
    MUST(udp_method_udp_socket_stream(socket, NULL, &streams, &error));
    network_network_drop_own(network);
    udp->in = streams.f0;
    udp->out = streams.f1;
    udp->port = address.val.ipv4.port;
}

static void close_udp(const struct own_udp *udp)
{
    udp_incoming_datagram_stream_drop_own(udp->in);
    udp_outgoing_datagram_stream_drop_own(udp->out);
    udp_udp_socket_drop_own(udp->socket);
}

/* Receives what is there, to the would-block. */
static unsigned receive_all(const struct own_udp *udp)
{
    udp_list_incoming_datagram_t list;
    udp_error_code_t error;
    for (unsigned n = 0;; n++) {
        if (!udp_method_incoming_datagram_stream_receive(in_of(udp), 1, &list, &error) || list.len == 0)
            return n;
        udp_list_incoming_datagram_free(&list);
    }
}

/* A stream may have several pollables, and each is armed. */
TEST(BRIDGE, each_pollable_of_a_stream)
{
    NEED_WASIP2();
    struct own_udp udp;
    uint16_t port;
    open_udp(&udp);
    int from = udp_bound(&port);
    queue = open_queue();
    (void)receive_all(&udp); /* jco loses what comes before */
    udp_own_pollable_t own[2];
    for (int k = 0; k < 2; k++) {
        own[k] = udp_method_incoming_datagram_stream_subscribe(in_of(&udp));
        CHECK_INT(poise_watch(queue, poise_pollable(own[k].__handle), IN | POISE_EDGE, &own[k]), 0);
    }
    for (int i = 0; i < 5; i++) {
        udp_send(from, udp.port, 3);
        for (unsigned got = 0; got == 0; got = receive_all(&udp))
            CHECK(wait_for(queue, &own[i % 2]) != 0);
    }
    poise_close(queue);
    for (int k = 0; k < 2; k++)
        poll_pollable_drop_own(own[k]);
    close_udp(&udp);
    close(from);
}

/* What is heard of a stream whose pollable was dropped is not told of the next one with its number. */
TEST(BRIDGE, what_was_heard_ends_with_the_pollable)
{
    NEED_WASIP2();
    struct own_udp udp;
    open_udp(&udp);
    begin(IN | POISE_EDGE);
    MUST(poise_unwatch(queue, poise_fd(fd[0])) == 0);
    close_pair(fd);
    tcp_pair(fd);
    poll_pollable_drop_own(udp_method_incoming_datagram_stream_subscribe(in_of(&udp)));
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | POISE_EDGE, fd), 0);
    send_byte(fd[1]);
    CHECK_INT(wait_for(queue, fd), IN); /* by now its pollable has that number */
    CHECK_INT(receive_all(&udp), 0);
    CHECK(silent(queue, fd, 20 * MS));
    end();
    close_udp(&udp);
}

/* A descriptor that was closed while its edge was quiet says so when it is asked again. */
TEST(BRIDGE, closed_while_quiet)
{
    NEED_WASIP2();
    begin(IN | POISE_EDGE);
    send_byte(fd[1]);
    CHECK_INT(wait_for(queue, fd), IN);
    close(fd[0]);
    CHECK(silent(queue, fd, 10 * MS));
    CHECK_INT(poise_again(queue, poise_fd(fd[0]), IN), 0);
    CHECK_INT(wait_for(queue, fd), IN | POISE_ERROR);
    CHECK(silent(queue, fd, 10 * MS));
    poise_close(queue);
    close(fd[1]);
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

/* A wait needs no memory for that: poise_watch has seen to it. */
TEST(BRIDGE, hearing_allocates_in_no_wait)
{
    NEED_WASIP2();
    enum { PAIRS = 50 };
    static int pair[PAIRS][2];
    MUST(malloc_counted());
    queue = open_queue();
    tcp_pairs(pair, PAIRS);
    for (int i = 0; i < PAIRS; i++)
        CHECK_INT(poise_watch(queue, poise_fd(pair[i][0]), BOTH, pair[i]), 0);
    unsigned long before = malloc_calls();
    CHECK(poise_wait(queue, patience()) > 0);
    CHECK_INT(malloc_calls() - before, 0);
    malloc_fails(true);
    int result = 0, last = pair[PAIRS - 1][1], n = 0;
    for (; n < PAIRS && result == 0; n++) /* beyond the room that there is */
        result = poise_watch(queue, poise_fd(pair[n][1]), BOTH, pair[n]);
    malloc_fails(false);
    CHECK_INT(result, -ENOMEM);
    CHECK_INT(poise_unwatch(queue, poise_fd(pair[n - 1][1])), -ENOENT);
    CHECK_INT(poise_watch(queue, poise_fd(last), BOTH, pair), 0);
    for (int i = 0; i < PAIRS; i++)
        close_pair(pair[i]);
    poise_close(queue);
}

/* Without memory to note who is who, any EAGAIN arms every edge of the unknown: nothing is lost. */
TEST(BRIDGE, hearing_without_memory)
{
    NEED_WASIP2();
    enum { PAIRS = 200 };
    static int pair[PAIRS][2];
    MUST(malloc_counted());
    tcp_pairs(pair, PAIRS);
    malloc_fails(true);
    for (int i = 0; i < 2 * PAIRS; i++) { /* as a poll(2) of the program would: its own result needs memory, too */
        int32_t handle;
        CHECK_INT(poise__bridge_capture(pair[i / 2][0], i % 2 == 0 ? POLLIN : POLLOUT, &handle), CAPTURE_HANDLE);
    }
    malloc_fails(false);
    CHECK(poise__hear_deaf);
    poise__hear_deaf = false; /* as when nobody who was watched is concerned: then whoever is watched later */
    queue = open_queue();
    for (int i = 0; i < PAIRS; i++)
        CHECK_INT(poise_watch(queue, poise_fd(pair[i][0]), BOTH | POISE_EDGE, pair[i]), 0);
    CHECK(poise_wait(queue, patience()) > 0);
    CHECK(poise__hear_deaf);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < PAIRS; i++) {
            send_byte(pair[i][1]);
            for (size_t got = 0; got == 0; got = drain(pair[i][0]))
                CHECK(wait_for_bits(queue, pair[i], IN) != 0);
        }
    }
    for (int turn = 0, n = 1; n > 0; turn++) { /* who reads whenever anything comes is not called for ever */
        struct seen seen;
        CHECK(turn < 10);
        n = wait_all(queue, 20 * MS, &seen);
        for (int i = 0; i < seen.n; i++)
            (void)drain(*(int *)seen.event[i].data);
    }
    for (int i = 0; i < PAIRS; i++)
        close_pair(pair[i]);
    tcp_pair(fd);
    (void)drain(fd[0]);
    CHECK(!poise__hear_deaf); /* all whom it concerned have gone */
    end();
}

#else
typedef int nothing_to_hear; /* ISO C wants a declaration */
#endif
