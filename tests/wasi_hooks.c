/* Counts the pollables that libc makes beside those that src/wasi/hear.c hears of, in its way: by standing in for its
 * binding's raw imports. The drops of all, libc's and poise's, are counted in src/wasi/host.c. */
#include "wasi_kit.h"

#if TEST_WASIP2

uint64_t libc_subscribes;

#define COUNTED(module, function, symbol)                                                                         \
    __attribute__((__import_module__(module), __import_name__(function))) int32_t tests_##symbol(int32_t parent); \
    int32_t __wasm_import_##symbol(int32_t parent);                                                               \
    int32_t __wasm_import_##symbol(int32_t parent)                                                                \
    {                                                                                                             \
        libc_subscribes++;                                                                                        \
        return tests_##symbol(parent);                                                                            \
    }

#define COUNTED_TIME(function, symbol)                                               \
    __attribute__((__import_module__("wasi:clocks/monotonic-clock@0.2.0"),           \
                   __import_name__(function))) int32_t tests_##symbol(int64_t time); \
    int32_t __wasm_import_##symbol(int64_t time);                                    \
    int32_t __wasm_import_##symbol(int64_t time)                                     \
    {                                                                                \
        libc_subscribes++;                                                           \
        return tests_##symbol(time);                                                 \
    }

#define UDP "wasi:sockets/udp@0.2.0"

COUNTED(UDP, "[method]udp-socket.subscribe", udp_method_udp_socket_subscribe)
COUNTED("wasi:sockets/ip-name-lookup@0.2.0", "[method]resolve-address-stream.subscribe",
        ip_name_lookup_method_resolve_address_stream_subscribe)
COUNTED_TIME("subscribe-instant", monotonic_clock_subscribe_instant)
COUNTED_TIME("subscribe-duration", monotonic_clock_subscribe_duration)

#else
typedef int nothing_to_count; /* ISO C wants a declaration */
#endif
