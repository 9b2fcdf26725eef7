/* mio's tests/tcp.rs. What a thread does there is driven from the same loop here, so that it runs under WASI, too. */
#include "kit.h"

/* ---- helpers ----------------------------------------------------------------------------------------------------- */

/* Under WASI a fresh socket may be reported readable without anything to receive. */
static bool without_reason(poise *queue, const poise_event *event)
{
    char byte;
    return on_wasi() && event->ready == IN && receive(queue, *(const int *)event->data, &byte, 1, NULL) == -EAGAIN;
}

/* True if the next wait that finds something finds this one event. */
static bool one_event(poise *queue, const int *fd, uint32_t bits)
{
    struct seen seen;
    uint64_t end = poise_now() + (uint64_t)patience();
    while (poise_now() < end && wait_all(queue, patience(), &seen) > 0) {
        int others = 0;
        bool came = false;
        for (int i = 0; i < seen.n; i++) {
            if (seen.event[i].data == fd && (seen.event[i].ready & bits) == bits)
                came = true;
            else
                others += !without_reason(queue, &seen.event[i]);
        }
        if (came || others != 0)
            return came && others == 0;
    }
    return false;
}

/* What is to be received now, as an event has just said so. */
static ptrdiff_t receive_now(poise *queue, const int *fd, void *bytes, size_t size)
{
    ptrdiff_t n = receive(queue, *fd, bytes, size, NULL);
    return n == -EAGAIN && on_wasi() ? wait_receive(queue, fd, bytes, size, NULL) : n;
}

/* What a read says of a connection that is over. */
static bool ended(ptrdiff_t n) { return n == 0 || gone(n); }

/* A listener that is watched, and a client that connects to it, watched for `interest`, if that is not 0. */
struct pair {
    poise *queue;
    poise_address there;
    int listener, client, server;
};

static void start(struct pair *pair, uint32_t interest)
{
    pair->queue = open_queue();
    pair->listener = listen_at(V4, &pair->there);
    pair->server = -1;
    pair->client = poise_tcp_connect(&pair->there);
    CHECK_RANGE(pair->client, 0, INT32_MAX);
    CHECK_INT(poise_watch(pair->queue, poise_fd(pair->listener), IN | EDGE, &pair->listener), 0);
    if (interest != 0)
        CHECK_INT(poise_watch(pair->queue, poise_fd(pair->client), interest | EDGE, &pair->client), 0);
}

static void end(struct pair *pair)
{
    poise_close(pair->queue);
    if (pair->server >= 0)
        close(pair->server);
    if (pair->client >= 0)
        close(pair->client);
    close(pair->listener);
}

/* The addresses of both ends are known, and fit. */
static bool addresses_fit(const struct pair *pair)
{
    poise_address own[2], peer[2];
    return poise_local_address(pair->server, &own[0]) == 0 && poise_peer_address(pair->server, &peer[0]) == 0 &&
           poise_local_address(pair->client, &own[1]) == 0 && poise_peer_address(pair->client, &peer[1]) == 0 &&
           poise_address_equal(&own[0], &pair->there) && poise_address_equal(&peer[1], &pair->there) &&
           poise_address_equal(&own[1], &peer[0]);
}

/* ---- accept and connect ------------------------------------------------------------------------------------------ */

TEST(tcp, accept)
{
    struct pair pair;
    CALL(start(&pair, 0));
    bool readable = one_event(pair.queue, &pair.listener, IN);
    pair.server = poise_tcp_accept(pair.listener, NULL);
    int again = poise_tcp_accept(pair.listener, NULL);
    CHECK_RANGE(pair.server, 0, INT32_MAX);
    end(&pair);
    POINT(readable && again == -EAGAIN);
}

TEST(tcp, connect)
{
    char byte;
    struct pair pair;
    CALL(start(&pair, BOTH));
    CHECK_INT(poise_unwatch(pair.queue, poise_fd(pair.listener)), 0);
    bool writable = one_event(pair.queue, &pair.client, OUT);
    pair.server = patient_accept(pair.listener, NULL);
    CHECK_RANGE(pair.server, 0, INT32_MAX);
    bool no_more = quiet(pair.queue);
    close_gently(pair.server);
    pair.server = -1;
    bool readable = one_event(pair.queue, &pair.client, IN);
    CHECK_INT(receive_now(pair.queue, &pair.client, &byte, 1), 0);
    bool over = quiet(pair.queue);
    end(&pair);
    POINT(writable && no_more && readable && over);
}

/* A connect to a port that nobody listens at, under way. A host may refuse nearly always at once; then there is no
 * event, so it is tried until one comes later. -ECONNREFUSED: none did. */
static int refused_later(void)
{
    poise *queue = open_queue();
    int fd = -ECONNREFUSED;
    for (int i = 0; i < 200 && fd == -ECONNREFUSED; i++) {
        poise_address there = nobody(V4);
        (void)poise_wait(queue, MS);
        fd = poise_tcp_connect(&there);
    }
    poise_close(queue);
    return fd;
}

TEST(tcp, connect_error)
{
    int fd = refused_later();
    if (fd < 0) {
        POINT(fd == -ECONNREFUSED);
        return;
    }
    poise *queue = open_queue();
    CHECK_INT(poise_watch(queue, poise_fd(fd), OUT | EDGE, &fd), 0);
    uint32_t ready = wait_for(queue, &fd);
    int error = poise_socket_error(fd), result = poise_tcp_connect_result(fd);
    CHECK(result == -ECONNREFUSED || result == -ENOTCONN); /* Linux has told the reason already */
    poise_close(queue);
    close(fd);
    CHECK((ready & (OUT | POISE_ERROR)) != 0);
    CHECK_INT(ready & hints_of_refusal(), hints_of_refusal());
    POINT(error == -ECONNREFUSED);
}

TEST(tcp, bind_twice_bad)
{
    poise_address there;
    int first = listen_at(V4, &there), second = poise_tcp_listen(&there, 16);
    close(first);
    POINT(second == -EADDRINUSE);
}

/* ---- many bytes -------------------------------------------------------------------------------------------------- */

enum { PIECE = 1024, PERIOD = 251, SIXTEEN_MIB = 16 * 1024 * PIECE };

/* One end sends all that there is room for, the other receives all that is there, in pieces, each after its event. */
struct flow {
    struct pair pair;
    int from, to;
    size_t sent, received;
    bool peeks;
    char pattern[PIECE + PERIOD];
};

static void send_pieces(struct flow *flow)
{
    while (flow->sent < SIXTEEN_MIB) {
        size_t left = SIXTEEN_MIB - flow->sent;
        ptrdiff_t n = poise_send(flow->from, flow->pattern + flow->sent % PERIOD, left < PIECE ? left : PIECE);
        if (n == -EAGAIN) {
            eagain(flow->pair.queue, flow->from, OUT);
            return;
        }
        CHECK_RANGE(n, 1, PIECE);
        flow->sent += (size_t)n;
    }
}

static ptrdiff_t peek(int fd, void *bytes, size_t size)
{
    ptrdiff_t n = recv(fd, bytes, size, MSG_PEEK);
    return n < 0 ? -errno : n;
}

/* A peek shows what the next read takes. */
static void check_peek(struct flow *flow)
{
    char bytes[PIECE];
    ptrdiff_t n = peek(flow->to, bytes, sizeof bytes);
    if (n == -EAGAIN) /* the read says so, too, and is told to the queue */
        return;
    CHECK_RANGE(n, 1, PIECE);
    CHECK(memcmp(bytes, flow->pattern + flow->received % PERIOD, (size_t)n) == 0);
}

static void receive_pieces(struct flow *flow)
{
    char bytes[PIECE];
    if (flow->peeks)
        CALL(check_peek(flow));
    while (flow->received < SIXTEEN_MIB) {
        ptrdiff_t n = receive(flow->pair.queue, flow->to, bytes, sizeof bytes, NULL);
        if (n == -EAGAIN)
            return;
        CHECK_RANGE(n, 1, PIECE);
        CHECK(memcmp(bytes, flow->pattern + flow->received % PERIOD, (size_t)n) == 0);
        flow->received += (size_t)n;
    }
}

/* Until everything has come, or nothing comes for patience(). */
static void run(struct flow *flow)
{
    poise *queue = flow->pair.queue;
    while (flow->received < SIXTEEN_MIB && poise_wait(queue, patience()) > 0) {
        poise_event event;
        while (poise_next(queue, &event)) {
            if (event.data == &flow->from)
                CALL(send_pieces(flow));
            else if (event.data == &flow->to)
                CALL(receive_pieces(flow));
        }
    }
}

static void check_flow(bool client_sends, bool peeks)
{
    static struct flow flow;
    memset(&flow, 0, sizeof flow);
    for (int i = 0; i < PIECE + PERIOD; i++)
        flow.pattern[i] = (char)(i % PERIOD);
    flow.peeks = peeks;
    CALL(start(&flow.pair, 0));
    flow.pair.server = patient_accept(flow.pair.listener, NULL);
    CHECK_RANGE(flow.pair.server, 0, INT32_MAX);
    CHECK_INT(poise_unwatch(flow.pair.queue, poise_fd(flow.pair.listener)), 0);
    flow.from = client_sends ? flow.pair.client : flow.pair.server;
    flow.to = client_sends ? flow.pair.server : flow.pair.client;
    CHECK_INT(poise_watch(flow.pair.queue, poise_fd(flow.from), OUT | EDGE, &flow.from), 0);
    CHECK_INT(poise_watch(flow.pair.queue, poise_fd(flow.to), IN | EDGE, &flow.to), 0);
    CALL(run(&flow));
    end(&flow.pair);
    CHECK_INT(flow.sent, SIXTEEN_MIB);
    POINT(flow.received == SIXTEEN_MIB);
}

TEST(tcp, read) { CALL(check_flow(false, false)); }

TEST(tcp, peek)
{
    if (on_wasi())
        SKIP("WASI has no MSG_PEEK");
    CALL(check_flow(false, true));
}

TEST(tcp, write) { CALL(check_flow(true, false)); }

/* Natively each write succeeds at once, whole. A WASI host may want a wait in between. */
static ptrdiff_t send_at_once(int fd, const void *bytes, size_t size)
{
    return on_wasi() ? patient_send(fd, bytes, size, NULL) : poise_send(fd, bytes, size);
}

TEST(tcp, multiple_writes_immediate_success)
{
    enum { WRITES = 16 };
    char ones[PIECE], bytes[PIECE];
    struct pair pair;
    size_t sent = 0, received = 0, wrong = 0;
    memset(ones, 1, sizeof ones);
    CALL(start(&pair, OUT));
    CHECK(EVENTS_COME(pair.queue, { &pair.client, OUT }));
    for (int i = 0; i < WRITES; i++) {
        for (size_t done = 0; done < sizeof ones;) {
            ptrdiff_t n = send_at_once(pair.client, ones + done, sizeof ones - done);
            CHECK_RANGE(n, 1, PIECE);
            done += (size_t)n;
        }
        sent += sizeof ones;
    }
    pair.server = patient_accept(pair.listener, NULL);
    CHECK_RANGE(pair.server, 0, INT32_MAX);
    while (received < sent) {
        ptrdiff_t n = patient_recv(pair.server, bytes, sizeof bytes, NULL);
        CHECK_RANGE(n, 1, PIECE);
        wrong += memcmp(bytes, ones, (size_t)n) != 0;
        received += (size_t)n;
    }
    CHECK_INT(poise_recv(pair.server, bytes, sizeof bytes), -EAGAIN);
    end(&pair);
    POINT(received == (size_t)WRITES * PIECE && wrong == 0);
}

/* ---- ends -------------------------------------------------------------------------------------------------------- */

TEST(tcp, connect_then_close)
{
    char byte;
    struct pair pair;
    CALL(start(&pair, IN));
    CHECK(EVENTS_COME(pair.queue, { &pair.listener, IN }));
    pair.server = poise_tcp_accept(pair.listener, NULL);
    CHECK_RANGE(pair.server, 0, INT32_MAX);
    CHECK_INT(poise_watch(pair.queue, poise_fd(pair.server), BOTH | EDGE, &pair.server), 0);
    close(pair.server);
    ptrdiff_t n = wait_receive(pair.queue, &pair.client, &byte, 1, NULL);
    CHECK_INT(poise_unwatch(pair.queue, poise_fd(pair.server)), 0);
    pair.server = -1;
    end(&pair);
    POINT(n == 0);
}

/* Unwatched and closed: silence. Closed alone: `epoll` is silent, the others tell it once (G11). */
TEST(tcp, listen_then_close)
{
    poise *queue = open_queue();
    poise_address there;
    struct seen seen;
    int first = listen_at(V4, &there), second = listen_at(V4, &there);
    CHECK_INT(poise_watch(queue, poise_fd(first), IN | EDGE, &first), 0);
    close(first);
    (void)wait_all(queue, 50 * MS, &seen);
    CHECK_INT(seen.n, backend_is("epoll") ? 0 : 1);
    if (seen.n == 1) {
        CHECK(seen.event[0].data == &first && (seen.event[0].ready & POISE_ERROR) != 0);
        CHECK_INT(seen.event[0].result, -EBADF);
    }
    CHECK_INT(poise_unwatch(queue, poise_fd(first)), 0);
    CHECK_INT(poise_watch(queue, poise_fd(second), IN | EDGE, &second), 0);
    CHECK_INT(poise_unwatch(queue, poise_fd(second)), 0);
    close(second);
    bool silence = quiet(queue);
    poise_close(queue);
    POINT(silence);
}

TEST(tcp, connection_reset_by_peer)
{
    char byte;
    struct pair pair;
    CALL(start(&pair, BOTH));
    CHECK(EVENTS_COME(pair.queue, { &pair.listener, IN }));
    pair.server = poise_tcp_accept(pair.listener, NULL);
    CHECK_RANGE(pair.server, 0, INT32_MAX);
    CHECK_INT(patient_result(pair.client), 0);
    reset_by(pair.client, pair.server);
    await_readable(pair.server); /* so that it is known before the socket is watched */
    CHECK_INT(poise_watch(pair.queue, poise_fd(pair.server), IN | EDGE, &pair.server), 0);
    ptrdiff_t n = wait_receive(pair.queue, &pair.server, &byte, 1, NULL);
    CHECK_INT(poise_unwatch(pair.queue, poise_fd(pair.client)), 0);
    pair.client = -1;
    end(&pair);
    POINT(on_wasi() ? ended(n) : n == -ECONNRESET);
}

TEST(tcp, write_error)
{
    static const char block[PIECE];
    struct pair pair;
    CALL(start(&pair, BOTH));
    CHECK(EVENTS_COME(pair.queue, { &pair.client, OUT }));
    pair.server = patient_accept(pair.listener, NULL);
    CHECK_RANGE(pair.server, 0, INT32_MAX);
    close(pair.server);
    pair.server = -1;
    ptrdiff_t n = 0;
    for (uint64_t until = poise_now() + (uint64_t)patience(); n >= 0 && poise_now() < until;) {
        n = poise_send(pair.client, block, sizeof block);
        CHECK(n != 0);
        if (n == -EAGAIN) {
            eagain(pair.queue, pair.client, OUT);
            CHECK(wait_for_bits(pair.queue, &pair.client, OUT) != 0);
            n = 0;
        }
    }
    end(&pair);
    POINT(gone(n));
}

/* All that is reported of it until one of `bits` is. */
static uint32_t all_until(poise *queue, const void *data, uint32_t bits)
{
    uint32_t ready = 0;
    struct seen seen;
    while ((ready & bits) == 0 && wait_all(queue, patience(), &seen) > 0)
        ready |= seen_ready(&seen, data);
    return ready;
}

/* The very first event after the peer's end tells of it; under WASI one that comes after the read that has found it. */
TEST(tcp, write_shutdown)
{
    uint32_t ready = 0, hints = hints_of_end();
    poise_event event;
    char byte;
    struct pair pair;
    CALL(start(&pair, BOTH));
    pair.server = patient_accept(pair.listener, NULL);
    CHECK_RANGE(pair.server, 0, INT32_MAX);
    CHECK_INT(poise_unwatch(pair.queue, poise_fd(pair.listener)), 0);
    uint32_t healthy = all_until(pair.queue, &pair.client, OUT);
    CHECK_INT(healthy & (BOTH | CLOSED) & ~(on_wasi() ? IN : 0), OUT);
    CHECK(quiet(pair.queue));
    CHECK_INT(poise_shutdown(pair.server, SHUT_WR), 0);
    if (on_wasi()) { /* where one without a reason may come first */
        ready = wait_for_bits(pair.queue, &pair.client, IN | hints);
    } else {
        CHECK(next_event(pair.queue, &event));
        ready = event.data == &pair.client ? event.ready : 0;
    }
    CHECK_INT(receive_now(pair.queue, &pair.client, &byte, 1), 0);
    bool told = end_is_told(pair.queue, &pair.client);
    end(&pair);
    POINT((ready & IN) != 0 && (ready & hints) == hints && told);
}

/* ---- event by event ---------------------------------------------------------------------------------------------- */

static const char four[] = { 1, 2, 3, 4 };

/* The listener is reported alone, then the accepted socket, which is watched for output. */
static void accept_by_events(struct pair *pair)
{
    CALL(start(pair, IN));
    CHECK(one_event(pair->queue, &pair->listener, IN));
    pair->server = poise_tcp_accept(pair->listener, NULL);
    CHECK_RANGE(pair->server, 0, INT32_MAX);
    CHECK_INT(poise_watch(pair->queue, poise_fd(pair->server), OUT | EDGE, &pair->server), 0);
    CHECK(one_event(pair->queue, &pair->server, OUT));
}

TEST(tcp, local_addr_ready)
{
    char bytes[8];
    struct pair pair;
    CALL(accept_by_events(&pair));
    poise_address own, peer;
    CHECK_INT(poise_local_address(pair.server, &own), 0);
    CHECK_INT(poise_peer_address(pair.server, &peer), 0);
    CHECK_INT(patient_send(pair.server, four, 3, NULL), 3);
    CHECK(one_event(pair.queue, &pair.client, IN));
    CHECK_INT(receive_now(pair.queue, &pair.client, bytes, sizeof bytes), 3);
    bool fit = addresses_fit(&pair);
    end(&pair);
    POINT(fit);
}

/* mio's drop deregisters, too: unwatch, then close. */
static void check_write_then(bool closes)
{
    char bytes[8];
    struct pair pair;
    CALL(accept_by_events(&pair));
    CHECK_INT(patient_send(pair.server, four, sizeof four, NULL), sizeof four);
    CHECK_INT(poise_unwatch(pair.queue, poise_fd(pair.server)), 0);
    if (closes) {
        close_gently(pair.server);
        pair.server = -1;
    }
    CHECK_INT(poise_watch(pair.queue, poise_fd(pair.client), IN | EDGE, &pair.client), 0);
    bool readable = one_event(pair.queue, &pair.client, IN);
    ptrdiff_t n = receive_now(pair.queue, &pair.client, bytes, sizeof bytes);
    end(&pair);
    POINT(readable && n == sizeof four && memcmp(bytes, four, sizeof four) == 0);
}

TEST(tcp, write_then_drop) { CALL(check_write_then(true)); }
TEST(tcp, write_then_deregister) { CALL(check_write_then(false)); }

/* Nothing of it is watched: poll(2) tells that the bytes are here. */
static bool four_come(int fd)
{
    char bytes[8];
    await_readable(fd);
    return poise_recv(fd, bytes, sizeof bytes) == sizeof four && memcmp(bytes, four, sizeof four) == 0;
}

TEST(tcp, tcp_no_events_after_deregister)
{
    struct pair pair;
    CALL(accept_by_events(&pair));
    CHECK_INT(patient_send(pair.server, four, sizeof four, NULL), sizeof four);
    CHECK(EVENTS_COME(pair.queue, { &pair.client, IN }));
    CHECK(addresses_fit(&pair));
    CHECK_INT(poise_unwatch(pair.queue, poise_fd(pair.listener)), 0);
    CHECK_INT(poise_unwatch(pair.queue, poise_fd(pair.client)), 0);
    CHECK_INT(poise_unwatch(pair.queue, poise_fd(pair.server)), 0);
    bool silence = quiet(pair.queue);
    CHECK(four_come(pair.client));
    CHECK_INT(patient_send(pair.server, four, sizeof four, NULL), sizeof four);
    silence = quiet(pair.queue) && silence;
    CHECK(four_come(pair.client));
    silence = quiet(pair.queue) && silence;
    end(&pair);
    POINT(silence);
}
