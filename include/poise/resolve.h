/* SPDX-License-Identifier: MIT
 *
 * poise/resolve.h - name look-up as an event. Library poise_resolve (pkg-config poise-resolve, CMake poise::resolve).
 *
 * A look-up is a source of events like any other, made of several inside (sockets and a timer natively, a pollable and
 * a timer under WASI): all of them have the caller's `data`. An event with it is a hint that poise_lookup_next has
 * something to do; it does it, and gives the next address, or -EAGAIN while there is none: wait on. Call it at least
 * once for each event. As long as there is something to take, a wait reports the look-up again.
 *
 *     poise_lookup lookup = { 0 };
 *     uint64_t deadline = poise_now() + 5000000000;
 *     int result = poise_lookup_start(queue, &lookup, "example.org", 443, AF_UNSPEC, deadline, &lookup);
 *     if (result < 0)
 *         give_up(result);
 *     ...
 *     if (event.data == &lookup)
 *         while ((result = poise_lookup_next(&lookup, &address)) == 1)
 *             use(&address);
 *     // 0: that was all; -EAGAIN: more to come; else it has failed
 *
 * Addresses come in the order in which they arrive. Natively, a name that is asked for as it stands (one with a dot, or
 * as many as ndots in resolv.conf says) has its IPv6 and IPv4 addresses asked for apart, and whichever answers first
 * comes first; else all come at once. Each has the port that was asked for.
 *
 * Literal addresses ("192.0.2.1", "2001:db8::1", "fe80::1%2") and localhost (RFC 6761, also names below .localhost:
 * ::1, then 127.0.0.1) answer without a server, and without asking the host, everywhere.
 *
 * Natively c-ares asks, as /etc/hosts, /etc/resolv.conf and /etc/nsswitch.conf say (of the last, `files` and `dns`
 * alone: no mDNS; c-ares 1.18 does not know the options timeout and attempts of resolv.conf), and no thread is made. A
 * name that /etc/hosts has is not asked for elsewhere, for neither family. While it runs, a look-up has one or two
 * sockets for each server that it asks, and c-ares's memory (some 75 KB with c-ares 1.18, 10 KB with 1.34). Without a
 * deadline c-ares 1.18 gives a silent server more than a minute.
 *
 * Under WASI 0.2 the host's resolver asks (wasi:sockets/ip-name-lookup), where the host allows it (wasmtime run -S
 * allow-ip-name-lookup), on a queue that takes pollables (backend wasip2). All its addresses come at once, in its
 * order, and it may tell less of what went wrong: to wasmtime everything is -ENOENT. A look-up that is stopped goes on
 * in the host, which may keep the process from ending until its resolver gives up. WASI 0.1 can't look names up.
 *
 * All calls belong to the thread that waits. Stop a look-up, or let it end, before its queue is closed.
 */
#ifndef POISE_RESOLVE_H
#define POISE_RESOLVE_H

#include <poise/net.h>

/* clang-format off */ /* columns made by hand */

#ifdef __cplusplus
extern "C" {
#endif

/* The caller's storage, all zero before first use, unmoved while it runs. It may be started again when it has ended. */
typedef struct poise_lookup {
    void       *data;
    poise_timer timer;             /* the deadline, and what else has its time                                        */
    uint64_t    reserved[8];
} poise_lookup;

/* Starts to look a name up. family: AF_UNSPEC (both), AF_INET or AF_INET6. port: what the addresses get, host order.
 * deadline_ns: on poise_now()'s clock, UINT64_MAX: none but the resolver's own. The name is copied.
 * -EINVAL: NULL, another family, or what can be no host's name: that is letters, digits, - and _ in labels of 1 to 63
 * bytes with dots between them, 253 bytes in all, maybe a dot behind; the last label is no number (what would
 * "127.1" be?). Other alphabets are the caller's to translate ("xn--..."). -EBUSY: it runs already. -EACCES: the host
 * refuses look-ups. -ENOTSUP: the name needs a server, and this is WASI 0.1, or a queue that takes no pollables under
 * WASI 0.2 (backend poll). -EMFILE, -ENFILE, -ENOMEM. After an error nothing has been started. */
POISE_API int poise_lookup_start(poise *queue, poise_lookup *lookup, const char *name, uint16_t port, int family,
                                 uint64_t deadline_ns, void *data);

/* 1: *address is the next result. 0: there are no more (there was at least one). -EAGAIN: not yet.
 * -ENOENT: there is no such name, or it has no address of this family; -ETIMEDOUT: the deadline has passed, or no
 * server has answered; -EACCES: refused by the host; -EHOSTUNREACH: the servers failed, or could not be reached
 * (perhaps only now); -EPROTO: their answer makes no sense; -ENOMEM, -EMFILE, -ENFILE. If it fails after some results,
 * the end (0) is what is told. Of what the two families say the failure of a server counts more than -ENOENT. With 0 or
 * an error but -EAGAIN the look-up has ended: nothing of it is left in the queue, there is nothing to stop, and calling
 * again returns the same. -EINVAL: NULL, or it was not started, or stopped. Afterwards *address is the result, or has
 * length 0. */
POISE_API int poise_lookup_next(poise_lookup *lookup, poise_address *address);

/* Ends it at any time; no event with its data comes afterwards (G5). One that has ended or never started: nothing. */
POISE_API void poise_lookup_stop(poise_lookup *lookup);

#ifdef __cplusplus
}
#endif
#endif
