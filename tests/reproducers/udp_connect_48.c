/* wasmtime 48 ends a component that connects a UDP socket which has been received from or waited for: trap "`connect`
 * needs exclusive access", in about half of the runs (a task of the host still has the socket). wasmtime 47 and 49 do
 * not. No poise in it.
 *
 *     tools/wasi-cc --no-poise tests/reproducers/udp_connect_48.c -o udp.wasm
 *     tools/wasi-run --host wasmtime-48 udp.wasm
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>

int main(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    for (int i = 0; i < 20; i++) {
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        char byte;
        address.sin_port = 0;
        bind(fd, (struct sockaddr *)&address, sizeof address);
        recv(fd, &byte, 1, 0);
        address.sin_port = htons(9);
        if (connect(fd, (struct sockaddr *)&address, sizeof address))
            return 1;
    }
    printf("still here\n");
    return 0;
}
