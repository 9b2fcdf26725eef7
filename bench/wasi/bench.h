/* The parts of a peer program under WASI 0.2: README.md says what each workload does. Peers differ in the wait alone. */
#ifndef BENCH_WASI_H
#define BENCH_WASI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct settings {
    long n, active, drain, timed, gap_us, latency_us, port, limit_ms, cold_latency_ns, batch;
    const char *peer, *workload, *op, *address;
};
extern struct settings settings;

_Noreturn void die(const char *what);  /* with errno */
void *room_for(size_t n, size_t size); /* zeroed; ends the program if there is no memory */

/* ---- waiting: wait_NAME.c, one in each component ----------------------------------------------------------------- */

enum { WAIT_FOREVER = -1 };

extern const char *const waiter_name;
void waiter_open(uint32_t sources, uint32_t timers);    /* at most so many */
void waiter_add(uint32_t source, int fd, short events); /* POLLIN or POLLOUT, level mode */

/* Writes the numbers of the ready sources, returns how many. */
uint32_t waiter_wait(int64_t timeout_ns, uint32_t *ready);

/* Timers are numbered, too. A wait does not report them: it counts those that have come. */
bool waiter_has_timers(void);
void waiter_start(uint32_t timer, uint64_t after_ns);
void waiter_stop(uint32_t timer);
uint64_t waiter_fired(void);

struct host_counts {                                  /* of the wait; all 0 where it cannot be told */
    uint64_t polls, yields, subscribes, drops, looks; /* looks: reads behind a part, which are not the wait's */
};
struct host_counts waiter_host(void);

/* ---- sockets.c --------------------------------------------------------------------------------------------------- */

enum { MOST_READ = 512 };

void make_pairs(short events); /* settings.n pairs: one end watched for POLLIN, or the other for POLLOUT */
void connect_helper(void);     /* one connection for orders, settings.n that are watched */
void make_bound(int type);     /* settings.n listeners (SOCK_STREAM) or UDP sockets (SOCK_DGRAM), watched for POLLIN */
int reader_of(uint32_t source);
int writer_of(uint32_t source);
void write_to(uint32_t source, const void *bytes, size_t size);
void order(const void *bytes, size_t size);           /* on the connection for orders */
long read_of(uint32_t source, char bytes[MOST_READ]); /* how many came; <= 0: none */
void drop_what_came(uint32_t *ready);                 /* before the clock starts */

/* ---- figures.c: what is counted and measured --------------------------------------------------------------------- */

struct figures {
    uint64_t ns, ops, waits, reads, writes, again, served, allocs, wait_ns, seen, lost;
};
extern struct figures figures;

struct samples {
    uint64_t *values;
    size_t n;
};
extern struct samples delays, wait_times;
extern uint64_t allocations; /* by anyone in the component, since its start */

uint64_t now_ns(void);  /* monotonic */
uint64_t wall_ns(void); /* real-time: the helper's clock, too */
uint32_t rnd(void);
void figures_open(void);
void figures_reset(void);
void start_clock(void);
void stop_clock(void); /* adds to ns */
void sample(struct samples *samples, uint64_t value);
void served(uint32_t source); /* an operation was done for it: counts both */

/* ---- workloads.c ------------------------------------------------------------------------------------------------- */

struct workload {
    const char *name;
    enum { NO_HELPER, HELPER_POSSIBLE, HELPER_NEEDED } helper;
    bool timers;         /* no sockets */
    bool delays;         /* it looks at the clock behind each wait */
    void (*make)(void);  /* its own sources; NULL: pairs, or connections to the helper */
    void (*begin)(void); /* once, when the sockets are there; may be NULL */
    void (*round)(uint64_t count);
    long warm_up; /* operations in a round of the warm-up */
    long gap_us;  /* where none is given */
};
const struct workload *workload_named(const char *name);
void begin_round(void);
bool time_is_up(void);                         /* a look at the clock now and then only */
void prepare(const struct workload *workload); /* sets up, drops what came before, warms up */

/* ---- io.c: workload io ------------------------------------------------------------------------------------------- */

void io_make(void);
void io_round(uint64_t count);

#endif
