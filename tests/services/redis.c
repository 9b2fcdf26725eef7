/* hiredis on poise/adapters/hiredis.h, against a real Redis and against servers that misbehave. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "adapters.h"

#define poise_watch watch_or_fail
#define poise_timer_start timer_start_or_fail
#include <poise/adapters/hiredis.h>
#undef poise_watch
#undef poise_timer_start

/* A connection and what has come of it. `done` ends the test's loop; each test's callback says when. */
struct client {
    redisAsyncContext *redis;
    poise *queue;
    unsigned replies, nulls, wanted;
    int connected, disconnected; /* how often */
    int connect_status, disconnect_status;
    char text[64], error[128];
    bool attached, gone, done;
};

static struct client *client_of(const redisAsyncContext *redis) { return redis->data; }

static void on_connect(const redisAsyncContext *redis, int status)
{
    struct client *client = client_of(redis);
    client->connected++;
    client->connect_status = status;
    if (status != REDIS_OK) { /* hiredis frees the context when this returns */
        snprintf(client->error, sizeof client->error, "%s", redis->errstr != NULL ? redis->errstr : "");
        client->gone = client->done = true;
    }
}

static void on_disconnect(const redisAsyncContext *redis, int status)
{
    struct client *client = client_of(redis);
    client->disconnected++;
    client->disconnect_status = status;
    client->attached = redis->ev.data != NULL || redis->ev.addRead != NULL; /* it may still be called, say */
    snprintf(client->error, sizeof client->error, "%s", redis->errstr != NULL ? redis->errstr : "");
    client->gone = client->done = true;
}

/* Opens a connection. It may fail later, by the callbacks. */
static void open_client(struct client *client, poise *queue, const char *host, uint16_t port)
{
    memset(client, 0, sizeof *client);
    client->queue = queue;
    client->redis = redisAsyncConnect(host, port);
    MUST(client->redis != NULL);
    if (client->redis->err != 0) { /* refused at once, as WASI's hosts may do */
        CHECK_INT(poise_hiredis_attach(queue, client->redis), -EINVAL);
        return;
    }
    client->redis->data = client;
    CHECK_INT(poise_hiredis_attach(queue, client->redis), 0);
    CHECK_INT(redisAsyncSetConnectCallback(client->redis, on_connect), REDIS_OK);
    CHECK_INT(redisAsyncSetDisconnectCallback(client->redis, on_disconnect), REDIS_OK);
}

static void close_client(struct client *client)
{
    client->done = false;
    redisAsyncDisconnect(client->redis);
    CHECK(dispatch_until(client->queue, &client->done));
    CHECK_INT(client->disconnected, 1);
    CHECK_INT(client->disconnect_status, REDIS_OK);
    CHECK(!client->attached);
}

static void on_reply(redisAsyncContext *redis, void *answer, void *data)
{
    struct client *client = client_of(redis);
    const redisReply *reply = answer;
    (void)data;
    client->replies++;
    if (reply == NULL)
        client->nulls++;
    else if (reply->str != NULL)
        snprintf(client->text, sizeof client->text, "%s", reply->str);
    client->done |= client->replies >= client->wanted;
}

/* Sends, and waits for the reply. */
#define ASK(client, expected, ...)                                                            \
    do {                                                                                      \
        (client)->wanted = (client)->replies + 1;                                             \
        (client)->done = false;                                                               \
        CHECK_INT(redisAsyncCommand((client)->redis, on_reply, NULL, __VA_ARGS__), REDIS_OK); \
        CHECK(dispatch_until((client)->queue, &(client)->done));                              \
        CHECK(strcmp((client)->text, expected) == 0);                                         \
    } while (0)

/* ---- what it is for ---------------------------------------------------------------------------------------------- */

static void ping_set_get(const char *host)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct client client;
    CALL(open_client(&client, queue, host, service_port("POISE_REDIS")));
    ASK(&client, "PONG", "PING");
    CHECK_INT(client.connected, 1);
    ASK(&client, "OK", "SET %s:key value-of-%s", service_text("POISE_RUN"), host);
    char value[64];
    snprintf(value, sizeof value, "value-of-%s", host);
    ASK(&client, value, "GET %s:key", service_text("POISE_RUN"));
    CALL(close_client(&client));
    poise_close(queue);
    CALL(check_usage(before));
}

TEST(Redis, ping_set_get_by_ipv4) { CALL(ping_set_get(LIVE_V4)); }
TEST(Redis, ping_set_get_by_name) { CALL(ping_set_get("redis.poise.test")); }

TEST(Redis, ping_set_get_by_ipv6)
{
    NEED_IPV6();
    CALL(ping_set_get(LIVE_V6));
}

static void on_number(redisAsyncContext *redis, void *answer, void *data)
{
    struct client *client = client_of(redis);
    const redisReply *reply = answer;
    char expected[16];
    snprintf(expected, sizeof expected, "%u", client->replies++);
    (void)data;
    if (reply == NULL || reply->type != REDIS_REPLY_STRING || strcmp(reply->str, expected) != 0)
        client->nulls++; /* not in order */
    client->done = client->replies == client->wanted;
}

/* Many at once, so that neither end takes or gives everything in one go. */
static void pipeline(const char *host, uint16_t port, unsigned n)
{
    poise *queue = open_queue();
    struct client client;
    CALL(open_client(&client, queue, host, port));
    client.wanted = n;
    for (unsigned i = 0; i < n; i++)
        CHECK_INT(redisAsyncCommand(client.redis, on_number, NULL, "ECHO %u", i), REDIS_OK);
    CHECK(dispatch_until(queue, &client.done));
    CHECK_INT(client.replies, n);
    CHECK_INT(client.nulls, 0);
    CALL(close_client(&client));
    poise_close(queue);
}

TEST(Redis, pipeline_of_10000) { CALL(pipeline(LIVE_V4, service_port("POISE_REDIS"), 10000)); }

/* Disconnects with everything still on its way: hiredis first takes all replies. */
TEST(Redis, disconnect_waits_for_replies)
{
    poise *queue = open_queue();
    struct client client;
    CALL(open_client(&client, queue, LIVE_V4, service_port("POISE_REDIS")));
    for (unsigned i = 0; i < 1000; i++)
        CHECK_INT(redisAsyncCommand(client.redis, on_number, NULL, "ECHO %u", i), REDIS_OK);
    CALL(close_client(&client));
    CHECK_INT(client.replies, 1000);
    CHECK_INT(client.nulls, 0);
    poise_close(queue);
}

struct listener {
    struct client client; /* the first member */
    struct client *publisher;
    unsigned subscribed, messages, wrong;
};

static void on_message(redisAsyncContext *redis, void *answer, void *data)
{
    struct listener *listener = (struct listener *)(void *)client_of(redis);
    const redisReply *reply = answer;
    const char *channel = data;
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 3)
        return;
    if (strcmp(reply->element[0]->str, "subscribe") == 0) {
        listener->subscribed++;
        for (unsigned i = 0; i < 100; i++)
            redisAsyncCommand(listener->publisher->redis, on_reply, NULL, "PUBLISH %s message-%u", channel, i);
    } else if (strcmp(reply->element[0]->str, "message") == 0) {
        char expected[32];
        snprintf(expected, sizeof expected, "message-%u", listener->messages++);
        listener->wrong +=
            strcmp(reply->element[2]->str, expected) != 0 || strcmp(reply->element[1]->str, channel) != 0;
        if (listener->messages == 100)
            redisAsyncCommand(redis, NULL, NULL, "UNSUBSCRIBE %s", channel);
    } else if (strcmp(reply->element[0]->str, "unsubscribe") == 0) {
        listener->client.done = true;
    }
}

TEST(Redis, publish_and_subscribe)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct client publisher;
    struct listener listener;
    char channel[64];
    snprintf(channel, sizeof channel, "channel-%s", service_text("POISE_RUN"));
    memset(&listener, 0, sizeof listener);
    CALL(open_client(&publisher, queue, LIVE_V4, service_port("POISE_REDIS")));
    CALL(open_client(&listener.client, queue, LIVE_V4, service_port("POISE_REDIS")));
    listener.publisher = &publisher;
    CHECK_INT(redisAsyncCommand(listener.client.redis, on_message, channel, "SUBSCRIBE %s", channel), REDIS_OK);
    CHECK(dispatch_until(queue, &listener.client.done));
    CHECK_INT(listener.subscribed, 1);
    CHECK_INT(listener.messages, 100);
    CHECK_INT(listener.wrong, 0);
    CALL(close_client(&publisher));
    CALL(close_client(&listener.client));
    poise_close(queue);
    CALL(check_usage(before));
}

/* ---- freed and entered in callbacks ------------------------------------------------------------------------------ */

static void on_reply_free(redisAsyncContext *redis, void *answer, void *data)
{
    on_reply(redis, answer, data);
    if (answer != NULL) { /* freeing gives NULL to the rest */
        redisAsyncFree(redis);
        client_of(redis)->done = false;
    }
}

static void on_reply_disconnect(redisAsyncContext *redis, void *answer, void *data)
{
    on_reply(redis, answer, data);
    client_of(redis)->done = false;
    redisAsyncDisconnect(redis);
}

/* Ten commands; the first reply's callback ends the connection. */
static void end_in_callback(redisCallbackFn *callback, unsigned nulls)
{
    struct usage before = usage();
    poise *queue = open_queue();
    for (unsigned round = 0; round < scale(30); round++) {
        struct client client;
        CALL(open_client(&client, queue, LIVE_V4, service_port("POISE_REDIS")));
        client.wanted = 100;
        for (unsigned i = 0; i < 10; i++)
            CHECK_INT(redisAsyncCommand(client.redis, i == 0 ? callback : on_reply, NULL, "PING"), REDIS_OK);
        CHECK(dispatch_until(queue, &client.done));
        CHECK_INT(client.replies, 10);
        CHECK_INT(client.nulls, nulls);
        CHECK_INT(client.disconnected, 1);
        CHECK_INT(client.disconnect_status, REDIS_OK);
    }
    check_unharmed(queue);
    poise_close(queue);
    CALL(check_usage(before));
}

TEST(Redis, free_in_a_callback) { CALL(end_in_callback(on_reply_free, 9)); }
TEST(Redis, disconnect_in_a_callback) { CALL(end_in_callback(on_reply_disconnect, 0)); }

/* At every step of a connection's life, from a handler of somebody else. */
TEST(Redis, free_at_every_step)
{
    poise *queue = open_queue();
    struct usage before = usage();
    for (unsigned steps = 0; steps < 8; steps++) {
        struct client client;
        CALL(open_client(&client, queue, LIVE_V4, service_port("POISE_REDIS")));
        client.wanted = 2;
        CHECK_INT(redisAsyncCommand(client.redis, on_reply, NULL, "PING"), REDIS_OK);
        CHECK_INT(redisAsyncCommand(client.redis, on_reply, NULL, "PING"), REDIS_OK);
        for (unsigned i = 0; i < steps; i++)
            CHECK(poise_dispatch(queue, 10 * MS) >= 0);
        redisAsyncFree(client.redis);
        CHECK_INT(client.replies, 2);
        client.replies = 0;
        CHECK(poise_dispatch(queue, 10 * MS) >= 0);
        CHECK_INT(client.replies, 0);
        CALL(check_usage(before));
    }
    check_unharmed(queue);
    poise_close(queue);
}

struct nested {
    struct client client; /* the first member */
    struct client *other;
    unsigned before;
    bool failed;
};

/* Waits inside of a callback for another connection, while more replies of its own are there. */
static void on_reply_nested(redisAsyncContext *redis, void *answer, void *data)
{
    struct nested *nested = (struct nested *)(void *)client_of(redis);
    unsigned before = nested->client.replies;
    struct alarm_clock alarm;
    nested->other->done = false;
    nested->other->wanted = nested->other->replies + 1;
    redisAsyncCommand(nested->other->redis, on_reply, NULL, "PING");
    redisAsyncCommand(redis, on_reply, NULL, "PING"); /* wants to be written meanwhile */
    nested->failed |= !dispatch_until(nested->client.queue, &nested->other->done);
    alarm_start(nested->client.queue, &alarm, 20 * MS); /* and then there is time to spin in, if it does */
    unsigned calls = dispatched;
    nested->failed |= !dispatch_until(nested->client.queue, &alarm.rang) || dispatched - calls > 5;
    nested->failed |= nested->client.replies != before;
    on_reply(redis, answer, data);
}

TEST(Redis, dispatch_in_a_callback)
{
    poise *queue = open_queue();
    struct client other;
    struct nested nested;
    memset(&nested, 0, sizeof nested);
    CALL(open_client(&other, queue, LIVE_V4, service_port("POISE_REDIS")));
    CALL(open_client(&nested.client, queue, LIVE_V4, service_port("POISE_REDIS")));
    nested.other = &other;
    nested.client.wanted = 6;
    for (unsigned i = 0; i < 3; i++)
        CHECK_INT(redisAsyncCommand(nested.client.redis, on_reply_nested, NULL, "PING"), REDIS_OK);
    CHECK(dispatch_until(queue, &nested.client.done));
    CHECK(!nested.failed);
    CHECK_INT(nested.client.replies, 6);
    CHECK_INT(nested.client.nulls, 0);
    CALL(close_client(&nested.client));
    CALL(close_client(&other));
    poise_close(queue);
}

/* The answer to what was sent has come, and is not read: the first of the callbacks that a redisAsyncFree of the
 * program's own calls waits for events. */
static void on_freed_and_nested(redisAsyncContext *redis, void *reply, void *data)
{
    struct client *client = data;
    (void)redis;
    client->replies++;
    client->nulls += reply == NULL;
    if (client->replies == 1)
        (void)poise_dispatch(client->queue, 100 * MS);
}

TEST(Redis, dispatch_while_it_is_freed)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct client client;
    CALL(open_client(&client, queue, LIVE_V4, service_port("POISE_REDIS")));
    while (client.connected == 0)
        CHECK(poise_dispatch(queue, patience()) > 0);
    CHECK_INT(redisAsyncCommand(client.redis, on_freed_and_nested, &client, "PING one"), REDIS_OK);
    CHECK_INT(redisAsyncCommand(client.redis, on_freed_and_nested, &client, "PING two"), REDIS_OK);
    int sent = 0;
    while (sent == 0)
        CHECK_INT(redisBufferWrite(&client.redis->c, &sent), REDIS_OK);
    await_readable(client.redis->c.fd);
    redisAsyncFree(client.redis);
    CHECK_INT(client.replies, 2);
    CHECK_INT(client.nulls, 2);
    poise_close(queue);
    CALL(check_usage(before));
}

/* ---- attaching, and the errors of poise -------------------------------------------------------------------------- */

TEST(Redis, attach_and_its_errors)
{
    struct usage before = usage();
    struct memory memory = { .live = 0 };
    poise *queue = open_queue_with((poise_options){ .realloc = memory_realloc, .context = &memory });
    redisAsyncContext *redis = redisAsyncConnect(LIVE_V4, service_port("POISE_REDIS"));
    MUST(redis != NULL && redis->err == 0);
    CHECK_INT(poise_hiredis_attach(NULL, redis), -EINVAL);
    CHECK_INT(poise_hiredis_attach(queue, NULL), -EINVAL);
    memory.fail_at = memory.calls + 1;
    memory.sticky = true;
    int result = poise_hiredis_attach(queue, redis);
    for (unsigned i = 1; result == -ENOMEM && i < 10; i++) {
        CHECK(redis->ev.data == NULL);
        memory.fail_at = memory.calls + 1 + i;
        result = poise_hiredis_attach(queue, redis);
    }
    memory.fail_at = 0;
    CHECK_INT(result, 0);
    CHECK_INT(poise_hiredis_attach(queue, redis), -EBUSY);
    redisAsyncFree(redis);
    poise_close(queue);
    CHECK_INT(memory.live, 0);
    CALL(check_usage(before));
}

/* A watch that fails in a hook, which can't say so: the connection ends with a reason. */
TEST(Redis, a_failed_watch_is_an_error)
{
    for (int connected = 0; connected < 2; connected++) {
        poise *queue = open_queue();
        struct client client;
        CALL(open_client(&client, queue, LIVE_V4, service_port("POISE_REDIS")));
        if (connected)
            ASK(&client, "PONG", "PING");
        else /* the hook was called already; let it have to be called again */
            client.redis->ev.delWrite(client.redis->ev.data);
        client.done = false;
        client.replies = 0;
        client.wanted = 2;
        poise_fails = -ENOMEM;
        CHECK_INT(redisAsyncCommand(client.redis, on_reply, NULL, "PING"), REDIS_OK);
        poise_fails = 0;
        CHECK(dispatch_until(queue, &client.done));
        CHECK_INT(client.connected, 1);
        CHECK_INT(client.disconnected, connected);
        CHECK_INT(connected ? client.disconnect_status : client.connect_status, REDIS_ERR);
        CHECK(strncmp(client.error, "poise: ", 7) == 0 && strcmp(client.error + 7, strerror(ENOMEM)) == 0);
        CHECK_INT(client.nulls, 1);
        poise_close(queue);
    }
}

TEST(Redis, a_failed_watch_and_free)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct client client;
    CALL(open_client(&client, queue, LIVE_V4, service_port("POISE_REDIS")));
    ASK(&client, "PONG", "PING");
    poise_fails = -ENOMEM;
    CHECK_INT(redisAsyncCommand(client.redis, on_reply, NULL, "PING"), REDIS_OK);
    poise_fails = 0;
    redisAsyncFree(client.redis); /* before it is told */
    CHECK_INT(client.nulls, 1);
    CHECK_INT(poise_dispatch(queue, 5 * MS), 0);
    poise_close(queue);
    CALL(check_usage(before));
}

/* ---- servers that misbehave -------------------------------------------------------------------------------------- */

/* One command. The connection ends by itself, with an error, and the command's callback gets NULL. */
static void broken_server(const char *host, uint16_t port)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct client client;
    CALL(open_client(&client, queue, host, port));
    client.wanted = 2;
    if (client.redis->err != 0) { /* refused at once, as WASI's hosts may do */
        redisAsyncFree(client.redis);
        poise_close(queue);
        CALL(check_usage(before));
        return;
    }
    (void)redisAsyncCommand(client.redis, on_reply, NULL, "GET key");
    while (!client.gone)
        CHECK(dispatch_until(queue, &client.done));
    CHECK_INT(client.replies, 1);
    CHECK_INT(client.nulls, 1);
    CHECK_INT(client.connected, 1);
    CHECK_INT(client.disconnected, client.connect_status == REDIS_OK);
    CHECK_INT(client.connect_status == REDIS_OK ? client.disconnect_status : REDIS_ERR, REDIS_ERR);
    CHECK(client.error[0] != '\0');
    check_unharmed(queue);
    poise_close(queue);
    CALL(check_usage(before));
}

#define BROKEN(name, variable) \
    TEST(Redis, name) { CALL(broken_server(LIVE_V4, service_port(variable))); }

BROKEN(a_server_that_closes, "POISE_FAULT_CLOSE")
BROKEN(a_server_that_resets, "POISE_FAULT_RESET")
BROKEN(a_server_that_half_closes, "POISE_FAULT_HALF_CLOSE")
BROKEN(closed_within_an_answer, "POISE_FAULT_REDIS_CLOSE")
BROKEN(reset_within_an_answer, "POISE_FAULT_REDIS_RESET")
BROKEN(half_closed_within_an_answer, "POISE_FAULT_REDIS_HALF_CLOSE")

TEST(Redis, nobody_listens) { CALL(broken_server(LIVE_V4, 1)); }

/* It never answers, or never lets us in: a poise_timer gives up. */
static void silent_server(const char *host, uint16_t port, int connected)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct client client;
    struct alarm_clock alarm;
    CALL(open_client(&client, queue, host, port));
    client.wanted = 2;
    CHECK_INT(redisAsyncCommand(client.redis, on_reply, NULL, "PING"), REDIS_OK);
    CHECK_INT(poise_post(queue, poise_fd(client.redis->c.fd), POISE_WRITABLE), 0); /* a spurious event */
    for (uint64_t end = poise_now() + 5 * (uint64_t)patience(); client.connected < connected && poise_now() < end;)
        CHECK(poise_dispatch(queue, patience()) >= 0);
    alarm_start(queue, &alarm, 100 * MS);
    CHECK(dispatch_until(queue, &alarm.rang));
    CHECK_INT(client.connected, connected);
    CHECK_INT(client.replies, 0);
    redisAsyncFree(client.redis);
    CHECK_INT(client.nulls, 1);
    check_unharmed(queue);
    poise_close(queue);
    CALL(check_usage(before));
}

TEST(Redis, a_server_that_takes_nothing) { CALL(silent_server(LIVE_V4, service_port("POISE_FAULT_SILENT"), 1)); }
TEST(Redis, hangs_within_an_answer) { CALL(silent_server(LIVE_V4, service_port("POISE_FAULT_REDIS_HANG"), 1)); }
TEST(Redis, a_dead_address) { CALL(silent_server(DEAD_V4, service_port("POISE_REDIS"), 0)); }

TEST(Redis, one_byte_at_a_time) { CALL(pipeline(LIVE_V4, service_port("POISE_FAULT_REDIS_BYTEWISE"), 200)); }

/* It dies with half of a pipeline's answers out. */
TEST(Redis, dies_in_the_middle)
{
    static const char *const ends[] = { "close", "reset", "half-close" };
    for (unsigned i = 0; i < 3; i++) {
        struct usage before = usage();
        struct fault fault;
        char specification[64];
        snprintf(specification, sizeof specification, "proxy redis cut 5000 %s", ends[i]);
        fault_open(&fault, specification);
        poise *queue = open_queue();
        struct client client;
        CALL(open_client(&client, queue, LIVE_V4, fault.port));
        client.wanted = 20000;
        for (unsigned k = 0; k < 10000; k++)
            CHECK_INT(redisAsyncCommand(client.redis, on_reply, NULL, "PING"), REDIS_OK);
        while (!client.gone)
            CHECK(dispatch_until(queue, &client.done));
        CHECK_INT(client.replies, 10000);
        CHECK_RANGE(client.nulls, 10000 - 5000 / 7, 10000);
        CHECK_INT(client.disconnect_status, REDIS_ERR);
        poise_close(queue);
        fault_close(&fault);
        CALL(check_usage(before));
    }
}

/* hiredis's own time limits, where it has them. */
#if HIREDIS_MAJOR >= 1
static void limited(const char *host, uint16_t port, int connected)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct client client;
    struct timeval limit = { 0, 100000 }, ample = { 5, 0 };
    redisOptions options;
    memset(&options, 0, sizeof options);
    REDIS_OPTIONS_SET_TCP(&options, host, port);
    options.connect_timeout = connected ? &ample : &limit;
    options.command_timeout = &limit;
    memset(&client, 0, sizeof client);
    client.queue = queue;
    client.redis = redisAsyncConnectWithOptions(&options);
    MUST(client.redis != NULL && client.redis->err == 0);
    client.redis->data = &client;
    CHECK_INT(poise_hiredis_attach(queue, client.redis), 0);
    redisAsyncSetConnectCallback(client.redis, on_connect);
    redisAsyncSetDisconnectCallback(client.redis, on_disconnect);
    client.wanted = 2;
    CHECK_INT(redisAsyncCommand(client.redis, on_reply, NULL, "PING"), REDIS_OK);
    while (!client.gone)
        CHECK(dispatch_until(queue, &client.done));
    CHECK_INT(client.nulls, 1);
    CHECK_INT(client.connect_status, connected ? REDIS_OK : REDIS_ERR);
    CHECK_INT(client.disconnected, connected);
    CHECK(strcmp(client.error, "Timeout") == 0);
    poise_close(queue);
    CALL(check_usage(before));
}
#else
static void limited(const char *host, uint16_t port, int connected)
{
    (void)host, (void)port, (void)connected;
    SKIP("hiredis before 1.0 has no time limits");
}
#endif

TEST(Redis, connect_time_limit) { CALL(limited(DEAD_V4, service_port("POISE_REDIS"), 0)); }
TEST(Redis, command_time_limit) { CALL(limited(LIVE_V4, service_port("POISE_FAULT_DISCARD"), 1)); }

/* ---- many -------------------------------------------------------------------------------------------------------- */

TEST(Redis, many_connections)
{
    struct usage before = usage();
    poise *queue = open_queue();
    for (unsigned round = 0; round < scale(10); round++) {
        struct client clients[20];
        for (unsigned i = 0; i < 20; i++) {
            CALL(open_client(&clients[i], queue, LIVE_V4, service_port("POISE_REDIS")));
            clients[i].wanted = 10;
            for (unsigned k = 0; k < 10; k++)
                CHECK_INT(redisAsyncCommand(clients[i].redis, on_number, NULL, "ECHO %u", k), REDIS_OK);
        }
        for (unsigned i = 0; i < 20; i++) {
            CHECK(dispatch_until(queue, &clients[i].done));
            CHECK_INT(clients[i].nulls, 0);
        }
        for (unsigned i = 0; i < 20; i++)
            CALL(close_client(&clients[i]));
    }
    poise_close(queue);
    CALL(check_usage(before));
}
