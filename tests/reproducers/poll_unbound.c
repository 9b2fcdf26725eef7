/* A TCP socket that is neither connecting, connected nor listening makes the whole poll(2) fail, and what is ready beside it
 * is not reported: wasi-libc 2026-04, on every host. No poise in it.
 *
 *     tools/wasi-cc --no-poise tests/reproducers/poll_unbound.c -o unbound.wasm && tools/wasi-run unbound.wasm
 *
 * prints "-1 (Not supported)"; POSIX wants 1 or 2, as the UDP socket has room.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int main(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct pollfd two[2] = { { .fd = socket(AF_INET, SOCK_DGRAM, 0), .events = POLLOUT },
                             { .fd = socket(AF_INET, SOCK_STREAM, 0), .events = POLLOUT } };
    if (bind(two[0].fd, (struct sockaddr *)&address, sizeof address))
        return 1;
    int result = poll(two, 2, 100);
    printf("%d (%s)\n", result, result < 0 ? strerror(errno) : "as it should be");
    return 0;
}
