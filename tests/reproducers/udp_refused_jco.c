/* jco ends a program, with "Error: recvmsg ECONNREFUSED" and status 134, when the answer that nobody is there comes while a
 * connected UDP socket is being closed: its datagram streams are gone by then, and nobody else listens for the error. No
 * poise in it.
 *
 *     tools/wasi-cc --no-poise tests/reproducers/udp_refused_jco.c -o refused.wasm && tools/wasi-run --host jco refused.wasm
 *
 * prints "still here" on wasmtime alone. It happens about once in some hundred sockets.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
    struct sockaddr_in nobody = { .sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons(9) };
    for (int i = 0; i < 1000; i++) {
        int fd = socket(AF_INET, SOCK_DGRAM, 0);
        if (connect(fd, (struct sockaddr *)&nobody, sizeof nobody))
            return 1;
        send(fd, "x", 1, 0);
        close(fd);
    }
    printf("still here\n");
    return 0;
}
