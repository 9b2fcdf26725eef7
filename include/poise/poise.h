/* SPDX-License-Identifier: MIT
 *
 * poise - wait once, for everything.
 *
 * One queue of readiness for every kind of event source: file descriptors, timers, wakers and, under WASI 0.2,
 * any wasi:io pollable (a name look-up, an HTTP response, standard input). One program, native and as a component.
 *
 * Functions that can fail return a negative errno value and leave the queue as it was. man/ has a page for each call with every
 * error; docs/promises.md numbers what a program can rely on.
 * Threads: poise_watch, poise_unwatch, poise_again and poise_post may be called from any thread, poise_wake from a signal
 * handler, too. Everything else belongs to the thread that waits.
 */
#ifndef POISE_H
#define POISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* clang-format off */ /* columns made by hand */

#ifdef __cplusplus
extern "C" {
#endif

#define POISE_VERSION_NUMBER 0x000100   /* 0.1.0 */

#ifndef POISE_API
#if defined(__GNUC__)
#define POISE_API __attribute__((visibility("default")))
#else
#define POISE_API
#endif
#endif

typedef struct poise poise;

/* ---- the queue ------------------------------------------------------------------------------------------------ */

typedef struct poise_options {
    size_t      size;             /* must be sizeof(poise_options): what the caller was compiled with                */
    const char *backend;          /* "epoll", "poll", "wasip2"; NULL: $POISE_BACKEND, else the best of the platform  */
    unsigned    batch;            /* most sources that one wait takes over from the kernel or host; 0: 256; <= 65536  */
    uint64_t    cold_latency_ns;  /* wasip2: how late a source that was idle for long may typically be reported while
                                     others are busy; 0: 1 ms; never less than 2 us for each such source. Up to 16
                                     sources: never late. Longer takes less of the host's time                       */
    void     *(*realloc)(void *context, void *block, size_t size);   /* size 0 frees; NULL: the C library's           */
    void       *context;
} poise_options;

POISE_API int         poise_open(poise **queue, const poise_options *options /* may be NULL */);
POISE_API void        poise_close(poise *queue);         /* closes no source; zero its timers and wakers before reuse */
POISE_API const char *poise_backend(const poise *queue);
POISE_API const char *poise_version(void);               /* "0.1.0"; POISE_VERSION_NUMBER is for the preprocessor     */

/* ---- sources: a descriptor, or whatever a platform header makes one of ----------------------------------------- */

typedef struct poise_source { uint32_t kind; int32_t id; } poise_source;   /* a value: copy it, compare it, drop it   */

static inline poise_source poise_fd(int fd) { poise_source s = { 0, fd }; return s; }
/* <poise/wasi.h>: poise_source poise_pollable(int32_t handle); borrowed: unwatch it before you drop the handle      */

enum {                            /* interest                readiness                                               */
    POISE_READABLE     = 1 << 0,  /* watch for input         input, a connection to accept, or the end               */
    POISE_WRITABLE     = 1 << 1,  /* watch for room          room, or a connect has ended                            */
    POISE_PRIORITY     = 1 << 2,  /* out-of-band data        out-of-band data; -ENOTSUP where there is none          */
    POISE_ERROR        = 1 << 3,  /*                         the source has failed: the next operation says how      */
    POISE_READ_CLOSED  = 1 << 4,  /*                         hint: no more is expected (peer's end, own SHUT_RD)     */
    POISE_WRITE_CLOSED = 1 << 5,  /*                         hint: no more will be taken                             */
    POISE_TIMER        = 1 << 6,  /*                         a poise_timer's deadline has passed                     */
    POISE_WAKE         = 1 << 7,  /*                         a poise_waker was woken                                 */
    POISE_EDGE         = 1 << 8,  /* mode: report a change once; say EAGAIN with poise_again(), for the backend poll */
    POISE_ONESHOT      = 1 << 9   /* mode: report one event, then nothing until poise_watch() again                  */
};                                /* neither mode: level, reported again and again while it holds                    */

/* Watches a source, or replaces how it is watched: what counts is the last call. Interest 0 pauses it. */
POISE_API int poise_watch(poise *queue, poise_source source, uint32_t interest, void *data);
POISE_API int poise_unwatch(poise *queue, poise_source source);
POISE_API int poise_again(poise *queue, poise_source source, uint32_t directions);   /* POISE_EDGE: EAGAIN was seen  */
POISE_API int poise_post(poise *queue, poise_source source, uint32_t ready);         /* ready without the kernel     */

/* ---- waiting -------------------------------------------------------------------------------------------------- */

#define POISE_FOREVER INT64_MAX   /* a negative timeout counts as 0: a deadline that has passed does not block       */

typedef struct poise_event {
    void    *data;
    uint32_t ready;
    int32_t  result;              /* with POISE_ERROR: a negative errno where it is known without taking it; else 0  */
} poise_event;

POISE_API int  poise_wait(poise *queue, int64_t timeout_ns);     /* > 0: there is something to take; 0: time is up   */
POISE_API bool poise_next(poise *queue, poise_event *event);     /* takes one event; false: none left                */

POISE_API int      poise_fileno(const poise *queue);    /* to nest the queue in another loop; -ENOTSUP where it can't */
POISE_API uint64_t poise_deadline(const poise *queue);  /* when that loop must call wait; 0 now, UINT64_MAX never    */

/* ---- timers: the caller's storage, all zero before first use, unmoved while running ----------------------------- */

typedef struct poise_timer {
    void     *data;
    uint64_t  deadline_ns;                               /* on poise_now()'s clock; to be read only                   */
    uintptr_t reserved[4];
} poise_timer;

POISE_API uint64_t poise_now(void);                      /* monotonic, in nanoseconds                                 */
POISE_API int      poise_timer_start(poise *queue, poise_timer *timer, uint64_t deadline_ns, void *data); /* or restart */
POISE_API bool     poise_timer_stop(poise *queue, poise_timer *timer);  /* true: it had not been taken, and never will */

/* ---- wakers: the caller's storage, all zero before first use ---------------------------------------------------- */

typedef struct poise_waker {
    void     *data;
    uintptr_t reserved[5];
} poise_waker;

POISE_API int  poise_waker_open(poise *queue, poise_waker *waker, void *data);
POISE_API void poise_waker_close(poise_waker *waker);    /* no poise_wake of it may run then, or later                */
POISE_API void poise_wake(poise_waker *waker);           /* any thread, any signal handler; keeps errno               */

#ifdef __cplusplus
}
#endif
#endif
