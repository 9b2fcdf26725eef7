/* Pairs of sockets within the component, or connections to the native helper; reads and writes, counted. */
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BACKLOG = 128, REST_NS = 50000000, QUIET_NS = 20000000 };

static int *watched, *written; /* of each source */
static int orders = -1;

static struct sockaddr_in address(const char *text, long port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    if (inet_pton(AF_INET, text, &address.sin_addr) != 1)
        die("address");
    return address;
}

static int tcp_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        die("socket");
    return fd;
}

static int connected_to(const struct sockaddr_in *where)
{
    int fd = tcp_socket();
    if (connect(fd, (const struct sockaddr *)where, sizeof *where) != 0)
        die("connect");
    return fd;
}

static void set_nonblocking(int fd)
{
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        die("fcntl");
}

static void source_open(uint32_t source, int watch, int write, short events)
{
    watched[source] = watch;
    written[source] = write;
    set_nonblocking(watch);
    set_nonblocking(write);
    waiter_add(source, events == POLLOUT ? write : watch, events);
}

static void sources_open(void)
{
    watched = room_for((size_t)settings.n, sizeof *watched);
    written = room_for((size_t)settings.n, sizeof *written);
}

static int bound(int type)
{
    struct sockaddr_in where = address(settings.address, 0);
    int fd = socket(AF_INET, type, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&where, sizeof where) != 0 ||
        (type == SOCK_STREAM && listen(fd, BACKLOG) != 0))
        die("bind");
    return fd;
}

void make_bound(int type)
{
    sources_open();
    for (uint32_t i = 0; i < (uint32_t)settings.n; i++) {
        int fd = bound(type);
        source_open(i, fd, fd, POLLIN);
    }
}

void make_pairs(short events)
{
    struct sockaddr_in where;
    socklen_t size = sizeof where;
    int listener = bound(SOCK_STREAM);
    if (getsockname(listener, (struct sockaddr *)&where, &size) != 0)
        die("getsockname");
    sources_open();
    for (uint32_t i = 0; i < (uint32_t)settings.n; i++) {
        int connected = connected_to(&where);
        int accepted = accept(listener, NULL, NULL);
        if (accepted < 0)
            die("accept");
        source_open(i, accepted, connected, events);
    }
}

void connect_helper(void)
{
    struct sockaddr_in where = address("127.0.0.1", settings.port);
    sources_open();
    orders = connected_to(&where);
    set_nonblocking(orders);
    for (uint32_t i = 0; i < (uint32_t)settings.n; i++) {
        int fd = connected_to(&where);
        source_open(i, fd, fd, POLLIN);
    }
}

int reader_of(uint32_t source) { return watched[source]; }
int writer_of(uint32_t source) { return written[source]; }

static void send_all(int fd, const void *bytes, size_t size)
{
    for (;;) {
        ssize_t n = send(fd, bytes, size, 0);
        if (n == (ssize_t)size) {
            figures.writes++;
            return;
        }
        if (n >= 0 || errno != EAGAIN)
            die("send");
        figures.again++;
        struct pollfd room = { .fd = fd, .events = POLLOUT };
        (void)poll(&room, 1, -1);
    }
}

void write_to(uint32_t source, const void *bytes, size_t size) { send_all(written[source], bytes, size); }
void order(const void *bytes, size_t size) { send_all(orders, bytes, size); }

static long read_once(uint32_t source, char *bytes, size_t size)
{
    ssize_t n = recv(watched[source], bytes, size, 0);
    figures.reads++;
    if (n == 0 || (n < 0 && errno != EAGAIN))
        die("recv");
    return n;
}

long read_of(uint32_t source, char bytes[MOST_READ])
{
    long n = read_once(source, bytes, MOST_READ);
    for (long more = n; settings.drain && more > 0 && n < MOST_READ;) {
        more = read_once(source, bytes + n, MOST_READ - (size_t)n);
        n += more > 0 ? more : 0;
    }
    return n;
}

/* On wasmtime 48 an accepted socket is reported readable once, with nothing to read. */
void drop_what_came(uint32_t *ready)
{
    char bytes[MOST_READ];
    for (int times = 0; times < 3; times++) {
        for (uint32_t i = 0; i < (uint32_t)settings.n; i++)
            (void)read_once(i, bytes, sizeof bytes);
        struct timespec time = { .tv_nsec = REST_NS };
        (void)nanosleep(&time, NULL);
    }
    for (int quiet = 0; quiet < 2;) {
        uint32_t n = waiter_wait(QUIET_NS, ready);
        for (uint32_t i = 0; i < n; i++)
            (void)read_once(ready[i], bytes, sizeof bytes);
        quiet = n == 0 ? quiet + 1 : 0;
    }
}
