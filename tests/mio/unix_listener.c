/* mio's tests/unix_listener.rs. mio's thread that connects is a call in between: it does not block. */
#include "kit.h"

#ifdef __wasi__

TEST(unix_listener, unix_listener_smoke) { SKIP("WASI has no Unix sockets"); }
TEST(unix_listener, unix_listener_from_std) { SKIP("WASI has no Unix sockets"); }
TEST(unix_listener, unix_listener_local_addr) { SKIP("WASI has no Unix sockets"); }
TEST(unix_listener, unix_listener_register) { SKIP("WASI has no Unix sockets"); }
TEST(unix_listener, unix_listener_reregister) { SKIP("WASI has no Unix sockets"); }
TEST(unix_listener, unix_listener_deregister) { SKIP("WASI has no Unix sockets"); }
TEST(unix_listener, unix_listener_abstract_namespace) { SKIP("WASI has no Unix sockets"); }

#else

#include <sys/un.h>

/* A queue, and a listener in a folder of its own. */
struct fixture {
    poise *queue;
    poise_address there;
    int listener;
};

static int by_poise(const poise_address *there) { return poise_unix_listen(there, 0); }

/* A listener of other origin, made non-blocking afterwards. */
static int by_libc(const poise_address *there)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(fd >= 0 && bind(fd, (const struct sockaddr *)&there->storage, there->length) == 0 && listen(fd, 8) == 0);
    set_nonblocking(fd);
    return fd;
}

static void open_fixture(struct fixture *f, int (*listen_at_it)(const poise_address *))
{
    open_folder();
    f->queue = open_queue();
    f->there = named("a");
    f->listener = listen_at_it(&f->there);
    MUST(f->listener >= 0);
}

static void close_fixture(struct fixture *f)
{
    poise_close(f->queue);
    close(f->listener);
    close_folder();
}

static void smoke(int (*listen_at_it)(const poise_address *))
{
    struct fixture f;
    char byte;
    open_fixture(&f, listen_at_it);
    CALL(check_flags(f.listener));
    CHECK_INT(poise_watch(f.queue, poise_fd(f.listener), BOTH | EDGE, &f.listener), 0);
    CHECK(quiet(f.queue));
    int client = poise_unix_connect(&f.there);
    CHECK(client >= 0);
    bool came = EVENTS_COME(f.queue, { &f.listener, IN });
    int server = poise_tcp_accept(f.listener, NULL);
    CHECK(server >= 0);
    CHECK_INT(poise_recv(server, &byte, 1), -EAGAIN);
    CHECK_INT(poise_tcp_accept(f.listener, NULL), -EAGAIN);
    CHECK_INT(poise_socket_error(f.listener), 0);
    close(client);
    close(server);
    close_fixture(&f);
    POINT(came);
}

TEST(unix_listener, unix_listener_smoke) { CALL(smoke(by_poise)); }
TEST(unix_listener, unix_listener_from_std) { CALL(smoke(by_libc)); }

TEST(unix_listener, unix_listener_local_addr)
{
    struct fixture f;
    poise_address own, peer;
    open_fixture(&f, by_poise);
    CHECK_INT(poise_watch(f.queue, poise_fd(f.listener), BOTH | EDGE, &f.listener), 0);
    int client = poise_unix_connect(&f.there);
    CHECK(client >= 0);
    CHECK(EVENTS_COME(f.queue, { &f.listener, IN }));
    int server = poise_tcp_accept(f.listener, &peer);
    CHECK(server >= 0);
    CHECK_INT(poise_local_address(server, &own), 0);
    close(client);
    close(server);
    close_fixture(&f);
    CHECK_INT(peer.length, 0); /* the client has no name */
    POINT(poise_address_equal(&own, &f.there));
}

TEST(unix_listener, unix_listener_register)
{
    struct fixture f;
    open_fixture(&f, by_poise);
    CHECK_INT(poise_watch(f.queue, poise_fd(f.listener), IN | EDGE, &f.listener), 0);
    bool nothing = quiet(f.queue);
    close_fixture(&f);
    POINT(nothing);
}

/* A listener is never writable; the connection that waits is reported once it is asked for. */
TEST(unix_listener, unix_listener_reregister)
{
    struct fixture f;
    open_fixture(&f, by_poise);
    CHECK_INT(poise_watch(f.queue, poise_fd(f.listener), OUT | EDGE, &f.listener), 0);
    int client = poise_unix_connect(&f.there);
    CHECK(client >= 0);
    CHECK(quiet(f.queue));
    CHECK_INT(poise_watch(f.queue, poise_fd(f.listener), IN | EDGE, &f.listener), 0);
    bool came = EVENTS_COME(f.queue, { &f.listener, IN });
    close(client);
    close_fixture(&f);
    POINT(came);
}

TEST(unix_listener, unix_listener_deregister)
{
    struct fixture f;
    open_fixture(&f, by_poise);
    CHECK_INT(poise_watch(f.queue, poise_fd(f.listener), IN | EDGE, &f.listener), 0);
    int client = poise_unix_connect(&f.there);
    CHECK(client >= 0);
    CHECK_INT(poise_unwatch(f.queue, poise_fd(f.listener)), 0);
    bool nothing = quiet(f.queue);
    int server = poise_tcp_accept(f.listener, NULL); /* it has been there all the time */
    CHECK(server >= 0);
    close(client);
    close(server);
    close_fixture(&f);
    POINT(nothing);
}

/* A name that is in no folder. */
TEST(unix_listener, unix_listener_abstract_namespace)
{
    char name[64] = "";
    poise_address there, told, peer;
    int length = snprintf(name + 1, sizeof name - 1, "poise-%d-%llu", (int)getpid(), (unsigned long long)poise_now());
    CHECK_INT(poise_address_unix(&there, name, (size_t)length + 1), 0);
    poise *queue = open_queue();
    int listener = poise_unix_listen(&there, 0);
    CHECK(listener >= 0);
    CHECK_INT(poise_local_address(listener, &told), 0);
    CHECK(poise_address_equal(&told, &there));
    CHECK_INT(poise_watch(queue, poise_fd(listener), BOTH | EDGE, &listener), 0);
    CHECK(quiet(queue));
    int client = poise_unix_connect(&told);
    CHECK(client >= 0);
    bool came = EVENTS_COME(queue, { &listener, IN });
    int server = poise_tcp_accept(listener, &peer);
    CHECK(server >= 0);
    poise_close(queue);
    close(client);
    close(server);
    close(listener);
    CHECK_INT(peer.length, 0); /* the client has no name */
    POINT(came);
}

#endif
