/* poise/resolve.h: every sentence of the header, each error, and what is left when a look-up is stopped at any step. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "resolve_kit.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <unistd.h>

#define NONE UINT64_MAX /* no deadline */
#define PORT 7777

/* ---- helpers ----------------------------------------------------------------------------------------------------- */

struct answer {
    int n;
    char text[64][POISE_ADDRESS_TEXT];
    int result; /* the last of poise_lookup_next: -EAGAIN, if it is not over */
    int waits;
};

static uint64_t in_time(int64_t ns) { return poise_now() + (uint64_t)ns; }

/* Takes what is there. */
static void take(poise_lookup *lookup, struct answer *answer)
{
    poise_address address;
    while ((answer->result = poise_lookup_next(lookup, &address)) == 1) {
        MUST(answer->n < 64);
        MUST(poise_address_format(&address, answer->text[answer->n++], POISE_ADDRESS_TEXT) > 0);
        MUST(poise_address_port(&address) == PORT);
    }
    MUST(address.length == 0);
}

/* Waits until there are n results, or the end. */
static void gather(poise *queue, poise_lookup *lookup, int n, struct answer *answer)
{
    uint64_t end = in_time(20 * SECOND);
    answer->result = -EAGAIN;
    while (answer->result == -EAGAIN && answer->n < n && poise_now() < end) {
        struct seen seen;
        if (wait_all(queue, 20 * SECOND, &seen) < 0)
            return;
        answer->waits++;
        if (seen_count(&seen, lookup) != 0)
            take(lookup, answer);
    }
}

static int start(poise *queue, poise_lookup *lookup, const char *name, int family, uint64_t deadline)
{
    memset(lookup, 0, sizeof *lookup);
    return poise_lookup_start(queue, lookup, name, PORT, family, deadline, lookup);
}

/* A whole look-up. What started badly has that as its result. */
static struct answer look_up(const char *name, int family)
{
    static poise_lookup lookup;
    struct answer answer = { .n = 0 };
    poise *queue = open_queue();
    answer.result = start(queue, &lookup, name, family, NONE);
    if (answer.result == 0)
        gather(queue, &lookup, 64, &answer);
    poise_lookup_stop(&lookup);
    poise_close(queue);
    return answer;
}

static bool has(const struct answer *answer, const char *text)
{
    int n = 0;
    for (int i = 0; i < answer->n; i++)
        n += strcmp(answer->text[i], text) == 0;
    return n == 1;
}

#define CHECK_ANSWER(answer_, n_)       \
    do {                                \
        CHECK_INT((answer_).result, 0); \
        CHECK_INT((answer_).n, (n_));   \
    } while (0)

#define CHECK_TEXT(actual, expected)                                                        \
    do {                                                                                    \
        if (strcmp(actual, expected) != 0) {                                                \
            test_failed(__FILE__, __LINE__, "%s is %s, not %s", #actual, actual, expected); \
            return;                                                                         \
        }                                                                                   \
    } while (0)

/* ---- what needs no server ---------------------------------------------------------------------------------------- */

TEST(R, literals)
{
    static const struct {
        const char *name, *text;
        int family;
    } literals[] = {
        { "192.0.2.1", "192.0.2.1:7777", AF_INET },
        { "2001:db8::1", "[2001:db8::1]:7777", AF_INET6 },
        { "fe80::1%2", "[fe80::1%2]:7777", AF_INET6 },
        { "::ffff:192.0.2.1", "[::ffff:192.0.2.1]:7777", AF_INET6 },
    };
    for (unsigned i = 0; i < sizeof literals / sizeof literals[0]; i++) {
        int own = literals[i].family, other = own == AF_INET ? AF_INET6 : AF_INET;
        struct answer answer = look_up(literals[i].name, AF_UNSPEC);
        CHECK_ANSWER(answer, 1);
        CHECK_TEXT(answer.text[0], literals[i].text);
        answer = look_up(literals[i].name, own);
        CHECK_ANSWER(answer, 1);
        CHECK_TEXT(answer.text[0], literals[i].text);
        answer = look_up(literals[i].name, other);
        CHECK_INT(answer.result, -ENOENT);
        CHECK_INT(answer.waits, 1); /* told by an event */
    }
}

TEST(R, localhost)
{
    static const char *const names[] = { "localhost", "LOCALhost.", "a.localhost", "a.b.LocalHost." };
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct answer answer = look_up(names[i], AF_UNSPEC);
        CHECK_ANSWER(answer, 2);
        CHECK_TEXT(answer.text[0], "[::1]:7777");
        CHECK_TEXT(answer.text[1], "127.0.0.1:7777");
        answer = look_up(names[i], AF_INET);
        CHECK_ANSWER(answer, 1);
        CHECK_TEXT(answer.text[0], "127.0.0.1:7777");
        answer = look_up(names[i], AF_INET6);
        CHECK_ANSWER(answer, 1);
        CHECK_TEXT(answer.text[0], "[::1]:7777");
    }
}

/* One that only looks like it is asked for. */
TEST(R, not_localhost)
{
    NEED_NAMES();
    struct answer answer = look_up("notlocalhost", AF_UNSPEC);
    CHECK_INT(answer.result, -ENOENT);
    answer = look_up("localhost.poise.test", AF_UNSPEC);
    CHECK_INT(answer.result, -ENOENT);
}

TEST(R, at_once_without_an_event)
{
    poise *queue = open_queue();
    poise_lookup lookup;
    struct answer answer = { .n = 0 };
    CHECK_INT(start(queue, &lookup, "localhost", AF_UNSPEC, NONE), 0);
    take(&lookup, &answer);
    CHECK_ANSWER(answer, 2);
    CHECK(silent(queue, &lookup, 20 * MS)); /* nothing is left of it, not even the event */
    poise_close(queue);
}

/* One call for each event is enough, and each wait reports what is left. */
TEST(R, one_call_for_each_event)
{
    poise *queue = open_queue();
    poise_lookup lookup;
    poise_address address;
    CHECK_INT(start(queue, &lookup, "localhost", AF_UNSPEC, NONE), 0);
    CHECK(wait_for(queue, &lookup) != 0);
    CHECK_INT(poise_lookup_next(&lookup, &address), 1);
    CHECK_INT(address.storage.ss_family, AF_INET6);
    CHECK(wait_for(queue, &lookup) != 0);
    CHECK_INT(poise_lookup_next(&lookup, &address), 1);
    CHECK_INT(address.storage.ss_family, AF_INET);
    CHECK(wait_for(queue, &lookup) != 0);
    CHECK_INT(poise_lookup_next(&lookup, &address), 0);
    CHECK(silent(queue, &lookup, 20 * MS));
    CHECK_INT(poise_lookup_next(&lookup, &address), 0);
    CHECK_INT(address.length, 0);
    poise_close(queue);
}

TEST(R, bad_arguments)
{
    poise *queue = open_queue();
    poise_lookup lookup;
    poise_address address;
    char name[300];
    memset(&lookup, 0, sizeof lookup);
    CHECK_INT(poise_lookup_start(NULL, &lookup, "localhost", PORT, AF_UNSPEC, NONE, NULL), -EINVAL);
    CHECK_INT(poise_lookup_start(queue, NULL, "localhost", PORT, AF_UNSPEC, NONE, NULL), -EINVAL);
    CHECK_INT(poise_lookup_start(queue, &lookup, NULL, PORT, AF_UNSPEC, NONE, NULL), -EINVAL);
    CHECK_INT(poise_lookup_start(queue, &lookup, "localhost", PORT, 12345, NONE, NULL), -EINVAL);
    static const char *const names[] = {
        "",           ".",         "..",         ".a",          "a..b",  "a..",      "a b",           "a/b",
        "a:80",       "[::1]",     "::1%lo",     "1.2.3.4.5",   "127.1", "1",        "a.1",           "a.0x7f",
        "0x7f000001", "256.1.1.1", "192.0.2.1.", "user@a.test", "a%b",   "*.a.test", "\xc3\xa4.test", "a\n",
        "fe80::1%",   "1.2.3.4 ",  "a.0x",       "::1::",
    };
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (poise_lookup_start(queue, &lookup, names[i], PORT, AF_UNSPEC, NONE, NULL) != -EINVAL)
            test_failed(__FILE__, __LINE__, "\"%s\" is taken for a name", names[i]);
    memset(name, 'a', sizeof name);
    name[64] = '\0';
    CHECK_INT(poise_lookup_start(queue, &lookup, name, PORT, AF_UNSPEC, NONE, NULL), -EINVAL); /* a label of 64 */
    for (int i = 1; i < 300; i += 2)
        name[i] = '.';
    name[64] = 'a';
    name[255] = '\0';
    CHECK_INT(poise_lookup_start(queue, &lookup, name, PORT, AF_UNSPEC, NONE, NULL), -EINVAL); /* 255 bytes */
    CHECK_INT(poise_lookup_next(&lookup, &address), -EINVAL);                                  /* nothing was started */
    CHECK_INT(poise_lookup_next(NULL, &address), -EINVAL);
    poise_lookup_stop(&lookup);
    poise_lookup_stop(NULL);
    CHECK_INT(start(queue, &lookup, "localhost", AF_UNSPEC, NONE), 0);
    CHECK_INT(poise_lookup_next(&lookup, NULL), -EINVAL);
    CHECK_INT(poise_lookup_start(queue, &lookup, "localhost", PORT, AF_UNSPEC, NONE, NULL), -EBUSY);
    CHECK_INT(poise_lookup_start(queue, &lookup, "", PORT, AF_UNSPEC, NONE, NULL), -EBUSY);
    CHECK_INT(poise_lookup_next(&lookup, &address), 1); /* it goes on */
    poise_lookup_stop(&lookup);
    CHECK_INT(poise_lookup_next(&lookup, &address), -EINVAL);
    CHECK_INT(address.length, 0);
    poise_close(queue);
}

/* The longest names that there can be, asked for. */
TEST(R, long_names)
{
    NEED_NAMES();
    char name[256];
    memset(name, 'a', sizeof name);
    for (int i = 63; i < 253; i += 64)
        name[i] = '.';
    name[253] = '\0';
    struct answer answer = look_up(name, AF_UNSPEC);
    CHECK_INT(answer.result, -ENOENT);
    answer = look_up("under_score.poise.test", AF_UNSPEC);
    CHECK_INT(answer.result, -ENOENT);
    answer = look_up("1a.2b.poise.test", AF_UNSPEC);
    CHECK_INT(answer.result, -ENOENT);
}

TEST(R, started_again)
{
    poise *queue = open_queue();
    poise_lookup lookup;
    int other;
    memset(&lookup, 0, sizeof lookup);
    for (int i = 0; i < 4; i++) {
        struct answer answer = { .n = 0 };
        CHECK_INT(poise_lookup_start(queue, &lookup, i % 2 ? "127.0.0.1" : "localhost", PORT, AF_INET6, NONE, &lookup),
                  0);
        if (i == 2) { /* stopped, and with other data: only that comes */
            poise_lookup_stop(&lookup);
            CHECK_INT(poise_lookup_start(queue, &lookup, "localhost", PORT, AF_INET6, NONE, &other), 0);
            struct seen seen;
            CHECK_INT(wait_all(queue, 0, &seen), 1);
            CHECK_INT(seen_count(&seen, &other), 1);
            CHECK_INT(seen_count(&seen, &lookup), 0);
            take(&lookup, &answer);
        } else {
            gather(queue, &lookup, 64, &answer);
        }
        CHECK_INT(answer.result, i % 2 ? -ENOENT : 0);
        CHECK_INT(answer.n, i % 2 ? 0 : 1);
    }
    poise_close(queue);
}

TEST(R, names_need_pollables)
{
    struct usage before = usage();
    CHECK_INT(look_up("echo.poise.test", AF_UNSPEC).result, on_wasi() && !backend_is("wasip2") ? -ENOTSUP : 0);
    CALL(check_usage(before));
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

TEST(R, both_families)
{
    NEED_NAMES();
    static const char *const names[] = { "echo.poise.test", "ECHO.Poise.Test.", "alias.poise.test" };
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct answer answer = look_up(names[i], AF_UNSPEC);
        CHECK_ANSWER(answer, service_ipv6() ? 2 : 1);
        CHECK(has(&answer, "127.0.0.1:7777"));
        CHECK(has(&answer, "[::1]:7777") == service_ipv6());
    }
}

TEST(R, one_family)
{
    NEED_NAMES();
    NEED_IPV6();
    struct answer answer = look_up("echo.poise.test", AF_INET);
    CHECK_ANSWER(answer, 1);
    CHECK_TEXT(answer.text[0], "127.0.0.1:7777");
    answer = look_up("echo.poise.test", AF_INET6);
    CHECK_ANSWER(answer, 1);
    CHECK_TEXT(answer.text[0], "[::1]:7777");
    CHECK_INT(look_up("v4.poise.test", AF_INET6).result, -ENOENT);
    CHECK_INT(look_up("v6.poise.test", AF_INET).result, -ENOENT);
    answer = look_up("v4.poise.test", AF_UNSPEC);
    CHECK_ANSWER(answer, 1);
    answer = look_up("v6.poise.test", AF_UNSPEC);
    CHECK_ANSWER(answer, 1);
}

TEST(R, many_addresses)
{
    NEED_NAMES();
    NEED_IPV6();
    struct answer answer = look_up("many.poise.test", AF_UNSPEC);
    CHECK_ANSWER(answer, 16);
    CHECK(has(&answer, "127.0.0.1:7777"));
    for (int i = 1; i < 9; i++) {
        char text[POISE_ADDRESS_TEXT];
        snprintf(text, sizeof text, "[2001:db8::%d]:7777", 10 + i);
        CHECK(has(&answer, text));
        snprintf(text, sizeof text, "127.0.0.%d:7777", 10 + i);
        CHECK(i == 1 || has(&answer, text));
    }
}

TEST(R, hosts_file)
{
    NEED_NAMES();
    struct answer answer = look_up("only-in-hosts", AF_INET);
    CHECK_ANSWER(answer, 1);
    CHECK_TEXT(answer.text[0], "127.0.0.9:7777");
}

/* Who is in /etc/hosts is not looked for elsewhere, be it by the other family. */
TEST(R, hosts_file_is_all)
{
    NEED_NAMES();
    struct answer answer = look_up("in-hosts.poise.test", AF_UNSPEC);
    CHECK_ANSWER(answer, 1);
    CHECK_TEXT(answer.text[0], "127.0.0.9:7777");
    uint64_t start_ns = poise_now();
    answer = look_up("host.never6.poise.test", AF_UNSPEC); /* DNS would be silent for seconds */
    CHECK_ANSWER(answer, 1);
    CHECK_RANGE(poise_now() - start_ns, 0, on_wasi() ? INT64_MAX : 4 * SECOND);
}

/* Below the search domain there is "inner", and an IPv6 address for a name that has IPv4 of its own: not the same host. */
TEST(R, search_list)
{
    NEED_NAMES();
    NEED_IPV6();
    static const char *const below[] = { "inner", "deep.inner" };
    struct answer answer;
    for (int i = 0; i < 2; i++) {
        answer = look_up(below[i], AF_UNSPEC);
        CHECK_ANSWER(answer, 2);
        CHECK(has(&answer, "127.0.0.1:7777") && has(&answer, "[::1]:7777"));
    }
    answer = look_up("only4.poise.test", AF_UNSPEC);
    CHECK_ANSWER(answer, 1);
    CHECK_TEXT(answer.text[0], "127.0.0.1:7777");
    answer = look_up("inner.", AF_UNSPEC); /* as it stands alone */
    CHECK_INT(answer.result, -ENOENT);
}

TEST(R, no_such_name)
{
    NEED_NAMES();
    static const char *const names[] = { "none.poise.test", "empty.poise.test", "none.example", "none" };
    static const int families[] = { AF_UNSPEC, AF_INET, AF_INET6 };
    for (unsigned i = 0; i < 12; i++) {
        struct answer answer = look_up(names[i / 3], families[i % 3]);
        CHECK_INT(answer.result, -ENOENT);
        CHECK_RANGE(answer.waits, 1, 100); /* told by an event, also where the host knows at once */
    }
}

/* wasmtime 48 knows some answers (3 of 2,000) when it is asked: they are told by an event, too. */
TEST(R, never_at_once)
{
    NEED_NAMES();
    poise *queue = open_queue();
    poise_lookup lookup;
    for (unsigned i = 0; i < scale(3000); i++) {
        struct answer answer = { .n = 0 };
        CHECK_INT(start(queue, &lookup, i % 2 ? "empty.poise.test" : "none.poise.test", AF_UNSPEC, NONE), 0);
        gather(queue, &lookup, 64, &answer);
        CHECK_INT(answer.result, -ENOENT);
    }
    poise_close(queue);
}

/* WASI's hosts tell one failure from another, or don't. */
static bool is_failure(int result) { return result == -EHOSTUNREACH || (on_wasi() && result == -ENOENT); }

TEST(R, servers_that_fail)
{
    NEED_NAMES();
    CHECK(is_failure(look_up("servfail.poise.test", AF_UNSPEC).result));
    CHECK(is_failure(look_up("refused.poise.test", AF_INET).result));
    CHECK(is_failure(look_up("truncated.poise.test", AF_INET6).result)); /* and there is no TCP */
}

/* There is no IPv6 address; about IPv4 nobody knows. */
TEST(R, a_failure_counts_more)
{
    NEED_NAMES();
    CHECK(is_failure(look_up("half.poise.test", AF_UNSPEC).result));
}

TEST(R, an_answer_that_makes_no_sense)
{
    NEED_NAMES();
    int result = look_up("nonsense.poise.test", AF_UNSPEC).result;
    CHECK(result == -EPROTO || (on_wasi() && is_failure(result)));
}

/* Natively the answers come as they arrive. Whoever waits meanwhile sleeps. */
TEST(R, streamed)
{
    NEED_NAMES();
    NEED_IPV6();
    poise *queue = open_queue();
    poise_lookup lookup;
    struct answer answer = { .n = 0 };
    int64_t before = cpu_time();
    uint64_t late = in_time(SECOND);
    CHECK_INT(start(queue, &lookup, "late6.poise.test", AF_UNSPEC, NONE), 0);
    gather(queue, &lookup, 1, &answer);
    CHECK(has(&answer, "127.0.0.1:7777"));
    if (!on_wasi()) {
        if (poise_now() < late) { /* else the machine is busy, and the other one may have come, too */
            CHECK_INT(answer.n, 1);
            CHECK_INT(answer.result, -EAGAIN);
        }
        if (answer.result == -EAGAIN)
            gather(queue, &lookup, 3, &answer);
        CHECK_ANSWER(answer, 2);
        CHECK_TEXT(answer.text[1], "[::1]:7777");
    }
    CHECK_INT(answer.result, 0); /* a host may have gone without the late one */
    CHECK_RANGE(answer.waits, 1, 6);
    CHECK_RANGE(cpu_time() - before, 0, 300 * MS);
    poise_close(queue);
}

/* A server that never answers. */
TEST(R, deadline)
{
    NEED_NAMES();
    poise *queue = open_queue();
    poise_lookup lookup;
    struct answer answer = { .n = 0 };
    uint64_t deadline = in_time(400 * MS);
    CHECK_INT(start(queue, &lookup, "silent.poise.test", AF_UNSPEC, deadline), 0);
    int64_t before = cpu_time();
    gather(queue, &lookup, 1, &answer);
    CHECK_INT(answer.result, -ETIMEDOUT);
    CHECK_RANGE(poise_now(), deadline, deadline + (uint64_t)patience());
    CHECK_RANGE(cpu_time() - before, 0, 200 * MS);
    CHECK_RANGE(answer.waits, 1, 5);
    CHECK(silent(queue, &lookup, 20 * MS));
    poise_address address;
    CHECK_INT(poise_lookup_next(&lookup, &address), -ETIMEDOUT);
    poise_close(queue);
}

TEST(R, deadline_that_has_passed)
{
    poise *queue = open_queue();
    poise_lookup lookup;
    struct answer answer = { .n = 0 };
    CHECK_INT(start(queue, &lookup, "localhost", AF_UNSPEC, 1), 0); /* a literal needs no time */
    gather(queue, &lookup, 64, &answer);
    CHECK_ANSWER(answer, 2);
    if (!on_wasi() || backend_is("wasip2")) {
        memset(&answer, 0, sizeof answer);
        CHECK_INT(start(queue, &lookup, "silent.poise.test", AF_UNSPEC, 1), 0);
        gather(queue, &lookup, 64, &answer);
        CHECK_INT(answer.result, -ETIMEDOUT);
        CHECK_INT(answer.waits, 1);
    }
    poise_close(queue);
}

/* What came before the deadline counts, and the end is told, not the failure. */
TEST(R, deadline_after_some)
{
    NEED_NAMES();
    poise *queue = open_queue();
    poise_lookup lookup;
    struct answer answer = { .n = 0 };
    int tries = 0;
    do { /* natively the machine may be too busy for any to come */
        CHECK_INT(start(queue, &lookup, "never6.poise.test", AF_UNSPEC, in_time(400 * MS << tries)), 0);
        gather(queue, &lookup, 64, &answer);
    } while (!on_wasi() && answer.result == -ETIMEDOUT && answer.n == 0 && ++tries < 4);
    if (on_wasi()) {
        CHECK_INT(answer.result, -ETIMEDOUT); /* its answer is one */
    } else {
        CHECK_ANSWER(answer, 1);
        CHECK_TEXT(answer.text[0], "127.0.0.1:7777");
    }
    poise_close(queue);
}

/* Without a deadline it is the resolver that gives up: the host as resolv.conf says, c-ares as its own options. */
TEST(R, resolver_gives_up)
{
    NEED_NAMES();
    MUST(setenv("RES_OPTIONS", "retrans:200 retry:1 timeout:1 attempts:1", 1) == 0);
    int result = look_up("silent.poise.test", AF_INET).result;
    unsetenv("RES_OPTIONS");
    CHECK(result == -ETIMEDOUT || (on_wasi() && is_failure(result)));
}

/* Asked all the time, without waiting for an event: not one moment early. */
TEST(R, deadline_not_early)
{
    NEED_NAMES();
    poise *queue = open_queue();
    poise_lookup lookup;
    poise_address address;
    uint64_t deadline = in_time(100 * MS), asked;
    int result;
    CHECK_INT(start(queue, &lookup, "silent.poise.test", AF_UNSPEC, deadline), 0);
    do {
        CHECK(poise_wait(queue, MS) >= 0);
        asked = poise_now();
        result = poise_lookup_next(&lookup, &address);
        CHECK(result == -EAGAIN || poise_now() >= deadline);
    } while (result == -EAGAIN && asked < deadline);
    CHECK_INT(result, -ETIMEDOUT);
    poise_close(queue);
}

static int kept_across_exec(void)
{
    int n = 0;
    for (int fd = 0; fd < 256; fd++) {
        int flags = fcntl(fd, F_GETFD);
        n += flags >= 0 && !(flags & FD_CLOEXEC);
    }
    return n;
}

TEST(R, sockets_end_with_exec)
{
    NEED_NAMES();
    poise *queue = open_queue();
    poise_lookup lookup;
    int before = kept_across_exec();
    CHECK_INT(start(queue, &lookup, "silent.poise.test", AF_UNSPEC, NONE), 0);
    CHECK_INT(kept_across_exec(), before);
    poise_lookup_stop(&lookup);
    poise_close(queue);
}

/* Not one of the look-ups but a timer and a socket in the same wait are what comes. */
TEST(R, beside_others)
{
    NEED_NAMES();
    poise *queue = open_queue();
    poise_lookup lookup;
    CHECK_INT(start(queue, &lookup, "late.poise.test", AF_UNSPEC, NONE), 0);
    check_unharmed(queue);
    poise_lookup_stop(&lookup);
    check_unharmed(queue);
    poise_close(queue);
}

/* ---- stopping at every step -------------------------------------------------------------------------------------- */

static const char *const stop_names[] = { "localhost",         "echo.poise.test", "many.poise.test", "late6.poise.test",
                                          "silent.poise.test", "none.poise.test", "192.0.2.1" };

/* Does some steps of a look-up (a wait, an event taken, a result taken), then stops it. No event of it may come. */
static void stop_after(poise *queue, const char *name, int steps)
{
    poise_lookup lookup;
    poise_address address;
    poise_event event;
    int result = -EAGAIN;
    CHECK_INT(start(queue, &lookup, name, AF_UNSPEC, in_time(30 * MS)), 0);
    for (int i = 0; i < steps; i++) {
        switch (i % 3) {
        case 0: CHECK(poise_wait(queue, result == 0 || (result < 0 && result != -EAGAIN) ? 0 : 35 * MS) >= 0); break;
        case 1: (void)poise_next(queue, &event); break;
        default: result = poise_lookup_next(&lookup, &address);
        }
    }
    poise_lookup_stop(&lookup);
    while (poise_next(queue, &event))
        CHECK(event.data != &lookup);
    CHECK(silent(queue, &lookup, MS));
    int after = poise_lookup_next(&lookup, &address);
    CHECK_INT(after, result == 1 || result == -EAGAIN ? -EINVAL : result);
    poise_lookup_stop(&lookup);
}

TEST(R, stopped_at_every_step)
{
    struct usage before = usage();
    poise *queue = open_queue();
    /* One that is always there: what is gathered and not taken is among others. */
    poise_timer timer;
    memset(&timer, 0, sizeof timer);
    CHECK_INT(poise_timer_start(queue, &timer, in_time(3600 * SECOND), &timer), 0);
    for (unsigned i = 0; i < sizeof stop_names / sizeof stop_names[0]; i++) {
        if (strstr(stop_names[i], "test") != NULL && on_wasi() && !backend_is("wasip2"))
            continue;
        for (int steps = 0; steps < 13; steps++)
            CALL(stop_after(queue, stop_names[i], steps));
    }
    check_unharmed(queue);
    poise_close(queue);
    CALL(check_usage(before));
}

/* Gathered by a wait beside the events of others, in every order, and stopped by the handler of another. */
TEST(R, stopped_while_gathered)
{
    NEED_NAMES();
    enum { N = 8 };
    poise *queue = open_queue();
    static poise_lookup lookups[N];
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < N; i++)
            CHECK_INT(start(queue, &lookups[i], i % 2 ? "echo.poise.test" : "localhost", AF_UNSPEC, NONE), 0);
        for (int i = 0; i < 5; i++)
            CHECK(poise_wait(queue, 2 * MS) >= 0); /* the answers come in, and nobody takes an event */
        poise_event event;
        int events = 0;
        while (poise_next(queue, &event)) {
            poise_lookup *lookup = event.data;
            CHECK(lookup >= lookups && lookup < lookups + N);
            for (int i = 0; i < N; i++)
                poise_lookup_stop(&lookups[i]);
            events++;
        }
        CHECK_INT(events, 1);
        CHECK(poise_wait(queue, MS) == 0);
    }
    poise_close(queue);
}

TEST(R, a_queue_for_each)
{
    NEED_NAMES();
    (void)look_up("echo.poise.test", AF_UNSPEC);
    struct usage before = usage();
    for (unsigned i = 0; i < scale(200); i++) {
        struct answer answer = look_up("echo.poise.test", AF_UNSPEC);
        CHECK_INT(answer.result, 0);
    }
    CALL(check_usage(before));
    CHECK_RANGE(usage().memory - before.memory, -1000000, 65536);
}

/* ---- many -------------------------------------------------------------------------------------------------------- */

enum { MANY = 1000 };
static poise_lookup crowd[MANY];

static void start_crowd(poise *queue, unsigned n, const char *name)
{
    for (unsigned i = 0; i < n; i++)
        CHECK_INT(start(queue, &crowd[i], name, AF_UNSPEC, in_time(50 * SECOND)), 0);
}

TEST(R, a_thousand_at_once)
{
    NEED_NAMES();
    unsigned n = MANY, ended = 0, addresses = 0;
    (void)look_up("v4.poise.test", AF_UNSPEC); /* what is made once is made */
    struct usage before = usage();
    poise *queue = open_queue();
    uint64_t begun = poise_now();
    CALL(start_crowd(queue, n, "echo.poise.test"));
    struct usage most = usage();
    char resident[64];
    snprintf(resident, sizeof resident, "%s", host_memory());
    while (ended < n) {
        poise_event event;
        CHECK(poise_wait(queue, 40 * SECOND) > 0);
        while (poise_next(queue, &event)) {
            poise_address address;
            int result;
            while ((result = poise_lookup_next(event.data, &address)) == 1)
                addresses++;
            CHECK(result == 0 || result == -EAGAIN);
            ended += result == 0;
        }
    }
    /* A host may lose one of the two answers in such a crowd. */
    CHECK_RANGE(addresses, on_wasi() ? n : n * (service_ipv6() ? 2u : 1u), 2 * n);
    printf("# %u look-ups at once: %lld ms, %lld descriptors, %lld handles, %lld KB each, %s\n", n,
           (long long)((int64_t)(poise_now() - begun) / MS), (long long)(most.descriptors - before.descriptors),
           (long long)(most.handles - before.handles), (long long)((most.memory - before.memory) / 1024 / n), resident);
    check_unharmed(queue);
    poise_close(queue);
    CALL(check_usage(before));
    if (!on_wasi())
        CHECK_RANGE(usage().memory - before.memory, -10000000, 1000000);
}

TEST(R, a_thousand_stopped)
{
    NEED_NAMES();
    unsigned n = scale(MANY);
    struct usage before = usage();
    poise *queue = open_queue();
    for (int round = 0; round < 2; round++) {
        CALL(start_crowd(queue, n, "echo.poise.test"));
        if (round == 1)
            CHECK(poise_wait(queue, 100 * MS) >= 0);
        for (unsigned i = 0; i < n; i++)
            poise_lookup_stop(&crowd[round == 0 ? i : n - 1 - i]);
        struct seen seen;
        CHECK_INT(wait_all(queue, 0, &seen), 0);
    }
    check_unharmed(queue);
    poise_close(queue);
    CALL(check_usage(before));
}

/* ---- what is missing --------------------------------------------------------------------------------------------- */

TEST(R, no_descriptors)
{
    poise *queue = open_queue();
    poise_lookup lookup;
    struct answer answer = { .n = 0 };
    struct usage before = usage();
    if (!limit_descriptors(0)) {
        poise_close(queue);
        SKIP("WASI has no limit of descriptors to set");
    }
    int without = start(queue, &lookup, "echo.poise.test", AF_UNSPEC, NONE);
    int literal = start(queue, &lookup, "localhost", AF_UNSPEC, NONE);
    poise_lookup_stop(&lookup);
    give_descriptors(1);
    int with_one = start(queue, &lookup, "echo.poise.test", AF_UNSPEC, NONE);
    if (with_one == 0)
        gather(queue, &lookup, 64, &answer);
    poise_lookup_stop(&lookup);
    struct answer hosts = { .n = 0 };
    if (start(queue, &lookup, "only-in-hosts", AF_UNSPEC, NONE) == 0)
        gather(queue, &lookup, 64, &hosts);
    unlimit_descriptors();
    CHECK_INT(without, -EMFILE);
    CHECK_INT(literal, 0);
    CHECK_INT(with_one, 0);
    CHECK_INT(answer.result, 0);
    CHECK_ANSWER(hosts, 1);
    CALL(check_usage(before));
    poise_close(queue);
}

/* The answer wants a second socket (TCP), and there is none. */
TEST(R, no_second_descriptor)
{
    poise *queue = open_queue();
    poise_lookup lookup;
    struct answer answer = { .n = 0 };
    struct usage before = usage();
    if (!limit_descriptors(1)) {
        poise_close(queue);
        SKIP("WASI has no limit of descriptors to set");
    }
    int started = start(queue, &lookup, "truncated.poise.test", AF_UNSPEC, NONE);
    if (started == 0)
        gather(queue, &lookup, 64, &answer);
    unlimit_descriptors();
    CHECK_INT(started, 0);
    CHECK_INT(answer.result, -EMFILE);
    CALL(check_usage(before));
    poise_close(queue);
}

/* The queue takes no source more. */
TEST(R, no_room_in_the_queue)
{
    NEED_NAMES();
    struct memory memory = { .live = 0 };
    poise *queue = open_queue_with((poise_options){ .realloc = memory_realloc, .context = &memory });
    int sockets[16];
    uint16_t port;
    for (int i = 0; i < 16; i++) { /* what a queue makes room for at first */
        sockets[i] = udp_bound(&port);
        CHECK_INT(poise_watch(queue, poise_fd(sockets[i]), POISE_READABLE, sockets), 0);
    }
    struct usage before = usage();
    memory.fail_at = memory.calls + 1;
    memory.sticky = true;
    poise_lookup lookup;
    struct answer answer = { .n = 0 };
    int result = start(queue, &lookup, "silent.poise.test", AF_UNSPEC, NONE);
    if (result == 0) { /* natively it is known when c-ares has made its socket; still told by an event */
        gather(queue, &lookup, 64, &answer);
        result = answer.result;
    }
    CHECK_INT(result, -ENOMEM);
    poise_lookup_stop(&lookup);
    CALL(check_usage(before));
    memory.fail_at = 0;
    for (int i = 0; i < 16; i++) {
        CHECK_INT(poise_unwatch(queue, poise_fd(sockets[i])), 0);
        close(sockets[i]);
    }
    poise_close(queue);
}

/* ---- a host that refuses: tests/services.py runs this group there, and nowhere else ----------------------------- */

TEST(Refused, names)
{
    NEED_NAMES();
    poise *queue = open_queue();
    poise_lookup lookup;
    poise_address address;
    CHECK_INT(start(queue, &lookup, "echo.poise.test", AF_UNSPEC, NONE), -EACCES);
    CHECK_INT(poise_lookup_next(&lookup, &address), -EINVAL);
    struct answer answer = { .n = 0 };
    CHECK_INT(start(queue, &lookup, "localhost", AF_UNSPEC, NONE), 0);
    gather(queue, &lookup, 64, &answer);
    CHECK_ANSWER(answer, 2);
    poise_close(queue);
}
