/* SPDX-License-Identifier: MIT
 *
 * poise/connect.h - a TCP connection by name. Library poise_resolve (pkg-config poise-resolve, CMake poise::resolve).
 *
 * Looks the name up (poise/resolve.h) and tries the addresses as RFC 8305 ("happy eyeballs") says: IPv6 and IPv4 in
 * turn, IPv6 first; a new attempt 250 ms after the one before, or as soon as that one has failed; IPv4 alone only after
 * 50 ms without an IPv6 address (the resolver's answer that there is none counts at once). The first that connects
 * wins, and the others are closed. RFC 6724's sorting by reachability is left out: within a family the resolver's order
 * counts.
 *
 * As with a look-up, an event with the caller's `data` is a hint: poise_connect_result does what is due, and says
 * -EINPROGRESS until there is a connected socket, or every address has failed. Call it for each event.
 *
 *     poise_connect connect = { 0 };
 *     int result = poise_connect_start(queue, &connect, "example.org", 443, poise_now() + 10000000000, &connect);
 *     if (result < 0)
 *         give_up(result);
 *     ...
 *     if (event.data == &connect && (result = poise_connect_result(&connect)) != -EINPROGRESS)
 *         result >= 0 ? use(result) : give_up(result); // a connected socket, or why there is none
 *
 * An IPv4 address in IPv6 clothes (::ffff:192.0.2.1) is an IPv6 address here, and fails: sockets take IPv6 alone.
 *
 * At most 16 attempts are under way. If there are more addresses, the oldest of them, which has had 4 s then, gives up
 * (-ETIMEDOUT) for the next. An attempt for which no descriptor is left is made again when another one has failed, and
 * every 250 ms.
 *
 * All calls belong to the thread that waits. Stop it, or let it end, before its queue is closed.
 */
#ifndef POISE_CONNECT_H
#define POISE_CONNECT_H

#include <poise/resolve.h>

/* clang-format off */ /* columns made by hand */

#ifdef __cplusplus
extern "C" {
#endif

/* The caller's storage, all zero before first use, unmoved while it runs. It may be started again when it has ended. */
typedef struct poise_connect {
    void        *data;
    poise_lookup lookup;
    poise_timer  timer;            /* the next attempt, and the deadline                                              */
    uint64_t     reserved[14];
} poise_connect;

/* Starts to connect to a name (or a literal address). deadline_ns: of all together, on poise_now()'s clock; UINT64_MAX:
 * none but the system's. The name is copied. The errors of poise_lookup_start, and -EINVAL for port 0; then nothing has
 * been started. */
POISE_API int poise_connect_start(poise *queue, poise_connect *connect, const char *name, uint16_t port,
                                  uint64_t deadline_ns, void *data);

/* >= 0: a connected socket (non-blocking, close-on-exec, not watched), the caller's from now on. -EINPROGRESS: not yet.
 * Else it has failed: with the error of the address that failed last (those of poise_tcp_connect_result and
 * poise_tcp_connect: -ECONNREFUSED, -EHOSTUNREACH, -ENETUNREACH, -ETIMEDOUT, -EACCES, -EAFNOSUPPORT, ...; WASI 0.1:
 * -ENOTSUP), with the look-up's if that gave no address (poise_lookup_next), with -ETIMEDOUT when the deadline has
 * passed, or, if not one attempt can be made, with -EMFILE, -ENFILE, -ENOBUFS or -ENOMEM. With a socket or a failure it
 * has ended: nothing of it is left in the queue. Calling again returns a failure again, and -ENOTCONN after a socket.
 * -EINVAL: NULL, or it was not started, or stopped. */
POISE_API int poise_connect_result(poise_connect *connect);

/* Ends it at any time, and closes what it has opened; no event with its data comes afterwards (G5). One that has ended
 * or never started: nothing; a socket that was returned is the caller's. */
POISE_API void poise_connect_stop(poise_connect *connect);

#ifdef __cplusplus
}
#endif
#endif
