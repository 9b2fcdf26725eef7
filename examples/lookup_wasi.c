/* wasi:sockets/ip-name-lookup through wasi-libc's bindings: its pollable is watched like anything else. */
#include "lookup.h"

#include <poise/wasi.h>

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <wasi/wasip2.h>

static ip_name_lookup_own_resolve_address_stream_t stream;
static ip_name_lookup_own_pollable_t pollable;

int lookup_start(const char *name, poise_source *source)
{
    instance_network_own_network_t network = instance_network_instance_network();
    wasip2_string_t text = { (uint8_t *)name, strlen(name) };
    ip_name_lookup_error_code_t error;
    bool started = ip_name_lookup_resolve_addresses(network_borrow_network(network), &text, &stream, &error);
    network_network_drop_own(network);
    if (!started)
        return error == NETWORK_ERROR_CODE_ACCESS_DENIED ? -EACCES : -EINVAL;
    pollable =
        ip_name_lookup_method_resolve_address_stream_subscribe(ip_name_lookup_borrow_resolve_address_stream(stream));
    *source = poise_pollable(pollable.__handle);
    return 0;
}

int lookup_next(poise_address *address)
{
    ip_name_lookup_option_ip_address_t next;
    ip_name_lookup_error_code_t error;
    if (!ip_name_lookup_method_resolve_address_stream_resolve_next_address(
            ip_name_lookup_borrow_resolve_address_stream(stream), &next, &error))
        return error == NETWORK_ERROR_CODE_WOULD_BLOCK ? -EAGAIN : -ENOENT;
    if (!next.is_some)
        return 0;
    if (next.val.tag == NETWORK_IP_ADDRESS_IPV4) {
        struct sockaddr_in ipv4 = { .sin_family = AF_INET };
        memcpy(&ipv4.sin_addr, &next.val.val.ipv4, sizeof ipv4.sin_addr);
        return poise_address_from(address, (struct sockaddr *)&ipv4, sizeof ipv4) == 0;
    }
    struct sockaddr_in6 ipv6 = { .sin6_family = AF_INET6 };
    uint16_t words[8];
    memcpy(words, &next.val.val.ipv6, sizeof words);
    for (int i = 0; i < 8; i++) {
        ipv6.sin6_addr.s6_addr[2 * i] = (uint8_t)(words[i] >> 8);
        ipv6.sin6_addr.s6_addr[2 * i + 1] = (uint8_t)words[i];
    }
    return poise_address_from(address, (struct sockaddr *)&ipv6, sizeof ipv6) == 0;
}

void lookup_end(void)
{
    poll_pollable_drop_own(pollable);
    ip_name_lookup_resolve_address_stream_drop_own(stream);
}
