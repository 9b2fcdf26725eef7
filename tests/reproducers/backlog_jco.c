/* jco accepts connections before the program does, whatever the backlog of the listener: none stays under way. No poise in it.
 *
 *     tools/wasi-cc --no-poise tests/reproducers/backlog_jco.c -o backlog.wasm && tools/wasi-run --host jco backlog.wasm
 *
 * With a backlog of 1 and nothing accepted, Linux holds two or three connections and lets the others wait, as under wasmtime. jco: 20 of 20.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

int main(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), connected = 0;
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&address, &size))
        return 1;
    for (int i = 0; i < 20; i++) {
        struct pollfd room = { .fd = socket(AF_INET, SOCK_STREAM, 0), .events = POLLOUT };
        fcntl(room.fd, F_SETFL, O_NONBLOCK);
        connect(room.fd, (struct sockaddr *)&address, size);
        connected += poll(&room, 1, 50) == 1;
    }
    printf("%d of 20 are connected\n", connected);
    return 0;
}
