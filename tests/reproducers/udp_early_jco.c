/* jco loses a datagram that comes before the program has received from the socket or waited for it, most times. No poise in it.
 *
 *     tools/wasi-cc --no-poise tests/reproducers/udp_early_jco.c -o early.wasm && tools/wasi-run --host jco early.wasm
 *
 * prints about "4 of 20 came"; with "asked" as an argument, and on wasmtime, 20 of 20.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    (void)argv;
    int came = 0;
    for (int i = 0; i < 20; i++) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) },
                           any = address;
        socklen_t size = sizeof address;
        int receiver = socket(AF_INET, SOCK_DGRAM, 0), sender = socket(AF_INET, SOCK_DGRAM, 0);
        if (bind(receiver, (struct sockaddr *)&address, size) || bind(sender, (struct sockaddr *)&any, size) ||
            getsockname(receiver, (struct sockaddr *)&address, &size))
            return 1;
        struct pollfd waiting = { .fd = receiver, .events = POLLIN };
        if (argc > 1)
            poll(&waiting, 1, 0);
        sendto(sender, "x", 1, 0, (struct sockaddr *)&address, size);
        came += poll(&waiting, 1, 300) == 1;
        close(receiver);
        close(sender);
    }
    printf("%d of 20 came\n", came);
    return 0;
}
