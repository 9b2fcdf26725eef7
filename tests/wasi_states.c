/* Every state that a descriptor can be in, as a source: what is reported, what is not (and costs nothing), in each mode; and
 * the way from one state to the next while the source is watched, with and without the program's own poll(2) in between.
 *
 * Under WASI each state is another set of host handles behind the same number, or none (src/wasi/bridge.c). The same states natively:
 * what differs between the two stands in the calls of check_state, and in the few uses of on_wasi below. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "wasi_kit.h"

#if TEST_SOCKETS

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define R ((uint32_t)POISE_READABLE)
#define W ((uint32_t)POISE_WRITABLE)
#define DIRECTIONS (R | W)

/* ---- what the tests of this file say when they fail ---------------------------------------------------------------- */

static const uint32_t modes[] = { 0, POISE_EDGE, POISE_ONESHOT };
static char context[96]; /* which mode, which direction */

static const char *mode_name(uint32_t mode)
{
    return mode == POISE_EDGE ? "edge" : mode == POISE_ONESHOT ? "one-shot" : "level";
}

static void set_context(uint32_t mode, uint32_t directions, const char *more)
{
    snprintf(context, sizeof context, "%s, watched for%s%s%s", mode_name(mode), directions & R ? " input" : "",
             directions & W ? " room" : "", more);
}

#define EXPECT(expression)                                                    \
    do {                                                                      \
        if (!(expression)) {                                                  \
            test_failed(__FILE__, __LINE__, "%s (%s)", #expression, context); \
            return;                                                           \
        }                                                                     \
    } while (0)

#define EXPECT_INT(actual, expected)                                                                            \
    do {                                                                                                        \
        long long actual_ = (long long)(actual), expected_ = (long long)(expected);                             \
        if (actual_ != expected_) {                                                                             \
            test_failed(__FILE__, __LINE__, "%s is %lld, not %lld (%s)", #actual, actual_, expected_, context); \
            return;                                                                                             \
        }                                                                                                       \
    } while (0)

/* ---- sockets ------------------------------------------------------------------------------------------------------ */

static struct sockaddr_in loopback(uint16_t port)
{
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static void bind_loopback(int fd)
{
    struct sockaddr_in address = loopback(0);
    MUST(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
}

static uint16_t port_of(int fd)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    MUST(getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    return ntohs(address.sin_port);
}

static int connect_loopback(int fd, uint16_t port)
{
    struct sockaddr_in address = loopback(port);
    return connect(fd, (struct sockaddr *)&address, sizeof address) == 0 ? 0 : -errno;
}

/* From a bound socket. */
static void datagram(int fd, uint16_t port)
{
    struct sockaddr_in address = loopback(port);
    struct pollfd room = { .fd = fd, .events = POLLOUT };
    for (int i = 0; sendto(fd, "x", 1, 0, (struct sockaddr *)&address, sizeof address) < 0; i++) {
        MUST(errno == EAGAIN && i < 100);
        poll(&room, 1, 100);
    }
}

static bool own_poll(int fd, short events, int milliseconds)
{
    struct pollfd one = { .fd = fd, .events = events };
    return poll(&one, 1, milliseconds) > 0;
}

static int so_error(int fd)
{
    int error = -1;
    socklen_t size = sizeof error;
    MUST(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0);
    return error;
}

/* ---- the states ---------------------------------------------------------------------------------------------------- */

/* A descriptor in some state, and what holds it there. fd -1: it can't be brought about here, and why. */
struct subject {
    int fd;
    int others[8];
    int n;
    const char *why;
};

static void hold(struct subject *subject, int fd) { subject->others[subject->n++] = fd; }

static void dispose(struct subject *subject)
{
    for (int i = 0; i < subject->n;
         i++) /* the peer first: wasmtime 48 lets close wait until it has taken all that was sent */
        close(subject->others[i]);
    if (subject->fd > 2)
        close(subject->fd);
}

static struct subject make_tcp_unbound(void) { return (struct subject){ .fd = tcp_socket() }; }

static struct subject make_tcp_bound(void)
{
    struct subject subject = make_tcp_unbound();
    bind_loopback(subject.fd);
    return subject;
}

static struct subject make_tcp_listening(void)
{
    uint16_t port;
    return (struct subject){ .fd = tcp_listen(&port) };
}

static struct subject make_tcp_pending(void)
{
    struct subject subject = make_tcp_listening();
    hold(&subject, tcp_connect_start(port_of(subject.fd)));
    await_readable(subject.fd);
    return subject;
}

/* A listener whose backlog is full lets the next one wait: the last of `others` but one is the listener, the rest fill it. */
static struct subject make_tcp_connecting(void)
{
    struct subject subject = { .fd = -1,
                               .why = "the host accepts connections before the program does: none stays under way" };
    int listener = tcp_socket();
    bind_loopback(listener);
    MUST(listen(listener, 1) == 0);
    hold(&subject, listener);
    for (int i = 0; i < 6; i++) {
        int fd = tcp_connect_start(port_of(listener));
        if (!own_poll(fd, POLLOUT, 30)) {
            subject.fd = fd;
            break;
        }
        hold(&subject, fd);
    }
    return subject;
}

static struct subject make_tcp_connected(void)
{
    int fd[2];
    tcp_pair(fd);
    struct subject subject = { .fd = fd[0] };
    hold(&subject, fd[1]);
    return subject;
}

static struct subject make_tcp_with_bytes(void)
{
    struct subject subject = make_tcp_connected();
    send_bytes(subject.others[0], 10);
    await_readable(subject.fd);
    return subject;
}

static struct subject make_tcp_full(void)
{
    struct subject subject = make_tcp_connected();
    (void)fill(subject.fd);
    return subject;
}

/* A socket whose port refuses connections: bound, so that nobody else gets the number, but it does not listen. (On jco a bound
 * socket accepts, see tests/reproducers/bound_accepts_jco.c: there it has been closed.) */
static int refusing(uint16_t *port)
{
    struct subject nobody = make_tcp_bound();
    *port = port_of(nobody.fd);
    if (host_is("jco")) {
        close(nobody.fd);
        nobody.fd = make_tcp_unbound().fd;
    }
    return nobody.fd;
}

static struct subject make_tcp_refused(void)
{
    uint16_t port;
    int nobody = refusing(&port);
    struct subject subject = { .fd = tcp_connect_start(port) };
    hold(&subject, nobody);
    (void)own_poll(subject.fd, POLLOUT, 1000);
    return subject;
}

static struct subject make_tcp_half_closed(void)
{
    struct subject subject = make_tcp_connected();
    MUST(shutdown(subject.others[0], SHUT_WR) == 0);
    await_readable(subject.fd);
    return subject;
}

static struct subject make_tcp_shut(int how)
{
    struct subject subject = make_tcp_connected();
    MUST(shutdown(subject.fd, how) == 0);
    if (!on_wasi()) /* Linux's kernel has an edge for the peer's acknowledgement, which may be 40 ms late */
        (void)poll(NULL, 0, 60);
    return subject;
}

static struct subject make_tcp_shut_read(void) { return make_tcp_shut(SHUT_RD); }
static struct subject make_tcp_shut_write(void) { return make_tcp_shut(SHUT_WR); }
static struct subject make_tcp_shut_both(void) { return make_tcp_shut(SHUT_RDWR); }

static struct subject make_tcp_peer_closed(void)
{
    struct subject subject = make_tcp_connected();
    close(subject.others[--subject.n]);
    await_readable(subject.fd);
    return subject;
}

/* Closed with bytes unread: the peer is told by a reset. */
static struct subject make_tcp_reset(void)
{
    struct subject subject = make_tcp_connected();
    send_bytes(subject.fd, 10);
    await_readable(subject.others[0]);
    close(subject.others[--subject.n]);
    await_readable(subject.fd);
    return subject;
}

static struct subject make_udp_unbound(void) { return (struct subject){ .fd = udp_socket() }; }

static struct subject make_udp_bound(void)
{
    struct subject subject = make_udp_unbound();
    bind_loopback(subject.fd);
    return subject;
}

static struct subject make_udp_with_datagram(void)
{
    struct subject subject = make_udp_bound();
    int peer = make_udp_bound().fd;
    hold(&subject, peer);
    (void)own_poll(subject.fd, POLLIN,
                   0); /* jco loses what comes before somebody asks (tests/reproducers/udp_early_jco.c) */
    datagram(peer, port_of(subject.fd));
    await_readable(subject.fd);
    return subject;
}

static struct subject make_udp_connected(void)
{
    struct subject subject = make_udp_bound();
    int peer = make_udp_bound().fd;
    hold(&subject, peer);
    MUST(connect_loopback(subject.fd, port_of(peer)) == 0);
    return subject;
}

static struct subject make_udp_reconnected(void)
{
    struct subject subject = make_udp_connected();
    int peer = make_udp_bound().fd;
    hold(&subject, peer);
    (void)own_poll(subject.fd, POLLOUT, 100);
    MUST(connect_loopback(subject.fd, port_of(peer)) == 0);
    return subject;
}

static struct subject make_file(void)
{
    struct subject subject = { .fd = open_file(), .why = "the host was given no folder" };
    return subject;
}

/* ---- a source that stays as it is ----------------------------------------------------------------------------------- */

struct expected {
    uint32_t ready; /* directions that hold, */
    uint32_t may;   /* and those that may be reported or not */
    uint32_t flags; /* must come with each event of one that is watched for input */
};

/* One wait, and what came for `data`. */
static uint32_t once(poise *queue, int64_t timeout, const void *data, int *result)
{
    struct seen seen;
    *result = wait_all(queue, timeout, &seen);
    return seen_ready(&seen, data);
}

/* Nothing is reported: a wait ends by its time, and asks the host a few times, not all the while. */
static void check_idle_for(poise *queue, int64_t time)
{
    struct calls before = calls();
    uint64_t start = poise_now();
    int result = 0;
    uint32_t ready = once(queue, time, NULL, &result);
    (void)ready;
    EXPECT_INT(result, 0);
    EXPECT(poise_now() - start >= (uint64_t)time);
    EXPECT(calls().polls - before.polls <= 6);
    EXPECT(calls().yields - before.yields <= 6);
}

static void check_idle(poise *queue) { check_idle_for(queue, 50 * MS); }

static void check_watched(struct subject *subject, uint32_t directions, uint32_t mode, struct expected expected)
{
    poise *queue = open_queue();
    int result = 0;
    uint32_t must = expected.ready & directions;
    uint32_t flags = directions & R ? expected.flags : 0;
    uint32_t allowed = must | (expected.may & directions);
    set_context(mode, directions, "");
    EXPECT_INT(poise_watch(queue, poise_fd(subject->fd), directions | mode, subject), 0);
    if (must == 0) {
        if (allowed == 0)
            CALL(check_idle(queue));
        else
            (void)once(queue, 10 * MS, subject, &result);
    } else if (mode == 0) {
        uint32_t ready = 0;
        for (int i = 0; i < 4; i++) {
            uint32_t now = once(queue, patience(), subject, &result);
            EXPECT(result > 0 && (now & must) != 0 && (now & flags) == flags);
            ready |= now;
        }
        EXPECT_INT(ready & must, must);
        EXPECT_INT(ready & DIRECTIONS & ~allowed, 0);
    } else {
        uint32_t ready = once(queue, patience(), subject, &result);
        EXPECT(result > 0 && (ready & must) != 0 && (ready & flags) == flags);
        while (mode == POISE_EDGE && (ready & must) != must) { /* each direction may have an event of its own */
            uint32_t now = once(queue, patience(), subject, &result);
            EXPECT((now & must & ~ready) != 0);
            ready |= now;
        }
        EXPECT_INT(ready & DIRECTIONS & ~allowed, 0);
        EXPECT(silent(queue, subject, 20 * MS));
        /* Where the kernel keeps edges, nothing has changed, so nothing comes. */
        if (mode == POISE_ONESHOT)
            EXPECT_INT(poise_watch(queue, poise_fd(subject->fd), directions | mode, subject), 0);
        else
            EXPECT_INT(poise_again(queue, poise_fd(subject->fd), directions), 0);
        if (mode == POISE_ONESHOT || !backend_is("epoll"))
            EXPECT((once(queue, patience(), subject, &result) & must) != 0);
        EXPECT_INT(poise_unwatch(queue, poise_fd(subject->fd)), 0);
        EXPECT(silent(queue, subject, 5 * MS));
    }
    poise_close(queue);
}

static void check_state(struct subject (*make)(void), struct expected native, struct expected wasi)
{
    NEED_SOCKETS();
    struct expected expected = on_wasi() ? wasi : native;
    struct subject subject = make();
    if (subject.fd < 0) {
        test_skipped(subject.why);
        dispose(&subject);
        return;
    }
    static const uint32_t watched[] = { R, W, R | W };
    for (int own = 0; own < 2; own++) { /* the second time after the program has asked poll(2) itself */
        for (int i = 0; i < 3 && !test_over; i++)
            for (int j = 0; j < 3 && !test_over; j++)
                check_watched(&subject, watched[i], modes[j], expected);
        (void)own_poll(subject.fd, POLLIN, 0);
        (void)own_poll(subject.fd, POLLOUT, 0);
    }
    dispose(&subject);
}

#define EXPECTED(...) ((struct expected){ __VA_ARGS__ })
#define SAME(...) EXPECTED(__VA_ARGS__), EXPECTED(__VA_ARGS__)
#define NATIVE(...) EXPECTED(__VA_ARGS__)
#define WASI(...) EXPECTED(__VA_ARGS__)

/* Linux calls an unconnected TCP socket hung up, which is an event; under WASI nothing stands behind it. */
TEST(BRIDGE, tcp_unbound) { check_state(make_tcp_unbound, NATIVE(.may = R | W), WASI(0)); }
TEST(BRIDGE, tcp_bound) { check_state(make_tcp_bound, NATIVE(.may = R | W), WASI(0)); }
TEST(BRIDGE, tcp_listening) { check_state(make_tcp_listening, SAME(0)); }
TEST(BRIDGE, tcp_listening_with_a_connection) { check_state(make_tcp_pending, SAME(.ready = R)); }
TEST(BRIDGE, tcp_connecting) { check_state(make_tcp_connecting, SAME(0)); }
TEST(BRIDGE, tcp_connected) { check_state(make_tcp_connected, SAME(.ready = W)); }
TEST(BRIDGE, tcp_connected_with_bytes) { check_state(make_tcp_with_bytes, SAME(.ready = R | W)); }
TEST(BRIDGE, tcp_full) { check_state(make_tcp_full, SAME(0)); }
TEST(BRIDGE, tcp_refused)
{
    uint32_t error = backend_is("wasip2") ? POISE_ERROR : 0;
    check_state(make_tcp_refused, NATIVE(.ready = R | W), WASI(.ready = R | W, .flags = error));
}
TEST(BRIDGE, tcp_half_closed)
{
    check_state(make_tcp_half_closed, NATIVE(.ready = R | W, .flags = POISE_READ_CLOSED), WASI(.ready = R | W));
}
#define NEED_OWN_SHUTDOWN()                                                               \
    do {                                                                                  \
        if (host_is("jco"))                                                               \
            SKIP("jco does not report the end of what the program itself has shut down"); \
    } while (0)

TEST(BRIDGE, tcp_shut_read)
{
    NEED_OWN_SHUTDOWN();
    check_state(make_tcp_shut_read, SAME(.ready = R | W));
}
TEST(BRIDGE, tcp_shut_write)
{
    if (host_is("jco"))
        SKIP("jco closes both directions of a connection when one is shut down");
    check_state(make_tcp_shut_write, SAME(.ready = W));
}
TEST(BRIDGE, tcp_shut_both)
{
    NEED_OWN_SHUTDOWN();
    check_state(make_tcp_shut_both, SAME(.ready = R | W));
}
TEST(BRIDGE, tcp_peer_closed) { check_state(make_tcp_peer_closed, SAME(.ready = R | W)); }
TEST(BRIDGE, tcp_reset) { check_state(make_tcp_reset, SAME(.ready = R | W)); }
/* Nothing stands behind it under WASI either, but an operation would not wait. */
TEST(BRIDGE, udp_unbound) { check_state(make_udp_unbound, NATIVE(.ready = W), WASI(.ready = R | W)); }
TEST(BRIDGE, udp_bound) { check_state(make_udp_bound, SAME(.ready = W)); }
TEST(BRIDGE, udp_with_datagram) { check_state(make_udp_with_datagram, SAME(.ready = R | W)); }
TEST(BRIDGE, udp_connected) { check_state(make_udp_connected, SAME(.ready = W)); }
TEST(BRIDGE, udp_reconnected) { check_state(make_udp_reconnected, SAME(.ready = W)); }
TEST(BRIDGE, file) { check_state(make_file, SAME(.ready = R | W)); }

/* What standard input and output are is the runner's choice: poll(2) says what there is to expect of input. */
static struct subject make_standard_input(void) { return (struct subject){ .fd = 0 }; }
static struct subject make_standard_output(void) { return (struct subject){ .fd = 1 }; }

TEST(BRIDGE, standard_input)
{
    uint32_t ready = own_poll(0, POLLIN, 0) ? R : 0;
    check_state(make_standard_input, NATIVE(.may = R | W), WASI(.ready = ready, .may = R));
}

TEST(BRIDGE, standard_output) { check_state(make_standard_output, NATIVE(.may = R | W), WASI(.ready = W)); }

/* ---- closed, and the number reused ----------------------------------------------------------------------------------- */

TEST(BRIDGE, closed)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    int fd = udp_socket();
    close(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd), R, NULL), -EBADF);
    CHECK_INT(poise_watch(queue, poise_fd(-1), R, NULL), -EBADF);
    CHECK_INT(poise_unwatch(queue, poise_fd(fd)), -ENOENT);
    check_unharmed(queue);
    poise_close(queue);
}

/* All but make_tcp_full: the close of that one would wait for ever on wasmtime 48 (tests/reproducers/close_waits_48.c). */
static struct subject (*const all_states[])(void) = {
    make_tcp_unbound,    make_tcp_bound,         make_tcp_listening,   make_tcp_pending,     make_tcp_connecting,
    make_tcp_connected,  make_tcp_with_bytes,    make_tcp_refused,     make_tcp_half_closed, make_tcp_shut_read,
    make_tcp_shut_write, make_tcp_shut_both,     make_tcp_peer_closed, make_tcp_reset,       make_udp_unbound,
    make_udp_bound,      make_udp_with_datagram, make_udp_connected,   make_udp_reconnected, make_file,
};

enum { STATES = sizeof all_states / sizeof all_states[0] };

/* Closed while it is watched: epoll forgets it in silence, the others say so once; nobody spins, nothing traps. */
static void check_closed_while_watched(poise *queue, int state, uint32_t mode, bool waited)
{
    struct subject subject = all_states[state]();
    if (subject.fd < 0) {
        dispose(&subject);
        return;
    }
    int result = 0;
    bool is_file = all_states[state] == make_file;
    snprintf(context, sizeof context, "state %d, %s%s", state, mode_name(mode), waited ? ", waited for before" : "");
    EXPECT_INT(poise_watch(queue, poise_fd(subject.fd), R | W | mode, &subject), 0);
    if (waited) /* so that whatever stands behind it is known */
        (void)once(queue, 0, &subject, &result);
    if (mode == POISE_ONESHOT)
        EXPECT_INT(poise_watch(queue, poise_fd(subject.fd), R | W | mode, &subject), 0);
    else
        EXPECT_INT(poise_again(queue, poise_fd(subject.fd), R | W), 0);
    close(subject.fd);
    if (!is_file) { /* an always-ready file is known to nobody but the queue */
        struct seen seen;
        (void)wait_all(queue, 10 * MS, &seen);
        int n = seen_count(&seen, &subject);
        if (backend_is("epoll")) {
            EXPECT(n <= 1); /* gathered before the close */
        } else {
            EXPECT_INT(n, 1);
            EXPECT((seen_ready(&seen, &subject) & POISE_ERROR) != 0);
            for (int i = 0; i < seen.n; i++)
                EXPECT_INT(seen.event[i].result, -EBADF);
        }
        CALL(check_idle_for(queue, 10 * MS));
    }
    EXPECT_INT(poise_unwatch(queue, poise_fd(subject.fd)), 0);
    EXPECT(silent(queue, &subject, 2 * MS));
    subject.fd = -1;
    dispose(&subject);
}

TEST(BRIDGE, closed_while_watched)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    for (int i = 0; i < STATES; i++)
        for (int j = 0; j < 6; j++)
            CALL(check_closed_while_watched(queue, i, modes[j % 3], j >= 3));
    check_unharmed(queue);
    poise_close(queue);
}

/* Closed while it is watched, and the number taken by a socket in every other state: watched again at once, it is that one. */
static void check_reused(poise *queue, int from, int to, uint32_t mode, bool unwatched)
{
    struct subject subject = all_states[from]();
    int result = 0;
    if (subject.fd < 0) {
        dispose(&subject);
        return;
    }
    snprintf(context, sizeof context, "state %d, then %d, %s", from, to, mode_name(mode));
    EXPECT_INT(poise_watch(queue, poise_fd(subject.fd), R | W | mode, &from), 0);
    (void)once(queue, 0, &from, &result);
    if (unwatched)
        EXPECT_INT(poise_unwatch(queue, poise_fd(subject.fd)), 0);
    int number = subject.fd;
    close(number);
    subject.fd = -1;
    dispose(&subject);
    struct subject other = all_states[to]();
    if (other.fd < 0) {
        dispose(&other);
        if (!unwatched)
            EXPECT_INT(poise_unwatch(queue, poise_fd(number)), 0);
        return;
    }
    /* The states make several descriptors: which of them has got the number differs, so all are watched. */
    EXPECT_INT(poise_watch(queue, poise_fd(other.fd), R | W | mode, &to), 0);
    if (other.fd != number && !unwatched)
        EXPECT_INT(poise_unwatch(queue, poise_fd(number)), 0);
    struct pollfd asked = { .fd = other.fd, .events = POLLIN | POLLOUT };
    bool expected = poll(&asked, 1, 0) > 0;
    uint32_t ready = 0;
    for (int i = 0; i < 3 && ready == 0; i++) { /* not of the wait before: none of it was left */
        struct seen seen;
        EXPECT(wait_all(queue, expected ? patience() : 2 * MS, &seen) >= 0);
        EXPECT_INT(seen_count(&seen, &from), 0);
        ready |= seen_ready(&seen, &to);
    }
    EXPECT(!expected || ready != 0);
    EXPECT((ready & POISE_ERROR) == 0 || all_states[to] == make_tcp_refused || all_states[to] == make_tcp_reset);
    EXPECT_INT(poise_unwatch(queue, poise_fd(other.fd)), 0);
    dispose(&other);
}

TEST(BRIDGE, number_reused)
{
    NEED_SOCKETS();
    poise *queue = open_queue();
    unsigned step = scale(100) < 100 ? 31 : 3; /* no divisor of either count: all states come by, in all modes */
    for (unsigned i = 0; i < STATES * STATES; i += step)
        CALL(check_reused(queue, (int)(i / STATES), (int)(i % STATES), modes[i % 3], i % 2));
    check_unharmed(queue);
    poise_close(queue);
}

/* ---- from one state to the next, while it is watched ------------------------------------------------------------------- */

/* A source on its way, and how its user treats it: what EAGAIN and one-shots ask for, and maybe a poll(2) of his own. */
struct journey {
    poise *queue;
    int fd;
    uint32_t directions, mode;
    bool own;
};

static void watch_for(struct journey *journey, uint32_t directions)
{
    journey->directions = directions;
    set_context(journey->mode, directions, journey->own ? ", with the program's own poll(2)" : "");
    EXPECT_INT(poise_watch(journey->queue, poise_fd(journey->fd), directions | journey->mode, journey), 0);
}

static void rearm(struct journey *journey)
{
    if (journey->mode == POISE_EDGE)
        EXPECT_INT(poise_again(journey->queue, poise_fd(journey->fd), journey->directions), 0);
    if (journey->mode == POISE_ONESHOT)
        EXPECT_INT(poise_watch(journey->queue, poise_fd(journey->fd), journey->directions | journey->mode, journey), 0);
}

static void look(struct journey *journey)
{
    if (journey->own) {
        (void)own_poll(journey->fd, POLLIN, 0);
        (void)own_poll(journey->fd, POLLOUT, 0);
    }
}

/* `bits` must come; what comes before that is spurious, and there is little of it. */
static void must_come(struct journey *journey, uint32_t bits)
{
    uint64_t end = poise_now() + (uint64_t)patience();
    uint32_t ready = 0;
    look(journey);
    for (int i = 0; (ready & bits) != bits && poise_now() < end; i++) {
        struct seen seen;
        EXPECT(wait_all(journey->queue, 100 * MS, &seen) >= 0);
        ready |= seen_ready(&seen, journey);
        EXPECT(i < 100);
        if (seen_count(&seen, journey) != 0)
            CALL(rearm(journey));
    }
    EXPECT_INT(ready & bits, bits);
}

/* Nothing comes. A spurious event or two may have been on their way: an operation that says EAGAIN ends that. */
static void must_be_quiet(struct journey *journey)
{
    look(journey);
    for (int i = 0;; i++) {
        struct seen seen;
        char byte;
        EXPECT(wait_all(journey->queue, 10 * MS, &seen) >= 0);
        if (seen.n == 0)
            break;
        EXPECT(i < 4);
        if (recv(journey->fd, &byte, 1, 0) >= 0)
            EXPECT(0 && "there is something to read");
        CALL(rearm(journey));
    }
    CALL(check_idle(journey->queue));
}

static void listen_while_watched(uint32_t mode, bool own)
{
    struct journey journey = { open_queue(), tcp_socket(), 0, mode, own };
    CALL(watch_for(&journey, R));
    if (on_wasi()) /* Linux says that it is hung up */
        CALL(must_be_quiet(&journey));
    bind_loopback(journey.fd);
    if (on_wasi())
        CALL(must_be_quiet(&journey));
    MUST(listen(journey.fd, 8) == 0);
    struct seen seen;
    (void)wait_all(journey.queue, 0, &seen); /* that event, if nobody has taken it yet */
    CALL(rearm(&journey));
    CALL(check_idle(journey.queue));
    for (int i = 0; i < 3; i++) {
        look(&journey);
        int client = tcp_connect_start(port_of(journey.fd));
        CALL(must_come(&journey, R));
        int server = accept_one(journey.fd);
        EXPECT(server >= 0);
        EXPECT(accept_one(journey.fd) < 0);
        CALL(rearm(&journey));
        CALL(check_idle(journey.queue));
        close(client);
        close(server);
    }
    EXPECT_INT(poise_unwatch(journey.queue, poise_fd(journey.fd)), 0);
    close(journey.fd);
    poise_close(journey.queue);
}

#define EACH_MODE(call)                          \
    do {                                         \
        NEED_SOCKETS();                          \
        for (int mode_ = 0; mode_ < 3; mode_++)  \
            for (int own_ = 0; own_ < 2; own_++) \
                CALL(call);                      \
    } while (0)

TEST(BRIDGE, from_unbound_to_listening) { EACH_MODE(listen_while_watched(modes[mode_], own_)); }

enum { WATCHED_UNBOUND, WATCHED_CONNECTING, WATCHED_CONNECTED };

static void connect_while_watched(uint32_t mode, bool own, int watched, uint32_t directions)
{
    uint16_t port;
    int listener = tcp_listen(&port);
    struct journey journey = { open_queue(), tcp_socket(), 0, mode, own };
    if (watched == WATCHED_UNBOUND) {
        CALL(watch_for(&journey, directions));
        struct seen seen;
        EXPECT(wait_all(journey.queue, on_wasi() ? 10 * MS : 0, &seen) >= 0);
        EXPECT(!on_wasi() || seen.n == 0);
        CALL(rearm(&journey));
    }
    int result = connect_loopback(journey.fd, port);
    EXPECT(result == 0 || result == -EINPROGRESS);
    if (watched == WATCHED_CONNECTING)
        CALL(watch_for(&journey, directions));
    if (own) /* it finishes the connect */
        EXPECT(own_poll(journey.fd, POLLOUT, 2000));
    if (watched == WATCHED_CONNECTED) {
        EXPECT(own_poll(journey.fd, POLLOUT, 2000));
        CALL(watch_for(&journey, directions));
    }
    if (directions & W) {
        CALL(must_come(&journey, W));
        EXPECT_INT(so_error(journey.fd), 0);
    }
    await_readable(listener);
    int server = accept_one(listener);
    EXPECT(server >= 0);
    CALL(watch_for(&journey, R));
    CALL(must_be_quiet(&journey));
    EXPECT_INT(so_error(journey.fd), 0);
    send_byte(server);
    CALL(must_come(&journey, R));
    EXPECT_INT(drain_exactly(journey.fd, 1), 1);
    CALL(rearm(&journey));
    CALL(must_be_quiet(&journey));
    send_byte(journey.fd);
    EXPECT_INT(drain_exactly(server, 1), 1);
    MUST(shutdown(server, SHUT_WR) == 0);
    CALL(must_come(&journey, R));
    char byte;
    EXPECT_INT(recv(journey.fd, &byte, 1, 0), 0);
    if (mode == 0) /* for good */
        CALL(must_come(&journey, R));
    CALL(watch_for(&journey, R | W));
    CALL(must_come(&journey, W)); /* the other half is open */
    EXPECT_INT(poise_unwatch(journey.queue, poise_fd(journey.fd)), 0);
    close(journey.fd);
    close(server);
    close(listener);
    poise_close(journey.queue);
}

TEST(BRIDGE, from_unbound_to_half_closed)
{
    EACH_MODE(connect_while_watched(modes[mode_], own_, WATCHED_UNBOUND, R | W));
}
TEST(BRIDGE, from_connecting_to_half_closed)
{
    EACH_MODE(connect_while_watched(modes[mode_], own_, WATCHED_CONNECTING, R | W));
}
TEST(BRIDGE, from_connecting_watched_for_room)
{
    EACH_MODE(connect_while_watched(modes[mode_], own_, WATCHED_CONNECTING, W));
}
TEST(BRIDGE, from_connecting_watched_for_input)
{
    EACH_MODE(connect_while_watched(modes[mode_], own_, WATCHED_CONNECTING, R));
}
TEST(BRIDGE, from_connected_to_half_closed)
{
    EACH_MODE(connect_while_watched(modes[mode_], own_, WATCHED_CONNECTED, R | W));
}

/* A connect that takes its time: the listener's backlog is full, and only the second SYN, a second later, finds room. */
static void connect_slowly(uint32_t mode)
{
    struct subject subject = make_tcp_connecting();
    if (subject.fd < 0) {
        test_skipped(subject.why);
        dispose(&subject);
        return;
    }
    struct journey journey = { open_queue(), subject.fd, 0, mode, false };
    CALL(watch_for(&journey, R | W));
    CALL(check_idle(journey.queue));
    int listener = subject.others[0], accepted[8], n = 0;
    await_readable(listener);
    while (n < 8 && (accepted[n] = accept_one(listener)) >= 0)
        n++;
    struct calls before = calls();
    struct seen seen;
    EXPECT(wait_all(journey.queue, 5 * SECOND, &seen) > 0);
    EXPECT_INT(seen_ready(&seen, &journey) & (W | POISE_ERROR), W);
    EXPECT(calls().polls - before.polls <= 3); /* the wait, libc's finish, what stands behind it then */
    EXPECT_INT(so_error(journey.fd), 0);
    send_byte(journey.fd);
    while (n > 0)
        close(accepted[--n]);
    poise_close(journey.queue);
    dispose(&subject);
}

TEST(BRIDGE, from_connecting_slowly)
{
    NEED_SOCKETS();
    for (int i = 0; i < 3; i++)
        CALL(connect_slowly(modes[i]));
}

/* An own connect(2) once more, and SO_ERROR, while poise waits for the first: both say how things stand, neither harms. */
static void connect_twice(uint32_t mode, bool own)
{
    uint16_t port;
    int listener = tcp_listen(&port);
    struct journey journey = { open_queue(), tcp_connect_start(port), 0, mode, own };
    CALL(watch_for(&journey, W));
    int result = connect_loopback(journey.fd, port);
    EXPECT(result == 0 || result == -EALREADY || result == -EISCONN || result == -EINPROGRESS);
    int error = so_error(journey.fd);
    EXPECT(error == 0 || (on_wasi() && error == EINPROGRESS));
    CALL(must_come(&journey, W));
    EXPECT_INT(so_error(journey.fd), 0);
    result = connect_loopback(journey.fd, port);
    EXPECT(result == 0 || result == -EISCONN);
    send_byte(journey.fd);
    poise_close(journey.queue);
    close(journey.fd);
    close(listener);
}

TEST(BRIDGE, own_connect_in_between) { EACH_MODE(connect_twice(modes[mode_], own_)); }

static void refused_while_watched(uint32_t mode, bool own, bool from_unbound)
{
    uint16_t port;
    int nobody = refusing(&port);
    struct journey journey = { open_queue(), tcp_socket(), 0, mode, own };
    if (from_unbound)
        CALL(watch_for(&journey, R | W));
    int result = connect_loopback(journey.fd, port);
    EXPECT(result == -EINPROGRESS || result == -ECONNREFUSED);
    if (own)
        EXPECT(own_poll(journey.fd, POLLOUT, 2000));
    if (!from_unbound)
        CALL(watch_for(&journey, R | W));
    struct seen seen;
    uint32_t ready = 0;
    uint64_t end = poise_now() + (uint64_t)patience();
    int32_t why = 0;
    while (poise_now() < end && (ready & W) == 0) {
        EXPECT(wait_all(journey.queue, 100 * MS, &seen) >= 0);
        ready |= seen_ready(&seen, &journey);
        for (int i = 0; i < seen.n; i++)
            why = seen.event[i].result != 0 ? seen.event[i].result : why;
        if (seen.n != 0 && !(ready & W))
            CALL(rearm(&journey));
    }
    EXPECT((ready & W) != 0);
    if (backend_is("wasip2") && !from_unbound) {
        EXPECT((ready & POISE_ERROR) != 0);
        EXPECT_INT(why, -ECONNREFUSED);
    }
    if (result == -EINPROGRESS && !(from_unbound && !on_wasi())) /* Linux reports the hang-up from before */
        EXPECT_INT(so_error(journey.fd), ECONNREFUSED);
    EXPECT_INT(poise_unwatch(journey.queue, poise_fd(journey.fd)), 0);
    close(journey.fd);
    close(nobody);
    poise_close(journey.queue);
}

TEST(BRIDGE, from_unbound_to_refused) { EACH_MODE(refused_while_watched(modes[mode_], own_, true)); }
TEST(BRIDGE, from_connecting_to_refused) { EACH_MODE(refused_while_watched(modes[mode_], own_, false)); }

/* Connected, connected again: each time other handles stand behind the same number. */
static void reconnect_while_watched(uint32_t mode, bool own)
{
    struct journey journey = { open_queue(), udp_socket(), 0, mode, own };
    bind_loopback(journey.fd);
    CALL(watch_for(&journey, R));
    CALL(must_be_quiet(&journey));
    char byte;
    for (int i = 0; i < 4; i++) { /* first unconnected */
        int peer = make_udp_bound().fd;
        if (i > 0)
            EXPECT_INT(connect_loopback(journey.fd, port_of(peer)), 0);
        CALL(must_be_quiet(&journey));
        datagram(peer, port_of(journey.fd));
        CALL(must_come(&journey, R));
        EXPECT_INT(recv(journey.fd, &byte, 1, 0), 1);
        EXPECT(recv(journey.fd, &byte, 1, 0) < 0);
        CALL(rearm(&journey));
        CALL(must_be_quiet(&journey));
        if (i % 2 == 1) {
            CALL(watch_for(&journey, R | W));
            CALL(must_come(&journey, W));
            CALL(watch_for(&journey, R));
        }
        close(peer);
    }
    EXPECT_INT(poise_unwatch(journey.queue, poise_fd(journey.fd)), 0);
    close(journey.fd);
    poise_close(journey.queue);
}

/* Watched for room alone: no host keeps a task that receives. */
static void reconnect_for_room(uint32_t mode, bool own)
{
    struct journey journey = { open_queue(), udp_socket(), 0, mode, false };
    bind_loopback(journey.fd);
    CALL(watch_for(&journey, W));
    CALL(must_come(&journey, W));
    for (int i = 0; i < 4; i++) {
        int peer = make_udp_bound().fd;
        if (own)
            (void)own_poll(journey.fd, POLLOUT, 0);
        EXPECT_INT(connect_loopback(journey.fd, port_of(peer)), 0);
        CALL(watch_for(&journey, W));
        CALL(must_come(&journey, W));
        close(peer);
    }
    close(journey.fd);
    poise_close(journey.queue);
}

TEST(BRIDGE, udp_reconnected_watched_for_room) { EACH_MODE(reconnect_for_room(modes[mode_], own_)); }

TEST(BRIDGE, udp_from_bound_to_reconnected)
{
    if (host_is("wasmtime-48"))
        SKIP("wasmtime 48 traps when a UDP socket is connected that was received from or waited for");
    if (host_is("jco"))
        SKIP("jco reports a UDP socket as readable for ever once a datagram has come");
    EACH_MODE(reconnect_while_watched(modes[mode_], own_));
}

/* Watched while nothing stands behind it; a send binds it. */
static void bind_by_sending(uint32_t mode, bool own)
{
    struct journey journey = { open_queue(), udp_socket(), 0, mode, own };
    int peer = make_udp_bound().fd;
    CALL(watch_for(&journey, R));
    struct seen seen;
    EXPECT(wait_all(journey.queue, 0, &seen) >= 0); /* ready, under WASI: a receive would not wait */
    look(&journey);
    if (connect_loopback(journey.fd, port_of(peer)) !=
        0) /* libc's sendto of an unbound socket binds it, too, where it can */
        bind_loopback(journey.fd);
    CALL(rearm(&journey));
    CALL(must_be_quiet(&journey));
    datagram(peer, port_of(journey.fd));
    CALL(must_come(&journey, R));
    poise_close(journey.queue);
    close(journey.fd);
    close(peer);
}

TEST(BRIDGE, udp_from_unbound_to_connected) { EACH_MODE(bind_by_sending(modes[mode_], own_)); }

/* ---- several watchers of one descriptor ---------------------------------------------------------------------------------- */

/* Two queues wait for the same connect: libc finishes it for one, and the other's handle is then ready for nothing. */
TEST(BRIDGE, two_queues_one_connect)
{
    NEED_SOCKETS();
    for (int i = 0; i < 3; i++) {
        uint16_t port;
        int listener = tcp_listen(&port);
        struct journey one = { open_queue(), tcp_connect_start(port), 0, modes[i], false }, two = one;
        two.queue = open_queue();
        CALL(watch_for(&one, R | W));
        CALL(watch_for(&two, R | W));
        struct seen seen;
        EXPECT(wait_all(two.queue, 0, &seen) >= 0); /* both know the handle */
        uint32_t early = seen_ready(&seen, &two);
        if (seen.n > 0)
            CALL(rearm(&two));
        CALL(must_come(&one, W));
        if (!(early & W))
            CALL(must_come(&two, W));
        await_readable(listener);
        int server = accept_one(listener);
        CALL(watch_for(&one, R));
        CALL(watch_for(&two, R));
        CALL(must_be_quiet(&one));
        CALL(must_be_quiet(&two));
        send_byte(server);
        CALL(must_come(&one, R));
        CALL(must_come(&two, R));
        close(one.fd); /* under the eyes of both */
        EXPECT_INT(poise_unwatch(one.queue, poise_fd(one.fd)), 0);
        EXPECT(wait_all(two.queue, 0, &seen) >= 0);
        CALL(check_idle(two.queue));
        EXPECT_INT(poise_unwatch(two.queue, poise_fd(one.fd)), 0);
        poise_close(one.queue);
        poise_close(two.queue);
        close(server);
        close(listener);
    }
}

/* Paused while it connects, is connected, gets bytes, is half-closed: nothing comes, and nothing is lost. */
TEST(BRIDGE, paused_on_the_way)
{
    NEED_SOCKETS();
    for (int i = 0; i < 3; i++) {
        uint16_t port;
        int listener = tcp_listen(&port);
        struct journey journey = { open_queue(), tcp_connect_start(port), 0, modes[i], false };
        struct seen seen;
        CALL(watch_for(&journey, R | W));
        EXPECT(wait_all(journey.queue, 0, &seen) >= 0);
        CALL(watch_for(&journey, 0));
        await_readable(listener);
        int server = accept_one(listener);
        CALL(check_idle(journey.queue));
        CALL(watch_for(&journey, W));
        CALL(must_come(&journey, W));
        CALL(watch_for(&journey, 0));
        send_byte(server);
        CALL(check_idle(journey.queue));
        CALL(watch_for(&journey, R));
        CALL(must_come(&journey, R));
        EXPECT_INT(drain_exactly(journey.fd, 1), 1);
        CALL(watch_for(&journey, 0));
        MUST(shutdown(server, SHUT_WR) == 0);
        CALL(check_idle(journey.queue));
        CALL(watch_for(&journey, R));
        CALL(must_come(&journey, R));
        poise_close(journey.queue);
        close(journey.fd);
        close(server);
        close(listener);
    }
}

#else
typedef int nothing_to_test; /* ISO C wants a declaration */
#endif
