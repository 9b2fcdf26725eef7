/* poise/net.h: options of sockets, and the error that a socket keeps. */
#include "net_kit.h"

#include <netinet/in.h>

/* A descriptor that is no socket; under WASI standard output, which never is one. The caller's. */
static int no_socket(void)
{
    if (on_wasi())
        return STDOUT_FILENO;
    int ends[2];
    MUST(poise_pipe(ends) == 0);
    close(ends[1]);
    return ends[0];
}

static bool is_no_socket(int error) { return error == (on_wasi() ? -ENOPROTOOPT : -ENOTSOCK); }
static bool is_no_tcp(int error) { return error == -ENOPROTOOPT || error == -EOPNOTSUPP; }

static int udp_at(const char *host)
{
    poise_address any = at(host, 0);
    int fd = poise_udp_bind(&any);
    MUST(fd >= 0);
    return fd;
}

/* ---- hops -------------------------------------------------------------------------------------------------------- */

/* On a socket that has not been asked yet. */
static void check_hops(int fd)
{
    CHECK_RANGE(poise_hop_limit(fd), 1, 255);
    static const int good[] = { 255, 1, 10 }, bad[] = { 0, -1, 256, INT32_MAX, INT32_MIN };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        CHECK_INT(poise_set_hop_limit(fd, good[i]), 0);
        CHECK_INT(poise_hop_limit(fd), good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_INT(poise_set_hop_limit(fd, bad[i]), -EINVAL);
        CHECK_INT(poise_hop_limit(fd), 10);
    }
}

static void check_hops_of(const char *host)
{
    poise_address there;
    int listener = listen_at(host, &there), udp = udp_at(host);
    CALL(check_hops(listener));
    CALL(check_hops(udp));
    int client = poise_tcp_connect(&there);
    CHECK(client >= 0);
    int server = patient_accept(listener, NULL);
    CHECK(server >= 0);
    CHECK_INT(poise_hop_limit(server), 10); /* the listener's */
    CHECK_INT(patient_result(client), 0);
    CALL(check_hops(client));
    CALL(check_hops(server));
    close(client);
    close(server);
    close(udp);
    close(listener);
}

TEST(NET, hop_limit_ipv4)
{
    NEED_SOCKETS();
    CALL(check_hops_of(V4));
}

TEST(NET, hop_limit_ipv6)
{
    NEED_SOCKETS();
    NEED_HOST(V6);
    CALL(check_hops_of(V6));
}

TEST(NET, hop_limit_errors)
{
    NEED_SOCKETS();
    int other = no_socket();
    CHECK_INT(poise_hop_limit(-1), -EBADF);
    CHECK_INT(poise_set_hop_limit(-1, 10), -EBADF);
    CHECK(is_no_socket(poise_hop_limit(other)));
    CHECK(is_no_socket(poise_set_hop_limit(other, 10)));
    if (!on_wasi()) {
        int pair[2];
        close(other);
        CHECK_INT(poise_unix_pair(pair, SOCK_STREAM), 0);
        CHECK_INT(poise_hop_limit(pair[0]), -EAFNOSUPPORT);
        CHECK_INT(poise_set_hop_limit(pair[0], 10), -EAFNOSUPPORT);
        close(pair[0]);
        close(pair[1]);
    }
}

/* ---- no delay ---------------------------------------------------------------------------------------------------- */

static void check_no_delay(int fd)
{
    CHECK_INT(poise_tcp_set_no_delay(fd, true), 0);
    CHECK_INT(poise_tcp_no_delay(fd), 1);
    CHECK_INT(poise_tcp_set_no_delay(fd, false), 0);
    CHECK_INT(poise_tcp_no_delay(fd), 0);
}

TEST(NET, no_delay)
{
    NEED_SOCKETS();
    int client, server;
    connected(V4, &client, &server);
    CHECK_INT(poise_tcp_no_delay(client), 0);
    CHECK_INT(poise_tcp_no_delay(server), 0);
    CALL(check_no_delay(client));
    CALL(check_no_delay(server));
    close(client);
    close(server);
}

TEST(NET, no_delay_of_a_listener)
{
    NEED_SOCKETS();
    poise_address there;
    int listener = listen_at(V4, &there);
    CHECK_INT(poise_tcp_no_delay(listener), 0);
    CHECK_INT(poise_tcp_set_no_delay(listener, true), 0);
    int client = poise_tcp_connect(&there);
    CHECK(client >= 0);
    int server = patient_accept(listener, NULL);
    CHECK(server >= 0);
    CHECK_INT(poise_tcp_no_delay(server), 1);
    CHECK_INT(poise_tcp_no_delay(client), 0);
    close(client);
    close(server);
    close(listener);
}

TEST(NET, no_delay_errors)
{
    NEED_SOCKETS();
    int udp = udp_at(V4), other = no_socket();
    CHECK_INT(poise_tcp_no_delay(-1), -EBADF);
    CHECK_INT(poise_tcp_set_no_delay(-1, true), -EBADF);
    CHECK(is_no_tcp(poise_tcp_no_delay(udp)));
    CHECK(is_no_tcp(poise_tcp_set_no_delay(udp, true)));
    CHECK(is_no_socket(poise_tcp_no_delay(other)));
    CHECK(is_no_socket(poise_tcp_set_no_delay(other, true)));
    close(udp);
    if (!on_wasi())
        close(other);
}

/* ---- keep-alive -------------------------------------------------------------------------------------------------- */

static void check_asks(int fd, int on, unsigned idle_s, unsigned interval_s, unsigned probes)
{
    unsigned number[3] = { 0, 0, 0 };
    CHECK_INT(poise_tcp_keep_alive(fd, &number[0], &number[1], &number[2]), on);
    CHECK_INT(number[0], idle_s);
    CHECK_INT(number[1], interval_s);
    CHECK_INT(number[2], probes);
    CHECK_INT(poise_tcp_keep_alive(fd, NULL, NULL, NULL), on);
}

static void check_keep_alive(int fd)
{
    unsigned interval_s = 0, probes = 0;
    CHECK_INT(poise_tcp_keep_alive(fd, NULL, &interval_s, &probes), 0); /* off at first */
    CHECK(interval_s > 0 && probes > 0);
    CHECK_INT(poise_tcp_set_keep_alive(fd, 60, 0, 0), 0);
    CALL(check_asks(fd, 1, 60, interval_s, probes));
    CHECK_INT(poise_tcp_set_keep_alive(fd, 100, 20, 5), 0);
    CALL(check_asks(fd, 1, 100, 20, 5));
    CHECK_INT(poise_tcp_set_keep_alive(fd, 101, 0, 0), 0);
    CALL(check_asks(fd, 1, 101, 20, 5));
    CHECK_INT(poise_tcp_set_keep_alive(fd, 0, 7, 7), 0);
    CALL(check_asks(fd, 0, 101, 20, 5));
    CHECK_INT(poise_tcp_set_keep_alive(fd, 32767, 32767, 127), 0);
    CALL(check_asks(fd, 1, 32767, 32767, 127));
    CHECK_INT(poise_tcp_set_keep_alive(fd, 32768, 1, 1), -EINVAL);
    CHECK_INT(poise_tcp_set_keep_alive(fd, 1, 32768, 1), -EINVAL);
    CHECK_INT(poise_tcp_set_keep_alive(fd, 1, 1, 128), -EINVAL);
    CHECK_INT(poise_tcp_set_keep_alive(fd, 1, UINT32_MAX, 1), -EINVAL);
    CALL(check_asks(fd, 1, 32767, 32767, 127));
    CHECK_INT(poise_tcp_set_keep_alive(fd, 0, 32768, 128), 0); /* nobody looks at them */
    CALL(check_asks(fd, 0, 32767, 32767, 127));
    CHECK_INT(poise_tcp_set_keep_alive(fd, 0, UINT32_MAX, 0), 0);
    CHECK_INT(poise_tcp_set_keep_alive(fd, 32767, 0, 0), 0);
    CALL(check_asks(fd, 1, 32767, 32767, 127));
}

TEST(NET, keep_alive)
{
    NEED_SOCKETS();
    int client, server;
    connected(V4, &client, &server);
    CALL(check_keep_alive(client));
    CALL(check_keep_alive(server));
    close(client);
    close(server);
}

TEST(NET, keep_alive_of_a_listener)
{
    NEED_SOCKETS();
    poise_address there;
    int listener = listen_at(V4, &there);
    CALL(check_keep_alive(listener));
    int client = poise_tcp_connect(&there);
    CHECK(client >= 0);
    int server = patient_accept(listener, NULL);
    CHECK(server >= 0);
    CALL(check_asks(server, 1, 32767, 32767, 127));
    close(client);
    close(server);
    close(listener);
}

TEST(NET, keep_alive_errors)
{
    NEED_SOCKETS();
    int udp = udp_at(V4), other = no_socket();
    unsigned number[3] = { 8, 8, 8 };
    CHECK_INT(poise_tcp_set_keep_alive(-1, 1, 1, 1), -EBADF);
    CHECK_INT(poise_tcp_keep_alive(-1, &number[0], &number[1], &number[2]), -EBADF);
    CHECK(is_no_tcp(poise_tcp_set_keep_alive(udp, 1, 1, 1)));
    CHECK(is_no_tcp(poise_tcp_set_keep_alive(udp, 0, 0, 0)));
    CHECK(is_no_tcp(poise_tcp_keep_alive(udp, &number[0], &number[1], &number[2])));
    CHECK(is_no_socket(poise_tcp_set_keep_alive(other, 1, 1, 1)));
    CHECK(is_no_socket(poise_tcp_keep_alive(other, &number[0], &number[1], &number[2])));
    CHECK(number[0] == 8 && number[1] == 8 && number[2] == 8);
    close(udp);
    if (!on_wasi())
        close(other);
}

/* ---- while it connects ------------------------------------------------------------------------------------------- */

/* What the options say: `error` under WASI, where libc would end the program; natively they work. No delay is libc's
 * own affair. */
static void check_options(int fd, int error)
{
    CHECK_INT(poise_set_hop_limit(fd, 10), error);
    CHECK_INT(poise_hop_limit(fd), error != 0 ? error : 10);
    CHECK_INT(poise_tcp_set_keep_alive(fd, 100, 20, 5), error);
    CHECK_INT(poise_tcp_keep_alive(fd, NULL, NULL, NULL), error != 0 ? error : 1);
    CALL(check_no_delay(fd));
}

TEST(NET, options_while_connecting)
{
    NEED_SOCKETS();
    poise_address there = at(V4, 0);
    int listener = poise_tcp_listen(&there, 1);
    CHECK(listener >= 0);
    CHECK_INT(poise_local_address(listener, &there), 0);
    int fd[8], n = 0, result;
    do { /* the kernel takes a few more than the backlog says; then a connect stays under way */
        fd[n] = poise_tcp_connect(&there);
        CHECK(fd[n] >= 0);
        result = poise_tcp_connect_result(fd[n++]);
    } while (result == 0 && n < 8);
    if (host_is("jco") && result == 0)
        SKIP("jco connects before connect returns");
    CHECK_INT(result, -EINPROGRESS);
    CALL(check_options(fd[n - 1], on_wasi() ? -EINPROGRESS : 0));
    CHECK_INT(poise_socket_error(fd[n - 1]), 0);
    CHECK_INT(poise_tcp_connect_result(fd[n - 1]), -EINPROGRESS);
    for (int i = 0; i < n; i++) { /* room: the kernel tries again after a second */
        int server = patient_accept(listener, NULL);
        CHECK(server >= 0);
        close(server);
    }
    CHECK_INT(patient_result(fd[n - 1]), 0);
    CALL(check_options(fd[n - 1], 0));
    while (n > 0)
        close(fd[--n]);
    close(listener);
}

/* A refused connect's reason, and what the options say after it. */
static void check_refused(const char *host)
{
    poise_address there = nobody(host);
    int fd = poise_tcp_connect(&there);
    if (fd < 0) {
        CHECK_INT(fd, -ECONNREFUSED); /* told at once: nothing to look at */
        return;
    }
    CHECK(wait_fd(fd, POISE_WRITABLE) != 0);
    CALL(check_options(fd, on_wasi() ? -ECONNREFUSED : 0));
    CHECK_INT(poise_socket_error(fd), -ECONNREFUSED);
    CHECK_INT(poise_socket_error(fd), on_wasi() ? -ECONNREFUSED : 0); /* natively taken */
    CHECK_INT(poise_tcp_connect_result(fd), on_wasi() ? -ECONNREFUSED : -ENOTCONN);
    close(fd);
}

TEST(NET, options_of_a_refused_connect)
{
    NEED_SOCKETS();
    CALL(check_refused(V4));
}

TEST(NET, options_of_a_refused_connect_ipv6)
{
    NEED_SOCKETS();
    NEED_HOST(V6);
    CALL(check_refused(V6));
}

/* ---- errors ------------------------------------------------------------------------------------------------------ */

TEST(NET, no_socket_error)
{
    NEED_SOCKETS();
    int client, server, udp = udp_at(V4), other = no_socket();
    poise_address there;
    int listener = listen_at(V4, &there);
    connected(V4, &client, &server);
    CHECK_INT(poise_socket_error(client), 0);
    CHECK_INT(poise_socket_error(server), 0);
    CHECK_INT(poise_socket_error(listener), 0);
    CHECK_INT(poise_socket_error(udp), 0);
    CHECK_INT(poise_socket_error(-1), -EBADF);
    CHECK(is_no_socket(poise_socket_error(other)));
    close(client);
    close(server);
    close(listener);
    close(udp);
    if (!on_wasi())
        close(other);
}

/* A reset is known to be one natively alone. */
TEST(NET, socket_error_of_a_reset)
{
    NEED_SOCKETS();
    int client, server;
    connected(V4, &client, &server);
    CHECK_INT(patient_send(client, "unread", 6, NULL), 6);
    CHECK(wait_fd(server, POISE_READABLE) != 0);
    close(server); /* with bytes unread */
    CHECK(wait_fd(client, POISE_READABLE) != 0);
    CHECK_INT(poise_socket_error(client), on_wasi() ? 0 : -ECONNRESET);
    CHECK_INT(poise_socket_error(client), 0);
    if (!on_wasi())
        CHECK_INT(poise_hop_limit(client) > 0, 1);
    close(client);
}

TEST(NET, options_under_wasip1)
{
    if (has_sockets())
        return;
    CHECK_INT(poise_hop_limit(0), -ENOTSUP);
    CHECK_INT(poise_set_hop_limit(0, 1), -ENOTSUP);
    CHECK_INT(poise_tcp_no_delay(0), -ENOTSUP);
    CHECK_INT(poise_tcp_set_no_delay(0, true), -ENOTSUP);
    CHECK_INT(poise_tcp_set_keep_alive(0, 1, 1, 1), -ENOTSUP);
    CHECK_INT(poise_tcp_keep_alive(0, NULL, NULL, NULL), -ENOTSUP);
    CHECK_INT(poise_socket_error(0), -ENOTSUP);
    CHECK_INT(poise_tcp_connect_result(0), -ENOTSUP);
}

/* ---- what the kernel has been told ------------------------------------------------------------------------------- */

#ifndef __wasi__

/* The hops that a datagram comes with, after the sender was told `hops`. */
static int hops_of_a_datagram(const char *host, int hops)
{
    bool ipv4 = strcmp(host, V4) == 0;
    int from = udp_at(host), to = udp_at(host), on = 1, got = -1;
    poise_address there;
    MUST(poise_local_address(to, &there) == 0);
    MUST(setsockopt(to, ipv4 ? IPPROTO_IP : IPPROTO_IPV6, ipv4 ? IP_RECVTTL : IPV6_RECVHOPLIMIT, &on, sizeof on) == 0);
    MUST(poise_set_hop_limit(from, hops) == 0);
    MUST(patient_send(from, "x", 1, &there) == 1);
    MUST(wait_fd(to, POISE_READABLE) != 0);
    _Alignas(struct cmsghdr) char control[64];
    char byte;
    struct iovec part = { &byte, 1 };
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
    };
    MUST(recvmsg(to, &message, 0) == 1);
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (head != NULL)
        memcpy(&got, CMSG_DATA(head), sizeof got);
    close(from);
    close(to);
    return got;
}

TEST(NET, hops_of_a_packet)
{
    CHECK_INT(hops_of_a_datagram(V4, 7), 7);
    CHECK_INT(hops_of_a_datagram(V4, 255), 255);
    if (host_exists(V6))
        CHECK_INT(hops_of_a_datagram(V6, 9), 9);
}

/* Nobody takes a datagram: that is told once. */
TEST(NET, socket_error_of_a_datagram)
{
    poise_address there;
    int fd = udp_at(V4), closed = udp_at(V4);
    MUST(poise_local_address(closed, &there) == 0);
    close(closed);
    CHECK_INT(poise_udp_connect(fd, &there), 0);
    CHECK_INT(poise_send(fd, "x", 1), 1);
    CHECK(wait_fd(fd, POISE_READABLE) != 0);
    CHECK_INT(poise_socket_error(fd), -ECONNREFUSED);
    CHECK_INT(poise_socket_error(fd), 0);
    close(fd);
}

#endif
