/* The host calls of src/http/wasip2/host.h that make a handle, take one or drop one, counted: the linker takes a
 * definition in the place of an import, and each hands on to the host under another name. Counted here and not in the
 * library, so that the count does not share its mistakes. See ../http_kit.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "http_kit.h"

#include "../../../src/http/wasip2/host.h"

static int64_t live;
static bool refusing;

/* The memory is all that the program ever had: it does not shrink. */
struct http_usage http_usage(void)
{
    return (struct http_usage){ .memory = (int64_t)__builtin_wasm_memory_size(0) * 65536, .handles = live };
}

bool http_refuse(bool refuses)
{
    refusing = refuses;
    return true;
}

static void made(const struct host_result *result) { live += !result->is_error; }

#define DROP(interface, resource, name)                                                               \
    HOST(interface, "[resource-drop]" resource) extern void hooked__http_drop_##name(int32_t handle); \
    void poise__http_drop_##name(int32_t handle)                                                      \
    {                                                                                                 \
        live--;                                                                                       \
        hooked__http_drop_##name(handle);                                                             \
    }
DROP("wasi:http/types", "fields", fields)
DROP("wasi:http/types", "outgoing-request", request)
DROP("wasi:http/types", "request-options", options)
DROP("wasi:http/types", "outgoing-body", outgoing_body)
DROP("wasi:http/types", "future-incoming-response", future_response)
DROP("wasi:http/types", "incoming-response", response)
DROP("wasi:http/types", "incoming-body", incoming_body)
DROP("wasi:http/types", "future-trailers", future_trailers)
DROP("wasi:io/streams", "input-stream", input)
DROP("wasi:io/streams", "output-stream", output)
DROP("wasi:io/error", "error", error)
DROP("wasi:io/poll", "pollable", pollable)

#define SUBSCRIBE(interface, method, name)                                                          \
    HOST(interface, "[method]" method ".subscribe") extern int32_t hooked__http_##name(int32_t of); \
    int32_t poise__http_##name(int32_t of)                                                          \
    {                                                                                               \
        live++;                                                                                     \
        return hooked__http_##name(of);                                                             \
    }
SUBSCRIBE("wasi:http/types", "future-incoming-response", response_subscribe)
SUBSCRIBE("wasi:http/types", "future-trailers", trailers_subscribe)
SUBSCRIBE("wasi:io/streams", "input-stream", input_subscribe)
SUBSCRIBE("wasi:io/streams", "output-stream", output_subscribe)

/* Methods that give a child: result<own<...>>. */
#define CHILD(method, name)                                                                               \
    HOST_HTTP("[method]" method) extern void hooked__http_##name(int32_t of, struct host_result *result); \
    void poise__http_##name(int32_t of, struct host_result *result)                                       \
    {                                                                                                     \
        hooked__http_##name(of, result);                                                                  \
        made(result);                                                                                     \
    }
CHILD("outgoing-request.body", request_body)
CHILD("outgoing-body.write", outgoing_body_write)
CHILD("incoming-response.consume", response_consume)
CHILD("incoming-body.stream", incoming_body_stream)

HOST_HTTP("[static]fields.from-list")
extern void hooked__http_fields_from_list(const struct host_field *list, size_t n, struct host_result *result);
void poise__http_fields_from_list(const struct host_field *list, size_t n, struct host_result *result)
{
    hooked__http_fields_from_list(list, n, result);
    made(result);
}

HOST_HTTP("[constructor]outgoing-request") extern int32_t hooked__http_request_new(int32_t own_fields);
int32_t poise__http_request_new(int32_t own_fields) /* one is taken, one is made */
{
    return hooked__http_request_new(own_fields);
}

HOST_HTTP("[constructor]request-options") extern int32_t hooked__http_options_new(void);
int32_t poise__http_options_new(void)
{
    live++;
    return hooked__http_options_new();
}

HOST("wasi:http/outgoing-handler", "handle")
extern void hooked__http_handle(int32_t own_request, int32_t is_some, int32_t own_options,
                                struct host_handle_or_error *result);
void poise__http_handle(int32_t own_request, int32_t is_some, int32_t own_options, struct host_handle_or_error *result)
{
    if (refusing) {
        poise__http_drop_request(own_request);
        if (is_some)
            poise__http_drop_options(own_options);
        memset(result, 0, sizeof *result);
        result->is_error = 1;
        result->of.error.code = HTTP_REQUEST_DENIED;
        return;
    }
    hooked__http_handle(own_request, is_some, own_options, result);
    live -= 1 + (is_some != 0);
    live += !result->is_error;
}

HOST_HTTP("[method]future-incoming-response.get")
extern void hooked__http_response_get(int32_t future, struct host_future *result);
void poise__http_response_get(int32_t future, struct host_future *result)
{
    hooked__http_response_get(future, result);
    live += result->is_some && !result->was_taken && !result->is_error;
}

HOST_HTTP("[method]incoming-response.headers") extern int32_t hooked__http_response_headers(int32_t response);
int32_t poise__http_response_headers(int32_t response)
{
    live++;
    return hooked__http_response_headers(response);
}

HOST_HTTP("[static]incoming-body.finish") extern int32_t hooked__http_incoming_body_finish(int32_t own_body);
int32_t poise__http_incoming_body_finish(int32_t own_body) /* one is taken, one is made */
{
    return hooked__http_incoming_body_finish(own_body);
}

HOST_HTTP("[method]future-trailers.get")
extern void hooked__http_trailers_get(int32_t future, struct host_future *result);
void poise__http_trailers_get(int32_t future, struct host_future *result)
{
    hooked__http_trailers_get(future, result);
    live += result->is_some && !result->was_taken && !result->is_error && result->of.trailers.is_some;
}

HOST_HTTP("[static]outgoing-body.finish")
extern void hooked__http_outgoing_body_finish(int32_t own_body, int32_t is_some, int32_t own_trailers,
                                              struct host_handle_or_error *result);
void poise__http_outgoing_body_finish(int32_t own_body, int32_t is_some, int32_t own_trailers,
                                      struct host_handle_or_error *result)
{
    live--;
    hooked__http_outgoing_body_finish(own_body, is_some, own_trailers, result);
}

static void failed(bool is_error, const struct host_stream_error *error)
{
    live += is_error && error->code == STREAM_FAILED;
}

HOST_STREAMS("[method]input-stream.read")
extern void hooked__http_read(int32_t stream, uint64_t size, struct host_read *result);
void poise__http_read(int32_t stream, uint64_t size, struct host_read *result)
{
    hooked__http_read(stream, size, result);
    failed(result->is_error, &result->of.error);
}

HOST_STREAMS("[method]output-stream.check-write")
extern void hooked__http_check_write(int32_t stream, struct host_check *result);
void poise__http_check_write(int32_t stream, struct host_check *result)
{
    hooked__http_check_write(stream, result);
    failed(result->is_error, &result->of.error);
}

HOST_STREAMS("[method]output-stream.write")
extern void hooked__http_write(int32_t stream, const void *bytes, size_t size, struct host_write *result);
void poise__http_write(int32_t stream, const void *bytes, size_t size, struct host_write *result)
{
    hooked__http_write(stream, bytes, size, result);
    failed(result->is_error, &result->error);
}

HOST_STREAMS("[method]output-stream.flush")
extern void hooked__http_flush(int32_t stream, struct host_write *result);
void poise__http_flush(int32_t stream, struct host_write *result)
{
    hooked__http_flush(stream, result);
    failed(result->is_error, &result->error);
}
