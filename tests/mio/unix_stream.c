/* mio's tests/unix_stream.rs. What mio's thread does at the other end is done in between: a Unix socket's bytes have
 * arrived when the send returns. */
#include "kit.h"

#ifdef __wasi__

TEST(unix_stream, unix_stream_smoke) { SKIP("WASI has no Unix sockets"); }
TEST(unix_stream, unix_stream_connect) { SKIP("WASI has no Unix sockets"); }
TEST(unix_stream, unix_stream_connect_addr) { SKIP("WASI has no Unix sockets"); }
TEST(unix_stream, unix_stream_from_std) { SKIP("WASI has no Unix sockets"); }
TEST(unix_stream, unix_stream_pair) { SKIP("WASI has no Unix sockets"); }
TEST(unix_stream, unix_stream_peer_addr) { SKIP("WASI has no Unix sockets"); }
TEST(unix_stream, unix_stream_shutdown_read) { SKIP("WASI has no Unix sockets"); }
TEST(unix_stream, unix_stream_shutdown_write) { SKIP("WASI has no Unix sockets"); }
TEST(unix_stream, unix_stream_shutdown_both) { SKIP("WASI has no Unix sockets"); }
TEST(unix_stream, unix_stream_shutdown_listener_write) { SKIP("WASI has no Unix sockets"); }
TEST(unix_stream, unix_stream_register) { SKIP("WASI has no Unix sockets"); }
TEST(unix_stream, unix_stream_reregister) { SKIP("WASI has no Unix sockets"); }
TEST(unix_stream, unix_stream_deregister) { SKIP("WASI has no Unix sockets"); }

#else

#include <sys/uio.h>
#include <sys/un.h>

#define TEXT "what is sent"
#define MORE "and more of it"
enum { LENGTH = sizeof TEXT - 1, MORE_LENGTH = sizeof MORE - 1 };

/* A queue, a listener in a folder of its own, a stream that is connected to it, and the other end. */
struct fixture {
    poise *queue;
    poise_address there;
    int listener, stream, server;
};

static int by_poise(const poise_address *there) { return poise_unix_connect(there); }

/* A stream of other origin: made blocking, connected, and made non-blocking then. */
static int by_libc(const poise_address *there)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(fd >= 0 && connect(fd, (const struct sockaddr *)&there->storage, there->length) == 0);
    set_nonblocking(fd);
    return fd;
}

static void open_fixture(struct fixture *f, int (*connect_to)(const poise_address *))
{
    open_folder();
    f->queue = open_queue();
    f->there = named("a");
    f->listener = poise_unix_listen(&f->there, 0);
    MUST(f->listener >= 0);
    f->stream = connect_to(&f->there);
    MUST(f->stream >= 0);
    f->server = poise_tcp_accept(f->listener, NULL);
    MUST(f->server >= 0);
}

static void close_fixture(struct fixture *f)
{
    poise_close(f->queue);
    close(f->stream);
    close(f->server);
    close(f->listener);
    close_folder();
}

/* What the other end has received goes back. */
static bool echo(int server)
{
    char bytes[64];
    ptrdiff_t n = poise_recv(server, bytes, sizeof bytes);
    return n > 0 && poise_send(server, bytes, (size_t)n) == n;
}

static bool received(poise *queue, int fd, const char *text)
{
    char bytes[64];
    ptrdiff_t n = receive(queue, fd, bytes, sizeof bytes, NULL);
    return n == (ptrdiff_t)strlen(text) && memcmp(bytes, text, (size_t)n) == 0;
}

static bool nothing_there(poise *queue, int fd)
{
    char byte;
    return receive(queue, fd, &byte, 1, NULL) == -EAGAIN;
}

/* Watched for both; writable, and then the echo of TEXT is there, and is not received yet. */
static void exchange(struct fixture *f)
{
    CHECK_INT(poise_watch(f->queue, poise_fd(f->stream), BOTH | EDGE, &f->stream), 0);
    CHECK(EVENTS_COME(f->queue, { &f->stream, OUT }));
    CHECK_INT(poise_send(f->stream, TEXT, LENGTH), LENGTH);
    CHECK(echo(f->server));
    CHECK(EVENTS_COME(f->queue, { &f->stream, IN }));
}

static void smoke(int (*connect_to)(const poise_address *))
{
    struct fixture f;
    open_fixture(&f, connect_to);
    CALL(check_flags(f.stream));
    CHECK_INT(poise_watch(f.queue, poise_fd(f.stream), BOTH | EDGE, &f.stream), 0);
    CHECK(EVENTS_COME(f.queue, { &f.stream, OUT }));
    CHECK(nothing_there(f.queue, f.stream));

    CHECK_INT(poise_send(f.stream, TEXT, LENGTH), LENGTH);
    CHECK(echo(f.server));
    CHECK(EVENTS_COME(f.queue, { &f.stream, IN }));
    CHECK(received(f.queue, f.stream, TEXT));
    CHECK_INT(poise_socket_error(f.stream), 0);
    CHECK(nothing_there(f.queue, f.stream));

    char first[LENGTH], second[MORE_LENGTH + 1];
    memset(second, 2, sizeof second);
    struct iovec parts[2] = { { TEXT, LENGTH }, { MORE, MORE_LENGTH } };
    struct iovec room[2] = { { first, sizeof first }, { second, sizeof second } };
    struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
    CHECK_INT(sendmsg(f.stream, &message, MSG_NOSIGNAL), LENGTH + MORE_LENGTH);
    CHECK(echo(f.server));
    CHECK(EVENTS_COME(f.queue, { &f.stream, IN }));
    ptrdiff_t n = readv(f.stream, room, 2);
    close_fixture(&f);
    CHECK_INT(n, LENGTH + MORE_LENGTH);
    CHECK_INT(second[MORE_LENGTH], 2); /* behind the last byte */
    POINT(memcmp(first, TEXT, LENGTH) == 0 && memcmp(second, MORE, MORE_LENGTH) == 0);
}

TEST(unix_stream, unix_stream_smoke) { CALL(smoke(by_poise)); }
TEST(unix_stream, unix_stream_from_std) { CALL(smoke(by_libc)); }

/* Writable when it is connected, readable when the peer has closed. */
static void check_connect(struct fixture *f)
{
    CHECK_INT(poise_watch(f->queue, poise_fd(f->stream), BOTH | EDGE, &f->stream), 0);
    CHECK(EVENTS_COME(f->queue, { &f->stream, OUT }));
    close(f->server);
    bool end = EVENTS_COME(f->queue, { &f->stream, IN });
    f->server = -1;
    close_fixture(f);
    POINT(end);
}

TEST(unix_stream, unix_stream_connect)
{
    struct fixture f;
    open_fixture(&f, by_poise);
    CALL(check_connect(&f));
}

/* The same by the address that the listener tells. */
TEST(unix_stream, unix_stream_connect_addr)
{
    struct fixture f;
    poise_address told;
    open_fixture(&f, by_poise);
    close(f.stream);
    close(f.server);
    CHECK_INT(poise_local_address(f.listener, &told), 0);
    f.stream = poise_unix_connect(&told);
    CHECK(f.stream >= 0);
    f.server = poise_tcp_accept(f.listener, NULL);
    CHECK(f.server >= 0);
    CALL(check_connect(&f));
}

TEST(unix_stream, unix_stream_pair)
{
    poise *queue = open_queue();
    int fd[2];
    CHECK_INT(poise_unix_pair(fd, SOCK_STREAM), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), BOTH | EDGE, &fd[0]), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[1]), BOTH | EDGE, &fd[1]), 0);
    CHECK(EVENTS_COME(queue, { &fd[0], OUT }, { &fd[1], OUT }));
    CHECK(nothing_there(queue, fd[0]));
    CHECK_INT(poise_send(fd[0], TEXT, LENGTH), LENGTH);
    CHECK(received(queue, fd[1], TEXT));
    CHECK(nothing_there(queue, fd[1]));
    CHECK_INT(poise_send(fd[1], MORE, MORE_LENGTH), MORE_LENGTH);
    bool back = received(queue, fd[0], MORE), empty = nothing_there(queue, fd[1]);
    poise_close(queue);
    close(fd[0]);
    close(fd[1]);
    CHECK(empty);
    POINT(back);
}

TEST(unix_stream, unix_stream_peer_addr)
{
    struct fixture f;
    poise_address peer, own;
    open_fixture(&f, by_poise);
    CHECK_INT(poise_peer_address(f.stream, &peer), 0);
    CHECK_INT(poise_local_address(f.stream, &own), 0);
    close_fixture(&f);
    CHECK_INT(own.length, 0); /* it has no name */
    POINT(poise_address_equal(&peer, &f.there));
}

/* ---- shutdown ---------------------------------------------------------------------------------------------------- */

TEST(unix_stream, unix_stream_shutdown_read)
{
    struct fixture f;
    open_fixture(&f, by_poise);
    CALL(exchange(&f));
    eagain(f.queue, f.stream, IN); /* the bytes stay unread */
    CHECK_INT(poise_shutdown(f.stream, SHUT_RD), 0);
    bool told = EVENTS_COME(f.queue, { &f.stream, hints_of_own_shutdown(SHUT_RD) });
    close_fixture(&f);
    POINT(told);
}

/* No event tells of that on Linux; the other direction stays open. */
TEST(unix_stream, unix_stream_shutdown_write)
{
    struct fixture f;
    open_fixture(&f, by_poise);
    CALL(exchange(&f));
    CHECK_INT(poise_shutdown(f.stream, SHUT_WR), 0);
    ptrdiff_t sent = poise_send(f.stream, MORE, MORE_LENGTH);
    bool read = received(f.queue, f.stream, TEXT);
    close_fixture(&f);
    CHECK_INT(sent, -EPIPE);
    POINT(read);
}

TEST(unix_stream, unix_stream_shutdown_both)
{
    struct fixture f;
    open_fixture(&f, by_poise);
    CALL(exchange(&f));
    eagain(f.queue, f.stream, BOTH); /* the bytes stay unread, and there is room */
    CHECK_INT(poise_shutdown(f.stream, SHUT_RDWR), 0);
    bool told = EVENTS_COME(f.queue, { &f.stream, hints_of_own_shutdown(SHUT_RDWR) });
    ptrdiff_t sent = poise_send(f.stream, MORE, MORE_LENGTH);
    close_fixture(&f);
    CHECK_INT(sent, -EPIPE);
    POINT(told);
}

TEST(unix_stream, unix_stream_shutdown_listener_write)
{
    struct fixture f;
    open_fixture(&f, by_poise);
    CHECK_INT(poise_watch(f.queue, poise_fd(f.stream), BOTH | EDGE, &f.stream), 0);
    CHECK(EVENTS_COME(f.queue, { &f.stream, OUT }));
    CHECK_INT(poise_shutdown(f.server, SHUT_WR), 0);
    bool told = EVENTS_COME(f.queue, { &f.stream, hints_of_end() });
    close_fixture(&f);
    POINT(told);
}

/* ---- registering ------------------------------------------------------------------------------------------------- */

TEST(unix_stream, unix_stream_register)
{
    struct fixture f;
    open_fixture(&f, by_poise);
    CHECK_INT(poise_watch(f.queue, poise_fd(f.stream), IN | EDGE, &f.stream), 0);
    bool nothing = quiet(f.queue);
    close_fixture(&f);
    POINT(nothing);
}

TEST(unix_stream, unix_stream_reregister)
{
    struct fixture f;
    open_fixture(&f, by_poise);
    CHECK_INT(poise_watch(f.queue, poise_fd(f.stream), IN | EDGE, &f.stream), 0);
    CHECK_INT(poise_watch(f.queue, poise_fd(f.stream), OUT | EDGE, &f.stream), 0);
    bool came = EVENTS_COME(f.queue, { &f.stream, OUT });
    close_fixture(&f);
    POINT(came);
}

TEST(unix_stream, unix_stream_deregister)
{
    struct fixture f;
    open_fixture(&f, by_poise);
    CHECK_INT(poise_watch(f.queue, poise_fd(f.stream), OUT | EDGE, &f.stream), 0);
    CHECK_INT(poise_unwatch(f.queue, poise_fd(f.stream)), 0);
    bool nothing = quiet(f.queue);
    close_fixture(&f);
    POINT(nothing);
}

#endif
