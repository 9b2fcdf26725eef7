/* See ../resolve_kit.h. Pollables are counted as in tests/wasi_hooks.c, look-ups in the same way. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "../../wasi_hooks.c"

#include "resolve_kit.h"

#include <sys/stat.h>
#include <unistd.h>

static int64_t streams;

#define LOOK_UP(name) __attribute__((__import_module__("wasi:sockets/ip-name-lookup@0.2.0"), __import_name__(name)))

LOOK_UP("resolve-addresses")
void tests_resolve_addresses(int32_t network, uint8_t *name, size_t length, uint8_t *result);
LOOK_UP("[resource-drop]resolve-address-stream") void tests_resolve_address_stream_drop(int32_t handle);

void __wasm_import_ip_name_lookup_resolve_addresses(int32_t network, uint8_t *name, size_t length, uint8_t *result);
void __wasm_import_ip_name_lookup_resolve_address_stream_drop(int32_t handle);

void __wasm_import_ip_name_lookup_resolve_addresses(int32_t network, uint8_t *name, size_t length, uint8_t *result)
{
    tests_resolve_addresses(network, name, length, result);
    streams += result[0] == 0; /* result<resolve-address-stream, error-code>: 0 is good */
}

void __wasm_import_ip_name_lookup_resolve_address_stream_drop(int32_t handle)
{
    streams--;
    tests_resolve_address_stream_drop(handle);
}

struct usage usage(void)
{
    struct usage usage;
    struct calls now = calls();
    usage.handles = (int64_t)now.subscribes - (int64_t)now.drops + streams;
    usage.descriptors = 0;
    struct stat status;
    (void)stat(".", &status); /* libc opens the host's folders with the first path, and keeps them */
    for (int fd = 0; fd < 2000; fd++)
        usage.descriptors += fstat(fd, &status) == 0 || errno != EBADF;
    usage.memory = (int64_t)__builtin_wasm_memory_size(0) * 65536;
    return usage;
}

const char *host_memory(void)
{
    static char text[64];
    snprintf(text, sizeof text, "%d KB of linear memory", (int)(__builtin_wasm_memory_size(0) * 64));
    return text;
}

bool limit_descriptors(int spare)
{
    (void)spare;
    return false;
}

void give_descriptors(int n) { (void)n; }

void unlimit_descriptors(void) {}
