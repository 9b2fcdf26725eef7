/* Runs the tests, and holds what they share. See test.h.
 *
 * usage: tests [--backend B] [--scale PERCENT] [--peer PORT] [--host HOST] [--feeder] [--wrong] [--list] [--from NAME]
 *              [--skip NAME] [NAME...]
 *
 * NAME is a group (G5), a test (stale_after_unwatch) or both (G5.stale_after_unwatch). --feeder says that whoever reads
 * the output writes "x\n" to standard input for each line "feed". --wrong negates what each test of mio's is about
 * (POINT in mio/kit.h), so that all of them must fail. The lines "run G5 name" and what follows are read by
 * tests/run.py, which goes on with the next test where a program has crashed.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "test.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <unistd.h>

#ifdef __wasi__
#if __has_include(<wasi/version.h>)
#include <wasi/version.h>
#endif
#else
#include <signal.h>
#include <sys/resource.h>
#endif

#if defined(__wasi__) && !defined(__wasip2__)
#define SOCKETS 0
#else
#define SOCKETS 1
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#endif

#ifdef __wasi__
#define NO_SIGNAL 0 /* there is no SIGPIPE, and sendto refuses the flag */
#else
#define NO_SIGNAL MSG_NOSIGNAL
#endif

const char *test_backend;
bool test_over, test_wrong;

static struct test *tests;
static struct test *running;
static unsigned percent = 100, passed, failed, skipped;
static uint16_t peer;
static const char *host = "";
static bool feeder;

/* ---- running ---------------------------------------------------------------------------------------------------- */

static int group_order(const char *group)
{
    if (group[0] == 'G' && group[1] >= '0' && group[1] <= '9')
        return atoi(group + 1);
    return 1000;
}

static bool sorts_before(const struct test *a, const struct test *b)
{
    int by_number = group_order(a->group) - group_order(b->group);
    if (by_number != 0)
        return by_number < 0;
    int by_group = strcmp(a->group, b->group);
    if (by_group != 0)
        return by_group < 0;
    int by_file = strcmp(a->file, b->file);
    if (by_file != 0)
        return by_file < 0;
    return a->line < b->line;
}

/* Kept in an order of their own, since --from must mean the same however the program was linked. */
void test_register(struct test *test)
{
    struct test **at = &tests;
    while (*at != NULL && sorts_before(*at, test))
        at = &(*at)->next;
    test->next = *at;
    *at = test;
}

static void end_test(const char *how, unsigned *count)
{
    test_over = true;
    (*count)++;
    printf("%s %s %s", how, running->group, running->name);
}

void test_failed(const char *file, int line, const char *format, ...)
{
    if (test_over)
        return;
    const char *base = strrchr(file, '/');
    end_test("not ok", &failed);
    printf(": %s:%d: ", base != NULL ? base + 1 : file, line);
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    fflush(stdout);
}

void test_skipped(const char *reason)
{
    if (test_over)
        return;
    end_test("skip", &skipped);
    printf(": %s\n", reason);
    fflush(stdout);
}

void test_broken(const char *file, int line, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    test_failed(file, line, "%s", text);
    exit(3);
}

#ifdef __wasi__
static void watchdog(unsigned seconds) { (void)seconds; } /* run.py has one of its own */
#else
static void barked(int signal)
{
    (void)signal;
    static const char text[] = ": hangs\n";
    ssize_t ignored = write(1, "not ok ", 7);
    ignored = write(1, running->group, strlen(running->group));
    ignored = write(1, " ", 1);
    ignored = write(1, running->name, strlen(running->name));
    ignored = write(1, text, sizeof text - 1);
    (void)ignored;
    _exit(3);
}

static void watchdog(unsigned seconds)
{
    signal(SIGALRM, barked);
    alarm(seconds);
}
#endif

static void run(struct test *test)
{
    running = test;
    test_over = false;
    printf("run %s %s\n", test->group, test->name);
    fflush(stdout);
    watchdog(60);
    test->run();
    watchdog(0);
    if (!test_over)
        end_test("ok", &passed), printf("\n");
    fflush(stdout);
}

static bool named(const struct test *test, const char *name)
{
    size_t n = strlen(test->group);
    return strcmp(test->group, name) == 0 || strcmp(test->name, name) == 0 ||
           (strncmp(name, test->group, n) == 0 && name[n] == '.' && strcmp(name + n + 1, test->name) == 0);
}

static bool among(const struct test *test, char **names, int n)
{
    for (int i = 0; i < n; i++)
        if (named(test, names[i]))
            return true;
    return false;
}

/* A component has no limit of its own; natively fairness needs 5,000 descriptors. */
static void raise_limits(void)
{
#ifndef __wasi__
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max < 20000 ? limit.rlim_max : 20000;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
#endif
}

static _Noreturn void usage(void)
{
    fprintf(stderr,
            "usage: tests [--backend B] [--scale PERCENT] [--peer PORT] [--host HOST] [--feeder] [--wrong] [--list] "
            "[--from NAME] [--skip NAME] [NAME...]\n");
    exit(2);
}

int main(int argc, char **argv)
{
    bool list = false;
    const char *from = NULL;
    char *skips[256], *names[256];
    int skips_n = 0, names_n = 0;
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--list") == 0)
            list = true;
        else if (strcmp(argv[i], "--feeder") == 0)
            feeder = true;
        else if (strcmp(argv[i], "--wrong") == 0)
            test_wrong = true;
        else if (strcmp(argv[i], "--backend") == 0 && more)
            test_backend = argv[++i];
        else if (strcmp(argv[i], "--scale") == 0 && more)
            percent = (unsigned)atoi(argv[++i]);
        else if (strcmp(argv[i], "--peer") == 0 && more)
            peer = (uint16_t)atoi(argv[++i]);
        else if (strcmp(argv[i], "--host") == 0 && more)
            host = argv[++i];
        else if (strcmp(argv[i], "--from") == 0 && more)
            from = argv[++i];
        else if (strcmp(argv[i], "--skip") == 0 && more && skips_n < 256)
            skips[skips_n++] = argv[++i];
        else if (argv[i][0] != '-' && names_n < 256)
            names[names_n++] = argv[i];
        else
            usage();
    }
    raise_limits();
    poise *queue = NULL;
    if (test_backend == NULL) { /* the platform's own choice */
        if (poise_open(&queue, NULL) != 0)
            return 2;
        static char name[32];
        snprintf(name, sizeof name, "%s", poise_backend(queue));
        test_backend = name;
        poise_close(queue);
    }
    for (struct test *test = tests; test != NULL; test = test->next) {
        if (from != NULL && !named(test, from))
            continue;
        from = NULL;
        if (among(test, skips, skips_n) || (names_n > 0 && !among(test, names, names_n)))
            continue;
        if (list)
            printf("%s %s\n", test->group, test->name);
        else
            run(test);
    }
    if (!list)
        printf("%u passed, %u failed, %u skipped\n", passed, failed, skipped);
    return failed != 0;
}

/* ---- where the tests run -------------------------------------------------------------------------------------- */

bool has_sockets(void) { return SOCKETS != 0; }
int64_t patience(void) { return percent < 100 ? 20 * SECOND : 10 * SECOND; }
uint16_t peer_port(void) { return peer; }

int64_t cpu_time(void)
{
#ifdef __wasi__
    return 0;
#else
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * SECOND +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
#endif
}

bool host_is(const char *name) { return strncmp(host, name, strlen(name)) == 0; }

unsigned scale(unsigned n)
{
    uint64_t scaled = (uint64_t)n * percent / 100;
    return scaled == 0 ? 1 : (unsigned)scaled;
}

bool feed_stdin(void)
{
    if (feeder) {
        printf("feed\n");
        fflush(stdout);
    }
    return feeder;
}

/* ---- queues and events ------------------------------------------------------------------------------------------ */

int try_open(poise **queue, poise_options options)
{
    options.size = sizeof options;
    if (options.backend == NULL)
        options.backend = test_backend;
    return poise_open(queue, &options);
}

poise *open_queue_with(poise_options options)
{
    poise *queue = NULL;
    int result = try_open(&queue, options);
    if (result != 0 || queue == NULL)
        test_broken(__FILE__, __LINE__, "poise_open gave %d", result);
    return queue;
}

poise *open_queue(void) { return open_queue_with((poise_options){ .size = 0 }); }

int wait_all(poise *queue, int64_t timeout_ns, struct seen *seen)
{
    seen->n = 0;
    int result = poise_wait(queue, timeout_ns);
    poise_event event;
    while (poise_next(queue, &event)) {
        if (seen->n == (int)(sizeof seen->event / sizeof seen->event[0]))
            test_broken(__FILE__, __LINE__, "more events than wait_all keeps");
        seen->event[seen->n++] = event;
    }
    return result;
}

uint32_t seen_ready(const struct seen *seen, const void *data)
{
    uint32_t ready = 0;
    for (int i = 0; i < seen->n; i++)
        if (seen->event[i].data == data)
            ready |= seen->event[i].ready;
    return ready;
}

int seen_count(const struct seen *seen, const void *data)
{
    int n = 0;
    for (int i = 0; i < seen->n; i++)
        n += seen->event[i].data == data;
    return n;
}

uint32_t wait_for_bits(poise *queue, const void *data, uint32_t bits)
{
    uint64_t end = poise_now() + (uint64_t)patience();
    for (uint64_t now = poise_now(); now < end; now = poise_now()) {
        struct seen seen;
        if (wait_all(queue, (int64_t)(end - now), &seen) < 0)
            return 0;
        uint32_t ready = seen_ready(&seen, data);
        if (ready != 0 && (ready & bits) == bits)
            return ready;
    }
    return 0;
}

uint32_t wait_for(poise *queue, const void *data) { return wait_for_bits(queue, data, 0); }

bool silent(poise *queue, const void *data, int64_t ns)
{
    uint64_t end = poise_now() + (uint64_t)ns;
    for (uint64_t now = poise_now(); now < end; now = poise_now()) {
        struct seen seen;
        if (wait_all(queue, (int64_t)(end - now), &seen) < 0 || seen_count(&seen, data) != 0)
            return false;
    }
    return true;
}

void settle(poise *queue)
{
    poise_event event;
    for (int i = 0; i < 20 && poise_wait(queue, 10 * MS) > 0; i++)
        while (poise_next(queue, &event)) {}
}

void idle(poise *queue, int64_t ns)
{
    int64_t before = cpu_time();
    uint64_t start = poise_now();
    CHECK_INT(poise_wait(queue, ns), 0);
    CHECK_RANGE(poise_now() - start, ns, ns + patience());
    CHECK_RANGE(cpu_time() - before, 0, ns / 2);
}

void check_unharmed(poise *queue)
{
    poise_timer timer;
    poise_waker waker;
    int fd[2] = { -1, -1 };
    memset(&timer, 0, sizeof timer);
    memset(&waker, 0, sizeof waker);
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    CHECK_INT(poise_timer_start(queue, &timer, poise_now() + (uint64_t)MS, &timer), 0);
    poise_wake(&waker);
    if (has_sockets()) {
        tcp_pair(fd);
        send_byte(fd[1]);
        CHECK_INT(poise_watch(queue, poise_fd(fd[0]), POISE_READABLE, fd), 0);
    }
    bool timed = false, woken = false, readable = !has_sockets();
    uint64_t end = poise_now() + (uint64_t)patience();
    while (!(timed && woken && readable) && poise_now() < end) {
        poise_event event;
        CHECK(poise_wait(queue, 100 * MS) >= 0);
        while (poise_next(queue, &event)) {
            timed |= event.data == &timer && event.ready == POISE_TIMER;
            woken |= event.data == &waker && event.ready == POISE_WAKE;
            readable |= event.data == fd && (event.ready & POISE_READABLE) != 0;
        }
    }
    CHECK(timed && "the queue's timers are harmed");
    CHECK(woken && "the queue's wakers are harmed");
    CHECK(readable && "the queue's sources are harmed");
    poise_waker_close(&waker);
    if (has_sockets()) {
        CHECK_INT(poise_unwatch(queue, poise_fd(fd[0])), 0);
        close_pair(fd);
    }
}

/* ---- allocation
 * ---------------------------------------------------------------------------------------------------- */

void *memory_realloc(void *context, void *block, size_t size)
{
    struct memory *memory = context;
    if (size == 0) {
        memory->live -= block != NULL;
        free(block);
        return NULL;
    }
    memory->calls++;
    if (memory->fail_at != 0 &&
        (memory->calls == memory->fail_at || (memory->sticky && memory->calls > memory->fail_at)))
        return NULL;
    void *moved = realloc(block, size);
    memory->live += block == NULL && moved != NULL;
    return moved;
}

/* ---- sockets
 * ------------------------------------------------------------------------------------------------------- */

#if SOCKETS

void set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    MUST(flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
}

static struct sockaddr_in loopback(uint16_t port)
{
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static int bound(int type, uint16_t *port)
{
    int fd = socket(AF_INET, type, 0);
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    MUST(fd >= 0);
    MUST(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    if (type == SOCK_STREAM)
        MUST(listen(fd, 1024) == 0);
    MUST(getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    *port = ntohs(address.sin_port);
    set_nonblocking(fd);
    return fd;
}

int tcp_listen(uint16_t *port) { return bound(SOCK_STREAM, port); }
int udp_bound(uint16_t *port) { return bound(SOCK_DGRAM, port); }

static int fresh_socket(int type)
{
    int fd = socket(AF_INET, type, 0);
    MUST(fd >= 0);
    set_nonblocking(fd);
    return fd;
}

int tcp_socket(void) { return fresh_socket(SOCK_STREAM); }
int udp_socket(void) { return fresh_socket(SOCK_DGRAM); }

int tcp_connected(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = loopback(port);
    if (fd < 0) /* EMFILE; what WASI's libc makes of that is ENOTSUP */
        return -1;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        MUST(errno == EMFILE || errno == ENFILE); /* jco: only now */
        close(fd);
        return -1;
    }
    set_nonblocking(fd);
    return fd;
}

int tcp_connect_start(uint16_t port)
{
    int fd = tcp_socket();
    struct sockaddr_in address = loopback(port);
    MUST(connect(fd, (struct sockaddr *)&address, sizeof address) == 0 || errno == EINPROGRESS ||
         errno == ECONNREFUSED);
    return fd;
}

/* A socket that a WASI host has just made may be reported readable once with nothing to read: one read ends that. */
static void finish_socket(int fd)
{
    char byte;
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    set_nonblocking(fd);
    MUST(recv(fd, &byte, 1, 0) < 0 && errno == EAGAIN);
}

void tcp_pair_by(int listener, uint16_t port, int fd[2])
{
    fd[0] = tcp_connected(port);
    MUST(fd[0] >= 0);
    struct pollfd pending = { .fd = listener, .events = POLLIN };
    while ((fd[1] = accept(listener, NULL, NULL)) < 0) {
        MUST(errno == EAGAIN);
        MUST(poll(&pending, 1, (int)(patience() / MS)) == 1);
    }
    finish_socket(fd[0]);
    finish_socket(fd[1]);
}

int accept_one(int listener)
{
    int fd = accept(listener, NULL, NULL);
    MUST(fd >= 0 || errno == EAGAIN);
    if (fd >= 0)
        set_nonblocking(fd);
    return fd;
}

void tcp_pairs(int (*fd)[2], unsigned n)
{
    uint16_t port;
    int listener = tcp_listen(&port);
    for (unsigned i = 0; i < n; i++)
        tcp_pair_by(listener, port, fd[i]);
    close(listener);
}

void tcp_pair(int fd[2])
{
    int one[1][2];
    tcp_pairs(one, 1);
    fd[0] = one[0][0];
    fd[1] = one[0][1];
}

static void await(int fd, short events)
{
    struct pollfd poll_fd = { .fd = fd, .events = events };
    int result;
    do
        result = poll(&poll_fd, 1, (int)(patience() / MS));
    while (result < 0 && errno == EINTR);
    MUST(result == 1);
}

void await_readable(int fd) { await(fd, POLLIN); }

long try_send(int fd) { return (long)send(fd, "x", 1, NO_SIGNAL); }

int socket_error(int fd)
{
    int error = 0;
    socklen_t size = sizeof error;
    MUST(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0);
    return error;
}

void udp_send(int fd, uint16_t port, size_t n)
{
    static const char block[4096];
    struct sockaddr_in address = loopback(port);
    MUST(n <= sizeof block);
    while (sendto(fd, block, n, NO_SIGNAL, (struct sockaddr *)&address, sizeof address) < 0) {
        MUST(errno == EAGAIN);
        await(fd, POLLOUT);
    }
}

void send_bytes(int fd, size_t n)
{
    static const char block[4096];
    while (n > 0) {
        ssize_t sent = send(fd, block, n < sizeof block ? n : sizeof block, NO_SIGNAL);
        if (sent > 0) {
            n -= (size_t)sent;
            continue;
        }
        MUST(sent < 0 && (errno == EAGAIN || errno == EINTR));
        await(fd, POLLOUT); /* never a loop of sends: a host may need a poll before it shows room */
    }
}

size_t drain(int fd)
{
    static char block[65536];
    size_t n = 0;
    for (;;) {
        ssize_t got = recv(fd, block, sizeof block, 0);
        if (got <= 0) {
            MUST(got == 0 || errno == EAGAIN || errno == ECONNRESET || errno == EIO);
            return n;
        }
        n += (size_t)got;
    }
}

size_t drain_exactly(int fd, size_t n)
{
    size_t got = drain(fd);
    while (got < n) {
        await(fd, POLLIN);
        got += drain(fd);
    }
    return got;
}

size_t fill(int fd)
{
    static const char block[65536];
    size_t n = 0;
    for (unsigned idle = 0; idle < 3;) {
        ssize_t sent = send(fd, block, sizeof block, NO_SIGNAL);
        if (sent > 0) {
            n += (size_t)sent;
            idle = 0;
            continue;
        }
        MUST(sent < 0 && errno == EAGAIN);
        struct pollfd poll_fd = { .fd = fd, .events = POLLOUT }; /* EAGAIN alone does not mean full on every host */
        idle += poll(&poll_fd, 1, 50) == 0;
    }
    return n;
}

/* fd[1] first: tests fill fd[0], and wasmtime 48 lets a close wait until the peer has taken everything. */
void close_pair(int fd[2])
{
    close(fd[1]);
    close(fd[0]);
}

#else /* WASI 0.1: every test that needs these is skipped before it gets here */

static _Noreturn void no_sockets(void) { test_broken(__FILE__, __LINE__, "WASI 0.1 opens no sockets"); }

void set_nonblocking(int fd) { (void)fd, no_sockets(); }
int tcp_listen(uint16_t *port) { (void)port, no_sockets(); }
int udp_bound(uint16_t *port) { (void)port, no_sockets(); }
int accept_one(int listener) { (void)listener, no_sockets(); }
int tcp_socket(void) { no_sockets(); }
int udp_socket(void) { no_sockets(); }
int tcp_connect_start(uint16_t port) { (void)port, no_sockets(); }
int tcp_connected(uint16_t port) { (void)port, no_sockets(); }
void tcp_pair_by(int listener, uint16_t port, int fd[2]) { (void)listener, (void)port, (void)fd, no_sockets(); }
void tcp_pairs(int (*fd)[2], unsigned n) { (void)fd, (void)n, no_sockets(); }
void tcp_pair(int fd[2]) { (void)fd, no_sockets(); }
void send_bytes(int fd, size_t n) { (void)fd, (void)n, no_sockets(); }
size_t drain(int fd) { (void)fd, no_sockets(); }
size_t drain_exactly(int fd, size_t n) { (void)fd, (void)n, no_sockets(); }
size_t fill(int fd) { (void)fd, no_sockets(); }
void close_pair(int fd[2]) { (void)fd, no_sockets(); }
void await_readable(int fd) { (void)fd, no_sockets(); }
long try_send(int fd) { (void)fd, no_sockets(); }
int socket_error(int fd) { (void)fd, no_sockets(); }
void udp_send(int fd, uint16_t port, size_t n) { (void)fd, (void)port, (void)n, no_sockets(); }

#endif

void send_byte(int fd) { send_bytes(fd, 1); }

/* run.py puts the file there: jco opens what is there, and makes nothing. */
int open_file(void)
{
    static const char name[] = "poise-test.file";
    int fd = open(name, O_RDONLY);
    if (fd < 0) {
        fd = open(name, O_RDWR | O_CREAT, 0600);
        if (fd >= 0)
            unlink(name);
    }
    return fd;
}
