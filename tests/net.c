/* poise/net.h: each call, each error, on both families. Under WASI 0.1: what it says there. */
#include "net_kit.h"

#include <netinet/in.h>

#ifndef __wasi__
#include <signal.h>
#endif

/* ---- addresses --------------------------------------------------------------------------------------------------- */

static void check_text(const char *literal, uint16_t port, const char *text)
{
    poise_address address;
    char out[POISE_ADDRESS_TEXT];
    CHECK_INT(poise_address_parse(&address, literal, port), 0);
    CHECK_INT(poise_address_format(&address, out, sizeof out), strlen(text));
    CHECK(strcmp(out, text) == 0);
    CHECK_INT(poise_address_port(&address), port);
}

TEST(NET, address_text)
{
    CALL(check_text("127.0.0.1", 80, "127.0.0.1:80"));
    CALL(check_text("0.0.0.0", 0, "0.0.0.0:0"));
    CALL(check_text("255.255.255.255", 65535, "255.255.255.255:65535"));
    CALL(check_text("::1", 443, "[::1]:443"));
    CALL(check_text("::", 0, "[::]:0"));
    CALL(check_text("fe80::1%2", 9, "[fe80::1%2]:9"));
    CALL(check_text("2001:DB8:0:0:0:0:0:1", 9, "[2001:db8::1]:9"));
    CALL(check_text("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255%4294967295", 65535,
                    "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535"));
}

TEST(NET, address_bad_text)
{
    static const char *const bad[] = { "",
                                       "localhost",
                                       "127.0.0.1:80",
                                       "127.0.0",
                                       "127.0.0.256",
                                       "127.0.0.1 ",
                                       "::g",
                                       "[::1]",
                                       "::1%",
                                       "::1%eth0",
                                       "::1%-1",
                                       "::1%4294967296",
                                       "::1%99999999999999999999999",
                                       "127.0.0.1%1",
                                       "%1",
                                       "1111111111111111111111111111111111111111111111111111111111111111111111111" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        poise_address address;
        memset(&address, 0x55, sizeof address);
        CHECK_INT(poise_address_parse(&address, bad[i], 1), -EINVAL);
        CHECK_INT(address.length, 0);
    }
    poise_address address;
    CHECK_INT(poise_address_parse(NULL, V4, 1), -EINVAL);
    CHECK_INT(poise_address_parse(&address, NULL, 1), -EINVAL);
    CHECK_INT(address.length, 0);
}

TEST(NET, address_format_room)
{
    poise_address address = at(V4, 80), none;
    char out[POISE_ADDRESS_TEXT] = "x";
    memset(&none, 0, sizeof none);
    CHECK_INT(poise_address_format(&address, out, strlen("127.0.0.1:80")), -ENOSPC);
    CHECK_INT(out[0], 0);
    CHECK_INT(poise_address_format(&address, out, strlen("127.0.0.1:80") + 1), strlen("127.0.0.1:80"));
    CHECK_INT(poise_address_format(&address, out, 0), -ENOSPC);
    CHECK_INT(poise_address_format(NULL, out, sizeof out), -EINVAL);
    CHECK_INT(poise_address_format(&address, NULL, sizeof out), -EINVAL);
    CHECK_INT(poise_address_format(&none, out, sizeof out), 1);
    CHECK(strcmp(out, "-") == 0);
    CHECK_INT(poise_address_port(&none), 0);
    CHECK_INT(poise_address_port(NULL), 0);
}

TEST(NET, address_equal)
{
    poise_address a = at(V4, 80), b = at("127.0.0.2", 80), c = at(V4, 81), d = at(V6, 80), e = at("::1%3", 80), none,
                  same;
    memset(&none, 0, sizeof none);
    memset(&same, 0x55, sizeof same); /* what is behind the address does not count */
    struct sockaddr_in ipv4;
    memcpy(&ipv4, &a.storage, sizeof ipv4);
    memcpy(&same.storage, &ipv4, sizeof ipv4);
    same.length = sizeof ipv4;
    CHECK(poise_address_equal(&a, &a) && poise_address_equal(&a, &same));
    CHECK(!poise_address_equal(&a, &b));
    CHECK(!poise_address_equal(&a, &c));
    CHECK(!poise_address_equal(&a, &d));
    CHECK(!poise_address_equal(&a, &none) && !poise_address_equal(NULL, &a));
    CHECK(poise_address_equal(&d, &d));
    CHECK(!poise_address_equal(&d, &e));
    CHECK(poise_address_equal(&none, NULL));
}

TEST(NET, address_from)
{
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
    poise_address address, expected = at(V4, 80);
    memcpy(&ipv4, &expected.storage, sizeof ipv4);
    CHECK_INT(poise_address_from(&address, (struct sockaddr *)&ipv4, sizeof ipv4), 0);
    CHECK(poise_address_equal(&address, &expected));
    CHECK_INT(poise_address_from(&address, (struct sockaddr *)&ipv4, sizeof ipv4 - 1), -EINVAL);
    CHECK_INT(address.length, 0);
    expected = at("fe80::1%7", 80);
    memcpy(&ipv6, &expected.storage, sizeof ipv6);
    CHECK_INT(poise_address_from(&address, (struct sockaddr *)&ipv6, sizeof expected.storage), 0);
    CHECK(poise_address_equal(&address, &expected));
    CHECK_INT(poise_address_from(&address, (struct sockaddr *)&ipv6, sizeof ipv6 - 1), -EINVAL);
    CHECK_INT(poise_address_from(&address, NULL, sizeof ipv6), -EINVAL);
    CHECK_INT(poise_address_from(NULL, (struct sockaddr *)&ipv6, sizeof ipv6), -EINVAL);
    CHECK_INT(poise_address_from(&address, (struct sockaddr *)&ipv6, 0), -EINVAL);
    ipv6.sin6_family = 250; /* nobody's */
    CHECK_INT(poise_address_from(&address, (struct sockaddr *)&ipv6, sizeof ipv6), -EAFNOSUPPORT);
    CHECK_INT(address.length, 0);
}

/* What a call of libc has filled in, say. */
TEST(NET, address_from_itself)
{
    poise_address address = at(V4, 80), expected = address;
    CHECK_INT(poise_address_from(&address, (struct sockaddr *)&address.storage, address.length), 0);
    CHECK(poise_address_equal(&address, &expected));
    address = expected = at("fe80::1%7", 80);
    CHECK_INT(poise_address_from(&address, (struct sockaddr *)&address.storage, sizeof address.storage), 0);
    CHECK(poise_address_equal(&address, &expected));
    CHECK_INT(address.length, expected.length);
}

static void check_none(const poise_address *address)
{
    char out[POISE_ADDRESS_TEXT];
    poise_address none;
    memset(&none, 0, sizeof none);
    CHECK_INT(poise_address_format(address, out, sizeof out), 1);
    CHECK(strcmp(out, "-") == 0);
    CHECK(poise_address_equal(address, &none));
    CHECK_INT(poise_address_port(address), 0);
    CHECK(poise_address_path(address, NULL) == NULL);
    CHECK_INT(poise_tcp_listen(address, 1), -EINVAL);
    CHECK_INT(poise_tcp_connect(address), -EINVAL);
    CHECK_INT(poise_udp_bind(address), -EINVAL);
    CHECK_INT(poise_udp_connect(0, address), -EINVAL);
    CHECK_INT(poise_send_to(0, "x", 1, address), -EINVAL);
    CHECK_INT(poise_unix_listen(address, 1), -EINVAL);
    CHECK_INT(poise_unix_connect(address), -EINVAL);
    CHECK_INT(poise_unix_bind(address), -EINVAL);
}

/* A length that the family cannot have. */
TEST(NET, address_made_by_hand)
{
    poise_address ipv4 = at(V4, 80), ipv6 = at(V6, 80), address = ipv4;
    for (socklen_t length = 0; length < ipv4.length; length++) {
        address.length = length;
        CALL(check_none(&address));
    }
    address.length = sizeof address.storage;
    CHECK(poise_address_equal(&address, &ipv4));
    address.length++;
    CALL(check_none(&address));
    address.length = UINT32_MAX;
    CALL(check_none(&address));
    for (address = ipv6; address.length > 0; address.length--)
        if (address.length < ipv6.length)
            CALL(check_none(&address));
    memset(&address, 'x', sizeof address);
    address.storage.ss_family = AF_UNIX;
    for (address.length = 0; address.length <= sizeof address.storage.ss_family; address.length++)
        CALL(check_none(&address));
    address.length = sizeof address.storage + 1;
    CALL(check_none(&address));
}

/* ---- bad input --------------------------------------------------------------------------------------------------- */

TEST(NET, no_socket)
{
    poise_address address = at(V4, 1);
    char byte[1] = { 0 };
    CHECK_INT(poise_tcp_accept(-1, &address), -EBADF);
    CHECK_INT(address.length, 0);
    CHECK_INT(poise_send(-1, byte, 1), -EBADF);
    CHECK_INT(poise_recv(-1, byte, 1), -EBADF);
    CHECK_INT(poise_shutdown(-1, SHUT_WR), -EBADF);
    if (!has_sockets())
        return;
    CHECK_INT(poise_tcp_connect_result(-1), -EBADF);
    address = at(V4, 1);
    CHECK_INT(poise_udp_connect(-1, &address), -EBADF);
    CHECK_INT(poise_send_to(-1, byte, 1, &address), -EBADF);
    CHECK_INT(poise_recv_from(-1, byte, 1, &address), -EBADF);
    CHECK_INT(address.length, 0);
    CHECK_INT(poise_local_address(-1, &address), -EBADF);
    CHECK_INT(poise_peer_address(-1, &address), -EBADF);
    CHECK_INT(address.length, 0);
}

TEST(NET, null)
{
    poise_address address = at(V4, 1), none;
    char byte[1] = { 0 };
    memset(&none, 0, sizeof none);
    CHECK_INT(poise_tcp_listen(NULL, 1), -EINVAL);
    CHECK_INT(poise_tcp_listen(&none, 1), -EINVAL);
    CHECK_INT(poise_tcp_connect(NULL), -EINVAL);
    CHECK_INT(poise_tcp_connect(&none), -EINVAL);
    CHECK_INT(poise_udp_bind(NULL), -EINVAL);
    CHECK_INT(poise_udp_bind(&none), -EINVAL);
    CHECK_INT(poise_udp_connect(0, NULL), -EINVAL);
    CHECK_INT(poise_udp_connect(0, &none), -EINVAL);
    CHECK_INT(poise_local_address(0, NULL), -EINVAL);
    CHECK_INT(poise_peer_address(0, NULL), -EINVAL);
    CHECK_INT(poise_send(0, NULL, 1), -EINVAL);
    CHECK_INT(poise_send_to(0, NULL, 1, &address), -EINVAL);
    CHECK_INT(poise_send_to(0, byte, 1, NULL), -EINVAL);
    CHECK_INT(poise_send_to(0, byte, 1, &none), -EINVAL);
    CHECK_INT(poise_recv(0, NULL, 1), -EINVAL);
    CHECK_INT(poise_recv_from(0, NULL, 1, &address), -EINVAL);
}

TEST(NET, wasip1_has_none)
{
    if (has_sockets())
        return;
    poise_address address = at(V4, 1);
    char byte[1] = { 0 };
    CHECK_INT(poise_tcp_listen(&address, 1), -ENOTSUP);
    CHECK_INT(poise_tcp_connect(&address), -ENOTSUP);
    CHECK_INT(poise_udp_bind(&address), -ENOTSUP);
    CHECK_INT(poise_udp_connect(0, &address), -ENOTSUP);
    CHECK_INT(poise_send_to(0, byte, 1, &address), -ENOTSUP);
    CHECK_INT(poise_recv_from(0, byte, 1, &address), -ENOTSUP);
    CHECK_INT(poise_local_address(0, &address), -ENOTSUP);
    CHECK_INT(poise_peer_address(0, &address), -ENOTSUP);
}

/* ---- TCP --------------------------------------------------------------------------------------------------------- */

static void check_tcp(const char *host)
{
    poise_address there, peer, own;
    int listener = listen_at(host, &there);
    CALL(check_flags(listener));
    CHECK(poise_address_port(&there) != 0);
    CHECK_INT(poise_tcp_accept(listener, &peer), -EAGAIN);
    CHECK_INT(peer.length, 0);
    CHECK_INT(poise_peer_address(listener, &peer), -ENOTCONN);

    int client = poise_tcp_connect(&there);
    CHECK(client >= 0);
    CALL(check_flags(client));
    int server = patient_accept(listener, &peer);
    CHECK(server >= 0);
    CALL(check_flags(server));
    CHECK_INT(patient_result(client), 0);
    CHECK_INT(poise_tcp_connect_result(client), 0);
    CHECK_INT(poise_tcp_connect_result(server), 0);

    CHECK_INT(poise_local_address(client, &own), 0);
    CHECK(poise_address_equal(&own, &peer));
    CHECK_INT(poise_peer_address(server, &peer), 0);
    CHECK(poise_address_equal(&own, &peer));
    CHECK_INT(poise_peer_address(client, &peer), 0);
    CHECK(poise_address_equal(&there, &peer));
    CHECK_INT(poise_local_address(server, &own), 0);
    CHECK(poise_address_equal(&there, &own));

    char bytes[8];
    CHECK_INT(patient_send(client, "hello", 5, NULL), 5);
    CHECK_INT(patient_recv(server, bytes, sizeof bytes, NULL), 5);
    CHECK(memcmp(bytes, "hello", 5) == 0);
    CHECK_INT(poise_recv(server, bytes, sizeof bytes), -EAGAIN);
    CHECK_INT(patient_send(server, "hi", 2, NULL), 2);
    CHECK_INT(patient_recv(client, bytes, 1, NULL), 1);
    CHECK_INT(patient_recv(client, bytes, 1, NULL), 1);
    CHECK_INT(poise_send(client, NULL, 0), 0);
    close(client);
    CHECK_INT(patient_recv(server, bytes, sizeof bytes, NULL), 0);
    close(server);
    close(listener);
}

TEST(NET, tcp_ipv4)
{
    NEED_SOCKETS();
    CALL(check_tcp(V4));
}

TEST(NET, tcp_ipv6)
{
    NEED_SOCKETS();
    NEED_HOST(V6);
    CALL(check_tcp(V6));
}

/* An IPv6 listener leaves the port to IPv4: that is what IPV6_V6ONLY means. */
TEST(NET, ipv6_apart)
{
    NEED_SOCKETS();
    NEED_HOST(V6);
    poise_address any6 = at("::", 0);
    int six, four;
    for (int attempt = 1;; attempt++) {
        six = poise_tcp_listen(&any6, 0);
        CHECK(six >= 0);
        poise_address any4 = at("0.0.0.0", port_of(six));
        four = poise_tcp_listen(&any4, -1);
        if (four != -EADDRINUSE || attempt == 20)
            break;
        close(six); /* somebody else has that port: another one */
    }
    CHECK(four >= 0);
    poise_address there = at(V4, port_of(four));
    int client = poise_tcp_connect(&there);
    CHECK(client >= 0);
    int server = patient_accept(four, NULL);
    CHECK(server >= 0);
    CHECK_INT(poise_tcp_accept(six, NULL), -EAGAIN);
    close(server);
    close(client);
    close(four);
    close(six);
}

TEST(NET, listen_errors)
{
    NEED_SOCKETS();
    poise_address there;
    int udp = -EADDRINUSE;
    for (int i = 0; i < 20 && udp == -EADDRINUSE; i++) { /* somebody else may have the port of the other protocol */
        int listener = listen_at(V4, &there);
        CHECK_INT(poise_tcp_listen(&there, 1), -EADDRINUSE);
        close(listener);
        udp = poise_udp_bind(&there);
    }
    CHECK_RANGE(udp, 0, INT32_MAX);
    poise_address elsewhere = at("192.0.2.1", 0); /* TEST-NET-1 of RFC 5737: nobody's */
    CHECK_INT(poise_tcp_listen(&elsewhere, 1), -EADDRNOTAVAIL);
    CHECK_INT(poise_udp_bind(&elsewhere), -EADDRNOTAVAIL);
    CHECK_INT(poise_udp_bind(&there), -EADDRINUSE);
    int accepted = poise_tcp_accept(udp, NULL);
    CHECK(accepted == -EOPNOTSUPP || accepted == -EINVAL);
    close(udp);
}

TEST(NET, accept_not_listening)
{
    NEED_SOCKETS();
    int client, server;
    connected(V4, &client, &server);
    CHECK_INT(poise_tcp_accept(server, NULL), -EINVAL);
    close(client);
    close(server);
}

/* The port of a listener that had connections, and was closed, can be had again at once. */
TEST(NET, listen_again)
{
    NEED_SOCKETS();
    poise_address there;
    int listener = listen_at(V4, &there);
    int client = poise_tcp_connect(&there);
    CHECK(client >= 0);
    int server = patient_accept(listener, NULL);
    CHECK(server >= 0);
    char byte;
    close(listener);
    CHECK_INT(patient_result(client), 0);
    CHECK_INT(poise_shutdown(server, SHUT_WR), 0); /* this end goes first, and is in TIME_WAIT for a minute */
    CHECK_INT(patient_recv(client, &byte, 1, NULL), 0);
    close(client);
    CHECK_INT(patient_recv(server, &byte, 1, NULL), 0);
    close(server);
    listener = poise_tcp_listen(&there, 1);
    CHECK(listener >= 0);
    close(listener);
}

static void check_refused(const char *host)
{
    poise_address there = nobody(host);
    int fd = poise_tcp_connect(&there);
    if (fd < 0) { /* it may fail at once */
        CHECK_INT(fd, -ECONNREFUSED);
        return;
    }
    CHECK_INT(patient_result(fd), -ECONNREFUSED);
    for (int i = 0; i < 3; i++) {
        int again = poise_tcp_connect_result(fd);
        CHECK(again == -ENOTCONN || again == -ECONNREFUSED); /* and never 0 */
    }
    poise_address peer;
    char byte[1] = { 0 };
    CHECK_INT(poise_peer_address(fd, &peer), -ENOTCONN);
    CHECK(poise_send(fd, byte, 1) < 0);
    ptrdiff_t n = poise_recv(fd, byte, 1);
    CHECK(on_wasi() ? n < 0 : n <= 0);
    CHECK(poise_tcp_connect_result(fd) < 0);
    close(fd);
}

TEST(NET, connect_refused)
{
    NEED_SOCKETS();
    for (int i = 0; i < 10; i++)
        CALL(check_refused(V4));
}

TEST(NET, local_address_too_early)
{
    NEED_SOCKETS();
    poise_address address, there = nobody(V4);
    int fresh = tcp_socket(), datagrams = udp_socket();
    CHECK_INT(poise_local_address(fresh, &address), on_wasi() ? -EINVAL : 0);
    CHECK_INT(poise_local_address(datagrams, &address), on_wasi() ? -EINVAL : 0);
    close(fresh);
    close(datagrams);
    int fd = poise_tcp_connect(&there);
    if (fd < 0) {
        CHECK_INT(fd, -ECONNREFUSED); /* told at once: nothing to look at */
        return;
    }
    int early = poise_local_address(fd, &address); /* jco may know it already */
    CHECK(early == 0 || (on_wasi() && early == -ENOTCONN));
    CHECK(wait_fd(fd, POISE_WRITABLE) != 0);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(poise_local_address(fd, &address), on_wasi() ? -ENOTCONN : 0);
        CHECK_INT(poise_peer_address(fd, &address), -ENOTCONN);
    }
    CHECK_INT(poise_tcp_connect_result(fd), -ECONNREFUSED);
    close(fd);
}

TEST(NET, connect_refused_ipv6)
{
    NEED_SOCKETS();
    NEED_HOST(V6);
    CALL(check_refused(V6));
}

TEST(NET, connect_errors)
{
    NEED_SOCKETS();
    poise_address broadcast = at("255.255.255.255", 9);
    int fd = poise_tcp_connect(&broadcast);
    if (fd >= 0) {
        CHECK(patient_result(fd) < 0);
        close(fd);
    }
}

/* As long as it is under way, the result is -EINPROGRESS: whatever made the program ask. A full backlog keeps it under
 * way natively; under WASI nothing happens until somebody waits. */
TEST(NET, connect_spurious_event)
{
    NEED_SOCKETS();
    poise_address there = at(V4, 0);
    int listener = poise_tcp_listen(&there, 1);
    CHECK(listener >= 0);
    CHECK_INT(poise_local_address(listener, &there), 0);
    int fd[8], n = 0, result;
    do { /* the kernel takes a few more than the backlog says */
        fd[n] = poise_tcp_connect(&there);
        CHECK(fd[n] >= 0);
        result = poise_tcp_connect_result(fd[n++]);
    } while (result == 0 && n < 8);
    if (host_is("jco") && result == 0)
        SKIP("jco connects before connect returns");
    CHECK_INT(result, -EINPROGRESS);
    CHECK_INT(poise_tcp_connect_result(fd[n - 1]), -EINPROGRESS);

    poise *queue = open_queue();
    CHECK_INT(poise_watch(queue, poise_fd(fd[n - 1]), POISE_WRITABLE, fd), 0);
    CHECK_INT(poise_post(queue, poise_fd(fd[n - 1]), POISE_WRITABLE), 0);
    CHECK((wait_for(queue, fd) & POISE_WRITABLE) != 0);
    result = poise_tcp_connect_result(fd[n - 1]);
    CHECK(result == -EINPROGRESS || (on_wasi() && result == 0));
    poise_address peer;
    if (result != 0)
        CHECK_INT(poise_peer_address(fd[n - 1], &peer), -ENOTCONN);
    for (int i = 0; i < n; i++) { /* room: the kernel tries again after a second */
        int server = patient_accept(listener, NULL);
        CHECK(server >= 0);
        close(server);
    }
    uint64_t end = poise_now() + 4 * (uint64_t)patience();
    while ((result = poise_tcp_connect_result(fd[n - 1])) == -EINPROGRESS && poise_now() < end)
        wait_for(queue, fd);
    CHECK_INT(result, 0);
    poise_close(queue);
    while (n > 0)
        close(fd[--n]);
    close(listener);
}

TEST(NET, half_close)
{
    NEED_SOCKETS();
    int client, server;
    char bytes[8];
    connected(V4, &client, &server);
    CHECK_INT(patient_send(client, "bye", 3, NULL), 3);
    CHECK_INT(poise_shutdown(client, SHUT_WR), 0);
    CHECK_INT(patient_recv(server, bytes, sizeof bytes, NULL), 3);
    CHECK_INT(patient_recv(server, bytes, sizeof bytes, NULL), 0);
    CHECK_INT(poise_recv(server, bytes, sizeof bytes), 0);      /* and again */
    ptrdiff_t n = patient_send(server, "still here", 10, NULL); /* the other way is open */
    ptrdiff_t got = patient_recv(client, bytes, sizeof bytes, NULL);
    if (host_is("jco") && (gone(n) || got == 0))
        SKIP("jco closes both directions of a connection when one is shut down");
    CHECK_INT(n, 10);
    CHECK_INT(got, 8);
    CHECK_INT(patient_recv(client, bytes, sizeof bytes, NULL), 2);
    CHECK(gone(patient_send(client, "x", 1, NULL)));
    CHECK_INT(poise_shutdown(server, SHUT_RDWR), 0);
    CHECK_INT(patient_recv(client, bytes, sizeof bytes, NULL), 0);
    close(client);
    close(server);
}

TEST(NET, shutdown_errors)
{
    NEED_SOCKETS();
    int client, server, unconnected = tcp_socket();
    CHECK_INT(poise_shutdown(unconnected, SHUT_WR), -ENOTCONN);
    close(unconnected);
    connected(V4, &client, &server);
    CHECK_INT(poise_shutdown(client, 12345), -EINVAL);
    CHECK_INT(poise_shutdown(client, SHUT_WR), 0);
    close(client);
    close(server);
}

/* A full send buffer is -EAGAIN; then room comes, and everything arrives. */
TEST(NET, send_until_full)
{
    NEED_SOCKETS();
    static char block[65536];
    int client, server;
    connected(V4, &client, &server);
    size_t sent = 0, got = 0;
    ptrdiff_t n;
    while ((n = poise_send(client, block, sizeof block)) > 0 && sent < 100000000)
        sent += (size_t)n;
    CHECK_INT(n, -EAGAIN);
    while (got < sent && (n = patient_recv(server, block, sizeof block, NULL)) > 0)
        got += (size_t)n;
    CHECK_INT(got, sent);
    CHECK_INT(patient_send(client, "x", 1, NULL), 1);
    CHECK_INT(patient_recv(server, block, sizeof block, NULL), 1);
    close(client);
    close(server);
}

/* A close with bytes unread resets the connection. */
static void reset(int *client)
{
    int server;
    connected(V4, client, &server);
    MUST(patient_send(*client, "unread", 6, NULL) == 6);
    MUST(wait_fd(server, POISE_READABLE) != 0);
    close(server);
}

TEST(NET, reset_connection)
{
    NEED_SOCKETS();
    int client;
    char byte;
    poise_address peer;
    reset(&client);
    ptrdiff_t n = patient_recv(client, &byte, 1, NULL);
    CHECK(n == -ECONNRESET || (on_wasi() && (n == -EIO || n == 0))); /* not every host tells a reset from an end */
    int result = poise_peer_address(client, &peer);                  /* libc's getpeername ends a WASI program here */
    CHECK(result == -ENOTCONN || (host_is("jco") && result == 0));   /* jco remembers it */
    CHECK_INT(peer.length == 0, result != 0);
    CHECK_INT(poise_tcp_connect_result(client), result);
    result = poise_shutdown(client, SHUT_WR);
    CHECK(result == -ENOTCONN || (on_wasi() && result == 0));
    close(client);
}

#ifndef __wasi__

/* A connection that is reset before it is taken does no harm. (Under WASI: tests/examples.py, from outside.) */
TEST(NET, accept_after_reset)
{
    poise_address there, peer;
    int listener = listen_at(V4, &there);
    int client = poise_tcp_connect(&there);
    CHECK(client >= 0 && patient_result(client) == 0);
    struct linger hard = { .l_onoff = 1, .l_linger = 0 };
    CHECK_INT(setsockopt(client, SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    close(client);
    int server = patient_accept(listener, &peer);
    CHECK(server >= 0 || server == -EAGAIN);
    if (server >= 0)
        close(server);
    close(listener);
}

static volatile sig_atomic_t pipes;
static void count_pipe(int number) { pipes += number == SIGPIPE; }

TEST(G20, no_sigpipe)
{
    struct sigaction count = { .sa_handler = count_pipe }, before;
    int client, server;
    pipes = 0;
    CHECK_INT(sigaction(SIGPIPE, &count, &before), 0);
    connected(V4, &client, &server);
    close(server);
    ptrdiff_t n = 0;
    for (int i = 0; i < 100 && n >= 0; i++) {
        n = patient_send(client, "x", 1, NULL);
        wait_fd(client, POISE_READABLE);
    }
    CHECK(gone(n));
    for (int i = 0; i < 3; i++)
        CHECK_INT(poise_send(client, "x", 1), -EPIPE);
    poise_address peer = at(V4, 9);
    CHECK(poise_send_to(client, "x", 1, &peer) < 0);
    (void)poise_shutdown(client, SHUT_RDWR);
    CHECK_INT(poise_send(client, "x", 1), -EPIPE);
    close(client);
    sigaction(SIGPIPE, &before, NULL);
    CHECK_INT(pipes, 0);
}

/* ---- descriptors run out ----------------------------------------------------------------------------------------- */

/* What net.h tells to do about EMFILE. */
static void check_emfile(uint32_t mode)
{
    enum { PAUSE = 20 };
    poise *queue = open_queue();
    poise_address there, peer;
    poise_timer resume;
    struct rlimit before;
    struct seen seen;
    int spare = dup(0), listener = listen_at(V4, &there), tag;
    MUST(spare >= 0);
    memset(&resume, 0, sizeof resume);
    CHECK_INT(poise_watch(queue, poise_fd(listener), POISE_READABLE | mode, &tag), 0);
    int client = poise_tcp_connect(&there), other = poise_tcp_connect(&there);
    CHECK(client >= 0 && other >= 0);
    CHECK((wait_for(queue, &tag) & POISE_READABLE) != 0);

    no_more_descriptors(&before);
    int result[5] = { poise_tcp_accept(listener, &peer), poise_tcp_listen(&there, 1), poise_tcp_connect(&there),
                      poise_udp_bind(&there), poise_tcp_accept(listener, NULL) };
    /* Level mode would go round and round: the next wait reports it at once. */
    int spins = wait_all(queue, 0, &seen);
    int paused = poise_watch(queue, poise_fd(listener), mode, &tag);
    int started = poise_timer_start(queue, &resume, poise_now() + PAUSE * (uint64_t)MS, &resume);
    int quiet = wait_all(queue, PAUSE * MS / 4, &seen);
    uint32_t late = wait_for(queue, &resume);
    close(spare);
    int resumed = poise_watch(queue, poise_fd(listener), POISE_READABLE | mode, &tag);
    uint32_t back = wait_for(queue, &tag);
    int first = poise_tcp_accept(listener, &peer), second = poise_tcp_accept(listener, NULL);
    setrlimit(RLIMIT_NOFILE, &before);

    CHECK_INT(result[0], -EMFILE);
    CHECK_INT(result[1], -EMFILE);
    CHECK_INT(result[2], -EMFILE);
    CHECK_INT(result[3], -EMFILE);
    CHECK_INT(result[4], -EMFILE);
    if (mode == 0)
        CHECK(spins > 0);
    CHECK_INT(paused, 0);
    CHECK_INT(started, 0);
    CHECK_INT(quiet, 0);
    CHECK_INT(late, POISE_TIMER);
    CHECK_INT(resumed, 0);
    CHECK((back & POISE_READABLE) != 0); /* the connections were kept */
    CHECK(first >= 0);
    CHECK(peer.length != 0);
    CHECK_INT(second, -EMFILE);
    close(first);
    poise_close(queue);
    close(client);
    close(other);
    close(listener);
}

TEST(NET, accept_emfile_level) { CALL(check_emfile(0)); }
TEST(NET, accept_emfile_edge) { CALL(check_emfile(POISE_EDGE)); }

#else

TEST(G20, no_sigpipe)
{
    NEED_SOCKETS();
    int client; /* there is no such signal: the error is all there is */
    reset(&client);
    ptrdiff_t n = 0;
    for (int i = 0; i < 100 && n >= 0; i++) {
        n = patient_send(client, "x", 1, NULL);
        wait_fd(client, POISE_READABLE);
    }
    CHECK(gone(n));
    CHECK(gone(poise_send(client, "x", 1)));
    close(client);
}

TEST(NET, accept_emfile_level) { SKIP("WASI has no limit of descriptors to set"); }
TEST(NET, accept_emfile_edge) { SKIP("WASI has no limit of descriptors to set"); }

#endif

/* ---- UDP --------------------------------------------------------------------------------------------------------- */

static int udp_at(const char *host, poise_address *address)
{
    char byte;
    *address = at(host, 0);
    int fd = poise_udp_bind(address);
    MUST(fd >= 0);
    MUST(poise_local_address(fd, address) == 0);
    /* jco loses what comes before somebody has asked for the first time. */
    MUST(poise_recv(fd, &byte, 1) == -EAGAIN);
    return fd;
}

static void check_udp(const char *host)
{
    poise_address a, b, from;
    int x = udp_at(host, &a), y = udp_at(host, &b);
    char bytes[8];
    CALL(check_flags(x));
    CHECK_INT(poise_recv_from(y, bytes, sizeof bytes, &from), -EAGAIN);
    CHECK_INT(from.length, 0);
    CHECK_INT(poise_recv(y, bytes, sizeof bytes), -EAGAIN);
    CHECK_INT(poise_peer_address(x, &from), -ENOTCONN);
    CHECK_INT(poise_send(x, "x", 1), -EDESTADDRREQ);

    CHECK_INT(patient_send(x, "one", 3, &b), 3);
    CHECK_INT(patient_recv(y, bytes, sizeof bytes, &from), 3);
    CHECK(memcmp(bytes, "one", 3) == 0);
    CHECK(poise_address_equal(&from, &a));
    CHECK_INT(patient_send(x, NULL, 0, &b), 0); /* an empty datagram is one, too */
    CHECK_INT(patient_recv(y, bytes, sizeof bytes, &from), 0);
    CHECK(poise_address_equal(&from, &a));
    CHECK_INT(patient_send(x, "too long for it", 15, &b), 15);
    CHECK_INT(patient_recv(y, bytes, 3, NULL), 3); /* the rest is lost */
    CHECK_INT(poise_recv(y, bytes, sizeof bytes), -EAGAIN);
    close(x);
    close(y);
}

TEST(NET, udp_ipv4)
{
    NEED_SOCKETS();
    CALL(check_udp(V4));
}

TEST(NET, udp_ipv6)
{
    NEED_SOCKETS();
    NEED_HOST(V6);
    CALL(check_udp(V6));
}

TEST(NET, udp_connect)
{
    NEED_SOCKETS();
    poise_address a = at(V4, 0), b, c, peer;
    int x = poise_udp_bind(&a), y = udp_at(V4, &b), z = udp_at(V4, &c);
    char bytes[8];
    CHECK(x >= 0);
    CHECK_INT(poise_local_address(x, &a), 0);
    CHECK_INT(poise_udp_connect(x, &b), 0);
    CHECK_INT(poise_peer_address(x, &peer), 0);
    CHECK(poise_address_equal(&peer, &b));
    CHECK_INT(poise_tcp_connect_result(x), 0);
    CHECK_INT(patient_send(x, "to y", 4, NULL), 4);
    CHECK_INT(patient_recv(y, bytes, sizeof bytes, &peer), 4);
    CHECK(poise_address_equal(&peer, &a));
    CHECK_INT(patient_send(y, "back", 4, &a), 4);
    CHECK_INT(patient_recv(x, bytes, sizeof bytes, NULL), 4);
    CHECK_INT(patient_send(z, "stranger", 8, &a), 8); /* from nobody that x is connected to */
    CHECK_INT(patient_send(y, "peer", 4, &a), 4);
    CHECK_INT(patient_recv(x, bytes, sizeof bytes, NULL), 4);
    CHECK(memcmp(bytes, "peer", 4) == 0);
    CHECK_INT(poise_recv(x, bytes, sizeof bytes), -EAGAIN);
    close(x);
    close(y);
    close(z);
}

/* Another peer, and another. It answers to where it hears from: on jco a socket connected again has another port. */
TEST(NET, udp_reconnect)
{
    NEED_SOCKETS();
    poise_address a = at(V4, 0), b, c, from, back;
    int x = poise_udp_bind(&a), y = udp_at(V4, &b), z = udp_at(V4, &c);
    char bytes[8];
    CHECK(x >= 0);
    CHECK_INT(poise_udp_connect(x, &b), 0);
    CHECK_INT(patient_send(x, "y", 1, NULL), 1);
    CHECK_INT(patient_recv(y, bytes, sizeof bytes, &from), 1);
    CHECK_INT(poise_udp_connect(x, &c), 0);
    CHECK_INT(patient_send(x, "z", 1, NULL), 1);
    CHECK_INT(patient_recv(z, bytes, sizeof bytes, &back), 1);
    CHECK(bytes[0] == 'z');
    CHECK_INT(patient_send(y, "stranger", 8, &back), 8);
    CHECK_INT(patient_send(z, "peer", 4, &back), 4);
    CHECK_INT(patient_recv(x, bytes, sizeof bytes, NULL), 4);
    close(x);
    close(y);
    close(z);
}

/* The same while the socket is watched and has been waited for. */
TEST(NET, udp_reconnect_watched)
{
    NEED_SOCKETS();
    if (host_is("wasmtime-48"))
        SKIP("wasmtime 48 traps when a UDP socket is connected that was received from or waited for");
    poise_address a, b, c, peer, back;
    int x = udp_at(V4, &a), y = udp_at(V4, &b), z = udp_at(V4, &c);
    char bytes[8];
    poise *queue = open_queue();
    CHECK_INT(poise_udp_connect(x, &b), 0);
    CHECK_INT(poise_watch(queue, poise_fd(x), POISE_READABLE, &x), 0);
    for (int round = 0; round < 4; round++) {
        int other = round % 2 == 0 ? z : y;
        const poise_address *to = round % 2 == 0 ? &c : &b;
        (void)silent(queue, &x, 10 * MS); /* waited for: its handles exist */
        CHECK_INT(poise_udp_connect(x, to), 0);
        CHECK_INT(poise_peer_address(x, &peer), 0);
        CHECK(poise_address_equal(&peer, to));
        CHECK_INT(patient_send(x, "there", 5, NULL), 5);
        CHECK_INT(patient_recv(other, bytes, sizeof bytes, &back), 5);
        CHECK_INT(patient_send(other, "back", 4, &back), 4);
        ptrdiff_t n;
        uint64_t end = poise_now() + (uint64_t)patience();
        while ((n = poise_recv(x, bytes, sizeof bytes)) == -EAGAIN && poise_now() < end)
            CHECK((wait_for(queue, &x) & POISE_READABLE) != 0);
        CHECK_INT(n, 4);
    }
    poise_close(queue);
    close(x);
    close(y);
    close(z);
}

TEST(NET, udp_refused)
{
    NEED_SOCKETS();
    if (host_is("jco"))
        SKIP("jco ends a program that closes a UDP socket just before its datagram is refused");
    poise_address a = at(V4, 0), b;
    int x = poise_udp_bind(&a), y = udp_at(V4, &b);
    char byte;
    CHECK(x >= 0);
    close(y);
    CHECK_INT(poise_udp_connect(x, &b), 0);
    CHECK_INT(patient_send(x, "x", 1, NULL), 1);
    ptrdiff_t n = on_wasi() ? poise_recv(x, &byte, 1) : patient_recv(x, &byte, 1, NULL);
    CHECK(n == -ECONNREFUSED || (on_wasi() && n == -EAGAIN)); /* some hosts keep it to themselves */
    close(x);
}

TEST(NET, udp_errors)
{
    NEED_SOCKETS();
    static char block[70000];
    poise_address a, b;
    int x = udp_at(V4, &a), y = udp_at(V4, &b);
    CHECK_INT(patient_send(x, block, sizeof block, &b), -EMSGSIZE);
    poise_address six = at(V6, poise_address_port(&b));
    CHECK_INT(poise_send_to(x, "x", 1, &six), -EAFNOSUPPORT);
    CHECK_INT(poise_udp_connect(x, &six), -EAFNOSUPPORT);
    poise_address unspecified;
    memset(&unspecified, 0, sizeof unspecified);
    unspecified.length = sizeof(struct sockaddr_in); /* AF_UNSPEC would trap under WASI */
    CHECK_INT(poise_udp_connect(x, &unspecified), -EINVAL);
    CHECK_INT(patient_send(x, "x", 1, &b), 1); /* unharmed */
    close(x);
    close(y);
}
