/* A mutex, or nothing on a platform without threads.
 *
 * What other threads may change is under the queue's lock: every public call holds it where it touches that, but for the
 * blocking part of a wait. Timers, and wakers that were gathered, belong to the waiting thread alone; poise_next looks
 * without the lock whether the ready list has a first one. poise_wake takes no lock: it may run in a signal handler that
 * interrupted the holder. */
#ifndef POISE_LOCK_H
#define POISE_LOCK_H

#include <stdbool.h>

#if defined(__wasi__) && !defined(_REENTRANT)

enum { HAVE_THREADS = 0 };
struct lock {
    char unused;
};
static inline int lock_init(struct lock *lock)
{
    lock->unused = 0;
    return 0;
}
static inline void lock_destroy(struct lock *lock) { (void)lock; }
static inline void lock_take(struct lock *lock) { (void)lock; }
static inline void lock_drop(struct lock *lock) { (void)lock; }

#else

#include <pthread.h>

/* A program with one thread needs no lock, and most programs of this kind have one: where the C library tells (glibc
 * 2.32), the lock costs a load instead of two atomic operations. It remembers whether it was taken, as the program may
 * start its first thread meanwhile, from its own realloc; that thread must not use the queue before the call ends. */
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#define ONE_THREAD __libc_single_threaded
#else
#define ONE_THREAD 0
#endif

enum { HAVE_THREADS = 1 };
struct lock {
    pthread_mutex_t mutex;
    bool taken;
};
static inline int lock_init(struct lock *lock)
{
    lock->taken = false;
    return -pthread_mutex_init(&lock->mutex, NULL);
}
static inline void lock_destroy(struct lock *lock) { (void)pthread_mutex_destroy(&lock->mutex); }
static inline void lock_take(struct lock *lock)
{
    if (__builtin_expect(!ONE_THREAD, 0)) {
        (void)pthread_mutex_lock(&lock->mutex);
        lock->taken = true;
    }
}
static inline void lock_drop(struct lock *lock)
{
    if (__builtin_expect(lock->taken, 0)) {
        lock->taken = false;
        (void)pthread_mutex_unlock(&lock->mutex);
    }
}

#endif
#endif
