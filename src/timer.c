/* SPDX-License-Identifier: MIT
 *
 * Deadlines in order: a hierarchical timing wheel over the caller's own structures.
 *
 * Eight levels of 64 buckets. A bucket of level 0 spans 2^16 ns (66 us), one of level k spans 2^(16 + 6k) ns. A timer
 * is in the level of the highest digit (base 64) in which its deadline differs from the wheel's hand, in the bucket of
 * that digit. When the hand enters a bucket of a higher level, its timers spread over the levels below. A wait sorts
 * what has become due, so that the order is exact though the buckets are coarse.
 *
 * Why not the usual heap: start and stop are O(1) and touch two neighbours, a million timers cost one move a level
 * each, and nothing is ever allocated. What it costs: the nearest deadline of a crowded far bucket is not known
 * exactly, so the wait looks again when the hand reaches that bucket (at most once a level for each bucket).
 */
#include "timer.h"

/* The public structure's words. Lists are singly linked with a pointer back to the word that points here. */
enum { NEXT, BACK, SEQUENCE }; /* the fourth, TIMER_OWNER, is the queue's */

enum {
    LOOK_AT_MOST = 32
}; /* timers that poise__timers_next looks at in a far bucket before it settles for the bucket's beginning */

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

void poise__timers_init(struct timers *timers)
{
    timers->due_end = &timers->due;
    timers->now = poise_now();
}

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
    link_at(&timers->bucket[level][slot], timer);
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

static uintptr_t empty_bucket(struct timers *timers, unsigned level, unsigned slot)
{
    uintptr_t all = timers->bucket[level][slot];
    timers->bucket[level][slot] = 0;
    timers->occupied[level] &= ~(UINT64_C(1) << slot);
    return all;
}

void poise__timers_start(struct timers *timers, poise_timer *timer, uint64_t deadline_ns)
{
    timer->deadline_ns = deadline_ns;
    timer->reserved[SEQUENCE] = timers->sequence++;
    place(timers, timer);
    if (timers->next_known && deadline_ns < timers->next) {
        timers->next = deadline_ns;
    }
}

/* A bucket that a stop leaves empty keeps its bit: whoever looks at it next clears it. */
void poise__timers_stop(struct timers *timers, poise_timer *timer)
{
    if (timers->due_end == &timer->reserved[NEXT]) {
        timers->due_end = (uintptr_t *)timer->reserved[BACK];
    }
    unlink_from(timer);
    if (timer->deadline_ns <= timers->next) {
        timers->next_known = false;
    }
}

uint64_t poise__timers_look(struct timers *timers)
{
    unsigned level;
    unsigned slot;
    while (!timers->next_known && first_bucket(timers, &level, &slot)) {
        uint64_t nearest = UINT64_MAX;
        unsigned seen = 0;
        for (uintptr_t at = timers->bucket[level][slot]; at != 0; at = as_timer(at)->reserved[NEXT]) {
            if (level > 0 && seen == LOOK_AT_MOST) {
                nearest = bucket_begins(timers, level, slot);
                break;
            }
            if (as_timer(at)->deadline_ns < nearest) {
                nearest = as_timer(at)->deadline_ns;
            }
            seen++;
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
    uintptr_t run[8 * sizeof(size_t)] = { 0 };
    unsigned runs = 0;
    while (list != 0) {
        uintptr_t sorted = list;
        list = as_timer(list)->reserved[NEXT];
        as_timer(sorted)->reserved[NEXT] = 0;
        unsigned i = 0;
        for (; run[i] != 0; i++) {
            sorted = merge(run[i], sorted);
            run[i] = 0;
        }
        run[i] = sorted;
        runs = i + 1 > runs ? i + 1 : runs;
    }
    uintptr_t all = 0;
    for (unsigned i = 0; i < runs; i++) {
        all = merge(run[i], all);
    }
    return all;
}

/* Moves what is due in a bucket of level 0 in front of a list. */
static uintptr_t take_due(struct timers *timers, unsigned slot, uint64_t now_ns, uintptr_t list)
{
    uintptr_t at = empty_bucket(timers, 0, slot);
    while (at != 0) {
        poise_timer *timer = as_timer(at);
        at = timer->reserved[NEXT];
        if (timer->deadline_ns <= now_ns) {
            timer->reserved[NEXT] = list;
            list = (uintptr_t)timer;
        } else {
            place(timers, timer);
        }
    }
    return list;
}

void poise__timers_gather(struct timers *timers, uint64_t now_ns)
{
    if (now_ns < poise__timers_next(timers)) {
        return;
    }
    uintptr_t list = 0;
    unsigned level;
    unsigned slot;
    while (first_bucket(timers, &level, &slot)) {
        uint64_t begins = bucket_begins(timers, level, slot);
        if (begins > now_ns) {
            break;
        }
        if (level == 0) {
            list = take_due(timers, slot, now_ns, list);
            if (timers->occupied[0] & UINT64_C(1) << slot) {
                break; /* some of this bucket is still to come, so all others are, too */
            }
        } else { /* the hand enters this bucket: its timers spread over the levels below */
            uintptr_t at = empty_bucket(timers, level, slot);
            timers->now = begins;
            while (at != 0) {
                poise_timer *timer = as_timer(at);
                at = timer->reserved[NEXT];
                place(timers, timer);
            }
        }
    }
    if (now_ns > timers->now) {
        timers->now = now_ns;
    }
    timers->next_known = false;
    for (list = sort(list); list != 0;) {
        poise_timer *timer = as_timer(list);
        list = timer->reserved[NEXT];
        link_at(timers->due_end, timer);
        timers->due_end = &timer->reserved[NEXT];
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
