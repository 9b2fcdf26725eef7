/* SPDX-License-Identifier: MIT
 *
 * The model test: random sequences of all operations, checked against a model that knows the promises G1 to G18.
 *
 *   model --backend B [--seed N] [--steps N] [--trace]
 *
 * In four parts, from the bottom up:
 *   the world      descriptors and what the operating system or host says of them
 *   the model      what a program was promised: registrations, timers and wakers of two queues
 *   the checker    drives poise_wait and poise_next and compares what comes out with the model
 *   the generator  a table of operations with weights, from which the seed picks
 *
 * Each registration, timer and waker has a data value of its own, a new one whenever it is watched, started or opened
 * again, so any event that is stale in the sense of G5 names a value that the model no longer knows.
 *
 * Whether a condition holds is asked of poll(2) natively. A component cannot ask without disturbing what is tested, so
 * there the world keeps account of what was written and read, and says "unknown" where that is not enough: a condition
 * that holds must be reported, one that does not hold must not (but for a few spurious events, which are counted), and
 * of an unknown one anything may be said.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* POLLRDHUP */
#endif
#include <poise/poise.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifdef __wasi__
enum { ON_WASI = 1 };
#else
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
enum { ON_WASI = 0 };
#endif

enum {
    DIRECTIONS = POISE_READABLE | POISE_WRITABLE | POISE_PRIORITY,
    CLOSINGS = POISE_ERROR | POISE_READ_CLOSED | POISE_WRITE_CLOSED,
    NUMBERS = 128, /* descriptor numbers that the test looks at */
    MANY = 56,     /* open descriptors at most: few, so that a step is fast and numbers are reused often */
    QUEUES = 2,
    TIMERS = 16,
    WAKERS = 6,
    ON_THE_WAY = 4096, /* bytes to one socket: where the world keeps account, room is certain below this */
    WINDOW = 1000,     /* spurious events are bounded in each window of so many steps */
};

static const uint64_t MS = 1000000;

static struct {
    const char *backend;
    uint64_t seed, random;
    unsigned long steps, step;
    bool trace;
    bool jco;          /* this host is jco, or has its ways with datagrams */
    bool kernel_edges; /* the backend reports a new edge without poise_again */
    bool hears;        /* … or arms an edge when the program has seen EAGAIN */
    uint64_t tick;     /* counts actions: orders what happened within a step, too */
    uintptr_t data;    /* the last data value given out */
    unsigned long events, spurious, window_events, window_spurious;
    unsigned long hosts; /* spurious events that are the host's */
    char log[32][200];   /* the last operations, for the report of a failure */
    unsigned long logged;
    bool starve, starved; /* poise gets no memory; it asked for some */
} run;

/* ---- report ---- */

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...)
{
    char *line = run.log[run.logged++ % 32];
    int n = snprintf(line, sizeof run.log[0], "%7lu  ", run.step);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line + n, sizeof run.log[0] - (size_t)n, format, arguments);
    va_end(arguments);
    if (run.trace) {
        puts(line);
        fflush(stdout);
    }
}

__attribute__((format(printf, 1, 2), noreturn)) static void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("not ok model backend=%s seed=%llu step=%lu: ", run.backend, (unsigned long long)run.seed, run.step);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\nthe last operations:\n");
    for (unsigned long i = run.logged > 32 ? run.logged - 32 : 0; i < run.logged; i++) {
        puts(run.log[i % 32]);
    }
    printf("reproduce: model --backend %s --seed %llu --steps %lu\n", run.backend, (unsigned long long)run.seed,
           run.steps);
    fflush(stdout);
    exit(1);
}

static uint64_t random_number(void)
{
    uint64_t z = run.random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static unsigned below(unsigned n) { return (unsigned)(random_number() % n); }
static bool one_in(unsigned n) { return below(n) == 0; }

static const char *names(uint32_t bits)
{
    static const char *const name[] = { "readable",     "writable", "priority", "error", "read-closed",
                                        "write-closed", "timer",    "wake",     "edge",  "oneshot" };
    static char text[4][120];
    static unsigned which;
    char *to = text[which++ % 4];
    size_t n = 0;
    to[0] = '\0';
    for (unsigned i = 0; i < sizeof name / sizeof name[0]; i++) {
        if (bits >> i & 1) {
            n += (size_t)snprintf(to + n, sizeof text[0] - n, "%s%s", n > 0 ? "|" : "", name[i]);
        }
    }
    return n > 0 ? to : "nothing";
}

/* ---- what a place cannot do ---- */

enum limit {
    NO_FILL,
    NO_UNCONNECTED,
    ONE_PENDING_CONNECT,
    CONNECTED_FIRST,
    ACCEPTED_FIRST,
    DATAGRAMS_STICK,
    DATAGRAMS_STRAY,
    END_ONCE,
    SHUTDOWN_OF_BOTH,
    A_PART_ONLY,
};

static const struct {
    const char *backend; /* NULL: every one in a component */
    bool jco;            /* on that host alone */
    const char *reason;
} limits[] = {
    [NO_FILL] = { NULL, false, "a host takes any amount (wasmtime 47), so a stream is never full for certain" },
    [NO_UNCONNECTED] = { "poll", false, "libc's poll(2) fails as a whole for a TCP socket that is not connected" },
    [ONE_PENDING_CONNECT] = { NULL, false,
                              "connects come to a listener in any order, and the account must know who is who" },
    [CONNECTED_FIRST] = { NULL, false, "an operation on a socket that still connects fails for good, not with EAGAIN" },
    [ACCEPTED_FIRST] = { NULL, false,
                         "whether accept gives a connection whose client has closed differs between hosts" },
    [DATAGRAMS_STICK] = { NULL, true, "a datagram socket that has received once is readable for ever" },
    [DATAGRAMS_STRAY] = { NULL, true, "what comes to a datagram socket before its first read is lost, or late" },
    [END_ONCE] = { NULL, true, "the end of input is no longer reported once it was read" },
    [A_PART_ONLY] = { "poll", false, "libc's poll(2) reports a part of what is ready, always the same" },
    [SHUTDOWN_OF_BOTH] = { NULL, true, "a shutdown of one direction ends both" },
};

static bool restricted(enum limit limit)
{
    return ON_WASI && (limits[limit].backend == NULL || strcmp(limits[limit].backend, run.backend) == 0) &&
           (!limits[limit].jco || run.jco);
}

/* ---- the world ---- */

enum kind { UNCONNECTED, LISTENER, STREAM, DATAGRAM, REGULAR };

/* What a descriptor stands for. Natively several numbers may stand for one (dup). */
struct object {
    enum kind kind;
    int numbers;         /* how many stand for it; 0: this entry is free */
    struct object *peer; /* the other end of a stream; a listener's client that was not accepted yet */
    uint16_t port;
    bool connecting, refused, ended, peer_gone, shut_in, shut_out, broken, stray;
    unsigned waiting;  /* bytes, datagrams or connections that were sent to it and not taken out */
    uint64_t got;      /* when something was last taken out of it */
    uint64_t again[2]; /* when reading, writing last gave EAGAIN */
    uint64_t touched;  /* when something was last done that may have ended its readiness */
};

static struct object objects[2 * MANY], *by_number[NUMBERS];
static uint64_t given[NUMBERS];     /* when the number was last given to something */
static struct sockaddr_in refusing; /* nobody listens there */

struct truth {
    uint32_t yes, no; /* directions: surely holds, surely does not */
    uint32_t closed;  /* of CLOSINGS: what may be said */
};

#ifdef __wasi__
/* Is a datagram socket readable after its only datagram was read? */
static bool datagrams_stick(int fd, struct sockaddr_in to)
{
    struct pollfd p = { fd, POLLIN, 0 };
    char byte = 0;
    poll(&p, 1, 10);
    sendto(fd, &byte, 1, 0, (struct sockaddr *)&to, sizeof to);
    for (int tries = 0; tries < 3 && poll(&p, 1, 1000) > 0; tries++) {
        recv(fd, &byte, 1, 0);
    }
    return poll(&p, 1, 10) > 0;
}

static struct truth truth_of(int fd)
{
    const struct object *o = by_number[fd];
    struct truth t = { 0, 0, CLOSINGS };
    if (o == NULL || o->broken) {
        return t;
    }
    bool quiet = o->again[0] > o->got; /* after a read that took everything, hosts say "readable" once more */
    if (o->kind == REGULAR) {
        t.yes = POISE_READABLE | POISE_WRITABLE;
    } else if (o->kind == UNCONNECTED) {
        t.no = DIRECTIONS;
    } else if (o->refused) {
        t.yes = POISE_WRITABLE;
    } else if (o->connecting) {
        t.yes = o->peer_gone ? 0 : POISE_WRITABLE;
    } else {
        if (o->waiting > 0 || o->ended || o->peer_gone) {
            t.yes |= o->shut_in ? 0 : POISE_READABLE;
        } else if (quiet && !o->shut_in && !o->stray && (o->kind != DATAGRAM || !restricted(DATAGRAMS_STICK))) {
            t.no |= POISE_READABLE;
            t.closed &= ~(uint32_t)POISE_READ_CLOSED;
        }
        if (o->kind == DATAGRAM || (o->kind == STREAM && !o->shut_out && !o->peer_gone &&
                                    (o->peer == NULL || o->peer->waiting < ON_THE_WAY))) {
            t.yes |= POISE_WRITABLE;
        }
    }
    return t;
}
#else
static struct truth truth_of(int fd)
{
    struct truth t = { 0, 0, CLOSINGS };
    if (by_number[fd] == NULL) {
        return t;
    }
    struct pollfd p = { fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0 };
    poll(&p, 1, 0);
    t.yes = (p.revents & (POLLERR | POLLHUP) ? (uint32_t)DIRECTIONS : 0) |
            (p.revents & (POLLIN | POLLRDHUP) ? (uint32_t)POISE_READABLE : 0) |
            (p.revents & POLLOUT ? (uint32_t)POISE_WRITABLE : 0) | (p.revents & POLLPRI ? (uint32_t)POISE_PRIORITY : 0);
    t.no = DIRECTIONS & ~t.yes;
    t.closed = (p.revents & POLLERR ? (uint32_t)POISE_ERROR : 0) |
               (p.revents & (POLLHUP | POLLRDHUP) ? (uint32_t)POISE_READ_CLOSED : 0) |
               (p.revents & (POLLHUP | POLLERR) ? (uint32_t)POISE_WRITE_CLOSED : 0);
    return t;
}
#endif

static unsigned count_open(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < NUMBERS; fd++) {
        n += by_number[fd] != NULL;
    }
    return n;
}

/* A random open descriptor; of any kind if kind is negative. -1: there is none. */
static int pick(int kind)
{
    int found[NUMBERS];
    unsigned n = 0;
    for (int fd = 0; fd < NUMBERS; fd++) {
        if (by_number[fd] != NULL && (kind < 0 || (int)by_number[fd]->kind == kind)) {
            found[n++] = fd;
        }
    }
    return n > 0 ? found[below(n)] : -1;
}

static struct object *add_object(int fd, enum kind kind)
{
    if (fd < 0 || fd >= NUMBERS || by_number[fd] != NULL) {
        fail("descriptor %d out of the blue: %s", fd, strerror(errno));
    }
    struct object *o = objects;
    while (o->numbers > 0) {
        o++;
    }
    *o = (struct object){ .kind = kind, .numbers = 1, .got = ++run.tick, .touched = run.tick };
    fcntl(fd, F_SETFL, O_NONBLOCK);
    given[fd] = run.tick;
    static const char *const name[] = { "unconnected socket", "listener", "stream", "datagram socket", "file" };
    note("%d is a %s", fd, name[kind]);
    return by_number[fd] = o;
}

static void forget_number(int fd)
{
    struct object *o = by_number[fd];
    by_number[fd] = NULL;
    if (--o->numbers > 0) {
        return;
    }
    if (o->peer != NULL && o->kind == STREAM) {
        o->peer->peer_gone = true;
    }
    for (struct object *other = objects; other < objects + 2 * MANY; other++) {
        if (other->peer == o) {
            other->peer = NULL;
        }
    }
}

static struct sockaddr_in loopback(uint16_t port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static int bound_socket(int type, uint16_t *port)
{
    int fd = socket(AF_INET, type, 0);
    struct sockaddr_in a = loopback(0);
    socklen_t size = sizeof a;
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, size) != 0 || getsockname(fd, (struct sockaddr *)&a, &size) != 0) {
        fail("a bound socket: %s", strerror(errno));
    }
    *port = ntohs(a.sin_port);
    return fd;
}

static int open_listener(void)
{
    uint16_t port;
    int fd = bound_socket(SOCK_STREAM, &port);
    int little = 4096; /* so that it does not take long to fill a stream */
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
    if (listen(fd, 8) != 0) {
        fail("listen: %s", strerror(errno));
    }
    add_object(fd, LISTENER)->port = port;
    return fd;
}

/* Starts to connect to a listener, or to where nobody listens. */
static int open_client(struct object *listener)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct object *o = add_object(fd, STREAM);
    struct sockaddr_in a = listener != NULL ? loopback(listener->port) : refusing;
    int little = 4096;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &little, sizeof little);
    o->connecting = true;
    o->refused = listener == NULL;
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0) {
        o->connecting = false;
    } else if (errno != EINPROGRESS && !(o->refused && errno == ECONNREFUSED)) {
        fail("connect: %s", strerror(errno));
    }
    if (listener != NULL) {
        listener->waiting++;
        listener->peer = o;
    }
    return fd;
}

/* The program has seen EAGAIN, or (not empty) that less was done than it asked for, or the stream is another one. */
static void model_heard(int fd, unsigned direction, bool empty);

/* Returns the new descriptor, or -1. */
static int accept_client(int fd)
{
    struct object *listener = by_number[fd];
    int accepted = accept(fd, NULL, NULL);
    listener->touched = ++run.tick;
    if (accepted < 0) {
        listener->again[0] = errno == EAGAIN ? run.tick : listener->again[0];
        model_heard(fd, 0, errno == EAGAIN);
        return -1;
    }
    listener->got = run.tick;
    listener->waiting -= listener->waiting > 0;
    struct object *o = add_object(accepted, STREAM);
    if (listener->waiting == 0 && listener->peer != NULL) { /* it is certain which client this is */
        o->peer = listener->peer;
        o->peer->peer = o;
    }
    listener->peer = NULL;
    return accepted;
}

/* Has the descriptor's connect ended? Asks with a poll(2) of the program's own, which finishes it unseen by poise. */
static void finish_connect(int fd, int timeout_ms)
{
    struct pollfd p = { fd, POLLOUT, 0 };
    if (poll(&p, 1, timeout_ms) > 0 && p.revents != 0) {
        by_number[fd]->connecting = false;
        model_heard(fd, 0, false);
        model_heard(fd, 1, false);
    }
}

static void open_pair(void)
{
    int fd = open_listener();
    int client = open_client(by_number[fd]);
    struct pollfd p = { fd, POLLIN, 0 };
    if (poll(&p, 1, 5000) <= 0 || accept_client(fd) < 0) {
        fail("a pair: nothing to accept");
    }
    finish_connect(client, 5000);
    forget_number(fd);
    close(fd);
}

/* An operation failed, and not with EAGAIN: nothing is known of the object any more. */
static void has_failed(struct object *o, const char *what)
{
    bool sound = o->kind == STREAM && o->peer != NULL && !o->peer_gone && !o->peer->broken && !o->broken && !o->ended &&
                 !o->shut_in && !o->shut_out;
    if (ON_WASI && errno == ENOTCONN && sound) {
        fail("G1: %s: the connect was reported to have ended, and has not", what);
    }
    o->broken = true;
}

/* One read of at most so many bytes. False: there is nothing (more) to read. */
static bool read_some(int fd, size_t most)
{
    static char buffer[65536];
    struct object *o = by_number[fd];
    ssize_t n = o->kind == DATAGRAM ? recv(fd, buffer, most, 0) : read(fd, buffer, most);
    o->touched = ++run.tick;
    if (n > 0) {
        unsigned taken = o->kind == DATAGRAM ? 1 : (unsigned)n;
        o->waiting -= taken < o->waiting ? taken : o->waiting;
        o->got = run.tick;
        if ((size_t)n < most) {
            model_heard(fd, 0, false);
        }
        return o->kind != REGULAR;
    }
    if (n == 0) {
        o->ended = true;
        o->shut_in = o->shut_in || restricted(END_ONCE);
    } else if (errno == EAGAIN) {
        o->again[0] = run.tick;
        model_heard(fd, 0, true);
    } else {
        has_failed(o, "read");
    }
    return false;
}

static bool write_some(int fd, size_t size)
{
    static const char buffer[65536];
    struct object *o = by_number[fd], *to = o->peer;
    o->touched = ++run.tick;
    ssize_t n;
    if (o->kind == DATAGRAM) {
        to = by_number[pick(DATAGRAM)];
        struct sockaddr_in a = loopback(to->port);
        errno = ENOBUFS;
        n = to->waiting < 8 ? sendto(fd, buffer, 1 + size % 100, 0, (struct sockaddr *)&a, sizeof a) : -1;
    } else {
        if (restricted(NO_FILL) && to != NULL && to->waiting + size > ON_THE_WAY) {
            return false;
        }
        n = write(fd, buffer, size);
    }
    if (n > 0 && o->kind == DATAGRAM && to->again[0] == 0 && restricted(DATAGRAMS_STRAY)) {
        to->stray = true;
    } else if (n > 0 && to != NULL) {
        to->waiting += o->kind == DATAGRAM ? 1 : (unsigned)n;
    } else if (n < 0 && errno == EAGAIN) {
        o->again[1] = run.tick;
        model_heard(fd, 1, true);
    } else if (n < 0 && errno != ENOBUFS) {
        has_failed(o, "write");
    }
    return n > 0 && o->kind != REGULAR;
}

/* ---- the model ---- */

enum order { UNSURE, LEFT, FRESH }; /* gathered by an earlier wait: perhaps, surely, surely not */

/* A descriptor in a queue. */
struct registration {
    bool known;
    uint32_t interest;
    uintptr_t data;
    bool stale;  /* closed, and neither watched nor unwatched since (G11): little is promised */
    bool file;   /* a file that is always ready: the kernel is not asked, so nobody notices that it was closed */
    bool reused; /* … and the number stood for something else meanwhile */
    unsigned gone_events; /* … and events that came for the closed number */
    bool fired;           /* one-shot: its event came */
    uint32_t must;        /* edge: directions whose next event is owed */
    unsigned may[3];      /* edge, where the kernel keeps none: how often each direction may still be reported */
    uint64_t reported[3]; /* when each direction last was */
    uint32_t posted;      /* posts that are owed … */
    uint32_t due;         /* … by this wait */
    uint32_t perhaps;     /* posts that may have come out merged with another event, or may yet come */
    enum order order;
    uint32_t held; /* natively: directions that held when the last wait began */
    uint32_t seen; /* directions since settle last cleared it */
};

struct timer {
    poise_timer t;
    struct queue *queue; /* NULL: not running */
    uintptr_t data;
    uint64_t deadline, started; /* started: when, in starts of all timers */
    unsigned long wait;         /* the queue's wait before its start */
    bool due;                   /* the wait that was begun owes it */
};

struct waker {
    poise_waker w;
    struct queue *queue; /* NULL: closed */
    uintptr_t data;
    bool must, due;    /* an event is owed; by this wait */
    bool may, may_due; /* one may come, since a wake raced with an event; from this wait at the latest */
};

struct queue {
    poise *poise;
    unsigned batch;
    struct registration sources[NUMBERS];
    bool drained;   /* all events were taken */
    bool promised;  /* the wait said that there is something to take, and nothing was taken back since */
    uint64_t since; /* when the first wait began whose events were not all taken */
    unsigned long waits;
    unsigned long gathered; /* the first of those waits */
    bool orphans;           /* a watched number was closed: epoll makes its set anew some time, in any order */
    bool timers_now;   /* in this wait, timers came out already: no source may follow (G9), unless they were left */
    struct timer last; /* the last timer that did, as it was; data 0: none */
};

static struct queue queues[QUEUES];
static struct timer timers[TIMERS];
static struct waker wakers[WAKERS];
static uint64_t timer_starts;

static void *new_data(void) { return (void *)++run.data; }

static bool is_edge(const struct registration *r) { return (r->interest & POISE_EDGE) != 0; }

/* Directions that must be reported if they hold. */
static uint32_t owed(const struct registration *r)
{
    if (!r->known || r->stale || r->fired) {
        return 0;
    }
    return r->interest & DIRECTIONS & (is_edge(r) ? r->must : DIRECTIONS);
}

/* Posts that the next wait reports. */
static uint32_t deliverable(const struct registration *r)
{
    return r->known && !r->stale && !r->fired ? r->posted & r->interest & DIRECTIONS : 0;
}

static void model_watch(struct queue *q, int fd, uint32_t interest, uintptr_t data)
{
    struct registration *r = &q->sources[fd];
    struct registration old = *r;
    unsigned often = q->drained ? 1 : 2; /* what was gathered before comes out, and so does the next edge */
    *r = (struct registration){ .known = true,
                                .interest = interest,
                                .data = data,
                                .must = DIRECTIONS,
                                .may = { often, often, often },
                                .posted = old.stale ? 0 : old.posted,
                                .perhaps = old.perhaps | (old.stale ? old.posted : 0),
                                .order = old.known ? UNSURE : FRESH,
                                .file = by_number[fd]->kind == REGULAR };
    q->promised = false;
}

static void model_again(struct queue *q, int fd, uint32_t directions)
{
    struct registration *r = &q->sources[fd];
    for (unsigned i = 0; i < 3; i++) {
        if (is_edge(r) && (directions & r->interest) >> i & 1) {
            const struct object *o = by_number[fd];
            r->may[i] = q->drained ? 1 : 2;
            r->order = UNSURE;
            if (o != NULL && (o->kind == REGULAR || (i < 2 && o->again[i] > r->reported[i]))) {
                r->must |= 1u << i;
            }
        }
    }
}

static void model_heard(int fd, unsigned direction, bool empty)
{
    for (struct queue *q = queues; run.hears && q < queues + QUEUES; q++) {
        struct registration *r = &q->sources[fd];
        if (r->known && is_edge(r) && (r->interest >> direction & 1)) {
            r->may[direction] = q->drained ? 1 : 2;
            r->order = UNSURE;
            r->must |= (uint32_t)empty << direction;
        }
    }
}

static void model_post(struct registration *r, uint32_t ready)
{
    uint32_t *to = r->stale ? &r->perhaps : &r->posted;
    *to |= ready;
    r->order = UNSURE;
}

static void model_unwatch(struct queue *q, int fd)
{
    q->sources[fd] = (struct registration){ .known = false };
    q->promised = false;
}

/* The number no longer stands for what was watched. */
static void model_closed(int fd)
{
    for (struct queue *q = queues; q < queues + QUEUES; q++) {
        struct registration *r = &q->sources[fd];
        r->perhaps |= r->posted;
        r->posted = r->due = 0;
        r->order = UNSURE;
        r->reused = r->reused || r->stale;
        r->stale = r->known;
        q->orphans = q->orphans || (r->known && run.kernel_edges);
        q->promised = false;
    }
}

/* ---- the checker ---- */

/* Whether the host says of itself that it holds. wasmtime does so for a socket that got ready for a moment, or that it
 * was told of late, and until somebody reads from it: on a busy machine of one source in each wait. */
static bool host_says(int fd, uint32_t directions)
{
    struct pollfd p = {
        fd, (short)((directions & POISE_READABLE ? POLLIN : 0) | (directions & POISE_WRITABLE ? POLLOUT : 0)), 0
    };
    return ON_WASI && poll(&p, 1, 0) > 0 && (p.revents & p.events) == p.events;
}

static void spurious(struct queue *q, int fd, const poise_event *e, uint32_t directions)
{
    bool hosts = host_says(fd, directions);
    note("q%d: spurious: %d gave %s, which does not hold%s", (int)(q - queues), fd, names(e->ready),
         hosts ? "; the host says it does" : "");
    if (hosts) {
        run.hosts++;
        return;
    }
    run.spurious++;
    run.window_spurious++;
    if (run.window_spurious > 5 + run.window_events / 100) {
        fail("%lu of %lu events were spurious, more than one in a hundred and five", run.window_spurious,
             run.window_events);
    }
}

/* Edge: a direction may be reported once after each poise_watch or poise_again, or by a post. */
static void check_edge(struct registration *r, int fd, uint32_t directions)
{
    bool kept_by_kernel = run.kernel_edges && !(by_number[fd] != NULL && by_number[fd]->kind == REGULAR);
    for (unsigned i = 0; i < 3; i++) {
        if (!(directions >> i & 1) || ((r->posted | r->perhaps) >> i & 1)) {
            continue;
        }
        if (r->may[i] > 0) {
            r->may[i]--;
        } else if (!kept_by_kernel && !r->stale) {
            fail("G3: %d: %s was reported again without poise_again", fd, names(1u << i));
        }
    }
    r->must &= ~directions;
}

static void check_source(struct queue *q, int fd, const poise_event *e)
{
    struct registration *r = &q->sources[fd];
    uint32_t directions = e->ready & DIRECTIONS;
    if (e->ready & ~(uint32_t)(DIRECTIONS | CLOSINGS)) {
        fail("unknown bits in %#x", e->ready);
    } else if ((r->interest & DIRECTIONS) == 0) {
        fail("G14: %d is paused, and gave %s", fd, names(e->ready));
    } else if (directions == 0 || (directions & ~r->interest)) {
        fail("G14: %d gave %s, watched for %s", fd, names(e->ready), names(r->interest));
    } else if (r->fired) {
        fail("G4: one-shot %d gave a second event: %s", fd, names(e->ready));
    } else if (q->timers_now && (q->waits == q->gathered || r->order == LEFT)) {
        fail("G9: %d came out behind a timer", fd);
    } else if (e->result > 0 || (e->result != 0 && !(e->ready & POISE_ERROR))) {
        fail("%d: result %d with %s", fd, e->result, names(e->ready));
    }
    struct truth t = truth_of(fd);
    if (r->order == FRESH && (directions & t.yes)) {
        for (int other = 0; other < NUMBERS; other++) {
            if (q->sources[other].order == LEFT) {
                fail("G6: %d came out before %d, which an earlier wait gathered", fd, other);
            }
        }
    }
    r->order = UNSURE;
    if (is_edge(r)) {
        check_edge(r, fd, directions);
    }
    if (r->due & ~directions) {
        fail("G18: %d gave %s, but the post of %s was due, too", fd, names(e->ready), names(r->due));
    }
    if (r->stale && !r->reused && !r->file && by_number[fd] == NULL && !run.kernel_edges && ++r->gone_events > 4) {
        fail("G11: closed %d gives events without end", fd);
    }
    r->fired = (r->interest & POISE_ONESHOT) != 0;
    r->seen |= directions;
    for (unsigned i = 0; i < 3; i++) {
        r->reported[i] = directions >> i & 1 ? ++run.tick : r->reported[i];
    }

    const struct object *o = by_number[fd];
    bool excused = r->stale || o == NULL || o->touched >= q->since ||
                   given[fd] >= q->since; /* it may have held when it was gathered */
    uint32_t said = r->posted | r->perhaps;
    r->perhaps = (r->perhaps & ~(directions & t.no)) | (directions & r->posted & ~r->due);
    r->posted &= ~directions;
    r->due = 0;
    if (!excused && (directions & t.no & ~said)) {
        spurious(q, fd, e, directions & t.no & ~said);
    }
    if (!excused && (e->ready & CLOSINGS & ~t.closed)) {
        fail("G15: %d gave %s, which is not true", fd, names(e->ready));
    }
    if (ON_WASI && !excused && o->connecting && (directions & POISE_WRITABLE & ~said)) {
        note("%d is connected", fd);
        by_number[fd]->connecting = false;
    }
}

/* Within one wait by deadline, then by start. Of two timers the later one may only come first if it was gathered by a
 * wait that could not gather the other: then it was started before the other, and not all was taken since. */
static void check_timer(struct queue *q, struct timer *t, const poise_event *e)
{
    const struct timer *before = &q->last;
    if (e->ready != POISE_TIMER || e->result != 0) {
        fail("a timer gave %s, result %d", names(e->ready), e->result);
    } else if (poise_now() < t->deadline) {
        fail("G8: timer %d came %llu ns early", (int)(t - timers), (unsigned long long)(t->deadline - poise_now()));
    } else if (t->wait == q->waits) {
        fail("G9: timer %d came out of the wait before its start", (int)(t - timers));
    } else if (before->data != 0 && (t->wait <= before->wait || t->wait < q->gathered) &&
               (t->deadline < before->deadline || (t->deadline == before->deadline && t->started < before->started))) {
        fail("G9: timer %d came out behind data %lu", (int)(t - timers), (unsigned long)before->data);
    }
    t->queue = NULL;
    t->due = false;
    q->timers_now = true;
    q->last = *t;
}

static void check_waker(struct queue *q, struct waker *w, const poise_event *e)
{
    if (e->ready != POISE_WAKE || e->result != 0) {
        fail("a waker gave %s, result %d", names(e->ready), e->result);
    } else if (!w->must && !w->may) {
        fail("G10: waker %d gave an event without a wake", (int)(w - wakers));
    } else if (q->timers_now && q->waits == q->gathered) {
        fail("G9: waker %d came out behind a timer", (int)(w - wakers));
    }
    w->may = w->must && !w->due; /* woken since the wait began: this event was for it, or one of the next wait is */
    w->must = w->due = w->may_due = false;
}

/* Everything that the wait had to bring was taken: is anything missing? */
static void check_drained(struct queue *q)
{
    for (int fd = 0; fd < NUMBERS; fd++) {
        struct registration *r = &q->sources[fd];
        if (r->due != 0) {
            fail("G18: the post of %s to %d did not come", names(r->due), fd);
        } else if (r->order == LEFT) {
            fail("G6: %d was gathered and not taken, and did not come from the next wait", fd);
        }
        r->order = UNSURE;
    }
    for (struct timer *t = timers; t < timers + TIMERS; t++) {
        if (t->queue == q && t->due) {
            fail("G8: timer %d was due and did not come", (int)(t - timers));
        }
    }
    for (struct waker *w = wakers; w < wakers + WAKERS; w++) {
        if (w->queue == q && w->due) {
            fail("G10: waker %d was woken and did not come", (int)(w - wakers));
        }
        if (w->queue == q && w->may_due) {
            w->may = w->may_due = false;
        }
    }
    q->drained = true;
    q->last.data = 0;
}

/* Takes one event. False: there is none left. */
static bool take(struct queue *q)
{
    poise_event e = { 0 };
    int number = (int)(q - queues);
    if (!poise_next(q->poise, &e)) {
        if (q->promised) {
            fail("q%d: the wait said that there is something to take, and there was nothing", number);
        }
        if (!q->drained) {
            check_drained(q);
        }
        return false;
    }
    uintptr_t data = (uintptr_t)e.data;
    run.events++;
    run.window_events++;
    run.tick++;
    note("q%d: event, data %lu: %s, result %d", number, (unsigned long)data, names(e.ready), e.result);
    if (q->drained) {
        fail("an event came without a wait");
    }
    q->promised = false;
    for (int fd = 0; fd < NUMBERS; fd++) {
        if (q->sources[fd].known && q->sources[fd].data == data) {
            check_source(q, fd, &e);
            return true;
        }
    }
    for (struct timer *t = timers; t < timers + TIMERS; t++) {
        if (t->queue == q && t->data == data) {
            check_timer(q, t, &e);
            return true;
        }
    }
    for (struct waker *w = wakers; w < wakers + WAKERS; w++) {
        if (w->queue == q && w->data == data) {
            check_waker(q, w, &e);
            return true;
        }
    }
    fail("G5: data %lu came out of q%d, which nothing there has any more", (unsigned long)data, number);
}

static void take_all(struct queue *q)
{
    while (take(q)) {}
}

/* Why the next wait must return at once with something to take; NULL: it need not. Where the host is asynchronous, what
 * holds comes soon instead. */
static const char *must_return(const struct queue *q, uint64_t now, bool soon)
{
    static char why[40];
    for (int fd = 0; fd < NUMBERS; fd++) {
        if (deliverable(&q->sources[fd]) != 0) {
            snprintf(why, sizeof why, "a post to %d", fd);
            return why;
        } else if ((!ON_WASI || soon) && owed(&q->sources[fd]) != 0 && (truth_of(fd).yes & owed(&q->sources[fd]))) {
            snprintf(why, sizeof why, "source %d, ready", fd);
            return why;
        }
    }
    for (const struct timer *t = timers; t < timers + TIMERS; t++) {
        if (t->queue == q && t->deadline <= now) {
            return "a timer";
        }
    }
    for (const struct waker *w = wakers; w < wakers + WAKERS; w++) {
        if (w->queue == q && w->must) {
            return "a wake";
        }
    }
    return NULL;
}

static void prepare_wait(struct queue *q, uint64_t now)
{
    q->waits++;
    q->timers_now = false;
    q->last.data = 0;
    if (q->drained) {
        q->since = ++run.tick;
        q->gathered = q->waits;
    }
    for (int fd = 0; fd < NUMBERS; fd++) {
        struct registration *r = &q->sources[fd];
        r->due |= deliverable(r);
        r->held = !ON_WASI && r->known && !r->stale ? truth_of(fd).yes : 0;
    }
    for (struct timer *t = timers; t < timers + TIMERS; t++) { /* with something left, a wait need not look at timers */
        t->due = t->due || (t->queue == q && t->deadline <= now && q->drained);
    }
    for (struct waker *w = wakers; w < wakers + WAKERS; w++) {
        w->due = w->due || (w->queue == q && w->must);
        w->may_due = w->may_due || (w->queue == q && w->may);
    }
}

/* Natively, and with a large batch, it is known what a wait gathers. */
static void note_gathered(struct queue *q)
{
    for (int fd = 0; fd < NUMBERS && !ON_WASI && q->batch > MANY; fd++) {
        struct registration *r = &q->sources[fd];
        uint32_t yes = r->known && !r->stale ? truth_of(fd).yes & r->interest & DIRECTIONS : 0;
        if (r->known) {
            r->order = owed(r) & yes & r->held ? LEFT : yes || r->stale || r->posted || r->perhaps ? UNSURE : FRESH;
        }
    }
}

static int wait_for(struct queue *q, int64_t timeout)
{
    uint64_t start = poise_now();
    bool fresh = q->drained;
    const char *reason = must_return(q, start, timeout >= 1000 * (int64_t)MS);
    prepare_wait(q, start);
    int n = poise_wait(q->poise, timeout);
    uint64_t took = poise_now() - start;
    note("q%d: wait(%lld) = %d after %llu us", (int)(q - queues), (long long)timeout, n,
         (unsigned long long)took / 1000);
    if (n < 0) {
        fail("wait: %s", strerror(-n));
    } else if (n == 0 && reason != NULL) {
        fail("wait found nothing, although there was %s", reason);
    } else if (n == 0 && timeout > 0 && took < (uint64_t)timeout) {
        fail("G8: the wait ended after %llu of %lld ns", (unsigned long long)took, (long long)timeout);
    } else if (took > 5000 * MS) {
        fail("G8: a wait(%lld) took %llu ms", (long long)timeout, (unsigned long long)(took / MS));
    }
    for (struct timer *t = timers; n == 0 && t < timers + TIMERS; t++) {
        if (t->queue == q && timeout > 0 && t->deadline < start + (uint64_t)timeout) {
            fail("G8: the wait slept over timer %d", (int)(t - timers));
        }
    }
    q->drained = q->promised = false;
    if (n == 0) {
        if (take(q)) {
            fail("wait returned 0, and there was an event");
        }
    } else {
        q->promised = true;
        if (fresh) {
            note_gathered(q);
        }
    }
    return n;
}

/* Liveness: with all events taken, everything that holds comes, and level sources come again and again: within the number of
 * waits that G7 promises. In a component what holds may come late: it has a time for the first round, and the number counts
 * in the second for what came in the first. */
static void settle(struct queue *q)
{
    uint32_t expected[NUMBERS];
    take_all(q);
    for (int i = 0; i < 3; i++) { /* what was posted, or left; and orphans, which epoll reports once */
        wait_for(q, 0);
        take_all(q);
    }
    for (int round = 0; round < 2; round++) {
        bool counted = !ON_WASI || (round > 0 && strcmp(run.backend, "wasip2") == 0);
        unsigned active = 0, waits = 0;
        for (int fd = 0; fd < NUMBERS; fd++) {
            struct registration *r = &q->sources[fd];
            struct truth t = r->known && !r->stale && !r->fired ? truth_of(fd) : (struct truth){ 0, DIRECTIONS, 0 };
            expected[fd] = t.yes & owed(r) & (ON_WASI && counted ? r->seen : DIRECTIONS);
            active += r->stale || (r->interest & ~t.no & DIRECTIONS) != 0;
            r->seen = 0;
        }
        if (active > 8 && restricted(A_PART_ONLY)) {
            return;
        }
        unsigned bound = ((active + q->batch - 1) / q->batch + 1) * (q->orphans ? 2 : 1);
        uint64_t end = poise_now() + 10000 * MS;
        for (int missing = 0; missing >= 0; waits++) {
            missing = -1;
            for (int fd = 0; fd < NUMBERS; fd++) {
                missing = expected[fd] & ~q->sources[fd].seen && !q->sources[fd].fired ? fd : missing;
            }
            if (missing >= 0 && (counted ? waits >= bound : poise_now() > end)) {
                fail("G7: %d (data %lu) did not give %s in %u waits, %u active, batch %u", missing,
                     (unsigned long)q->sources[missing].data, names(expected[missing]), waits, active, q->batch);
            }
            if (missing >= 0) {
                wait_for(q, ON_WASI ? (int64_t)MS : 0);
                take_all(q);
            }
        }
    }
}

/* ---- the generator: operations ---- */

static struct queue *any_queue(void) { return &queues[below(QUEUES)]; }

static uint32_t random_interest(void)
{
    static const uint32_t directions[] = { 0, 1, 1, 1, 1, 2, 2, 3, 3, 3 },
                          modes[] = { 0, 0, POISE_EDGE, POISE_ONESHOT };
    return directions[below(10)] | modes[below(4)] | (!ON_WASI && one_in(8) ? (uint32_t)POISE_PRIORITY : 0);
}

/* A number that the queue knows, if there is one. */
static int any_source(const struct queue *q)
{
    int found[NUMBERS];
    unsigned n = 0;
    for (int fd = 0; fd < NUMBERS; fd++) {
        if (q->sources[fd].known) {
            found[n++] = fd;
        }
    }
    return n > 0 ? found[below(n)] : (int)below(NUMBERS);
}

static void expect(const char *what, int fd, int result, int expected)
{
    if (result != expected) {
        fail("%s of %d gave %d, not %d", what, fd, result, expected);
    }
}

/* G12: a call that gets no memory changes nothing. */
static void *limited_realloc(void *context, void *block, size_t size)
{
    (void)context;
    if (size == 0) {
        free(block);
        return NULL;
    }
    run.starved = run.starve;
    return run.starve ? NULL : realloc(block, size);
}

static void op_watch(void)
{
    struct queue *q = any_queue();
    int fd = one_in(8) ? any_source(q) : one_in(20) ? (int)below(NUMBERS) : pick(-1);
    if (fd < 0) {
        return;
    }
    uint32_t interest = random_interest();
    int expected = 0;
    if (by_number[fd] == NULL) {
        struct stat status;
        if (fstat(fd, &status) == 0 || errno != EBADF) {
            return; /* standard input and the like, or a queue's own */
        }
        expected = -EBADF;
    } else if (one_in(30)) {
        static const uint32_t bad[] = { POISE_EDGE | POISE_ONESHOT, POISE_ERROR, POISE_READ_CLOSED, POISE_WAKE,
                                        1 << 10 };
        interest |= bad[below(5)];
        interest |= interest & POISE_ONESHOT && one_in(2) ? (uint32_t)POISE_EDGE : 0;
        expected = -EINVAL;
    } else if (ON_WASI && one_in(30)) {
        interest |= POISE_PRIORITY;
        expected = -ENOTSUP;
    }
    void *data = new_data();
    run.starve = one_in(20);
    run.starved = false;
    int result = poise_watch(q->poise, poise_fd(fd), interest, data);
    note("q%d: watch %d for %s, data %lu = %d", (int)(q - queues), fd, names(interest), (unsigned long)run.data,
         result);
    run.starve = false;
    if (result != -ENOMEM || !run.starved || q->sources[fd].known) {
        expect("watch", fd, result, expected);
    }
    if (result == 0) {
        model_watch(q, fd, interest, run.data);
    }
}

static void op_unwatch(void)
{
    struct queue *q = any_queue();
    int fd = one_in(6) ? (int)below(NUMBERS) : any_source(q);
    note("q%d: unwatch %d", (int)(q - queues), fd);
    expect("unwatch", fd, poise_unwatch(q->poise, poise_fd(fd)), q->sources[fd].known ? 0 : -ENOENT);
    model_unwatch(q, fd);
}

static void op_again(void)
{
    struct queue *q = any_queue();
    int fd = one_in(10) ? (int)below(NUMBERS) : any_source(q);
    uint32_t directions = one_in(2) ? (uint32_t)(POISE_READABLE | POISE_WRITABLE) : 1u << below(2);
    uint32_t bad = one_in(30) ? (uint32_t)POISE_EDGE : 0;
    note("q%d: again %d, %s", (int)(q - queues), fd, names(directions | bad));
    bool known = q->sources[fd].known;
    if (bad == 0 || known) {
        expect("again", fd, poise_again(q->poise, poise_fd(fd), directions | bad), bad ? -EINVAL : known ? 0 : -ENOENT);
    }
    if (known && bad == 0) {
        model_again(q, fd, directions);
    }
}

static void op_post(void)
{
    struct queue *q = any_queue();
    int fd = one_in(10) ? (int)below(NUMBERS) : any_source(q);
    uint32_t ready = one_in(30) ? 0 : 1 + below(3);
    note("q%d: post %d, %s", (int)(q - queues), fd, names(ready));
    bool known = q->sources[fd].known;
    if (ready != 0 || known) {
        expect("post", fd, poise_post(q->poise, poise_fd(fd), ready), ready == 0 ? -EINVAL : known ? 0 : -ENOENT);
    }
    if (known && ready != 0) {
        model_post(&q->sources[fd], ready);
    }
}

static bool waits_for_accept(const struct object *client)
{
    for (const struct object *o = objects; o < objects + 2 * MANY; o++) {
        if (o->numbers > 0 && o->kind == LISTENER && o->peer == client) {
            return true;
        }
    }
    return false;
}

static void op_close(void)
{
    int fd = pick(-1);
    if (fd < 0 || (restricted(ACCEPTED_FIRST) && waits_for_accept(by_number[fd]))) {
        return;
    }
    if (one_in(2)) {
        for (struct queue *q = queues; q < queues + QUEUES; q++) {
            if (q->sources[fd].known) {
                expect("unwatch", fd, poise_unwatch(q->poise, poise_fd(fd)), 0);
                model_unwatch(q, fd);
            }
        }
    }
    note("close %d", fd);
    forget_number(fd);
    close(fd);
    model_closed(fd);
}

static void op_open(void)
{
    static const char *const name[] = {
        "a pair", "a listener", "a datagram socket", "an unconnected socket", "a pipe", "a socketpair", "a file"
    };
    unsigned what = below(ON_WASI ? 10 : 13);
    what = what < 5 ? 0 : what < 6 ? 1 : what < 9 ? 2 : what - 6;
    if (count_open() + 4 > MANY || (what == 3 && restricted(NO_UNCONNECTED))) {
        return;
    }
    uint16_t port;
    int fd[2];
    note("open %s", name[what]);
    if (what == 0) {
        open_pair();
    } else if (what == 1) {
        open_listener();
    } else if (what == 2) {
        fd[0] = bound_socket(SOCK_DGRAM, &port);
        add_object(fd[0], DATAGRAM)->port = port;
    } else if (what == 3) {
        add_object(socket(AF_INET, SOCK_STREAM, 0), UNCONNECTED);
    } else {
#ifndef __wasi__
        static const char *const file[] = { "/proc/self/exe", "/dev/null", "/" };
        if (what == 6) {
            add_object(open(file[below(3)], O_RDONLY), REGULAR);
        } else if ((what == 4 ? pipe(fd) : socketpair(AF_UNIX, SOCK_STREAM, 0, fd)) == 0) {
            add_object(fd[0], STREAM);
            add_object(fd[1], STREAM);
        }
#endif
    }
}

static void op_connect(void)
{
    int fd = pick(LISTENER);
    bool refused = fd < 0 || one_in(5);
    if (count_open() + 2 > MANY || (!refused && by_number[fd]->waiting > 0 && restricted(ONE_PENDING_CONNECT))) {
        return;
    }
    int client = open_client(refused ? NULL : by_number[fd]);
    note("connect %d to %d%s", client, fd, refused ? ", refused" : "");
}

static void op_accept(void)
{
    int fd = pick(LISTENER);
    if (fd >= 0 && count_open() < MANY) {
        int client = accept_client(fd);
        note("accept at %d = %d", fd, client);
    }
}

/* Something that one can read from and write to by now; -1 if the first try is not. */
static int pick_usable(void)
{
    int fd = pick(one_in(4) ? DATAGRAM : one_in(10) ? REGULAR : STREAM);
    return fd >= 0 && by_number[fd]->connecting && restricted(CONNECTED_FIRST) ? -1 : fd;
}

static void op_write(void)
{
    int fd = pick_usable();
    if (fd >= 0) {
        bool ok = write_some(fd, 1 + below(2000));
        const struct object *o = by_number[fd];
        note("write to %d: %s; %u wait at the other end", fd, ok ? "ok" : strerror(errno),
             o->peer ? o->peer->waiting : 0);
    }
}

static void op_read(void)
{
    int fd = pick_usable();
    if (fd >= 0) {
        bool ok = read_some(fd, 1 + below(2000));
        note("read some of %d: %s", fd, ok ? "ok" : by_number[fd]->ended ? "end" : strerror(errno));
    }
}

static void op_drain(void)
{
    int fd = pick_usable();
    if (fd >= 0) {
        while (read_some(fd, 65536)) {}
        note("drain %d: %s", fd, by_number[fd]->ended ? "end" : strerror(errno));
    }
}

static void op_fill(void)
{
    int fd = restricted(NO_FILL) ? -1 : pick(STREAM);
    if (fd >= 0) {
        while (write_some(fd, 8192)) {}
        note("fill %d: %s", fd, strerror(errno));
    }
}

static void op_shutdown(void)
{
    static const int how[] = { SHUT_RD, SHUT_WR, SHUT_WR, SHUT_WR, SHUT_RDWR };
    int fd = pick_usable(), which = how[below(5)];
    if (fd < 0 || by_number[fd]->kind != STREAM) {
        return;
    }
    struct object *o = by_number[fd];
    o->touched = ++run.tick;
    note("shutdown %d, %s = %d", fd, which == SHUT_RD ? "in" : which == SHUT_WR ? "out" : "both", shutdown(fd, which));
    o->shut_in = o->shut_in || which != SHUT_WR || restricted(SHUTDOWN_OF_BOTH);
    o->shut_out = o->shut_out || which != SHUT_RD;
    if (which != SHUT_RD && o->peer != NULL) {
        o->peer->ended = true;
    }
}

/* The program calls poll(2) itself. */
static void op_finish(void)
{
    int fd = pick(STREAM);
    if (fd >= 0) {
        finish_connect(fd, 0);
        note("poll(2) on %d: %s", fd, by_number[fd]->connecting ? "connecting" : "connected");
    }
}

static void op_wait(void)
{
    struct queue *q = any_queue();
    int64_t timeout = 0;
    switch (below(8)) {
    case 0: timeout = -(int64_t)below(1000); break;
    case 1: timeout = below(ON_WASI ? 2 * (unsigned)MS : 50000); break;
    case 2: timeout = must_return(q, poise_now(), true) != NULL ? 4000 * (int64_t)MS : below(300000); break;
    default: break;
    }
    wait_for(q, timeout);
    unsigned some = one_in(2) ? UINT32_MAX : below(5);
    while (some-- > 0 && take(q)) {}
}

static void op_take(void)
{
    struct queue *q = any_queue();
    for (unsigned some = below(4); some > 0 && take(q); some--) {}
}

/* What an outer loop sees: it must call wait when the descriptor is readable, or the deadline has passed. */
static void op_nested(void)
{
    struct queue *q = any_queue();
    uint64_t deadline = poise_deadline(q->poise);
    const char *reason = must_return(q, 0, false);
    bool source = reason != NULL && reason[0] == 's';
    struct pollfd p = { poise_fileno(q->poise), POLLIN, 0 };
    expect("fileno", 0, p.fd < 0 ? p.fd : 0, run.kernel_edges ? 0 : -ENOTSUP);
    if (deadline != 0 && (q->promised || (reason != NULL && !source))) {
        fail("deadline is %llu, although there is %s", (unsigned long long)deadline, reason ? reason : "an event");
    } else if (deadline != 0 && source && p.fd >= 0 && poll(&p, 1, 0) == 0) {
        fail("fileno is not readable, although there is %s", reason);
    }
    for (const struct timer *t = timers; t < timers + TIMERS; t++) {
        if (t->queue == q && deadline > t->deadline) {
            fail("deadline is %llu, later than a timer's", (unsigned long long)deadline);
        }
    }
}

static void op_timer_start(void)
{
    struct queue *q = any_queue();
    struct timer *t = &timers[below(TIMERS)];
    uint64_t now = poise_now(), deadline = now;
    switch (below(8)) {
    case 0: deadline = below(2); break;
    case 1: deadline -= below(1000000); break;
    case 2: deadline += below(5 * (unsigned)MS); break;
    case 3: deadline += UINT64_C(1) << below(62); break;
    case 4: deadline = one_in(2) ? UINT64_MAX : timers[below(TIMERS)].deadline; break; /* perhaps a tie */
    default: deadline += below(300000); break;
    }
    int result = poise_timer_start(q->poise, &t->t, deadline, new_data());
    note("q%d: start timer %d at %+lld us, data %lu = %d", (int)(q - queues), (int)(t - timers),
         (long long)(deadline - now) / 1000, (unsigned long)run.data, result);
    expect("timer_start", (int)(t - timers), result, t->queue != NULL && t->queue != q ? -EBUSY : 0);
    if (result == 0) {
        t->queue = q;
        t->data = run.data;
        t->deadline = deadline;
        t->started = ++timer_starts;
        t->wait = q->waits;
        t->due = false;
        q->promised = false;
    }
}

static void op_timer_stop(void)
{
    struct timer *t = &timers[below(TIMERS)];
    struct queue *q = t->queue != NULL ? t->queue : any_queue();
    bool stopped = poise_timer_stop(q->poise, &t->t);
    note("q%d: stop timer %d = %d", (int)(q - queues), (int)(t - timers), stopped);
    expect("timer_stop", (int)(t - timers), stopped, t->queue != NULL);
    t->queue = NULL;
    t->due = false;
    q->promised = false;
}

static void op_waker_open(void)
{
    struct queue *q = any_queue();
    struct waker *w = &wakers[below(WAKERS)];
    run.starve = one_in(10);
    run.starved = false;
    int result = poise_waker_open(q->poise, &w->w, new_data());
    run.starve = false;
    note("q%d: open waker %d, data %lu = %d", (int)(q - queues), (int)(w - wakers), (unsigned long)run.data, result);
    if (result != -ENOMEM || !run.starved) {
        expect("waker_open", (int)(w - wakers), result, w->queue != NULL ? -EBUSY : 0);
    }
    if (result == 0) {
        w->queue = q;
        w->data = run.data;
        w->must = w->due = w->may = w->may_due = false;
    }
}

static void op_waker_close(void)
{
    struct waker *w = &wakers[below(WAKERS)];
    note("close waker %d", (int)(w - wakers));
    poise_waker_close(&w->w);
    if (w->queue != NULL) {
        w->queue->promised = false;
    }
    w->queue = NULL;
    w->must = w->due = w->may = w->may_due = false;
}

static void op_wake(void)
{
    struct waker *w = &wakers[below(WAKERS)];
    note("wake %d", (int)(w - wakers));
    errno = 12345;
    poise_wake(&w->w);
    if (errno != 12345) {
        fail("poise_wake changed errno");
    }
    w->must = w->queue != NULL;
    w->may = w->may || w->due; /* its event was gathered perhaps, and covers this wake or does not */
    w->due = false;
}

/* A queue was opened: its own descriptors may have taken the numbers of closed sources. */
static void numbers_taken(void)
{
    for (struct queue *q = queues; q < queues + QUEUES; q++) {
        for (int fd = 0; fd < NUMBERS; fd++) {
            q->sources[fd].reused = q->sources[fd].stale;
        }
    }
}

static void open_queue(struct queue *q)
{
    static const unsigned batches[] = { 0, 0, 0, 1, 2, 3, 7 };
    poise_options options = {
        .size = sizeof options, .backend = run.backend, .batch = batches[below(7)], .realloc = limited_realloc
    };
    memset(q, 0, sizeof *q);
    q->drained = true;
    q->batch = options.batch != 0 ? options.batch : 256;
    int result = poise_open(&q->poise, &options);
    note("q%d: open, batch %u = %d", (int)(q - queues), q->batch, result);
    if (result != 0 || strcmp(poise_backend(q->poise), run.backend) != 0) {
        fail("poise_open: %s", result != 0 ? strerror(-result) : poise_backend(q->poise));
    }
    if (ON_WASI) {
        expect("a wait on nothing", (int)(q - queues), poise_wait(q->poise, POISE_FOREVER), -EDEADLK);
    }
    numbers_taken();
}

static void op_reopen(void)
{
    struct queue *q = any_queue();
    poise_close(q->poise);
    for (struct timer *t = timers; t < timers + TIMERS; t++) {
        if (t->queue == q) {
            *t = (struct timer){ .queue = NULL };
        }
    }
    for (struct waker *w = wakers; w < wakers + WAKERS; w++) {
        if (w->queue == q) {
            *w = (struct waker){ .queue = NULL };
        }
    }
    open_queue(q);
}

/* ---- the generator: operations that WASI does not have ---- */

#ifndef __wasi__
static void op_urgent(void)
{
    int fd = pick(STREAM);
    if (fd >= 0) {
        ssize_t n = send(fd, "!", 1, MSG_OOB);
        by_number[fd]->touched = ++run.tick;
        note("urgent data to %d: %d", fd, (int)n);
    }
}

static void op_dup(void)
{
    int fd = pick(-1), other = pick(-1);
    if (fd < 0 || count_open() >= MANY || other == fd) {
        return;
    }
    int made;
    if (one_in(3)) { /* onto a number that stands for something else */
        forget_number(other);
        made = dup2(fd, other);
        model_closed(other);
    } else {
        made = dup(fd);
    }
    by_number[made] = by_number[fd];
    by_number[made]->numbers++;
    given[made] = ++run.tick;
    note("dup %d = %d", fd, made);
}

static poise_waker alarm_wakes;

static void on_alarm(int number)
{
    (void)number;
    poise_wake(&alarm_wakes);
}

/* G10: a signal handler wakes a wait that is blocked. In a queue of its own, since here nothing else may end the wait. */
static void op_alarm(void)
{
    struct itimerval soon = { { 0, 0 }, { 0, 1 + (int)below(300) } };
    poise_options options = { .size = sizeof options, .backend = run.backend };
    poise *queue;
    poise_event e = { 0 };
    note("a waker is woken by an alarm");
    memset(&alarm_wakes, 0, sizeof alarm_wakes);
    expect("open", 0, poise_open(&queue, &options), 0);
    expect("waker_open", 0, poise_waker_open(queue, &alarm_wakes, new_data()), 0);
    setitimer(ITIMER_REAL, &soon, NULL);
    if (poise_wait(queue, 4000 * (int64_t)MS) <= 0 || !poise_next(queue, &e) || (uintptr_t)e.data != run.data) {
        fail("G10: the wake of a signal handler was lost");
    }
    poise_waker_close(&alarm_wakes);
    poise_close(queue);
    numbers_taken();
}

/* G17: a child that closes the queues does no harm to them. */
static void op_fork(void)
{
    note("fork");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        poise_close(queues[0].poise);
        poise_close(queues[1].poise);
        _exit(0);
    }
    int status = 1;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
        fail("G17: the child ended with status %d", status);
    }
}
#else
static void op_urgent(void) {}
static void op_dup(void) {}
static void op_alarm(void) {}
static void op_fork(void) {}
#endif

/* ---- the generator: what comes next ---- */

static void op_settle(void)
{
    struct queue *q = any_queue();
    note("q%d: settle", (int)(q - queues));
    settle(q);
    note("q%d: settled", (int)(q - queues));
}

static const struct operation {
    void (*run)(void);
    unsigned weight;
} operations[] = {
    { op_watch, 140 },     { op_unwatch, 30 },    { op_again, 50 },      { op_post, 40 },   { op_close, 30 },
    { op_open, 40 },       { op_dup, 20 },        { op_connect, 30 },    { op_accept, 40 }, { op_finish, 10 },
    { op_write, 90 },      { op_read, 60 },       { op_drain, 60 },      { op_fill, 15 },   { op_urgent, 5 },
    { op_shutdown, 10 },   { op_wait, 160 },      { op_take, 60 },       { op_nested, 20 }, { op_timer_start, 50 },
    { op_timer_stop, 20 }, { op_waker_open, 10 }, { op_waker_close, 3 }, { op_wake, 30 },   { op_alarm, 2 },
    { op_reopen, 2 },      { op_fork, 1 },        { op_settle, 15 },
};

static void step(void)
{
    unsigned total = 0, i = 0;
    run.random = run.seed * 0x100000001b3u + run.step; /* what a step draws does not change the others */
    for (unsigned k = 0; k < sizeof operations / sizeof operations[0]; k++) {
        total += operations[k].weight;
    }
    for (total = below(total); total >= operations[i].weight; i++) {
        total -= operations[i].weight;
    }
    run.tick++;
    operations[i].run();
    if (run.step % WINDOW == 0) {
        run.window_events = run.window_spurious = 0;
    }
}

static unsigned long number(const char *text)
{
    char *end;
    unsigned long n = strtoul(text, &end, 0);
    if (*text == '\0' || *end != '\0') {
        fprintf(stderr, "model: not a number: %s\n", text);
        exit(2);
    }
    return n;
}

int main(int argc, char **argv)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    run.seed = ((uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000) % 1000000007;
    run.steps = ON_WASI ? 10000 : 100000;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--trace") == 0) {
            run.trace = true;
            continue;
        } else if (strcmp(argv[i], "--backend") == 0) {
            run.backend = value;
        } else if (strcmp(argv[i], "--seed") == 0) {
            run.seed = number(value);
        } else if (strcmp(argv[i], "--steps") == 0) {
            run.steps = number(value);
        } else {
            run.backend = NULL;
            break;
        }
        i++;
    }
    if (run.backend == NULL || *run.backend == '\0') {
        fprintf(stderr, "usage: model --backend B [--seed N] [--steps N] [--trace]\n");
        return 2;
    }
    run.kernel_edges = strcmp(run.backend, "epoll") == 0;
    run.hears = strcmp(run.backend, "wasip2") == 0;
    printf("model --backend %s --seed %llu --steps %lu\n", run.backend, (unsigned long long)run.seed, run.steps);
    fflush(stdout);
#ifndef __wasi__
    struct sigaction ring = { .sa_handler = on_alarm };
    sigaction(SIGALRM, &ring, NULL);
    signal(SIGPIPE, SIG_IGN);
#endif
    uint16_t port;
    int nobody = bound_socket(SOCK_STREAM, &port);
    refusing = loopback(port);
#ifdef __wasi__
    int datagrams = bound_socket(SOCK_DGRAM, &port);
    fcntl(datagrams, F_SETFL, O_NONBLOCK);
    run.jco = datagrams_stick(datagrams, loopback(port));
    close(datagrams);
#endif
    open_queue(&queues[0]);
    open_queue(&queues[1]);
    while (run.step++ < run.steps) {
        step();
    }
    settle(&queues[0]);
    settle(&queues[1]);
    poise_close(queues[0].poise);
    poise_close(queues[1].poise);
    close(nobody);
    printf("ok model backend=%s seed=%llu steps=%lu events=%lu spurious=%lu of_the_host=%lu\n", run.backend,
           (unsigned long long)run.seed, run.steps, run.events, run.spurious, run.hosts);
    return 0;
}
