/* SPDX-License-Identifier: MIT
 *
 * What the peer programs share: README.md says what each workload does; here is how a peer is asked to do it.
 *
 * A program is this folder's work*.c and count.c, and one peer_*.c. What reads, writes and counts is therefore the same
 * function in all, and each call between the two sides costs the same.
 */
#ifndef WORK_H
#define WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- what the command line says ---- */

struct config {
    uint64_t n, active, drain, bytes, burst, look, lump, cpus, batch;
    bool edge;
};

extern struct config config;

/* ---- counts: of each thread; only the main thread's are printed ---- */

struct counts {
    uint64_t reads, writes;       /* of the workload: work*.c */
    uint64_t waits, ctls, allocs; /* of whoever calls: count.c */
};

extern _Thread_local struct counts counts;

/* ---- the clock of a round: it may run several times, and all that is added up ---- */

void clock_start(void);
void clock_stop(uint64_t ops);

/* ---- workloads ---- */

struct workload {
    const char *name;
    const char *keys;            /* of the configuration, each with a space behind it */
    struct config defaults;      /* where they are not 0 */
    const char *(*set_up)(void); /* NULL, or why this cannot be had here */
    void (*round)(uint64_t count);
    void (*check)(void);     /* optional: at the end, whether what was done was right */
    uint64_t warm_up;        /* the count of a round before the first; 0: set_up has done it */
    bool level_only, timers; /* edges make no difference; the peer must have timers */
};

extern const struct workload io_workloads[], timer_workloads[], wake_workloads[];

/* A descriptor that may be watched: the beginning of the peer's own structure, so that each library has what it needs
 * beside it, as in a program of its users. */
struct end {
    int fd;
    int to; /* where to write what was read */
    uint32_t index;
};

struct progress {
    uint64_t done, goal;
};

extern struct progress work;                   /* of what peer_run waits for */
extern void (*work_event)(struct end *end);    /* a peer calls it for each event */
void work_timer(size_t index);                 /* for each timer that fires */
void work_wake(unsigned side);                 /* for each wake that is taken */
struct progress *wake_progress(unsigned side); /* of what peer_wake_run waits for */

_Noreturn void die(const char *what);
_Noreturn void wrong(const char *what, const char *which);
void *zeroed(size_t count, size_t size);
void pin_to_processor(unsigned which); /* of those that the process may use, the calling thread */
unsigned processors(void);
uint64_t next_random(void);

/* ---- a peer: peer_*.c ---- */

extern const char *const peer_names[]; /* what may stand for PEER; a NULL ends it */
extern const size_t peer_end_size;     /* of its structure that begins with a struct end */
extern const bool peer_has_timers;

void peer_open(void);

void peer_prepare(struct end *end); /* its descriptor is known: to be watched later, and again and again */
void peer_release(struct end *end); /* the opposite: the descriptor will be closed */
void peer_watch(struct end *end);
void peer_unwatch(struct end *end);
void peer_pause(struct end *end);
void peer_resume(struct end *end);
void peer_watch_once(struct end *end);
void peer_rearm(struct end *end); /* in the event of one that is watched once */
void peer_again(struct end *end); /* EAGAIN was seen, and edges are wanted */

void peer_run(void);  /* waits and calls work_event until work.done has reached work.goal */
void peer_look(void); /* one wait with time-out zero, and work_event and work_timer for what is there */

void peer_make_timers(size_t count);
void peer_refresh_time(void);                             /* what peer_timer_start may take for now */
void peer_timer_start(size_t index, uint64_t after_ns);   /* not running */
void peer_timer_restart(size_t index, uint64_t after_ns); /* running */
void peer_timer_stop(size_t index);

void peer_wake_open(unsigned side);
void peer_wake(unsigned side);
void peer_wake_once(unsigned side); /* one wait, and work_wake */
void peer_wake_run(unsigned side);  /* the same until wake_progress(side) is reached */

#endif
