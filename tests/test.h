/* The test kit of poise: one program, the same sources on every backend and host.
 *
 * TEST(G5, stale_after_unwatch) { ... } registers itself. A test fails with its first CHECK that does not hold, and
 * returns there; a helper that checks is called through CALL, so that the test ends with it. Set-up that has to work
 * (open_queue, tcp_pair) ends the program if it doesn't: the runner goes on with the next test.
 */
#ifndef POISE_TEST_H
#define POISE_TEST_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <poise/poise.h>

#define MS INT64_C(1000000)
#define SECOND INT64_C(1000000000)

struct test {
    const char *group, *name, *file;
    int line;
    void (*run)(void);
    struct test *next;
};

void test_register(struct test *test);

#define TEST(group_, name_)                                                    \
    static void test_##group_##_##name_(void);                                 \
    static struct test entry_##group_##_##name_ = {                            \
        #group_, #name_, __FILE__, __LINE__, test_##group_##_##name_, NULL     \
    };                                                                         \
    __attribute__((constructor)) static void register_##group_##_##name_(void) \
    {                                                                          \
        test_register(&entry_##group_##_##name_);                              \
    }                                                                          \
    static void test_##group_##_##name_(void)

/* What has become of the running test: set by the macros below, and looked at by CALL. */
extern bool test_over;

void test_failed(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
void test_skipped(const char *reason);
_Noreturn void test_broken(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

#define CHECK(expression)                                       \
    do {                                                        \
        if (!(expression)) {                                    \
            test_failed(__FILE__, __LINE__, "%s", #expression); \
            return;                                             \
        }                                                       \
    } while (0)

#define CHECK_INT(actual, expected)                                                               \
    do {                                                                                          \
        long long actual_ = (long long)(actual), expected_ = (long long)(expected);               \
        if (actual_ != expected_) {                                                               \
            test_failed(__FILE__, __LINE__, "%s is %lld, not %lld", #actual, actual_, expected_); \
            return;                                                                               \
        }                                                                                         \
    } while (0)

/* For values that have to lie in a range: prints the three. */
#define CHECK_RANGE(actual, least, most)                                                                       \
    do {                                                                                                       \
        long long actual_ = (long long)(actual), least_ = (long long)(least), most_ = (long long)(most);       \
        if (actual_ < least_ || actual_ > most_) {                                                             \
            test_failed(__FILE__, __LINE__, "%s is %lld, not in %lld..%lld", #actual, actual_, least_, most_); \
            return;                                                                                            \
        }                                                                                                      \
    } while (0)

/* Ends a test as skipped. The reason stands word for word in docs/platforms.md: run.py looks for it. */
#define SKIP(reason)          \
    do {                      \
        test_skipped(reason); \
        return;               \
    } while (0)

/* Calls a void helper that uses the macros above, and ends the test with it. */
#define CALL(call)     \
    do {               \
        call;          \
        if (test_over) \
            return;    \
    } while (0)

/* Set-up that has to work, with errno's text if it doesn't. */
#define MUST(expression)                                                                            \
    do {                                                                                            \
        if (!(expression))                                                                          \
            test_broken(__FILE__, __LINE__, "set-up failed: %s: %s", #expression, strerror(errno)); \
    } while (0)

#define NEED_SOCKETS()                         \
    do {                                       \
        if (!has_sockets())                    \
            SKIP("WASI 0.1 opens no sockets"); \
    } while (0)

#define NEED_FILE(fd)                             \
    do {                                          \
        if ((fd) < 0)                             \
            SKIP("the host was given no folder"); \
    } while (0)

/* ---- where the tests run -------------------------------------------------------------------------------------- */

extern const char *test_backend; /* --backend */
extern bool test_wrong;          /* --wrong: what a POINT (mio/kit.h) says is negated */

static inline bool on_wasi(void)
{
#ifdef __wasi__
    return true;
#else
    return false;
#endif
}

static inline bool backend_is(const char *name) { return strcmp(test_backend, name) == 0; }

bool has_sockets(void);         /* false: WASI 0.1 */
unsigned scale(unsigned n);     /* n times --scale percent, at least 1: fewer rounds on a slow host */
int64_t patience(void);         /* how long a wait for what must come may take: 10 s, more on a slow host */
bool host_is(const char *name); /* what --host says begins so: "jco", "wasmtime", "wasmtime-47" */
int64_t cpu_time(void);         /* of the process, in ns; 0 under WASI */
uint16_t peer_port(void);       /* of the process that --peer names; 0: there is none */
bool feed_stdin(void);          /* asks the runner for "x\n" on standard input; false: nobody is there to feed it */

/* ---- queues and events ------------------------------------------------------------------------------------------ */

poise *open_queue(void);                       /* with --backend */
poise *open_queue_with(poise_options options); /* size and backend are filled in */
int try_open(poise **queue, poise_options options);

struct seen { /* all events of one wait, at most 512 */
    int n;
    poise_event event[512];
};

/* Waits once and takes everything. Returns what poise_wait said. */
int wait_all(poise *queue, int64_t timeout_ns, struct seen *seen);
/* The ready bits of all events with this data; 0: there was none. */
uint32_t seen_ready(const struct seen *seen, const void *data);
int seen_count(const struct seen *seen, const void *data);
/* Waits until an event with this data comes, at most patience() in all; other events are dropped. Its ready bits, or
 * 0. */
uint32_t wait_for(poise *queue, const void *data);
/* The same, until one of its events has all of `bits`. */
uint32_t wait_for_bits(poise *queue, const void *data, uint32_t bits);
/* True if nothing with this data comes within `ns`; other events are dropped. */
bool silent(poise *queue, const void *data, int64_t ns);
/* Takes events until a wait finds nothing for a while: spurious readiness of fresh sockets has then passed. */
void settle(poise *queue);
/* One wait that finds nothing, lasts as long as it should, and (natively) takes no processor time. */
void idle(poise *queue, int64_t ns);
/* The queue still does its work: a timer, a waker and (where there are sockets) a descriptor come out. */
void check_unharmed(poise *queue);

/* ---- allocation: options.realloc that counts, and fails at the nth --------------------------------------------- */

struct memory {
    unsigned calls;   /* that asked for memory */
    unsigned fail_at; /* the call that fails (1: the first); 0: none. All later ones fail, too, if `sticky` */
    bool sticky;
    int live; /* blocks that are not freed yet */
};
void *memory_realloc(void *context, void *block, size_t size); /* context: a struct memory */

/* Calls of malloc, calloc, realloc by the whole program so far; needs the linker's --wrap for these (tests/count.c). */
unsigned long malloc_calls(void);
bool malloc_counted(void);
void malloc_fails(bool fails); /* from now on, for the whole program */

/* ---- sockets, by plain libc ---------------------------------------------------------------------------------------
 * */

void tcp_pair(int fd[2]); /* connected, non-blocking, both read once (see main.c) */
void tcp_pairs(int (*fd)[2], unsigned n);
void tcp_pair_by(int listener, uint16_t port, int fd[2]); /* makes two descriptors and no other, fd[0] first */
int tcp_listen(uint16_t *port);                           /* non-blocking, on 127.0.0.1 */
int accept_one(int listener);                             /* -1: there is none now */
int tcp_socket(void);                                     /* unconnected, non-blocking */
int tcp_connected(uint16_t port);                         /* connected, non-blocking; -1: no descriptor is left */
int tcp_connect_start(uint16_t port);                     /* a non-blocking connect that may be under way */
int udp_socket(void);                                     /* unbound, non-blocking */
int udp_bound(uint16_t *port);                            /* non-blocking, on 127.0.0.1 */
void set_nonblocking(int fd);
void send_bytes(int fd, size_t n); /* n bytes, waiting for room with poll(2) */
void send_byte(int fd);
void await_readable(int fd);            /* by poll(2): what was sent has arrived, and the host says so */
size_t drain(int fd);                   /* reads until EAGAIN or the end; how many bytes came */
size_t drain_exactly(int fd, size_t n); /* waits with poll(2) for n bytes, then drains */
size_t fill(int fd);                    /* sends until EAGAIN */
long try_send(int fd);                  /* one byte; -1 and errno, as send(2), never SIGPIPE */
int socket_error(int fd);               /* SO_ERROR */
void close_pair(int fd[2]);
void udp_send(int fd, uint16_t port, size_t n); /* a datagram of n bytes to 127.0.0.1 */
int open_file(void);                            /* a regular file; -1: the host gave no folder */

#endif
