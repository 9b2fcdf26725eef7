/* Hot and cold in a component: which handles each call of the host names, by a clock that the test moves.
 *
 * Most sources are pollables of moments: in an hour (idle), long ago (always ready), or soon (`later`: it becomes cold first,
 * and is then awaited by itself, so that it is ready from then on). */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "wasi_kit.h"

#if TEST_WASIP2

#include <poise/wasi.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wasi/wasip2.h>

#define R ((uint32_t)POISE_READABLE)
#define W ((uint32_t)POISE_WRITABLE)

enum { FEWEST = 4 /* cold ones in each wait */, COLD_COSTS = 2000 /* ns of a turn, each */, COOL = 80 /* waits */ };
enum { MORE = 4 /* handles of a wait's own: a time-out, a yield; twice that where the rotation begins anew */ };

/* ---- what the host is asked, and what time it is ------------------------------------------------------------------- */

/* These stand in for the raw imports of src/wasi/host.c and of libc's binding, as in wasi_hooks.c. */
__attribute__((__import_module__("wasi:io/poll@0.2.0"), __import_name__("poll"))) void tests_import_poll(
    const int32_t *handles, size_t n, struct host_list *result);
void poise__import_poll(const int32_t *handles, size_t n, struct host_list *result);
__attribute__((__import_module__("wasi:clocks/monotonic-clock@0.2.0"), __import_name__("now"))) int64_t
tests_import_now(void);
int64_t __wasm_import_monotonic_clock_now(void);

enum { HANDLES = 1 << 16 };

static unsigned named;                   /* handles in all lists */
static unsigned char named_one[HANDLES]; /* how often each was */
static bool frozen;
static int64_t moment; /* if frozen */

void poise__import_poll(const int32_t *handles, size_t n, struct host_list *result)
{
    for (size_t i = 0; i < n; i++)
        named_one[handles[i] % HANDLES] += named_one[handles[i] % HANDLES] < 255;
    named += (unsigned)n;
    tests_import_poll(handles, n, result);
}

int64_t __wasm_import_monotonic_clock_now(void) { return frozen ? moment : tests_import_now(); }

static void freeze(bool freezes)
{
    moment = tests_import_now();
    frozen = freezes;
}

static void forget_named(void)
{
    named = 0;
    memset(named_one, 0, sizeof named_one);
}

/* ---- crowds -------------------------------------------------------------------------------------------------------- */

static int32_t in(int64_t ns) { return monotonic_clock_subscribe_duration((uint64_t)ns).__handle; }
static int32_t never(void) { return in(3600 * SECOND); }
static void drop(int32_t handle) { poll_pollable_drop_own((poll_own_pollable_t){ handle }); }
static void block(int32_t handle) { poll_method_pollable_block((poll_borrow_pollable_t){ handle }); }
static bool is_ready(int32_t handle) { return poll_method_pollable_ready((poll_borrow_pollable_t){ handle }); }

static int32_t passed(void)
{
    int32_t handle = in(0);
    block(handle);
    return handle;
}

enum { MOST = 10300 };

static struct crowd_test {
    poise *queue;
    int32_t handle[MOST]; /* the idle ones, and after them the busy ones */
    unsigned idle, busy;
    unsigned later; /* which of the idle ones is that of a moment that comes soon */
} crowd;

static void watch(int32_t *handle) { CHECK_INT(poise_watch(crowd.queue, poise_pollable(*handle), R, handle), 0); }

static void close_crowd(void)
{
    freeze(false);
    poise_close(crowd.queue);
    for (unsigned i = 0; i < crowd.idle + crowd.busy; i++)
        drop(crowd.handle[i]);
    crowd.idle = crowd.busy = 0;
}

/* One wait, all of whose events are taken. Returns how many there were; `with` of these have this data. */
static int wait_once(int64_t timeout, const void *data, unsigned *with)
{
    poise_event event;
    int n = poise_wait(crowd.queue, timeout);
    if (n < 0)
        return n;
    for (n = 0; poise_next(crowd.queue, &event); n++)
        *with += event.data == data;
    return n;
}

/* Nothing happens, for so long that all become cold. */
static bool cool(void)
{
    unsigned ignored = 0;
    for (int i = 0; i < COOL; i++)
        if (wait_once(0, NULL, &ignored) != 0)
            return false;
    return true;
}

/* The clock stands still; all are cold but the busy ones, which are always ready. */
static void open_crowd(unsigned idle, unsigned busy, unsigned later, poise_options options)
{
    for (int64_t soon = 50 * MS;; soon *= 2) { /* until it is soon enough, and not too soon */
        crowd.queue = open_queue_with(options);
        crowd.idle = idle;
        crowd.later = later;
        for (unsigned i = 0; i < idle; i++) {
            crowd.handle[i] = i == later ? in(soon) : never();
            CALL(watch(&crowd.handle[i]));
        }
        freeze(true);
        if (cool() && !is_ready(crowd.handle[later]))
            break;
        close_crowd();
        CHECK(soon < 10 * SECOND);
    }
    for (crowd.busy = 0; crowd.busy < busy; crowd.busy++) {
        crowd.handle[idle + crowd.busy] = passed();
        CALL(watch(&crowd.handle[idle + crowd.busy]));
    }
}

/* ---- which ones are named ------------------------------------------------------------------------------------------- */

TEST(CROWD, who_is_ready_is_named)
{
    NEED_WASIP2();
    enum { IDLE = 300 };
    unsigned with = 0;
    CALL(open_crowd(IDLE, 0, IDLE / 2, (poise_options){ .batch = 0 }));
    int32_t *later = &crowd.handle[IDLE / 2];
    block(*later);
    forget_named();
    CHECK_INT(wait_once(0, later, &with), 1);
    CHECK_INT(with, 1);
    CHECK_RANGE(named, 128, IDLE + 10); /* it was looked for */
    for (unsigned i = 1; i <= 200; i++) {
        forget_named();
        CHECK_INT(wait_once(i % 3 == 0 ? 0 : i % 3 == 1 ? patience() : POISE_FOREVER, later, &with), 1);
        CHECK_INT(with, i + 1);
        CHECK(named_one[*later % HANDLES] > 0);
        CHECK_RANGE(named, 1, 1 + FEWEST + MORE);
    }
    unsigned sum = 0;
    for (unsigned i = 0; i < 200;
         i++) { /* and by the clock: a tenth of them in a tenth of the turn, and fewer at its end */
        moment += 100000;
        forget_named();
        CHECK_INT(wait_once(POISE_FOREVER, later, &with), 1);
        CHECK_RANGE(named, 2, 1 + IDLE / 10 + 1 + MORE);
        sum += named;
    }
    CHECK_RANGE(sum, 200 * (IDLE / 10) * 3 / 4, 200 * (IDLE / 10 + 1 + MORE));
    close_crowd();
}

/* Some that were busy for long and fell silent are named for as long as it would take to find them, and then no more. */
TEST(CROWD, who_is_silent_is_not_named)
{
    NEED_WASIP2();
    enum { IDLE = 200, PAIRS = 30 };
    int fd[PAIRS][2];
    unsigned ignored = 0, waits = 0;
    CALL(open_crowd(IDLE, 1, 0, (poise_options){ .batch = 0 }));
    tcp_pairs(fd, PAIRS);
    for (unsigned i = 0; i < PAIRS; i++) {
        send_byte(fd[i][1]);
        await_readable(fd[i][0]);
        CHECK_INT(poise_watch(crowd.queue, poise_fd(fd[i][0]), R, fd[i]), 0);
    }
    for (unsigned i = 0; i < 10; i++)
        CHECK(wait_once(POISE_FOREVER, NULL, &ignored) > 1);
    for (unsigned i = 0; i < PAIRS; i++)
        CHECK_INT(drain_exactly(fd[i][0], 1), 1);
    for (unsigned few = 0; few < 10 && waits < 1000; waits++) {
        forget_named();
        CHECK(wait_once(POISE_FOREVER, NULL, &ignored) >= 1);
        if (waits < 5)
            CHECK_RANGE(named, 1 + PAIRS, 1 + PAIRS + FEWEST + MORE);
        few = named <= 1 + FEWEST + MORE ? few + 1 : 0;
    }
    CHECK_RANGE(waits, 16, IDLE + PAIRS + 20);
    for (unsigned i = 0; i < PAIRS; i++) /* and they are found again */
        send_byte(fd[i][1]);
    unsigned found = 0;
    for (unsigned i = 0; i < PAIRS; i++) {
        await_readable(fd[i][0]);
        for (unsigned wait = 0, with = 0; with == 0; wait++) {
            /* Two turns, as others become hot meanwhile; sixteen: until a yield. */
            CHECK_RANGE(wait, 0, 2 * (IDLE + PAIRS + FEWEST - 1) / FEWEST + 2 + 16);
            CHECK(wait_once(POISE_FOREVER, fd[i], &with) >= 1);
            found += with > 0;
        }
    }
    CHECK_INT(found, PAIRS);
    close_crowd();
    for (unsigned i = 0; i < PAIRS; i++)
        close_pair(fd[i]);
}

/* ---- a cold one among busy ones --------------------------------------------------------------------------------------- */

/* Waits with a time-out of 0, or for ever, are made until it comes: `most` at the most, by the clock, too. */
static void await_later(int64_t step, unsigned most, uint64_t latency)
{
    int32_t *later = &crowd.handle[crowd.later];
    unsigned waits = 0;
    int64_t start = moment;
    for (unsigned with = 0; with == 0; waits++) {
        CHECK(waits < most);
        moment += step;
        CHECK(wait_once(waits % 2 ? 0 : POISE_FOREVER, later, &with) > 0);
    }
    if (step > 0)
        CHECK_RANGE(moment - start, 0, latency);
    for (unsigned i = 0; i < crowd.busy * 2 + 10; i++) { /* then it is one of them (G7) */
        unsigned with = 0;
        for (unsigned wait = 0; with == 0; wait++) {
            CHECK(wait < crowd.busy + 3);
            CHECK(wait_once(POISE_FOREVER, later, &with) > 0);
        }
    }
}

/* Five waits of the busy ones alone, and then the cold one is ready. */
static void check_among_busy(unsigned idle, unsigned busy, unsigned batch)
{
    unsigned rounds = (busy + batch) / batch; /* until each hot one had its turn */
    for (unsigned i = 0; i < 3; i++) {
        unsigned later = i == 0 ? 0 : i == 1 ? idle / 3 : idle - 1, ignored = 0;
        CALL(open_crowd(idle, busy, later, (poise_options){ .batch = batch }));
        for (unsigned wait = 0; wait < 5 * rounds; wait++)
            CHECK(wait_once(POISE_FOREVER, NULL, &ignored) > 0);
        block(crowd.handle[later]);
        CALL(await_later(0, (idle + FEWEST - 1) / FEWEST + 2 + rounds, 0));
        close_crowd();
    }
}

TEST(CROWD, a_cold_one_among_busy_ones)
{
    NEED_WASIP2();
    CALL(check_among_busy(200, 1, 256));
    CALL(check_among_busy(200, 1, 1));
    CALL(check_among_busy(201, 40, 16));
    CALL(check_among_busy(300, 40, 1));
    CALL(check_among_busy(300, 200, 256));
    CALL(check_among_busy(100, 200, 16));
}

static void check_by_the_clock(unsigned idle, unsigned busy, unsigned batch, uint64_t latency, int64_t step)
{
    uint64_t turn = latency > (uint64_t)idle * COLD_COSTS ? latency : (uint64_t)idle * COLD_COSTS;
    unsigned rounds = (busy + batch) / batch, ignored = 0;
    for (unsigned i = 0; i < 3; i++) {
        unsigned later = i == 0 ? 0 : i == 1 ? idle / 3 : idle - 1;
        CALL(open_crowd(idle, busy, later, (poise_options){ .batch = batch, .cold_latency_ns = latency }));
        for (unsigned wait = 0; wait < 5 * rounds; wait++, moment += step)
            CHECK(wait_once(POISE_FOREVER, NULL, &ignored) > 0);
        block(crowd.handle[later]);
        CALL(await_later(step, (unsigned)(turn / (uint64_t)step) + 2 + rounds, turn + (uint64_t)step * (rounds + 1)));
        close_crowd();
    }
}

TEST(CROWD, a_cold_one_by_the_clock)
{
    NEED_WASIP2();
    unsigned idle = scale(1000);
    CALL(check_by_the_clock(idle, 3, 256, MS, 50000));
    CALL(check_by_the_clock(idle, 3, 1, MS, 50000));
    CALL(check_by_the_clock(idle, 40, 16, 10 * MS, 300000));
    CALL(check_by_the_clock(idle, 1, 256, 1, 777777)); /* no less than 2 us for each */
}

TEST(CROWD, ten_thousand)
{
    NEED_WASIP2();
    enum { BUSY = 100 };
    unsigned idle = scale(10000), with = 0;
    CALL(open_crowd(idle, BUSY, idle / 2, (poise_options){ .batch = 0 }));
    for (unsigned i = 0; i < 20; i++) {
        forget_named();
        CHECK_INT(wait_once(POISE_FOREVER, &crowd.handle[crowd.later], &with), BUSY);
        CHECK_RANGE(named, BUSY, BUSY + FEWEST + MORE);
    }
    CHECK_INT(with, 0);
    block(crowd.handle[crowd.later]);
    CALL(await_later(0, (idle + FEWEST - 1) / FEWEST + 3, 0));
    close_crowd();
}

/* A wait that returns nothing has looked at all. */
TEST(CROWD, a_wait_for_nothing_looks_at_all)
{
    NEED_WASIP2();
    static const unsigned counts[] = { 17, 33, 200, 400 };
    for (unsigned k = 0; k < sizeof counts / sizeof counts[0]; k++) {
        unsigned n = counts[k], with = 0;
        CALL(open_crowd(n, 0, n - 1, (poise_options){ .batch = 0 }));
        int32_t silent[2] = { never(), never() }; /* hot, for a while */
        for (unsigned i = 0; i < 30; i++) {
            if (i == 10)
                CHECK_INT(poise_watch(crowd.queue, poise_pollable(silent[0]), R, silent), 0);
            if (i == 11)
                CHECK_INT(poise_watch(crowd.queue, poise_pollable(silent[1]), R, silent), 0);
            forget_named();
            int result = wait_once(i % 2 ? 0 : -1, &crowd.handle[n - 1], &with);
            if (result > 0) /* a slow machine: the moment has come */
                break;
            CHECK_INT(result, 0);
            for (unsigned one = 0; one < n; one++)
                CHECK(named_one[crowd.handle[one] % HANDLES] > 0);
            CHECK(i < 10 || named_one[silent[0] % HANDLES] > 0);
        }
        block(crowd.handle[n - 1]);
        CHECK_INT(wait_once(0, &crowd.handle[n - 1], &with), 1);
        close_crowd();
        drop(silent[0]);
        drop(silent[1]);
    }
}

/* ---- timers ------------------------------------------------------------------------------------------------------------ */

/* Timers that end each wait before all were looked at: each fires in time, and a cold one is seen all the same. */
TEST(CROWD, short_timers)
{
    NEED_WASIP2();
    enum { IDLE = 300 };
    CALL(open_crowd(IDLE, 0, IDLE / 2, (poise_options){ .batch = 0 }));
    int32_t hot = passed(), *later = &crowd.handle[IDLE / 2];
    poise_timer timer;
    memset(&timer, 0, sizeof timer);
    freeze(false);
    bool came = false;
    for (unsigned i = 0, after = 0; i < 40 || !came; i++) {
        CHECK(i < 10000);
        if (i < 20) { /* a hot one is ready in between: whatever comes next is expected of it */
            CHECK_INT(poise_watch(crowd.queue, poise_pollable(hot), R | POISE_ONESHOT, &hot), 0);
            CHECK((wait_for(crowd.queue, &hot) & R) != 0);
            if (i == 19) { /* and then it waits for what never comes */
                CHECK_INT(poise_unwatch(crowd.queue, poise_pollable(hot)), 0);
                drop(hot);
                hot = never();
                CHECK_INT(poise_watch(crowd.queue, poise_pollable(hot), R, &hot), 0);
            }
        }
        uint64_t due = poise_now() + 100000 + 50000 * (i % 10);
        CHECK_INT(poise_timer_start(crowd.queue, &timer, due, &timer), 0);
        if (i == 20)
            block(*later); /* which takes a moment, or none */
        after += i >= 20;
        for (bool fired = false; !fired;) {
            struct seen seen;
            CHECK(wait_all(crowd.queue, POISE_FOREVER, &seen) > 0);
            fired = seen_count(&seen, &timer) > 0;
            came |= seen_count(&seen, later) > 0;
        }
        CHECK_RANGE(poise_now() - due, 0, patience());
        CHECK(came || after <= 12); /* ten of them last for three turns of the cold ones */
    }
    close_crowd();
    drop(hot);
}

/* ---- what comes and goes -------------------------------------------------------------------------------------------------- */

enum kind { NOTHING, IDLE_POLLABLE, BUSY_POLLABLE, IDLE_SOCKET, BUSY_SOCKET };

enum { MEMBERS = 256 };

static struct member {
    enum kind kind;
    int id;         /* handle or descriptor */
    bool gone;      /* closed or dropped, and still watched: it is told so once, */
    bool gathered;  /* after what was gathered before that */
    unsigned waits; /* since it was last reported */
} member[MEMBERS];

static uint64_t random_state;

static unsigned below(unsigned n)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)((random_state >> 33) % n);
}

static bool is_socket(const struct member *one) { return one->kind == IDLE_SOCKET || one->kind == BUSY_SOCKET; }
static bool is_busy(const struct member *one) { return one->kind == BUSY_POLLABLE || one->kind == BUSY_SOCKET; }
static poise_source source_of(const struct member *one)
{
    return is_socket(one) ? poise_fd(one->id) : poise_pollable(one->id);
}

/* A number that belonged to one that is gone and still watched is taken over: who had it gets another. */
static void join(struct member *one, enum kind kind)
{
    for (struct member *next = one; next != NULL;) {
        uint16_t port;
        *next = (struct member){ .kind = kind };
        next->id = is_socket(next) ? udp_bound(&port) : kind == BUSY_POLLABLE ? passed() : never();
        poise_source source = source_of(next);
        if (kind == BUSY_SOCKET) { /* the host has a thread of its own that hears of it */
            struct pollfd room = { .fd = next->id, .events = POLLOUT };
            CHECK_INT(poll(&room, 1, (int)(patience() / MS)), 1);
        }
        CHECK_INT(poise_watch(crowd.queue, source, kind == BUSY_SOCKET ? W : R, next), 0);
        one = next;
        next = NULL;
        for (struct member *old = member; old < member + MEMBERS; old++)
            if (old != one && old->gone && source_of(old).kind == source.kind && old->id == one->id) {
                one->gathered = old->gathered; /* an event that was gathered is its successor's */
                next = old;
            }
    }
}

static void end(struct member *one)
{
    if (is_socket(one))
        close(one->id);
    else
        drop(one->id);
}

/* One that is watched goes, in one of the ways of a program. Its number and its slot are then another's. */
static void replace(struct member *one)
{
    enum kind next = (enum kind)(1 + (below(5) > 0 ? below(2) * 2 : below(4)));
    struct member old = *one;
    switch (one->gone ? 1 : below(4)) {
    case 0:
        CHECK_INT(poise_unwatch(crowd.queue, source_of(one)), 0);
        end(one);
        break;
    case 1:
        if (!one->gone)
            end(one);
        CHECK_INT(poise_unwatch(crowd.queue, source_of(one)), 0);
        break;
    case 2: /* its slot is another's before it is closed */
        CHECK_INT(poise_unwatch(crowd.queue, source_of(one)), 0);
        CALL(join(one, next));
        end(&old);
        return;
    default:
        end(one); /* it is told, and unwatched later */
        one->gone = one->gathered = true;
        return;
    }
    CALL(join(one, next));
}

static void take(const poise_event *event)
{
    struct member *one = event->data;
    CHECK(one->kind != NOTHING);
    one->waits = 0;
    if (one->gathered) {
        one->gathered = false;
    } else if (one->gone) {
        CHECK((event->ready & POISE_ERROR) != 0);
        CHECK_INT(event->result, -EBADF);
        CHECK_INT(poise_unwatch(crowd.queue, source_of(one)), 0);
        CALL(join(one, BUSY_POLLABLE));
    } else {
        CHECK(is_busy(one));
        CHECK_INT(event->ready, one->kind == BUSY_SOCKET ? W : R);
    }
}

static void check_coming_and_going(unsigned n, unsigned batch, unsigned rounds)
{
    random_state = n * 1000 + batch;
    crowd.queue = open_queue_with((poise_options){ .batch = batch });
    for (unsigned i = 0; i < n; i++)
        CALL(join(&member[i], i % 10 == 0   ? BUSY_SOCKET
                              : i % 10 == 1 ? BUSY_POLLABLE
                              : i % 2       ? IDLE_SOCKET
                                            : IDLE_POLLABLE));
    for (unsigned round = 0; round < rounds; round++) {
        poise_event event;
        CHECK(poise_wait(crowd.queue, below(2) ? 0 : patience()) > 0);
        unsigned busy = 0, goes = below(batch + 1); /* in the middle of a batch */
        for (unsigned taken = 0; poise_next(crowd.queue, &event); taken++) {
            CALL(take(&event));
            if (taken == goes && round % 4 == 0)
                for (unsigned k = below(6); k > 0; k--)
                    CALL(replace(&member[below(n)]));
        }
        if (round % 20 == 19)
            CALL(replace(&member[below(n)]));
        for (unsigned i = 0; i < n; i++) {
            busy += is_busy(&member[i]) || member[i].gone;
            member[i].gathered = false;
        }
        for (unsigned i = 0; i < n; i++) {
            if (is_busy(&member[i]) || member[i].gone)
                CHECK_RANGE(++member[i].waits, 0, 2 * (busy / batch) + 16);
        }
    }
    poise_close(crowd.queue);
    for (unsigned i = 0; i < n; i++) {
        if (!member[i].gone)
            end(&member[i]);
        member[i] = (struct member){ .kind = NOTHING };
    }
}

TEST(CROWD, coming_and_going)
{
    NEED_WASIP2();
    CALL(check_coming_and_going(250, 256, scale(2000)));
    CALL(check_coming_and_going(250, 16, scale(2000)));
    CALL(check_coming_and_going(120, 1, scale(2000)));
    CALL(check_coming_and_going(40, 16, scale(2000)));
}

/* A handle that no wait has named yet. */
TEST(CROWD, dropped_at_once)
{
    NEED_WASIP2();
    for (unsigned n = 0; n <= 100; n += 50) {
        unsigned told = 0;
        CALL(open_crowd(n + 1, 0, n, (poise_options){ .batch = 0 }));
        freeze(false);
        int32_t handle = never();
        CHECK_INT(poise_watch(crowd.queue, poise_pollable(handle), R, &handle), 0);
        drop(handle);
        for (unsigned wait = 0; wait < 4; wait++) {
            struct seen seen;
            CHECK(wait_all(crowd.queue, 0, &seen) >= 0);
            if (seen_count(&seen, &handle) > 0) {
                CHECK_INT(seen_ready(&seen, &handle), R | POISE_ERROR);
                told++;
            }
        }
        CHECK_INT(told, 1);
        close_crowd();
    }
}

/* ---- modes -------------------------------------------------------------------------------------------------------------- */

/* A byte, while it is hot or after it became cold: level that was paused, edge, and a one-shot. */
static void check_mode(uint32_t mode, bool cold, bool paused)
{
    enum { IDLE = 200 };
    int fd[2];
    CALL(open_crowd(IDLE, 0, 0, (poise_options){ .batch = 0 }));
    freeze(false);
    CHECK_INT(poise_unwatch(crowd.queue, poise_pollable(crowd.handle[0])), 0); /* its moment would come */
    tcp_pair(fd);
    CHECK_INT(poise_watch(crowd.queue, poise_fd(fd[0]), R | mode, fd), 0);
    for (unsigned i = 0; i < 4; i++) {
        if (i % 2 == 1)
            send_byte(fd[1]); /* it is there before the source is armed again */
        settle(crowd.queue);
        if (mode != POISE_EDGE || paused) /* an edge that was reported is quiet until then */
            (void)drain(fd[0]);
        if (paused)
            CHECK_INT(poise_watch(crowd.queue, poise_fd(fd[0]), 0, fd), 0);
        for (int wait = 0; cold && wait < COOL; wait++) {
            struct seen seen;
            CHECK(wait_all(crowd.queue, 0, &seen) >= 0);
            CHECK(!paused || seen.n == 0);
        }
        if (i % 2 == 0) {
            send_byte(fd[1]);
            await_readable(fd[0]);
        }
        if (mode == POISE_EDGE && !paused) {
            (void)drain(fd[0]);
            CHECK_INT(poise_again(crowd.queue, poise_fd(fd[0]), R), 0);
        } else if (mode != 0 || paused) {
            CHECK_INT(poise_watch(crowd.queue, poise_fd(fd[0]), R | mode, fd), 0);
        }
        for (int wait = 0; cold && mode == POISE_EDGE && wait < COOL; wait++) {
            struct seen seen;
            CHECK(wait_all(crowd.queue, 0, &seen) >= 0); /* cold, and armed */
            if (seen.n > 0) {
                (void)drain(fd[0]);
                CHECK_INT(poise_again(crowd.queue, poise_fd(fd[0]), R), 0);
            }
        }
        send_byte(fd[1]);
        CHECK((wait_for(crowd.queue, fd) & R) != 0);
        CHECK(drain_exactly(fd[0], 1) >= 1);
        if (mode == POISE_EDGE)
            CHECK_INT(poise_again(crowd.queue, poise_fd(fd[0]), R), 0);
        else if (mode == POISE_ONESHOT)
            CHECK_INT(poise_watch(crowd.queue, poise_fd(fd[0]), R | mode, fd), 0);
    }
    close_crowd();
    close_pair(fd);
}

TEST(CROWD, modes)
{
    NEED_WASIP2();
    for (int i = 0; i < 4; i++) {
        CALL(check_mode(0, i & 1, i & 2));
        CALL(check_mode(POISE_EDGE, i & 1, i & 2));
        CALL(check_mode(POISE_ONESHOT, i & 1, i & 2));
    }
}

/* ---- a crowd that waits for nothing ------------------------------------------------------------------------------------- */

static void check_nothing_to_wait_for(unsigned n)
{
    unsigned ignored = 0;
    for (unsigned i = 0; i < n; i++)
        CHECK_INT(poise_watch(crowd.queue, poise_pollable(crowd.handle[i]), 0, &crowd.handle[i]), 0);
    for (int i = 0; i < 40; i++) {
        struct calls before = calls();
        uint64_t start = poise_now();
        forget_named();
        CHECK_INT(wait_once(POISE_FOREVER, NULL, &ignored), -EDEADLK);
        CHECK_RANGE(named, 0, 1); /* no handle of a source: at most that of a yield */
        CHECK_INT(wait_once(0, NULL, &ignored), 0);
        CHECK_INT(wait_once(2 * MS, NULL, &ignored), 0);
        CHECK_RANGE(poise_now() - start, 2 * MS, 2 * MS + patience());
        CHECK_RANGE(calls().polls - before.polls, 1, 8);
    }
    CHECK_INT(poise_watch(crowd.queue, poise_pollable(crowd.handle[n / 2]), R, &crowd.handle[n / 2]), 0);
    CHECK((wait_for(crowd.queue, &crowd.handle[n / 2]) & R) != 0);
    CHECK_INT(poise_watch(crowd.queue, poise_pollable(crowd.handle[n / 2]), 0, &crowd.handle[n / 2]), 0);
    CHECK_INT(wait_once(POISE_FOREVER, NULL, &ignored), -EDEADLK);
}

TEST(CROWD, nothing_to_wait_for)
{
    NEED_WASIP2();
    enum { N = 200 };
    crowd.queue = open_queue(); /* hot, all of them */
    crowd.idle = N;
    for (unsigned i = 0; i < N; i++) {
        crowd.handle[i] = passed();
        CALL(watch(&crowd.handle[i]));
    }
    CALL(check_nothing_to_wait_for(N));
    close_crowd();
    CALL(open_crowd(N, 0, N / 2, (poise_options){ .batch = 0 })); /* cold */
    freeze(false);
    CALL(check_nothing_to_wait_for(N));
    close_crowd();
}

/* ---- taking turns among those that wait for nothing ------------------------------------------------------------------- */

/* Level sources and one-shots, all always ready; some one-shots are armed again after each wait. The longest gap between
 * two events of a level one, in waits, is what G7 allows. */
static void check_turns(unsigned level, unsigned oneshots, unsigned batch, unsigned again)
{
    static int32_t handle[2000];
    static unsigned last[2000];
    unsigned n = level + oneshots, next = 0, longest = 0;
    poise *queue = open_queue_with((poise_options){ .batch = batch });
    memset(last, 0, sizeof last);
    for (unsigned i = 0; i < n; i++) {
        handle[i] = passed();
        CHECK_INT(poise_watch(queue, poise_pollable(handle[i]), i < level ? R : R | POISE_ONESHOT, &handle[i]), 0);
    }
    for (unsigned wait = 1; wait < 5 * n / batch; wait++) {
        poise_event event;
        CHECK(poise_wait(queue, POISE_FOREVER) > 0);
        while (poise_next(queue, &event)) {
            size_t i = (size_t)((int32_t *)event.data - handle);
            if (i < level && wait - last[i] > longest)
                longest = wait - last[i];
            last[i] = wait;
        }
        for (unsigned i = 0; i < again; i++, next++) {
            int32_t *one = &handle[level + next % oneshots];
            CHECK_INT(poise_watch(queue, poise_pollable(*one), R | POISE_ONESHOT, one), 0);
        }
    }
    CHECK_RANGE(longest, 1, (n + batch - 1) / batch + 1);
    poise_close(queue);
    for (unsigned i = 0; i < n; i++)
        drop(handle[i]);
}

TEST(CROWD, turns_among_oneshots)
{
    NEED_WASIP2();
    CALL(check_turns(500, 1000, 8, 0));
    CALL(check_turns(20, 400, 1, 1));
    CALL(check_turns(200, 400, 8, 4));
}

#else
typedef int nobody_is_cold; /* ISO C wants a declaration */
#endif
