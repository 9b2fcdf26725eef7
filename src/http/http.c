/* SPDX-License-Identifier: MIT
 *
 * Outgoing HTTP requests: what every platform shares. include/poise/http.h says what each call promises. */
#include "http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int poise__http_fail(struct http *http, int error)
{
    poise__http_platform_close(http);
    (void)poise_timer_stop(http->queue, &http->timer);
    http->error = error;
    return error;
}

static void free_state(struct http *http)
{
    poise__http_fields_free(&http->headers);
    poise__http_fields_free(&http->trailers);
    free(http);
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

static uint64_t later(uint64_t from, uint64_t by) { return from + by < from ? UINT64_MAX : from + by; }

/* When what is awaited of the response has to be there. */
static uint64_t limit(const struct http *http)
{
    bool has_head = http->status != 0;
    uint64_t most = has_head ? http->between_bytes_ns : http->first_byte_ns;
    return most == 0 || http->ended || (has_head && http->paused) ? UINT64_MAX : later(http->since, most);
}

/* Every call ends so: the timer stands where something is due. Returns `result`, or an error. */
static ptrdiff_t settle(struct http *http, ptrdiff_t result)
{
    if (http->error < 0)
        return result;
    uint64_t at = http->platform_ns;
    at = limit(http) < at ? limit(http) : at;
    if (!(http->ended && http->finished)) /* else there is nothing left that could take time */
        at = http->deadline_ns < at ? http->deadline_ns : at;
    int error = 0;
    if (at != UINT64_MAX)
        error = poise_timer_start(http->queue, &http->timer, at, http->data);
    else
        (void)poise_timer_stop(http->queue, &http->timer);
    return error < 0 ? poise__http_fail(http, error) : result;
}

/* Nothing yet: -EAGAIN, unless it is too late. A host may have to be waited for before it shows what has come; who was
 * late himself is therefore given one more look. */
static ptrdiff_t wait_on(struct http *http)
{
    uint64_t at = limit(http);
    bool late = at != UINT64_MAX && poise_now() >= at;
    if (late && http->late)
        return poise__http_fail(http, -ETIMEDOUT);
    http->late = late;
    return -EAGAIN;
}

/* Of the head, or of bytes of the body: something has come (result >= 0), nothing yet, or it has failed. */
static ptrdiff_t in_time(struct http *http, ptrdiff_t result)
{
    if (result >= 0)
        http->since = http->between_bytes_ns != 0 ? poise_now() : 0;
    if (result != -EAGAIN) {
        http->late = false;
        return result;
    }
    return wait_on(http);
}

/* ---- the calls --------------------------------------------------------------------------------------------------- */

int poise_http_start(poise *queue, poise_http *request, const char *url, const poise_http_options *options, void *data)
{
    static const poise_http_options defaults = { .size = sizeof defaults };
    if (options == NULL)
        options = &defaults;
    if (queue == NULL || request == NULL || url == NULL || options->size != sizeof *options)
        return -EINVAL;
    if (request->state != NULL)
        return -EBUSY;
    struct target target = { 0 };
    int result = poise__http_check_options(options);
    if (result == 0)
        result = poise__http_parse_url(url, &target);
    if (result < 0)
        return result;
    struct http *http = calloc(1, sizeof *http);
    if (http == NULL) {
        free(target.authority);
        return -ENOMEM;
    }
    http->queue = queue;
    http->data = data;
    http->deadline_ns = options->deadline_ns == 0 ? UINT64_MAX : options->deadline_ns;
    http->first_byte_ns = options->first_byte_timeout_ns;
    http->between_bytes_ns = options->between_bytes_timeout_ns;
    http->since = http->first_byte_ns != 0 ? poise_now() : 0;
    http->platform_ns = UINT64_MAX;
    http->body_size = options->body_size;
    http->finished = options->body_size == 0;
    result = poise__http_platform_open(http, &target, options);
    free(target.authority);
    if (result == 0)
        result = (int)settle(http, 0);
    if (result < 0) {
        free_state(http);
        return result;
    }
    request->state = http;
    request->data = data;
    return 0;
}

/* What every call looks at first. */
static int look(struct http *http)
{
    if (http == NULL)
        return -EINVAL;
    if (http->error == 0 && http->deadline_ns != UINT64_MAX && !(http->ended && http->finished) &&
        poise_now() >= http->deadline_ns)
        (void)poise__http_fail(http, -ETIMEDOUT);
    return http->error;
}

static struct http *state_of(const poise_http *request) { return request == NULL ? NULL : request->state; }

ptrdiff_t poise_http_send(poise_http *request, const void *bytes, size_t size)
{
    struct http *http = state_of(request);
    int error = look(http);
    if (error < 0)
        return error;
    if (bytes == NULL && size > 0)
        return -EINVAL;
    if (size > http->body_size - http->sent)
        return -EMSGSIZE;
    if (size == 0)
        return 0;
    if (http->finished)
        return -EINVAL;
    ptrdiff_t n = poise__http_platform_send(http, bytes, size);
    if (n > 0)
        http->sent += (uint64_t)n;
    return settle(http, n == -EAGAIN ? wait_on(http) : n);
}

int poise_http_finish(poise_http *request)
{
    struct http *http = state_of(request);
    int error = look(http);
    if (error < 0)
        return error;
    if (http->body_size != POISE_HTTP_UNKNOWN && http->sent < http->body_size)
        return -EMSGSIZE;
    if (http->finished)
        return 0;
    int result = poise__http_platform_finish(http);
    http->finished = result == 0;
    return (int)settle(http, result == -EAGAIN ? wait_on(http) : result);
}

int poise_http_status(poise_http *request)
{
    struct http *http = state_of(request);
    if (http != NULL && http->status != 0)
        return http->status; /* whatever has become of the request since */
    int error = look(http);
    if (error < 0)
        return error;
    ptrdiff_t result = in_time(http, poise__http_platform_head(http));
    return (int)settle(http, result < 0 ? result : http->status);
}

bool poise_http_response_header(const poise_http *request, size_t index, poise_http_header *header)
{
    const struct http *http = state_of(request);
    return http != NULL && http->status != 0 && poise__http_fields_get(&http->headers, index, header);
}

ptrdiff_t poise_http_recv(poise_http *request, void *bytes, size_t size)
{
    struct http *http = state_of(request);
    if (bytes == NULL || size == 0)
        return -EINVAL;
    if (http != NULL && http->ended && http->error == 0)
        return 0; /* also if the deadline passes later, with the request's body not sent yet */
    int error = look(http);
    if (error < 0)
        return error;
    ptrdiff_t n = http->status == 0 ? in_time(http, poise__http_platform_head(http)) : 0;
    if (n == 0) {
        n = in_time(http, poise__http_platform_recv(http, bytes, size));
        http->ended = n == 0;
    }
    return settle(http, n);
}

bool poise_http_response_trailer(const poise_http *request, size_t index, poise_http_header *header)
{
    const struct http *http = state_of(request);
    return http != NULL && http->ended && poise__http_fields_get(&http->trailers, index, header);
}

void poise_http_pause(poise_http *request, bool paused)
{
    struct http *http = state_of(request);
    if (http == NULL || http->error < 0 || http->paused == paused)
        return;
    http->paused = paused;
    if (!paused && http->status != 0)
        http->since = poise_now();
    if (!http->ended)
        poise__http_platform_pause(http);
    (void)settle(http, 0);
}

void poise_http_stop(poise_http *request)
{
    struct http *http = state_of(request);
    if (http == NULL)
        return;
    (void)poise__http_fail(http, -ECANCELED);
    free_state(http);
    request->state = NULL;
    request->data = NULL;
}
