/* c-ares on poise/adapters/cares.h, against a real DNS server and one that misbehaves. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "adapters.h"

#include <netdb.h>

#define poise_watch watch_or_fail
#define poise_timer_start timer_start_or_fail
#include <poise/adapters/cares.h>
#undef poise_watch
#undef poise_timer_start

/* A channel, and what its queries have come to. `done` when all have ended. */
struct asker {
    poise_cares cares; /* the first member */
    unsigned asked, ended, v4, v6;
    int status; /* the last one's */
    bool done;
};

static void on_answer(void *data, int status, int timeouts, struct ares_addrinfo *answer)
{
    struct asker *asker = data;
    (void)timeouts;
    asker->ended++;
    asker->status = status;
    if (status == ARES_SUCCESS) {
        for (struct ares_addrinfo_node *node = answer->nodes; node != NULL; node = node->ai_next) {
            asker->v4 += node->ai_family == AF_INET;
            asker->v6 += node->ai_family == AF_INET6;
        }
        ares_freeaddrinfo(answer);
    }
    asker->done = asker->ended == asker->asked;
}

static void ask_with(struct asker *asker, const char *name, int family, ares_addrinfo_callback callback)
{
    struct ares_addrinfo_hints hints;
    memset(&hints, 0, sizeof hints);
    hints.ai_family = family;
    hints.ai_flags = ARES_AI_NOSORT; /* sorting opens sockets, and needs IPv6 */
    asker->asked++;
    asker->done = false;
    ares_getaddrinfo(asker->cares.channel, name, NULL, &hints, callback, asker);
}

static void ask(struct asker *asker, const char *name, int family) { ask_with(asker, name, family, on_answer); }

/* How often a query is sent before it has failed. */
#define TRIES 7

static void open_asker_with(struct asker *asker, poise *queue, int timeout_ms, int tries, int flags)
{
    struct ares_options options;
    memset(asker, 0, sizeof *asker);
    memset(&options, 0, sizeof options);
    options.timeout = timeout_ms;
    options.tries = tries;
    options.flags = flags;
    CHECK_INT(poise_cares_init(queue, &asker->cares, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_FLAGS),
              ARES_SUCCESS);
}

/* Where an answer is to come: what is lost is asked for again. On jco an answer that comes before the program waits is
 * lost (udp_early_jco.c); and c-ares 1.34, which has seen quick answers, waits 250 ms for the next, and that is little on a
 * busy machine. */
static void open_asker(struct asker *asker, poise *queue) { open_asker_with(asker, queue, 1000, TRIES, 0); }

static void look_up(const char *name, int family, int status, unsigned v4, unsigned v6)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct asker asker;
    CALL(open_asker(&asker, queue));
    ask(&asker, name, family);
    CHECK(dispatch_until(queue, &asker.done));
    CHECK_INT(asker.status, status);
    CHECK_INT(asker.v4, v4);
    CHECK_INT(asker.v6, v6);
    dispatch_for(queue, 5 * MS);
    CHECK_INT(asker.ended, 1);
    CHECK(poise_deadline(queue) == UINT64_MAX); /* no timer is left */
    CHECK_INT(poise_cares_close(&asker.cares), 0);
    CHECK_INT(poise_cares_close(&asker.cares), 0); /* nothing */
    check_unharmed(queue);
    poise_close(queue);
    CALL(check_usage(before));
}

TEST(Cares, ipv4) { CALL(look_up("v4.poise.test", AF_INET, ARES_SUCCESS, 1, 0)); }
TEST(Cares, many_addresses) { CALL(look_up("many.poise.test", AF_INET, ARES_SUCCESS, 8, 0)); }
TEST(Cares, an_alias) { CALL(look_up("alias.poise.test", AF_INET, ARES_SUCCESS, 1, 0)); }
TEST(Cares, a_literal) { CALL(look_up("192.0.2.7", AF_INET, ARES_SUCCESS, 1, 0)); }
TEST(Cares, no_such_name) { CALL(look_up("none.poise.test", AF_UNSPEC, ARES_ENOTFOUND, 0, 0)); }
TEST(Cares, no_addresses) { CALL(look_up("empty.poise.test", AF_INET, ARES_ENODATA, 0, 0)); }
TEST(Cares, a_late_answer) { CALL(look_up("late.poise.test", AF_INET, ARES_SUCCESS, 1, 0)); }

TEST(Cares, ipv6)
{
    NEED_IPV6();
    CALL(look_up("v6.poise.test", AF_INET6, ARES_SUCCESS, 0, 1));
    CALL(look_up("echo.poise.test", AF_UNSPEC, ARES_SUCCESS, 1, 1));
    CALL(look_up("many.poise.test", AF_UNSPEC, ARES_SUCCESS, 8, 8));
}

/* Two hundred at once: more answers than that do not fit in a socket's buffer. What is lost is asked again. */
TEST(Cares, a_thousand)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct asker asker;
    CALL(open_asker(&asker, queue));
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < 200; i++)
            ask(&asker, i % 2 ? "v4.poise.test" : "alias.poise.test", AF_INET);
        CHECK(dispatch_until(queue, &asker.done));
    }
    CHECK_INT(asker.ended, 1000);
    CHECK_INT(asker.v4, 1000);
    CHECK_INT(poise_cares_close(&asker.cares), 0);
    poise_close(queue);
    CALL(check_usage(before));
}

/* ---- time, and servers that misbehave ---------------------------------------------------------------------------- */

TEST(Cares, a_silent_server)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct asker asker;
    CALL(open_asker_with(&asker, queue, 100, 1, 0));
    ask(&asker, "silent.poise.test", AF_INET);
    CHECK(dispatch_until(queue, &asker.done));
    CHECK_INT(asker.status, ARES_ETIMEOUT);
    CHECK_INT(poise_cares_close(&asker.cares), 0);
    poise_close(queue);
    CALL(check_usage(before));
}

/* The socket stays open, and the second query, on it, calls no hook. It gives up after 0.3, 0.6 and 1.2 s: time enough
 * for the first one on a busy machine. */
TEST(Cares, a_silent_server_on_an_open_socket)
{
    poise *queue = open_queue();
    struct asker asker;
    CALL(open_asker_with(&asker, queue, 300, 3, ARES_FLAG_STAYOPEN));
    ask(&asker, "v4.poise.test", AF_INET);
    CHECK(dispatch_until(queue, &asker.done));
    CHECK_INT(asker.status, ARES_SUCCESS);
    dispatch_for(queue, 20 * MS);
    ask(&asker, "silent.poise.test", AF_INET);
    CHECK(dispatch_until(queue, &asker.done));
    CHECK_INT(asker.status, ARES_ETIMEOUT);
    CHECK_INT(poise_cares_close(&asker.cares), 0);
    poise_close(queue);
}

/* ARES_ECONNREFUSED is what c-ares before 1.20 makes of both. */
static void failing_server(const char *name, int status)
{
    poise *queue = open_queue();
    struct asker asker;
    CALL(open_asker(&asker, queue));
    ask(&asker, name, AF_INET);
    CHECK(dispatch_until(queue, &asker.done));
    CHECK_INT(asker.status, asker.status == ARES_ECONNREFUSED ? ARES_ECONNREFUSED : status);
    CHECK_INT(poise_cares_close(&asker.cares), 0);
    poise_close(queue);
}

TEST(Cares, a_server_that_fails) { CALL(failing_server("servfail.poise.test", ARES_ESERVFAIL)); }
TEST(Cares, a_server_that_refuses) { CALL(failing_server("refused.poise.test", ARES_EREFUSED)); }

/* A datagram that says it was cut, and nobody who answers over TCP. */
TEST(Cares, a_cut_answer)
{
    poise *queue = open_queue();
    struct asker asker;
    CALL(open_asker_with(&asker, queue, 200, 1, 0));
    ask(&asker, "truncated.poise.test", AF_INET);
    CHECK(dispatch_until(queue, &asker.done));
    CHECK(asker.status != ARES_SUCCESS || asker.v4 == 1);
    CHECK_INT(poise_cares_close(&asker.cares), 0);
    poise_close(queue);
}

/* ---- cancelled, closed and entered in callbacks ------------------------------------------------------------------ */

static void on_answer_cancel(void *data, int status, int timeouts, struct ares_addrinfo *answer)
{
    struct asker *asker = data;
    on_answer(data, status, timeouts, answer);
    if (status == ARES_SUCCESS) {
        if (poise_cares_close(&asker->cares) != -EBUSY)
            asker->asked += 100;
        poise_cares_cancel(&asker->cares);
    }
}

TEST(Cares, cancel_in_a_callback)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct asker asker;
    CALL(open_asker(&asker, queue));
    for (unsigned i = 0; i < 5; i++)
        ask(&asker, "silent.poise.test", AF_INET);
    ask_with(&asker, "v4.poise.test", AF_INET, on_answer_cancel);
    CHECK(dispatch_until(queue, &asker.done));
    CHECK_INT(asker.ended, 6);
    CHECK_INT(asker.status, ARES_ECANCELLED);
    CHECK_INT(poise_cares_close(&asker.cares), 0);
    poise_close(queue);
    CALL(check_usage(before));
}

TEST(Cares, close_at_every_step)
{
    poise *queue = open_queue();
    struct usage before = usage();
    for (unsigned steps = 0; steps < 6; steps++) {
        struct asker *asker = malloc(sizeof *asker);
        MUST(asker != NULL);
        CALL(open_asker(asker, queue));
        for (unsigned i = 0; i < 5; i++)
            ask(asker, i % 2 ? "silent.poise.test" : "echo.poise.test", AF_INET);
        for (unsigned i = 0; i < steps; i++)
            CHECK(poise_dispatch(queue, 10 * MS) >= 0);
        CHECK_INT(poise_cares_close(&asker->cares), 0);
        CHECK_INT(asker->ended, 5);
        CHECK_INT(asker->status, ARES_EDESTRUCTION);
        memset(asker, 0x55, sizeof *asker);
        free(asker);
        CHECK_INT(poise_dispatch(queue, 2 * MS), 0);
        CALL(check_usage(before));
    }
    check_unharmed(queue);
    poise_close(queue);
}

static void on_answer_next(void *data, int status, int timeouts, struct ares_addrinfo *answer)
{
    struct asker *asker = data;
    on_answer(data, status, timeouts, answer);
    if (asker->asked < scale(200))
        ask_with(asker, "v4.poise.test", AF_INET, on_answer_next);
}

/* Each on a socket of its own. */
TEST(Cares, one_after_the_other)
{
    poise *queue = open_queue();
    struct asker asker;
    CALL(open_asker(&asker, queue));
    ask_with(&asker, "v4.poise.test", AF_INET, on_answer_next);
    uint64_t end = poise_now() + 5 * (uint64_t)patience(); /* for each of them */
    for (unsigned ended = 0; !asker.done; ended = asker.ended) {
        end = asker.ended == ended ? end : poise_now() + 5 * (uint64_t)patience();
        CHECK(poise_now() < end);
        CHECK(poise_dispatch(queue, patience()) >= 0);
    }
    CHECK_INT(asker.v4, scale(200));
    CHECK_INT(poise_cares_close(&asker.cares), 0);
    poise_close(queue);
}

static bool nested_failed;

static void on_answer_nested(void *data, int status, int timeouts, struct ares_addrinfo *answer)
{
    struct asker *asker = data;
    unsigned before = asker->ended;
    struct alarm_clock alarm;
    unsigned calls = dispatched;
    alarm_start(asker->cares.queue, &alarm, asker->ended == 0 ? 100 * MS : MS);
    nested_failed |= !dispatch_until(asker->cares.queue, &alarm.rang);
    nested_failed |= asker->ended != before || dispatched - calls > 20;
    on_answer(data, status, timeouts, answer);
}

/* The first answer's callback waits, while the socket has others; the late one comes afterwards. */
TEST(Cares, dispatch_in_a_callback)
{
    poise *queue = open_queue();
    struct asker asker;
    CALL(open_asker(&asker, queue));
    nested_failed = false;
    for (unsigned i = 0; i < 3; i++)
        ask_with(&asker, "v4.poise.test", AF_INET, on_answer_nested);
    ask(&asker, "late.poise.test", AF_INET);
    uint64_t end = poise_now() + 5 * (uint64_t)patience();
    while (!asker.done && poise_now() < end) {
        CHECK(poise_dispatch(queue, patience()) >= 0);
        for (poise_cares_socket *socket = asker.cares.sockets; socket != NULL; socket = socket->next)
            CHECK_INT(watched_for[socket->fd], socket->interest); /* what was paused is resumed */
    }
    CHECK(asker.done);
    CHECK(!nested_failed);
    CHECK_INT(asker.v4, 4);
    CHECK_INT(poise_cares_close(&asker.cares), 0);
    poise_close(queue);
}

/* ---- opening, and the errors of poise ---------------------------------------------------------------------------- */

TEST(Cares, init_and_its_errors)
{
    struct memory memory = { .live = 0 };
    poise *queue = open_queue_with((poise_options){ .realloc = memory_realloc, .context = &memory });
    struct asker asker;
    memset(&asker, 0, sizeof asker);
    CHECK_INT(poise_cares_init(NULL, &asker.cares, NULL, 0), -EINVAL);
    CHECK_INT(poise_cares_init(queue, NULL, NULL, 0), -EINVAL);
    CHECK_INT(poise_cares_init(queue, &asker.cares, NULL, ARES_OPT_FLAGS), -EINVAL);
    CHECK_INT(poise_cares_init(queue, &asker.cares, NULL, 0), 0);
    CHECK_INT(poise_cares_init(queue, &asker.cares, NULL, 0), -EBUSY);
    CHECK_INT(poise_cares_close(&asker.cares), 0);
    poise_close(queue);
    CHECK_INT(memory.live, 0);
}

TEST(Cares, a_failed_watch_is_an_error)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct asker asker;
    CALL(open_asker(&asker, queue));
    poise_fails = -ENOMEM;
    ask(&asker, "silent.poise.test", AF_INET);
    CHECK(dispatch_until(queue, &asker.done));
    poise_fails = 0;
    CHECK_INT(asker.status, ARES_ECANCELLED);
    CHECK_INT(asker.cares.error, -ENOMEM);
    ask(&asker, "v4.poise.test", AF_INET);
    CHECK(dispatch_until(queue, &asker.done));
    CHECK_INT(asker.status, ARES_SUCCESS);
    CHECK_INT(poise_cares_close(&asker.cares), 0);
    poise_close(queue);
    CALL(check_usage(before));
}
