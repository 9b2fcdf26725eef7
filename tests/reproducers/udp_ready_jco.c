/* jco: once a datagram has come, a UDP socket is readable for ever: nothing makes its pollable wait again. No poise in it.
 *
 *     tools/wasi-cc --no-poise tests/reproducers/udp_ready_jco.c -o ready.wasm && tools/wasi-run --host jco ready.wasm
 *
 * prints "readable" five times although there is nothing to receive; wasmtime says "not readable" from the second time on.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, any = address;
    socklen_t size = sizeof address;
    char byte;
    int receiver = socket(AF_INET, SOCK_DGRAM, 0), sender = socket(AF_INET, SOCK_DGRAM, 0);
    if (bind(receiver, (struct sockaddr *)&address, size) || bind(sender, (struct sockaddr *)&any, size) ||
        getsockname(receiver, (struct sockaddr *)&address, &size))
        return 1;
    fcntl(receiver, F_SETFL, O_NONBLOCK);
    struct pollfd waiting = { .fd = receiver, .events = POLLIN };
    poll(&waiting, 1, 0);
    sendto(sender, "x", 1, 0, (struct sockaddr *)&address, size);
    poll(&waiting, 1, 1000);
    recv(receiver, &byte, 1, 0);
    for (int i = 0; i < 5; i++) {
        int ready = poll(&waiting, 1, 20);
        printf("%s, receives %zd\n", ready == 1 ? "readable" : "not readable", recv(receiver, &byte, 1, 0));
    }
    return 0;
}
