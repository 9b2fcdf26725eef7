/* poise/net.h: Unix sockets, pairs, pipes; under WASI, which has none, what is said there. */
#include "net_kit.h"

#include <stddef.h>

TEST(NET, unix_null)
{
    poise_address address, none;
    size_t length = 5;
    memset(&none, 0, sizeof none);
    CHECK_INT(poise_address_unix(NULL, "/x", 0), -EINVAL);
    CHECK_INT(poise_address_unix(&address, NULL, 0), -EINVAL);
    CHECK_INT(poise_address_unix(&address, NULL, 2), -EINVAL);
    CHECK_INT(poise_address_unix(&address, "", 0), -EINVAL);
    CHECK_INT(address.length, 0);
    CHECK(poise_address_path(&none, &length) == NULL);
    CHECK_INT(length, 0);
    CHECK(poise_address_path(NULL, NULL) == NULL);
    address = at(V4, 80);
    CHECK(poise_address_path(&address, &length) == NULL);
    CHECK_INT(length, 0);
    CHECK_INT(poise_unix_listen(NULL, 1), -EINVAL);
    CHECK_INT(poise_unix_listen(&none, 1), -EINVAL);
    CHECK_INT(poise_unix_listen(&address, 1), -EAFNOSUPPORT);
    CHECK_INT(poise_unix_connect(NULL), -EINVAL);
    CHECK_INT(poise_unix_connect(&none), -EINVAL);
    CHECK_INT(poise_unix_connect(&address), -EAFNOSUPPORT);
    CHECK_INT(poise_unix_bind(&none), -EINVAL);
    CHECK_INT(poise_unix_bind(&address), -EAFNOSUPPORT);
    CHECK_INT(poise_unix_pair(NULL, SOCK_STREAM), -EINVAL);
    CHECK_INT(poise_pipe(NULL), -EINVAL);
}

#ifdef __wasi__

TEST(NET, unix_under_wasi)
{
    struct sockaddr raw = { .sa_family = AF_UNIX };
    poise_address address;
    int fd[2] = { 7, 7 };
    CHECK_INT(poise_address_unix(&address, "/x", 0), -EAFNOSUPPORT);
    CHECK_INT(address.length, 0);
    CHECK_INT(poise_address_unix(&address, "\0x", 2), -EAFNOSUPPORT);
    CHECK_INT(poise_address_from(&address, &raw, sizeof raw), -EAFNOSUPPORT);
    memset(&address, 0, sizeof address); /* one that nobody gives */
    address.storage.ss_family = AF_UNIX;
    address.length = sizeof address.storage;
    CHECK_INT(poise_unix_listen(&address, 1), -EAFNOSUPPORT);
    CHECK_INT(poise_unix_connect(&address), -EAFNOSUPPORT);
    CHECK_INT(poise_unix_bind(&address), -EAFNOSUPPORT);
    CHECK_INT(poise_unix_bind(NULL), -EAFNOSUPPORT);
    CHECK_INT(poise_tcp_listen(&address, 1), -EAFNOSUPPORT);
    CHECK_INT(poise_unix_pair(fd, SOCK_STREAM), -ENOTSUP);
    CHECK(fd[0] == -1 && fd[1] == -1);
    CHECK_INT(poise_unix_pair(fd, SOCK_DGRAM), -ENOTSUP);
    fd[0] = fd[1] = 7;
    CHECK_INT(poise_pipe(fd), -ENOTSUP);
    CHECK(fd[0] == -1 && fd[1] == -1);
}

#else

#include <netinet/in.h>
#include <signal.h>
#include <sys/un.h>

/* ---- addresses --------------------------------------------------------------------------------------------------- */

static void check_name(const char *path, size_t length, size_t bytes, const char *text)
{
    poise_address address;
    char out[POISE_ADDRESS_TEXT];
    size_t n = 0;
    memset(&address, 0x55, sizeof address);
    CHECK_INT(poise_address_unix(&address, path, length), 0);
    const char *kept = poise_address_path(&address, &n);
    CHECK(kept != NULL && kept != path);
    CHECK_INT(n, bytes);
    CHECK(memcmp(kept, path, n) == 0 && kept[n] == '\0');
    CHECK(poise_address_path(&address, NULL) == kept);
    CHECK_INT(poise_address_format(&address, out, sizeof out), strlen(text));
    CHECK(strcmp(out, text) == 0);
    CHECK_INT(poise_address_format(&address, out, strlen(text)), -ENOSPC);
    CHECK_INT(poise_address_port(&address), 0);
    CHECK(poise_address_equal(&address, &address));
}

TEST(NET, unix_address)
{
    char longest[110], text[POISE_ADDRESS_TEXT];
    memset(longest, 'x', sizeof longest);
    CALL(check_name("/run/x", 0, 6, "unix:/run/x"));
    CALL(check_name("/run/x", 4, 4, "unix:/run"));
    CALL(check_name("@x", 0, 2, "unix:@x"));
    CALL(check_name("\0x", 2, 2, "unix:@x"));
    CALL(check_name("\0x\0y", 4, 4, "unix:@x@y"));
    CALL(check_name("\0", 1, 1, "unix:@"));
    snprintf(text, sizeof text, "unix:%.108s", longest);
    CALL(check_name(longest, 108, 108, text));
    text[strlen(text) - 1] = '\0';
    CALL(check_name(longest, 107, 107, text));
    longest[0] = '\0';
    snprintf(text, sizeof text, "unix:@%.107s", longest + 1);
    CALL(check_name(longest, 108, 108, text));
}

TEST(NET, unix_address_errors)
{
    char longest[110];
    poise_address address;
    memset(longest, 'x', sizeof longest);
    CHECK_INT(poise_address_unix(&address, longest, 109), -ENAMETOOLONG);
    CHECK_INT(address.length, 0);
    longest[109] = '\0';
    CHECK_INT(poise_address_unix(&address, longest, 0), -ENAMETOOLONG);
    longest[0] = '\0';
    CHECK_INT(poise_address_unix(&address, longest, 109), -ENAMETOOLONG);
    CHECK_INT(poise_address_unix(&address, "/x\0y", 4), -EINVAL);
    CHECK_INT(poise_address_unix(&address, "/x", 3), -EINVAL); /* its zero is none of its bytes */
    CHECK_INT(address.length, 0);
}

TEST(NET, unix_address_equal)
{
    poise_address a, b, c, d, e, ipv4 = at(V4, 80), none;
    memset(&none, 0, sizeof none);
    MUST(poise_address_unix(&a, "/x", 0) == 0 && poise_address_unix(&b, "/x/", 2) == 0);
    MUST(poise_address_unix(&c, "/y", 0) == 0 && poise_address_unix(&d, "@x", 0) == 0);
    MUST(poise_address_unix(&e, "\0x", 2) == 0);
    CHECK(poise_address_equal(&a, &b));
    CHECK(!poise_address_equal(&a, &c));
    CHECK(!poise_address_equal(&d, &e));
    CHECK(!poise_address_equal(&a, &none) && !poise_address_equal(&none, &e));
    CHECK(!poise_address_equal(&a, &ipv4) && !poise_address_equal(&ipv4, &a));
    MUST(poise_address_unix(&b, "/x/", 3) == 0);
    CHECK(!poise_address_equal(&a, &b)); /* of names, not of what they lead to */
}

TEST(NET, unix_address_from)
{
    enum { PATH = offsetof(struct sockaddr_un, sun_path) };
    struct sockaddr_un raw = { .sun_family = AF_UNIX, .sun_path = "/x" };
    const struct sockaddr *from = (const struct sockaddr *)&raw;
    poise_address address, expected;
    MUST(poise_address_unix(&expected, "/x", 0) == 0);
    CHECK_INT(poise_address_from(&address, from, sizeof raw), 0);
    CHECK(poise_address_equal(&address, &expected));
    CHECK_INT(address.length, PATH + 3);
    CHECK_INT(poise_address_from(&address, from, PATH + 3), 0);
    CHECK(poise_address_equal(&address, &expected));
    CHECK_INT(poise_address_from(&address, from, PATH + 2), 0);
    CHECK(poise_address_equal(&address, &expected));
    CHECK_INT(poise_address_from(&address, from, PATH), -EINVAL);
    CHECK_INT(poise_address_from(&address, from, 1), -EINVAL);
    CHECK_INT(address.length, 0);
    raw.sun_path[0] = '\0';
    MUST(poise_address_unix(&expected, "\0x", 2) == 0);
    CHECK_INT(poise_address_from(&address, from, PATH + 2), 0);
    CHECK(poise_address_equal(&address, &expected));
    CHECK_INT(address.length, PATH + 2);
    struct sockaddr_storage big = { .ss_family = AF_UNIX };
    CHECK_INT(poise_address_from(&address, (struct sockaddr *)&big, sizeof big), -ENAMETOOLONG);
    memset((char *)&big + PATH, 'x', 108);
    CHECK_INT(poise_address_from(&address, (struct sockaddr *)&big, sizeof big), 0);
    CHECK_INT(address.length, PATH + 108);
}

/* Made of what is within it: its own path, the file's name alone, and itself. */
TEST(NET, unix_address_from_itself)
{
    poise_address address, whole, name;
    size_t length;
    MUST(poise_address_unix(&whole, "/run/x", 0) == 0 && poise_address_unix(&name, "x", 0) == 0);
    address = whole;
    const char *path = poise_address_path(&address, &length);
    CHECK_INT(poise_address_unix(&address, path, length), 0);
    CHECK(poise_address_equal(&address, &whole));
    CHECK_INT(poise_address_unix(&address, path, 0), 0);
    CHECK(poise_address_equal(&address, &whole));
    CHECK_INT(poise_address_from(&address, (struct sockaddr *)&address.storage, address.length), 0);
    CHECK(poise_address_equal(&address, &whole));
    CHECK_INT(poise_address_unix(&address, strrchr(path, '/') + 1, 0), 0);
    CHECK(poise_address_equal(&address, &name));
    MUST(poise_address_unix(&whole, "\0x", 2) == 0);
    address = whole;
    CHECK_INT(poise_address_unix(&address, poise_address_path(&address, NULL), 2), 0);
    CHECK(poise_address_equal(&address, &whole));
    CHECK_INT(poise_address_from(&address, (struct sockaddr *)&address.storage, address.length), 0);
    CHECK(poise_address_equal(&address, &whole));
}

/* ---- streams ----------------------------------------------------------------------------------------------------- */

static void check_stream(const poise_address *there)
{
    poise_address address;
    char bytes[8];
    int listener = poise_unix_listen(there, 0);
    CHECK(listener >= 0);
    CALL(check_flags(listener));
    CHECK_INT(poise_tcp_accept(listener, &address), -EAGAIN);
    CHECK_INT(poise_local_address(listener, &address), 0);
    CHECK(poise_address_equal(&address, there));
    CHECK_INT(poise_peer_address(listener, &address), -ENOTCONN);

    int client = poise_unix_connect(there);
    CHECK(client >= 0);
    CALL(check_flags(client));
    CHECK_INT(poise_tcp_connect_result(client), 0);
    CHECK(wait_fd(listener, POISE_READABLE) == POISE_READABLE);
    memset(&address, 0x55, sizeof address);
    int server = poise_tcp_accept(listener, &address);
    CHECK(server >= 0);
    CHECK_INT(address.length, 0); /* the client has no name */
    CALL(check_flags(server));
    CHECK_INT(poise_local_address(server, &address), 0);
    CHECK(poise_address_equal(&address, there));
    CHECK_INT(poise_peer_address(client, &address), 0);
    CHECK(poise_address_equal(&address, there));
    memset(&address, 0x55, sizeof address);
    CHECK_INT(poise_local_address(client, &address), 0);
    CHECK_INT(address.length, 0);
    memset(&address, 0x55, sizeof address);
    CHECK_INT(poise_peer_address(server, &address), 0);
    CHECK_INT(address.length, 0);

    CHECK_INT(poise_send(client, "hello", 5), 5);
    CHECK(wait_fd(server, POISE_READABLE) == POISE_READABLE);
    memset(&address, 0x55, sizeof address);
    CHECK_INT(poise_recv_from(server, bytes, sizeof bytes, &address), 5);
    CHECK(memcmp(bytes, "hello", 5) == 0);
    CHECK_INT(address.length, 0);
    CHECK_INT(poise_recv(server, bytes, sizeof bytes), -EAGAIN);
    CHECK_INT(poise_shutdown(client, SHUT_WR), 0);
    CHECK_INT(poise_recv(server, bytes, sizeof bytes), 0);
    CHECK_INT(poise_send(client, "x", 1), -EPIPE);
    CHECK_INT(poise_send(server, "hi", 2), 2);
    CHECK_INT(poise_recv(client, bytes, sizeof bytes), 2);
    CHECK_INT(poise_socket_error(client), 0);
    close(client);
    close(server);
    close(listener);
}

TEST(NET, unix_stream)
{
    open_folder();
    poise_address there = named("a");
    CALL(check_stream(&there));
    CHECK_INT(poise_unix_listen(&there, 0), -EADDRINUSE); /* the path is still there */
    CHECK_INT(unlink(in_folder("a")), 0);
    CALL(check_stream(&there));
    close_folder();
}

/* Linux alone: nothing is left behind, and the name is free at once. */
TEST(NET, unix_stream_abstract)
{
    char name[64] = "";
    poise_address there;
    int length = snprintf(name + 1, sizeof name - 1, "poise-%d-%llu", (int)getpid(), (unsigned long long)poise_now());
    MUST(poise_address_unix(&there, name, (size_t)length + 1) == 0);
    CALL(check_stream(&there));
    CALL(check_stream(&there));
    int listener = poise_unix_listen(&there, 1);
    CHECK(listener >= 0);
    CHECK_INT(poise_unix_listen(&there, 1), -EADDRINUSE);
    close(listener);
    CHECK_INT(poise_unix_connect(&there), -ECONNREFUSED);
}

/* A path of 108 bytes has no zero behind it in the kernel's structure. */
TEST(NET, unix_longest_path)
{
    char path[128];
    poise_address there;
    open_folder();
    int length = snprintf(path, sizeof path, "%s/", folder);
    memset(path + length, 'a', sizeof path - (size_t)length);
    MUST(poise_address_unix(&there, path, 108) == 0);
    CALL(check_stream(&there));
    path[108] = '\0';
    CHECK_INT(unlink(path), 0);
    close_folder();
}

TEST(NET, unix_listen_errors)
{
    open_folder();
    poise_address there = named("a"), deeper = named("a/b"), nowhere = named("none/b");
    struct rlimit before;
    int listener = poise_unix_listen(&there, 1);
    CHECK(listener >= 0);
    CHECK_INT(poise_unix_listen(&deeper, 1), -ENOTDIR);
    CHECK_INT(poise_unix_listen(&nowhere, 1), -ENOENT);
    CHECK_INT(poise_tcp_listen(&there, 1), -EAFNOSUPPORT);
    CHECK_INT(poise_tcp_connect(&there), -EAFNOSUPPORT);
    CHECK_INT(poise_udp_bind(&there), -EAFNOSUPPORT);
    int pair[2];
    no_more_descriptors(&before);
    int result[5] = { poise_unix_listen(&nowhere, 1), poise_unix_connect(&there), poise_unix_bind(NULL),
                      poise_unix_pair(pair, SOCK_STREAM), poise_pipe(pair) };
    setrlimit(RLIMIT_NOFILE, &before);
    for (int i = 0; i < 5; i++)
        CHECK_INT(result[i], -EMFILE);
    CHECK(pair[0] == -1 && pair[1] == -1);
    close(listener);
    close_folder();
}

TEST(NET, unix_connect_errors)
{
    open_folder();
    poise_address there = named("a"), nowhere = named("none"), datagrams = named("b");
    char byte;
    int listener = poise_unix_listen(&there, 1), datagram = poise_unix_bind(&datagrams), fd[8], n = 0;
    CHECK(listener >= 0 && datagram >= 0);
    CHECK_INT(poise_unix_connect(&nowhere), -ENOENT);
    CHECK_INT(poise_unix_connect(&datagrams), -EPROTOTYPE);
    while (n < 8 && (fd[n] = poise_unix_connect(&there)) >= 0)
        n++;
    CHECK_RANGE(n, 1, 7);
    CHECK_INT(fd[n], -EAGAIN); /* the backlog is full */
    int server = poise_tcp_accept(listener, NULL);
    CHECK(server >= 0);
    fd[n] = poise_unix_connect(&there);
    CHECK(fd[n++] >= 0);
    close(listener);
    CHECK_INT(poise_unix_connect(&there), -ECONNREFUSED); /* the path alone is still there */
    CHECK_INT(poise_recv(fd[n - 1], &byte, 1), -ECONNRESET);
    close(server);
    close(datagram);
    while (n > 0)
        close(fd[--n]);
    close_folder();
}

/* ---- datagrams --------------------------------------------------------------------------------------------------- */

TEST(NET, unix_datagrams)
{
    open_folder();
    poise_address there = named("a"), here = named("b"), from;
    char bytes[8];
    int a = poise_unix_bind(&there), b = poise_unix_bind(&here), unnamed = poise_unix_bind(NULL);
    CHECK(a >= 0 && b >= 0 && unnamed >= 0);
    CALL(check_flags(a));
    CALL(check_flags(unnamed));
    CHECK_INT(poise_local_address(a, &from), 0);
    CHECK(poise_address_equal(&from, &there));
    CHECK_INT(poise_local_address(unnamed, &from), 0);
    CHECK_INT(from.length, 0);
    CHECK_INT(poise_recv_from(a, bytes, sizeof bytes, &from), -EAGAIN);

    CHECK_INT(poise_send_to(b, "one", 3, &there), 3);
    CHECK_INT(poise_send_to(unnamed, "two", 3, &there), 3);
    CHECK_INT(poise_send_to(b, NULL, 0, &there), 0);
    CHECK(wait_fd(a, POISE_READABLE) == POISE_READABLE);
    CHECK_INT(poise_recv_from(a, bytes, sizeof bytes, &from), 3);
    CHECK(memcmp(bytes, "one", 3) == 0 && poise_address_equal(&from, &here));
    CHECK_INT(poise_recv_from(a, bytes, sizeof bytes, &from), 3);
    CHECK(memcmp(bytes, "two", 3) == 0);
    CHECK_INT(from.length, 0);
    CHECK_INT(poise_send_to(a, "x", 1, &from), -EINVAL); /* nobody to answer */
    CHECK_INT(poise_recv_from(a, bytes, sizeof bytes, &from), 0);
    CHECK(poise_address_equal(&from, &here));

    CHECK_INT(poise_peer_address(b, &from), -ENOTCONN);
    CHECK_INT(poise_send(b, "x", 1), -ENOTCONN);
    CHECK_INT(poise_udp_connect(b, &there), 0);
    CHECK_INT(poise_peer_address(b, &from), 0);
    CHECK(poise_address_equal(&from, &there));
    CHECK_INT(poise_send(b, "three", 5), 5);
    CHECK_INT(poise_recv(a, bytes, 2), 2); /* the rest of it is lost */
    CHECK_INT(poise_recv(a, bytes, sizeof bytes), -EAGAIN);
    close(a);
    close(b);
    close(unnamed);
    close_folder();
}

/* The peer's queue is full: only of a connected socket does the kernel tell when it has room again. */
TEST(NET, unix_datagram_room)
{
    open_folder();
    poise_address there = named("a");
    char byte;
    int to = poise_unix_bind(&there), connected_one = poise_unix_bind(NULL), other = poise_unix_bind(NULL), n = 0;
    CHECK(to >= 0 && connected_one >= 0 && other >= 0);
    CHECK_INT(poise_udp_connect(connected_one, &there), 0);
    while (n < 100000 && poise_send(connected_one, "x", 1) == 1)
        n++;
    CHECK_INT(poise_send(connected_one, "x", 1), -EAGAIN);
    CHECK_INT(poise_send_to(other, "x", 1, &there), -EAGAIN);
    poise *queue = open_queue();
    CHECK_INT(poise_watch(queue, poise_fd(connected_one), POISE_WRITABLE, &connected_one), 0);
    CHECK(silent(queue, &connected_one, 20 * MS));
    CHECK_INT(poise_watch(queue, poise_fd(other), POISE_WRITABLE, &other), 0);
    CHECK((wait_for(queue, &other) & POISE_WRITABLE) != 0);
    CHECK_INT(poise_unwatch(queue, poise_fd(other)), 0);
    CHECK_INT(poise_send_to(other, "x", 1, &there), -EAGAIN);
    while (poise_recv(to, &byte, 1) == 1)
        n--;
    CHECK_INT(n, 0);
    CHECK((wait_for(queue, &connected_one) & POISE_WRITABLE) != 0);
    CHECK_INT(poise_send(connected_one, "x", 1), 1);
    poise_close(queue);
    close(to);
    close(connected_one);
    close(other);
    close_folder();
}

TEST(NET, unix_datagram_errors)
{
    open_folder();
    poise_address there = named("a"), here = named("b"), nowhere = named("none"), stream = named("c"), ipv4 = at(V4, 9);
    int a = poise_unix_bind(&there), b = poise_unix_bind(&here), listener = poise_unix_listen(&stream, 1);
    CHECK(a >= 0 && b >= 0 && listener >= 0);
    CHECK_INT(poise_unix_bind(&there), -EADDRINUSE);
    CHECK_INT(poise_send_to(b, "x", 1, &nowhere), -ENOENT);
    CHECK_INT(poise_send_to(b, "x", 1, &stream), -EPROTOTYPE);
    CHECK_INT(poise_udp_connect(b, &nowhere), -ENOENT);
    CHECK_INT(poise_udp_connect(b, &stream), -EPROTOTYPE);
    CHECK(poise_udp_connect(b, &ipv4) < 0);
    int unnamed = poise_unix_bind(NULL);
    CHECK_INT(poise_udp_connect(a, &here), 0); /* from now on it takes from there alone */
    CHECK_INT(poise_send_to(unnamed, "x", 1, &there), -EPERM);
    CHECK_INT(poise_udp_connect(unnamed, &there), -EPERM);
    close(a);
    CHECK_INT(poise_send_to(b, "x", 1, &there), -ECONNREFUSED);
    close(b);
    close(unnamed);
    close(listener);
    close_folder();
}

/* ---- pairs and pipes --------------------------------------------------------------------------------------------- */

TEST(NET, pair_of_streams)
{
    int fd[2];
    char bytes[8];
    poise_address address;
    CHECK_INT(poise_unix_pair(fd, SOCK_STREAM), 0);
    CALL(check_flags(fd[0]));
    CALL(check_flags(fd[1]));
    CHECK_INT(poise_recv(fd[0], bytes, sizeof bytes), -EAGAIN);
    CHECK_INT(poise_send(fd[0], "ab", 2), 2);
    CHECK_INT(poise_send(fd[0], "cd", 2), 2);
    CHECK_INT(poise_recv(fd[1], bytes, sizeof bytes), 4); /* a stream has no pieces */
    CHECK_INT(poise_send(fd[1], "e", 1), 1);
    CHECK_INT(poise_recv(fd[0], bytes, sizeof bytes), 1);
    CHECK_INT(poise_peer_address(fd[0], &address), 0);
    CHECK_INT(address.length, 0);
    close(fd[1]);
    CHECK_INT(poise_recv(fd[0], bytes, sizeof bytes), 0);
    CHECK_INT(poise_send(fd[0], "x", 1), -EPIPE);
    close(fd[0]);
}

TEST(NET, pair_of_datagrams)
{
    int fd[2];
    char bytes[8];
    CHECK_INT(poise_unix_pair(fd, SOCK_DGRAM), 0);
    CALL(check_flags(fd[0]));
    CALL(check_flags(fd[1]));
    CHECK_INT(poise_send(fd[0], "ab", 2), 2);
    CHECK_INT(poise_send(fd[0], "", 0), 0);
    CHECK_INT(poise_recv(fd[1], bytes, sizeof bytes), 2);
    CHECK_INT(poise_recv(fd[1], bytes, sizeof bytes), 0);
    CHECK_INT(poise_recv(fd[1], bytes, sizeof bytes), -EAGAIN);
    close(fd[1]);
    CHECK_INT(poise_send(fd[0], "x", 1), -ECONNREFUSED);
    close(fd[0]);
}

TEST(NET, pair_of_another_type)
{
    static const int types[] = { 0, -1, 12345, SOCK_RAW, SOCK_STREAM | SOCK_NONBLOCK };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        int fd[2] = { 7, 7 };
        CHECK_INT(poise_unix_pair(fd, types[i]), -EINVAL);
        CHECK(fd[0] == -1 && fd[1] == -1);
    }
}

TEST(NET, pipe)
{
    int fd[2];
    char bytes[8];
    CHECK_INT(poise_pipe(fd), 0);
    CALL(check_flags(fd[0]));
    CALL(check_flags(fd[1]));
    CHECK(read(fd[0], bytes, sizeof bytes) == -1 && errno == EAGAIN);
    CHECK_INT(write(fd[1], "hello", 5), 5);
    CHECK(wait_fd(fd[0], POISE_READABLE) == POISE_READABLE);
    CHECK_INT(read(fd[0], bytes, sizeof bytes), 5);
    CHECK_INT(poise_send(fd[1], "x", 1), -ENOTSOCK);
    CHECK_INT(poise_recv(fd[0], bytes, 1), -ENOTSOCK);
    close(fd[1]);
    CHECK_INT(read(fd[0], bytes, sizeof bytes), 0);
    close(fd[0]);
}

static volatile sig_atomic_t pipes;
static void count_pipe(int number) { pipes += number == SIGPIPE; }

TEST(G20, no_sigpipe_unix)
{
    struct sigaction count = { .sa_handler = count_pipe }, before;
    int stream[2], datagram[2];
    pipes = 0;
    CHECK_INT(sigaction(SIGPIPE, &count, &before), 0);
    CHECK_INT(poise_unix_pair(stream, SOCK_STREAM), 0);
    CHECK_INT(poise_unix_pair(datagram, SOCK_DGRAM), 0);
    close(stream[1]);
    ptrdiff_t after_close = poise_send(stream[0], "x", 1);
    int shut = poise_shutdown(datagram[0], SHUT_RDWR);
    ptrdiff_t after_shutdown = poise_send(datagram[0], "x", 1), beside = poise_send(datagram[1], "x", 1);
    sigaction(SIGPIPE, &before, NULL);
    CHECK_INT(after_close, -EPIPE);
    CHECK_INT(shut, 0);
    CHECK_INT(after_shutdown, -EPIPE);
    CHECK_INT(beside, -EPIPE);
    CHECK_INT(pipes, 0);
    close(stream[0]);
    close(datagram[0]);
    close(datagram[1]);
}

#endif
