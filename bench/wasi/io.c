/* What one call costs: README.md says which, and what is done around it, off the clock. */
#include "bench.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum { UNPREPARED = 64, ROOM = 64, FULL_MS = 50 };

static const char message[ROOM] = "hello";
static uint32_t *ready;
static bool *come;

/* ---- the calls: whether one ended as it should -------------------------------------------------------------------- */

static ssize_t read_one(uint32_t source)
{
    char bytes[ROOM];
    figures.reads++;
    return recv(reader_of(source), bytes, sizeof bytes, 0);
}

static bool would_block(ssize_t result) { return result < 0 && errno == EAGAIN; }

static bool read_nothing(uint32_t source) { return would_block(read_one(source)); }
static bool read_all(uint32_t source) { return read_one(source) == ROOM; }
static bool read_part(uint32_t source) { return read_one(source) == 5; }
static bool read_on(uint32_t source) { return read_part(source) && read_nothing(source); }

static bool send_one(uint32_t source)
{
    figures.writes++;
    return send(writer_of(source), message, 1, 0) == 1;
}

static bool send_nothing(uint32_t source) { return would_block(send(writer_of(source), message, 1, 0)); }

static bool accept_nothing(uint32_t source)
{
    figures.reads++;
    return would_block(accept(reader_of(source), NULL, NULL));
}

/* ---- before a batch, and behind it -------------------------------------------------------------------------------- */

static void bring(size_t size)
{
    uint32_t left = (uint32_t)settings.n;
    memset(come, 0, left * sizeof *come);
    for (uint32_t i = 0; i < left; i++)
        write_to(i, message, size);
    while (left > 0) {
        uint32_t n = waiter_wait(WAIT_FOREVER, ready);
        for (uint32_t i = 0; i < n; i++) {
            left -= !come[ready[i]];
            come[ready[i]] = true;
        }
    }
}

static void bring_all(void) { bring(ROOM); }
static void bring_part(void) { bring(5); }

/* With libc a wait finds each socket ready once more, though nothing is there. */
static void be_quiet(void)
{
    char bytes[ROOM];
    for (uint32_t n; (n = waiter_wait(0, ready)) > 0;) {
        for (uint32_t i = 0; i < n; i++)
            (void)recv(reader_of(ready[i]), bytes, sizeof bytes, 0);
    }
}

/* What was sent is taken, and a send that found no room gets it. */
static void make_room(void)
{
    char bytes[ROOM];
    for (uint32_t i = 0; i < (uint32_t)settings.n; i++) {
        while (recv(reader_of(i), bytes, sizeof bytes, 0) > 0) {}
        struct pollfd room = { .fd = writer_of(i), .events = POLLOUT };
        (void)poll(&room, 1, -1);
    }
}

/* ---- the sockets -------------------------------------------------------------------------------------------------- */

static void pairs_to_read(void)
{
    make_pairs(POLLIN);
    drop_what_came(ready);
}

static void pairs_to_write(void)
{
    make_pairs(POLLOUT);
    make_room();
}

static void full_pairs(void)
{
    static char much[1 << 16];
    make_pairs(POLLOUT);
    for (uint32_t i = 0; i < (uint32_t)settings.n; i++) {
        struct pollfd room = { .fd = writer_of(i), .events = POLLOUT };
        do {
            while (send(room.fd, much, sizeof much, 0) > 0) {}
        } while (poll(&room, 1, FULL_MS) > 0);
    }
}

static void listeners(void) { make_bound(SOCK_STREAM); }
static void datagrams(void) { make_bound(SOCK_DGRAM); }

/* ---- all of them -------------------------------------------------------------------------------------------------- */

static const struct operation {
    const char *name;
    void (*make)(void);
    bool (*once)(uint32_t source);
    void (*before)(void), (*behind)(void); /* NULL: the call can be made again and again */
} operations[] = {
    { "recv-nothing", pairs_to_read, read_nothing, NULL, NULL },
    { "recv-all", pairs_to_read, read_all, bring_all, be_quiet },
    { "recv-part", pairs_to_read, read_part, bring_part, be_quiet },
    { "recv-on", pairs_to_read, read_on, bring_part, be_quiet },
    { "send", pairs_to_write, send_one, make_room, make_room },
    { "send-nothing", full_pairs, send_nothing, NULL, NULL },
    { "accept-nothing", listeners, accept_nothing, NULL, NULL },
    { "udp-nothing", datagrams, read_nothing, NULL, NULL },
};

static const struct operation *operation;

void io_make(void)
{
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        if (strcmp(operations[i].name, settings.op) == 0)
            operation = &operations[i];
    }
    if (operation == NULL) {
        errno = EINVAL;
        die(settings.op);
    }
    ready = room_for((size_t)settings.n, sizeof *ready);
    come = room_for((size_t)settings.n, sizeof *come);
    operation->make();
    for (int times = 0; times < 2; times++) /* poise looks in a wait at what stands behind a descriptor */
        (void)waiter_wait(0, ready);
}

/* A batch of which one call ended otherwise does not count: a host may say EAGAIN when it likes. */
static void io_batch(void)
{
    uint32_t n = operation->before != NULL ? (uint32_t)settings.n : UNPREPARED;
    struct figures kept = figures;
    bool good = true;
    if (operation->before != NULL)
        operation->before();
    start_clock();
    for (uint32_t i = 0; i < n; i++)
        good &= operation->once(i % (uint32_t)settings.n);
    stop_clock();
    if (good) {
        figures.ops += n;
    } else {
        figures = kept;
        figures.again++;
    }
    if (operation->behind != NULL)
        operation->behind();
}

void io_round(uint64_t count)
{
    begin_round();
    while (figures.ops < count && !time_is_up())
        io_batch();
}
