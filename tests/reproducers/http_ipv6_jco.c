/* jco refuses an IPv6 literal as the authority of an outgoing HTTP request: its check splits at each colon. wasmtime
 * takes it. No poise in it, but for the declarations of wasi:http.
 *
 *     tools/wasi-cc --no-poise tests/reproducers/http_ipv6_jco.c -o ipv6.wasm && tools/wasi-run --http --host jco ipv6.wasm
 */
#include "../../src/http/wasip2/component_type.h"
#include "../../src/http/wasip2/host.h"

#include <stdio.h>
#include <string.h>

int main(void)
{
    static const char *const authorities[] = { "127.0.0.1:80", "[::1]:80" };
    for (int i = 0; i < 2; i++) {
        struct host_result fields;
        poise__http_fields_from_list(NULL, 0, &fields);
        int32_t request = poise__http_request_new(fields.handle);
        int32_t failed = poise__http_request_set_authority(request, 1, authorities[i], strlen(authorities[i]));
        printf("%s is %s\n", authorities[i], failed ? "refused" : "taken");
        poise__http_drop_request(request);
    }
    return 0;
}
