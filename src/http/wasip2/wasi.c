/* SPDX-License-Identifier: MIT
 *
 * A request on wasi:http/outgoing-handler. Its handles, and the pollables that are watched with the caller's data:
 *
 *   outgoing-body -> output-stream -> pollable         the request's body; watched while poise_http_send wants room
 *   future-incoming-response -> pollable               until the head is taken, then
 *   incoming-body -> input-stream -> pollable          until its end, then
 *   future-trailers -> pollable                        until the trailers are there
 *
 * All of these stay ready until what they stand for is taken, so that events are level-triggered by themselves.
 *
 * Traps:
 *  1. A handle that is dropped while a child of it lives traps: pollables go first, then streams, bodies, the rest.
 *     A pollable that is dropped while it is watched traps the next wait: poise_unwatch comes first.
 *  2. jco's outgoing-request has its body whether that is asked for or not, and one that is never finished is no whole
 *     request. So it is always asked for, and finished at once if there is none. wasmtime (hyper) then sends
 *     "transfer-encoding: chunked", but not with GET and HEAD, nor where there is a content-length: so other methods
 *     get one of 0.
 *  3. Once the host has all bytes that content-length speaks of, the stream may be closed, although nothing failed:
 *     closed is an error to those alone that still have something to send.
 *  4. Lists are allocated by cabi_realloc, which is malloc; for a list of no elements the address is none.
 *  5. A stream's first read gives nothing, even if there is something: it has to be waited for.
 *  6. What became of a body that fails is not asked for: http-error-code traps in jco ("invalid variant tag value"),
 *     and wasmtime 48 has no answer.
 *  7. Under wasmtime there may be no more room for the request's body from the moment that the head is there until it
 *     is taken. */
#include "http.h"

#include <errno.h>
#include <poise/wasi.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

enum { MOST_READ = 65536 };

struct platform { /* 0: no such handle */
    int32_t outgoing_body, output, output_pollable;
    int32_t input_pollable; /* of one of the next three */
    int32_t future_response, input, future_trailers;
    int32_t response, incoming_body;
    bool wants_room; /* output_pollable is watched for it */
    bool flushing;
};

/* ---- handles ----------------------------------------------------------------------------------------------------- */

static void drop(int32_t *handle, void (*drop_it)(int32_t handle))
{
    if (*handle != 0)
        drop_it(*handle);
    *handle = 0;
}

static void drop_pollable(struct http *http, int32_t *pollable)
{
    if (*pollable != 0)
        (void)poise_unwatch(http->queue, poise_pollable(*pollable));
    drop(pollable, poise__http_drop_pollable);
}

void poise__http_platform_close(struct http *http)
{
    struct platform *platform = http->platform;
    if (platform == NULL)
        return;
    drop_pollable(http, &platform->input_pollable);
    drop_pollable(http, &platform->output_pollable);
    drop(&platform->future_trailers, poise__http_drop_future_trailers);
    drop(&platform->input, poise__http_drop_input);
    drop(&platform->incoming_body, poise__http_drop_incoming_body);
    drop(&platform->response, poise__http_drop_response);
    drop(&platform->future_response, poise__http_drop_future_response);
    drop(&platform->output, poise__http_drop_output);
    drop(&platform->outgoing_body, poise__http_drop_outgoing_body);
    free(platform);
    http->platform = NULL;
}

/* What input_pollable was for is over: it stands for something else now. */
static int watch_input(struct http *http, int32_t pollable)
{
    http->platform->input_pollable = pollable;
    return poise_watch(http->queue, poise_pollable(pollable), http->paused ? 0 : (uint32_t)POISE_READABLE, http->data);
}

static int watch_room(struct http *http, bool wanted)
{
    struct platform *platform = http->platform;
    if (platform->wants_room == wanted)
        return 0;
    platform->wants_room = wanted;
    return poise_watch(http->queue, poise_pollable(platform->output_pollable), wanted ? (uint32_t)POISE_WRITABLE : 0,
                       http->data);
}

void poise__http_platform_pause(struct http *http)
{
    if (http->platform->input_pollable != 0)
        (void)watch_input(http, http->platform->input_pollable); /* known already: changes, and can't fail */
}

/* ---- the request ------------------------------------------------------------------------------------------------- */

static struct host_bytes bytes_of(const char *text)
{
    return (struct host_bytes){ (uint8_t *)(uintptr_t)text, (uint32_t)strlen(text) };
}

static int make_fields(const poise_http_options *options, int32_t *fields)
{
    struct host_field *list = calloc(options->n_headers + 1, sizeof *list);
    if (list == NULL)
        return -ENOMEM;
    size_t n = 0;
    for (; n < options->n_headers; n++)
        list[n] = (struct host_field){ bytes_of(options->headers[n].name), bytes_of(options->headers[n].value) };
    char digits[21];
    if (poise__http_says_length(options)) {
        size_t at = sizeof digits - 1;
        uint64_t rest = options->body_size;
        digits[at] = '\0';
        do
            digits[--at] = (char)('0' + rest % 10);
        while ((rest /= 10) > 0);
        list[n++] = (struct host_field){ bytes_of("content-length"), bytes_of(digits + at) };
    }
    struct host_result result;
    poise__http_fields_from_list(list, n, &result);
    free(list);
    *fields = result.handle;
    return result.is_error ? -EINVAL : 0;
}

static bool set_target(int32_t request, const struct target *target, const char *method)
{
    static const char *const methods[] = { "GET",     "HEAD",    "POST",  "PUT",  "DELETE",
                                           "CONNECT", "OPTIONS", "TRACE", "PATCH" }; /* as the variant's cases */
    enum { N = sizeof methods / sizeof *methods };
    int32_t known = 0;
    while (known < N && strcmp(method, methods[known]) != 0)
        known++;
    return poise__http_request_set_method(request, known, method, known < N ? 0 : strlen(method)) == 0 &&
           poise__http_request_set_path(request, 1, target->path, strlen(target->path)) == 0 &&
           poise__http_request_set_scheme(request, 1, target->https, NULL, 0) == 0 &&
           poise__http_request_set_authority(request, 1, target->authority, strlen(target->authority)) == 0;
}

/* request-options, or 0 if the limit is the host's own. The other limits are kept by http.c: jco has none of them, and
 * wasmtime 48 fails without a reason when they have passed. */
static int make_options(const poise_http_options *options, int32_t *made)
{
    *made = 0;
    if (options->connect_timeout_ns == 0)
        return 0;
    *made = poise__http_options_new();
    if (poise__http_options_set_connect(*made, 1, options->connect_timeout_ns) == 0)
        return 0;
    drop(made, poise__http_drop_options);
    return -ENOTSUP; /* types.wit: "An error result indicates that this timeout is not supported." */
}

/* The body's handles, and whether the queue takes pollables at all, before anything is sent. */
static int open_body(struct http *http, int32_t request)
{
    struct platform *platform = http->platform;
    struct host_result result;
    poise__http_request_body(request, &result);
    if (result.is_error)
        return -EIO;
    platform->outgoing_body = result.handle;
    poise__http_outgoing_body_write(platform->outgoing_body, &result);
    if (result.is_error)
        return -EIO;
    platform->output = result.handle;
    platform->output_pollable = poise__http_output_subscribe(platform->output);
    return poise_watch(http->queue, poise_pollable(platform->output_pollable), 0, http->data);
}

static int finish_body(struct http *http)
{
    struct platform *platform = http->platform;
    struct host_handle_or_error result;
    drop_pollable(http, &platform->output_pollable);
    drop(&platform->output, poise__http_drop_output);
    poise__http_outgoing_body_finish(platform->outgoing_body, 0, 0, &result);
    platform->outgoing_body = 0;
    return result.is_error ? poise__http_error(&result.of.error) : 0;
}

static int hand_over(struct http *http, int32_t request, const poise_http_options *options)
{
    int32_t made;
    int error = make_options(options, &made);
    if (error < 0) {
        poise__http_drop_request(request);
        return error;
    }
    struct host_handle_or_error result;
    poise__http_handle(request, made != 0, made, &result);
    if (result.is_error)
        return poise__http_error(&result.of.error);
    http->platform->future_response = result.of.handle;
    error = watch_input(http, poise__http_response_subscribe(result.of.handle));
    if (error == 0 && options->body_size == 0)
        error = finish_body(http);
    return error;
}

int poise__http_platform_open(struct http *http, const struct target *target, const poise_http_options *options)
{
    int32_t fields;
    http->platform = calloc(1, sizeof *http->platform);
    int error = http->platform == NULL ? -ENOMEM : make_fields(options, &fields);
    if (error == 0) {
        int32_t request = poise__http_request_new(fields);
        error = set_target(request, target, options->method == NULL ? "GET" : options->method)
                    ? open_body(http, request)
                    : -EINVAL;
        if (error == 0)
            error = hand_over(http, request, options);
        else
            poise__http_drop_request(request);
    }
    if (error < 0)
        poise__http_platform_close(http);
    return error;
}

/* ---- its body ---------------------------------------------------------------------------------------------------- */

/* How much room there is; -EPIPE: the host takes no more. */
static int64_t room(int32_t output)
{
    struct host_check check;
    poise__http_check_write(output, &check);
    if (!check.is_error)
        return check.of.room > INT32_MAX ? INT32_MAX : (int64_t)check.of.room;
    if (check.of.error.code == STREAM_FAILED)
        poise__http_drop_error(check.of.error.error);
    return -EPIPE;
}

static bool succeeded(const struct host_write *write)
{
    if (write->is_error && write->error.code == STREAM_FAILED)
        poise__http_drop_error(write->error.error);
    return !write->is_error;
}

static int wait_for_room(struct http *http)
{
    int error = watch_room(http, true);
    return error < 0 ? poise__http_fail(http, error) : -EAGAIN;
}

ptrdiff_t poise__http_platform_send(struct http *http, const void *bytes, size_t size)
{
    struct platform *platform = http->platform;
    int64_t n = room(platform->output);
    if (n == 0)
        return wait_for_room(http);
    (void)watch_room(http, false);
    if (n < 0)
        return (ptrdiff_t)n;
    if ((size_t)n > size)
        n = (int64_t)size;
    struct host_write result;
    poise__http_write(platform->output, bytes, (size_t)n, &result);
    return succeeded(&result) ? (ptrdiff_t)n : -EPIPE;
}

int poise__http_platform_finish(struct http *http)
{
    struct platform *platform = http->platform;
    bool all = http->body_size != POISE_HTTP_UNKNOWN; /* trap 3 */
    int64_t n = 0;
    if (!platform->flushing) {
        struct host_write result;
        poise__http_flush(platform->output, &result);
        platform->flushing = true;
        if (!succeeded(&result))
            n = -EPIPE;
    }
    if (n == 0)
        n = room(platform->output);
    if (n == 0)
        return wait_for_room(http);
    (void)watch_room(http, false);
    if (n < 0 && !all)
        return (int)n;
    int error = finish_body(http);
    return error < 0 ? poise__http_fail(http, error) : 0;
}

/* ---- the response ------------------------------------------------------------------------------------------------ */

/* Takes all of a fields resource, and the resource. */
static int take_fields(int32_t handle, struct fields *fields)
{
    struct host_bytes list;
    int error = 0;
    poise__http_fields_entries(handle, &list);
    poise__http_drop_fields(handle);
    const struct host_field *items = (const struct host_field *)(const void *)list.at;
    for (uint32_t i = 0; i < list.size; i++) {
        const struct host_bytes *name = &items[i].name, *value = &items[i].value;
        if (error == 0)
            error = poise__http_fields_add(fields, (const char *)name->at, name->size, (const char *)value->at,
                                           value->size);
        if (name->size > 0)
            free(name->at);
        if (value->size > 0)
            free(value->at);
    }
    if (list.size > 0)
        free(list.at);
    return error;
}

static int open_response(struct http *http)
{
    struct platform *platform = http->platform;
    int status = poise__http_response_status(platform->response);
    if (status < 200) /* a host that passes on what should have been followed by another one */
        return -EPROTO;
    int error = take_fields(poise__http_response_headers(platform->response), &http->headers);
    if (error < 0)
        return error;
    struct host_result result;
    poise__http_response_consume(platform->response, &result);
    if (result.is_error)
        return -EIO;
    platform->incoming_body = result.handle;
    poise__http_incoming_body_stream(platform->incoming_body, &result);
    if (result.is_error)
        return -EIO;
    platform->input = result.handle;
    http->status = status;
    return watch_input(http, poise__http_input_subscribe(platform->input));
}

int poise__http_platform_head(struct http *http)
{
    struct platform *platform = http->platform;
    struct host_future result;
    poise__http_response_get(platform->future_response, &result);
    if (!result.is_some)
        return -EAGAIN;
    if (result.was_taken || result.is_error)
        return poise__http_fail(http, result.was_taken ? -EIO : poise__http_error(&result.of.error));
    platform->response = result.of.response;
    drop_pollable(http, &platform->input_pollable);
    drop(&platform->future_response, poise__http_drop_future_response);
    int error = open_response(http);
    return error < 0 ? poise__http_fail(http, error) : 0;
}

static int take_trailers(struct http *http)
{
    struct platform *platform = http->platform;
    struct host_future result;
    poise__http_trailers_get(platform->future_trailers, &result);
    if (!result.is_some) {
        int error = platform->input_pollable == 0
                        ? watch_input(http, poise__http_trailers_subscribe(platform->future_trailers))
                        : 0;
        return error < 0 ? poise__http_fail(http, error) : -EAGAIN;
    }
    if (result.was_taken || result.is_error)
        return poise__http_fail(http, result.was_taken ? -EIO : poise__http_error(&result.of.error));
    drop_pollable(http, &platform->input_pollable);
    drop(&platform->future_trailers, poise__http_drop_future_trailers);
    int error = result.of.trailers.is_some ? take_fields(result.of.trailers.handle, &http->trailers) : 0;
    return error < 0 ? poise__http_fail(http, error) : 0;
}

static int stream_ended(struct http *http, const struct host_stream_error *error)
{
    struct platform *platform = http->platform;
    if (error->code == STREAM_FAILED) {
        poise__http_drop_error(error->error); /* trap 6 */
        return poise__http_fail(http, -ECONNRESET);
    }
    drop_pollable(http, &platform->input_pollable);
    drop(&platform->input, poise__http_drop_input);
    platform->future_trailers = poise__http_incoming_body_finish(platform->incoming_body);
    platform->incoming_body = 0;
    drop(&platform->response, poise__http_drop_response);
    return take_trailers(http);
}

ptrdiff_t poise__http_platform_recv(struct http *http, void *bytes, size_t size)
{
    struct platform *platform = http->platform;
    if (platform->input == 0)
        return take_trailers(http);
    struct host_read read;
    poise__http_read(platform->input, size < MOST_READ ? size : MOST_READ, &read);
    if (read.is_error)
        return stream_ended(http, &read.of.error);
    if (read.of.bytes.size == 0)
        return -EAGAIN;
    memcpy(bytes, read.of.bytes.at, read.of.bytes.size);
    free(read.of.bytes.at);
    return (ptrdiff_t)read.of.bytes.size;
}
