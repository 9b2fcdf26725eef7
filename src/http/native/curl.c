/* SPDX-License-Identifier: MIT
 *
 * A request on libcurl's multi interface (libcurl-multi(3), curl_multi_socket_action(3)): a multi handle for each
 * request, so that one can't hold up or end another. Curl's sockets, its timer and our time limits are watched with the
 * caller's data. An event does not say which of them it was: each call gives curl all its sockets with no bits, which
 * makes it look for itself ("pass 0 [...] libcurl will test the descriptor internally"), and the time if that has come.
 *
 * What is there to be taken need not show on a socket: bytes that curl has read already, the end. Events are
 * level-triggered nevertheless, by a descriptor that is always readable (a pipe whose other end is closed), which is
 * watched while there is something to take.
 *
 * No more than CURL_MAX_WRITE_SIZE bytes of the response are kept here, and as many in curl: then it is paused, and
 * stops to read (CURL_WRITEFUNC_PAUSE). Bytes of the request go from the caller's buffer to curl's (64 KiB) and are not
 * kept here at all.
 *
 * Traps:
 *  1. curl_easy_pause(3) does not tell the time or a socket: what it lets go on goes on in the next
 *     curl_multi_socket_action, with the timer that it has set to 0.
 *  2. Headers come of each response, 1xx included, and trailers by the same callback behind the body.
 *  3. A name look-up is a thread in curl (unless it is built on c-ares). Ending the request would wait for that thread,
 *     which CURLOPT_QUICK_EXIT (7.87) prevents.
 *  4. With an empty value, "Name:" removes a header that curl would send; "Name;" is the one that is empty.
 *  5. A write callback takes all or nothing, and curl gives what it was paused with once more. Of headers that is all
 *     that came meanwhile, in one call.
 *  6. Curl's times are cut to whole milliseconds, and CURLMOPT_TIMERFUNCTION is not told again of a time that was the
 *     last one it told, although the call for it came a moment too early: curl_multi_timeout(3) is asked each time. */
#include "http.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_HEADERS = 1 << 18 }; /* bytes of names and values */

struct platform {
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers;
    curl_socket_t *sockets; /* that curl has us watch */
    size_t n_sockets, sockets_room;
    int always;        /* a descriptor that is always readable */
    bool always_shown; /* and watched for that */
    bool done;         /* the transfer, with this result: */
    CURLcode code;
    int error; /* of a callback */

    const char *out; /* what poise_http_send was given, and curl has not taken yet */
    size_t out_size;
    bool all_given;   /* poise_http_finish was called */
    bool send_paused; /* curl has asked for more, and there was none */
    bool wants_room, room;

    struct fields headers_so_far;
    int status_so_far;
    bool head_read, head_taken, end_taken;
    char *in; /* what poise_http_recv was given, and is not filled yet */
    size_t in_size;
    bool recv_paused; /* curl may hold bytes that have no place here */
    size_t kept, kept_from;
    char bytes[CURL_MAX_WRITE_SIZE];
};

/* ---- what curl calls --------------------------------------------------------------------------------------------- */

static void forget_socket(struct http *http, curl_socket_t fd)
{
    struct platform *platform = http->platform;
    for (size_t i = 0; i < platform->n_sockets; i++) {
        if (platform->sockets[i] == fd) {
            platform->sockets[i] = platform->sockets[--platform->n_sockets];
            (void)poise_unwatch(http->queue, poise_fd(fd));
            return;
        }
    }
}

static int know_socket(struct platform *platform, curl_socket_t fd)
{
    for (size_t i = 0; i < platform->n_sockets; i++) {
        if (platform->sockets[i] == fd)
            return 0;
    }
    if (platform->n_sockets == platform->sockets_room) {
        size_t room = platform->sockets_room + 4;
        curl_socket_t *moved = realloc(platform->sockets, room * sizeof *moved);
        if (moved == NULL)
            return -ENOMEM;
        platform->sockets = moved;
        platform->sockets_room = room;
    }
    platform->sockets[platform->n_sockets++] = fd;
    return 0;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *of_socket)
{
    struct http *http = context;
    uint32_t interest =
        (what & CURL_POLL_IN ? (uint32_t)POISE_READABLE : 0) | (what & CURL_POLL_OUT ? (uint32_t)POISE_WRITABLE : 0);
    (void)easy, (void)of_socket;
    if (what == CURL_POLL_REMOVE) {
        forget_socket(http, fd);
        return 0;
    }
    int error = know_socket(http->platform, fd);
    if (error == 0)
        error = poise_watch(http->queue, poise_fd(fd), interest, http->data);
    if (error < 0)
        http->platform->error = error;
    return 0;
}

/* Curl does not say why a socket could not be made. */
static curl_socket_t on_open(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct http *http = context;
    (void)purpose;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
        http->platform->error = -errno;
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static size_t on_read(char *bytes, size_t size, size_t n, void *context)
{
    struct platform *platform = context;
    size_t most = size * n;
    if (platform->out_size == 0) {
        if (platform->all_given)
            return 0;
        platform->send_paused = true;
        platform->room = true;
        return CURL_READFUNC_PAUSE;
    }
    if (most > platform->out_size)
        most = platform->out_size;
    memcpy(bytes, platform->out, most);
    platform->out += most;
    platform->out_size -= most;
    return most;
}

static void take(struct platform *platform, const char *bytes, size_t n)
{
    memcpy(platform->in, bytes, n);
    platform->in += n;
    platform->in_size -= n;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *context)
{
    struct http *http = context;
    struct platform *platform = http->platform;
    size *= n;
    if (platform->kept > 0 || (http->paused && platform->in_size == 0)) {
        platform->recv_paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    size_t now = size < platform->in_size ? size : platform->in_size;
    if (now > 0)
        take(platform, bytes, now);
    if (size > now) {
        memcpy(platform->bytes, bytes + now, size - now);
        platform->kept = size - now;
        platform->kept_from = 0;
    }
    return size;
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static int keep_line(struct fields *fields, const char *line, size_t size)
{
    const char *colon = memchr(line, ':', size);
    size_t name = is_blank(line[0]) ? 0 : colon == NULL ? size : (size_t)(colon - line); /* a blank: obs-fold */
    size_t from = name > 0 ? name + 1 : 0;
    size_t to = size;
    while (from < to && is_blank(line[from]))
        from++;
    while (to > from && is_blank(line[to - 1]))
        to--;
    if (name == size)
        return 0; /* no header */
    if (fields->size + size > MOST_HEADERS)
        return -EMSGSIZE;
    return poise__http_fields_add(fields, line, name, line + from, to - from);
}

static int on_line(struct http *http, const char *line, size_t size)
{
    struct platform *platform = http->platform;
    bool is_end = line[0] == '\r' || line[0] == '\n';
    if (platform->head_read)
        return is_end ? 0 : keep_line(&http->trailers, line, size);
    if (size > 5 && memcmp(line, "HTTP/", 5) == 0) { /* the first line: curl has looked at it */
        long status = 0;
        (void)curl_easy_getinfo(platform->easy, CURLINFO_RESPONSE_CODE, &status);
        platform->status_so_far = (int)status;
        poise__http_fields_free(&platform->headers_so_far);
        return 0;
    }
    if (!is_end)
        return keep_line(&platform->headers_so_far, line, size);
    if (platform->status_so_far < 100 || platform->status_so_far == 101) /* what follows 101 is another protocol */
        return -EPROTO;
    platform->head_read = platform->status_so_far >= 200; /* else 1xx: another one follows */
    return 0;
}

/* One line, or (of trailers, if curl was paused) several. */
static size_t on_header(char *lines, size_t size, size_t n, void *context)
{
    struct http *http = context;
    struct platform *platform = http->platform;
    size *= n;
    for (size_t from = 0, next; from < size && platform->error == 0; from = next) {
        const char *end = memchr(lines + from, '\n', size - from);
        next = end == NULL ? size : (size_t)(end - lines) + 1;
        platform->error = on_line(http, lines + from, next - from);
    }
    return platform->error < 0 ? 0 : size;
}

/* ---- making curl work -------------------------------------------------------------------------------------------- */

static bool connected(const struct platform *platform)
{
    curl_off_t after = 0;
    return curl_easy_getinfo(platform->easy, CURLINFO_CONNECT_TIME_T, &after) == CURLE_OK && after > 0;
}

static int error_of(const struct platform *platform)
{
    long number = 0;
    switch (platform->code) {
    case CURLE_OK: return 0;
    case CURLE_URL_MALFORMAT: return -EINVAL;
    case CURLE_UNSUPPORTED_PROTOCOL: /* no TLS in curl; or what came is no HTTP/1 */
        return connected(platform) ? -EPROTO : -ENOTSUP;
    case CURLE_NOT_BUILT_IN: return -ENOTSUP;
    case CURLE_OUT_OF_MEMORY: /* before 8.6 a header line of more than 100 KiB is that, too */
        return platform->status_so_far != 0 && !platform->head_read ? -EMSGSIZE : -ENOMEM;
#if LIBCURL_VERSION_NUM >= 0x080600
    case CURLE_TOO_LARGE: return -EMSGSIZE;
#endif
    case CURLE_COULDNT_RESOLVE_HOST: return -ENOENT;
    case CURLE_COULDNT_CONNECT:
        (void)curl_easy_getinfo(platform->easy, CURLINFO_OS_ERRNO, &number);
        return number > 0 ? -(int)number : -ECONNREFUSED;
    case CURLE_OPERATION_TIMEDOUT: return -ETIMEDOUT;
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE: return -ECONNRESET;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_ISSUER_ERROR: return -EPROTO;
    default: return -EIO;
    }
}

static void look_whether_done(struct platform *platform)
{
    int left;
    const CURLMsg *message;
    while ((message = curl_multi_info_read(platform->multi, &left)) != NULL) {
        if (message->msg == CURLMSG_DONE) {
            platform->done = true;
            platform->code = message->data.result;
        }
    }
}

/* When curl wants to be called: UINT64_MAX, not for the time (trap 6). */
static uint64_t curl_at(const struct platform *platform)
{
    long milliseconds = -1;
    if (platform->done || curl_multi_timeout(platform->multi, &milliseconds) != CURLM_OK || milliseconds < 0)
        return UINT64_MAX;
    return milliseconds == 0 ? 0 : poise_now() + ((uint64_t)milliseconds + 1) * 1000000;
}

static void drive_once(struct platform *platform)
{
    int running;
    for (size_t i = 0; i < platform->n_sockets; i++) /* the list may change under way: one call less, or more */
        (void)curl_multi_socket_action(platform->multi, platform->sockets[i], 0, &running);
    if (curl_at(platform) == 0)
        (void)curl_multi_socket_action(platform->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    look_whether_done(platform);
}

static void drive(struct http *http)
{
    struct platform *platform = http->platform;
    for (int i = 0; i < 8 && !platform->done; i++) { /* some: curl goes from state to state by its timer */
        drive_once(platform);
        if (curl_at(platform) > 0)
            break;
    }
}

/* Lets curl go on that was paused by a callback; bodies are then given and taken at once or in the next drive. */
static void resume(struct platform *platform, bool recv, bool send)
{
    if (platform->done || !((recv && platform->recv_paused) || (send && platform->send_paused)))
        return;
    if (recv && platform->recv_paused)
        platform->recv_paused = false;
    if (send && platform->send_paused)
        platform->send_paused = false;
    (void)curl_easy_pause(platform->easy,
                          (platform->recv_paused ? CURLPAUSE_RECV : 0) | (platform->send_paused ? CURLPAUSE_SEND : 0));
}

/* Is there something that the program should come for? */
static bool is_waiting(const struct http *http)
{
    const struct platform *platform = http->platform;
    if (platform->error < 0 || (platform->wants_room && (platform->room || platform->done)))
        return true;
    if (http->paused || platform->end_taken)
        return false;
    return platform->done || platform->kept > 0 || platform->recv_paused ||
           (platform->head_read && !platform->head_taken);
}

/* After each call: what is to be reported, and when curl wants to be called. Returns `result`, or an error. */
static ptrdiff_t settle(struct http *http, ptrdiff_t result)
{
    struct platform *platform = http->platform;
    if (http->paused && !platform->done) { /* no change to it: nothing happens */
        platform->recv_paused = true;
        (void)curl_easy_pause(platform->easy, CURLPAUSE_RECV | (platform->send_paused ? CURLPAUSE_SEND : 0));
    }
    bool shown = is_waiting(http);
    int error = 0;
    if (shown != platform->always_shown)
        error = poise_watch(http->queue, poise_fd(platform->always), shown ? (uint32_t)POISE_READABLE : 0, http->data);
    platform->always_shown = shown;
    http->platform_ns = curl_at(platform);
    return error < 0 ? poise__http_fail(http, error) : result;
}

/* If the transfer is over: 1; if it has failed, the request has now, too: the error. Else 0. */
static int over(struct http *http)
{
    struct platform *platform = http->platform;
    int error = platform->error;
    if (error == 0 && platform->done)
        error = error_of(platform);
    return error < 0 ? poise__http_fail(http, error) : platform->done;
}

/* ---- the request ------------------------------------------------------------------------------------------------- */

void poise__http_platform_close(struct http *http)
{
    struct platform *platform = http->platform;
    if (platform == NULL)
        return;
    if (platform->multi != NULL && platform->easy != NULL)
        (void)curl_multi_remove_handle(platform->multi, platform->easy);
    curl_easy_cleanup(platform->easy);
    (void)curl_multi_cleanup(platform->multi);
    while (platform->n_sockets > 0)
        forget_socket(http, platform->sockets[0]);
    curl_slist_free_all(platform->headers);
    if (platform->always >= 0) {
        (void)poise_unwatch(http->queue, poise_fd(platform->always));
        (void)close(platform->always);
    }
    poise__http_fields_free(&platform->headers_so_far);
    free(platform->sockets);
    free(platform);
    http->platform = NULL;
}

static int add_header(struct platform *platform, const char *name, const char *value)
{
    size_t size = strlen(name) + strlen(value) + 3;
    char *line = malloc(size);
    if (line == NULL)
        return -ENOMEM;
    if (value[0] == '\0')
        snprintf(line, size, "%s;", name); /* trap 4 */
    else
        snprintf(line, size, "%s: %s", name, value);
    struct curl_slist *longer = curl_slist_append(platform->headers, line);
    free(line);
    if (longer == NULL)
        return -ENOMEM;
    platform->headers = longer;
    return 0;
}

/* The caller's, and none of those that curl adds by itself but Host and the body's. */
static int add_headers(struct platform *platform, const poise_http_options *options)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    bool accepts = false;
    int error = list == NULL ? -ENOMEM : 0;
    platform->headers = list;
    for (size_t i = 0; i < options->n_headers && error == 0; i++) {
        accepts = accepts || poise__http_same(options->headers[i].name, "accept");
        error = add_header(platform, options->headers[i].name, options->headers[i].value);
    }
    if (error == 0 && !accepts && curl_slist_append(list, "Accept:") == NULL)
        error = -ENOMEM;
    if (error == 0 && options->body_size == 0 && poise__http_says_length(options))
        error = add_header(platform, "Content-Length", "0");
    return error;
}

static long milliseconds(uint64_t ns)
{
    uint64_t ms = ns / 1000000 + (ns % 1000000 != 0);
    return ms > 0x7fffffff ? 0x7fffffffL : (long)ms;
}

static bool set_options(struct http *http, const char *url, const poise_http_options *options)
{
    struct platform *platform = http->platform;
    CURL *easy = platform->easy;
    const char *method = options->method == NULL ? "GET" : options->method;
    bool is_set = true;
#define SET(option, value) (is_set = is_set && curl_easy_setopt(easy, option, value) == CURLE_OK)
    SET(CURLOPT_URL, url);
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(CURLOPT_HTTPHEADER, platform->headers);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_PROXY, ""); /* and not what the environment says */
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_FORBID_REUSE, 1L);
    SET(CURLOPT_KEEP_SENDING_ON_ERROR, 1L); /* a response does not end the request's body, as under WASI */
#if LIBCURL_VERSION_NUM >= 0x074000
    SET(CURLOPT_HTTP09_ALLOWED, 0L);
#endif
    SET(CURLOPT_OPENSOCKETFUNCTION, on_open);
    SET(CURLOPT_OPENSOCKETDATA, http);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, http);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, http);
    SET(CURLOPT_READFUNCTION, on_read);
    SET(CURLOPT_READDATA, platform);
#if LIBCURL_VERSION_NUM >= 0x075700
    SET(CURLOPT_QUICK_EXIT, 1L); /* trap 3 */
#endif
    if (options->body_size != 0) {
        SET(CURLOPT_UPLOAD, 1L);
        SET(CURLOPT_INFILESIZE_LARGE,
            options->body_size == POISE_HTTP_UNKNOWN ? (curl_off_t)-1 : (curl_off_t)options->body_size);
    }
    if (strcmp(method, "HEAD") == 0)
        SET(CURLOPT_NOBODY, 1L);
    else
        SET(CURLOPT_CUSTOMREQUEST, method);
    if (options->connect_timeout_ns != 0)
        SET(CURLOPT_CONNECTTIMEOUT_MS, milliseconds(options->connect_timeout_ns));
#undef SET
    return is_set;
}

static int set_up(struct http *http, const struct target *target, const poise_http_options *options)
{
    struct platform *platform = http->platform;
    int error = add_headers(platform, options);
    if (error < 0)
        return error;
    size_t size = strlen("https://") + strlen(target->authority) + strlen(target->path) + 1;
    char *url = malloc(size);
    if (url == NULL)
        return -ENOMEM;
    snprintf(url, size, "%s://%s%s", target->https ? "https" : "http", target->authority, target->path);
    bool is_set = set_options(http, url, options);
    free(url);
    is_set = is_set && curl_multi_setopt(platform->multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
             curl_multi_setopt(platform->multi, CURLMOPT_SOCKETDATA, http) == CURLM_OK;
    return is_set ? 0 : -ENOMEM;
}

/* A descriptor that is always readable, at its end. */
static int open_always(void)
{
    int fd[2];
    if (pipe(fd) < 0)
        return -errno;
    (void)close(fd[1]);
    if (fcntl(fd[0], F_SETFD, FD_CLOEXEC) < 0) {
        int error = errno;
        (void)close(fd[0]);
        return -error;
    }
    return fd[0];
}

int poise__http_platform_open(struct http *http, const struct target *target, const poise_http_options *options)
{
    struct platform *platform = calloc(1, sizeof *platform);
    if (platform == NULL)
        return -ENOMEM;
    http->platform = platform;
    platform->always = open_always();
    platform->easy = curl_easy_init();
    platform->multi = curl_multi_init();
    int error = platform->always < 0 ? platform->always : 0;
    if (error == 0 && (platform->easy == NULL || platform->multi == NULL))
        error = -ENOMEM;
    if (error == 0)
        error = set_up(http, target, options);
    if (error == 0)
        error = poise_watch(http->queue, poise_fd(platform->always), 0, http->data);
    if (error == 0 && curl_multi_add_handle(platform->multi, platform->easy) != CURLM_OK)
        error = -ENOMEM;
    if (error == 0) {
        drive(http);
        error = (int)settle(http, 0);
    }
    if (error < 0)
        poise__http_platform_close(http);
    return error;
}

ptrdiff_t poise__http_platform_send(struct http *http, const void *bytes, size_t size)
{
    struct platform *platform = http->platform;
    size_t before;
    platform->out = bytes;
    platform->out_size = size;
    do {
        before = platform->out_size;
        resume(platform, false, true);
        drive(http);
    } while (platform->out_size < before && platform->out_size > 0 && !platform->done);
    ptrdiff_t taken = (ptrdiff_t)(size - platform->out_size);
    platform->out = NULL;
    platform->out_size = 0;
    platform->wants_room = false;
    if (taken > 0)
        return settle(http, taken);
    if (platform->done && platform->head_read && !platform->end_taken) /* the response is still there to be taken */
        return settle(http, -EPIPE);
    int is_over = over(http);
    if (is_over < 0)
        return is_over;
    platform->wants_room = is_over == 0;
    platform->room = false;
    return settle(http, is_over ? -EPIPE : -EAGAIN);
}

int poise__http_platform_finish(struct http *http)
{
    struct platform *platform = http->platform;
    platform->all_given = true;
    platform->wants_room = false;
    resume(platform, false, true);
    drive(http);
    return (int)settle(http, 0);
}

/* ---- the response ------------------------------------------------------------------------------------------------ */

int poise__http_platform_head(struct http *http)
{
    struct platform *platform = http->platform;
    if (!platform->head_read)
        drive(http);
    if (!platform->head_read) {
        int is_over = over(http);
        if (is_over > 0) /* without a head */
            return poise__http_fail(http, -EPROTO);
        return is_over < 0 ? is_over : (int)settle(http, -EAGAIN);
    }
    platform->head_taken = true;
    http->status = platform->status_so_far;
    http->headers = platform->headers_so_far;
    platform->headers_so_far = (struct fields){ 0 };
    return (int)settle(http, 0);
}

/* To curl a transfer is over when the request's body is sent, too. A response that came before that, with a length, has
 * come when that much has. */
static bool has_all(const struct platform *platform)
{
    curl_off_t all = -1, got = 0;
    (void)curl_easy_getinfo(platform->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &all);
    (void)curl_easy_getinfo(platform->easy, CURLINFO_SIZE_DOWNLOAD_T, &got);
    return platform->head_read && all >= 0 && got >= all && !platform->recv_paused;
}

ptrdiff_t poise__http_platform_recv(struct http *http, void *bytes, size_t size)
{
    struct platform *platform = http->platform;
    platform->in = bytes;
    platform->in_size = size;
    if (platform->kept > 0) {
        size_t n = platform->kept < size ? platform->kept : size;
        take(platform, platform->bytes + platform->kept_from, n);
        platform->kept -= n;
        platform->kept_from += n;
    }
    if (platform->in_size == size) {
        resume(platform, true, false);
        drive(http);
    }
    ptrdiff_t n = (ptrdiff_t)(size - platform->in_size);
    platform->in = NULL;
    platform->in_size = 0;
    if (n > 0)
        return settle(http, n);
    int is_over = over(http);
    if (is_over < 0)
        return is_over;
    platform->end_taken = is_over > 0 || has_all(platform);
    return settle(http, platform->end_taken ? 0 : -EAGAIN);
}

void poise__http_platform_pause(struct http *http)
{
    if (!http->paused)
        resume(http->platform, http->platform->kept == 0, false);
    (void)settle(http, 0);
}
