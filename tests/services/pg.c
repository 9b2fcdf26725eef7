/* libpq on poise/adapters/libpq.h, against a real PostgreSQL and against servers that misbehave. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "adapters.h"

#define poise_watch watch_or_fail
#define poise_timer_start timer_start_or_fail
#include <poise/adapters/libpq.h>
#undef poise_watch
#undef poise_timer_start

/* A connection and what has come of it. `done` ends the test's loop: at the end of the query, of the connect, of the
 * connection. */
struct session {
    poise_pq pq; /* the first member */
    unsigned connected, results, rows, ends, notifies, closed;
    int error;
    char text[64], state[8], channel[64], payload[64], message[512];
    bool done;
};

static struct session *session_of(poise_pq *pq) { return (struct session *)(void *)pq; }

static void on_connected(poise_pq *pq)
{
    session_of(pq)->connected++;
    session_of(pq)->done = true;
}

static void on_result(poise_pq *pq, PGresult *result)
{
    struct session *session = session_of(pq);
    if (result == NULL) {
        session->ends++;
        session->done = true;
        return;
    }
    session->results++;
    session->rows += (unsigned)PQntuples(result);
    if (PQntuples(result) > 0)
        snprintf(session->text, sizeof session->text, "%s", PQgetvalue(result, 0, 0));
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (PQresultStatus(result) == PGRES_FATAL_ERROR && session->state[0] == '\0')
        snprintf(session->state, sizeof session->state, "%s", state != NULL ? state : "-");
}

static void on_notify(poise_pq *pq, PGnotify *notify)
{
    struct session *session = session_of(pq);
    session->notifies++;
    snprintf(session->channel, sizeof session->channel, "%s", notify->relname);
    snprintf(session->payload, sizeof session->payload, "%s", notify->extra);
    session->done = true;
}

static void on_closed(poise_pq *pq, int error)
{
    struct session *session = session_of(pq);
    session->closed++;
    session->error = error;
    snprintf(session->message, sizeof session->message, "%s", PQerrorMessage(pq->conn));
    session->done = true;
}

static void prepare(struct session *session)
{
    memset(session, 0, sizeof *session);
    session->pq.connected = on_connected;
    session->pq.result = on_result;
    session->pq.notify = on_notify;
    session->pq.closed = on_closed;
}

static const char *conninfo(const char *address, uint16_t port, const char *password)
{
    static char text[512];
    snprintf(text, sizeof text, "%s port=%u user=%s dbname=%s password='%s' sslmode=disable gssencmode=disable",
             address, (unsigned)port, service_text("POISE_PG_USER"), service_text("POISE_PG_DATABASE"), password);
    return text;
}

static const char *pg_at(const char *address)
{
    return conninfo(address, service_port("POISE_PG"), service_text("POISE_PG_PASSWORD"));
}

static void open_session(struct session *session, poise *queue, const char *info)
{
    prepare(session);
    int result = poise_pq_connect(queue, &session->pq, info);
    if (result == -ENOTCONN && on_wasi()) /* refused at once, as WASI's hosts may do */
        on_closed(&session->pq, result);
    else
        CHECK_INT(result, 0);
}

static void connect_session(struct session *session, poise *queue, const char *info)
{
    CALL(open_session(session, queue, info));
    CHECK(dispatch_until(queue, &session->done));
    CHECK(session->connected == 1 || !printf("%s", session->message));
    CHECK_INT(session->closed, 0);
}

/* Sends a query from outside of the callbacks. */
#define SEND(session, call)                           \
    do {                                              \
        (session)->done = false;                      \
        CHECK(call);                                  \
        CHECK_INT(poise_pq_flush(&(session)->pq), 0); \
    } while (0)

static void query(struct session *session, poise *queue, const char *sql)
{
    unsigned ends = session->ends, closed = session->closed;
    SEND(session, PQsendQuery(session->pq.conn, sql));
    while (session->ends == ends && session->closed == closed) {
        session->done = false;
        CHECK(dispatch_until(queue, &session->done));
    }
}

static bool send_text(PGconn *conn, const char *sql, const char *value)
{
    return PQsendQueryParams(conn, sql, 1, NULL, &value, NULL, NULL, 0) == 1;
}

/* ---- what it is for ---------------------------------------------------------------------------------------------- */

static void select_text(const char *address)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct session session;
    CALL(connect_session(&session, queue, pg_at(address)));
    SEND(&session, send_text(session.pq.conn, "SELECT $1::TEXT", "some text"));
    CHECK(dispatch_until(queue, &session.done));
    CHECK_INT(session.results, 1);
    CHECK_INT(session.ends, 1);
    CHECK(strcmp(session.text, "some text") == 0);
    poise_pq_close(&session.pq);
    poise_pq_close(&session.pq); /* nothing */
    check_unharmed(queue);
    poise_close(queue);
    CALL(check_usage(before));
}

TEST(Pg, select_by_ipv4) { CALL(select_text("host=127.0.0.1")); }
TEST(Pg, select_by_name) { CALL(select_text("host=pg.poise.test")); }

TEST(Pg, select_by_ipv6)
{
    NEED_IPV6();
    CALL(select_text("host=::1"));
}

/* Each address that refuses is a socket that libpq closes, and the next one has its number. */
TEST(Pg, several_addresses) { CALL(select_text("hostaddr=127.0.0.12,127.0.0.13,127.0.0.1")); }
TEST(Pg, several_addresses_of_a_name) { CALL(select_text("host=many.poise.test")); }

TEST(Pg, a_wrong_password)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct session session;
    CALL(open_session(&session, queue, conninfo("host=127.0.0.1", service_port("POISE_PG"), "wrong")));
    CHECK(dispatch_until(queue, &session.done));
    CHECK_INT(session.connected, 0);
    CHECK_INT(session.closed, 1);
    CHECK_INT(session.error, -ENOTCONN);
    CHECK(strstr(session.message, "password authentication failed for user") != NULL);
    CHECK_INT(poise_pq_flush(&session.pq), -ENOTCONN);
    poise_pq_close(&session.pq);
    poise_close(queue);
    CALL(check_usage(before));
}

TEST(Pg, connect_and_its_errors)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct session session;
    prepare(&session);
    CHECK_INT(poise_pq_connect(NULL, &session.pq, ""), -EINVAL);
    CHECK_INT(poise_pq_connect(queue, NULL, ""), -EINVAL);
    CHECK_INT(poise_pq_connect(queue, &session.pq, NULL), -EINVAL);
    CHECK_INT(poise_pq_attach(queue, &session.pq, NULL), -EINVAL);
    CHECK_INT(poise_pq_connect(queue, &session.pq, "nothing=here"), -ENOTCONN);
    CHECK(strstr(PQerrorMessage(session.pq.conn), "invalid connection option") != NULL);
    CHECK_INT(poise_pq_connect(queue, &session.pq, ""), -EBUSY);
    CHECK_INT(poise_pq_flush(&session.pq), -ENOTCONN);
    poise_pq_close(&session.pq);
    CHECK_INT(poise_pq_connect(queue, &session.pq, pg_at("host=none.poise.test")), -ENOTCONN);
    CHECK(strstr(PQerrorMessage(session.pq.conn), "none.poise.test") != NULL);
    poise_pq_close(&session.pq);
    poise_fails = -ENOMEM;
    CHECK_INT(poise_pq_connect(queue, &session.pq, pg_at("host=127.0.0.1")), -ENOMEM);
    poise_fails = 0;
    CHECK(session.pq.conn == NULL);
    CHECK_INT(session.closed, 0);
    poise_close(queue);
    CALL(check_usage(before));
}

/* A connection that was made without poise. */
TEST(Pg, attach_a_connected_one)
{
    poise *queue = open_queue();
    struct session session;
    prepare(&session);
    PGconn *conn = PQconnectdb(pg_at("host=127.0.0.1"));
    MUST(PQstatus(conn) == CONNECTION_OK);
    CHECK_INT(poise_pq_attach(queue, &session.pq, conn), 0);
    CALL(query(&session, queue, "SELECT 'attached'"));
    CHECK(strcmp(session.text, "attached") == 0);
    CHECK_INT(session.connected, 0);
    poise_pq_close(&session.pq);
    poise_close(queue);
}

/* The notification came along with the answer to an earlier PQexec: libpq has it, and the socket says nothing. */
TEST(Pg, attach_with_a_notification)
{
    poise *queue = open_queue();
    struct session session;
    char command[128];
    prepare(&session);
    PGconn *conn = PQconnectdb(pg_at("host=127.0.0.1"));
    MUST(PQstatus(conn) == CONNECTION_OK);
    const char *run = getenv("POISE_RUN");
    snprintf(command, sizeof command, "LISTEN early_%s", run != NULL ? run : "");
    PQclear(PQexec(conn, command));
    snprintf(command, sizeof command, "NOTIFY early_%s", run != NULL ? run : "");
    PQclear(PQexec(conn, command));
    CHECK_INT(poise_pq_attach(queue, &session.pq, conn), 0);
    for (int i = 0; i < 20 && session.notifies == 0; i++)
        CHECK(poise_dispatch(queue, 50 * MS) >= 0);
    CHECK_INT(session.notifies, 1);
    poise_pq_close(&session.pq);
    poise_close(queue);
}

struct worker {
    struct session session; /* the first member */
    unsigned sent, wrong, *left;
};

static void send_next(struct worker *worker)
{
    char text[32];
    snprintf(text, sizeof text, "query %u", worker->sent++);
    worker->wrong += !send_text(worker->session.pq.conn, "SELECT $1::TEXT", text);
}

static void on_worker_connected(poise_pq *pq) { send_next((struct worker *)(void *)pq); }

static void on_worker_result(poise_pq *pq, PGresult *result)
{
    struct worker *worker = (struct worker *)(void *)pq;
    if (result != NULL) {
        char expected[32];
        snprintf(expected, sizeof expected, "query %u", worker->sent - 1);
        worker->wrong += PQntuples(result) != 1 || strcmp(PQgetvalue(result, 0, 0), expected) != 0;
    } else if (worker->sent < 100) {
        send_next(worker);
    } else {
        --*worker->left;
    }
}

TEST(Pg, a_thousand_queries_on_ten_connections)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct worker workers[10];
    unsigned left = 10;
    for (unsigned i = 0; i < 10; i++) {
        memset(&workers[i], 0, sizeof workers[i]);
        prepare(&workers[i].session);
        workers[i].left = &left;
        workers[i].session.pq.connected = on_worker_connected;
        workers[i].session.pq.result = on_worker_result;
        CHECK_INT(poise_pq_connect(queue, &workers[i].session.pq, pg_at("host=127.0.0.1")), 0);
    }
    uint64_t end = poise_now() + 10 * (uint64_t)patience();
    while (left > 0 && poise_now() < end)
        CHECK(poise_dispatch(queue, patience()) >= 0);
    CHECK_INT(left, 0);
    for (unsigned i = 0; i < 10; i++) {
        CHECK_INT(workers[i].sent, 100);
        CHECK_INT(workers[i].wrong, 0);
        poise_pq_close(&workers[i].session.pq);
    }
    poise_close(queue);
    CALL(check_usage(before));
}

/* More than the sockets hold, both ways: what is sent has to wait for room. */
TEST(Pg, megabytes)
{
    poise *queue = open_queue();
    struct session session;
    const size_t size = 4000000;
    char *value = malloc(size + 1);
    MUST(value != NULL);
    memset(value, 'x', size);
    value[size] = '\0';
    CALL(connect_session(&session, queue, pg_at("host=127.0.0.1")));
    SEND(&session, send_text(session.pq.conn, "SELECT length($1::TEXT), $1::TEXT", value));
    free(value);
    CHECK(dispatch_until(queue, &session.done));
    CHECK(strcmp(session.text, "4000000") == 0);
    CHECK_INT(session.rows, 1);
    CALL(query(&session, queue, "SELECT 'still here'"));
    CHECK(strcmp(session.text, "still here") == 0);
    poise_pq_close(&session.pq);
    poise_close(queue);
}

TEST(Pg, listen_and_notify)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct session listener, notifier;
    char sql[128];
    CALL(connect_session(&listener, queue, pg_at("host=127.0.0.1")));
    CALL(connect_session(&notifier, queue, pg_at("host=127.0.0.1")));
    snprintf(sql, sizeof sql, "LISTEN c_%s", service_text("POISE_RUN"));
    CALL(query(&listener, queue, sql));
    for (unsigned i = 0; i < 10; i++) {
        char payload[16];
        snprintf(payload, sizeof payload, "payload %u", i);
        snprintf(sql, sizeof sql, "NOTIFY c_%s, '%s'", service_text("POISE_RUN"), payload);
        listener.done = false;
        CALL(query(&notifier, queue, sql));
        CHECK(dispatch_until(queue, &listener.done));
        CHECK_INT(listener.notifies, i + 1);
        CHECK(strcmp(listener.payload, payload) == 0);
    }
    CHECK(strncmp(listener.channel, "c_", 2) == 0);
    CALL(query(&listener, queue, sql)); /* to itself */
    CHECK_INT(listener.notifies, 11);
    CHECK_INT(notifier.notifies, 0);
    poise_pq_close(&listener.pq);
    poise_pq_close(&notifier.pq);
    poise_close(queue);
    CALL(check_usage(before));
}

TEST(Pg, an_error_of_a_query)
{
    poise *queue = open_queue();
    struct session session;
    CALL(connect_session(&session, queue, pg_at("host=127.0.0.1")));
    CALL(query(&session, queue, "SELECT nonsense"));
    CHECK(strcmp(session.state, "42703") == 0);
    CHECK_INT(session.ends, 1);
    CALL(query(&session, queue, "SELECT 'one'; SELECT 'two'"));
    CHECK_INT(session.results, 3);
    CHECK_INT(session.ends, 2);
    CHECK_INT(session.closed, 0);
    poise_pq_close(&session.pq);
    poise_close(queue);
}

/* ---- a cancelled query ------------------------------------------------------------------------------------------- */

#ifdef LIBPQ_HAS_ASYNC_CANCEL

struct canceller {
    poise_pq_cancel cancel; /* the first member */
    unsigned n;
    int error;
    bool done;
};

static void on_cancel(poise_pq_cancel *cancel, int error)
{
    struct canceller *canceller = (struct canceller *)(void *)cancel;
    canceller->n++;
    canceller->done = true;
    canceller->error = error;
    poise_pq_cancel_stop(cancel);
}

static void cancel_query(poise *queue, struct session *session)
{
    struct canceller canceller;
    memset(&canceller, 0, sizeof canceller);
    canceller.cancel.done = on_cancel;
    CHECK_INT(poise_pq_cancel_start(NULL, &canceller.cancel, session->pq.conn), -EINVAL);
    CHECK_INT(poise_pq_cancel_start(queue, &canceller.cancel, session->pq.conn), 0);
    CHECK_INT(poise_pq_cancel_start(queue, &canceller.cancel, session->pq.conn), -EBUSY);
    session->done = false;
    CHECK(dispatch_until(queue, &session->done));
    CHECK(dispatch_until(queue, &canceller.done));
    CHECK_INT(canceller.n, 1);
    CHECK_INT(canceller.error, 0);
    CHECK(canceller.cancel.conn == NULL);
}

TEST(Pg, a_cancel_that_is_stopped)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct session session;
    CALL(connect_session(&session, queue, pg_at("host=127.0.0.1")));
    for (unsigned steps = 0; steps < 4; steps++) {
        struct canceller canceller;
        memset(&canceller, 0, sizeof canceller);
        canceller.cancel.done = on_cancel;
        CHECK_INT(poise_pq_cancel_start(queue, &canceller.cancel, session.pq.conn), 0);
        for (unsigned i = 0; i < steps; i++)
            CHECK(poise_dispatch(queue, 10 * MS) >= 0);
        unsigned n = canceller.n;
        poise_pq_cancel_stop(&canceller.cancel);
        dispatch_for(queue, 10 * MS);
        CHECK_INT(canceller.n, n);
    }
    poise_pq_close(&session.pq);
    CHECK_INT(poise_pq_cancel_start(queue, &(poise_pq_cancel){ .data = NULL }, NULL), -EINVAL);
    poise_close(queue);
    CALL(check_usage(before));
}

/* The server is gone when it is to be told. */
TEST(Pg, a_cancel_that_fails)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct session session;
    struct fault fault;
    struct canceller canceller;
    memset(&canceller, 0, sizeof canceller);
    canceller.cancel.done = on_cancel;
    fault_open(&fault, "proxy pg");
    CALL(connect_session(&session, queue, conninfo("host=127.0.0.1", fault.port, service_text("POISE_PG_PASSWORD"))));
    fault_close(&fault);
    for (int fd; (fd = connect_blocking(LIVE_V4, fault.port)) >= 0;) /* it takes its time */
        close(fd);
    int result = poise_pq_cancel_start(queue, &canceller.cancel, session.pq.conn);
    CHECK(result != 0 || dispatch_until(queue, &canceller.done));
    CHECK_INT(result == 0 ? canceller.error : result, -ENOTCONN);
    poise_pq_close(&session.pq);
    poise_close(queue);
    CALL(check_usage(before));
}

#else

/* Before 17 there is a call that blocks, and no other. */
static void cancel_query(poise *queue, struct session *session)
{
    char error[256];
    PGcancel *cancel = PQgetCancel(session->pq.conn);
    CHECK(cancel != NULL);
    CHECK(PQcancel(cancel, error, sizeof error) == 1);
    PQfreeCancel(cancel);
    session->done = false;
    CHECK(dispatch_until(queue, &session->done));
}

#endif

static void on_notice(void *begun, const char *message)
{
    (void)message;
    *(bool *)begun = true;
}

/* A cancel that comes before the query has begun cancels nothing: so it says when it has. */
TEST(Pg, a_cancelled_query)
{
    bool begun = false;
    struct usage before = usage();
    poise *queue = open_queue();
    struct session session;
    CALL(connect_session(&session, queue, pg_at("host=127.0.0.1")));
    PQsetNoticeProcessor(session.pq.conn, on_notice, &begun);
    SEND(&session, PQsendQuery(session.pq.conn, "DO $$BEGIN RAISE NOTICE 'begun'; PERFORM pg_sleep(60); END$$"));
    CHECK(dispatch_until(queue, &begun));
    CHECK(!session.done);
    CALL(cancel_query(queue, &session));
    CHECK(strcmp(session.state, "57014") == 0);
    CHECK_INT(session.ends, 1);
    CALL(query(&session, queue, "SELECT 'still here'"));
    CHECK(strcmp(session.text, "still here") == 0);
    poise_pq_close(&session.pq);
    poise_close(queue);
    CALL(check_usage(before));
}

/* ---- pipelines, rows one by one, COPY ---------------------------------------------------------------------------- */

static void on_pipeline_result(poise_pq *pq, PGresult *result)
{
    struct session *session = session_of(pq);
    on_result(pq, result);
    session->done = result != NULL && PQresultStatus(result) == PGRES_PIPELINE_SYNC;
}

TEST(Pg, a_pipeline)
{
    poise *queue = open_queue();
    struct session session;
    CALL(connect_session(&session, queue, pg_at("host=127.0.0.1")));
    session.pq.result = on_pipeline_result;
    for (unsigned round = 0; round < 2; round++) {
        session.results = session.rows = session.ends = 0;
        CHECK(PQenterPipelineMode(session.pq.conn) == 1);
        for (unsigned i = 0; i < 1000; i++)
            CHECK(send_text(session.pq.conn, "SELECT $1::TEXT, repeat('x', 1000)", "in a row"));
        SEND(&session, PQpipelineSync(session.pq.conn));
        CHECK(dispatch_until(queue, &session.done));
        CHECK_INT(session.rows, 1000);
        CHECK_INT(session.results, 1001); /* with the one of the end */
        CHECK_INT(session.ends, 1000);
        dispatch_for(queue, 20 * MS);
        CHECK_INT(session.ends, 1000);
        CHECK(PQexitPipelineMode(session.pq.conn) == 1);
    }
    poise_pq_close(&session.pq);
    poise_close(queue);
}

TEST(Pg, row_by_row)
{
    poise *queue = open_queue();
    struct session session;
    CALL(connect_session(&session, queue, pg_at("host=127.0.0.1")));
    SEND(&session,
         PQsendQuery(session.pq.conn, "SELECT generate_series(1, 1000)") && PQsetSingleRowMode(session.pq.conn));
    CHECK(dispatch_until(queue, &session.done));
    CHECK_INT(session.rows, 1000);
    CHECK_INT(session.results, 1001);
    poise_pq_close(&session.pq);
    poise_close(queue);
}

struct copier {
    struct session session; /* the first member */
    size_t out, in;
    unsigned wrong;
};

static void on_copy_result(poise_pq *pq, PGresult *result)
{
    struct copier *copier = (struct copier *)(void *)pq;
    on_result(pq, result);
    if (PQresultStatus(result) == PGRES_COPY_OUT) {
        char *line;
        int n;
        while ((n = PQgetCopyData(pq->conn, &line, 1)) > 0) {
            copier->out++;
            PQfreemem(line);
        }
        copier->wrong += n == -2;
    } else if (PQresultStatus(result) == PGRES_COPY_IN) {
        int n = 1;
        char line[128];
        while (copier->in < 30000 && n == 1) { /* 0: no room now; it is asked again */
            int size = snprintf(line, sizeof line, "%zu\t%0100d\n", copier->in, 0);
            n = PQputCopyData(pq->conn, line, size);
            copier->in += n == 1;
        }
        if (copier->in == 30000)
            n = PQputCopyEnd(pq->conn, NULL);
        copier->wrong += n == -1;
    }
}

TEST(Pg, copy)
{
    poise *queue = open_queue();
    struct copier copier;
    memset(&copier, 0, sizeof copier);
    CALL(connect_session(&copier.session, queue, pg_at("host=127.0.0.1")));
    copier.session.pq.result = on_copy_result;
    CALL(query(&copier.session, queue, "CREATE TEMPORARY TABLE t (n INTEGER, x TEXT)"));
    CALL(query(&copier.session, queue, "COPY t FROM STDIN"));
    CHECK_INT(copier.in, 30000);
    CALL(query(&copier.session, queue, "COPY t TO STDOUT"));
    CHECK_INT(copier.out, 30000);
    CALL(query(&copier.session, queue, "SELECT count(DISTINCT n) FROM t"));
    CHECK(strcmp(copier.session.text, "30000") == 0);
    CHECK_INT(copier.wrong, 0);
    poise_pq_close(&copier.session.pq);
    poise_close(queue);
}

/* ---- closed and entered in callbacks ----------------------------------------------------------------------------- */

/* On the heap: whoever looks at it after it was freed is seen by the sanitizer. */
static unsigned freed;
static bool all_freed;

static void free_session(poise_pq *pq)
{
    poise_pq_close(pq);
    memset(pq, 0x55, sizeof *pq);
    free(pq);
    freed++;
    all_freed = true;
}

static void on_connected_free(poise_pq *pq) { free_session(pq); }

static void on_connected_query(poise_pq *pq) { (void)PQsendQuery(pq->conn, (const char *)pq->data); }

static void on_result_free(poise_pq *pq, PGresult *result)
{
    (void)result;
    free_session(pq);
}

static void on_notify_free(poise_pq *pq, PGnotify *notify)
{
    (void)notify;
    free_session(pq);
}

static void on_closed_free(poise_pq *pq, int error)
{
    (void)error;
    free_session(pq);
}

static struct session *new_session(void)
{
    struct session *session = malloc(sizeof *session);
    MUST(session != NULL);
    prepare(session);
    return session;
}

TEST(Pg, close_and_free_in_each_callback)
{
    char sql[128];
    snprintf(sql, sizeof sql, "LISTEN f_%s; NOTIFY f_%s; SELECT 1; SELECT 2", service_text("POISE_RUN"),
             service_text("POISE_RUN"));
    for (unsigned which = 0; which < 4; which++) {
        struct usage before = usage();
        poise *queue = open_queue();
        struct session *session = new_session();
        session->pq.data = sql;
        session->pq.connected = which == 0 ? on_connected_free : on_connected_query;
        if (which == 1)
            session->pq.result = on_result_free;
        if (which == 2)
            session->pq.notify = on_notify_free;
        if (which == 3)
            session->pq.closed = on_closed_free;
        freed = 0;
        all_freed = false;
        uint16_t port = which == 3 ? service_port("POISE_FAULT_PG_CLOSE") : service_port("POISE_PG");
        CHECK_INT(poise_pq_connect(queue, &session->pq, conninfo("host=127.0.0.1", port, "se:cret/@")), 0);
        CHECK(dispatch_until(queue, &all_freed));
        dispatch_for(queue, 10 * MS);
        CHECK_INT(freed, 1);
        check_unharmed(queue);
        poise_close(queue);
        CALL(check_usage(before));
    }
}

TEST(Pg, close_at_every_step)
{
    poise *queue = open_queue();
    struct usage before = usage();
    for (unsigned steps = 0; steps < 12; steps++) {
        struct session *session = new_session();
        session->pq.data = "SELECT 1";
        session->pq.connected = on_connected_query;
        CHECK_INT(poise_pq_connect(queue, &session->pq, pg_at("host=127.0.0.1")), 0);
        for (unsigned i = 0; i < steps; i++)
            CHECK(poise_dispatch(queue, 10 * MS) >= 0);
        free_session(&session->pq);
        CHECK(poise_dispatch(queue, MS) >= 0);
        CALL(check_usage(before));
    }
    check_unharmed(queue);
    poise_close(queue);
}

static void on_closed_again(poise_pq *pq, int error)
{
    struct session *session = session_of(pq);
    poise *queue = pq->queue;
    session->closed++;
    session->error = error;
    poise_pq_close(pq);
    (void)poise_pq_connect(queue, pq, pg_at("host=127.0.0.1"));
}

TEST(Pg, connect_again_in_closed)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct session session;
    prepare(&session);
    session.pq.closed = on_closed_again;
    CHECK_INT(
        poise_pq_connect(queue, &session.pq, conninfo("host=127.0.0.1", service_port("POISE_FAULT_PG_CLOSE"), "")), 0);
    CHECK(dispatch_until(queue, &session.done));
    CHECK_INT(session.closed, 1);
    CHECK_INT(session.connected, 1);
    CALL(query(&session, queue, "SELECT 'again'"));
    CHECK(strcmp(session.text, "again") == 0);
    poise_pq_close(&session.pq);
    poise_close(queue);
    CALL(check_usage(before));
}

struct nested {
    struct session session; /* the first member */
    struct session *other;
    unsigned depth;
    bool failed;
};

/* Waits inside of a callback for another connection; and in a second one, frees its own. */
static void on_result_nested(poise_pq *pq, PGresult *result)
{
    struct nested *nested = (struct nested *)(void *)pq;
    poise *queue = pq->queue;
    on_result(pq, result);
    if (nested->depth++ == 0) {
        nested->other->done = false;
        nested->failed |= PQsendQuery(nested->other->pq.conn, "SELECT pg_sleep(0.05)") != 1;
        nested->failed |= poise_pq_flush(&nested->other->pq) != 0;
        nested->failed |= !dispatch_until(queue, &nested->other->done);
    } else if (nested->depth == 2) {
        poise_pq_close(pq);
    }
}

TEST(Pg, dispatch_in_a_callback)
{
    for (unsigned round = 0; round < 2; round++) {
        struct usage before = usage();
        poise *queue = open_queue();
        struct session other;
        struct nested nested;
        memset(&nested, 0, sizeof nested);
        CALL(connect_session(&other, queue, pg_at("host=127.0.0.1")));
        CALL(connect_session(&nested.session, queue, pg_at("host=127.0.0.1")));
        nested.other = &other;
        nested.depth = round == 0 ? 100 : 0; /* never freed */
        nested.session.pq.result = on_result_nested;
        nested.session.done = false;
        /* the second result comes during the first one's callback */
        CHECK(PQsendQuery(nested.session.pq.conn, "SELECT 1; SELECT pg_sleep(0.01); SELECT 2") == 1);
        CHECK_INT(poise_pq_flush(&nested.session.pq), 0);
        unsigned expected = round == 0 ? 3 : 2;
        uint64_t end = poise_now() + 5 * (uint64_t)patience();
        while (nested.session.results < expected && poise_now() < end)
            CHECK(poise_dispatch(queue, patience()) >= 0);
        dispatch_for(queue, 10 * MS); /* and no more */
        CHECK(!nested.failed);
        CHECK_INT(nested.session.results, expected);
        CHECK_INT(nested.session.closed, 0);
        poise_pq_close(&nested.session.pq);
        poise_pq_close(&other.pq);
        check_unharmed(queue);
        poise_close(queue);
        CALL(check_usage(before));
    }
}

/* The second notification comes in the callback of the first, and ends the connection. */
static void on_notify_nested(poise_pq *pq, PGnotify *notify)
{
    struct nested *nested = (struct nested *)(void *)pq;
    poise *queue = pq->queue;
    char sql[64];
    on_notify(pq, notify);
    if (nested->depth++ == 0) {
        snprintf(sql, sizeof sql, "NOTIFY n_%s", service_text("POISE_RUN"));
        nested->failed |= PQsendQuery(nested->other->pq.conn, sql) != 1;
        nested->failed |= poise_pq_flush(&nested->other->pq) != 0;
        nested->session.done = false;
        nested->failed |= !dispatch_until(queue, &nested->session.done);
    } else {
        poise_pq_close(pq);
    }
}

TEST(Pg, close_in_a_callback_in_a_callback)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct session first, second;
    struct nested nested;
    char sql[64];
    memset(&nested, 0, sizeof nested);
    CALL(connect_session(&first, queue, pg_at("host=127.0.0.1")));
    CALL(connect_session(&second, queue, pg_at("host=127.0.0.1")));
    CALL(connect_session(&nested.session, queue, pg_at("host=127.0.0.1")));
    nested.other = &second;
    nested.session.pq.notify = on_notify_nested;
    snprintf(sql, sizeof sql, "LISTEN n_%s", service_text("POISE_RUN"));
    CALL(query(&nested.session, queue, sql));
    nested.session.done = false;
    snprintf(sql, sizeof sql, "NOTIFY n_%s", service_text("POISE_RUN"));
    CALL(query(&first, queue, sql));
    CHECK(dispatch_until(queue, &nested.session.done));
    dispatch_for(queue, 10 * MS);
    CHECK(!nested.failed);
    CHECK_INT(nested.session.notifies, 2);
    CHECK_INT(nested.session.closed, 0);
    CHECK(nested.session.pq.conn == NULL);
    poise_pq_close(&first.pq);
    poise_pq_close(&second.pq);
    poise_close(queue);
    CALL(check_usage(before));
}

struct breaker {
    struct session session; /* the first member */
    struct fault *fault;
};

/* The connection breaks, and `closed` is called, within a callback. */
static void on_result_break(poise_pq *pq, PGresult *result)
{
    struct breaker *breaker = (struct breaker *)(void *)pq;
    poise *queue = pq->queue;
    on_result(pq, result);
    if (breaker->session.results == 1 && breaker->session.ends == 0) {
        fault_end(breaker->fault, "close");
        breaker->session.done = false;
        while (breaker->session.closed == 0 && dispatch_until(queue, &breaker->session.done))
            breaker->session.done = breaker->session.closed > 0;
    }
}

TEST(Pg, closed_in_a_callback_of_another_kind)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct breaker breaker;
    struct fault fault;
    fault_open(&fault, "proxy pg");
    memset(&breaker, 0, sizeof breaker);
    CALL(connect_session(&breaker.session, queue, conninfo("host=127.0.0.1", fault.port, "se:cret/@")));
    breaker.fault = &fault;
    breaker.session.pq.result = on_result_break;
    SEND(&breaker.session, PQsendQuery(breaker.session.pq.conn, "SELECT 1"));
    while (breaker.session.closed == 0) {
        breaker.session.done = false;
        CHECK(dispatch_until(queue, &breaker.session.done));
    }
    dispatch_for(queue, 10 * MS);
    CHECK_INT(breaker.session.closed, 1);
    poise_pq_close(&breaker.session.pq);
    poise_close(queue);
    fault_close(&fault);
    CALL(check_usage(before));
}

/* ---- the errors of poise ----------------------------------------------------------------------------------------- */

/* The server does not read while it sleeps: what is sent has to wait for room. */
static void on_connected_fail(poise_pq *pq)
{
    on_connected(pq);
    const size_t size = 16000000;
    char *value = malloc(size + 1);
    MUST(value != NULL);
    memset(value, 'x', size);
    value[size] = '\0';
    MUST(PQenterPipelineMode(pq->conn) == 1);
    MUST(send_text(pq->conn, "SELECT pg_sleep(0.5), $1::TEXT", "x"));
    MUST(send_text(pq->conn, "SELECT length($1::TEXT)", value));
    free(value);
    poise_fails = -ENOMEM; /* for POISE_WRITABLE */
}

TEST(Pg, a_failed_watch_is_an_error)
{
    for (unsigned which = 0; which < 2; which++) {
        struct usage before = usage();
        poise *queue = open_queue();
        struct session session;
        CALL(open_session(&session, queue, pg_at("host=127.0.0.1")));
        if (which == 0)
            session.pq.connected = on_connected_fail;
        else
            poise_fails = -ENOMEM; /* in the next step of the connect */
        uint64_t end = poise_now() + 5 * (uint64_t)patience();
        while (session.closed == 0 && poise_now() < end)
            CHECK(poise_dispatch(queue, patience()) >= 0);
        poise_fails = 0;
        CHECK_INT(session.connected, which == 0);
        CHECK_INT(session.closed, 1);
        CHECK_INT(session.error, -ENOMEM);
        poise_pq_close(&session.pq);
        check_unharmed(queue);
        poise_close(queue);
        CALL(check_usage(before));
    }
}

/* ---- servers that misbehave -------------------------------------------------------------------------------------- */

/* During the connect. */
static void broken_server(const char *address, uint16_t port)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct session session;
    CALL(open_session(&session, queue, conninfo(address, port, "secret")));
    CHECK(dispatch_until(queue, &session.done));
    CHECK_INT(session.connected, 0);
    CHECK_INT(session.closed, 1);
    CHECK_INT(session.error, -ENOTCONN);
    CHECK(session.message[0] != '\0');
    dispatch_for(queue, 5 * MS);
    CHECK_INT(session.closed, 1);
    poise_pq_close(&session.pq);
    check_unharmed(queue);
    poise_close(queue);
    CALL(check_usage(before));
}

#define BROKEN(name, variable) \
    TEST(Pg, name) { CALL(broken_server("host=127.0.0.1", service_port(variable))); }

BROKEN(a_server_that_closes, "POISE_FAULT_CLOSE")
BROKEN(a_server_that_resets, "POISE_FAULT_RESET")
BROKEN(a_server_that_half_closes, "POISE_FAULT_HALF_CLOSE")
BROKEN(closed_within_an_answer, "POISE_FAULT_PG_CLOSE")
BROKEN(reset_within_an_answer, "POISE_FAULT_PG_RESET")
BROKEN(half_closed_within_an_answer, "POISE_FAULT_PG_HALF_CLOSE")
BROKEN(not_postgres, "POISE_HTTP")

TEST(Pg, nobody_listens) { CALL(broken_server("host=127.0.0.1", 1)); }
TEST(Pg, nobody_listens_at_many) { CALL(broken_server("hostaddr=127.0.0.12,127.0.0.13,127.0.0.14", 1)); }

static void silent_server(const char *address, uint16_t port)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct session session;
    struct alarm_clock alarm;
    CALL(open_session(&session, queue, conninfo(address, port, "secret")));
    CHECK_INT(poise_post(queue, poise_fd(PQsocket(session.pq.conn)), POISE_WRITABLE), 0); /* a spurious event */
    alarm_start(queue, &alarm, 100 * MS);
    CHECK(dispatch_until(queue, &alarm.rang));
    CHECK_INT(session.connected + session.closed, 0);
    poise_pq_close(&session.pq);
    check_unharmed(queue);
    poise_close(queue);
    CALL(check_usage(before));
}

TEST(Pg, a_server_that_takes_nothing) { CALL(silent_server("host=127.0.0.1", service_port("POISE_FAULT_SILENT"))); }
TEST(Pg, hangs_within_an_answer) { CALL(silent_server("host=127.0.0.1", service_port("POISE_FAULT_PG_HANG"))); }
TEST(Pg, a_dead_address) { CALL(silent_server("host=" DEAD_V4, service_port("POISE_PG"))); }

TEST(Pg, one_byte_at_a_time)
{
    poise *queue = open_queue();
    struct session session;
    CALL(connect_session(
        &session, queue,
        conninfo("host=127.0.0.1", service_port("POISE_FAULT_PG_BYTEWISE"), service_text("POISE_PG_PASSWORD"))));
    CALL(query(&session, queue, "SELECT generate_series(1, 20)"));
    CHECK_INT(session.rows, 20);
    poise_pq_close(&session.pq);
    poise_close(queue);
}

struct victim {
    struct session session; /* the first member */
    struct alarm_clock other;
    int fd;
};

/* While libpq tells of the broken connection, somebody else gets the number of its socket. */
static void on_result_open(poise_pq *pq, PGresult *result)
{
    struct victim *victim = (struct victim *)(void *)pq;
    on_result(pq, result);
    if (victim->fd < 0 && PQstatus(pq->conn) == CONNECTION_BAD) {
        poise_address any = service_address("127.0.0.1", 0);
        victim->fd = poise_udp_bind(&any);
        victim->other.handler.call = alarm_rings;
        MUST(victim->fd >= 0);
        MUST(poise_watch(pq->queue, poise_fd(victim->fd), POISE_WRITABLE, &victim->other.handler) == 0);
    }
}

/* With a query's answer half out: the query's result is an error, and then it is closed. */
static void dies_in_the_middle(const char *how)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct victim victim;
    struct fault fault;
    char specification[64];
    snprintf(specification, sizeof specification, "proxy pg cut 100000 %s", how);
    fault_open(&fault, specification);
    memset(&victim, 0, sizeof victim);
    victim.fd = -1;
    struct session *session = &victim.session;
    CALL(connect_session(session, queue, conninfo("host=127.0.0.1", fault.port, service_text("POISE_PG_PASSWORD"))));
    session->pq.result = on_result_open;
    CALL(query(session, queue, "SELECT repeat('x', 1000) FROM generate_series(1, 1000)"));
    CHECK(dispatch_until(queue, &session->done));
    CHECK_INT(session->results, 1);
    CHECK(session->state[0] != '\0');
    CHECK_INT(session->ends, 1);
    CHECK_INT(session->closed, 1);
    CHECK_INT(session->error, -ENOTCONN);
    if (victim.fd >= 0) {
        CHECK(dispatch_until(queue, &victim.other.rang)); /* its watch is unharmed */
        poise_unwatch(queue, poise_fd(victim.fd));
        close(victim.fd);
    } else { /* what WASI calls a reset does not make libpq close the socket */
        CHECK(on_wasi());
    }
    poise_pq_close(&session->pq);
    poise_close(queue);
    fault_close(&fault);
    CALL(check_usage(before));
}

TEST(Pg, closed_in_the_middle) { CALL(dies_in_the_middle("close")); }
TEST(Pg, reset_in_the_middle) { CALL(dies_in_the_middle("reset")); }
TEST(Pg, half_closed_in_the_middle) { CALL(dies_in_the_middle("half-close")); }

/* A call of the program's own finds out, and libpq closes the socket: no event comes of it any more. */
TEST(Pg, broken_and_then_flushed)
{
    struct usage before = usage();
    poise *queue = open_queue();
    struct session session;
    struct fault fault;
    fault_open(&fault, "proxy pg");
    CALL(connect_session(&session, queue, conninfo("host=127.0.0.1", fault.port, "se:cret/@")));
    CHECK_INT(fault_end(&fault, "reset"), 1);
    await_readable(PQsocket(session.pq.conn));
    session.done = false;
    CHECK_INT(PQconsumeInput(session.pq.conn), 0);
    CHECK(PQsocket(session.pq.conn) == -1 || on_wasi());
    CHECK_INT(poise_pq_flush(&session.pq), 0);
    while (session.closed == 0) {
        CHECK(dispatch_until(queue, &session.done));
        session.done = false;
    }
    CHECK_INT(session.error, -ENOTCONN);
    poise_pq_close(&session.pq);
    poise_close(queue);
    fault_close(&fault);
    CALL(check_usage(before));
}

static void no_notices(void *data, const char *message) { (void)data, (void)message; }

/* With no query under way, and with one that is being answered. */
TEST(Pg, closed_by_the_server)
{
    for (unsigned busy = 0; busy < 2; busy++) {
        struct usage before = usage();
        poise *queue = open_queue();
        struct session session, killer;
        char sql[64];
        CALL(connect_session(&session, queue, pg_at("host=127.0.0.1")));
        CALL(connect_session(&killer, queue, pg_at("host=127.0.0.1")));
        PQsetNoticeProcessor(session.pq.conn, no_notices, NULL);
        if (busy)
            SEND(&session, PQsendQuery(session.pq.conn, "SELECT pg_sleep(60)"));
        snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d)", PQbackendPID(session.pq.conn));
        CALL(query(&killer, queue, sql));
        session.done = false;
        while (session.closed == 0) {
            session.done = false;
            CHECK(dispatch_until(queue, &session.done));
        }
        CHECK_INT(session.error, -ENOTCONN);
        CHECK(strstr(session.message, "server closed the connection") != NULL || busy);
        CHECK_INT(session.ends, busy);
        CHECK(!busy || strcmp(session.state, "57P01") == 0);
        CHECK_INT(poise_pq_flush(&session.pq), -ENOTCONN);
        poise_pq_close(&session.pq);
        poise_pq_close(&killer.pq);
        poise_close(queue);
        CALL(check_usage(before));
    }
}

/* ---- many -------------------------------------------------------------------------------------------------------- */

TEST(Pg, many_connections)
{
    struct usage before = usage();
    poise *queue = open_queue();
    for (unsigned round = 0; round < scale(20); round++) {
        struct session sessions[5];
        for (unsigned i = 0; i < 5; i++)
            CALL(open_session(&sessions[i], queue, pg_at("host=127.0.0.1")));
        for (unsigned i = 0; i < 5; i++) {
            CHECK(dispatch_until(queue, &sessions[i].done));
            CHECK_INT(sessions[i].connected, 1);
            poise_pq_close(&sessions[i].pq);
        }
    }
    poise_close(queue);
    CALL(check_usage(before));
}
