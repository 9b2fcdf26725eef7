/* SPDX-License-Identifier: MIT
 *
 * poise/net.h - non-blocking sockets without the portability traps. Thin: no call here keeps any state or memory.
 *
 * Descriptors that these calls return are non-blocking, close-on-exec and the caller's: unwatch, then close(2) them.
 * They are plain descriptors; setsockopt, read, write and the like go on working.
 *
 * A call that can fail returns a negative errno value, as given; errno itself is unspecified afterwards. No call
 * blocks, raises SIGPIPE (G20) or returns -EINTR. -EAGAIN means: wait with poise_wait (in edge mode, on the backend
 * poll, after poise_again). All calls may be used from any thread, on one descriptor at the same time, too, where the
 * kernel allows that (Linux does).
 * -EBADF (not open) and -ENOTSOCK (no socket) can come from every call with a descriptor, -EINVAL from a NULL address.
 * What is no socket is under WASI 0.2 -ENOTSUP, and -ENOPROTOOPT of the options, poise_socket_error and
 * poise_tcp_connect_result; -ENOTSOCK of poise_local_address and poise_peer_address alone.
 *
 * Platforms: IPv4 and IPv6 on Linux and under WASI 0.2; Unix sockets and pipes natively alone. A WASI host must allow
 * sockets (wasmtime run -S inherit-network; else -EACCES). WASI 0.1 can't make any: there accept, send, recv and
 * shutdown work on what the host has opened, and every other call that needs a socket is -ENOTSUP.
 * Sources: socket(7), tcp(7), ip(7), ipv6(7), unix(7) and the pages named below; POSIX.1-2017; wasi:sockets@0.2.0 and
 * wasi-libc.
 */
#ifndef POISE_NET_H
#define POISE_NET_H

#include <poise/poise.h>

#include <sys/socket.h>

/* clang-format off: comments made by hand */

#ifdef __cplusplus
extern "C" {
#endif

/* ---- addresses --------------------------------------------------------------------------------------------------- */

/* An IPv4 or IPv6 address with its port, or a Unix socket's name: a value, to be copied. length 0: no address, as is
 * one too short for its family. The fields may be given to bind(2) and the like: (struct sockaddr *)&address.storage,
 * address.length; what such a call has filled in is made one by poise_address_from. */
typedef struct poise_address {
    struct sockaddr_storage storage;
    socklen_t length;
} poise_address;

#define POISE_ADDRESS_TEXT 120 /* room enough for poise_address_format, with the terminating zero */

/* From text: an IPv4 or IPv6 literal ("127.0.0.1", "::1", "fe80::1%2" with the number of an interface; "0.0.0.0" and
 * "::" mean any), and a port in host order (0: any free one). Names are not looked up, and the text has no port and no
 * brackets. -EINVAL: neither, or NULL. Afterwards the address is that, or has length 0. */
POISE_API int poise_address_parse(poise_address *address, const char *text, uint16_t port);

/* From a socket address of the C library (getaddrinfo gives such). -EAFNOSUPPORT: neither IPv4 nor IPv6 nor (natively)
 * a Unix socket's; -EINVAL: `length` is too short for the family, a Unix socket without a name, or NULL; -ENAMETOOLONG.
 * `from` may lie in the address itself. Afterwards the address is that, or has length 0. */
POISE_API int poise_address_from(poise_address *address, const struct sockaddr *from, socklen_t length);

/* To text, for people: "127.0.0.1:80", "[::1]:80", "[fe80::1%2]:80", "unix:/run/x", or "-" for no address; each zero
 * byte of an abstract name is an @ ("unix:@x"). A path is written as it is, line ends and all. So it is not for parsing
 * or comparing (poise_address_equal compares). Returns its length without the zero. -ENOSPC: it needs more than `size`
 * bytes (then the text is "", if there is room for that); -EINVAL: NULL. */
POISE_API int poise_address_format(const poise_address *address, char *text, size_t size);

POISE_API uint16_t poise_address_port(const poise_address *address); /* host order; 0: no address, or a Unix socket's */
/* Family, address, port, zone; path or name. Two that are no address are equal. */
POISE_API bool poise_address_equal(const poise_address *a, const poise_address *b);

/* The address of this end; of the other end. [getsockname(2), getpeername(2)] Afterwards the address is that, or has
 * length 0 (without an error: a Unix socket that has no name). -ENOTCONN: the peer's, not connected, or not yet, or the
 * connection was reset; under WASI also one's own, while it connects and after that has failed (jco: after a reset,
 * too). -EINVAL (local, WASI): not bound yet. */
POISE_API int poise_local_address(int fd, poise_address *address);
POISE_API int poise_peer_address(int fd, poise_address *address);

/* ---- TCP --------------------------------------------------------------------------------------------------------- */

/* Opens a socket that listens at the local address, and returns it; poise_local_address tells the port if that was 0.
 * backlog: how many connections the kernel may hold until they are accepted; 0 or less: 128. SO_REUSEADDR is set (a
 * server can be started again at once; WASI's hosts do so themselves). An IPv6 listener takes IPv6 alone
 * (IPV6_V6ONLY), as WASI can do no other: for both, open "0.0.0.0" and "::" with the same port. -EADDRINUSE,
 * -EADDRNOTAVAIL, -EACCES, -EAFNOSUPPORT (also: a machine without IPv6), -EMFILE, -ENFILE, -ENOMEM; -EINVAL: an
 * address of length 0. [socket(2), bind(2), listen(2)] */
POISE_API int poise_tcp_listen(const poise_address *local, int backlog);

/* Takes a connection that has come in, and returns its socket; peer (may be NULL) becomes the address of the other
 * end, or one of length 0 if that can't be known any more, as the peer has reset the connection already. A connection
 * that died while it waited (ECONNABORTED and, on Linux, other errors of the network) is skipped. -EAGAIN: there is
 * none now. -EINVAL, -EOPNOTSUPP: the socket does not listen. [accept(2)]
 *
 * -EMFILE, -ENFILE, -ENOBUFS, -ENOMEM: no descriptor or memory is left. The connection stays in the kernel's queue, so
 * that in level mode the listener is reported again and again and the loop spins, and in edge mode it is never
 * reported again. What to do: pause the listener, and resume it when a descriptor has been closed or after a while,
 * whatever comes first:
 *
 *     int fd = poise_tcp_accept(listener, &peer);
 *     if (fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM) {
 *         poise_watch(queue, poise_fd(listener), 0, &listener_tag);                              // pause
 *         poise_timer_start(queue, &resume, poise_now() + 100000000, &resume_tag);               // in 100 ms
 *     }
 *     ...
 *     if (event.data == &resume_tag)       // and after each close() of a connection, if the listener is paused
 *         poise_watch(queue, poise_fd(listener), POISE_READABLE, &listener_tag);
 *
 * The same calls serve edge mode: watching again reports what is there. examples/echo.c does it, by the timer alone. */
POISE_API int poise_tcp_accept(int listener, poise_address *peer);

/* Starts to connect, and returns the socket. Watch it for POISE_WRITABLE; then poise_tcp_connect_result tells how it
 * went. A connect that fails at once (it may, or may not: a refused one on the loopback, say) returns its reason here,
 * and there is no socket to close. -ECONNREFUSED, -EHOSTUNREACH, -ENETUNREACH, -ETIMEDOUT, -EADDRNOTAVAIL, -EACCES,
 * -EPERM (Linux: a firewall), -EAFNOSUPPORT, -EMFILE, -ENFILE, -ENOMEM; -EINVAL: an address of length 0. There is no
 * time limit but the kernel's (minutes): use a timer. [connect(2), EINPROGRESS] */
POISE_API int poise_tcp_connect(const poise_address *peer);

/* How a connect has ended (not for a listener: -EINPROGRESS for ever): 0, it is connected; -EINPROGRESS, not yet (a
 * spurious event: wait on); anything else, the reason why it failed (those above, or -ECONNRESET): the socket is of no
 * more use, close it. May be called at any time and again. It is never 0 after a failure; but Linux tells the reason
 * once, and -ENOTCONN to whoever asks after that (also if send, recv or SO_ERROR has taken it). WASI tells it always.
 * Under WASI 0.2 it is poise_wait (or poll(2)) on the watched socket that lets a connect end: without it, -EINPROGRESS
 * for ever. [connect(2), socket(7) SO_ERROR; wasi:sockets/tcp finish-connect] */
POISE_API int poise_tcp_connect_result(int fd);

/* ---- UDP --------------------------------------------------------------------------------------------------------- */

/* Opens a UDP socket with this local address ("0.0.0.0" or "::" and port 0 for a client), and returns it. IPv6 means
 * IPv6 alone; SO_REUSEADDR is not set, so that nobody can share the port. Errors: those of poise_tcp_listen. */
POISE_API int poise_udp_bind(const poise_address *local);

/* Sets the one peer that poise_send sends to, and that alone is received from. Never blocks. Again: another peer.
 * -EAFNOSUPPORT: not the socket's family (natively -ENETUNREACH for IPv4's address on an IPv6 socket, -EINVAL between
 * Unix and IP); -ENETUNREACH, -EHOSTUNREACH, -EACCES, -EPERM; -EINVAL: length 0 (there is no way back to no peer: that
 * traps under WASI; open another socket). For a TCP socket: -EISCONN or the like. Under WASI connect before the first
 * receive and the first wait for input: wasmtime 48 traps afterwards, now and then (47 and 49 don't); jco changes the
 * local port when it connects again. What came from others before may still be received (Linux), or is lost (WASI).
 * [connect(2), udp(7); wasi:sockets/udp stream] */
POISE_API int poise_udp_connect(int fd, const poise_address *peer);

/* ---- bytes and datagrams ----------------------------------------------------------------------------------------- */

/* Sends to the connected peer. Returns how many bytes were taken: of TCP maybe only the first ones, of UDP a whole
 * datagram. -EAGAIN: no room now (under WASI also without a reason, on a fresh socket: wait, don't spin). -EPIPE,
 * -ECONNRESET (WASI: -EIO): the connection is gone. -ENOTCONN, or -EAGAIN, or (UDP) -EDESTADDRREQ: not connected yet.
 * UDP: -EMSGSIZE, too long; -ECONNREFUSED, and other errors of the network: an earlier datagram had no taker; this one
 * was not sent; -EPERM (Linux): a firewall. [send(2), MSG_NOSIGNAL] */
POISE_API ptrdiff_t poise_send(int fd, const void *bytes, size_t size);

/* Receives up to `size` bytes from the connected peer (UDP: one datagram, from anyone if not connected; what is beyond
 * `size` is lost). 0: TCP, the peer will send no more (or size was 0); UDP, an empty datagram. -EAGAIN: nothing now.
 * -ECONNRESET (WASI: -EIO, or 0, as a host need not tell a reset from an end), -ETIMEDOUT: the connection is gone.
 * -ENOTCONN, or -EAGAIN: not connected yet. UDP: -ECONNREFUSED and the like, as above. [recv(2)] */
POISE_API ptrdiff_t poise_recv(int fd, void *bytes, size_t size);

/* The same for UDP with the peer's address. from may be NULL. On a connected socket poise_send_to is -EISCONN under
 * WASI, and sends there all the same on Linux. Not for TCP. -EAFNOSUPPORT: not the socket's family (natively
 * -ENETUNREACH and -EINVAL as of poise_udp_connect). [sendto(2), recvfrom(2)] */
POISE_API ptrdiff_t poise_send_to(int fd, const void *bytes, size_t size, const poise_address *to);
POISE_API ptrdiff_t poise_recv_from(int fd, void *bytes, size_t size, poise_address *from);

/* how: SHUT_WR, no more will be sent (the peer then receives 0, after all that was sent before); SHUT_RD; SHUT_RDWR.
 * -ENOTCONN: not connected; -EINVAL: another `how`; -ENOTSUP: UDP, under WASI. [shutdown(2)]
 * What was sent and is still on its way when a TCP socket is closed: Linux goes on sending, wasmtime 47 drops it, and
 * on wasmtime 48 close(2) waits until the peer has taken it, for ever if it never does. So, after a time-out, too:
 * shut down SHUT_WR, watch for POISE_WRITABLE alone, and close when that is reported (docs/recipes.md, "A close that
 * does not wait"). A close with bytes unread resets the connection: to be sure that everything arrives, shut down
 * SHUT_WR, receive until 0, and then do so. */
POISE_API int poise_shutdown(int fd, int how);

/* ---- on one machine: natively alone ------------------------------------------------------------------------------ */

/* Once it is open, a Unix socket is used like one of TCP or UDP: poise_tcp_accept, poise_tcp_connect_result,
 * poise_udp_connect, poise_send, _recv, _send_to, _recv_from, _shutdown, poise_local_address, poise_peer_address. */

/* A Unix socket's address: a path (length 0: up to its zero; else so many bytes, none of them zero), or, on Linux
 * alone, an abstract name (length > 0, and the first byte is zero; the name is in no folder, and is gone with its
 * sockets). Up to 108 bytes: -ENAMETOOLONG. -EINVAL: NULL, empty, or a zero within a path. WASI: -EAFNOSUPPORT. The
 * path may lie in the address itself. Afterwards the address is that, or has length 0. [unix(7)] */
POISE_API int poise_address_unix(poise_address *address, const char *path, size_t length);

/* That path (with a zero behind it) or name, and in *length (may be NULL) how many bytes it has. It points into the
 * address. NULL: no Unix socket's address. */
POISE_API const char *poise_address_path(const poise_address *address, size_t *length);

/* Opens a Unix socket that listens at this address, and returns it. Accept with poise_tcp_accept: its peer has length
 * 0, unless that has bound a name. backlog: as for poise_tcp_listen. The path stays when the socket is closed:
 * unlink(2) it; until then -EADDRINUSE. -EACCES, -ENOENT, -ENOTDIR, -ELOOP, -EROFS, -ENAMETOOLONG: the path; -EMFILE,
 * -ENFILE, -ENOMEM; -EAFNOSUPPORT: another kind of address, or WASI; -EINVAL: an address of length 0. [unix(7),
 * bind(2), listen(2)] */
POISE_API int poise_unix_listen(const poise_address *local, int backlog);

/* Connects at once, and returns the socket; poise_send, _recv and _shutdown are as for TCP. -EAGAIN: the listener's
 * backlog is full, and there is no socket: try again after a while, as no event tells. -ECONNREFUSED: nobody listens
 * there; -EPROTOTYPE: a datagram socket does; else as poise_unix_listen. [unix(7), connect(2)] */
POISE_API int poise_unix_connect(const poise_address *peer);

/* Opens a Unix socket for datagrams, with this address or without one (NULL), and returns it. Datagrams arrive whole
 * and in order, or -EAGAIN says that the peer's queue is full. Only of a connected socket (poise_udp_connect) does
 * POISE_WRITABLE mean that this queue has room: with poise_send_to alone it is reported all the same. poise_recv_from:
 * the sender has length 0 if it has no name. poise_send_to, poise_udp_connect, poise_send: -ENOENT, -EACCES and so on,
 * the path; -ECONNREFUSED, nobody there any more; -EPROTOTYPE, no datagram socket; -EPERM, it is connected to another
 * one. Errors: those of poise_unix_listen. [unix(7), send(2)] */
POISE_API int poise_unix_bind(const poise_address *local);

/* Two Unix sockets, connected with each other. type: SOCK_STREAM, SOCK_DGRAM. -EINVAL: another, or NULL; -EMFILE,
 * -ENFILE, -ENOMEM; WASI: -ENOTSUP. On failure both are -1. [socketpair(2)] */
POISE_API int poise_unix_pair(int fd[2], int type);

/* A pipe: fd[0] reads, fd[1] writes; by read(2) and write(2), as it is no socket: write raises SIGPIPE when nobody can
 * read it any more. -EMFILE, -ENFILE; -EINVAL: NULL; WASI: -ENOTSUP. On failure both are -1. [pipe2(2), pipe(7)] */
POISE_API int poise_pipe(int fd[2]);

/* ---- options ----------------------------------------------------------------------------------------------------- */

/* Those that are there everywhere; setsockopt(2) has more. Natively an option can be set at any time. Under WASI the
 * hops and keep-alive are -EINPROGRESS while a TCP socket connects, and the reason after that has failed (wasi-libc
 * would end the program, tests/reproducers/option_while_connecting.c). jco only remembers TCP's hop limit and the
 * numbers of keep-alive, and no kernel is told; what it says of a fresh socket is made up: 1; 7200, 1, 10
 * (tests/reproducers/options_jco.c). It does turn keep-alive on and off, by times that are not these. UDP's hop limit
 * is real there, too. */

/* How many hops a packet may take: IPv4's TTL, IPv6's hop limit, 1..255. An accepted socket begins with its listener's,
 * as with the other options here. -EINVAL: not 1..255; -EAFNOSUPPORT: neither IPv4 nor IPv6. [ip(7) IP_TTL, ipv6(7)
 * IPV6_UNICAST_HOPS; wasi:sockets hop-limit, unicast-hop-limit] */
POISE_API int poise_hop_limit(int fd);
POISE_API int poise_set_hop_limit(int fd, int hops);

/* Whether small pieces are sent at once, not gathered while an answer is awaited: 0, 1; at first 0. -ENOPROTOOPT,
 * -EOPNOTSUPP: no TCP socket. Under WASI libc remembers it, and no host is asked. [tcp(7) TCP_NODELAY] */
POISE_API int poise_tcp_no_delay(int fd);
POISE_API int poise_tcp_set_no_delay(int fd, bool on);

/* Asks a silent peer after idle_s seconds whether it is there, then every interval_s seconds, and gives the connection
 * up after so many `probes` without an answer (poise_recv: -ETIMEDOUT or the like). idle_s 0: no longer, and the others
 * are not looked at. interval_s, probes 0: as it is (at first the system's: Linux 75 s, 9). -EINVAL: more than 32767
 * seconds or 127 probes; -ENOPROTOOPT, -EOPNOTSUPP: no TCP socket. [socket(7) SO_KEEPALIVE, tcp(7) TCP_KEEPIDLE,
 * TCP_KEEPINTVL, TCP_KEEPCNT; wasi:sockets/tcp keep-alive-...] */
POISE_API int poise_tcp_set_keep_alive(int fd, unsigned idle_s, unsigned interval_s, unsigned probes);

/* Whether it asks: 0, 1; and the three numbers (any may be NULL), which are there in both cases. */
POISE_API int poise_tcp_keep_alive(int fd, unsigned *idle_s, unsigned *interval_s, unsigned *probes);

/* The error that the socket keeps for the next call, and takes it: 0, none, also while a connect is under way
 * (poise_tcp_connect_result tells more); else a negative errno. Under WASI a failed connect's reason alone, and it
 * stays. [socket(7) SO_ERROR] */
POISE_API int poise_socket_error(int fd);

#ifdef __cplusplus
}
#endif
#endif
