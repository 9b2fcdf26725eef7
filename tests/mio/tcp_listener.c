/* mio's tests/tcp_listener.rs. Clients connect from the same loop. */
#include "kit.h"

/* ---- helpers ----------------------------------------------------------------------------------------------------- */

static int by_poise(const poise_address *local) { return poise_tcp_listen(local, 16); }

/* As std makes one: blocking, then not. */
static int by_libc(const poise_address *local)
{
    int fd = socket(local->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(fd >= 0);
    MUST(bind(fd, (const struct sockaddr *)&local->storage, local->length) == 0);
    MUST(listen(fd, 16) == 0);
    set_nonblocking(fd);
    return fd;
}

/* The next connection, which has been reported (under WASI perhaps without a reason): its addresses are right, and
 * nothing has come on it. -1: something of that is wrong. */
static int accept_right(int listener, const char *host, const poise_address *there)
{
    poise_address from, peer, own;
    char byte;
    int fd = on_wasi() ? patient_accept(listener, &from) : poise_tcp_accept(listener, &from);
    if (fd < 0)
        return -1;
    poise_address expected = at(host, poise_address_port(&from));
    bool right = poise_address_equal(&from, &expected) && poise_peer_address(fd, &peer) == 0 &&
                 poise_address_equal(&peer, &from) && poise_local_address(fd, &own) == 0 &&
                 poise_address_equal(&own, there) && poise_recv(fd, &byte, 1) == -EAGAIN;
    if (!right)
        close(fd);
    return right ? fd : -1;
}

static void check_smoke(const char *host, int (*make)(const poise_address *local))
{
    poise *queue = open_queue();
    poise_address there = at(host, 0);
    int listener = make(&there);
    CHECK_RANGE(listener, 0, INT32_MAX);
    CHECK_INT(poise_local_address(listener, &there), 0);
    CALL(check_flags(listener));
    CHECK_INT(poise_watch(queue, poise_fd(listener), IN | EDGE, &listener), 0);
    int client = poise_tcp_connect(&there);
    CHECK_RANGE(client, 0, INT32_MAX);
    CHECK(EVENTS_COME(queue, { &listener, IN }));
    int server = accept_right(listener, host, &there);
    CHECK_RANGE(server, 0, INT32_MAX);
    CALL(check_flags(server));
    int again = poise_tcp_accept(listener, NULL), error = poise_socket_error(listener);
    poise_close(queue);
    close(server);
    close(client);
    close(listener);
    POINT(again == -EAGAIN && error == 0);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

TEST(tcp_listener, tcp_listener) { CALL(check_smoke(V4, by_poise)); }

TEST(tcp_listener, tcp_listener_ipv6)
{
    NEED_HOST(V6);
    CALL(check_smoke(V6, by_poise));
}

TEST(tcp_listener, tcp_listener_std) { CALL(check_smoke(V4, by_libc)); }

TEST(tcp_listener, set_get_ttl)
{
    poise_address there;
    int listener = listen_at(V4, &there);
    CHECK_INT(poise_set_hop_limit(listener, 10), 0);
    int hops = poise_hop_limit(listener), error = poise_socket_error(listener);
    close(listener);
    POINT(hops == 10 && error == 0);
}

TEST(tcp_listener, get_ttl_without_previous_set)
{
    poise_address there;
    int listener = listen_at(V4, &there);
    int hops = poise_hop_limit(listener), error = poise_socket_error(listener);
    close(listener);
    POINT(hops >= 1 && hops <= 255 && error == 0);
}

/* In C the number is all there is: libc and poise say the same of it, also of what was a source. */
TEST(tcp_listener, raw_fd)
{
    poise_address there, own, libcs;
    int listener = listen_at(V4, &there);
    poise_source source = poise_fd(listener);
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    CHECK_INT(source.id, listener);
    CHECK_INT(getsockname(source.id, (struct sockaddr *)&name, &length), 0);
    CHECK_INT(poise_address_from(&libcs, (struct sockaddr *)&name, length), 0);
    CHECK_INT(poise_local_address(source.id, &own), 0);
    close(source.id);
    POINT(poise_address_equal(&own, &there) && poise_address_equal(&libcs, &there));
}

TEST(tcp_listener, registering)
{
    poise *queue = open_queue();
    poise_address there;
    int listener = listen_at(V4, &there);
    CHECK_INT(poise_watch(queue, poise_fd(listener), IN | EDGE, &listener), 0);
    bool silence = quiet(queue);
    poise_close(queue);
    close(listener);
    POINT(silence);
}

TEST(tcp_listener, reregister)
{
    poise *queue = open_queue();
    poise_address there;
    int listener = listen_at(V4, &there), id[2] = { listener, listener };
    CHECK_INT(poise_watch(queue, poise_fd(listener), IN | EDGE, &id[0]), 0);
    CHECK_INT(poise_watch(queue, poise_fd(listener), IN | EDGE, &id[1]), 0);
    int client = poise_tcp_connect(&there);
    CHECK_RANGE(client, 0, INT32_MAX);
    struct seen seen;
    CHECK(wait_all(queue, patience(), &seen) > 0);
    int server = accept_right(listener, V4, &there);
    CHECK_RANGE(server, 0, INT32_MAX);
    CHECK_INT(poise_tcp_accept(listener, NULL), -EAGAIN);
    CHECK_INT(poise_socket_error(listener), 0);
    poise_close(queue);
    close(server);
    close(client);
    close(listener);
    CHECK_INT(seen_count(&seen, &id[0]), 0);
    POINT((seen_ready(&seen, &id[1]) & IN) != 0);
}

TEST(tcp_listener, no_events_after_deregister)
{
    poise *queue = open_queue();
    poise_address there;
    int listener = listen_at(V4, &there);
    CHECK_INT(poise_watch(queue, poise_fd(listener), IN | EDGE, &listener), 0);
    int client = poise_tcp_connect(&there);
    CHECK_RANGE(client, 0, INT32_MAX);
    CHECK_INT(poise_unwatch(queue, poise_fd(listener)), 0);
    await_readable(listener); /* the connection is there */
    bool silence = quiet(queue);
    int server = accept_right(listener, V4, &there);
    CHECK_RANGE(server, 0, INT32_MAX);
    CHECK_INT(poise_tcp_accept(listener, NULL), -EAGAIN);
    CHECK_INT(poise_socket_error(listener), 0);
    poise_close(queue);
    close(server);
    close(client);
    close(listener);
    POINT(silence);
}

TEST(tcp_listener, tcp_listener_two_streams)
{
    poise *queue = open_queue();
    poise_address there;
    int listener = listen_at(V4, &there), client[2];
    bool came[2];
    CHECK_INT(poise_watch(queue, poise_fd(listener), IN | EDGE, &listener), 0);
    for (int i = 0; i < 2; i++) {
        client[i] = poise_tcp_connect(&there);
        CHECK_RANGE(client[i], 0, INT32_MAX);
        came[i] = EVENTS_COME(queue, { &listener, IN });
        int server = accept_right(listener, V4, &there);
        CHECK_RANGE(server, 0, INT32_MAX);
        close(server);
        if (i == 0) { /* would block: the next connection is a new edge */
            CHECK_INT(poise_tcp_accept(listener, NULL), -EAGAIN);
            eagain(queue, listener, IN);
        }
    }
    bool silence = quiet(queue);
    poise_close(queue);
    close(client[0]);
    close(client[1]);
    close(listener);
    POINT(came[0] && came[1] && silence);
}
