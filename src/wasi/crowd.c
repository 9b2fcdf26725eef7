/* SPDX-License-Identifier: MIT
 *
 * Hot and cold. A host looks at each handle that a call names, ready or not: 0.25 to 0.65 us, and once more when it wakes
 * up. So most waits name the hot sources, those that were ready of late, and a few cold ones in rotation. Five rules:
 *
 *  1. Pace. A wait names as many cold ones as the time since the wait before asks for, so that each turn of the rotation
 *     lasts max(latency, 2 us for each cold one) at most: a quarter of the time at most goes into that. At least
 *     FEWEST_COLD, so that a turn also ends after a counted number of waits, however fast they are.
 *  2. Horizon. A hot one that is not ready costs a handle in each wait. It stays for as many waits as cold handles were
 *     named, of late, to find one that is ready: so much it would cost to find it again.
 *  3. Proof. A cold one that was ready may not be so again (random activity over all). Until it was ready for the third
 *     time it stays for an eighth of that only, so at most an eighth of what it cost to find it is spent on it. (Not the
 *     second: after a read that took everything a stream is ready once more.)
 *  4. Patience. When nothing is ready, a wait is blocked on the hot ones alone for as long as it would take to name all:
 *     whatever comes then, no more than twice the cost of the better choice is paid. Only then on all. (Not at all if
 *     the latency asked for is shorter.)
 *  5. Trust. That pays only if it is likely enough that a hot one is next: as likely as of late. (A host's timer lasts a
 *     millisecond at least, and to name 300 handles takes a tenth of that.)
 *
 * The order of the hot ones changes only by what cools and what is added at their end, so a rotation among them misses
 * nobody (G7). Of the cold ones, the first takes the place of one that becomes hot: it may then be named up to two turns
 * after the last time, not one; never more, as whoever is ahead of the rotation stays there. */
#include "crowd.h"

#include <stddef.h>

enum { FEWEST_COLD = 4, COLD_COSTS = 2000 /* ns of a wait's time for each cold one */, NAME_COSTS = 500 /* ns */ };
enum { SHORTEST = 8, NEW = 16, LONGEST_TRIAL = 64, TRIAL = 8 /* part of the horizon */, PROVEN = 2 };
enum { SHORTEST_PATIENCE = 1000000 /* ns: hosts' timers are whole milliseconds */ };
enum { FORGETS = 16 }; /* trust is an average over so many waits */

#define LONGEST_TURN UINT64_C(1000000000000) /* ns: owed * n stays below 2^64 */
#define TURNS (UINT32_C(1) << 28)

static uint32_t cold(const struct crowd *crowd) { return crowd->count - crowd->hot; }

/* Rule 2. One cold one in half of them is the guess to begin with. */
static uint32_t horizon(const struct crowd *crowd)
{
    uint32_t most = cold(crowd) > LONGEST_TRIAL ? cold(crowd) : LONGEST_TRIAL;
    uint32_t turns = (crowd->named + most / 2) / (crowd->found + 1);
    return turns < SHORTEST ? SHORTEST : turns < most ? turns : most;
}

static uint32_t stays(const struct crowd *crowd, const struct heat *heat)
{
    uint32_t turns = horizon(crowd);
    if (heat->hits >= PROVEN) {
        return turns;
    }
    return turns / TRIAL < LONGEST_TRIAL ? turns / TRIAL : LONGEST_TRIAL;
}

static void keep(struct crowd *crowd, struct heat *heat, uint32_t turns)
{
    heat->cools = (crowd->turn + 1 + turns) % TURNS; /* turns: at most as many as there are slots, 2^24 */
}

static void promote(struct crowd *crowd, uint32_t position)
{
    uint32_t slot = crowd->order[position];
    crowd->order[position] = crowd->order[crowd->hot];
    crowd->order[crowd->hot++] = slot;
    crowd->heat[slot] = (struct heat){ .listed = 1, .hot = 1 };
}

void poise__crowd_warm(struct crowd *crowd, uint32_t slot)
{
    struct heat *heat = &crowd->heat[slot];
    if (!heat->listed) {
        crowd->order[crowd->count] = slot;
        promote(crowd, crowd->count++);
    } else if (!heat->hot) {
        uint32_t position = crowd->hot;
        while (crowd->order[position] != slot) {
            position++;
        }
        promote(crowd, position);
    }
    uint32_t turns = stays(crowd, heat);
    keep(crowd, heat, turns > NEW ? turns : NEW);
}

/* Out of the hot ones, in order, goes what must. */
static void cool(struct crowd *crowd, uint32_t *scratch)
{
    uint32_t left = 0;
    uint32_t out = 0;
    uint32_t next = crowd->next_hot;
    for (uint32_t i = 0; i < crowd->hot; i++) {
        uint32_t slot = crowd->order[i];
        if ((crowd->turn - crowd->heat[slot].cools) % TURNS < TURNS / 2) {
            scratch[out++] = slot;
            crowd->heat[slot].hot = 0;
            next -= i < crowd->next_hot;
        } else {
            crowd->order[left++] = slot;
        }
    }
    for (uint32_t i = 0; i < out; i++) {
        crowd->order[left + i] = scratch[i];
    }
    crowd->hot = left;
    crowd->next_hot = next;
}

uint32_t poise__crowd_begin(struct crowd *crowd, uint64_t now, uint64_t latency, uint32_t *scratch)
{
    if (crowd->asked >= crowd->hot) {
        crowd->asked = 0;
        crowd->turn++;
        cool(crowd, scratch);
    }
    if (crowd->named >= 8 * crowd->count) { /* forget, by and by */
        crowd->named /= 2;
        crowd->found /= 2;
    }
    uint64_t n = cold(crowd);
    uint64_t turn = latency < LONGEST_TURN ? latency : LONGEST_TURN;
    turn = n * COLD_COSTS > turn ? n * COLD_COSTS : turn;
    crowd->lasts = turn;
    crowd->owed += now - crowd->before;
    crowd->before = now;
    if (crowd->owed > turn) {
        crowd->owed = turn; /* all of them are enough */
    }
    uint64_t due = crowd->owed * n / turn;
    crowd->owed -= n != 0 ? due * turn / n : 0;
    if (due < FEWEST_COLD) {
        due = n < FEWEST_COLD ? n : FEWEST_COLD;
    }
    return (uint32_t)due;
}

void poise__crowd_saw_all(struct crowd *crowd, uint64_t now)
{
    crowd->owed = 0;
    crowd->before = now;
}

uint64_t poise__crowd_patience(const struct crowd *crowd)
{
    uint64_t all = (uint64_t)crowd->count * NAME_COSTS;
    uint64_t patience = all > SHORTEST_PATIENCE ? all : SHORTEST_PATIENCE;
    bool pays = crowd->trust * (all + patience) > MOST_TRUST * patience;
    return pays && patience <= crowd->lasts ? patience : 0;
}

bool poise__crowd_dense(const struct crowd *crowd, uint32_t n) { return crowd->found > crowd->named / n; }

bool poise__crowd_ready(struct crowd *crowd, uint32_t position, uint32_t turns)
{
    struct heat *heat = &crowd->heat[crowd->order[position]];
    bool proven = heat->hot && heat->hits == PROVEN;
    if (!heat->hot) {
        crowd->found++;
        promote(crowd, position);
    } else if (!proven) {
        heat->hits++;
    }
    uint32_t stay = stays(crowd, heat);
    keep(crowd, heat, stay > turns ? stay : turns);
    return proven;
}

uint32_t poise__crowd_next_cold(struct crowd *crowd)
{
    if (crowd->next_cold >= crowd->count) {
        crowd->next_cold = 0;
        return UINT32_MAX;
    }
    if (crowd->next_cold < crowd->hot) {
        crowd->next_cold = crowd->hot;
        if (crowd->hot == crowd->count) {
            return UINT32_MAX;
        }
    }
    crowd->named++;
    return crowd->next_cold++;
}

void poise__crowd_drop(struct crowd *crowd, uint32_t position)
{
    crowd->heat[crowd->order[position]].listed = 0;
    crowd->order[position] = crowd->order[--crowd->count];
    crowd->next_cold = position; /* whatever came there is next */
    crowd->named--;
}

void poise__crowd_learn(struct crowd *crowd, bool hot)
{
    crowd->trust += hot ? (MOST_TRUST - crowd->trust) / FORGETS : 0;
    crowd->trust -= hot ? 0 : crowd->trust / FORGETS;
}
