/* SPDX-License-Identifier: MIT
 *
 * Connects by name: RFC 8305, sections 3 (the resolution delay), 4 (families in turn) and 5 (attempts), on the parts of
 * a look-up that resolver.h shows. include/poise/connect.h says what each call promises. */
#include <poise/connect.h>

#include "resolver.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { MOST_ATTEMPTS = 16 };

#define ATTEMPT_DELAY_NS UINT64_C(250000000)   /* RFC 8305, 8: "Connection Attempt Delay" */
#define RESOLUTION_DELAY_NS UINT64_C(50000000) /* "Resolution Delay" */

/* What poise_connect.reserved holds. */
struct attempts {
    poise *queue;
    uint64_t deadline_ns;
    uint64_t next_ns;      /* when the next attempt may begin */
    int fd[MOST_ATTEMPTS]; /* under way, the oldest first */
    int32_t result;        /* of the address that failed last, or of the whole */
    uint8_t n, state;      /* state: as a look-up's */
    bool any;              /* an address was tried */
    bool delayed;          /* the resolution delay has begun */
    bool ipv4_next;        /* whose turn it is */
    bool lacking;          /* the last try found no descriptor (or memory) left */
} __attribute__((__may_alias__));

_Static_assert(sizeof(struct attempts) <= sizeof(((poise_connect *)0)->reserved), "the inside of a connect fits");
_Static_assert(_Alignof(struct attempts) <= _Alignof(uint64_t), "and is aligned");

static struct attempts *attempts_of(poise_connect *connect) { return (struct attempts *)(void *)connect->reserved; }

/* ---- attempts ---------------------------------------------------------------------------------------------------- */

static void release(struct attempts *attempts, unsigned i)
{
    (void)poise_unwatch(attempts->queue, poise_fd(attempts->fd[i]));
    attempts->n--;
    memmove(&attempts->fd[i], &attempts->fd[i + 1], (attempts->n - i) * sizeof attempts->fd[0]);
}

static void give_up(struct attempts *attempts, unsigned i, int error)
{
    int fd = attempts->fd[i];
    release(attempts, i);
    close(fd);
    attempts->result = error;
    if (attempts->lacking) /* now there is one */
        attempts->next_ns = 0;
}

/* How those under way have fared. A socket that is connected, or -EINPROGRESS. */
static int look(struct attempts *attempts)
{
    for (unsigned i = 0; i < attempts->n;) {
        int fd = attempts->fd[i];
        int result = poise_tcp_connect_result(fd);
        if (result == 0) {
            release(attempts, i);
            return fd;
        }
        if (result == -EINPROGRESS) {
            i++;
            continue;
        }
        if (i == attempts->n - 1u) /* the youngest: the next need not wait any longer */
            attempts->next_ns = 0;
        give_up(attempts, i, result);
    }
    return -EINPROGRESS;
}

static bool lacks_resources(int error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM;
}

/* Begins with one address. 0, or why it failed at once. */
static int attempt(poise_connect *connect, const poise_address *address)
{
    struct attempts *attempts = attempts_of(connect);
    int fd = poise_tcp_connect(address);
    if (fd < 0)
        return fd;
    int result = poise_watch(attempts->queue, poise_fd(fd), POISE_WRITABLE, connect->data);
    if (result < 0) {
        close(fd);
        return result;
    }
    if (attempts->n == MOST_ATTEMPTS)
        give_up(attempts, 0, -ETIMEDOUT);
    attempts->fd[attempts->n++] = fd;
    return 0;
}

/* ---- whose turn it is -------------------------------------------------------------------------------------------- */

/* Looks at the next address without taking it: an attempt that lacks a descriptor is made again later. */
static bool next_address(poise_connect *connect, poise_address *address)
{
    struct attempts *attempts = attempts_of(connect);
    int first = attempts->ipv4_next ? AF_INET : AF_INET6, other = attempts->ipv4_next ? AF_INET6 : AF_INET;
    return poise__lookup_peek(&connect->lookup, first, address) || poise__lookup_peek(&connect->lookup, other, address);
}

/* Section 3: "If a positive A response is received first ... the client SHOULD wait a short time for the AAAA
 * response". */
static bool waits_for_ipv6(poise_connect *connect, const poise_address *address, uint64_t now)
{
    struct attempts *attempts = attempts_of(connect);
    if (attempts->any || address->storage.ss_family == AF_INET6 || !poise__lookup_expects(&connect->lookup, AF_INET6))
        return false;
    if (!attempts->delayed) {
        attempts->delayed = true;
        attempts->next_ns = now + RESOLUTION_DELAY_NS;
    }
    return now < attempts->next_ns;
}

/* No descriptor was left, and nothing is under way but the look-up, which has one until its last answer is there. That
 * may be any moment: so it is left alone until the next try. */
static bool spares_look_up(const struct attempts *attempts, int names, uint64_t now)
{
    return attempts->lacking && attempts->n == 0 && names == -EAGAIN && now < attempts->next_ns;
}

/* Begins what may begin now. When more may begin, without any event but the time: UINT64_MAX: never. names: what the
 * look-up says. */
static uint64_t begin(poise_connect *connect, int *names)
{
    struct attempts *attempts = attempts_of(connect);
    poise_address address;
    while (next_address(connect, &address)) {
        uint64_t now = poise_now();
        if (waits_for_ipv6(connect, &address, now) || (attempts->n > 0 && now < attempts->next_ns) ||
            spares_look_up(attempts, *names, now))
            return attempts->next_ns;
        bool lacked = attempts->lacking;
        int result = attempt(connect, &address);
        attempts->next_ns = result < 0 && !lacks_resources(result) ? 0 : now + ATTEMPT_DELAY_NS;
        if (result < 0)
            attempts->result = result;
        attempts->lacking = lacks_resources(result);
        if (lacked && attempts->lacking && attempts->n == 0 && poise__lookup_stop_asking(&connect->lookup)) {
            *names = 0; /* the look-up's descriptors are all that there is to be had */
            continue;
        }
        if (attempts->lacking)
            return attempts->next_ns;
        (void)poise__lookup_take(&connect->lookup, address.storage.ss_family, &address);
        attempts->any = true;
        attempts->ipv4_next = address.storage.ss_family == AF_INET6;
    }
    return UINT64_MAX;
}

/* ---- the calls --------------------------------------------------------------------------------------------------- */

static int end(poise_connect *connect, uint8_t state, int result, int later)
{
    struct attempts *attempts = attempts_of(connect);
    poise_lookup_stop(&connect->lookup);
    (void)poise_timer_stop(attempts->queue, &connect->timer);
    while (attempts->n > 0)
        give_up(attempts, attempts->n - 1u, 0);
    *attempts = (struct attempts){ .state = state, .result = later };
    return result;
}

int poise_connect_start(poise *queue, poise_connect *connect, const char *name, uint16_t port, uint64_t deadline_ns,
                        void *data)
{
    if (queue == NULL || connect == NULL || port == 0)
        return -EINVAL;
    struct attempts *attempts = attempts_of(connect);
    if (attempts->state == RUNNING)
        return -EBUSY;
    *attempts = (struct attempts){ .state = NOT_STARTED };
    int result = poise_lookup_start(queue, &connect->lookup, name, port, AF_UNSPEC, UINT64_MAX, data);
    if (result < 0)
        return result;
    connect->data = data;
    *attempts = (struct attempts){ .queue = queue, .deadline_ns = deadline_ns, .state = RUNNING };
    if (deadline_ns != UINT64_MAX)
        (void)poise_timer_start(queue, &connect->timer, deadline_ns, data);
    return 0;
}

int poise_connect_result(poise_connect *connect)
{
    if (connect == NULL)
        return -EINVAL;
    struct attempts *attempts = attempts_of(connect);
    if (attempts->state != RUNNING)
        return attempts->state == ENDED ? attempts->result : -EINVAL;
    int fd = look(attempts);
    if (fd >= 0)
        return end(connect, ENDED, fd, -ENOTCONN);
    if (attempts->deadline_ns != UINT64_MAX && poise_now() >= attempts->deadline_ns)
        return end(connect, ENDED, -ETIMEDOUT, -ETIMEDOUT);
    int names = poise__lookup_turn(&connect->lookup);
    uint64_t next = begin(connect, &names);
    if (attempts->n == 0 && names != -EAGAIN && (attempts->lacking || next == UINT64_MAX)) {
        int result = attempts->any || attempts->lacking ? attempts->result : names < 0 ? names : -ENOENT;
        return end(connect, ENDED, result, result);
    }
    next = next < attempts->deadline_ns ? next : attempts->deadline_ns;
    if (next == UINT64_MAX)
        (void)poise_timer_stop(attempts->queue, &connect->timer);
    else
        (void)poise_timer_start(attempts->queue, &connect->timer, next, connect->data);
    return -EINPROGRESS;
}

void poise_connect_stop(poise_connect *connect)
{
    if (connect != NULL && attempts_of(connect)->state == RUNNING)
        (void)end(connect, NOT_STARTED, 0, 0);
}
