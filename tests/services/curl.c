/* libcurl on poise/adapters/curl.h, against a real web server and against servers that misbehave. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "adapters.h"

#define poise_watch watch_or_fail
#define poise_timer_start timer_start_or_fail
#include <poise/adapters/curl.h>
#undef poise_watch
#undef poise_timer_start

/* A transfer, and what has come of it. */
struct transfer {
    CURL *easy;
    size_t size;
    unsigned sum; /* of the bytes that were not i % 251 */
    long status;
    CURLcode result;
    unsigned ended;
    char body[32];
};

/* A multi handle. `done` when all transfers have ended. */
struct fetcher {
    poise_curl curl; /* the first member */
    unsigned left;
    bool done;
};

static size_t on_body(char *bytes, size_t one, size_t size, void *data)
{
    struct transfer *transfer = data;
    (void)one;
    for (size_t i = 0; i < size; i++)
        transfer->sum += (unsigned char)bytes[i] != (transfer->size + i) % 251;
    for (size_t i = 0; i < size && transfer->size + i < sizeof transfer->body - 1; i++)
        transfer->body[transfer->size + i] = bytes[i];
    transfer->size += size;
    return size;
}

static void end_transfer(struct fetcher *fetcher, struct transfer *transfer, CURLcode result)
{
    transfer->ended++;
    transfer->result = result;
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &transfer->status);
    curl_multi_remove_handle(fetcher->curl.multi, transfer->easy);
    curl_easy_cleanup(transfer->easy);
    fetcher->done = --fetcher->left == 0;
}

static void on_done(poise_curl *curl, CURL *easy, CURLcode result)
{
    char *transfer;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
    end_transfer((struct fetcher *)(void *)curl, (struct transfer *)(void *)transfer, result);
}

static void open_fetcher(struct fetcher *fetcher, poise *queue)
{
    memset(fetcher, 0, sizeof *fetcher);
    fetcher->curl.done = on_done;
    CURLM *multi = curl_multi_init();
    MUST(multi != NULL);
    CHECK_INT(poise_curl_attach(queue, &fetcher->curl, multi), 0);
}

static void close_fetcher(struct fetcher *fetcher)
{
    CURLM *multi = fetcher->curl.multi;
    CHECK_INT(poise_curl_detach(&fetcher->curl), 0);
    CHECK_INT(curl_multi_cleanup(multi), CURLM_OK);
}

static CURLMcode fetch(struct fetcher *fetcher, struct transfer *transfer, const char *host, uint16_t port,
                       const char *path)
{
    char url[128];
    memset(transfer, 0, sizeof *transfer);
    snprintf(url, sizeof url, "http://%s:%u%s", host, (unsigned)port, path);
    transfer->easy = curl_easy_init();
    MUST(transfer->easy != NULL);
    curl_easy_setopt(transfer->easy, CURLOPT_URL, url);
    curl_easy_setopt(transfer->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(transfer->easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(transfer->easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(transfer->easy, CURLOPT_NOSIGNAL, 1L);
    fetcher->left++;
    return curl_multi_add_handle(fetcher->curl.multi, transfer->easy);
}

/* ---- what it is for ---------------------------------------------------------------------------------------------- */

/* Descriptors of libcurl's thread that looks names up may be closed a little later. */
static void check_usage_soon(struct usage before)
{
    uint64_t end = poise_now() + 5 * (uint64_t)patience();
    while (usage().descriptors != before.descriptors && poise_now() < end)
        usleep(1000);
    check_usage(before);
}

static void fetch_hello(const char *host)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct fetcher fetcher;
    struct transfer transfer;
    CALL(open_fetcher(&fetcher, queue));
    CHECK_INT(fetch(&fetcher, &transfer, host, service_port("POISE_HTTP"), "/hello.txt"), CURLM_OK);
    CHECK(dispatch_until(queue, &fetcher.done));
    CHECK_INT(transfer.result, CURLE_OK);
    CHECK_INT(transfer.status, 200);
    CHECK(strcmp(transfer.body, "hello") == 0);
    CALL(close_fetcher(&fetcher));
    check_unharmed(queue);
    poise_close(queue);
    CALL(check_usage_soon(before));
}

TEST(Curl, fetch_by_ipv4) { CALL(fetch_hello(LIVE_V4)); }
TEST(Curl, fetch_by_name) { CALL(fetch_hello("web.poise.test")); }

TEST(Curl, fetch_by_ipv6)
{
    NEED_IPV6();
    CALL(fetch_hello("[" LIVE_V6 "]"));
}

/* With a queue's other sources beside them. */
TEST(Curl, many_at_once)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct fetcher fetcher;
    static struct transfer transfers[30];
    static const char *const paths[] = { "/hello.txt", "/big.bin", "/none", "/empty", "/redirect" };
    static const long statuses[] = { 200, 200, 404, 200, 302 };
    CALL(open_fetcher(&fetcher, queue));
    for (unsigned i = 0; i < 30; i++)
        CHECK_INT(fetch(&fetcher, &transfers[i], LIVE_V4, service_port("POISE_HTTP"), paths[i % 5]), CURLM_OK);
    CHECK(dispatch_until(queue, &fetcher.done));
    for (unsigned i = 0; i < 30; i++) {
        CHECK_INT(transfers[i].result, CURLE_OK);
        CHECK_INT(transfers[i].status, statuses[i % 5]);
        CHECK_INT(transfers[i].ended, 1);
        if (i % 5 == 1) {
            CHECK_INT(transfers[i].size, 5000000);
            CHECK_INT(transfers[i].sum, 0);
        }
    }
    CALL(close_fetcher(&fetcher));
    poise_close(queue);
    CALL(check_usage_soon(before));
}

/* Connections are kept and used again; each `done` begins the next. */
struct chain {
    struct fetcher fetcher; /* the first member */
    struct transfer transfer;
    unsigned n, wrong;
};

static void on_done_next(poise_curl *curl, CURL *easy, CURLcode result)
{
    struct chain *chain = (struct chain *)(void *)curl;
    (void)easy;
    end_transfer(&chain->fetcher, &chain->transfer, result);
    chain->wrong += result != CURLE_OK || chain->transfer.status != 200;
    if (--chain->n > 0) {
        chain->fetcher.done = false;
        chain->wrong +=
            fetch(&chain->fetcher, &chain->transfer, LIVE_V4, service_port("POISE_HTTP"), "/hello.txt") != CURLM_OK;
    }
}

TEST(Curl, one_after_the_other)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct chain chain;
    memset(&chain, 0, sizeof chain);
    chain.n = 200;
    CALL(open_fetcher(&chain.fetcher, queue));
    chain.fetcher.curl.done = on_done_next;
    CHECK_INT(fetch(&chain.fetcher, &chain.transfer, LIVE_V4, service_port("POISE_HTTP"), "/hello.txt"), CURLM_OK);
    CHECK(dispatch_until(queue, &chain.fetcher.done));
    CHECK_INT(chain.n, 0);
    CHECK_INT(chain.wrong, 0);
    CALL(close_fetcher(&chain.fetcher));
    poise_close(queue);
    CALL(check_usage_soon(before));
}

/* A big body up and down again. */
static size_t on_upload(char *bytes, size_t one, size_t size, void *data)
{
    size_t *left = data;
    size_t n = size * one < *left ? size * one : *left;
    memset(bytes, 'x', n);
    *left -= n;
    return n;
}

TEST(Curl, upload)
{
    poise *queue = open_queue();
    struct fetcher fetcher;
    struct transfer transfer;
    size_t left = 3000000;
    CALL(open_fetcher(&fetcher, queue));
    memset(&transfer, 0, sizeof transfer);
    char url[64];
    snprintf(url, sizeof url, "http://%s:%u/echo", LIVE_V4, (unsigned)service_port("POISE_FAULT_HTTP"));
    transfer.easy = curl_easy_init();
    curl_easy_setopt(transfer.easy, CURLOPT_URL, url);
    curl_easy_setopt(transfer.easy, CURLOPT_PRIVATE, &transfer);
    curl_easy_setopt(transfer.easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(transfer.easy, CURLOPT_WRITEDATA, &transfer);
    curl_easy_setopt(transfer.easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(transfer.easy, CURLOPT_READFUNCTION, on_upload);
    curl_easy_setopt(transfer.easy, CURLOPT_READDATA, &left);
    curl_easy_setopt(transfer.easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)left);
    fetcher.left++;
    CHECK_INT(curl_multi_add_handle(fetcher.curl.multi, transfer.easy), CURLM_OK);
    CHECK(dispatch_until(queue, &fetcher.done));
    CHECK_INT(transfer.result, CURLE_OK);
    CHECK_INT(transfer.size, 3000000);
    CALL(close_fetcher(&fetcher));
    poise_close(queue);
}

/* ---- freed and entered in callbacks ------------------------------------------------------------------------------ */

static unsigned ended, running;
static int failed;
static bool all_ended;

/* The first that is done ends everything, the running ones too. */
struct doomed {
    struct fetcher fetcher; /* the first member */
    struct transfer transfers[10];
};

static void on_done_free(poise_curl *curl, CURL *easy, CURLcode result)
{
    struct doomed *doomed = (struct doomed *)(void *)curl;
    CURLM *multi = curl->multi;
    (void)easy, (void)result;
    ended++;
    for (unsigned i = 0; i < running; i++) {
        curl_multi_remove_handle(multi, doomed->transfers[i].easy);
        curl_easy_cleanup(doomed->transfers[i].easy);
    }
    if (poise_curl_detach(curl) != 0 || curl_multi_cleanup(multi) != CURLM_OK)
        ended = 100;
    memset(doomed, 0x55, sizeof *doomed);
    free(doomed);
    all_ended = true;
}

TEST(Curl, free_all_in_done)
{
    struct usage before = usage();
    for (running = 1; running <= 10; running += 3) {
        poise *queue = open_queue();
        struct doomed *doomed = malloc(sizeof *doomed);
        MUST(doomed != NULL);
        CALL(open_fetcher(&doomed->fetcher, queue));
        doomed->fetcher.curl.done = on_done_free;
        for (unsigned i = 0; i < running; i++)
            CHECK_INT(fetch(&doomed->fetcher, &doomed->transfers[i], LIVE_V4, service_port("POISE_HTTP"), "/hello.txt"),
                      CURLM_OK);
        ended = 0;
        all_ended = false;
        CHECK(dispatch_until(queue, &all_ended));
        CHECK_INT(ended, 1);
        check_unharmed(queue);
        poise_close(queue);
    }
    CALL(check_usage_soon(before));
}

TEST(Curl, detach_at_every_step)
{
    poise *queue = open_queue();
    struct usage before = usage();
    for (unsigned steps = 0; steps < 8; steps++) {
        struct fetcher fetcher;
        struct transfer transfer;
        CALL(open_fetcher(&fetcher, queue));
        CHECK_INT(fetch(&fetcher, &transfer, LIVE_V4, service_port("POISE_HTTP"), "/big.bin"), CURLM_OK);
        for (unsigned i = 0; i < steps; i++)
            CHECK(poise_dispatch(queue, 10 * MS) >= 0);
        CURLM *multi = fetcher.curl.multi;
        CHECK_INT(poise_curl_detach(&fetcher.curl), 0);
        CHECK_INT(poise_curl_detach(&fetcher.curl), 0); /* nothing */
        memset(&fetcher, 0x55, sizeof fetcher);
        CHECK_INT(poise_dispatch(queue, 5 * MS), 0);
        if (transfer.ended == 0) {
            curl_multi_remove_handle(multi, transfer.easy);
            curl_easy_cleanup(transfer.easy);
        }
        CHECK_INT(curl_multi_cleanup(multi), CURLM_OK);
        CALL(check_usage_soon(before));
    }
    check_unharmed(queue);
    poise_close(queue);
}

struct nested {
    struct fetcher fetcher; /* the first member */
    struct transfer transfers[3];
    poise *queue;
    unsigned depth;
    bool failed;
};

/* In a callback of libcurl: waits for something else, and is refused a detach. */
static size_t on_body_nested(char *bytes, size_t one, size_t size, void *data)
{
    struct nested *nested = data;
    struct alarm_clock alarm;
    (void)bytes, (void)one;
    if (nested->depth++ < 3) {
        nested->failed |= poise_curl_detach(&nested->fetcher.curl) != -EBUSY;
        alarm_start(nested->queue, &alarm, 40 * MS);
        unsigned before = dispatched;
        nested->failed |= !dispatch_until(nested->queue, &alarm.rang) || dispatched - before > 100;
    }
    return size;
}

/* The third one's time runs out in there. */
TEST(Curl, dispatch_in_a_callback)
{
    poise *queue = open_queue();
    struct nested nested;
    memset(&nested, 0, sizeof nested);
    CALL(open_fetcher(&nested.fetcher, queue));
    nested.queue = queue;
    uint16_t silent = service_port("POISE_FAULT_SILENT");
    for (unsigned i = 0; i < 3; i++) {
        CHECK_INT(fetch(&nested.fetcher, &nested.transfers[i], LIVE_V4, i < 2 ? service_port("POISE_HTTP") : silent,
                        "/big.bin"),
                  CURLM_OK);
        curl_easy_setopt(nested.transfers[i].easy, CURLOPT_WRITEFUNCTION, on_body_nested);
        curl_easy_setopt(nested.transfers[i].easy, CURLOPT_WRITEDATA, &nested);
    }
    curl_easy_setopt(nested.transfers[2].easy, CURLOPT_TIMEOUT_MS, 60L);
    uint64_t end = poise_now() + 5 * (uint64_t)patience();
    while (!nested.fetcher.done && poise_now() < end) {
        CHECK(poise_dispatch(queue, patience()) >= 0);
        for (poise_curl_socket *socket = nested.fetcher.curl.sockets; socket != NULL; socket = socket->next)
            CHECK_INT(watched_for[socket->fd], socket->interest); /* what was paused is resumed */
    }
    CHECK(nested.fetcher.done);
    CHECK(!nested.failed);
    CHECK(nested.depth > 3);
    CHECK_INT(nested.transfers[0].result, CURLE_OK);
    CHECK_INT(nested.transfers[1].result, CURLE_OK);
    CHECK_INT(nested.transfers[2].result, CURLE_OPERATION_TIMEDOUT);
    CALL(close_fetcher(&nested.fetcher));
    poise_close(queue);
}

TEST(Curl, a_failed_watch_and_detach)
{
    poise *queue = open_queue();
    struct fetcher *fetcher = malloc(sizeof *fetcher);
    struct transfer transfer;
    MUST(fetcher != NULL);
    CALL(open_fetcher(fetcher, queue));
    poise_fails = -ENOMEM;
    CHECK_INT(fetch(fetcher, &transfer, LIVE_V4, service_port("POISE_HTTP"), "/hello.txt"), CURLM_OK);
    poise_fails = 0;
    CURLM *multi = fetcher->curl.multi;
    CHECK_INT(poise_curl_detach(&fetcher->curl), 0); /* before it is told */
    memset(fetcher, 0x55, sizeof *fetcher);
    free(fetcher);
    CHECK_INT(poise_dispatch(queue, 5 * MS), 0);
    curl_multi_remove_handle(multi, transfer.easy);
    curl_easy_cleanup(transfer.easy);
    CHECK_INT(curl_multi_cleanup(multi), CURLM_OK);
    poise_close(queue);
}

/* ---- attaching, and the errors of poise -------------------------------------------------------------------------- */

TEST(Curl, attach_and_its_errors)
{
    poise *queue = open_queue();
    struct fetcher fetcher;
    CURLM *multi = curl_multi_init();
    memset(&fetcher, 0, sizeof fetcher);
    CHECK_INT(poise_curl_attach(NULL, &fetcher.curl, multi), -EINVAL);
    CHECK_INT(poise_curl_attach(queue, NULL, multi), -EINVAL);
    CHECK_INT(poise_curl_attach(queue, &fetcher.curl, NULL), -EINVAL);
    CHECK_INT(poise_curl_attach(queue, &fetcher.curl, multi), 0);
    CHECK_INT(poise_curl_attach(queue, &fetcher.curl, multi), -EBUSY);
    CALL(close_fetcher(&fetcher));
    poise_close(queue);
}

/* Ends the transfers that would wait for ever. */
static void on_failed(poise_curl *curl, int error)
{
    struct doomed *doomed = (struct doomed *)(void *)curl;
    failed = error;
    poise_fails = 0;
    while (running > 0)
        end_transfer(&doomed->fetcher, &doomed->transfers[--running], CURLE_ABORTED_BY_CALLBACK);
}

TEST(Curl, a_failed_watch_is_told)
{
    struct usage before = usage();
    poise *queue = open_queue();
    static struct doomed doomed;
    CALL(open_fetcher(&doomed.fetcher, queue));
    doomed.fetcher.curl.failed = on_failed;
    for (unsigned early = 0; early < 2; early++) { /* in the first curl_multi_add_handle, or in a handler */
        doomed.fetcher.done = false;
        failed = 0;
        poise_fails = early ? -ENOMEM : 0;
        for (running = 0; running < 3; running++)
            CHECK_INT(
                fetch(&doomed.fetcher, &doomed.transfers[running], LIVE_V4, service_port("POISE_FAULT_SILENT"), "/"),
                CURLM_OK);
        poise_fails = -ENOMEM;
        CHECK(dispatch_until(queue, &doomed.fetcher.done));
        poise_fails = 0;
        CHECK_INT(failed, -ENOMEM);
    }
    CHECK_INT(fetch(&doomed.fetcher, &doomed.transfers[0], LIVE_V4, service_port("POISE_HTTP"), "/hello.txt"),
              CURLM_OK);
    doomed.fetcher.done = false;
    CHECK(dispatch_until(queue, &doomed.fetcher.done)); /* and goes on */
    CHECK_INT(doomed.transfers[0].result, CURLE_OK);
    CALL(close_fetcher(&doomed.fetcher));
    poise_close(queue);
    CALL(check_usage_soon(before));
}

/* ---- servers that misbehave -------------------------------------------------------------------------------------- */

static void broken_server(const char *host, uint16_t port, const char *path, CURLcode expected, CURLcode or_else)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct fetcher fetcher;
    struct transfer transfer;
    CALL(open_fetcher(&fetcher, queue));
    CHECK_INT(fetch(&fetcher, &transfer, host, port, path), CURLM_OK);
    long limit_ms = expected == CURLE_OPERATION_TIMEDOUT ? 300 : (long)(4 * patience() / MS);
    curl_easy_setopt(transfer.easy, CURLOPT_TIMEOUT_MS, limit_ms);
    CHECK(dispatch_until(queue, &fetcher.done));
    CHECK_INT(transfer.ended, 1);
    if (expected != CURL_LAST)
        CHECK_INT(transfer.result, transfer.result == or_else ? or_else : expected);
    else /* a reset may be seen by the connect, a send or a receive */
        CHECK(transfer.result != CURLE_OK && transfer.result != CURLE_OPERATION_TIMEDOUT);
    CALL(close_fetcher(&fetcher));
    check_unharmed(queue);
    poise_close(queue);
    CALL(check_usage_soon(before));
}

#define BROKEN(name, variable, path, expected, or_else) \
    TEST(Curl, name) { CALL(broken_server(LIVE_V4, service_port(variable), path, expected, or_else)); }

BROKEN(a_server_that_closes, "POISE_FAULT_CLOSE", "/", CURLE_GOT_NOTHING, CURLE_RECV_ERROR)
BROKEN(a_server_that_resets, "POISE_FAULT_RESET", "/", CURL_LAST, CURL_LAST)
BROKEN(a_server_that_half_closes, "POISE_FAULT_HALF_CLOSE", "/", CURLE_GOT_NOTHING, CURLE_GOT_NOTHING)
BROKEN(closed_within_an_answer, "POISE_FAULT_HTTP_CLOSE", "/", CURLE_PARTIAL_FILE, CURLE_PARTIAL_FILE)
BROKEN(reset_within_an_answer, "POISE_FAULT_HTTP_RESET", "/", CURL_LAST, CURL_LAST)
BROKEN(half_closed_within_an_answer, "POISE_FAULT_HTTP_HALF_CLOSE", "/", CURLE_PARTIAL_FILE, CURLE_PARTIAL_FILE)
BROKEN(a_server_that_takes_nothing, "POISE_FAULT_SILENT", "/", CURLE_OPERATION_TIMEDOUT, CURLE_OPERATION_TIMEDOUT)
BROKEN(hangs_within_an_answer, "POISE_FAULT_HTTP_HANG", "/", CURLE_OPERATION_TIMEDOUT, CURLE_OPERATION_TIMEDOUT)
BROKEN(hangs_within_a_body, "POISE_FAULT_HTTP", "/stuck", CURLE_OPERATION_TIMEDOUT, CURLE_OPERATION_TIMEDOUT)
BROKEN(one_byte_at_a_time, "POISE_FAULT_HTTP", "/bytewise", CURLE_OK, CURLE_OK)

TEST(Curl, nobody_listens) { CALL(broken_server(LIVE_V4, 1, "/", CURLE_COULDNT_CONNECT, CURLE_COULDNT_CONNECT)); }

TEST(Curl, a_dead_address)
{
    CALL(broken_server(DEAD_V4, service_port("POISE_HTTP"), "/", CURLE_OPERATION_TIMEDOUT, CURLE_OPERATION_TIMEDOUT));
}

TEST(Curl, no_such_name)
{
    CALL(broken_server("none.poise.test", service_port("POISE_HTTP"), "/", CURLE_COULDNT_RESOLVE_HOST,
                       CURLE_COULDNT_RESOLVE_HOST));
}
