/* A poll(2) in which nothing could become ready traps the component ("empty poll list"), where POSIX would sleep: wasi-libc 2026-04,
 * on every host. No poise in it.
 *
 *     tools/wasi-cc --no-poise tests/reproducers/poll_empty.c -o empty.wasm && tools/wasi-run empty.wasm
 *     tools/wasi-run empty.wasm listener      the same for a listening socket that is asked for room
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
    (void)argv;
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct pollfd waiting = { .fd = socket(AF_INET, SOCK_STREAM, 0), .events = POLLOUT };
    if (bind(waiting.fd, (struct sockaddr *)&address, sizeof address) || listen(waiting.fd, 8))
        return 1;
    printf("poll returns %d\n", argc > 1 ? poll(&waiting, 1, -1) : poll(NULL, 0, -1));
    return 0;
}
