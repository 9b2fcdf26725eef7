/* jco gives no trailers of an HTTP response; wasmtime does. The program is its own server. No poise in it, but for the
 * declarations of wasi:http.
 *
 *     tools/wasi-cc --no-poise tests/reproducers/http_trailers_jco.c -o trailers.wasm
 *     tools/wasi-run --http --host jco trailers.wasm
 */
#include "../../src/http/wasip2/component_type.h"
#include "../../src/http/wasip2/host.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wasi/wasip2.h>

static const char answer[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                             "5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n";

static void wait_for(int32_t pollable)
{
    poll_method_pollable_block((poll_borrow_pollable_t){ pollable });
    poise__http_drop_pollable(pollable);
}

int main(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 8) ||
        getsockname(listener, (struct sockaddr *)&address, &size))
        return 1;
    char authority[32], bytes[1024];
    snprintf(authority, sizeof authority, "127.0.0.1:%d", ntohs(address.sin_port));

    struct host_result fields, body, stream;
    poise__http_fields_from_list(NULL, 0, &fields);
    int32_t request = poise__http_request_new(fields.handle);
    poise__http_request_set_scheme(request, 1, 0, NULL, 0);
    poise__http_request_set_authority(request, 1, authority, strlen(authority));
    poise__http_request_set_path(request, 1, "/", 1);
    poise__http_request_body(request, &body);
    struct host_handle_or_error future, finished;
    poise__http_handle(request, 0, 0, &future);
    poise__http_outgoing_body_finish(body.handle, 0, 0, &finished);

    int server = accept(listener, NULL, NULL);
    if (recv(server, bytes, sizeof bytes, 0) <= 0 || send(server, answer, strlen(answer), 0) <= 0)
        return 1;

    struct host_future result;
    wait_for(poise__http_response_subscribe(future.of.handle));
    poise__http_response_get(future.of.handle, &result);
    if (!result.is_some || result.was_taken || result.is_error)
        return 1;
    poise__http_response_consume(result.of.response, &body);
    poise__http_incoming_body_stream(body.handle, &stream);
    struct host_read read;
    for (;;) {
        wait_for(poise__http_input_subscribe(stream.handle));
        poise__http_read(stream.handle, sizeof bytes, &read);
        if (read.is_error)
            break;
        printf("%d bytes of the body\n", (int)read.of.bytes.size);
    }
    poise__http_drop_input(stream.handle);
    int32_t trailers = poise__http_incoming_body_finish(body.handle);
    wait_for(poise__http_trailers_subscribe(trailers));
    poise__http_trailers_get(trailers, &result);
    struct host_bytes list = { NULL, 0 };
    if (result.is_some && !result.was_taken && !result.is_error && result.of.trailers.is_some)
        poise__http_fields_entries(result.of.trailers.handle, &list);
    printf("%d trailers\n", (int)list.size);
    return 0;
}
