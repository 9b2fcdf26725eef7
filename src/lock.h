/* A mutex, or nothing on a platform without threads.
 *
 * The queue's lock is held for the length of every public call but the blocking part of a wait. poise_wake takes no
 * lock: it may run in a signal handler that interrupted the holder. */
#ifndef POISE_LOCK_H
#define POISE_LOCK_H

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

enum { HAVE_THREADS = 1 };
struct lock {
    pthread_mutex_t mutex;
};
static inline int lock_init(struct lock *lock) { return -pthread_mutex_init(&lock->mutex, NULL); }
static inline void lock_destroy(struct lock *lock) { (void)pthread_mutex_destroy(&lock->mutex); }
static inline void lock_take(struct lock *lock) { (void)pthread_mutex_lock(&lock->mutex); }
static inline void lock_drop(struct lock *lock) { (void)pthread_mutex_unlock(&lock->mutex); }

#endif
#endif
