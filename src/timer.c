/* SPDX-License-Identifier: MIT
 *
 * Deadlines in order: a hierarchical timing wheel over the caller's own structures.
 *
 * Eight levels of 64 buckets. A bucket of level 0 spans 2^16 ns (66 us), one of level k spans 2^(16 + 6k) ns. A timer
 * is in the level of the highest digit (base 64) in which its deadline differs from the wheel's hand, in the bucket of
 * that digit. When the hand enters a bucket of a higher level, its timers spread over the levels below. What has become
 * due is sorted, so that the order is exact though the buckets are coarse.
 *
 * A timer that has waited for long is in none of the processor's caches when its time comes, and a list gives the
 * address of the next one only with this one: so each bucket has four lists, its lanes, which are walked side by side.
 *
 * A wait moves no timer of later buckets: it notes up to when all are gathered. poise_next takes one bucket after the
 * other into the due list, sorted, while it is in the cache. That list is empty only when nothing is gathered: whoever
 * empties it refills it. A timer that is started meanwhile with a gathered deadline goes to `late`, and into the wheel
 * when the last gathered one is gone; the hand moves only then, or into a bucket that is spread.
 *
 * Why not the usual heap: start and stop are O(1) (but for the stop of the last gathered one of a bucket, which sorts the
 * next bucket: amortised) and touch two neighbours, a million timers cost one move a level
 * each, and nothing is ever allocated. What it costs: the nearest deadline of a crowded far bucket is not known
 * exactly, so the wait looks again when the hand reaches that bucket (at most once a level for each bucket).
 */
#include <string.h>

#include "timer.h"

/* The public structure's words. Lists are singly linked with a pointer back to the word that points here. */
enum { NEXT, BACK, SEQUENCE }; /* the fourth, TIMER_OWNER, is the queue's */

/* Timers that poise__timers_look looks at in a far bucket before it settles for the bucket's beginning. */
enum { LOOK_AT_MOST = 8 };

static poise_timer *as_timer(uintptr_t word) { return (poise_timer *)word; }

static void link_at(uintptr_t *at, poise_timer *timer)
{
    timer->reserved[NEXT] = *at;
    timer->reserved[BACK] = (uintptr_t)at;
    if (*at != 0) {
        as_timer(*at)->reserved[BACK] = (uintptr_t)&timer->reserved[NEXT];
    }
    *at = (uintptr_t)timer;
}

static void unlink_from(poise_timer *timer)
{
    uintptr_t *back = (uintptr_t *)timer->reserved[BACK];
    *back = timer->reserved[NEXT];
    if (*back != 0) {
        as_timer(*back)->reserved[BACK] = (uintptr_t)back;
    }
}

void poise__timers_init(struct timers *timers) { timers->now = poise_now(); }

/* ---- the wheel ---- */

static void place(struct timers *timers, poise_timer *timer)
{
    uint64_t hand = timers->now >> WHEEL_TICK_BITS;
    uint64_t tick = timer->deadline_ns >> WHEEL_TICK_BITS;
    if (tick < hand) {
        tick = hand; /* overdue: in the bucket that the next gathering looks at first */
    }
    uint64_t differ = tick ^ hand;
    unsigned level = differ == 0 ? 0 : (63u - (unsigned)__builtin_clzll(differ)) / WHEEL_BITS;
    unsigned slot = (unsigned)(tick >> (level * WHEEL_BITS)) % WHEEL_SLOTS;
    timers->occupied[level] |= UINT64_C(1) << slot;
    link_at(&timers->bucket[level][slot][timer->reserved[SEQUENCE] % WHEEL_LANES], timer);
}

/* The first bucket that is in use: all its deadlines are before those of any other. */
static bool first_bucket(const struct timers *timers, unsigned *level, unsigned *slot)
{
    for (unsigned i = 0; i < WHEEL_LEVELS; i++) {
        if (timers->occupied[i] != 0) {
            *level = i;
            *slot = (unsigned)__builtin_ctzll(timers->occupied[i]);
            return true;
        }
    }
    return false;
}

static uint64_t bucket_begins(const struct timers *timers, unsigned level, unsigned slot)
{
    unsigned shift = WHEEL_TICK_BITS + level * WHEEL_BITS;
    unsigned above = shift + WHEEL_BITS;
    uint64_t high = above < 64 ? timers->now >> above << above : 0;
    return high | (uint64_t)slot << shift;
}

/* The timers of a bucket, one after the other, a lane in turn: while the processor fetches the next one of this lane
 * from memory, it goes on with those of the others. */
struct walk {
    uintptr_t at[WHEEL_LANES];
    unsigned turn;
};

static struct walk walk_bucket(const struct timers *timers, unsigned level, unsigned slot)
{
    struct walk walk = { .turn = 0 };
    memcpy(walk.at, timers->bucket[level][slot], sizeof walk.at);
    return walk;
}

static poise_timer *walk_on(struct walk *walk)
{
    for (unsigned i = 0; i < WHEEL_LANES; i++) {
        uintptr_t *at = &walk->at[walk->turn++ % WHEEL_LANES];
        if (*at != 0) {
            poise_timer *timer = as_timer(*at);
            *at = timer->reserved[NEXT];
            return timer;
        }
    }
    return NULL;
}

static struct walk empty_bucket(struct timers *timers, unsigned level, unsigned slot)
{
    struct walk all = walk_bucket(timers, level, slot);
    memset(timers->bucket[level][slot], 0, sizeof timers->bucket[level][slot]);
    timers->occupied[level] &= ~(UINT64_C(1) << slot);
    return all;
}

void poise__timers_start(struct timers *timers, poise_timer *timer, uint64_t deadline_ns)
{
    timer->deadline_ns = deadline_ns;
    timer->reserved[SEQUENCE] = timers->sequence++;
    if (deadline_ns < timers->gathered) {
        link_at(&timers->late, timer);
        return;
    }
    place(timers, timer);
    if (timers->next_known && deadline_ns < timers->next) {
        timers->next = deadline_ns;
    }
}

uint64_t poise__timers_look(struct timers *timers)
{
    unsigned level;
    unsigned slot;
    while (!timers->next_known && first_bucket(timers, &level, &slot)) {
        uint64_t nearest = UINT64_MAX;
        unsigned seen = 0;
        struct walk all = walk_bucket(timers, level, slot);
        for (const poise_timer *timer; (timer = walk_on(&all)) != NULL; seen++) {
            if (level > 0 && seen == LOOK_AT_MOST) {
                nearest = bucket_begins(timers, level, slot);
                break;
            }
            nearest = timer->deadline_ns < nearest ? timer->deadline_ns : nearest;
        }
        if (seen == 0) {
            (void)empty_bucket(timers, level, slot);
        } else {
            timers->next = nearest;
            timers->next_known = true;
        }
    }
    if (!timers->next_known) {
        timers->next = UINT64_MAX;
        timers->next_known = true;
    }
    return timers->next;
}

/* ---- what is due ---- */

static bool before(const poise_timer *a, const poise_timer *b)
{
    if (a->deadline_ns != b->deadline_ns) {
        return a->deadline_ns < b->deadline_ns;
    }
    return (intptr_t)(a->reserved[SEQUENCE] - b->reserved[SEQUENCE]) < 0;
}

static uintptr_t merge(uintptr_t a, uintptr_t b)
{
    uintptr_t first = 0;
    uintptr_t *end = &first;
    while (a != 0 && b != 0) {
        uintptr_t *from = before(as_timer(b), as_timer(a)) ? &b : &a;
        poise_timer *timer = as_timer(*from);
        *end = *from;
        end = &timer->reserved[NEXT];
        *from = *end;
    }
    *end = a != 0 ? a : b;
    return first;
}

/* Merge sort from below: run[i] is empty or has 2^i timers. */
static uintptr_t sort(uintptr_t list)
{
    uintptr_t run[8 * sizeof(size_t)];
    unsigned runs = 0;
    while (list != 0) {
        uintptr_t sorted = list;
        list = as_timer(list)->reserved[NEXT];
        as_timer(sorted)->reserved[NEXT] = 0;
        unsigned i = 0;
        for (; i < runs && run[i] != 0; i++) {
            sorted = merge(run[i], sorted);
            run[i] = 0;
        }
        run[i] = sorted;
        runs = i == runs ? runs + 1 : runs;
    }
    uintptr_t all = 0;
    for (unsigned i = 0; i < runs; i++) {
        all = merge(run[i], all);
    }
    return all;
}

/* What is gathered of a bucket of level 0 becomes the due list, in order. */
static void take_due(struct timers *timers, unsigned slot)
{
    uintptr_t list = 0;
    struct walk all = empty_bucket(timers, 0, slot);
    for (poise_timer *timer; (timer = walk_on(&all)) != NULL;) {
        if (timer->deadline_ns < timers->gathered) {
            timer->reserved[NEXT] = list;
            list = (uintptr_t)timer;
        } else {
            place(timers, timer);
        }
    }
    uintptr_t *back = &timers->due;
    *back = sort(list);
    for (; *back != 0; back = &as_timer(*back)->reserved[NEXT]) {
        as_timer(*back)->reserved[BACK] = (uintptr_t)back;
    }
}

/* The hand enters a bucket of a higher level: its timers spread over the levels below. */
static void spread(struct timers *timers, unsigned level, unsigned slot)
{
    timers->now = bucket_begins(timers, level, slot);
    struct walk all = empty_bucket(timers, level, slot);
    for (poise_timer *timer; (timer = walk_on(&all)) != NULL;) {
        place(timers, timer);
    }
}

/* Nothing of the wheel is gathered any more. */
static void end_gathering(struct timers *timers)
{
    if (timers->gathered > timers->now) {
        timers->now = timers->gathered - 1;
    }
    timers->gathered = 0;
    timers->next_known = false;
    uintptr_t at = timers->late;
    timers->late = 0;
    while (at != 0) {
        poise_timer *timer = as_timer(at);
        at = timer->reserved[NEXT];
        place(timers, timer);
    }
}

/* Fills the due list, if it is empty and more is gathered: bucket by bucket, so that a timer is moved, sorted and taken
 * while it is in the cache. */
static void refill(struct timers *timers)
{
    unsigned level;
    unsigned slot;
    while (timers->due == 0 && first_bucket(timers, &level, &slot) &&
           bucket_begins(timers, level, slot) < timers->gathered) {
        if (level > 0) {
            spread(timers, level, slot);
            continue;
        }
        take_due(timers, slot);
        if (timers->due == 0 && (timers->occupied[0] & UINT64_C(1) << slot)) {
            break; /* the rest of this bucket is still to come, so all others are, too */
        }
    }
    if (timers->due == 0) {
        end_gathering(timers);
    }
}

void poise__timers_gather(struct timers *timers, uint64_t now_ns)
{
    if (timers->due != 0 || now_ns < poise__timers_next(timers)) {
        return;
    }
    timers->gathered = now_ns + 1;
    refill(timers);
}

/* A bucket that a stop leaves empty keeps its bit: whoever looks at it next clears it. */
void poise__timers_stop(struct timers *timers, poise_timer *timer)
{
    unlink_from(timer);
    if (timer->deadline_ns <= timers->next) {
        timers->next_known = false;
    }
    if (timers->due == 0 && timers->gathered != 0) {
        refill(timers);
    }
}

poise_timer *poise__timers_take(struct timers *timers)
{
    poise_timer *timer = as_timer(timers->due);
    if (timer != NULL) {
        poise__timers_stop(timers, timer);
    }
    return timer;
}
