/* mio's tests/udp_socket.rs; rows.toml says what each means for poise.
 *
 * What WASI's hosts make of datagrams, and what follows for these tests:
 *  1. A socket may be reported as readable although nothing is there, and in edge mode nothing more is reported then.
 *     Such an event is answered by a receive that finds nothing (reported, hears).
 *  2. jco loses a datagram that comes before the first receive or wait: whoever is sent to has had one before.
 *  3. jco gives a socket that is connected again another port. Whoever hears it isn't connected to the old one, and
 *     whoever answers asks for the new one.
 *  4. wasmtime from 48 on traps when a socket is connected while the host receives for it. A wait for input and a
 *     receive that finds nothing begin that, a datagram ends it. So there a socket that is going to be connected again
 *     is watched for output alone, or has just received.
 */
#include "kit.h"

#include <netinet/in.h>

#define DATA1 "the first datagram"
#define DATA2 "another one"

struct udp {
    int fd; /* the first: where it lies is the data of the events, as kit.h has it */
    poise_address address;
};

/* ---- helpers ----------------------------------------------------------------------------------------------------- */

static void ask_address(struct udp *one) { MUST(poise_local_address(one->fd, &one->address) == 0); }

static struct udp bound(const char *host)
{
    struct udp made = { .address = at(host, 0) };
    made.fd = poise_udp_bind(&made.address);
    MUST(made.fd >= 0);
    ask_address(&made);
    return made;
}

/* By libc alone, and blocking, as std's are. */
static struct udp bound_by_libc(void)
{
    struct udp made = { .fd = socket(AF_INET, SOCK_DGRAM, 0), .address = at(V4, 0) };
    MUST(made.fd >= 0);
    MUST(bind(made.fd, (struct sockaddr *)&made.address.storage, made.address.length) == 0);
    ask_address(&made);
    return made;
}

/* Makes of a descriptor that somebody else has opened what poise's are. */
static void adopt(const struct udp *one)
{
    set_nonblocking(one->fd);
#ifndef __wasi__ /* no exec there */
    MUST(fcntl(one->fd, F_SETFD, FD_CLOEXEC) == 0);
#endif
}

static void connect_to(const struct udp *one, const struct udp *peer)
{
    MUST(poise_udp_connect(one->fd, &peer->address) == 0);
}

static void watch(poise *queue, struct udp *one, uint32_t interest)
{
    MUST(poise_watch(queue, poise_fd(one->fd), interest | EDGE, one) == 0);
}

static void done(poise *queue, int n, const struct udp *const sockets[])
{
    poise_close(queue);
    for (int i = 0; i < n; i++)
        close(sockets[i]->fd);
}

static bool has_error(const struct udp *one) { return poise_socket_error(one->fd) != 0; }

/* Both ways to receive find nothing. */
static bool nothing(poise *queue, const struct udp *one)
{
    char bytes[64];
    poise_address from;
    return receive(queue, one->fd, bytes, sizeof bytes, NULL) == -EAGAIN &&
           receive(queue, one->fd, bytes, sizeof bytes, &from) == -EAGAIN && from.length == 0;
}

/* Waits until each has had an event with all of `ready`. Other events may come, as in mio's expect_events; those that
 * say readable are answered (1 above), so nobody else may have been sent to. */
static bool reported(poise *queue, int n, struct udp *const sockets[], uint32_t ready)
{
    uint64_t limit = poise_now() + (uint64_t)patience();
    unsigned missing = (1U << n) - 1;
    for (uint64_t now = poise_now(); missing != 0 && now < limit; now = poise_now()) {
        struct seen seen;
        if (wait_all(queue, (int64_t)(limit - now), &seen) < 0)
            return false;
        for (int i = 0; i < seen.n; i++) {
            const poise_event *event = &seen.event[i];
            unsigned asked = 0;
            for (int k = 0; k < n; k++)
                asked |= event->data == sockets[k] ? 1U << k : 0;
            if ((event->ready & ready) == ready)
                missing &= ~asked;
            bool unasked = (event->ready & IN) != 0 && (asked == 0 || (ready & IN) == 0);
            if (on_wasi() && unasked && !nothing(queue, event->data))
                return false;
        }
    }
    return missing == 0;
}

static bool reported_one(poise *queue, struct udp *one, uint32_t ready)
{
    return reported(queue, 1, (struct udp *[]){ one }, ready);
}

/* Sends the text; to NULL: to the connected peer. */
static bool tells(const struct udp *from, const char *text, const poise_address *to)
{
    return patient_send(from->fd, text, strlen(text), to) == (ptrdiff_t)strlen(text);
}

static bool is_text(const char *bytes, ptrdiff_t n, const char *text)
{
    return n == (ptrdiff_t)strlen(text) && memcmp(bytes, text, strlen(text)) == 0;
}

/* Receives the text, after an event has said that it is there; from NULL: by poise_recv. Under WASI that event may have
 * been a spurious one, and the true one comes. */
static bool hears(poise *queue, struct udp *one, const char *text, const poise_address *from)
{
    char bytes[64];
    poise_address peer;
    ptrdiff_t n = receive(queue, one->fd, bytes, sizeof bytes, from != NULL ? &peer : NULL);
    if (n == -EAGAIN && on_wasi())
        n = wait_receive(queue, &one->fd, bytes, sizeof bytes, from != NULL ? &peer : NULL);
    return is_text(bytes, n, text) && (from == NULL || poise_address_equal(&peer, from));
}

/* The same without taking it, where that can be done. text NULL: there is nothing. */
static bool peeks(const struct udp *one, const char *text, const poise_address *from)
{
#ifdef __wasi__ /* no MSG_PEEK there */
    (void)one, (void)text, (void)from;
    return true;
#else
    char bytes[64];
    poise_address peer = { .length = sizeof peer.storage };
    ssize_t n = recvfrom(one->fd, bytes, sizeof bytes, MSG_PEEK, (struct sockaddr *)&peer.storage, &peer.length);
    if (text == NULL)
        return n < 0 && errno == EAGAIN;
    return is_text(bytes, n, text) && (from == NULL || poise_address_equal(&peer, from));
#endif
}

/* No event of this one for 50 ms; under WASI none that is true. */
static bool silent_or_spurious(poise *queue, struct udp *one)
{
    uint64_t limit = poise_now() + (uint64_t)(50 * MS);
    for (uint64_t now = poise_now(); now < limit; now = poise_now()) {
        struct seen seen;
        int n = wait_all(queue, (int64_t)(limit - now), &seen);
        uint32_t ready = seen_ready(&seen, one);
        if (n < 0 || (ready != 0 && (!on_wasi() || ready != IN || !nothing(queue, one))))
            return false;
    }
    return true;
}

/* 4 above */
static bool connect_may_trap(void) { return host_is("wasmtime") && !host_is("wasmtime-47"); }

/* ---- an event for each datagram ---------------------------------------------------------------------------------- */

TEST(udp_socket, empty_datagram)
{
    poise *queue = open_queue();
    struct udp one = bound(V4), two = bound(V4);
    watch(queue, &one, OUT);
    watch(queue, &two, IN);
    CHECK(reported_one(queue, &one, OUT));
    CHECK(tells(&one, "", &two.address));
    CHECK(reported_one(queue, &two, IN));
    bool heard = hears(queue, &two, "", &one.address);
    done(queue, 2, (const struct udp *[]){ &one, &two });
    POINT(heard);
}

/* What the smoke tests of connected sockets and of others have in common. */
static void smoke(struct udp *one, struct udp *two, bool connected)
{
    const poise_address *first = connected ? NULL : &one->address, *second = connected ? NULL : &two->address;
    poise *queue = open_queue();
    CALL(check_flags(one->fd));
    CALL(check_flags(two->fd));
    watch(queue, one, BOTH);
    watch(queue, two, BOTH);
    CHECK(reported(queue, 2, (struct udp *[]){ one, two }, OUT));
    CHECK(peeks(one, NULL, NULL));
    CHECK(nothing(queue, one));
    CHECK(tells(one, DATA1, second));
    CHECK(tells(two, DATA2, first));
    CHECK(reported(queue, 2, (struct udp *[]){ one, two }, IN));
    CHECK(peeks(one, DATA2, second));
    CHECK(peeks(two, DATA1, first));
    bool heard = hears(queue, one, DATA2, second) && hears(queue, two, DATA1, first);
    CHECK(!has_error(one) && !has_error(two));
    done(queue, 2, (const struct udp *[]){ one, two });
    POINT(heard);
}

static void smoke_unconnected(const char *host)
{
    struct udp one = bound(host), two = bound(host);
    CALL(smoke(&one, &two, false));
}

TEST(udp_socket, unconnected_udp_socket_ipv4) { CALL(smoke_unconnected(V4)); }

TEST(udp_socket, unconnected_udp_socket_ipv6)
{
    NEED_HOST(V6);
    CALL(smoke_unconnected(V6));
}

TEST(udp_socket, unconnected_udp_socket_std)
{
    struct udp one = bound_by_libc(), two = bound_by_libc();
    adopt(&one);
    adopt(&two);
    CALL(smoke(&one, &two, false));
}

static void smoke_connected(const char *host)
{
    struct udp one = bound(host), two = bound(host);
    connect_to(&one, &two);
    connect_to(&two, &one);
    CALL(smoke(&one, &two, true));
}

TEST(udp_socket, connected_udp_socket_ipv4) { CALL(smoke_connected(V4)); }

TEST(udp_socket, connected_udp_socket_ipv6)
{
    NEED_HOST(V6);
    CALL(smoke_connected(V6));
}

TEST(udp_socket, connected_udp_socket_std)
{
    struct udp one = bound_by_libc(), two = bound_by_libc();
    MUST(connect(one.fd, (struct sockaddr *)&two.address.storage, two.address.length) == 0);
    MUST(connect(two.fd, (struct sockaddr *)&one.address.storage, one.address.length) == 0);
    adopt(&one);
    adopt(&two);
    CALL(smoke(&one, &two, true));
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

/* An option of POSIX is set, and read back, to each of the values in turn. */
static void check_option(const char *host, int level, int name, int first, int second)
{
    struct udp one = bound(host);
    const int values[] = { first, second };
    int kept[2] = { -1, -1 };
    for (int i = 0; i < 2; i++) {
        socklen_t size = sizeof kept[i];
        CHECK_INT(setsockopt(one.fd, level, name, &values[i], sizeof values[i]), 0);
        CHECK_INT(getsockopt(one.fd, level, name, &kept[i], &size), 0);
    }
    CHECK(!has_error(&one));
    close(one.fd);
    POINT(kept[0] == first && kept[1] == second);
}

/* One that nobody has set can be read. */
static void check_default(const char *host, int level, int name, int least, int most)
{
    struct udp one = bound(host);
    int value = -1;
    socklen_t size = sizeof value;
    CHECK_INT(getsockopt(one.fd, level, name, &value, &size), 0);
    close(one.fd);
    POINT(value >= least && value <= most);
}

TEST(udp_socket, set_get_ttl)
{
    struct udp one = bound(V4);
    CHECK_INT(poise_set_hop_limit(one.fd, 10), 0);
    int hops = poise_hop_limit(one.fd);
    CHECK(!has_error(&one));
    close(one.fd);
    POINT(hops == 10);
}

TEST(udp_socket, get_ttl_without_previous_set)
{
    struct udp one = bound(V4);
    int hops = poise_hop_limit(one.fd);
    close(one.fd);
    POINT(hops >= 1 && hops <= 255);
}

#ifdef __wasi__ /* its headers don't have all of these */
#define NEED_BROADCAST() SKIP("WASI has no broadcast")
#define NEED_MULTICAST() SKIP("WASI has no multicast")
#define OPTION(level, name) 0, 0
#else
#define NEED_BROADCAST() (void)0
#define NEED_MULTICAST() (void)0
#define OPTION(level, name) level, name
#endif

TEST(udp_socket, set_get_broadcast)
{
    NEED_BROADCAST();
    CALL(check_option(V4, OPTION(SOL_SOCKET, SO_BROADCAST), 1, 0));
}

TEST(udp_socket, get_broadcast_without_previous_set)
{
    NEED_BROADCAST();
    CALL(check_default(V4, OPTION(SOL_SOCKET, SO_BROADCAST), 0, 0));
}

TEST(udp_socket, set_get_multicast_loop_v4)
{
    NEED_MULTICAST();
    CALL(check_option(V4, OPTION(IPPROTO_IP, IP_MULTICAST_LOOP), 1, 0));
}

TEST(udp_socket, get_multicast_loop_v4_without_previous_set)
{
    NEED_MULTICAST();
    CALL(check_default(V4, OPTION(IPPROTO_IP, IP_MULTICAST_LOOP), 0, 1));
}

TEST(udp_socket, set_get_multicast_ttl_v4)
{
    NEED_MULTICAST();
    CALL(check_option(V4, OPTION(IPPROTO_IP, IP_MULTICAST_TTL), 10, 11));
}

TEST(udp_socket, get_multicast_ttl_v4_without_previous_set)
{
    NEED_MULTICAST();
    CALL(check_default(V4, OPTION(IPPROTO_IP, IP_MULTICAST_TTL), 0, 255));
}

TEST(udp_socket, set_get_multicast_loop_v6)
{
    NEED_MULTICAST();
    NEED_HOST(V6);
    CALL(check_option(V6, OPTION(IPPROTO_IPV6, IPV6_MULTICAST_LOOP), 1, 0));
}

TEST(udp_socket, get_multicast_loop_v6_without_previous_set)
{
    NEED_MULTICAST();
    NEED_HOST(V6);
    CALL(check_default(V6, OPTION(IPPROTO_IPV6, IPV6_MULTICAST_LOOP), 0, 1));
}

#ifdef __wasi__

TEST(udp_socket, multicast) { NEED_MULTICAST(); }

#else

/* On the loopback interface, as a machine may have no other, and no route for groups. */
static int group(const struct udp *one, int what, const char *host)
{
    poise_address address;
    struct sockaddr_in of;
    MUST(poise_address_parse(&address, host, 0) == 0);
    memcpy(&of, &address.storage, sizeof of);
    struct ip_mreq member = { .imr_multiaddr = of.sin_addr, .imr_interface.s_addr = htonl(INADDR_LOOPBACK) };
    return setsockopt(one->fd, IPPROTO_IP, what, &member, sizeof member) == 0 ? 0 : -errno;
}

/* A member of two groups receives what is sent to its own address. It is a member: it can't become one again. */
TEST(udp_socket, multicast)
{
    poise *queue = open_queue();
    struct udp sender = bound(V4), receiver = bound(V4);
    CHECK_INT(group(&receiver, IP_ADD_MEMBERSHIP, "227.1.1.100"), 0);
    CHECK_INT(group(&receiver, IP_ADD_MEMBERSHIP, "227.1.1.101"), 0);
    CHECK_INT(group(&receiver, IP_ADD_MEMBERSHIP, "227.1.1.100"), -EADDRINUSE);
    CHECK_INT(group(&receiver, IP_ADD_MEMBERSHIP, "227.1.1.101"), -EADDRINUSE);
    watch(queue, &sender, OUT);
    watch(queue, &receiver, IN);
    CHECK(reported_one(queue, &sender, OUT));
    CHECK(tells(&sender, "hello world", &receiver.address));
    CHECK(reported_one(queue, &receiver, IN));
    bool heard = hears(queue, &receiver, "hello world", &sender.address);
    CHECK_INT(group(&receiver, IP_DROP_MEMBERSHIP, "227.1.1.100"), 0);
    CHECK_INT(group(&receiver, IP_DROP_MEMBERSHIP, "227.1.1.101"), 0);
    done(queue, 2, (const struct udp *[]){ &sender, &receiver });
    POINT(heard);
}

#endif

/* ---- connected again --------------------------------------------------------------------------------------------- */

TEST(udp_socket, reconnect_udp_socket_sending)
{
    poise *queue = open_queue();
    struct udp one = bound(V4), two = bound(V4), three = bound(V4);
    connect_to(&one, &two);
    connect_to(&two, &one);
    if (!host_is("jco")) /* 3 above */
        connect_to(&three, &one);
    watch(queue, &one, connect_may_trap() ? OUT : BOTH);
    watch(queue, &two, IN);
    watch(queue, &three, IN);
    CHECK(reported_one(queue, &one, OUT));
    CHECK(tells(&one, DATA1, NULL));
    CHECK(reported_one(queue, &two, IN));
    CHECK(hears(queue, &two, DATA1, NULL));

    connect_to(&one, &three);
    CHECK(tells(&one, DATA2, NULL));
    CHECK(reported_one(queue, &three, IN));
    bool heard = hears(queue, &three, DATA2, NULL);
    CHECK(nothing(queue, &two));
    CHECK(!has_error(&one) && !has_error(&two) && !has_error(&three));
    done(queue, 3, (const struct udp *[]){ &one, &two, &three });
    POINT(heard);
}

/* Sends to a socket that may have been connected again. */
static bool answers(const struct udp *from, struct udp *to, const char *text)
{
    if (!host_is("jco")) /* 3 above */
        return tells(from, text, NULL);
    ask_address(to);
    return tells(from, text, &to->address);
}

/* Its datagram was taken; nothing more is there, and it gets another peer. Where that may trap, the other way round. */
static void turn_to(poise *queue, const struct udp *one, const struct udp *peer)
{
    bool connect_first = connect_may_trap();
    if (!connect_first)
        CHECK(nothing(queue, one));
    connect_to(one, peer);
    if (connect_first)
        CHECK(nothing(queue, one));
}

TEST(udp_socket, reconnect_udp_socket_receiving)
{
    poise *queue = open_queue();
    struct udp one = bound(V4), two = bound(V4), three = bound(V4);
    connect_to(&one, &two);
    if (!host_is("jco")) {
        connect_to(&two, &one);
        connect_to(&three, &one);
    }
    watch(queue, &one, IN);
    watch(queue, &two, OUT);
    watch(queue, &three, OUT);
    CHECK(reported(queue, 2, (struct udp *[]){ &two, &three }, OUT));
    CHECK(answers(&two, &one, DATA1));
    CHECK(reported_one(queue, &one, IN));
    CHECK(hears(queue, &one, DATA1, NULL));

    CALL(turn_to(queue, &one, &three));
    CHECK(answers(&three, &one, DATA2));
    CHECK(reported_one(queue, &one, IN));
    CHECK(hears(queue, &one, DATA2, NULL));

    CALL(turn_to(queue, &one, &two));
    CHECK(answers(&two, &one, DATA2));
    CHECK(reported_one(queue, &one, IN));
    bool heard = hears(queue, &one, DATA2, NULL);
    CHECK(!has_error(&one) && !has_error(&two) && !has_error(&three));
    done(queue, 3, (const struct udp *[]){ &one, &two, &three });
    POINT(heard);
}

/* ---- with a peer, and without ------------------------------------------------------------------------------------ */

TEST(udp_socket, unconnected_udp_socket_connected_methods)
{
    poise *queue = open_queue();
    struct udp one = bound(V4), two = bound(V4);
    watch(queue, &one, OUT);
    watch(queue, &two, IN);
    CHECK(reported_one(queue, &one, OUT));
    ptrdiff_t sent = poise_send(one.fd, DATA1, strlen(DATA1));
    CHECK(tells(&one, DATA1, &two.address));
    CHECK(reported_one(queue, &two, IN));
    CHECK(peeks(&two, DATA1, NULL));
    bool heard = hears(queue, &two, DATA1, NULL);
    CHECK(!has_error(&one) && !has_error(&two));
    done(queue, 2, (const struct udp *[]){ &one, &two });
    POINT(sent == -EDESTADDRREQ && heard);
}

TEST(udp_socket, connected_udp_socket_unconnected_methods)
{
    poise *queue = open_queue();
    struct udp one = bound(V4), two = bound(V4), three = bound(V4);
    connect_to(&one, &three);
    connect_to(&three, &two);
    watch(queue, &one, OUT);
    watch(queue, &two, OUT);
    watch(queue, &three, IN);
    CHECK(reported(queue, 2, (struct udp *[]){ &one, &two }, OUT));
    if (on_wasi()) {
        CHECK_INT(poise_send_to(one.fd, DATA1, strlen(DATA1), &two.address), -EISCONN);
        CHECK_INT(poise_send_to(one.fd, DATA1, strlen(DATA1), &three.address), -EISCONN); /* not even there */
    } else {
        CHECK(tells(&one, DATA1, &two.address)); /* Linux: past the peer */
    }
    CHECK(tells(&two, DATA2, &three.address));
    CHECK(reported_one(queue, &three, IN));
    CHECK(peeks(&three, DATA2, &two.address));
    bool heard = hears(queue, &three, DATA2, &two.address);
    CHECK(on_wasi() || hears(queue, &two, DATA1, &one.address));
    CHECK(!has_error(&one) && !has_error(&two) && !has_error(&three));
    done(queue, 3, (const struct udp *[]){ &one, &two, &three });
    POINT(heard);
}

/* ---- registering ------------------------------------------------------------------------------------------------- */

TEST(udp_socket, udp_socket_raw_fd)
{
    struct udp one = bound(V4), same;
    same.fd = poise_fd(one.fd).id;
    ask_address(&same);
    close(one.fd);
    POINT(same.fd == one.fd && poise_address_equal(&same.address, &one.address));
}

TEST(udp_socket, udp_socket_register)
{
    poise *queue = open_queue();
    struct udp one = bound(V4);
    watch(queue, &one, IN);
    bool silence = quiet(queue);
    done(queue, 1, (const struct udp *[]){ &one });
    POINT(silence);
}

/* A socket, and a datagram for it that has arrived. */
static struct udp bound_and_told(struct udp *sender)
{
    struct udp one = bound(V4);
    char byte;
    *sender = bound(V4);
    MUST(poise_recv(one.fd, &byte, 1) == -EAGAIN); /* 2 above */
    MUST(tells(sender, DATA1, &one.address));
    await_readable(one.fd);
    return one;
}

static bool was_told(const struct udp *one, const struct udp *sender)
{
    char bytes[64];
    poise_address from;
    ptrdiff_t n = patient_recv(one->fd, bytes, sizeof bytes, &from);
    return is_text(bytes, n, DATA1) && poise_address_equal(&from, &sender->address);
}

TEST(udp_socket, udp_socket_reregister)
{
    poise *queue = open_queue();
    struct udp sender, one = bound_and_told(&sender);
    int first = one.fd, second = one.fd;
    CHECK_INT(poise_watch(queue, poise_fd(one.fd), OUT | EDGE, &first), 0);
    uint32_t ready = wait_for(queue, &first);
    CHECK_INT(ready, OUT);
    CHECK_INT(poise_watch(queue, poise_fd(one.fd), IN | EDGE, &second), 0);
    ready = wait_for(queue, &second);
    CHECK(silent(queue, &first, 20 * MS));
    CHECK(was_told(&one, &sender));
    done(queue, 2, (const struct udp *[]){ &one, &sender });
    POINT(ready == IN);
}

TEST(udp_socket, udp_socket_no_events_after_deregister)
{
    poise *queue = open_queue();
    struct udp sender, one = bound_and_told(&sender);
    watch(queue, &one, IN);
    CHECK_INT(poise_unwatch(queue, poise_fd(one.fd)), 0);
    bool silence = quiet(queue);
    CHECK(was_told(&one, &sender));
    done(queue, 2, (const struct udp *[]){ &one, &sender });
    POINT(silence);
}

/* ---- a loop ------------------------------------------------------------------------------------------------------ */

/* The sender sends when it is told that it can, and so does the receiver receive. */
static void send_and_receive(struct udp *sender, struct udp *receiver, bool connected)
{
    const poise_address *to = connected ? NULL : &receiver->address, *from = connected ? NULL : &sender->address;
    poise *queue = open_queue();
    char byte;
    CHECK_INT(poise_recv_from(receiver->fd, &byte, 1, NULL), -EAGAIN);
    watch(queue, sender, OUT);
    watch(queue, receiver, IN);
    CHECK(reported_one(queue, sender, OUT));
    CHECK(tells(sender, "hello world", to));
    CHECK(reported_one(queue, receiver, IN));
    bool heard = hears(queue, receiver, "hello world", from);
    done(queue, 2, (const struct udp *[]){ sender, receiver });
    POINT(heard);
}

TEST(udp_socket, udp_socket)
{
    struct udp sender = bound(V4), receiver = bound(V4);
    CALL(send_and_receive(&sender, &receiver, false));
}

TEST(udp_socket, udp_socket_send_recv)
{
    struct udp sender = bound(V4), receiver = bound(V4);
    connect_to(&sender, &receiver);
    connect_to(&receiver, &sender);
    CALL(send_and_receive(&sender, &receiver, true));
}

/* A stranger's datagram is no event. What the peer sends afterwards is one, and is all that there is. */
TEST(udp_socket, udp_socket_discard)
{
    poise *queue = open_queue();
    struct udp peer = bound(V4), one = bound(V4), stranger = bound(V4);
    connect_to(&peer, &one);
    connect_to(&stranger, &one);
    connect_to(&one, &peer);
    watch(queue, &stranger, OUT);
    CHECK(reported_one(queue, &stranger, OUT));
    char byte;
    CHECK_INT(poise_recv(one.fd, &byte, 1), -EAGAIN); /* 2 above */
    CHECK(tells(&stranger, "hello world", NULL));
    watch(queue, &one, IN);
    watch(queue, &peer, OUT);
    bool silence = silent_or_spurious(queue, &one);
    CHECK(tells(&peer, DATA1, NULL));
    CHECK(reported_one(queue, &one, IN));
    CHECK(hears(queue, &one, DATA1, NULL));
    CHECK(nothing(queue, &one));
    done(queue, 3, (const struct udp *[]){ &peer, &one, &stranger });
    POINT(silence);
}

/* ---- edges ------------------------------------------------------------------------------------------------------- */

/* After a receive that found nothing the next datagram is reported. */
static void check_edge(bool connected)
{
    poise *queue = open_queue();
    struct udp one = bound(V4), two = bound(V4);
    const poise_address *to = connected ? NULL : &two.address, *from = connected ? NULL : &one.address;
    watch(queue, &one, connected ? OUT : BOTH);
    watch(queue, &two, BOTH);
    CHECK(reported(queue, 2, (struct udp *[]){ &one, &two }, OUT));
    if (connected)
        connect_to(&one, &two);
    CHECK(tells(&one, DATA1, to));
    CHECK(reported_one(queue, &two, IN));
    CHECK(hears(queue, &two, DATA1, from));
    CHECK(nothing(queue, &two));
    CHECK(tells(&one, DATA2, to));
    bool again = reported_one(queue, &two, IN);
    CHECK(hears(queue, &two, DATA2, from));
    CHECK(!has_error(&one) && !has_error(&two));
    done(queue, 2, (const struct udp *[]){ &one, &two });
    POINT(again);
}

TEST(udp_socket, et_behavior_recv) { CALL(check_edge(true)); }

TEST(udp_socket, et_behavior_recv_from) { CALL(check_edge(false)); }
