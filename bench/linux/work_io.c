/* SPDX-License-Identifier: MIT
 *
 * The workloads with descriptors.
 */
#include "work.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STEP = 7919 }; /* a prime: how far apart pingpong's successive connections are */

static char *ends; /* a peer's structures: config.n of them, or what the workload needs */

static struct end *end_at(uint64_t i) { return (struct end *)(void *)(ends + i * peer_end_size); }

static void make_ends(uint64_t count)
{
    ends = zeroed(count, peer_end_size);
    for (uint64_t i = 0; i < count; i++) {
        end_at(i)->index = (uint32_t)i;
    }
}

/* Socketpairs: an end is the first of a pair and, in `to`, its second. */
static void make_pairs(uint64_t count)
{
    make_ends(count);
    for (uint64_t i = 0; i < count; i++) {
        int fds[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) {
            die("socketpair");
        }
        end_at(i)->fd = fds[0];
        end_at(i)->to = fds[1];
        peer_prepare(end_at(i));
    }
}

static void watch_all(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        peer_watch(end_at(i));
    }
}

static void put_byte(int fd)
{
    counts.writes++;
    if (write(fd, "x", 1) != 1) {
        die("write");
    }
}

/* Runs the clock until `count` ops are done. */
static void timed_run(uint64_t count)
{
    work = (struct progress){ .goal = count };
    clock_start();
    peer_run();
    clock_stop(work.done);
}

/* ---- chain ---- */

static void chain_event(struct end *end)
{
    char byte;
    counts.reads++;
    if (read(end->fd, &byte, 1) != 1) {
        die("read");
    }
    counts.writes++;
    if (write(end->to, &byte, 1) != 1) {
        die("write");
    }
    work.done++;
}

/* Reads to the end first, as with n=1 its own write would be the next to read. */
static void chain_drain_event(struct end *end)
{
    char bytes[64];
    size_t all = 0;
    ssize_t n;
    while (counts.reads++, (n = read(end->fd, bytes + all, sizeof bytes - all)) > 0) {
        all += (size_t)n;
    }
    if (n == 0 || errno != EAGAIN) {
        die("read");
    }
    if (config.edge) {
        peer_again(end);
    }
    counts.writes++;
    if (write(end->to, bytes, all) != (ssize_t)all) {
        die("write");
    }
    work.done += all;
}

static const char *chain_set_up(void)
{
    if (config.n == 0 || config.active == 0 || config.active > config.n || config.active > config.batch) {
        wrong("chain", "1 <= active <= n, active <= batch");
    }
    if (config.drain != 0 && config.n > 1 && config.n < 2 * config.active) {
        wrong("chain", "with drain=1: n >= 2 active, or n = 1");
    }
    work_event = config.drain != 0 ? chain_drain_event : chain_event;
    peer_open();
    make_pairs(config.n);
    int first = end_at(0)->to;
    for (uint64_t i = 0; i < config.n; i++) { /* from here on `to` leads to the next pair */
        end_at(i)->to = i + 1 < config.n ? end_at(i + 1)->to : first;
    }
    watch_all(config.n);
    for (uint64_t i = 0; i < config.active; i++) {
        uint64_t pair = i * (config.n / config.active);
        put_byte(end_at(pair > 0 ? pair - 1 : config.n - 1)->to);
    }
    timed_run(config.n + 4 * config.active + 1000);
    return NULL;
}

/* Nothing is lost, and with room between them no two bytes are in one pair: an edge might forget the second. */
static void chain_check(void)
{
    uint64_t all = 0;
    bool apart = config.n >= 2 * config.active;
    for (uint64_t i = 0; i < config.n; i++) {
        int here = 0;
        if (ioctl(end_at(i)->fd, FIONREAD, &here) != 0) {
            die("ioctl");
        }
        all += (uint64_t)here;
        if (apart && here > 1) {
            wrong("chain", "two bytes have met");
        }
    }
    if (all != config.active) {
        wrong("chain", "a byte is lost");
    }
}

/* ---- TCP ---- */

static struct sockaddr_in listening;

static int listen_here(int flags)
{
    socklen_t length = sizeof listening;
    listening = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&listening, length) != 0 || listen(fd, 128) != 0 ||
        getsockname(fd, (struct sockaddr *)&listening, &length) != 0) {
        die("listen");
    }
    return fd;
}

static int connect_there(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&listening, sizeof listening) != 0) {
        die("connect");
    }
    return fd;
}

static void no_delay(int fd)
{
    int yes = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) != 0) {
        die("setsockopt");
    }
}

static void non_blocking(int fd)
{
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
        die("fcntl");
    }
}

/* One blocking connection: fds[0] is the server's end. */
static void make_connection(int listener, int fds[2])
{
    fds[1] = connect_there();
    fds[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fds[0] < 0) {
        die("accept");
    }
    no_delay(fds[0]);
    no_delay(fds[1]);
}

static void pass_message(int fd)
{
    char message[4096];
    counts.reads++;
    if (read(fd, message, sizeof message) != (ssize_t)config.bytes) {
        die("a message came in parts, or not at all");
    }
    counts.writes++;
    if (write(fd, message, config.bytes) != (ssize_t)config.bytes) {
        die("write");
    }
}

/* ---- echo: the servers' ends are the even ones ---- */

static void echo_event(struct end *end)
{
    pass_message(end->fd);
    work.done += end->index % 2;
}

static void check_messages(void)
{
    if (config.n == 0 || config.bytes == 0) {
        wrong("n, bytes", "not 0");
    }
}

static const char *echo_set_up(void)
{
    check_messages();
    work_event = echo_event;
    peer_open();
    make_ends(2 * config.n);
    int listener = listen_here(0);
    for (uint64_t i = 0; i < config.n; i++) {
        int fds[2];
        make_connection(listener, fds);
        for (uint64_t side = 0; side < 2; side++) {
            struct end *end = end_at(2 * i + side);
            non_blocking(fds[side]);
            end->fd = fds[side];
            peer_prepare(end);
            peer_watch(end);
        }
    }
    (void)close(listener);
    char message[4096] = { 0 };
    for (uint64_t i = 0; i < config.n; i++) {
        if (write(end_at(2 * i + 1)->fd, message, config.bytes) != (ssize_t)config.bytes) {
            die("write");
        }
    }
    timed_run(4 * config.n + 1000);
    return NULL;
}

/* ---- pingpong ---- */

static int to_client;
static uint64_t step; /* from one connection to the next */

static void pingpong_event(struct end *end)
{
    pass_message(end->fd);
    work.done++;
}

/* The second process. It ends with its parent. */
static _Noreturn void be_client(int orders, const int *fds)
{
    char message[4096] = { 0 };
    uint64_t count;
    uint64_t at = 0;
    while (read(orders, &count, sizeof count) == sizeof count) {
        for (; count > 0; count--) {
            if (write(fds[at], message, config.bytes) != (ssize_t)config.bytes ||
                recv(fds[at], message, config.bytes, MSG_WAITALL) != (ssize_t)config.bytes) {
                _exit(1);
            }
            at += step;
            at -= at < config.n ? 0 : config.n;
        }
    }
    _exit(0);
}

static void start_client(int *fds)
{
    int orders[2];
    if (pipe2(orders, O_CLOEXEC) != 0) {
        die("pipe");
    }
    pid_t pid = fork();
    if (pid < 0) {
        die("fork");
    }
    if (pid == 0) {
        (void)close(orders[1]);
        for (uint64_t i = 0; i < config.n; i++) {
            (void)close(end_at(i)->fd);
        }
        be_client(orders[0], fds);
    }
    (void)close(orders[0]);
    to_client = orders[1];
    for (uint64_t i = 0; i < config.n; i++) {
        (void)close(fds[i]);
    }
}

static void pingpong_round(uint64_t count)
{
    work = (struct progress){ .goal = count };
    clock_start();
    if (write(to_client, &count, sizeof count) != sizeof count) {
        die("write");
    }
    peer_run();
    clock_stop(work.done);
}

static const char *pingpong_set_up(void)
{
    check_messages();
    if (config.n % STEP == 0) {
        wrong("pingpong", "n is a multiple of 7919");
    }
    step = STEP % config.n;
    pin_to_processor(0);
    work_event = pingpong_event;
    make_ends(config.n);
    int *clients = zeroed(config.n, sizeof *clients);
    int listener = listen_here(0);
    for (uint64_t i = 0; i < config.n; i++) {
        int fds[2];
        make_connection(listener, fds);
        end_at(i)->fd = fds[0];
        clients[i] = fds[1];
    }
    (void)close(listener);
    start_client(clients);
    free(clients);
    peer_open();
    for (uint64_t i = 0; i < config.n; i++) {
        non_blocking(end_at(i)->fd);
        peer_prepare(end_at(i));
        peer_watch(end_at(i));
    }
    return NULL;
}

/* ---- accept ---- */

enum {
    GENERATIONS = 4
}; /* an end is used again so many bursts later: libuv lets go of a handle a turn after its close */

static uint64_t next_end; /* the listener's is the last */

static void accept_connections(const struct end *listener)
{
    static const struct linger reset = { .l_onoff = 1, .l_linger = 0 };
    do {
        counts.reads++;
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN) {
                return;
            }
            die("accept");
        }
        if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) != 0) {
            die("setsockopt");
        }
        struct end *end = end_at(next_end);
        next_end = (next_end + 1) % (GENERATIONS * config.burst);
        end->fd = fd;
        peer_prepare(end);
        peer_watch(end);
    } while (config.edge);
}

static void accept_event(struct end *end)
{
    char byte;
    if (end->index == GENERATIONS * config.burst) {
        accept_connections(end);
        if (config.edge) {
            peer_again(end);
        }
        return;
    }
    counts.reads++;
    if (read(end->fd, &byte, 1) != 1) {
        die("read");
    }
    peer_unwatch(end);
    peer_release(end);
    (void)close(end->fd);
    work.done++;
}

static void accept_round(uint64_t count)
{
    int clients[100];
    const uint64_t burst = config.burst;
    work = (struct progress){ .goal = 0 };
    clock_start();
    while (work.done < count) {
        for (uint64_t i = 0; i < burst; i++) {
            clients[i] = connect_there();
            put_byte(clients[i]);
        }
        work.goal = work.done + burst;
        peer_run();
        for (uint64_t i = 0; i < burst; i++) {
            (void)close(clients[i]);
        }
    }
    clock_stop(work.done);
}

static const char *accept_set_up(void)
{
    if (config.burst == 0) {
        wrong("burst", "not 0");
    }
    work_event = accept_event;
    peer_open();
    make_ends(GENERATIONS * config.burst + 1);
    struct end *listener = end_at(GENERATIONS * config.burst);
    listener->fd = listen_here(SOCK_NONBLOCK);
    peer_prepare(listener);
    peer_watch(listener);
    return NULL;
}

/* ---- idle ---- */

static _Noreturn void no_event(struct end *end)
{
    (void)end;
    wrong("an event", "of a source that is not ready");
}

static const char *pool_set_up(void)
{
    if (config.n == 0) {
        wrong("n", "not 0");
    }
    work_event = no_event;
    peer_open();
    make_pairs(config.n);
    return NULL;
}

static const char *idle_set_up(void)
{
    (void)pool_set_up();
    watch_all(config.n);
    return NULL;
}

static void idle_round(uint64_t count)
{
    clock_start();
    for (uint64_t i = 0; i < count; i++) {
        peer_look();
    }
    clock_stop(count);
}

/* ---- changes ---- */

static uint64_t turn; /* whose it is */

static struct end *next_in_turn(void)
{
    struct end *end = end_at(turn);
    turn = turn + 1 < config.n ? turn + 1 : 0;
    return end;
}

static void churn_round(uint64_t count)
{
    clock_start();
    for (uint64_t i = 0; i < count; i++) {
        struct end *end = next_in_turn();
        peer_watch(end);
        if (config.look != 0) {
            peer_look();
        }
        peer_unwatch(end);
    }
    clock_stop(count);
}

static void pause_round(uint64_t count)
{
    clock_start();
    for (uint64_t i = 0; i < count; i++) {
        struct end *end = next_in_turn();
        peer_pause(end);
        if (config.look != 0) {
            peer_look();
        }
        peer_resume(end);
    }
    clock_stop(count);
}

static void oneshot_event(struct end *end)
{
    peer_rearm(end);
    work.done++;
}

static const char *oneshot_set_up(void)
{
    (void)pool_set_up();
    work_event = oneshot_event;
    for (uint64_t i = 0; i < config.n; i++) {
        put_byte(end_at(i)->to);
        peer_watch_once(end_at(i));
    }
    return NULL;
}

const struct workload io_workloads[] = {
    { .name = "chain",
      .keys = "n active drain ",
      .defaults = { .n = 100, .active = 1 },
      .set_up = chain_set_up,
      .round = timed_run,
      .check = chain_check },
    { .name = "echo",
      .keys = "n bytes ",
      .defaults = { .n = 100, .bytes = 64 },
      .set_up = echo_set_up,
      .round = timed_run },
    { .name = "pingpong",
      .keys = "n bytes ",
      .defaults = { .n = 100, .bytes = 64 },
      .set_up = pingpong_set_up,
      .round = pingpong_round,
      .warm_up = 1000 },
    { .name = "accept",
      .keys = "burst ",
      .defaults = { .burst = 16 },
      .set_up = accept_set_up,
      .round = accept_round,
      .warm_up = 200 },
    { .name = "idle",
      .keys = "n ",
      .defaults = { .n = 100 },
      .set_up = idle_set_up,
      .round = idle_round,
      .warm_up = 1000 },
    { .name = "churn",
      .keys = "n look ",
      .defaults = { .n = 1000 },
      .set_up = pool_set_up,
      .round = churn_round,
      .warm_up = 2000,
      .level_only = true },
    { .name = "pause",
      .keys = "n look ",
      .defaults = { .n = 1000 },
      .set_up = idle_set_up,
      .round = pause_round,
      .warm_up = 2000,
      .level_only = true },
    { .name = "oneshot",
      .keys = "n ",
      .defaults = { .n = 100 },
      .set_up = oneshot_set_up,
      .round = timed_run,
      .warm_up = 2000,
      .level_only = true },
    { .name = NULL },
};
