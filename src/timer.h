/* Deadlines in order: see timer.c. */
#ifndef POISE_TIMER_H
#define POISE_TIMER_H

#include <poise/poise.h>

enum { WHEEL_BITS = 6, WHEEL_SLOTS = 1 << WHEEL_BITS, WHEEL_TICK_BITS = 16, WHEEL_LEVELS = 8, WHEEL_LANES = 4 };

enum { TIMER_OWNER = 3 }; /* the word of poise_timer.reserved that says in which queue it runs; 0: in none */

struct timers {
    uintptr_t due; /* gathered and not taken, in order: a bucket's; empty only if none of the wheel's is gathered */
    bool next_known;
    uint64_t next;      /* the nearest deadline (but for those in late), or a moment before it; if next_known */
    uint64_t now;       /* the wheel's hand: every deadline below it is in the bucket that holds it */
    uint64_t gathered;  /* deadlines below this are gathered, though they are in the wheel; 0: none is */
    uintptr_t late;     /* started since then with such a deadline: for the next wait */
    uintptr_t sequence; /* order of starts, for ties */
    uint64_t occupied[WHEEL_LEVELS]; /* a bit a bucket */
    uintptr_t bucket[WHEEL_LEVELS][WHEEL_SLOTS][WHEEL_LANES];
};

void poise__timers_init(struct timers *timers);
void poise__timers_start(struct timers *timers, poise_timer *timer, uint64_t deadline_ns);
void poise__timers_stop(struct timers *timers, poise_timer *timer); /* it runs: in the wheel, due or late */
uint64_t poise__timers_look(struct timers *timers);                 /* finds the nearest deadline anew */
void poise__timers_gather(struct timers *timers, uint64_t now_ns);  /* what is due, unless some is left */
poise_timer *poise__timers_take(struct timers *timers);             /* the first that was gathered, or NULL */

/* When a wait must look again; UINT64_MAX: never. */
static inline uint64_t poise__timers_next(struct timers *timers)
{
    return timers->next_known ? timers->next : poise__timers_look(timers);
}

static inline bool timers_any_due(const struct timers *timers) { return timers->due != 0; }

#endif
