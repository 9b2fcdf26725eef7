/* Everything in one wait: a TCP echo server, a TCP client, a UDP echo, timers, a name look-up, standard input, a waker.
 *
 *     everything [SECONDS [PORT [NAME]]]
 *
 * prints its own ports, connects to PORT of 127.0.0.1 (or to its own TCP server), looks NAME up (or localhost), and then
 * prints what came and from where, one line an event. It ends with a line "quit" on standard input, or after so many
 * seconds (10).
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <poise/resolve.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MS UINT64_C(1000000)

/* What `data` points to: a handler, at the head of whatever has events. */
struct handler {
    void (*run)(struct handler *self, const poise_event *event);
    const char *name; /* in the transcript */
    int fd;
};

static poise *queue;
static uint64_t started;
static bool ended;

static void say(const struct handler *who, const char *format, ...)
{
    va_list arguments;
    printf("%8.1f ms  %-7s ", (double)(poise_now() - started) / 1e6, who->name);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    fflush(stdout);
}

static const char *text_of(const poise_address *address)
{
    static char text[POISE_ADDRESS_TEXT];
    poise_address_format(address, text, sizeof text);
    return text;
}

static void need(const char *what, int result)
{
    if (result < 0) {
        fprintf(stderr, "everything: %s: %s\n", what, strerror(-result));
        exit(1);
    }
}

static void watch(struct handler *handler, uint32_t interest)
{
    need(handler->name, poise_watch(queue, poise_fd(handler->fd), interest, handler));
}

static void finish(struct handler *handler)
{
    poise_unwatch(queue, poise_fd(handler->fd));
    close(handler->fd);
}

/* ---- a TCP echo server ------------------------------------------------------------------------------------------- */

struct connection {
    struct handler handler;
    poise_address peer;
    size_t from, to; /* bytes[from] to bytes[to] have come, and are not sent back yet */
    char bytes[1024];
};

static void on_connection(struct handler *self, const poise_event *event)
{
    struct connection *c = (struct connection *)self;
    (void)event;
    ptrdiff_t n = 1;
    if (c->from == c->to && (n = poise_recv(self->fd, c->bytes, sizeof c->bytes)) > 0) {
        c->from = 0, c->to = (size_t)n;
        say(self, "%td bytes from %s go back", n, text_of(&c->peer));
    }
    if (n > 0 && (n = poise_send(self->fd, c->bytes + c->from, c->to - c->from)) > 0)
        c->from += (size_t)n;
    if (n > 0 || n == -EAGAIN) {
        watch(self, c->from < c->to ? POISE_WRITABLE : POISE_READABLE);
        return;
    }
    say(self, "%s is gone (%s)", text_of(&c->peer), n == 0 ? "end" : strerror((int)-n));
    finish(self);
    free(c);
}

static void on_listener(struct handler *self, const poise_event *event)
{
    (void)event;
    int fd;
    poise_address peer;
    while ((fd = poise_tcp_accept(self->fd, &peer)) >= 0) {
        struct connection *c = calloc(1, sizeof *c);
        need("a connection", c == NULL ? -ENOMEM : 0);
        c->handler = (struct handler){ on_connection, "echo", fd };
        c->peer = peer;
        say(self, "a connection from %s", text_of(&peer));
        watch(&c->handler, POISE_READABLE);
    }
    if (fd != -EAGAIN) /* examples/echo.c shows what to do about EMFILE */
        say(self, "accept: %s", strerror(-fd));
}

/* ---- a TCP client ------------------------------------------------------------------------------------------------ */

static unsigned pings;
static void on_answer(struct handler *self, const poise_event *event);

static void on_room(struct handler *self, const poise_event *event)
{
    (void)event;
    char ping[16];
    ptrdiff_t n = poise_send(self->fd, ping, (size_t)snprintf(ping, sizeof ping, "ping %u\n", pings + 1));
    if (n == -EAGAIN) /* a WASI host may say so of a fresh socket, too */
        return;
    pings++;
    self->run = on_answer;
    watch(self, POISE_READABLE);
}

static void on_answer(struct handler *self, const poise_event *event)
{
    (void)event;
    char bytes[256];
    ptrdiff_t n = poise_recv(self->fd, bytes, sizeof bytes);
    if (n == -EAGAIN)
        return;
    say(self, n > 0 ? "the answer has %td bytes" : "the server has closed (%td)", n);
    if (n <= 0 || pings == 3) {
        finish(self);
        return;
    }
    self->run = on_room;
    watch(self, POISE_WRITABLE);
}

static void on_connected(struct handler *self, const poise_event *event)
{
    int result = poise_tcp_connect_result(self->fd);
    if (result == -EINPROGRESS)
        return;
    say(self, result < 0 ? "not connected: %s" : "connected", strerror(-result));
    if (result < 0) {
        finish(self);
        return;
    }
    self->run = on_room;
    on_room(self, event);
}

/* ---- a UDP echo -------------------------------------------------------------------------------------------------- */

static void on_datagram(struct handler *self, const poise_event *event)
{
    (void)event;
    char bytes[2048];
    poise_address from;
    ptrdiff_t n;
    while ((n = poise_recv_from(self->fd, bytes, sizeof bytes, &from)) >= 0) {
        say(self, "a datagram of %td bytes from %s goes back", n, text_of(&from));
        poise_send_to(self->fd, bytes, (size_t)n, &from);
    }
}

/* ---- a waker: woken by a thread; under WASI, where there is none, by the program's own timer --------------------- */

static poise_waker waker;

static void on_wake(struct handler *self, const poise_event *event)
{
    (void)event;
    say(self, "woken");
}

#ifdef __wasi__
static void start_waking(void) {}
static void wake_from_timer(void) { poise_wake(&waker); }
static void stop_waking(void) {}
#else
#include <pthread.h>
#include <time.h>

static pthread_t thread;

static void *wakes(void *unused)
{
    struct timespec pause = { .tv_nsec = 350000000 };
    for (int i = 0; i < 3; i++) {
        nanosleep(&pause, NULL);
        poise_wake(&waker);
    }
    return unused;
}

static void start_waking(void) { need("a thread", -pthread_create(&thread, NULL, wakes, NULL)); }
static void wake_from_timer(void) {}
static void stop_waking(void) { pthread_join(thread, NULL); }
#endif

/* ---- timers ------------------------------------------------------------------------------------------------------ */

static poise_timer tick_timer, end_timer;
static unsigned ticks;

static void on_tick(struct handler *self, const poise_event *event)
{
    (void)event;
    say(self, "tick %u", ++ticks);
    if (ticks % 2 == 0)
        wake_from_timer();
    poise_timer_start(queue, &tick_timer, tick_timer.deadline_ns + 250 * MS, self);
}

static void on_end(struct handler *self, const poise_event *event)
{
    (void)event;
    say(self, "time is up");
    ended = true;
}

/* ---- a name look-up ---------------------------------------------------------------------------------------------- */

static poise_lookup lookup;
static const char *name = "localhost";

static void on_lookup(struct handler *self, const poise_event *event)
{
    (void)event;
    poise_address address;
    int result;
    while ((result = poise_lookup_next(&lookup, &address)) == 1)
        say(self, "%s is %.*s", name, (int)(strrchr(text_of(&address), ':') - text_of(&address)), text_of(&address));
    if (result != -EAGAIN)
        say(self, "%s", result == 0 ? "that was all" : strerror(-result));
}

static void start_lookup(struct handler *self)
{
    int result = poise_lookup_start(queue, &lookup, name, 0, AF_UNSPEC, poise_now() + 5000 * MS, self);
    if (result < 0)
        say(self, "%s can't be looked up: %s", name, strerror(-result));
}

/* ---- standard input ---------------------------------------------------------------------------------------------- */

static void on_input(struct handler *self, const poise_event *event)
{
    (void)event;
    static char line[256];
    static size_t length;
    ssize_t n = read(self->fd, line + length, sizeof line - 1 - length); /* ready: it does not block */
    if (n <= 0) {
        say(self, "ends");
        poise_unwatch(queue, poise_fd(self->fd));
        return;
    }
    length += (size_t)n;
    line[length] = '\0';
    char *start = line, *end;
    while ((end = strchr(start, '\n')) != NULL || length == sizeof line - 1) {
        if (end != NULL)
            *end = '\0';
        say(self, "line \"%s\"", start);
        ended |= strcmp(start, "quit") == 0;
        start = end != NULL ? end + 1 : line + length;
        if (end == NULL)
            break;
    }
    length -= (size_t)(start - line);
    memmove(line, start, length);
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
    struct handler listener = { on_listener, "tcp", -1 }, client = { on_connected, "client", -1 };
    struct handler udp = { on_datagram, "udp", -1 }, input = { on_input, "stdin", STDIN_FILENO };
    struct handler tick = { on_tick, "timer", -1 }, end = { on_end, "timer", -1 };
    struct handler look = { on_lookup, "lookup", -1 }, wake = { on_wake, "waker", -1 };
    poise_address any, own;
    poise_address_parse(&any, "127.0.0.1", 0);

    need("a queue", poise_open(&queue, NULL));
    started = poise_now();
    need("a TCP listener", listener.fd = poise_tcp_listen(&any, 0));
    need("a UDP socket", udp.fd = poise_udp_bind(&any));
    poise_local_address(udp.fd, &own);
    uint16_t udp_port = poise_address_port(&own);
    poise_local_address(listener.fd, &own);
    printf("poise %s on %s: TCP port %u, UDP port %u\n", poise_version(), poise_backend(queue),
           poise_address_port(&own), udp_port);
    fflush(stdout);

    watch(&listener, POISE_READABLE);
    watch(&udp, POISE_READABLE);
    watch(&input, POISE_READABLE);
    if (argc > 2)
        poise_address_parse(&own, "127.0.0.1", (uint16_t)strtoul(argv[2], NULL, 10));
    need("a TCP client", client.fd = poise_tcp_connect(&own));
    watch(&client, POISE_WRITABLE);
    poise_timer_start(queue, &tick_timer, started + 250 * MS, &tick);
    poise_timer_start(queue, &end_timer, started + (argc > 1 ? strtoull(argv[1], NULL, 10) : 10) * 1000 * MS, &end);
    if (argc > 3)
        name = argv[3];
    start_lookup(&look);
    need("a waker", poise_waker_open(queue, &waker, &wake));
    start_waking();

    int result = 0;
    while (!ended && (result = poise_wait(queue, POISE_FOREVER)) >= 0) {
        poise_event event;
        while (poise_next(queue, &event)) {
            struct handler *handler = event.data;
            handler->run(handler, &event);
        }
    }
    need("poise_wait", result);
    stop_waking();
    poise_waker_close(&waker);
    poise_lookup_stop(&lookup);
    poise_close(queue);
    return 0;
}
