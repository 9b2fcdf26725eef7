/* close of a TCP socket waits, for ever if need be, until the peer has taken all that was sent: wasmtime 48, also with O_NONBLOCK.
 * wasmtime 47 throws away what was not sent yet; jco returns at once. No poise in it.
 *
 *     tools/wasi-cc --no-poise tests/reproducers/close_waits_48.c -o close.wasm && tools/wasi-run --host wasmtime-48 close.wasm
 *
 * prints "closing" and hangs; the others print "closed", too.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
    static char block[65536];
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 8) ||
        getsockname(listener, (struct sockaddr *)&address, &size) || connect(client, (struct sockaddr *)&address, size))
        return 1;
    int server = accept(listener, NULL, NULL); /* reads nothing */
    fcntl(client, F_SETFL, O_NONBLOCK);
    struct pollfd room = { .fd = client, .events = POLLOUT };
    do
        while (send(client, block, sizeof block, 0) > 0)
            ;
    while (poll(&room, 1, 100) > 0);
    puts("closing");
    fflush(stdout);
    close(client);
    puts("closed");
    return server < 0;
}
