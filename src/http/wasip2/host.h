/* SPDX-License-Identifier: MIT
 *
 * The calls of wasi:http, wasi:io/streams and wasi:io/poll that a request makes, under names of our own (an import may
 * be declared as often as one likes: libc's and the program's stay as they are), and the memory in which they answer.
 *
 * Layouts are those of the canonical ABI for wasm32 (component-model, CanonicalABI.md, "Alignment" and "Element Size"):
 * a variant is its case's number, in one byte, then the payload at the next multiple of the greatest alignment among
 * the payloads; option is { none, some }, result { ok, error }. The assertions compute them once more, from the WIT. */
#ifndef POISE_HTTP_HOST_H
#define POISE_HTTP_HOST_H

#include <stddef.h>
#include <stdint.h>

#define HOST(interface, name) __attribute__((__import_module__(interface "@0.2.0"), __import_name__(name)))
#define HOST_HTTP(name) HOST("wasi:http/types", name)
#define HOST_STREAMS(name) HOST("wasi:io/streams", name)

/* ---- what they answer -------------------------------------------------------------------------------------------- */

struct host_bytes { /* string, list<u8>, and any list: of `size` elements; `at` is the receiver's to free if size > 0 */
    uint8_t *at;
    uint32_t size;
};

struct host_field { /* tuple<field-key, field-value> */
    struct host_bytes name, value;
};

struct host_result { /* result<own<...>>, result<own<fields>, header-error> */
    uint8_t is_error;
    int32_t handle; /* or, in its first byte, the error's number */
};

/* option<string> and the like: the case, then the payload. */
struct host_option_string {
    uint8_t is_some;
    struct host_bytes value;
};
struct host_field_size { /* field-size-payload */
    struct host_option_string name;
    uint8_t size_is_some;
    uint32_t size;
};

struct host_error_code { /* error-code: 39 cases */
    uint8_t code;
    union {
        uint64_t alignment; /* option<u64> has the greatest one */
        struct {
            uint8_t is_some;
            uint64_t value;
        } option_u64; /* HTTP-request-body-size, HTTP-response-body-size */
        struct {
            struct host_option_string rcode;
            uint8_t info_is_some;
            uint16_t info;
        } dns; /* DNS-error */
        struct {
            uint8_t id_is_some, id;
            struct host_option_string message;
        } alert;                          /* TLS-alert-received */
        struct host_option_string string; /* internal-error, HTTP-response-transfer-coding, ... -content-coding */
        struct host_field_size field;     /* HTTP-response-header-size, ... */
        struct {
            uint8_t is_some;
            struct host_field_size value;
        } option_field; /* HTTP-request-header-size */
    } of;
};

struct host_handle_or_error { /* result<own<...>, error-code>, result<_, error-code> */
    uint8_t is_error;
    union {
        int32_t handle;
        struct host_error_code error;
    } of;
};

/* future-incoming-response.get: option<result<result<own<incoming-response>, error-code>>>, and future-trailers.get:
 * option<result<result<option<own<trailers>>, error-code>>> */
struct host_future {
    uint8_t is_some;
    _Alignas(8) uint8_t was_taken; /* the outer result's error: get had been called before */
    _Alignas(8) uint8_t is_error;
    union {
        int32_t response;
        struct {
            uint8_t is_some;
            int32_t handle;
        } trailers;
        struct host_error_code error;
    } of;
};

enum { STREAM_FAILED, STREAM_CLOSED };
struct host_stream_error { /* stream-error: last-operation-failed(own<error>), closed */
    uint8_t code;
    int32_t error;
};

struct host_read { /* result<list<u8>, stream-error> */
    uint8_t is_error;
    union {
        struct host_bytes bytes;
        struct host_stream_error error;
    } of;
};
struct host_check { /* result<u64, stream-error> */
    uint8_t is_error;
    union {
        uint64_t room;
        struct host_stream_error error;
    } of;
};
struct host_write { /* result<_, stream-error> */
    uint8_t is_error;
    struct host_stream_error error;
};

#define LAID_OUT(type, size, member, offset) \
    _Static_assert(sizeof(struct type) == (size) && offsetof(struct type, member) == (offset), #type)
LAID_OUT(host_bytes, 8, size, 4);
LAID_OUT(host_field, 16, value, 8);
LAID_OUT(host_result, 8, handle, 4);
LAID_OUT(host_option_string, 12, value, 4);
LAID_OUT(host_field_size, 20, size, 16);
/* The greatest payload is option<field-size-payload>: 4 + 20 = 24, after one byte and 7 of padding (option<u64>). */
LAID_OUT(host_error_code, 32, of, 8);
LAID_OUT(host_handle_or_error, 40, of, 8);
LAID_OUT(host_future, 56, of, 24);
_Static_assert(offsetof(struct host_future, was_taken) == 8 && offsetof(struct host_future, is_error) == 16, "future");
LAID_OUT(host_stream_error, 8, error, 4);
LAID_OUT(host_read, 12, of, 4);
LAID_OUT(host_check, 16, of, 8);
LAID_OUT(host_write, 12, error, 4);

/* ---- error-code: the numbers of its cases ------------------------------------------------------------------------ */

enum {
    HTTP_DNS_TIMEOUT,
    HTTP_DNS_ERROR,
    HTTP_DESTINATION_NOT_FOUND,
    HTTP_DESTINATION_UNAVAILABLE,
    HTTP_DESTINATION_IP_PROHIBITED,
    HTTP_DESTINATION_IP_UNROUTABLE,
    HTTP_CONNECTION_REFUSED,
    HTTP_CONNECTION_TERMINATED,
    HTTP_CONNECTION_TIMEOUT,
    HTTP_CONNECTION_READ_TIMEOUT,
    HTTP_CONNECTION_WRITE_TIMEOUT,
    HTTP_CONNECTION_LIMIT_REACHED,
    HTTP_TLS_PROTOCOL_ERROR,
    HTTP_TLS_CERTIFICATE_ERROR,
    HTTP_TLS_ALERT_RECEIVED,
    HTTP_REQUEST_DENIED,
    HTTP_REQUEST_LENGTH_REQUIRED,
    HTTP_REQUEST_BODY_SIZE,
    HTTP_REQUEST_METHOD_INVALID,
    HTTP_REQUEST_URI_INVALID,
    HTTP_REQUEST_URI_TOO_LONG,
    HTTP_REQUEST_HEADER_SECTION_SIZE,
    HTTP_REQUEST_HEADER_SIZE,
    HTTP_REQUEST_TRAILER_SECTION_SIZE,
    HTTP_REQUEST_TRAILER_SIZE,
    HTTP_RESPONSE_INCOMPLETE,
    HTTP_RESPONSE_HEADER_SECTION_SIZE,
    HTTP_RESPONSE_HEADER_SIZE,
    HTTP_RESPONSE_BODY_SIZE,
    HTTP_RESPONSE_TRAILER_SECTION_SIZE,
    HTTP_RESPONSE_TRAILER_SIZE,
    HTTP_RESPONSE_TRANSFER_CODING,
    HTTP_RESPONSE_CONTENT_CODING,
    HTTP_RESPONSE_TIMEOUT,
    HTTP_UPGRADE_FAILED,
    HTTP_PROTOCOL_ERROR,
    HTTP_LOOP_DETECTED,
    HTTP_CONFIGURATION_ERROR,
    HTTP_INTERNAL_ERROR
};

/* The errno value (negative) of a case, as poise/http.h documents it; frees what the case carries. */
int poise__http_error(const struct host_error_code *error);

/* ---- the calls ----------------------------------------------------------------------------------------------------
 * An own<...> that is given away is gone; a result that is larger than one value comes through the last pointer. A call
 * that returns `result` alone returns 0 or, for an error, 1. An option is passed as { is it there, its value }. */

HOST_HTTP("[static]fields.from-list")
extern void poise__http_fields_from_list(const struct host_field *list, size_t n, struct host_result *result);
HOST_HTTP("[method]fields.entries") extern void poise__http_fields_entries(int32_t fields, struct host_bytes *list);

HOST_HTTP("[constructor]outgoing-request") extern int32_t poise__http_request_new(int32_t own_fields);
HOST_HTTP("[method]outgoing-request.body")
extern void poise__http_request_body(int32_t request, struct host_result *result);
HOST_HTTP("[method]outgoing-request.set-method")
extern int32_t poise__http_request_set_method(int32_t request, int32_t method, const char *other, size_t size);
HOST_HTTP("[method]outgoing-request.set-path-with-query")
extern int32_t poise__http_request_set_path(int32_t request, int32_t is_some, const char *path, size_t size);
HOST_HTTP("[method]outgoing-request.set-scheme")
extern int32_t poise__http_request_set_scheme(int32_t request, int32_t is_some, int32_t scheme, const char *other,
                                              size_t size);
HOST_HTTP("[method]outgoing-request.set-authority")
extern int32_t poise__http_request_set_authority(int32_t request, int32_t is_some, const char *authority, size_t size);

HOST_HTTP("[constructor]request-options") extern int32_t poise__http_options_new(void);
HOST_HTTP("[method]request-options.set-connect-timeout")
extern int32_t poise__http_options_set_connect(int32_t options, int32_t is_some, uint64_t ns);

HOST_HTTP("[method]outgoing-body.write")
extern void poise__http_outgoing_body_write(int32_t body, struct host_result *stream);
HOST_HTTP("[static]outgoing-body.finish")
extern void poise__http_outgoing_body_finish(int32_t own_body, int32_t is_some, int32_t own_trailers,
                                             struct host_handle_or_error *result);

HOST("wasi:http/outgoing-handler", "handle")
extern void poise__http_handle(int32_t own_request, int32_t is_some, int32_t own_options,
                               struct host_handle_or_error *result);
HOST_HTTP("[method]future-incoming-response.subscribe") extern int32_t poise__http_response_subscribe(int32_t future);
HOST_HTTP("[method]future-incoming-response.get")
extern void poise__http_response_get(int32_t future, struct host_future *result);

HOST_HTTP("[method]incoming-response.status") extern int32_t poise__http_response_status(int32_t response);
HOST_HTTP("[method]incoming-response.headers") extern int32_t poise__http_response_headers(int32_t response);
HOST_HTTP("[method]incoming-response.consume")
extern void poise__http_response_consume(int32_t response, struct host_result *body);
HOST_HTTP("[method]incoming-body.stream")
extern void poise__http_incoming_body_stream(int32_t body, struct host_result *stream);
HOST_HTTP("[static]incoming-body.finish") extern int32_t poise__http_incoming_body_finish(int32_t own_body);

HOST_HTTP("[method]future-trailers.subscribe") extern int32_t poise__http_trailers_subscribe(int32_t future);
HOST_HTTP("[method]future-trailers.get")
extern void poise__http_trailers_get(int32_t future, struct host_future *result);

HOST_STREAMS("[method]input-stream.read")
extern void poise__http_read(int32_t stream, uint64_t size, struct host_read *result);
HOST_STREAMS("[method]input-stream.subscribe") extern int32_t poise__http_input_subscribe(int32_t stream);
HOST_STREAMS("[method]output-stream.check-write")
extern void poise__http_check_write(int32_t stream, struct host_check *result);
HOST_STREAMS("[method]output-stream.write")
extern void poise__http_write(int32_t stream, const void *bytes, size_t size, struct host_write *result);
HOST_STREAMS("[method]output-stream.flush") extern void poise__http_flush(int32_t stream, struct host_write *result);
HOST_STREAMS("[method]output-stream.subscribe") extern int32_t poise__http_output_subscribe(int32_t stream);

HOST_HTTP("[resource-drop]fields") extern void poise__http_drop_fields(int32_t handle);
HOST_HTTP("[resource-drop]outgoing-request") extern void poise__http_drop_request(int32_t handle);
HOST_HTTP("[resource-drop]request-options") extern void poise__http_drop_options(int32_t handle);
HOST_HTTP("[resource-drop]outgoing-body") extern void poise__http_drop_outgoing_body(int32_t handle);
HOST_HTTP("[resource-drop]future-incoming-response") extern void poise__http_drop_future_response(int32_t handle);
HOST_HTTP("[resource-drop]incoming-response") extern void poise__http_drop_response(int32_t handle);
HOST_HTTP("[resource-drop]incoming-body") extern void poise__http_drop_incoming_body(int32_t handle);
HOST_HTTP("[resource-drop]future-trailers") extern void poise__http_drop_future_trailers(int32_t handle);
HOST_STREAMS("[resource-drop]input-stream") extern void poise__http_drop_input(int32_t handle);
HOST_STREAMS("[resource-drop]output-stream") extern void poise__http_drop_output(int32_t handle);
HOST("wasi:io/error", "[resource-drop]error") extern void poise__http_drop_error(int32_t handle);
HOST("wasi:io/poll", "[resource-drop]pollable") extern void poise__http_drop_pollable(int32_t handle);

#endif
