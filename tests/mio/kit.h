/* What mio's tests share, beside the kits of tests/test.h and tests/net_kit.h: expected events, silence, edges, ends.
 *
 * A test has mio's name, its group is mio's file, and it checks what mio's test checks. Sources are watched with
 * POISE_EDGE, as mio has no other mode. `data` of a descriptor's events is the address of an int that holds it.
 */
#ifndef POISE_MIO_KIT_H
#define POISE_MIO_KIT_H

#include "../net_kit.h"

#define IN ((uint32_t)POISE_READABLE)
#define OUT ((uint32_t)POISE_WRITABLE)
#define BOTH (IN | OUT)
#define EDGE ((uint32_t)POISE_EDGE)
#define CLOSED ((uint32_t)POISE_READ_CLOSED | (uint32_t)POISE_WRITE_CLOSED)

/* A CHECK of what mio's test is about. Each test reaches at least one, after everything else that can fail; with
 * --wrong it is negated, so that a test that passes then has not got there. The expression is a known result: no wait
 * in it. */
#define POINT(expression)                                                                         \
    do {                                                                                          \
        bool holds_ = (expression);                                                               \
        if (holds_ == test_wrong) {                                                               \
            test_failed(__FILE__, __LINE__, "%s%s", #expression, test_wrong ? " (--wrong)" : ""); \
            return;                                                                               \
        }                                                                                         \
    } while (0)

/* ---- events ------------------------------------------------------------------------------------------------------ */

struct expect {
    const void *data;
    uint32_t bits; /* all of them in one event */
};

/* True if each of them comes within patience(), in any order; other events may come, too, as in mio's expect_events. */
bool events_come(poise *queue, int n, const struct expect expected[]);
#define EVENTS_COME(queue, ...)                                                                   \
    events_come((queue), (int)(sizeof((struct expect[]){ __VA_ARGS__ }) / sizeof(struct expect)), \
                (struct expect[]){ __VA_ARGS__ })

/* Takes the next event, and waits for it, at most patience(). */
bool next_event(poise *queue, poise_event *event);

/* True if nothing comes for 50 ms, and (natively) the wait doesn't spin. Under WASI a source may be reported readable
 * without a reason: that is let pass if there is nothing to receive. */
bool quiet(poise *queue);

/* The queue's source has said -EAGAIN: on the backend poll it has to be told, so that the next change is reported. */
void eagain(poise *queue, int fd, uint32_t directions);

/* poise_recv; from: poise_recv_from, if it isn't NULL. -EAGAIN is told to the queue. */
ptrdiff_t receive(poise *queue, int fd, void *bytes, size_t size, poise_address *from);

/* The same, after waiting until *fd, which is watched for input, is reported. Under WASI an event without anything to
 * receive may be spurious, and is waited over. */
ptrdiff_t wait_receive(poise *queue, const int *fd, void *bytes, size_t size, poise_address *from);

/* ---- closed hints ------------------------------------------------------------------------------------------------ */

/* The closed hints that have to come after that, here: natively all that the kernel tells, under WASI those that poise
 * has got to know. (More may come, if they are true.) */
uint32_t hints_of_end(void);             /* the peer has shut down SHUT_WR, or closed */
uint32_t hints_of_reset(void);           /* the peer has reset the connection */
uint32_t hints_of_refusal(void);         /* a connect was refused */
uint32_t hints_of_own_shutdown(int how); /* the program has shut down this end itself, SHUT_RD or SHUT_RDWR */

/* A read of *fd has found the end. The backend wasip2 has got to know it by that: watched again, the next event tells
 * it. True elsewhere, where the hints come before, or not at all. */
bool end_is_told(poise *queue, int *fd);

/* ---- ends of a connection ---------------------------------------------------------------------------------------- */

/* Closes without a wait in close(2) while the peer has not read everything, and without losing that: shuts down,
 * waits until it is writable, closes. */
void close_gently(int fd);

/* Closes so that the peer, the other end of the connection, sees a reset. WASI has no SO_LINGER: there the peer sends
 * a byte, which is closed over unread. */
void reset_by(int fd, int peer);

#endif
