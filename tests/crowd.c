/* src/wasi/crowd.c by itself: which of many sources a wait names. No host, and a clock that is a number. */
#include "test.h"

#include <wasi/crowd.h> /* of src/ */

enum { MOST = 2000, FEWEST = 4 /* cold ones in each wait */, COLD_COSTS = 2000 /* ns of a turn, each */ };

#define TURNS (UINT32_C(1) << 28)
#define NOBODY UINT32_MAX

static struct room {
    struct crowd crowd;
    uint32_t order[MOST], scratch[MOST];
    struct heat heat[MOST];
    uint32_t named[MOST]; /* by slot: how often, as a cold one */
    uint64_t now;
} room;

/* A crowd without anybody. */
static struct crowd *empty(uint32_t turn)
{
    memset(&room, 0, sizeof room);
    room.crowd = (struct crowd){ .order = room.order, .heat = room.heat, .turn = turn, .trust = MOST_TRUST };
    return &room.crowd;
}

/* A wait begins, all hot ones having been asked about by the one before. */
static uint32_t begin(uint64_t latency)
{
    room.crowd.asked = room.crowd.hot;
    return poise__crowd_begin(&room.crowd, room.now, latency, room.scratch);
}

/* So many cold ones, hot for a while and then forgotten, and so many hot ones after them, by slot. */
static struct crowd *crowd_of(uint32_t cold, uint32_t hot)
{
    struct crowd *crowd = empty(0);
    for (uint32_t slot = 0; slot < cold; slot++)
        poise__crowd_warm(crowd, slot);
    while (crowd->hot > 0)
        (void)begin(1);
    for (uint32_t slot = cold; slot < cold + hot; slot++) {
        poise__crowd_warm(crowd, slot);
        room.heat[slot].cools = TURNS / 4;
    }
    return crowd;
}

static uint32_t position_of(uint32_t slot)
{
    for (uint32_t i = 0; i < room.crowd.count; i++)
        if (room.order[i] == slot)
            return i;
    return NOBODY;
}

/* What a wait does about cold ones: goes on with the rotation, and begins another turn at the end of one. */
static uint32_t name_cold(uint32_t due)
{
    uint32_t named = 0;
    for (unsigned ends = 0; named < due && ends < 2;) {
        uint32_t position = poise__crowd_next_cold(&room.crowd);
        if (position == NOBODY) {
            ends++;
        } else {
            room.named[room.order[position]]++;
            named++;
            ends = 0;
        }
    }
    return named;
}

/* In how many waits from now on a slot that is not ready is hot. */
static uint32_t stays(uint32_t slot)
{
    uint32_t waits = 0;
    while (waits <= MOST * 2 && room.heat[slot].hot) {
        (void)begin(1);
        waits += room.heat[slot].hot;
    }
    return waits;
}

/* ---- in and out of the hot ones ------------------------------------------------------------------------------------ */

TEST(CROWD, whoever_is_ready_is_hot)
{
    struct crowd *crowd = crowd_of(100, 0);
    CHECK_INT(crowd->hot, 0);
    CHECK_INT(crowd->count, 100);
    CHECK(!poise__crowd_ready(crowd, position_of(42), 0));
    CHECK(!poise__crowd_ready(crowd, position_of(7), 0));
    CHECK_INT(crowd->hot, 2);
    CHECK_INT(crowd->count, 100);
    CHECK_INT(room.order[0], 42);
    CHECK_INT(room.order[1], 7);
    CHECK(room.heat[42].hot && room.heat[7].hot);
    CHECK_INT(crowd->found, 2);
    CHECK(!poise__crowd_ready(crowd, 0, 0)); /* the second and the third time it is hot, and still on trial */
    CHECK(!poise__crowd_ready(crowd, 0, 0));
    for (int i = 0; i < 5; i++)
        CHECK(poise__crowd_ready(crowd, 0, 0)); /* it had to be expected */
    CHECK(!poise__crowd_ready(crowd, 1, 0));
    CHECK_INT(crowd->found, 2); /* the hot ones were not found */
}

/* As long as it would take to find it again; an eighth of that on trial. */
static void check_horizon(uint32_t cold, uint32_t named, uint32_t found, uint32_t least, uint32_t most)
{
    uint32_t waits[4];
    for (unsigned hits = 0; hits < 4; hits++) {
        struct crowd *crowd = crowd_of(cold, 0);
        crowd->named = named;
        crowd->found = found - 1;
        for (unsigned i = 0; i <= hits; i++)
            (void)poise__crowd_ready(crowd, position_of(cold / 2), 0);
        waits[hits] = stays(cold / 2);
        CHECK_INT(crowd->hot, 0);
        CHECK_INT(crowd->count, cold);
    }
    CHECK_RANGE(waits[3], least, most);
    CHECK_INT(waits[2], waits[3]);
    CHECK_INT(waits[1], waits[0]);
    CHECK_RANGE(waits[0], waits[2] / 8 < 64 ? waits[2] / 8 : 64, waits[2] / 8 < 64 ? waits[2] / 8 : 64);
}

TEST(CROWD, who_is_silent_becomes_cold)
{
    CALL(check_horizon(1000, 7000, 100, 63, 77)); /* one in 70 */
    CALL(check_horizon(1000, 7000, 20, 315, 385));
    CALL(check_horizon(1000, 7000, 1, 999, 999)); /* never more than there are */
    CALL(check_horizon(1000, 1000, 1000, 8, 8));  /* all of them: a few waits at least */
    CALL(check_horizon(20, 150, 1, 64, 64));
}

/* What is named again and again and is not ready makes the horizon longer, and what is found makes it shorter. */
TEST(CROWD, the_horizon_follows)
{
    struct crowd *crowd = crowd_of(1000, 0);
    for (unsigned i = 0; i < 100; i++)
        CHECK_INT(name_cold(100), 100);
    CHECK_RANGE(crowd->named, 1000, 10000);
    uint32_t before = crowd->named;
    CHECK(before >= 8 * 1000);
    (void)begin(1);
    CHECK_RANGE(crowd->named, before / 2, before / 2); /* it forgets */
    CHECK(!poise__crowd_dense(crowd, 64));
    for (unsigned i = 0; i < 200; i++)
        CHECK(!poise__crowd_ready(crowd, crowd->hot, 0));
    CHECK_INT(crowd->found, 200);
    CHECK(poise__crowd_dense(crowd, 64)); /* one in 25 or more */
    CHECK(!poise__crowd_dense(crowd, 16));
    (void)poise__crowd_ready(crowd, 0, 0);
    (void)poise__crowd_ready(crowd, 0, 0);
    uint32_t slot = room.order[0];
    CHECK_RANGE(stays(slot), 20, 30); /* 5,000 named, 200 found */
}

TEST(CROWD, ready_for_so_many_waits_at_least)
{
    struct crowd *crowd = crowd_of(100, 0);
    crowd->named = crowd->found = 500;
    (void)poise__crowd_ready(crowd, 50, 123); /* its turn among those that the batch has no room for */
    CHECK_INT(stays(room.order[0]), 123);
}

TEST(CROWD, warm)
{
    struct crowd *crowd = crowd_of(100, 0);
    poise__crowd_warm(crowd, 33); /* a cold one */
    CHECK_INT(crowd->hot, 1);
    CHECK_INT(crowd->count, 100);
    CHECK_INT(room.order[0], 33);
    poise__crowd_warm(crowd, 100); /* a new one */
    CHECK_INT(crowd->hot, 2);
    CHECK_INT(crowd->count, 101);
    CHECK_INT(room.order[1], 100);
    CHECK_RANGE(room.heat[100].cools - crowd->turn, 10, 100);
    for (int i = 0; i < 8; i++)
        (void)begin(1);
    CHECK_INT(crowd->hot, 2);
    poise__crowd_warm(crowd, 33); /* a hot one: for longer */
    CHECK_INT(crowd->hot, 2);
    CHECK_INT(room.order[0], 33);
    CHECK_RANGE(stays(33), 16, 100);
    CHECK_INT(crowd->hot, 0);
    CHECK_INT(crowd->count, 101);
    for (uint32_t slot = 0; slot <= 100; slot++)
        CHECK(position_of(slot) != NOBODY && room.heat[slot].listed && !room.heat[slot].hot);
    CHECK_INT(crowd->found, 0); /* nobody was found */
}

TEST(CROWD, drop)
{
    struct crowd *crowd = crowd_of(10, 2);
    uint32_t last = room.order[11];
    uint32_t position = poise__crowd_next_cold(crowd);
    uint32_t slot = room.order[position];
    CHECK_INT(position, 2);
    uint32_t named = crowd->named;
    poise__crowd_drop(crowd, position);
    CHECK_INT(crowd->named, named - 1); /* it cost nothing */
    CHECK_INT(crowd->count, 11);
    CHECK_INT(crowd->hot, 2);
    CHECK(!room.heat[slot].listed);
    CHECK_INT(position_of(slot), NOBODY);
    CHECK_INT(poise__crowd_next_cold(crowd), 2); /* whoever has its position is next */
    CHECK_INT(room.order[2], last);
    while (poise__crowd_next_cold(crowd) != NOBODY) {}
    CHECK_INT(poise__crowd_next_cold(crowd), 2);
    for (unsigned left = 9; left > 0; left--) { /* all of them, the last one included */
        poise__crowd_drop(crowd, 2);
        CHECK_INT(poise__crowd_next_cold(crowd), left > 1 ? 2 : NOBODY);
    }
    CHECK_INT(crowd->count, 2);
    CHECK_INT(poise__crowd_next_cold(crowd), NOBODY);
    CHECK_INT(begin(1), 0);
    poise__crowd_warm(crowd, slot); /* and back again */
    CHECK_INT(crowd->count, 3);
    CHECK_INT(room.order[2], slot);
}

/* A rotation among the hot ones goes on with whoever was next. */
TEST(CROWD, cooling_keeps_the_order)
{
    for (uint32_t next = 0; next <= 10; next++) {
        for (uint32_t gone = 0; gone < 1 << 10; gone += 7) {
            struct crowd *crowd = crowd_of(5, 10);
            uint32_t expected[10], n = 0;
            crowd->next_hot = next;
            for (uint32_t i = 0; i < 10; i++) {
                uint32_t position = (next + i) % 10, slot = room.order[position];
                if (gone >> position & 1)
                    room.heat[slot].cools = (crowd->turn + 1) & (TURNS - 1);
                else
                    expected[n++] = slot;
            }
            (void)begin(1);
            CHECK_INT(crowd->hot, n);
            CHECK_INT(crowd->count, 15);
            for (uint32_t i = 0; i < n; i++)
                CHECK_INT(room.order[(crowd->next_hot + i) % n], expected[i]);
            for (uint32_t i = 0; i < 15; i++)
                CHECK_INT(room.heat[room.order[i]].hot, i < n);
        }
    }
}

/* With a full batch several waits make one turn of the hot ones: it is turns that count. */
TEST(CROWD, a_turn_may_take_many_waits)
{
    struct crowd *crowd = crowd_of(10, 50);
    uint32_t turn = crowd->turn;
    crowd->asked = 0;
    for (unsigned wait = 0; wait < 100; wait++) {
        crowd->asked += 5;
        (void)poise__crowd_begin(crowd, 0, 1, room.scratch);
    }
    CHECK_INT(crowd->turn - turn, 10);
}

/* The count of turns goes around. */
TEST(CROWD, the_count_goes_around)
{
    for (uint32_t before = 0; before < 40; before++) {
        struct crowd *crowd = empty(TURNS - before);
        poise__crowd_warm(crowd, 0);
        uint32_t fresh = stays(0);
        CHECK_RANGE(fresh, 16, 64);
        for (uint32_t slot = 0; slot < 200; slot++)
            poise__crowd_warm(crowd, slot);
        crowd->turn = TURNS - before;
        for (uint32_t slot = 0; slot < 200; slot++)
            poise__crowd_warm(crowd, slot);
        uint32_t waits = stays(199);
        CHECK_RANGE(waits, 16, 64);
        CHECK_INT(crowd->hot, 0);
        crowd->turn = UINT32_MAX - before; /* and that in 32 bits */
        (void)poise__crowd_ready(crowd, 100, 20);
        CHECK_RANGE(stays(room.order[0]), 20, 64);
        CHECK_INT(crowd->hot, 0);
    }
}

/* ---- pace ------------------------------------------------------------------------------------------------------------ */

/* However fast the waits are, each cold one is named within a counted number of them. */
TEST(CROWD, pace_of_a_frozen_clock)
{
    static const uint32_t colds[] = { 1, 2, 3, 4, 5, 33, 200, 1001, MOST - 3 };
    for (unsigned i = 0; i < sizeof colds / sizeof colds[0]; i++) {
        uint32_t cold = colds[i], last[MOST], longest = 0;
        (void)crowd_of(cold, i % 3);
        memset(last, 0, sizeof last);
        for (uint32_t wait = 1; wait <= 3 * cold; wait++) {
            uint32_t due = begin(UINT64_MAX / MOST); /* of what is owed nothing comes */
            CHECK_INT(due, cold < FEWEST ? cold : FEWEST);
            memset(room.named, 0, sizeof room.named);
            CHECK_INT(name_cold(due), due);
            for (uint32_t slot = 0; slot < cold; slot++) {
                CHECK_RANGE(room.named[slot], 0, 1);
                if (room.named[slot]) {
                    longest = wait - last[slot] > longest ? wait - last[slot] : longest;
                    last[slot] = wait;
                }
            }
        }
        CHECK_RANGE(longest, 1, (cold + FEWEST - 1) / FEWEST + 1);
    }
}

/* By the clock: nobody waits for longer than max(latency, 2 us for each), and no more than that is spent. */
static void check_pace(uint32_t cold, uint64_t latency, uint64_t step)
{
    uint64_t turn = latency > (uint64_t)cold * COLD_COSTS ? latency : (uint64_t)cold * COLD_COSTS;
    uint64_t last[MOST], longest = 0, sum = 0, waits = 3 * turn / step + 3;
    (void)crowd_of(cold, 3);
    room.now = 1;
    (void)name_cold(begin(latency)); /* the first knows nothing of the time */
    for (uint32_t slot = 0; slot < cold; slot++)
        last[slot] = room.now;
    for (uint64_t wait = 0; wait < waits; wait++) {
        room.now += step;
        memset(room.named, 0, sizeof room.named);
        uint32_t due = begin(latency);
        CHECK_INT(name_cold(due), due);
        sum += due;
        for (uint32_t slot = 0; slot < cold; slot++) {
            if (room.named[slot]) {
                longest = room.now - last[slot] > longest ? room.now - last[slot] : longest;
                last[slot] = room.now;
            }
        }
    }
    CHECK_RANGE(longest, 1, turn + step);
    uint64_t asked = cold * waits * step / turn, fewest = FEWEST * waits; /* of all, and at least */
    CHECK_RANGE(sum, fewest < cold ? fewest : 0, (asked > fewest ? asked : fewest) + cold);
}

TEST(CROWD, pace_by_the_clock)
{
    static const uint64_t steps[] = { 777, 20000, 123456, 2 * MS, 40 * MS };
    for (unsigned i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        CALL(check_pace(10, MS, steps[i]));
        CALL(check_pace(500, MS, steps[i]));
        CALL(check_pace(1500, MS, steps[i])); /* 3 ms: more than was asked for */
        CALL(check_pace(1500, 10 * MS, steps[i]));
        CALL(check_pace(1500, 1, steps[i]));
    }
}

/* However long nobody waited: all of them once, and no more. */
TEST(CROWD, what_is_owed_is_capped)
{
    (void)crowd_of(1000, 1);
    for (unsigned i = 0; i < 3; i++) {
        room.now += (uint64_t)(3600 * SECOND);
        memset(room.named, 0, sizeof room.named);
        CHECK_INT(begin(MS), 1000);
        CHECK_INT(name_cold(1000), 1000);
        for (uint32_t slot = 0; slot < 1000; slot++)
            CHECK_INT(room.named[slot], 1);
        CHECK_INT(begin(MS), FEWEST);
        CHECK_INT(name_cold(FEWEST), FEWEST);
    }
    room.now += (uint64_t)SECOND; /* all were looked at while the time went by */
    poise__crowd_saw_all(&room.crowd, room.now);
    CHECK_INT(begin(MS), FEWEST);
    room.now += 500; /* less than one costs adds up */
    (void)begin(MS);
    for (unsigned i = 0; i < 100; i++) {
        room.now += 19 * COLD_COSTS / 2;
        CHECK_RANGE(begin(MS), 9, 10);
    }
}

/* ---- patience and trust ------------------------------------------------------------------------------------------------ */

TEST(CROWD, patience)
{
    struct crowd *crowd = crowd_of(298, 2);
    (void)begin(MS / 2);
    CHECK_INT(poise__crowd_patience(crowd), 0); /* the cold ones would wait for too long, */
    (void)begin(MS);
    CHECK_INT(poise__crowd_patience(crowd), MS); /* and hosts' timers are no shorter */
    unsigned misses = 0, hits = 0;
    for (; poise__crowd_patience(crowd) != 0 && misses < 1000; misses++)
        poise__crowd_learn(crowd, false);
    CHECK_RANGE(misses, 2, 4); /* 0.15 ms against 1 ms: worth it if that fails in less than one case of seven */
    for (int i = 0; i < 1000; i++)
        poise__crowd_learn(crowd, false);
    CHECK_RANGE(crowd->trust, 0, MOST_TRUST / 100);
    for (; poise__crowd_patience(crowd) == 0 && hits < 1000; hits++)
        poise__crowd_learn(crowd, true);
    CHECK_RANGE(hits, 16, 48); /* an average over sixteen */
    for (int i = 0; i < 1000; i++)
        poise__crowd_learn(crowd, true);
    CHECK_RANGE(crowd->trust, MOST_TRUST * 99 / 100, MOST_TRUST);

    crowd->count = 10000; /* for as long as it would take to name all */
    (void)begin(MS);
    CHECK_INT(poise__crowd_patience(crowd), 5 * MS);
    crowd->trust = MOST_TRUST / 2 - 1; /* and then, if it is more likely than not */
    CHECK_INT(poise__crowd_patience(crowd), 0);
    crowd->trust = MOST_TRUST / 2 + 1;
    CHECK_INT(poise__crowd_patience(crowd), 5 * MS);
    crowd->count = 33; /* the fewest that come here: a little trust is lost soon */
    crowd->trust = MOST_TRUST * 9 / 10;
    (void)begin(MS);
    CHECK_INT(poise__crowd_patience(crowd), 0);
    for (int i = 0; i < 1000; i++)
        poise__crowd_learn(crowd, true);
    CHECK_INT(poise__crowd_patience(crowd), MS); /* and comes back */
}

/* ---- against a model --------------------------------------------------------------------------------------------------- */

static uint64_t random_state;

static uint32_t below(uint32_t n)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((random_state >> 33) % n);
}

enum { SLOTS = 150 };

/* The naive crowd: a list of the hot ones, and what is known of each slot. */
static struct model {
    uint32_t hot[SLOTS], n;
    bool listed[SLOTS];
    bool due[SLOTS]; /* cold since this turn of theirs began, and not named yet */
    uint64_t until[SLOTS], turn;
} model;

static bool model_hot(uint32_t slot)
{
    for (uint32_t i = 0; i < model.n; i++)
        if (model.hot[i] == slot)
            return true;
    return false;
}

static void heated(uint32_t slot)
{
    if (!model_hot(slot))
        model.hot[model.n++] = slot;
    model.listed[slot] = true;
    model.due[slot] = false;
    uint32_t waits = (room.heat[slot].cools - room.crowd.turn) % TURNS;
    if (waits > 1000)
        test_failed(__FILE__, __LINE__, "%u is hot for %u waits", slot, waits);
    model.until[slot] = model.turn + waits;
}

static void agree(void)
{
    const struct crowd *crowd = &room.crowd;
    uint32_t listed = 0, seen[SLOTS] = { 0 };
    CHECK_INT(crowd->hot, model.n);
    for (uint32_t i = 0; i < crowd->count; i++) {
        uint32_t slot = room.order[i];
        CHECK(slot < SLOTS);
        CHECK_INT(seen[slot]++, 0);
        CHECK(model.listed[slot] && room.heat[slot].listed);
        CHECK_INT(room.heat[slot].hot, i < crowd->hot);
        if (i < crowd->hot)
            CHECK_INT(slot, model.hot[i]);
    }
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        listed += model.listed[slot];
        CHECK_INT(room.heat[slot].listed, model.listed[slot]);
    }
    CHECK_INT(crowd->count, listed);
    CHECK_RANGE(crowd->trust, 0, MOST_TRUST);
}

static void step_warm(void)
{
    uint32_t slot = below(SLOTS);
    poise__crowd_warm(&room.crowd, slot);
    heated(slot);
}

static void step_ready(void)
{
    if (room.crowd.count == 0)
        return;
    uint32_t position = below(room.crowd.count), slot = room.order[position];
    (void)poise__crowd_ready(&room.crowd, position, below(4) == 0 ? below(300) : 0);
    heated(slot);
}

/* Names some cold ones, drops some of them; at the end of a turn nobody is left who was cold all the time. */
static void step_cold(void)
{
    for (uint32_t n = below(30); n > 0; n--) {
        uint32_t position = poise__crowd_next_cold(&room.crowd);
        if (position == NOBODY) {
            for (uint32_t slot = 0; slot < SLOTS; slot++) {
                CHECK(!model.due[slot]);
                model.due[slot] = model.listed[slot] && !model_hot(slot);
            }
            continue;
        }
        CHECK_RANGE(position, room.crowd.hot, room.crowd.count - 1);
        uint32_t slot = room.order[position];
        model.due[slot] = false;
        if (below(8) == 0) {
            poise__crowd_drop(&room.crowd, position);
            model.listed[slot] = false;
        }
    }
}

static void step_begin(void)
{
    struct crowd *crowd = &room.crowd;
    uint32_t left = 0, rotation[SLOTS], n = 0, was_hot = model.n;
    if (below(3) > 0 && was_hot > 0)
        crowd->next_hot = below(was_hot) + 1;
    bool turns = below(4) > 0;
    crowd->asked = turns ? crowd->hot + below(2) : 0;
    turns |= crowd->hot == 0;
    model.turn += turns;
    for (uint32_t i = 0; i < was_hot; i++) {
        uint32_t slot = model.hot[(crowd->next_hot + i) % was_hot];
        if (!turns || model.until[slot] > model.turn)
            rotation[n++] = slot;
    }
    for (uint32_t i = 0; i < was_hot; i++)
        if (!turns || model.until[model.hot[i]] > model.turn)
            model.hot[left++] = model.hot[i];
    model.n = left;
    room.now += below(100) == 0 ? (uint64_t)SECOND : below(50000);
    uint32_t due = poise__crowd_begin(crowd, room.now, (uint64_t)MS, room.scratch);
    uint32_t cold = crowd->count - crowd->hot;
    CHECK_RANGE(due, cold < FEWEST ? cold : FEWEST, cold);
    CHECK_INT(crowd->hot, n);
    for (uint32_t i = 0; i < n; i++)
        CHECK_INT(model.hot[(crowd->next_hot + i) % n], rotation[i]);
}

TEST(CROWD, random_steps)
{
    for (unsigned seed = 1; seed <= 8; seed++) {
        struct crowd *crowd = empty(seed % 2 ? TURNS - 500 : UINT32_MAX - 500);
        memset(&model, 0, sizeof model);
        random_state = seed;
        unsigned busy = 1 + seed % 4; /* how much of it is ready */
        for (unsigned i = 0, n = scale(5000); i < n; i++) {
            uint32_t what = below(20);
            if (what < 2)
                CALL(step_warm());
            else if (what < 2 + busy)
                CALL(step_ready());
            else if (what < 12)
                CALL(step_cold());
            else if (what < 19)
                CALL(step_begin());
            else
                poise__crowd_learn(crowd, below(2) == 0);
            CALL(agree());
        }
    }
}
