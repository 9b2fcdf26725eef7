/* jco ends both directions of a TCP connection when one is shut down: what the peer sends afterwards is lost.
 * No poise in it.
 *
 *     tools/wasi-cc --no-poise tests/reproducers/half_close_jco.c -o half.wasm && tools/wasi-run --host jco half.wasm
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    char bytes[8];
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 8) ||
        getsockname(listener, (struct sockaddr *)&address, &size) || connect(client, (struct sockaddr *)&address, size))
        return 1;
    int server = accept(listener, NULL, NULL);
    send(client, "bye", 3, 0);
    shutdown(client, SHUT_WR);
    while (recv(server, bytes, sizeof bytes, 0) > 0)
        ;
    printf("the server sends %zd more bytes\n", send(server, "hello", 5, 0));
    printf("the client receives %zd\n", recv(client, bytes, sizeof bytes, 0));
    return 0;
}
