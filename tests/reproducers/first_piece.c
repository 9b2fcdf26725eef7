/* Under WASI readv(2) and writev(2) on a socket take the first piece alone, though there is room and data for all: a
 * short count, which POSIX allows, and which no other system gives here. No poise in it.
 *
 *     tools/wasi-cc --no-poise tests/reproducers/first_piece.c -o pieces.wasm && tools/wasi-run pieces.wasm
 *
 * prints "writev: 6 of 11, readv: 6 of 11", natively "11 of 11" for both.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

int main(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    char some[6], rest[5], hello[] = "hello ", world[] = "world";
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 8) ||
        getsockname(listener, (struct sockaddr *)&address, &size) || connect(client, (struct sockaddr *)&address, size))
        return 1;
    int server = accept(listener, NULL, NULL);
    struct iovec out[] = { { hello, 6 }, { world, 5 } }, in[] = { { some, 6 }, { rest, 5 } };
    printf("writev: %zd of 11, ", writev(client, out, 2));
    fflush(stdout);
    if (send(client, world, 5, 0) != 5)
        return 1;
    usleep(100000); /* all of it has arrived */
    printf("readv: %zd of 11\n", readv(server, in, 2));
    return 0;
}
