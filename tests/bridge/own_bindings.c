/* A program with wit-bindgen's bindings of its own (stranger.h, wit/) for interfaces that libc's and poise's imports are of, too: all three
 * link, and what its bindings make are sources of poise. */
#include <poise/wasi.h>

#include "stranger.h"
#include "with_poise.h"

/* A look-up by its own bindings, whose progress is poise's events. */
static void look_up(poise *queue)
{
    wasi_sockets_network_own_network_t network = wasi_sockets_instance_network_instance_network();
    wasi_sockets_ip_name_lookup_own_resolve_address_stream_t stream;
    wasi_sockets_ip_name_lookup_error_code_t error = 0;
    stranger_string_t name;
    int addresses = 0;
    stranger_string_dup(&name, "localhost");
    CHECK(wasi_sockets_ip_name_lookup_resolve_addresses(wasi_sockets_network_borrow_network(network), &name, &stream,
                                                        &error));
    stranger_string_free(&name);
    wasi_sockets_ip_name_lookup_borrow_resolve_address_stream_t borrowed =
        wasi_sockets_ip_name_lookup_borrow_resolve_address_stream(stream);
    wasi_io_poll_own_pollable_t pollable =
        wasi_sockets_ip_name_lookup_method_resolve_address_stream_subscribe(borrowed);
    CHECK(poise_watch(queue, poise_pollable(pollable.__handle), POISE_READABLE, &pollable) == 0);
    for (;;) {
        wasi_sockets_ip_name_lookup_option_ip_address_t address;
        if (wasi_sockets_ip_name_lookup_method_resolve_address_stream_resolve_next_address(borrowed, &address,
                                                                                           &error)) {
            if (!address.is_some)
                break;
            addresses++;
        } else {
            CHECK(error == WASI_SOCKETS_NETWORK_ERROR_CODE_WOULD_BLOCK);
            CHECK(wait_for(queue, &pollable) == POISE_READABLE);
        }
    }
    CHECK(addresses > 0);
    CHECK(poise_unwatch(queue, poise_pollable(pollable.__handle)) == 0);
    wasi_io_poll_pollable_drop_own(pollable);
    wasi_sockets_ip_name_lookup_resolve_address_stream_drop_own(stream);
    wasi_sockets_network_network_drop_own(network);
}

/* A socket that libc knows nothing of. */
static void bind_own_socket(poise *queue)
{
    wasi_sockets_network_own_network_t network = wasi_sockets_instance_network_instance_network();
    wasi_sockets_udp_own_udp_socket_t socket;
    wasi_sockets_udp_error_code_t error = 0;
    wasi_sockets_udp_ip_socket_address_t address;
    memset(&address, 0, sizeof address);
    address.tag = WASI_SOCKETS_NETWORK_IP_SOCKET_ADDRESS_IPV4;
    address.val.ipv4.address.f0 = 127;
    address.val.ipv4.address.f3 = 1;
    CHECK(
        wasi_sockets_udp_create_socket_create_udp_socket(WASI_SOCKETS_NETWORK_IP_ADDRESS_FAMILY_IPV4, &socket, &error));
    wasi_sockets_udp_borrow_udp_socket_t borrowed = wasi_sockets_udp_borrow_udp_socket(socket);
    CHECK(wasi_sockets_udp_method_udp_socket_start_bind(borrowed, wasi_sockets_network_borrow_network(network),
                                                        &address, &error));
    wasi_io_poll_own_pollable_t pollable = wasi_sockets_udp_method_udp_socket_subscribe(borrowed);
    CHECK(poise_watch(queue, poise_pollable(pollable.__handle), POISE_READABLE | POISE_ONESHOT, &socket) == 0);
    CHECK(wait_for(queue, &socket) == POISE_READABLE);
    CHECK(wasi_sockets_udp_method_udp_socket_finish_bind(borrowed, &error));
    CHECK(poise_unwatch(queue, poise_pollable(pollable.__handle)) == 0);
    wasi_io_poll_pollable_drop_own(pollable);
    wasi_sockets_udp_udp_socket_drop_own(socket);
    wasi_sockets_network_network_drop_own(network);
}

int main(void)
{
    poise *queue = NULL;
    check_queue("wasip2");
    CHECK(poise_open(&queue, NULL) == 0);
    for (int i = 0; i < 10; i++) {
        /* A poll of its own, which knows nothing of the bridge, and its result from its own allocator. */
        wasi_io_poll_own_pollable_t own[2] = {
            wasi_clocks_monotonic_clock_subscribe_duration(UINT64_C(3600000000000)),
            wasi_clocks_monotonic_clock_subscribe_duration(1000000),
        };
        wasi_io_poll_borrow_pollable_t lent[2] = { wasi_io_poll_borrow_pollable(own[0]),
                                                   wasi_io_poll_borrow_pollable(own[1]) };
        wasi_io_poll_list_borrow_pollable_t list = { lent, 2 };
        stranger_list_u32_t ready;
        wasi_io_poll_poll(&list, &ready);
        CHECK(ready.len == 1 && ready.ptr[0] == 1);
        stranger_list_u32_free(&ready);
        /* The same handles as sources. */
        CHECK(poise_watch(queue, poise_pollable(own[0].__handle), POISE_READABLE, &own[0]) == 0);
        CHECK(poise_watch(queue, poise_pollable(own[1].__handle), POISE_READABLE, &own[1]) == 0);
        CHECK(wait_for(queue, &own[1]) == POISE_READABLE);
        for (int j = 0; j < 2; j++) {
            CHECK(poise_unwatch(queue, poise_pollable(own[j].__handle)) == 0);
            wasi_io_poll_pollable_drop_own(own[j]);
        }
        look_up(queue);
        bind_own_socket(queue);
    }
    check_queue("wasip2");
    poise_close(queue);
    puts("ok");
    return 0;
}
