/* mio's tests/unix_datagram.rs. */
#include "kit.h"

#ifdef __wasi__

TEST(unix_datagram, unix_datagram_smoke_unconnected) { SKIP("WASI has no Unix sockets"); }
TEST(unix_datagram, unix_datagram_smoke_connected) { SKIP("WASI has no Unix sockets"); }
TEST(unix_datagram, unix_datagram_smoke_unconnected_from_std) { SKIP("WASI has no Unix sockets"); }
TEST(unix_datagram, unix_datagram_smoke_connected_from_std) { SKIP("WASI has no Unix sockets"); }
TEST(unix_datagram, unix_datagram_connect) { SKIP("WASI has no Unix sockets"); }
TEST(unix_datagram, unix_datagram_pair) { SKIP("WASI has no Unix sockets"); }
TEST(unix_datagram, unix_datagram_shutdown) { SKIP("WASI has no Unix sockets"); }
TEST(unix_datagram, unix_datagram_register) { SKIP("WASI has no Unix sockets"); }
TEST(unix_datagram, unix_datagram_reregister) { SKIP("WASI has no Unix sockets"); }
TEST(unix_datagram, unix_datagram_deregister) { SKIP("WASI has no Unix sockets"); }

#else

#include <sys/un.h>

#define ONE "from the first"
#define TWO "and from the second"
enum { ONE_LENGTH = sizeof ONE - 1, TWO_LENGTH = sizeof TWO - 1 };

/* A queue, and two sockets with names in a folder of their own. */
struct fixture {
    poise *queue;
    poise_address address[2];
    int fd[2];
};

static int by_poise(const poise_address *address) { return poise_unix_bind(address); }

/* A socket of other origin: blocking at first. */
static int by_libc(const poise_address *address)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    MUST(fd >= 0 && bind(fd, (const struct sockaddr *)&address->storage, address->length) == 0);
    return fd;
}

static void open_fixture(struct fixture *f, int (*bind_to)(const poise_address *))
{
    open_folder();
    f->queue = open_queue();
    for (int i = 0; i < 2; i++) {
        f->address[i] = named(i == 0 ? "a" : "b");
        f->fd[i] = bind_to(&f->address[i]);
        MUST(f->fd[i] >= 0);
    }
}

static void close_fixture(struct fixture *f)
{
    poise_close(f->queue);
    close(f->fd[0]);
    close(f->fd[1]);
    close_folder();
}

static bool received(poise *queue, int fd, const char *text, poise_address *from)
{
    char bytes[64];
    ptrdiff_t n = receive(queue, fd, bytes, sizeof bytes, from);
    return n == (ptrdiff_t)strlen(text) && memcmp(bytes, text, (size_t)n) == 0;
}

/* Two that send to each other: by address, or, if that is NULL, to their peers. Each has got what the other sent? */
static void check_smoke(poise *queue, int fd[2], const poise_address address[2], bool *arrived)
{
    poise_address from[2];
    for (int i = 0; i < 2; i++) {
        CALL(check_flags(fd[i]));
        CHECK_INT(poise_watch(queue, poise_fd(fd[i]), BOTH | EDGE, &fd[i]), 0);
    }
    CHECK(EVENTS_COME(queue, { &fd[0], OUT }, { &fd[1], OUT }));
    for (int i = 0; i < 2; i++) {
        char byte;
        CHECK_INT(receive(queue, fd[i], &byte, 1, address != NULL ? &from[i] : NULL), -EAGAIN);
    }
    if (address != NULL) {
        CHECK_INT(poise_send_to(fd[0], ONE, ONE_LENGTH, &address[1]), ONE_LENGTH);
        CHECK_INT(poise_send_to(fd[1], TWO, TWO_LENGTH, &address[0]), TWO_LENGTH);
    } else {
        CHECK_INT(poise_send(fd[0], ONE, ONE_LENGTH), ONE_LENGTH);
        CHECK_INT(poise_send(fd[1], TWO, TWO_LENGTH), TWO_LENGTH);
    }
    CHECK(EVENTS_COME(queue, { &fd[0], IN }, { &fd[1], IN }));
    bool first = received(queue, fd[0], TWO, address != NULL ? &from[0] : NULL);
    bool second = received(queue, fd[1], ONE, address != NULL ? &from[1] : NULL);
    if (address != NULL)
        CHECK(poise_address_equal(&from[0], &address[1]) && poise_address_equal(&from[1], &address[0]));
    CHECK_INT(poise_socket_error(fd[0]), 0);
    CHECK_INT(poise_socket_error(fd[1]), 0);
    *arrived = first && second;
}

static void smoke_unconnected(int (*bind_to)(const poise_address *))
{
    struct fixture f;
    poise_address own[2];
    bool arrived = false;
    open_fixture(&f, bind_to);
    for (int i = 0; i < 2; i++) {
        if (bind_to == by_libc)
            set_nonblocking(f.fd[i]);
        CHECK_INT(poise_local_address(f.fd[i], &own[i]), 0);
    }
    CALL(check_smoke(f.queue, f.fd, own, &arrived));
    close_fixture(&f);
    CHECK(poise_address_equal(&own[0], &f.address[0]) && poise_address_equal(&own[1], &f.address[1]));
    POINT(arrived);
}

TEST(unix_datagram, unix_datagram_smoke_unconnected) { CALL(smoke_unconnected(by_poise)); }
TEST(unix_datagram, unix_datagram_smoke_unconnected_from_std) { CALL(smoke_unconnected(by_libc)); }

static void smoke_connected(int (*bind_to)(const poise_address *))
{
    struct fixture f;
    poise_address own[2], peer[2];
    bool arrived = false;
    open_fixture(&f, bind_to);
    for (int i = 0; i < 2; i++)
        CHECK_INT(poise_udp_connect(f.fd[i], &f.address[1 - i]), 0);
    for (int i = 0; i < 2; i++) {
        if (bind_to == by_libc)
            set_nonblocking(f.fd[i]);
        CHECK_INT(poise_local_address(f.fd[i], &own[i]), 0);
        CHECK_INT(poise_peer_address(f.fd[i], &peer[i]), 0);
    }
    CALL(check_smoke(f.queue, f.fd, NULL, &arrived));
    close_fixture(&f);
    CHECK(own[0].length != 0 && own[1].length != 0);
    CHECK(poise_address_equal(&own[0], &peer[1]) && poise_address_equal(&own[1], &peer[0]));
    POINT(arrived);
}

TEST(unix_datagram, unix_datagram_smoke_connected) { CALL(smoke_connected(by_poise)); }
TEST(unix_datagram, unix_datagram_smoke_connected_from_std) { CALL(smoke_connected(by_libc)); }

/* To itself, as mio's test does. */
TEST(unix_datagram, unix_datagram_connect)
{
    struct fixture f;
    poise_address own;
    int result[2];
    open_fixture(&f, by_poise);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(poise_local_address(f.fd[i], &own), 0);
        result[i] = poise_udp_connect(f.fd[i], &own);
    }
    close_fixture(&f);
    POINT(result[0] == 0 && result[1] == 0);
}

TEST(unix_datagram, unix_datagram_pair)
{
    poise *queue = open_queue();
    int fd[2];
    bool arrived = false;
    CHECK_INT(poise_unix_pair(fd, SOCK_DGRAM), 0);
    CALL(check_smoke(queue, fd, NULL, &arrived));
    poise_close(queue);
    close(fd[0]);
    close(fd[1]);
    POINT(arrived);
}

TEST(unix_datagram, unix_datagram_shutdown)
{
    struct fixture f;
    open_fixture(&f, by_poise);
    for (int i = 0; i < 2; i++)
        CHECK_INT(poise_watch(f.queue, poise_fd(f.fd[i]), BOTH | EDGE, &f.fd[i]), 0);
    CHECK_INT(poise_udp_connect(f.fd[0], &f.address[1]), 0);
    CHECK(EVENTS_COME(f.queue, { &f.fd[0], OUT }));
    CHECK_INT(poise_send(f.fd[0], ONE, ONE_LENGTH), ONE_LENGTH);
    CHECK(EVENTS_COME(f.queue, { &f.fd[1], IN }));
    CHECK_INT(poise_shutdown(f.fd[0], SHUT_RD), 0);
    bool read_closed = EVENTS_COME(f.queue, { &f.fd[0], hints_of_own_shutdown(SHUT_RD) });
    eagain(f.queue, f.fd[0], BOTH); /* neither has been at its end yet */
    CHECK_INT(poise_shutdown(f.fd[0], SHUT_WR), 0);
    bool write_closed = EVENTS_COME(f.queue, { &f.fd[0], hints_of_own_shutdown(SHUT_RDWR) });
    CHECK_INT(poise_send(f.fd[0], TWO, TWO_LENGTH), -EPIPE);
    CHECK_INT(poise_socket_error(f.fd[0]), 0);
    close_fixture(&f);
    CHECK(read_closed);
    POINT(write_closed);
}

/* ---- registering ------------------------------------------------------------------------------------------------- */

TEST(unix_datagram, unix_datagram_register)
{
    struct fixture f;
    open_fixture(&f, by_poise);
    CHECK_INT(poise_watch(f.queue, poise_fd(f.fd[0]), IN | EDGE, &f.fd[0]), 0);
    bool nothing = quiet(f.queue);
    close_fixture(&f);
    POINT(nothing);
}

TEST(unix_datagram, unix_datagram_reregister)
{
    struct fixture f;
    open_fixture(&f, by_poise);
    CHECK_INT(poise_watch(f.queue, poise_fd(f.fd[0]), IN | EDGE, &f.fd[0]), 0);
    CHECK_INT(poise_udp_connect(f.fd[1], &f.address[0]), 0);
    CHECK_INT(poise_watch(f.queue, poise_fd(f.fd[0]), OUT | EDGE, &f.fd[0]), 0);
    bool came = EVENTS_COME(f.queue, { &f.fd[0], OUT });
    close_fixture(&f);
    POINT(came);
}

TEST(unix_datagram, unix_datagram_deregister)
{
    struct fixture f;
    open_fixture(&f, by_poise);
    CHECK_INT(poise_watch(f.queue, poise_fd(f.fd[0]), OUT | EDGE, &f.fd[0]), 0);
    CHECK_INT(poise_udp_connect(f.fd[1], &f.address[0]), 0);
    CHECK_INT(poise_unwatch(f.queue, poise_fd(f.fd[0])), 0);
    bool nothing = quiet(f.queue);
    close_fixture(&f);
    POINT(nothing);
}

#endif
