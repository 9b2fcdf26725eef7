/* SPDX-License-Identifier: MIT
 *
 * The resolver of WASI 0.2: the host's, wasi:sockets/ip-name-lookup@0.2.0, by libc's bindings.
 *
 * The traps:
 *  1. The stream's pollable is its child: unwatch it, drop it, then the stream.
 *  2. wasmtime (47, 48) refuses look-ups with permanent-resolver-failure, and at once; a failure of a server cannot be
 *     known as early as that.
 *  3. The answer has both families, in the host's order of preference. Neither can be asked for alone. */
#include "../resolver.h"

#include <errno.h>
#include <poise/wasi.h>
#include <string.h>
#include <sys/socket.h>
#include <wasi/wasip2.h>

enum { STREAM, POLLABLE }; /* lookup.resolver.handle[] */

static ip_name_lookup_borrow_resolve_address_stream_t stream_of(struct lookup *lookup)
{
    return ip_name_lookup_borrow_resolve_address_stream(
        (ip_name_lookup_own_resolve_address_stream_t){ lookup->resolver.handle[STREAM] });
}

static int error_of(ip_name_lookup_error_code_t error)
{
    switch (error) {
    case NETWORK_ERROR_CODE_WOULD_BLOCK: return -EAGAIN;
    case NETWORK_ERROR_CODE_NAME_UNRESOLVABLE: return -ENOENT;
    case NETWORK_ERROR_CODE_ACCESS_DENIED: return -EACCES;
    case NETWORK_ERROR_CODE_NOT_SUPPORTED: return -ENOTSUP;
    case NETWORK_ERROR_CODE_INVALID_ARGUMENT: return -EINVAL;
    case NETWORK_ERROR_CODE_OUT_OF_MEMORY: return -ENOMEM;
    case NETWORK_ERROR_CODE_NEW_SOCKET_LIMIT: return -EMFILE;
    case NETWORK_ERROR_CODE_TIMEOUT: return -ETIMEDOUT;
    default: return -EHOSTUNREACH;
    }
}

int poise__resolver_start(poise_lookup *outer, const char *name)
{
    struct lookup *lookup = lookup_of(outer);
    if (strcmp(poise_backend(lookup->queue), "wasip2") != 0) /* before anything is asked: that can't be called back */
        return -ENOTSUP;
    instance_network_own_network_t network = instance_network_instance_network();
    wasip2_string_t text = { (uint8_t *)(uintptr_t)name, strlen(name) };
    ip_name_lookup_own_resolve_address_stream_t stream;
    ip_name_lookup_error_code_t error;
    bool started = ip_name_lookup_resolve_addresses(network_borrow_network(network), &text, &stream, &error);
    network_network_drop_own(network);
    if (!started)
        return error == NETWORK_ERROR_CODE_PERMANENT_RESOLVER_FAILURE ? -EACCES : error_of(error);
    lookup->resolver.handle[STREAM] = stream.__handle;
    lookup->resolver.handle[POLLABLE] =
        ip_name_lookup_method_resolve_address_stream_subscribe(stream_of(lookup)).__handle;
    int result =
        poise_watch(lookup->queue, poise_pollable(lookup->resolver.handle[POLLABLE]), POISE_READABLE, outer->data);
    if (result < 0)
        poise__resolver_stop(outer);
    return result;
}

static int add(poise_lookup *outer, const ip_name_lookup_ip_address_t *address)
{
    if (address->tag == NETWORK_IP_ADDRESS_IPV4)
        return poise__lookup_found(outer, AF_INET, &address->val.ipv4);
    uint16_t words[8];
    uint8_t bytes[16];
    memcpy(words, &address->val.ipv6, sizeof words);
    for (int i = 0; i < 8; i++) {
        bytes[2 * i] = (uint8_t)(words[i] >> 8);
        bytes[2 * i + 1] = (uint8_t)words[i];
    }
    return poise__lookup_found(outer, AF_INET6, bytes);
}

int poise__resolver_turn(poise_lookup *outer)
{
    for (;;) {
        ip_name_lookup_option_ip_address_t next;
        ip_name_lookup_error_code_t error;
        if (!ip_name_lookup_method_resolve_address_stream_resolve_next_address(stream_of(lookup_of(outer)), &next,
                                                                               &error))
            return error_of(error);
        if (!next.is_some)
            return 0;
        int result = add(outer, &next.val);
        if (result < 0)
            return result;
    }
}

/* Trap 3: what has come without IPv6 will not get it later. */
bool poise__resolver_expects(const poise_lookup *outer, int family)
{
    (void)family;
    return ((const struct lookup *)(const void *)outer->reserved)->found_n == 0;
}

uint64_t poise__resolver_deadline(const poise_lookup *outer)
{
    (void)outer;
    return UINT64_MAX;
}

void poise__resolver_stop(poise_lookup *outer)
{
    struct lookup *lookup = lookup_of(outer);
    (void)poise_unwatch(lookup->queue, poise_pollable(lookup->resolver.handle[POLLABLE]));
    poll_pollable_drop_own((poll_own_pollable_t){ lookup->resolver.handle[POLLABLE] });
    ip_name_lookup_resolve_address_stream_drop_own(
        (ip_name_lookup_own_resolve_address_stream_t){ lookup->resolver.handle[STREAM] });
}
