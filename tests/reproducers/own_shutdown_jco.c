/* jco does not report the end of what the program itself has shut down: poll(2) finds nothing readable after SHUT_RDWR. No poise
 * in it.
 *
 *     tools/wasi-cc --no-poise tests/reproducers/own_shutdown_jco.c -o own.wasm && tools/wasi-run --host jco own.wasm
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

int main(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 8) ||
        getsockname(listener, (struct sockaddr *)&address, &size) || connect(client, (struct sockaddr *)&address, size))
        return 1;
    accept(listener, NULL, NULL);
    shutdown(client, SHUT_RDWR);
    struct pollfd poll_fd = { .fd = client, .events = POLLIN };
    printf("poll reports %d (1 elsewhere)\n", poll(&poll_fd, 1, 1000));
    return 0;
}
