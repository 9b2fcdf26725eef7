/* SPDX-License-Identifier: MIT
 *
 * Keeps a stranger from ending the program. Before 2026-07-21 wasi-libc calls abort() when the host answers
 * `invalid-state` ("if our internal state checks are working right, these errors should never show up"), and that is
 * what every host answers to "what is the peer's address?" once the peer has reset the connection: one such connection
 * ends any component that calls getpeername. jco answers the same for the local address.
 *
 * As bridge.c does for poll, this defines what the binding of wasi-libc imports, and imports the host's call under a
 * name of its own; the error becomes `connection-reset`, so that libc returns ECONNRESET. An object of its own: a
 * program that asks for no address does not import these. Weak: a program may have definitions of its own.
 *
 * accept(2) with an address aborts on any error at all, and still does: net.c does not ask it for one.
 * Without poise: tests/reproducers/accept_reset.c. */
#if __has_include(<wasi/version.h>)
#include <wasi/version.h>
#endif

#ifdef __wasip2__

#include <stdint.h>

#define HOST(name) __attribute__((import_module("wasi:sockets/tcp@0.2.0"), import_name("[method]tcp-socket." name)))

HOST("remote-address") void poise__host_remote_address(int32_t socket, uint8_t *result);
HOST("local-address") void poise__host_local_address(int32_t socket, uint8_t *result);

/* result<ip-socket-address, error-code>: a byte that is 1 for an error; the error's number is at offset 4, where the
 * address would be. */
enum { IS_ERROR = 0, ERROR_CODE = 4, INVALID_STATE = 9, CONNECTION_RESET = 15 };

static void soften(uint8_t *result)
{
    if (result[IS_ERROR] == 1 && result[ERROR_CODE] == INVALID_STATE)
        result[ERROR_CODE] = CONNECTION_RESET;
}

void __wasm_import_tcp_method_tcp_socket_remote_address(int32_t socket, uint8_t *result);
void __wasm_import_tcp_method_tcp_socket_local_address(int32_t socket, uint8_t *result);

__attribute__((weak)) void __wasm_import_tcp_method_tcp_socket_remote_address(int32_t socket, uint8_t *result)
{
    poise__host_remote_address(socket, result);
    soften(result);
}

__attribute__((weak)) void __wasm_import_tcp_method_tcp_socket_local_address(int32_t socket, uint8_t *result)
{
    poise__host_local_address(socket, result);
    soften(result);
}

#else
typedef int poise__no_wasip2; /* ISO C wants a declaration */
#endif
