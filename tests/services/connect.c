/* poise/connect.h: every sentence of the header, each error, and what is left when it is stopped at any step. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "resolve_kit.h"

#include <fcntl.h>
#include <unistd.h>

#define NONE UINT64_MAX /* no deadline */

/* ---- helpers ----------------------------------------------------------------------------------------------------- */

static uint64_t in_time(int64_t ns) { return poise_now() + (uint64_t)ns; }

/* How a connect went. */
struct outcome {
    int result; /* of poise_connect_result; -EINPROGRESS: it is not over */
    int waits;
    int64_t took;
    char peer[POISE_ADDRESS_TEXT];
};

static void finish(poise *queue, poise_connect *connect, uint64_t begun, struct outcome *outcome)
{
    uint64_t end = in_time(20 * SECOND);
    outcome->result = -EINPROGRESS;
    while (outcome->result == -EINPROGRESS && poise_now() < end) {
        struct seen seen;
        if (wait_all(queue, 20 * SECOND, &seen) < 0)
            return;
        outcome->waits++;
        if (seen_count(&seen, connect) != 0)
            outcome->result = poise_connect_result(connect);
    }
    outcome->took = (int64_t)(poise_now() - begun);
    poise_address peer = { .length = 0 };
    if (outcome->result >= 0)
        (void)poise_peer_address(outcome->result, &peer);
    (void)poise_address_format(&peer, outcome->peer, sizeof outcome->peer);
    if (strrchr(outcome->peer, ':') != NULL)
        *strrchr(outcome->peer, ':') = '\0'; /* the port */
}

static int start(poise *queue, poise_connect *connect, const char *name, uint16_t port, uint64_t deadline)
{
    memset(connect, 0, sizeof *connect);
    return poise_connect_start(queue, connect, name, port, deadline, connect);
}

/* A whole connect, in a queue of its own, which is then empty of it. */
static struct outcome connect_to(const char *name, uint16_t port, int64_t ns)
{
    static poise_connect connect;
    struct outcome outcome = { .waits = 0 };
    poise *queue = open_queue();
    uint64_t begun = poise_now();
    outcome.result = start(queue, &connect, name, port, ns < 0 ? NONE : begun + (uint64_t)ns);
    if (outcome.result == 0)
        finish(queue, &connect, begun, &outcome);
    if (outcome.result != -EINPROGRESS && !silent(queue, &connect, 5 * MS))
        test_failed(__FILE__, __LINE__, "an event comes after the end");
    poise_connect_stop(&connect);
    poise_close(queue);
    return outcome;
}

/* How often something is tried that is to be quick at least once: the machine may be busy. */
enum { BUSY = 20 };

static uint16_t echo_port(void) { return service_port("POISE_ECHO"); }

#define CHECK_PEER(outcome, expected)                                                                \
    do {                                                                                             \
        CHECK_RANGE((outcome).result, 0, INT32_MAX);                                                 \
        close((outcome).result);                                                                     \
        if (strcmp((outcome).peer, expected) != 0) {                                                 \
            test_failed(__FILE__, __LINE__, "connected to %s, not to %s", (outcome).peer, expected); \
            return;                                                                                  \
        }                                                                                            \
    } while (0)

/* A line there and back. */
static void check_echo(poise *queue, int fd)
{
    char back[8];
    size_t got = 0;
    ptrdiff_t n;
    CHECK_INT(poise_watch(queue, poise_fd(fd), POISE_WRITABLE, &got), 0);
    while ((n = poise_send(fd, "hello\n", 6)) == -EAGAIN)
        CHECK(wait_for(queue, &got) != 0);
    CHECK_INT(n, 6);
    CHECK_INT(poise_watch(queue, poise_fd(fd), POISE_READABLE, &got), 0);
    while (got < 6) {
        CHECK(wait_for(queue, &got) != 0);
        n = poise_recv(fd, back + got, sizeof back - got);
        CHECK(n > 0 || n == -EAGAIN);
        got += n > 0 ? (size_t)n : 0;
    }
    CHECK(memcmp(back, "hello\n", 6) == 0);
    CHECK_INT(poise_unwatch(queue, poise_fd(fd)), 0);
}

/* ---- what it gives ----------------------------------------------------------------------------------------------- */

static void check_whole(const char *name, const char *peer)
{
    poise_connect connect;
    struct outcome outcome = { .waits = 0 };
    struct usage before = usage();
    poise *queue = open_queue();
    CHECK_INT(start(queue, &connect, name, echo_port(), NONE), 0);
    CHECK_INT(poise_connect_start(queue, &connect, name, echo_port(), NONE, NULL), -EBUSY);
    finish(queue, &connect, poise_now(), &outcome);
    int fd = outcome.result;
    CHECK_RANGE(fd, 0, INT32_MAX);
    CHECK(peer == NULL || strcmp(outcome.peer, peer) == 0);
    CHECK_INT(poise_connect_result(&connect), -ENOTCONN);
    CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
    CHECK(on_wasi() || (fcntl(fd, F_GETFD) & FD_CLOEXEC));
    CHECK_INT(poise_unwatch(queue, poise_fd(fd)), -ENOENT); /* it is not watched */
    poise_connect_stop(&connect);                           /* and the caller's */
    CALL(check_echo(queue, fd));
    close(fd);
    poise_close(queue);
    CALL(check_usage(before));
}

TEST(C, by_literal)
{
    CALL(check_whole("127.0.0.1", "127.0.0.1"));
    NEED_IPV6();
    CALL(check_whole("::1", "[::1]"));
}

TEST(C, by_localhost) { CALL(check_whole("localhost", service_ipv6() ? "[::1]" : "127.0.0.1")); }

TEST(C, by_name)
{
    NEED_NAMES();
    CALL(check_whole("echo.poise.test", service_ipv6() ? "[::1]" : "127.0.0.1")); /* IPv6 first */
    CALL(check_whole("v4.poise.test", "127.0.0.1"));
    CALL(check_whole("alias.poise.test", NULL));
    NEED_IPV6();
    CALL(check_whole("v6.poise.test", "[::1]"));
}

TEST(C, bad_arguments)
{
    poise *queue = open_queue();
    poise_connect connect;
    memset(&connect, 0, sizeof connect);
    CHECK_INT(poise_connect_result(NULL), -EINVAL);
    CHECK_INT(poise_connect_result(&connect), -EINVAL);
    poise_connect_stop(NULL);
    poise_connect_stop(&connect);
    CHECK_INT(poise_connect_start(NULL, &connect, "localhost", 1, NONE, NULL), -EINVAL);
    CHECK_INT(poise_connect_start(queue, NULL, "localhost", 1, NONE, NULL), -EINVAL);
    CHECK_INT(poise_connect_start(queue, &connect, NULL, 1, NONE, NULL), -EINVAL);
    CHECK_INT(poise_connect_start(queue, &connect, "", 1, NONE, NULL), -EINVAL);
    CHECK_INT(poise_connect_start(queue, &connect, "127.1", 1, NONE, NULL), -EINVAL);
    CHECK_INT(poise_connect_start(queue, &connect, "localhost", 0, NONE, NULL), -EINVAL);
    CHECK_INT(poise_connect_result(&connect), -EINVAL);
    if (on_wasi() && !backend_is("wasip2"))
        CHECK_INT(poise_connect_start(queue, &connect, "echo.poise.test", 1, NONE, NULL), -ENOTSUP);
    CHECK_INT(start(queue, &connect, "localhost", echo_port(), NONE), 0);
    poise_connect_stop(&connect);
    CHECK_INT(poise_connect_result(&connect), -EINVAL);
    CHECK(silent(queue, &connect, 5 * MS));
    poise_close(queue);
}

TEST(C, started_again)
{
    poise *queue = open_queue();
    poise_connect connect;
    memset(&connect, 0, sizeof connect);
    for (int i = 0; i < 4; i++) {
        struct outcome outcome = { .waits = 0 };
        uint16_t port = i % 2 ? 9 : echo_port(); /* nobody is at 9 */
        CHECK_INT(poise_connect_start(queue, &connect, "127.0.0.1", port, NONE, &connect), 0);
        if (i == 2) {
            poise_connect_stop(&connect);
            CHECK_INT(poise_connect_start(queue, &connect, "127.0.0.1", port, NONE, &connect), 0);
        }
        finish(queue, &connect, poise_now(), &outcome);
        CHECK(i % 2 ? outcome.result == -ECONNREFUSED : outcome.result >= 0);
        if (outcome.result >= 0)
            close(outcome.result);
        else
            CHECK_INT(poise_connect_result(&connect), -ECONNREFUSED); /* again and again */
    }
    poise_close(queue);
}

/* It may be asked at any time, not only after an event. */
TEST(C, asked_without_events)
{
    poise *queue = open_queue();
    poise_connect connect;
    uint64_t end = in_time(20 * SECOND);
    int fd = -EINPROGRESS;
    CHECK_INT(start(queue, &connect, "localhost", echo_port(), NONE), 0);
    while ((fd = poise_connect_result(&connect)) == -EINPROGRESS && poise_now() < end)
        CHECK(poise_wait(queue, MS) >= 0);
    CHECK_RANGE(fd, 0, INT32_MAX);
    close(fd);
    struct seen seen;
    CHECK_INT(wait_all(queue, 0, &seen), 0);
    poise_close(queue);
}

/* ---- failures ---------------------------------------------------------------------------------------------------- */

TEST(C, refused)
{
    struct usage before = usage();
    CHECK_INT(connect_to("127.0.0.1", 9, -1).result, -ECONNREFUSED);
    CHECK_INT(connect_to("localhost", 9, -1).result, -ECONNREFUSED);
    CALL(check_usage(before));
    NEED_NAMES();
    CHECK_INT(connect_to("many.poise.test", 9, -1).result, -ECONNREFUSED); /* each of them */
    CALL(check_usage(before));
}

TEST(C, no_address)
{
    NEED_NAMES();
    CHECK_INT(connect_to("none.poise.test", echo_port(), -1).result, -ENOENT);
    CHECK_INT(connect_to("empty.poise.test", echo_port(), -1).result, -ENOENT);
    int result = connect_to("servfail.poise.test", echo_port(), -1).result;
    CHECK(result == -EHOSTUNREACH || (on_wasi() && result == -ENOENT));
    CHECK_INT(connect_to("silent.poise.test", echo_port(), 300 * MS).result, -ETIMEDOUT);
}

TEST(C, unreachable)
{
    NEED_NAMES();
    int result = connect_to("unreachable.poise.test", echo_port(), -1).result;
    CHECK(result == -ENETUNREACH || result == -EHOSTUNREACH);
}

/* All but the last refuse: as soon as one has failed, the next is tried. */
TEST(C, the_last_of_many)
{
    NEED_NAMES();
    int64_t best = INT64_MAX;
    for (int i = 0; i < BUSY && best >= 250 * MS; i++) {
        struct outcome outcome = connect_to("many.poise.test", echo_port(), -1);
        CHECK_PEER(outcome, "127.0.0.1");
        best = outcome.took < best ? outcome.took : best;
    }
    CHECK_RANGE(best, 0, 250 * MS - 1);
}

/* ---- dead addresses ---------------------------------------------------------------------------------------------- */

/* With a dead first address it is connected within 400 ms, and not before the delay of 250 ms. */
static void check_dead_first(const char *name, const char *peer)
{
    int64_t best = INT64_MAX;
    struct usage before = usage();
    for (int i = 0; i < BUSY && best > 400 * MS; i++) {
        struct outcome outcome = connect_to(name, echo_port(), -1);
        CHECK_PEER(outcome, peer);
        CHECK_RANGE(outcome.took, 250 * MS, 20 * SECOND);
        CHECK_RANGE(outcome.waits, 1, 50); /* nothing spins meanwhile */
        best = outcome.took < best ? outcome.took : best;
    }
    printf("# %s: connected after %lld us\n", name, (long long)(best / 1000));
    CHECK_RANGE(best, 250 * MS, 400 * MS);
    CALL(check_usage(before));
}

TEST(C, dead_ipv6_first)
{
    NEED_NAMES();
    NEED_IPV6();
    CALL(check_dead_first("dead.poise.test", "127.0.0.1"));
}

TEST(C, dead_ipv4_first)
{
    NEED_NAMES();
    CALL(check_dead_first("dead4.poise.test", "198.51.100.1"));
}

TEST(C, deadline)
{
    NEED_NAMES();
    struct usage before = usage();
    int64_t processor = cpu_time();
    struct outcome outcome = connect_to("all-dead.poise.test", echo_port(), 700 * MS);
    CHECK_INT(outcome.result, -ETIMEDOUT);
    CHECK_RANGE(outcome.took, 700 * MS, 20 * SECOND);
    CHECK_RANGE(outcome.waits, 1, 50);
    CHECK_RANGE(cpu_time() - processor, 0, 350 * MS);
    outcome = connect_to(DEAD_V4, echo_port(), 0);
    CHECK_INT(outcome.result, -ETIMEDOUT);
    CALL(check_usage(before));
}

/* ---- families ---------------------------------------------------------------------------------------------------- */

/* Natively the families are asked for apart. IPv4 is there at once: it waits 50 ms for IPv6, and no longer. */
TEST(C, resolution_delay)
{
    NEED_NAMES();
    NEED_IPV6();
    struct outcome outcome = connect_to("late6.poise.test", echo_port(), -1);
    if (on_wasi()) { /* whatever the host waits for */
        CHECK_RANGE(outcome.result, 0, INT32_MAX);
        close(outcome.result);
        return;
    }
    CHECK_RANGE(outcome.took, 50 * MS, 20 * SECOND);
    if (outcome.took < SECOND)
        CHECK_PEER(outcome, "127.0.0.1");
    else /* the machine is busy, and the IPv6 address may have come as well */
        close(outcome.result);
    outcome = connect_to("never6.poise.test", echo_port(), -1);
    CHECK_PEER(outcome, "127.0.0.1");
    CHECK_RANGE(outcome.took, 50 * MS, 4 * SECOND);
    outcome = connect_to("late4.poise.test", echo_port(), -1); /* which waits for nobody */
    if (outcome.took < SECOND)
        CHECK_PEER(outcome, "[::1]");
    else
        close(outcome.result);
    int64_t best = INT64_MAX;
    for (int i = 0; i < BUSY && best >= 50 * MS; i++) { /* that there is no IPv6 is an answer, too */
        outcome = connect_to("v4.poise.test", echo_port(), -1);
        CHECK_PEER(outcome, "127.0.0.1");
        best = outcome.took < best ? outcome.took : best;
    }
    CHECK_RANGE(best, 0, 50 * MS - 1);
}

enum { MOST_DEAD = 32 };

#define NEED_BACKLOGS()                                                                         \
    do {                                                                                        \
        if (host_is("jco"))                                                                     \
            SKIP("the host accepts connections before the program does: none stays under way"); \
    } while (0)

/* Listeners of our own that swallow: a backlog that is full. */
struct dead {
    int fd[MOST_DEAD * 4];
    int n;
};

static void open_dead(struct dead *dead, const char *literal, uint16_t port)
{
    poise_address at = service_address(literal, port);
    int listener = poise_tcp_listen(&at, 1);
    MUST(listener >= 0);
    dead->fd[dead->n++] = listener;
    for (int i = 0; i < 3; i++) {
        int fd = poise_tcp_connect(&at);
        MUST(fd >= 0);
        dead->fd[dead->n++] = fd;
    }
}

static int listen_at(const char *literal, uint16_t port)
{
    poise_address at = service_address(literal, port);
    int listener = poise_tcp_listen(&at, 128);
    MUST(listener >= 0);
    return listener;
}

static void close_dead(struct dead *dead)
{
    while (dead->n > 0)
        close(dead->fd[--dead->n]);
}

/* A port that nobody else has, on any address. */
static uint16_t free_port(void)
{
    uint16_t port;
    close(tcp_listen(&port));
    return port;
}

/* Eight IPv6 addresses, all dead; the IPv4 addresses live: one of them is tried second. */
TEST(C, families_in_turn)
{
    NEED_NAMES();
    NEED_IPV6();
    NEED_BACKLOGS();
    struct dead dead = { .n = 0 };
    uint16_t port = free_port();
    char literal[32];
    for (int i = 11; i < 19; i++) {
        snprintf(literal, sizeof literal, "2001:db8::%d", i);
        open_dead(&dead, literal, port);
    }
    int listeners[8];
    for (int i = 0; i < 8; i++) {
        snprintf(literal, sizeof literal, "127.0.0.%d", i == 0 ? 1 : 11 + i);
        listeners[i] = listen_at(literal, port);
    }
    int64_t best = INT64_MAX;
    for (int i = 0; i < BUSY && best >= 500 * MS; i++) {
        struct outcome outcome = connect_to("many.poise.test", port, -1);
        CHECK_RANGE(outcome.result, 0, INT32_MAX);
        close(outcome.result);
        CHECK(strncmp(outcome.peer, "127.", 4) == 0);
        best = outcome.took < best ? outcome.took : best;
    }
    CHECK_RANGE(best, 250 * MS, 500 * MS - 1);
    for (int i = 0; i < 8; i++)
        close(listeners[i]);
    close_dead(&dead);
}

/* One is dead, the next refuses while the first is under way, the third lives: it is tried as soon as the second has
 * failed, not 250 ms later. */
TEST(C, a_failure_beside_others)
{
    NEED_NAMES();
    NEED_IPV6();
    NEED_BACKLOGS();
    struct dead dead = { .n = 0 };
    uint16_t port = free_port();
    open_dead(&dead, "2001:db8::11", port);
    int listener = listen_at("2001:db8::12", port);
    int64_t best = INT64_MAX;
    for (int i = 0; i < BUSY && best >= 500 * MS; i++) {
        struct outcome outcome = connect_to("many.poise.test", port, -1);
        CHECK_PEER(outcome, "[2001:db8::12]");
        best = outcome.took < best ? outcome.took : best;
    }
    CHECK_RANGE(best, 250 * MS, 500 * MS - 1);
    close(listener);
    close_dead(&dead);
}

/* Twenty addresses, all dead: 16 attempts, then the oldest makes room. */
TEST(C, a_limit_of_attempts)
{
    NEED_NAMES();
    NEED_BACKLOGS();
    struct dead dead = { .n = 0 };
    uint16_t port = free_port();
    for (int i = 1; i <= 20; i++) {
        char literal[32];
        snprintf(literal, sizeof literal, "127.0.1.%d", i);
        open_dead(&dead, literal, port);
    }
    struct usage before = usage();
    poise *queue = open_queue();
    poise_connect connect;
    int64_t queue_and_sockets = 0;
    struct usage opened = usage();
    for (int seconds = 6; queue_and_sockets < 16 && seconds <= 24; seconds *= 2) { /* the machine may be busy */
        CHECK_INT(start(queue, &connect, "crowd.poise.test", port, in_time(seconds * SECOND)), 0);
        int result;
        do {
            struct seen seen;
            CHECK(wait_all(queue, 30 * SECOND, &seen) > 0);
            result = poise_connect_result(&connect);
            int64_t now = usage().descriptors - opened.descriptors;
            queue_and_sockets = now > queue_and_sockets ? now : queue_and_sockets;
        } while (result == -EINPROGRESS);
        CHECK_INT(result, -ETIMEDOUT);
    }
    CHECK_INT(queue_and_sockets, 16);
    poise_close(queue);
    CALL(check_usage(before));
    close_dead(&dead);
}

/* ---- stopping ---------------------------------------------------------------------------------------------------- */

static void stop_after(poise *queue, const char *name, int steps)
{
    poise_connect connect;
    poise_event event;
    int result = -EINPROGRESS;
    CHECK_INT(start(queue, &connect, name, echo_port(), NONE), 0);
    for (int i = 0; i < steps && result == -EINPROGRESS; i++) {
        switch (i % 3) {
        case 0: CHECK(poise_wait(queue, 60 * MS) >= 0); break;
        case 1: (void)poise_next(queue, &event); break;
        default: result = poise_connect_result(&connect);
        }
    }
    poise_connect_stop(&connect);
    while (poise_next(queue, &event))
        CHECK(event.data != &connect);
    CHECK(silent(queue, &connect, MS));
    CHECK_INT(poise_connect_result(&connect), result == -EINPROGRESS ? -EINVAL : result >= 0 ? -ENOTCONN : result);
    poise_connect_stop(&connect);
    if (result >= 0)
        close(result);
}

TEST(C, stopped_at_every_step)
{
    static const char *const names[] = { "localhost",       "127.0.0.1",           DEAD_V4,
                                         "echo.poise.test", "many.poise.test",     "none.poise.test",
                                         "dead.poise.test", "all-dead.poise.test", "late6.poise.test" };
    struct usage before = usage();
    poise *queue = open_queue();
    poise_timer timer; /* there is always something to wait for */
    memset(&timer, 0, sizeof timer);
    CHECK_INT(poise_timer_start(queue, &timer, in_time(3600 * SECOND), &timer), 0);
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strstr(names[i], "test") != NULL && on_wasi() && !backend_is("wasip2"))
            continue;
        for (int steps = 0; steps < 16; steps++)
            CALL(stop_after(queue, names[i], steps));
    }
    check_unharmed(queue);
    poise_close(queue);
    CALL(check_usage(before));
}

/* ---- many -------------------------------------------------------------------------------------------------------- */

TEST(C, a_hundred_at_once)
{
    enum { N = 100 };
    NEED_NAMES();
    static poise_connect connects[N];
    static int fds[N];
    struct usage before = usage();
    poise *queue = open_queue();
    unsigned ended = 0;
    for (int i = 0; i < N; i++)
        CHECK_INT(start(queue, &connects[i], i % 3 == 0 ? "many.poise.test" : "echo.poise.test", echo_port(), NONE), 0);
    uint64_t end = in_time(40 * SECOND);
    while (ended < N && poise_now() < end) {
        poise_event event;
        CHECK(poise_wait(queue, 20 * SECOND) > 0);
        while (poise_next(queue, &event)) {
            poise_connect *connect = event.data;
            int fd = poise_connect_result(connect);
            if (fd == -EINPROGRESS)
                continue;
            CHECK_RANGE(fd, 0, INT32_MAX);
            fds[connect - connects] = fd;
            ended++;
        }
    }
    CHECK_INT(ended, N);
    for (int i = 0; i < N; i++) {
        CALL(check_echo(queue, fds[i]));
        close(fds[i]);
    }
    poise_close(queue);
    CALL(check_usage(before));
}

/* ---- no descriptors ---------------------------------------------------------------------------------------------- */

TEST(C, no_descriptors)
{
    poise *queue = open_queue();
    poise_connect connect;
    struct outcome outcome = { .result = 0 };
    struct usage before = usage();
    if (!limit_descriptors(0)) {
        poise_close(queue);
        SKIP("WASI has no limit of descriptors to set");
    }
    int by_name = start(queue, &connect, "echo.poise.test", echo_port(), NONE);
    int by_literal = start(queue, &connect, "127.0.0.1", echo_port(), NONE);
    if (by_literal == 0)
        finish(queue, &connect, poise_now(), &outcome);
    unlimit_descriptors();
    CHECK_INT(by_name, -EMFILE);
    CHECK_INT(by_literal, 0);
    CHECK_INT(outcome.result, -EMFILE);
    CALL(check_usage(before));
    poise_close(queue);
}

/* The one descriptor that is left is the look-up's. IPv6 is there first, and refuses; that of IPv4, which comes a little
 * later, is waited for. */
TEST(C, the_last_descriptor_is_not_taken_too_soon)
{
    NEED_NAMES();
    NEED_IPV6();
    uint16_t port;
    int listener = tcp_listen(&port); /* on IPv4 alone */
    poise *queue = open_queue();
    struct usage before = usage();
    struct outcome outcome = { .result = -1 };
    for (int i = 0; i < BUSY && outcome.result < 0; i++) {
        poise_connect connect;
        if (!limit_descriptors(1)) {
            close(listener);
            poise_close(queue);
            SKIP("WASI has no limit of descriptors to set");
        }
        int started = start(queue, &connect, "soon4.poise.test", port, NONE);
        if (started == 0)
            finish(queue, &connect, poise_now(), &outcome);
        unlimit_descriptors();
        CHECK_INT(started, 0);
        CHECK(outcome.result >= 0 || outcome.result == -ECONNREFUSED);
    }
    CHECK_PEER(outcome, "127.0.0.1");
    CALL(check_usage(before));
    close(listener);
    poise_close(queue);
}

/* The one descriptor that is left is the look-up's, and IPv6 never answers: the look-up gives it up for the attempt. */
TEST(C, the_last_descriptor)
{
    NEED_NAMES();
    poise *queue = open_queue();
    poise_connect connect;
    struct outcome outcome = { .result = 0 };
    struct usage before = usage();
    if (!limit_descriptors(1)) {
        poise_close(queue);
        SKIP("WASI has no limit of descriptors to set");
    }
    int started = start(queue, &connect, "never6.poise.test", echo_port(), NONE);
    if (started == 0)
        finish(queue, &connect, poise_now(), &outcome);
    unlimit_descriptors();
    CHECK_INT(started, 0);
    CHECK_PEER(outcome, "127.0.0.1");
    CALL(check_usage(before));
    poise_close(queue);
}

/* The look-up's descriptor serves the attempt at a dead address; the next attempt is made when there is one again. Both
 * addresses are of IPv4, so that they come at once: an answer that is late is done without. */
TEST(C, descriptors_come_back)
{
    NEED_NAMES();
    poise *queue = open_queue();
    poise_connect connect;
    struct outcome outcome = { .result = 0 };
    struct usage before = usage();
    CHECK_INT(start(queue, &connect, "dead4.poise.test", echo_port(), in_time(10 * SECOND)), 0);
    if (!limit_descriptors(0)) {
        poise_connect_stop(&connect);
        poise_close(queue);
        SKIP("WASI has no limit of descriptors to set");
    }
    int result = -EINPROGRESS;
    for (uint64_t end = in_time(600 * MS); poise_now() < end && result == -EINPROGRESS;) {
        struct seen seen;
        (void)wait_all(queue, 50 * MS, &seen);
        if (seen_count(&seen, &connect) != 0)
            result = poise_connect_result(&connect);
    }
    give_descriptors(1);
    if (result == -EINPROGRESS)
        finish(queue, &connect, poise_now(), &outcome);
    unlimit_descriptors();
    CHECK_INT(result, -EINPROGRESS);
    CHECK_PEER(outcome, "198.51.100.1");
    CALL(check_usage(before));
    poise_close(queue);
}

/* ---- a host that refuses ----------------------------------------------------------------------------------------- */

TEST(Refused, connections)
{
    CHECK_INT(connect_to("127.0.0.1", 9, -1).result, -EACCES);
    CHECK_INT(connect_to("localhost", 9, -1).result, -EACCES);
    NEED_NAMES();
    CHECK_INT(connect_to("echo.poise.test", 9, -1).result, -EACCES);
}
