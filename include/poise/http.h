/* SPDX-License-Identifier: MIT
 *
 * poise/http.h - outgoing HTTP requests whose progress is events. Library poise_http (pkg-config poise-http, CMake
 * poise::http).
 *
 * As with a look-up (poise/resolve.h), all that is inside (sockets, pollables, timers) is watched with the caller's
 * `data`. An event with it is a hint: call what you are waiting for. The call does what is due, and says -EAGAIN until
 * it has something.
 *
 *     start -> send ... finish -> status, headers -> recv ... 0 -> trailers -> stop
 *
 *     poise_http request = { 0 };
 *     int result = poise_http_start(queue, &request, "http://example.org/", NULL, &request);
 *     ...
 *     if (event.data == &request) {
 *         while ((n = poise_http_recv(&request, bytes, sizeof bytes)) > 0)
 *             use(bytes, n);
 *         // 0: that was all; -EAGAIN: more to come; else it has failed
 *     }
 *
 * Events. Where there is something to take (the head, bytes of the body, its end, an error), events come in level mode,
 * again and again until it is taken; for the body, once poise_http_status or poise_http_recv has given the head.
 * Room for the request's body is reported after poise_http_send or poise_http_finish has said -EAGAIN, and not before;
 * so begin to send when the request is started. A time limit that has passed is one event. There may be spurious ones,
 * and an event's `ready` says nothing. Call at least one of the request's functions for each: natively that is what
 * makes the request go on. poise_http_pause stops those of the response: what is not read is not fetched, and the
 * server has to wait. A response may come before the request's body is sent: who sends for long calls poise_http_status
 * for each event, too (under wasmtime there may be no more room until the head is taken). Natively
 * the end of a response without a length (in chunks) is told when the request's body is finished, too.
 *
 * What is said: HTTP/1.1, on a connection of its own for each request. Redirects are not followed, cookies not kept,
 * bodies not decoded (but for transfer codings: chunks, and natively gzip), proxies not used, $http_proxy included. No
 * header is added but Host and the body's Content-Length (0 with any method but GET, HEAD and TRACE) or
 * Transfer-Encoding. Headers that concern the connection (RFC 9110, 7.6.1: Connection, Keep-Alive, Transfer-Encoding,
 * ...) are not shown.
 *
 * An error ends the request: nothing of it stays in the queue, and every call returns the same error again, but that a
 * status and headers that are known stay known. Only -EAGAIN, -EINVAL (every call says so for a request that is not
 * started, and for NULL), and -EPIPE and -EMSGSIZE from poise_http_send and poise_http_finish harm nothing. The errors:
 *
 *     -ENOENT         there is no such host (natively, and under wasmtime: or the look-up failed)
 *     -ECONNREFUSED   it does not take connections (wasmtime: or none could be made)
 *     -EHOSTUNREACH, -ENETUNREACH    there is no way to it
 *     -ETIMEDOUT      a time limit, or the deadline, has passed; or the platform's own limit
 *     -ECONNRESET     the connection ended before the response did, or (natively) before it began
 *     -EPROTO         what came is no HTTP/1, or TLS failed (a certificate, say); under WASI also: the connection ended
 *                     before the response began
 *     -EMSGSIZE       the response's headers are too long: natively a line of 100 KiB, or 256 KiB in all (wasmtime:
 *                     more than 100 lines, -EPROTO; jco: 16 KiB, -EIO)
 *     -EACCES         the host refuses the request (WASI)
 *     -ENOTSUP        WASI 0.1, which has no HTTP; a queue that takes no pollables (the backend poll under WASI);
 *                     https with a libcurl that has no TLS
 *     -EIO            the host has no better word (wasi:http's internal-error; jco for what is -EPROTO elsewhere)
 *     -ENOMEM, -EMFILE, -ENFILE
 *
 * Platforms. Natively: libcurl's multi interface (7.61 or newer; tried: 7.88). It looks names up as its build says: in
 * Debian's in a thread, which lives on until its answer has come if the request is ended before; nothing waits for it
 * (libcurl 7.87 or newer). A request holds three descriptors and its connection, and some 85 KB (150 with a body).
 * Several threads: call curl_global_init once before, if libcurl is older than 7.84. SIGPIPE is not raised (but by
 * https on a libcurl older than 7.87: ignore it there). Certificates are those of the system.
 * WASI 0.2: wasi:http/outgoing-handler 0.2.0, whose handles are waited for in the same queue (wasmtime run -S http:
 * without, the component does not start). There the host looks names up, speaks TLS and adds what it likes; it may
 * speak HTTP/2. A program that links the library and makes no requests imports nothing of it.
 *
 * All calls belong to the thread that waits. Stop a request before its queue is closed.
 * Sources: RFC 9110, RFC 9112, RFC 3986; libcurl-multi(3); types.wit and handler.wit of wasi:http 0.2.0.
 */
#ifndef POISE_HTTP_H
#define POISE_HTTP_H

#include <poise/poise.h>

/* clang-format off */ /* columns made by hand */

#ifdef __cplusplus
extern "C" {
#endif

/* The caller's storage, all zero before first use, unmoved until it is stopped. What a request needs more comes from
 * the C library's malloc. */
typedef struct poise_http {
    void     *data;
    void     *state;
    uintptr_t reserved[6];
} poise_http;

typedef struct poise_http_header {
    const char *name, *value;
} poise_http_header;

#define POISE_HTTP_UNKNOWN UINT64_MAX /* body_size: not known before; sent in chunks */

typedef struct poise_http_options {
    size_t      size;                     /* must be sizeof(poise_http_options)                                       */
    const char *method;                   /* a token, sent as it is; NULL: GET                                        */
    const poise_http_header *headers;     /* n_headers of them; several of one name are sent as several               */
    size_t      n_headers;
    uint64_t    body_size;                /* what poise_http_send will be given in all; 0: no body                    */
    uint64_t    connect_timeout_ns;       /* until the connection stands, the look-up included; natively rounded up
                                             to milliseconds                                                          */
    uint64_t    first_byte_timeout_ns;    /* from the start until the response's head is there                        */
    uint64_t    between_bytes_timeout_ns; /* after that, while nothing comes and the program does not pause           */
    uint64_t    deadline_ns;              /* for all of it, on poise_now()'s clock; 0: none                           */
} poise_http_options;                     /* time limits of 0 are the platform's own: natively 300 s to connect, and no
                                             other; wasmtime and jco: 600 s for each                                  */

/* Starts a request; all that is given is copied. url: http://HOST[:PORT][/PATH][?QUERY] or https://..., HOST being a
 * name, an IPv4 address or an [IPv6 address] (jco takes no IPv6 address: -EINVAL); what is beyond a # is not sent. No
 * event comes for a start as such: one without a body needs nothing but the wait from now on.
 * -EINVAL: a URL that is none, is longer than 60,000 bytes, has a user, or bytes that have to be written %XX; no
 * method, or CONNECT; a header that is none, or is the library's own: Host, Content-Length, Expect, TE, Trailer, and
 * those of the connection; a body with HEAD or TRACE; a body of unknown size with GET, DELETE or OPTIONS (hosts send
 * none of it); a size of 2^63 or more; options of another size; NULL. -EBUSY: it runs already, or has ended and was not
 * stopped. -ENOTSUP, -EACCES, -ENOMEM, -EMFILE, -ENFILE, as above; a host may say any of the other errors already
 * here. */
POISE_API int poise_http_start(poise *queue, poise_http *request, const char *url, const poise_http_options *options,
                               void *data);

/* Sends a piece of the request's body. Returns how many bytes were taken, from the first on. -EAGAIN: no room now; an
 * event will say when.
 * -EPIPE: no more of it is taken, as the server has answered and closed, or so: the response may come all the same.
 * -EMSGSIZE: that would be more than body_size, and none was taken. -EINVAL: the body is finished; bytes is NULL, and
 * size is not 0. */
POISE_API ptrdiff_t poise_http_send(poise_http *request, const void *bytes, size_t size);

/* The request's body is complete: has to be called for each body that is not empty, known size or not. 0: so it is
 * (again: 0 as well). -EAGAIN: not all is on its way; call it again after an event. -EPIPE: as above. -EMSGSIZE: less
 * was sent than body_size said; go on sending. */
POISE_API int poise_http_finish(poise_http *request);

/* The response's status (200), once it is there; from then on always. -EAGAIN: not yet. Responses of 1xx are passed
 * over. */
POISE_API int poise_http_status(poise_http *request);

/* A header of the response, once poise_http_status (or poise_http_recv) has given its status: true, *header is the one
 * of that index, from 0 on; false: there is none, or no status yet. Names are in lower case, values without blanks
 * around them. The text is the request's, until it is stopped. A host may have joined headers of one name into one,
 * with ", " (RFC 9110, 5.3; jco does). */
POISE_API bool poise_http_response_header(const poise_http *request, size_t index, poise_http_header *header);

/* Receives up to `size` bytes of the response's body. 0: that was all, and the trailers are there. -EAGAIN: none yet
 * (or no head). What has come before the connection died is given first, and then -ECONNRESET (jco may throw it away).
 * -EINVAL: bytes is NULL, or size 0. After 0, nothing of the response is left in the queue. */
POISE_API ptrdiff_t poise_http_recv(poise_http *request, void *bytes, size_t size);

/* A trailer, as poise_http_response_header, once poise_http_recv has returned 0. jco gives none. */
POISE_API bool poise_http_response_trailer(const poise_http *request, size_t index, poise_http_header *header);

/* true: no events for the response from now on, and it is not read on (some that are under way may still come, and
 * natively those of the connection; poise_http_recv goes on working). false: as before. The request's body, its room
 * and the deadline go on. For a program that can't use more now. */
POISE_API void poise_http_pause(poise_http *request, bool paused);

/* Ends it at any time, and frees what it has; no event with its data comes afterwards (G5). Never blocks. To be called
 * for each request that was started, also after its end; the storage can then be used again. One that was not started,
 * NULL: nothing. */
POISE_API void poise_http_stop(poise_http *request);

#ifdef __cplusplus
}
#endif
#endif
