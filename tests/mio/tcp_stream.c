/* mio's tests/tcp_stream.rs. The other end is driven from the same loop, where it is a thread there. */
#include "kit.h"

#include <sys/uio.h>

/* ---- helpers ----------------------------------------------------------------------------------------------------- */

static const char world[] = "Hello world!", mars[] = "Hello mars!"; /* sent without the zero */
enum { WORLD = sizeof world - 1, MARS = sizeof mars - 1 };

static ptrdiff_t peek(int fd, void *bytes, size_t size)
{
    ptrdiff_t n = recv(fd, bytes, size, MSG_PEEK);
    return n < 0 ? -errno : n;
}

/* A stream that is watched, and its other end, which is not. */
struct link {
    poise *queue;
    poise_address there; /* where the stream is connected to */
    int stream, server;
};

static int by_poise(const poise_address *there) { return poise_tcp_connect(there); }

/* As std makes one: a connect that blocks, then non-blocking. */
static int by_libc(const poise_address *there)
{
    int fd = socket(there->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(fd >= 0);
    MUST(connect(fd, (const struct sockaddr *)&there->storage, there->length) == 0);
    set_nonblocking(fd);
    return fd;
}

/* The stream is connecting, or connected; nobody watches it yet, or has waited for it. */
static void start(struct link *link, const char *host, int (*make)(const poise_address *there))
{
    link->queue = open_queue();
    int listener = listen_at(host, &link->there);
    link->stream = make(&link->there);
    CHECK_RANGE(link->stream, 0, INT32_MAX);
    link->server = patient_accept(listener, NULL);
    CHECK_RANGE(link->server, 0, INT32_MAX);
    close(listener);
}

static void watch(struct link *link, uint32_t interest)
{
    CHECK_INT(poise_watch(link->queue, poise_fd(link->stream), interest | EDGE, &link->stream), 0);
}

/* Watched for both, and reported writable: it is connected. */
static void start_writable(struct link *link)
{
    CALL(start(link, V4, by_poise));
    CALL(watch(link, BOTH));
    CHECK(EVENTS_COME(link->queue, { &link->stream, OUT }));
}

static void end(struct link *link)
{
    poise_close(link->queue);
    if (link->server >= 0)
        close(link->server);
    close(link->stream);
}

/* The server answers with the n bytes that it is sent, in one piece. */
static void echo(const struct link *link, size_t n)
{
    char bytes[64];
    size_t got = 0;
    CHECK(n <= sizeof bytes);
    while (got < n) {
        ptrdiff_t more = patient_recv(link->server, bytes + got, n - got, NULL);
        CHECK_RANGE(more, 1, n);
        got += (size_t)more;
    }
    CHECK_INT(patient_send(link->server, bytes, n, NULL), n);
}

/* True if just these bytes are received. An event has said that they come. */
static bool received(const struct link *link, const char *expected, size_t size)
{
    char bytes[64];
    size_t got = 0;
    while (got < size) {
        ptrdiff_t n = receive(link->queue, link->stream, bytes + got, sizeof bytes - got, NULL);
        if (n == -EAGAIN)
            n = wait_receive(link->queue, &link->stream, bytes + got, sizeof bytes - got, NULL);
        if (n <= 0)
            return false;
        got += (size_t)n;
    }
    return got == size && memcmp(bytes, expected, size) == 0;
}

/* Until the stream has been reported with all these bits, and a read says what is the matter with it, which is not
 * that it would block: under WASI it may be reported readable without a reason. */
static uint32_t wait_end(const struct link *link, uint32_t bits, ptrdiff_t *n)
{
    char byte;
    uint32_t ready;
    do {
        ready = wait_for_bits(link->queue, &link->stream, bits);
        *n = receive(link->queue, link->stream, &byte, 1, NULL);
    } while (ready != 0 && *n == -EAGAIN && on_wasi());
    return ready;
}

/* What a read says of a reset. Not every host tells it from an end. */
static bool was_reset(ptrdiff_t n) { return on_wasi() ? gone(n) || n == 0 : n == -ECONNRESET; }

/* ---- a stream ---------------------------------------------------------------------------------------------------- */

/* What is left of the pieces behind the first n bytes. */
static int leave(struct iovec *parts, int count, size_t n)
{
    int first = 0;
    while (first < count && n >= parts[first].iov_len)
        n -= parts[first++].iov_len;
    for (int i = first; i < count; i++)
        parts[i - first] = parts[i];
    count -= first;
    if (count > 0) {
        parts[0].iov_base = (char *)parts[0].iov_base + n;
        parts[0].iov_len -= n;
    }
    return count;
}

/* writev(2) or readv(2) of both pieces. Natively one call does it; WASI's take the first piece alone. */
static void move_parts(const struct link *link, struct iovec parts[2], uint32_t direction)
{
    for (int count = 2; count > 0;) {
        ssize_t n = direction == OUT ? writev(link->stream, parts, count) : readv(link->stream, parts, count);
        if (on_wasi() && n < 0 && errno == EAGAIN) {
            CHECK((wait_fd(link->stream, direction) & direction) != 0);
            continue;
        }
        CHECK_RANGE(n, 1, WORLD + MARS);
        count = leave(parts, count, (size_t)n);
        CHECK(count == 0 || on_wasi());
    }
}

static void check_parts(const struct link *link)
{
    char out[2][WORLD], in[2][WORLD];
    memcpy(out[0], world, WORLD);
    memcpy(out[1], mars, MARS);
    memset(in, 2, sizeof in);
    struct iovec to[2] = { { out[0], WORLD }, { out[1], MARS } }, from[2] = { { in[0], WORLD }, { in[1], MARS } };
    CALL(move_parts(link, to, OUT));
    CALL(echo(link, WORLD + MARS));
    CHECK(EVENTS_COME(link->queue, { &link->stream, IN }));
    CALL(move_parts(link, from, IN));
    CHECK_INT(memcmp(in[0], world, WORLD), 0);
    CHECK_INT(memcmp(in[1], mars, MARS), 0);
    CHECK_INT(in[1][MARS], 2);
}

static void check_smoke(const char *host, int (*make)(const poise_address *there))
{
    char bytes[16];
    struct link link;
    poise_address peer, own;
    CALL(start(&link, host, make));
    CALL(check_flags(link.stream));
    CALL(watch(&link, BOTH));
    CHECK(EVENTS_COME(link.queue, { &link.stream, OUT }));
    CHECK(on_wasi() || peek(link.stream, bytes, sizeof bytes) == -EAGAIN);
    CHECK_INT(receive(link.queue, link.stream, bytes, sizeof bytes, NULL), -EAGAIN);
    CHECK_INT(poise_peer_address(link.stream, &peer), 0);
    CHECK(poise_address_equal(&peer, &link.there));
    CHECK_INT(poise_local_address(link.stream, &own), 0);
    poise_address expected = at(host, poise_address_port(&own));
    CHECK(poise_address_equal(&own, &expected));

    CHECK_INT(patient_send(link.stream, world, WORLD, NULL), WORLD);
    CALL(echo(&link, WORLD));
    CHECK(EVENTS_COME(link.queue, { &link.stream, IN }));
    CHECK(on_wasi() || (peek(link.stream, bytes, sizeof bytes) == WORLD && memcmp(bytes, world, WORLD) == 0));
    bool echoed = received(&link, world, WORLD);
    int error = poise_socket_error(link.stream);
    CHECK_INT(receive(link.queue, link.stream, bytes, sizeof bytes, NULL), -EAGAIN);
    CALL(check_parts(&link));
    end(&link);
    POINT(echoed && error == 0);
}

TEST(tcp_stream, tcp_stream_ipv4) { CALL(check_smoke(V4, by_poise)); }

TEST(tcp_stream, tcp_stream_ipv6)
{
    NEED_HOST(V6);
    CALL(check_smoke(V6, by_poise));
}

TEST(tcp_stream, tcp_stream_std) { CALL(check_smoke(V4, by_libc)); }

/* In C the number is all there is: libc and poise say the same of it, also of what was a source. */
TEST(tcp_stream, raw_fd)
{
    struct link link;
    poise_address own, libcs;
    CALL(start_writable(&link));
    poise_source source = poise_fd(link.stream);
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    CHECK_INT(source.id, link.stream);
    CHECK_INT(getsockname(source.id, (struct sockaddr *)&name, &length), 0);
    CHECK_INT(poise_address_from(&libcs, (struct sockaddr *)&name, length), 0);
    CHECK_INT(poise_local_address(source.id, &own), 0);
    end(&link);
    POINT(poise_address_port(&own) != 0 && poise_address_equal(&own, &libcs));
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

TEST(tcp_stream, set_get_ttl)
{
    struct link link;
    CALL(start_writable(&link));
    CHECK_INT(poise_set_hop_limit(link.stream, 10), 0);
    int hops = poise_hop_limit(link.stream), error = poise_socket_error(link.stream);
    end(&link);
    POINT(hops == 10 && error == 0);
}

TEST(tcp_stream, get_ttl_without_previous_set)
{
    struct link link;
    CALL(start_writable(&link));
    int hops = poise_hop_limit(link.stream), error = poise_socket_error(link.stream);
    end(&link);
    POINT(hops >= 1 && hops <= 255 && error == 0);
}

TEST(tcp_stream, set_get_nodelay)
{
    struct link link;
    CALL(start_writable(&link));
    CHECK_INT(poise_tcp_set_no_delay(link.stream, true), 0);
    int on = poise_tcp_no_delay(link.stream), error = poise_socket_error(link.stream);
    end(&link);
    POINT(on == 1 && error == 0);
}

TEST(tcp_stream, get_nodelay_without_previous_set)
{
    struct link link;
    CALL(start_writable(&link));
    int on = poise_tcp_no_delay(link.stream), error = poise_socket_error(link.stream);
    end(&link);
    POINT(on == 0 && error == 0);
}

/* ---- registering ------------------------------------------------------------------------------------------------- */

TEST(tcp_stream, registering)
{
    struct link link;
    CALL(start(&link, V4, by_poise));
    CALL(watch(&link, IN));
    bool silence = quiet(link.queue);
    end(&link);
    POINT(silence);
}

TEST(tcp_stream, reregistering)
{
    struct link link;
    struct seen seen;
    poise_address peer;
    CALL(start(&link, V4, by_poise));
    int id[2] = { link.stream, link.stream };
    CHECK_INT(poise_watch(link.queue, poise_fd(link.stream), IN | EDGE, &id[0]), 0);
    CHECK_INT(poise_watch(link.queue, poise_fd(link.stream), OUT | EDGE, &id[1]), 0);
    CHECK(wait_all(link.queue, patience(), &seen) > 0);
    CHECK_INT(poise_peer_address(link.stream, &peer), 0);
    CHECK(poise_address_equal(&peer, &link.there));
    end(&link);
    CHECK_INT(seen_count(&seen, &id[0]), 0);
    POINT(seen_ready(&seen, &id[1]) == OUT);
}

/* On wasmtime 48 a connect ends only in a wait that has the socket: that of patient_result, in another queue. */
TEST(tcp_stream, no_events_after_deregister)
{
    char bytes[16];
    struct link link;
    poise_address peer;
    CALL(start(&link, V4, by_poise));
    CALL(watch(&link, BOTH));
    CHECK_INT(poise_unwatch(link.queue, poise_fd(link.stream)), 0);
    bool silence = quiet(link.queue);
    CHECK_INT(patient_result(link.stream), 0);
    CHECK_INT(poise_peer_address(link.stream, &peer), 0);
    CHECK(poise_address_equal(&peer, &link.there));
    CHECK(on_wasi() || peek(link.stream, bytes, sizeof bytes) == -EAGAIN);
    CHECK_INT(poise_recv(link.stream, bytes, sizeof bytes), -EAGAIN);
    CHECK_INT(patient_send(link.stream, world, WORLD, NULL), WORLD);
    CALL(echo(&link, WORLD));
    await_readable(link.stream); /* the answer is there, and nobody is told */
    silence = quiet(link.queue) && silence;
    end(&link);
    POINT(silence);
}

/* ---- shutdown ---------------------------------------------------------------------------------------------------- */

/* An answer is reported, and not read. */
static void start_answered(struct link *link, const char *bytes, size_t n)
{
    CALL(start_writable(link));
    CHECK_INT(patient_send(link->stream, bytes, n, NULL), n);
    CALL(echo(link, n));
    CHECK(EVENTS_COME(link->queue, { &link->stream, IN }));
}

/* Whether it can be read afterwards differs from system to system; Linux still gives it. */
TEST(tcp_stream, shutdown_read)
{
    struct link link;
    CALL(start_answered(&link, mars, MARS));
    int result = poise_shutdown(link.stream, SHUT_RD);
    end(&link);
    POINT(result == 0);
}

TEST(tcp_stream, shutdown_write)
{
    if (host_is("jco"))
        SKIP("jco closes both directions of a connection when one is shut down");
    struct link link;
    CALL(start_writable(&link));
    CHECK_INT(patient_send(link.stream, world, WORLD, NULL), WORLD);
    CHECK_INT(poise_shutdown(link.stream, SHUT_WR), 0);
    CHECK_INT(poise_send(link.stream, mars, MARS), -EPIPE);
    CALL(echo(&link, WORLD));
    CHECK(EVENTS_COME(link.queue, { &link.stream, IN }));
    bool answered = received(&link, world, WORLD);
    end(&link);
    POINT(answered);
}

TEST(tcp_stream, shutdown_both)
{
    struct link link;
    CALL(start_answered(&link, world, WORLD));
    CHECK_INT(poise_shutdown(link.stream, SHUT_RDWR), 0);
    ptrdiff_t n = poise_send(link.stream, mars, MARS);
    end(&link);
    POINT(n == -EPIPE);
}

/* ---- closed hints ------------------------------------------------------------------------------------------------ */

#define NEED_OWN_END()                                                                    \
    do {                                                                                  \
        if (host_is("jco") && !backend_is("wasip2"))                                      \
            SKIP("jco does not report the end of what the program itself has shut down"); \
    } while (0)

TEST(tcp_stream, tcp_shutdown_client_read_close_event)
{
    NEED_OWN_END();
    struct link link;
    ptrdiff_t n;
    CALL(start_writable(&link));
    CHECK_INT(poise_shutdown(link.stream, SHUT_RD), 0);
    uint32_t hints = hints_of_own_shutdown(SHUT_RD), ready = wait_end(&link, IN | hints, &n);
    end(&link);
    CHECK_INT(n, 0);
    CHECK_INT(ready & POISE_WRITE_CLOSED, 0);
    POINT((ready & IN) != 0 && (ready & hints) == hints);
}

/* Linux tells nothing of it, and no edge belongs to it; whoever watches again on the backend wasip2 is told. Nothing
 * false is told anywhere: jco closes both directions, and then nothing comes from the peer any more. */
TEST(tcp_stream, tcp_shutdown_client_write_close_event)
{
    struct link link;
    struct seen seen;
    char byte;
    CALL(start_writable(&link));
    CHECK_INT(poise_shutdown(link.stream, SHUT_WR), 0);
    uint32_t ready = 0, again = 0;
    if (wait_all(link.queue, 50 * MS, &seen) > 0)
        ready = seen_ready(&seen, &link.stream);
    if (backend_is("wasip2")) {
        CALL(watch(&link, BOTH));
        again = wait_for_bits(link.queue, &link.stream, OUT | POISE_WRITE_CLOSED);
    }
    ptrdiff_t sent = poise_send(link.stream, world, WORLD), n = poise_recv(link.stream, &byte, 1);
    end(&link);
    CHECK(n == -EAGAIN || (on_wasi() && n == 0));
    CHECK(n == 0 || ((ready | again) & POISE_READ_CLOSED) == 0);
    POINT(sent == -EPIPE && (!backend_is("wasip2") || again != 0));
}

TEST(tcp_stream, tcp_shutdown_server_write_close_event)
{
    struct link link;
    ptrdiff_t n;
    CALL(start_writable(&link));
    CHECK_INT(poise_shutdown(link.server, SHUT_WR), 0);
    uint32_t hints = hints_of_end(), ready = wait_end(&link, IN | hints, &n);
    bool told = n == 0 && end_is_told(link.queue, &link.stream);
    bool true_hint = (ready & POISE_WRITE_CLOSED) == 0 || gone(poise_send(link.stream, "x", 1));
    end(&link);
    CHECK_INT(n, 0);
    CHECK(true_hint);
    POINT((ready & IN) != 0 && (ready & hints) == hints && told);
}

TEST(tcp_stream, tcp_reset_close_event)
{
    struct link link;
    struct seen seen;
    char byte;
    CALL(start_writable(&link));
    CHECK_INT(patient_send(link.stream, world, WORLD, NULL), WORLD);
    CHECK_INT(receive(link.queue, link.stream, &byte, 1, NULL), -EAGAIN);
    await_readable(link.server);
    close(link.server); /* with bytes unread: a reset */
    link.server = -1;
    uint32_t hints = hints_of_reset(), ready = wait_for_bits(link.queue, &link.stream, IN | hints);
    bool calm = false;
    for (int i = 0; i < 20 && !calm; i++)
        calm = wait_all(link.queue, 20 * MS, &seen) == 0;
    ptrdiff_t n = patient_recv(link.stream, &byte, 1, NULL);
    bool reset = was_reset(n), told = reset && end_is_told(link.queue, &link.stream);
    end(&link);
    CHECK(reset);
    POINT((ready & IN) != 0 && calm && (ready & hints) == hints && told);
}

TEST(tcp_stream, tcp_shutdown_client_both_close_event)
{
    NEED_OWN_END();
    struct link link;
    ptrdiff_t n;
    CALL(start_writable(&link));
    CHECK_INT(poise_shutdown(link.stream, SHUT_RDWR), 0);
    uint32_t hints = hints_of_own_shutdown(SHUT_RDWR), ready = wait_end(&link, IN | hints, &n);
    end(&link);
    CHECK_INT(n, 0);
    POINT((ready & IN) != 0 && (ready & hints) == hints);
}

TEST(tcp_stream, hup_event_on_disconnect)
{
    struct link link;
    ptrdiff_t n;
    link.queue = open_queue();
    int listener = listen_at(V4, &link.there);
    CHECK_INT(poise_watch(link.queue, poise_fd(listener), IN | EDGE, &listener), 0);
    link.stream = poise_tcp_connect(&link.there);
    CHECK_RANGE(link.stream, 0, INT32_MAX);
    CALL(watch(&link, BOTH));
    CHECK(EVENTS_COME(link.queue, { &listener, IN }, { &link.stream, OUT }));
    link.server = poise_tcp_accept(listener, NULL);
    CHECK_RANGE(link.server, 0, INT32_MAX);
    reset_by(link.server, link.stream);
    link.server = -1;
    uint32_t ready = wait_end(&link, IN | hints_of_reset(), &n);
    end(&link);
    close(listener);
    CHECK(was_reset(n));
    POINT((ready & IN) != 0 && (ready & hints_of_reset()) == hints_of_reset());
}

/* ---- out of band, and peeks -------------------------------------------------------------------------------------- */

#ifdef __wasi__

TEST(tcp_stream, priority_event_on_oob_data) { SKIP("WASI has no out-of-band data"); }

#else

TEST(tcp_stream, priority_event_on_oob_data)
{
    const uint32_t both = IN | POISE_PRIORITY;
    struct link link;
    CALL(start(&link, V4, by_poise));
    CALL(watch(&link, both));
    CHECK_INT(send(link.server, world, WORLD, MSG_OOB), WORLD);
    uint32_t ready = wait_for_bits(link.queue, &link.stream, both);
    end(&link);
    POINT((ready & both) == both);
}

#endif

/* A connected stream that is watched for input, and has been silent. */
static void start_silent(struct link *link)
{
    CALL(start(link, V4, by_libc));
    CALL(watch(link, IN));
    CHECK(quiet(link->queue));
}

static bool readable(const struct link *link) { return EVENTS_COME(link->queue, { &link->stream, IN }); }

TEST(tcp_stream, peek_ok)
{
    if (on_wasi())
        SKIP("WASI has no MSG_PEEK");
    struct link link;
    char bytes[2] = { 1, 1 };
    CALL(start_silent(&link));
    CHECK_INT(patient_send(link.server, "", 1, NULL), 1);
    await_readable(link.stream);
    CHECK_INT(peek(link.stream, bytes, sizeof bytes), 1);
    CHECK_INT(bytes[0], 0);
    bool reported = readable(&link);
    CHECK_INT(poise_recv(link.stream, bytes, sizeof bytes), 1);
    end(&link);
    POINT(reported);
}

/* All has been read, a peek would block, and more comes: it is reported. */
static void check_peek_would_block(struct link *link, const char *more, size_t n)
{
    char bytes[8];
    CHECK_INT(patient_send(link->server, "", 1, NULL), 1);
    CHECK(readable(link));
    CHECK_INT(poise_recv(link->stream, bytes, 1), 1);
    CHECK_INT(peek(link->stream, bytes, 1), -EAGAIN);
    eagain(link->queue, link->stream, IN);
    CHECK_INT(patient_send(link->server, more, n, NULL), n);
    bool reported = readable(link);
    CHECK(received(link, more, n));
    end(link);
    POINT(reported);
}

TEST(tcp_stream, peek_would_block)
{
    if (on_wasi())
        SKIP("WASI has no MSG_PEEK");
    struct link link;
    CALL(start_silent(&link));
    CALL(check_peek_would_block(&link, "\0\1\2\3", 4));
}

TEST(tcp_stream, read_peek_would_block)
{
    if (on_wasi())
        SKIP("WASI has no MSG_PEEK");
    struct link link;
    char byte;
    CALL(start(&link, V4, by_libc));
    CALL(watch(&link, IN));
    CHECK_INT(receive(link.queue, link.stream, &byte, 1, NULL), -EAGAIN);
    CALL(check_peek_would_block(&link, "\1", 1));
}
