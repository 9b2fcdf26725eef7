/* SPDX-License-Identifier: MIT
 *
 * poise/adapters/libpq.h - PostgreSQL's C library on a poise queue (tried: 15.20, 18.6; cancelling: from 17 on).
 *
 *     poise_pq pq = { 0 };
 *     pq.connected = on_connected; pq.result = on_result; pq.closed = on_closed;
 *     int result = poise_pq_connect(queue, &pq, "host=localhost dbname=test");
 *     ... poise_run(queue, &stop);
 *
 *     static void on_connected(poise_pq *pq) { PQsendQuery(pq->conn, "SELECT 1"); }
 *
 * Queries are sent by libpq's own PQsend... calls on pq->conn, which is in non-blocking mode. What a callback has sent
 * is flushed when it returns; after a PQsend... outside of callbacks call poise_pq_flush. Results and notifications
 * come by callbacks. Pipeline mode, single-row mode and COPY work; PQreset..., PQexec, PQfinish and all else that
 * blocks or takes the socket away may not be called while the connection is attached.
 *
 * Lifetime: the caller's storage, callbacks (each may be NULL) and `data` set by the caller, the rest all zero; unmoved
 * until poise_pq_close. In each callback poise_pq_close is allowed, and then the struct may be freed, or used for
 * another poise_pq_connect. After poise_pq_close no callback comes. The queue must outlive it. poise_dispatch may be
 * called in callbacks.
 *
 * Errors: `closed` is the one place for all that ends a connection, during the connect and later. It is called once,
 * and last. Then nothing is in the queue any more; conn is left, for PQerrorMessage, and poise_pq_close is still due.
 *
 * PQconnectStart looks host names up with getaddrinfo, which blocks: give hostaddr= (from poise/resolve.h), too. There
 * is no time limit (connect_timeout is PQconnectdb's only): use a poise_timer and poise_pq_close. Messages that libpq
 * has no other place for go to standard error, unless PQsetNoticeProcessor says otherwise.
 *
 * All calls, and the PGconn itself, belong to the thread that waits. */
#ifndef POISE_ADAPTERS_LIBPQ_H
#define POISE_ADAPTERS_LIBPQ_H

#include <poise/loop.h>

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct poise_pq poise_pq;
struct poise_pq {
    void (*connected)(poise_pq *pq);

    /* As PQgetResult gives them; NULL: that was the query's last. Cleared when the callback returns (PQcopyResult keeps
     * one). A result PGRES_COPY_... comes again with each event until the copy ends. */
    void (*result)(poise_pq *pq, PGresult *result);

    /* Freed when the callback returns. */
    void (*notify)(poise_pq *pq, PGnotify *notify);

    /* -ENOTCONN: PQerrorMessage(pq->conn) says why; else the error of poise_watch. */
    void (*closed)(poise_pq *pq, int error);

    void *data;   /* the caller's */
    PGconn *conn; /* NULL: not connecting, not connected */

    poise_handler handler; /* poise's own, from here on */
    poise *queue;
    poise_timer soon; /* there is work that no event of the socket will tell */
    int fd;           /* the one that is watched; -1: none */
    uint32_t interest;
    bool connecting, broken, over;
    bool ended; /* the last result was NULL */
    bool *gone; /* where a running handler learns of poise_pq_close */
};

/* Unwatched before libpq may close it; and it may open another with the same number. */
static inline void poise_pq__unwatch(poise *queue, int *fd)
{
    if (*fd >= 0)
        (void)poise_unwatch(queue, poise_fd(*fd));
    *fd = -1;
}

/* Call it after each libpq call that reads or writes, before any callback: when a connection breaks, libpq closes the
 * socket itself, and the number may soon be somebody else's. */
static inline void poise_pq__sync(poise_pq *pq)
{
    if (PQsocket(pq->conn) != pq->fd)
        poise_pq__unwatch(pq->queue, &pq->fd);
}

static inline bool poise_pq__ready(int fd, short direction)
{
    struct pollfd source = { fd, direction, 0 };
    return fd < 0 || poll(&source, 1, 0) > 0;
}

/* A read has failed. libpq knows ECONNRESET and its like, and has closed the socket then. From any other error (EIO is
 * WASI's for a reset) it expects nothing but the same again; so we see to it that there is nothing to wait for. */
static inline void poise_pq__break(poise_pq *pq)
{
    pq->broken = true;
    if (PQstatus(pq->conn) == CONNECTION_OK)
        (void)shutdown(PQsocket(pq->conn), SHUT_RDWR);
}

static inline void poise_pq__over(poise_pq *pq, int error)
{
    if (pq->over)
        return;
    pq->over = true;
    poise_pq__unwatch(pq->queue, &pq->fd);
    (void)poise_timer_stop(pq->queue, &pq->soon);
    if (pq->closed != NULL)
        pq->closed(pq, error);
}

static inline int poise_pq__want(poise_pq *pq, int left)
{
    uint32_t interest = left > 0 ? POISE_READABLE | POISE_WRITABLE : POISE_READABLE;
    if (interest == pq->interest)
        return 0;
    int result = poise_watch(pq->queue, poise_fd(pq->fd), interest, &pq->handler);
    if (result == 0)
        pq->interest = interest;
    return result;
}

/* Gives one notification or result to its callback. False: there is none now. */
static inline bool poise_pq__deliver(poise_pq *pq, bool *copied)
{
    PGnotify *notify = PQnotifies(pq->conn);
    bool busy = notify == NULL && PQisBusy(pq->conn);
    poise_pq__sync(pq);
    if (busy && (pq->broken ? !poise_pq__ready(pq->fd, POLLIN) : PQstatus(pq->conn) == CONNECTION_OK))
        return false;
    if (notify != NULL) {
        if (pq->notify != NULL)
            pq->notify(pq, notify);
        PQfreemem(notify);
        return true;
    }
    PGresult *result = PQgetResult(pq->conn);
    poise_pq__sync(pq);
    if (result == NULL && pq->ended)
        return false;
    ExecStatusType status = PQresultStatus(result);
    bool copy = status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
    bool again = copy && *copied; /* nothing has become of it since it was given */
    *copied = copy;
    pq->ended = result == NULL;
#ifdef LIBPQ_HAS_PIPELINING
    pq->ended |= status == PGRES_PIPELINE_SYNC; /* the one result that no NULL follows */
#endif
    if (pq->result != NULL && !again)
        pq->result(pq, result);
    PQclear(result);
    return !again;
}

/* Sends what is left, and gives to the callbacks what has come, until there is neither. PQflush may read, too, lest
 * both ends wait for each other: so it comes before each look for a result. */
static inline void poise_pq__work(poise_pq *pq)
{
    bool gone = false, copied = false, *outer = pq->gone;
    int left, result = -ENOTCONN;
    pq->gone = &gone;
    if (pq->connecting) {
        pq->connecting = false;
        (void)PQsetnonblocking(pq->conn, 1);
        if (pq->connected != NULL)
            pq->connected(pq);
    }
    do {
        left = gone || pq->over ? 0 : PQflush(pq->conn);
    } while (!gone && !pq->over && poise_pq__deliver(pq, &copied)); /* over: in a wait within a callback */
    if (gone) {
        if (outer != NULL)
            *outer = true;
        return;
    }
    pq->gone = outer;
    poise_pq__sync(pq);
    if (PQstatus(pq->conn) == CONNECTION_OK && pq->fd >= 0 && !pq->broken)
        result = poise_pq__want(pq, left);
    if (result < 0)
        poise_pq__over(pq, result);
}

/* A step of a connect or a cancel: waits for what libpq asks for. 1: it is done; 0: not yet; -ENOTCONN: it has failed.
 * */
static inline int poise_pq__step(poise *queue, poise_handler *handler, int *fd, int socket,
                                 PostgresPollingStatusType status)
{
    if (status == PGRES_POLLING_OK)
        return 1;
    if (status == PGRES_POLLING_FAILED || socket < 0)
        return -ENOTCONN;
    *fd = socket;
    return poise_watch(queue, poise_fd(socket), status == PGRES_POLLING_READING ? POISE_READABLE : POISE_WRITABLE,
                       handler);
}

/* An event is a hint; but libpq takes it for a connection, or for a failure, while the connect is still under way. */
static inline bool poise_pq__connecting(ConnStatusType status, int fd)
{
    return status == CONNECTION_STARTED && !poise_pq__ready(fd, POLLOUT);
}

static inline void poise_pq__call(poise_handler *handler, poise *queue, const poise_event *event)
{
    poise_pq *pq = (poise_pq *)(void *)((char *)handler - offsetof(poise_pq, handler));
    if (pq->connecting && poise_pq__connecting(PQstatus(pq->conn), pq->fd))
        return;
    if (pq->connecting) {
        poise_pq__unwatch(queue, &pq->fd);
        PostgresPollingStatusType status = PQconnectPoll(pq->conn);
        int result = poise_pq__step(queue, handler, &pq->fd, PQsocket(pq->conn), status);
        if (result == 1) {
            pq->fd = PQsocket(pq->conn);
            pq->interest = POISE_READABLE;
            result = poise_watch(queue, poise_fd(pq->fd), pq->interest, handler);
            if (result == 0)
                poise_pq__work(pq);
        }
        if (result < 0)
            poise_pq__over(pq, result);
        return;
    }
    if ((event->ready & POISE_READABLE) && !pq->broken && !PQconsumeInput(pq->conn))
        poise_pq__break(pq);
    poise_pq__sync(pq);
    poise_pq__work(pq);
}

/* Says that something was sent outside of the callbacks: sends on what PQsend... could not send at once. -ENOTCONN: not
 * connected (yet, or any more); the errors of poise_watch and poise_timer_start, which leave it undone. That the
 * connection is broken `closed` tells, later. */
static inline int poise_pq_flush(poise_pq *pq)
{
    if (pq == NULL || pq->conn == NULL || pq->connecting || pq->over)
        return -ENOTCONN;
    int left = PQflush(pq->conn);
    bool idle = !PQisBusy(pq->conn); /* PQflush may have read a whole result, or the connection is broken */
    poise_pq__sync(pq);
    if (idle || left < 0 || pq->fd < 0)
        return poise_timer_start(pq->queue, &pq->soon, poise_now(), &pq->handler);
    return poise_pq__want(pq, left);
}

/* Takes over a connection that PQconnectStart (or ...Params) has begun and PQconnectPoll was not called for; or one
 * that is connected and idle: then there's no call of `connected`. It is PQfinish-ed by poise_pq_close.
 * -EINVAL: NULL; -EBUSY: pq has a connection; -ENOTCONN: conn has failed already (PQerrorMessage); the errors of
 * poise_watch. After a failure conn is the caller's, as before. */
static inline int poise_pq_attach(poise *queue, poise_pq *pq, PGconn *conn)
{
    if (queue == NULL || pq == NULL || conn == NULL)
        return -EINVAL;
    if (pq->conn != NULL)
        return -EBUSY;
    if (PQstatus(conn) == CONNECTION_BAD)
        return -ENOTCONN;
    pq->connecting = PQstatus(conn) != CONNECTION_OK;
    pq->handler.call = poise_pq__call;
    pq->queue = queue;
    pq->fd = PQsocket(conn);
    pq->interest = pq->connecting ? POISE_WRITABLE : POISE_READABLE; /* writable first, says the manual of libpq */
    pq->broken = pq->over = false;
    pq->ended = true;
    int result = poise_watch(queue, poise_fd(pq->fd), pq->interest, &pq->handler);
    if (result == 0 &&
        !pq->connecting) { /* libpq may have read a notification already, of which the socket says nothing */
        (void)PQsetnonblocking(conn, 1);
        result = poise_timer_start(queue, &pq->soon, poise_now(), &pq->handler);
        if (result < 0)
            poise_pq__unwatch(queue, &pq->fd);
    }
    if (result == 0)
        pq->conn = conn;
    return result;
}

/* Starts to connect. -EINVAL, -EBUSY, the errors of poise_watch: as above, and there is nothing to close. -ENOMEM: as
 * well. -ENOTCONN: the connection string is wrong, the name is unknown, or no address can be reached; pq->conn is left
 * for PQerrorMessage, and poise_pq_close is due. */
static inline int poise_pq_connect(poise *queue, poise_pq *pq, const char *conninfo)
{
    if (queue == NULL || pq == NULL || conninfo == NULL)
        return -EINVAL;
    if (pq->conn != NULL)
        return -EBUSY;
    PGconn *conn = PQconnectStart(conninfo);
    if (conn == NULL)
        return -ENOMEM;
    int result = poise_pq_attach(queue, pq, conn);
    if (result == -ENOTCONN) {
        pq->queue = queue;
        pq->conn = conn;
        pq->fd = -1;
        pq->over = true;
    } else if (result < 0) {
        PQfinish(conn);
    }
    return result;
}

/* Ends the connection (PQfinish), at any time: no callback comes afterwards. One that has none: nothing. */
static inline void poise_pq_close(poise_pq *pq)
{
    if (pq == NULL || pq->conn == NULL)
        return;
    poise_pq__unwatch(pq->queue, &pq->fd);
    (void)poise_timer_stop(pq->queue, &pq->soon);
    if (pq->gone != NULL)
        *pq->gone = true;
    pq->gone = NULL;
    PQfinish(pq->conn);
    pq->conn = NULL;
}

/* ---- cancelling: libpq 17 and newer ---------------------------------------------------------------------------------
 * Before that there is PQcancel alone, which blocks until the server has answered. */

#ifdef LIBPQ_HAS_ASYNC_CANCEL

/* Like poise_pq: `done` and `data` set by the caller, the rest all zero, unmoved until poise_pq_cancel_stop. */
typedef struct poise_pq_cancel poise_pq_cancel;
struct poise_pq_cancel {
    void (*done)(poise_pq_cancel *cancel, int error); /* 0: the server has got the request; -ENOTCONN: it has not
                                                         (PQcancelErrorMessage(cancel->conn)); poise_watch's errors */
    void *data;
    PGcancelConn *conn;

    poise_handler handler; /* poise's own, from here on */
    poise *queue;
    int fd;
};

/* Ends it, at any time, in `done`, too; frees conn. The request itself may have been sent. None: nothing. */
static inline void poise_pq_cancel_stop(poise_pq_cancel *cancel)
{
    if (cancel == NULL || cancel->conn == NULL)
        return;
    poise_pq__unwatch(cancel->queue, &cancel->fd);
    PQcancelFinish(cancel->conn);
    cancel->conn = NULL;
}

static inline void poise_pq__cancel_call(poise_handler *handler, poise *queue, const poise_event *event)
{
    (void)event;
    poise_pq_cancel *cancel = (poise_pq_cancel *)(void *)((char *)handler - offsetof(poise_pq_cancel, handler));
    if (poise_pq__connecting(PQcancelStatus(cancel->conn), cancel->fd))
        return;
    poise_pq__unwatch(queue, &cancel->fd);
    PostgresPollingStatusType status = PQcancelPoll(cancel->conn);
    int result = poise_pq__step(queue, handler, &cancel->fd, PQcancelSocket(cancel->conn), status);
    if (result != 0 && cancel->done != NULL)
        cancel->done(cancel, result == 1 ? 0 : result);
}

/* Asks the server to cancel what conn is doing, over a connection of its own. Whether it was in time the query's own
 * result tells (SQLSTATE 57014: it was). `done` is called once; then poise_pq_cancel_stop is due. -EINVAL: NULL;
 * -EBUSY: it runs; -ENOMEM; -ENOTCONN: conn isn't connected, or the connect has failed at once; the errors of
 * poise_watch. After a failure there is nothing to stop. */
static inline int poise_pq_cancel_start(poise *queue, poise_pq_cancel *cancel, PGconn *conn)
{
    if (queue == NULL || cancel == NULL || conn == NULL)
        return -EINVAL;
    if (cancel->conn != NULL)
        return -EBUSY;
    cancel->conn = PQcancelCreate(conn);
    if (cancel->conn == NULL)
        return -ENOMEM;
    cancel->handler.call = poise_pq__cancel_call;
    cancel->queue = queue;
    cancel->fd = -1;
    PostgresPollingStatusType status = PQcancelStart(cancel->conn) ? PGRES_POLLING_WRITING : PGRES_POLLING_FAILED;
    int result = poise_pq__step(queue, &cancel->handler, &cancel->fd, PQcancelSocket(cancel->conn), status);
    if (result < 0)
        poise_pq_cancel_stop(cancel);
    return result;
}

#endif

#ifdef __cplusplus
}
#endif
#endif
