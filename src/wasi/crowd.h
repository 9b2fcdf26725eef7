/* Hot and cold: which of many sources the next call of the host names (crowd.c). It knows slots by number, and nothing
 * of handles and hosts. */
#ifndef POISE_CROWD_H
#define POISE_CROWD_H

#include <stdbool.h>
#include <stdint.h>

struct heat {            /* of a slot */
    uint32_t cools : 28; /* a hot one: in which turn */
    uint32_t hits : 2;   /* how often it was ready since it is hot, up to what proves it */
    uint32_t listed : 1; /* it is in the order, */
    uint32_t hot : 1;    /* and among the hot ones */
};

struct crowd {
    uint32_t *order;   /* slots: the hot ones in [0, hot), the cold ones in [hot, count). The owner's memory, */
    struct heat *heat; /* and this: by slot */
    uint32_t hot, count;
    uint32_t next_hot; /* where their rotations go on: positions in the order */
    uint32_t next_cold;
    uint32_t asked;  /* hot ones since the last turn: the owner says how far it came */
    uint32_t turn;   /* counts waits that asked about all hot ones (with a full batch, several make one) */
    uint32_t trust;  /* in the hot ones: are they what waits end with? */
    uint64_t before; /* the time of the wait before */
    uint64_t lasts;  /* a turn of the cold ones' rotation, in ns */
    uint64_t owed;   /* time since then and from before, in ns, that cold ones were not named for */
    uint32_t named;  /* cold ones, of late, */
    uint32_t found;  /* and of these, ready */
};

enum { MOST_TRUST = 4096 };

/* A slot that must be seen by the next wait becomes, or stays, hot. O(cold) if it is a cold one, else O(1). */
void poise__crowd_warm(struct crowd *crowd, uint32_t slot);

/* A wait begins. Returns how many cold ones it should name, so that each turn of their rotation lasts `latency` at
 * most, or 2 us for each. What is hot and was not ready for long becomes cold; `scratch` has room for that. */
uint32_t poise__crowd_begin(struct crowd *crowd, uint64_t now, uint64_t latency, uint32_t *scratch);

/* A call has just named all of them. */
void poise__crowd_saw_all(struct crowd *crowd, uint64_t now);

/* For how long to wait for the hot ones alone before all are looked at, in ns. 0: not at all. */
uint64_t poise__crowd_patience(const struct crowd *crowd);

/* Whether more than one in `n` of the cold ones that were named, of late, was ready. */
bool poise__crowd_dense(const struct crowd *crowd, uint32_t n);

/* The slot at a position was ready; it is hot from now on, for `turns` turns at least. A cold one changes its position,
 * and those behind it keep theirs. Returns whether that had to be expected: it is a hot one that was ready often. */
bool poise__crowd_ready(struct crowd *crowd, uint32_t position, uint32_t turns);

/* The next position of the cold ones' rotation, or UINT32_MAX at the end of a turn: the next call begins another. */
uint32_t poise__crowd_next_cold(struct crowd *crowd);

/* The slot at the position that poise__crowd_next_cold returned waits for nothing: forget it. */
void poise__crowd_drop(struct crowd *crowd, uint32_t position);

/* Whether it was a hot one that a wait ended with, one that had to be expected. */
void poise__crowd_learn(struct crowd *crowd, bool hot);

#endif
