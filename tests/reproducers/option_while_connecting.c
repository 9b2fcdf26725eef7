/* wasi-libc ends the program (abort) that reads or sets TTL, keep-alive or buffer size of a TCP socket while it
 * connects: it does not know the error that the host answers with. On wasmtime, 47 and 48; on jco the options work then.
 * SO_ERROR and TCP_NODELAY are harmless: libc answers them itself. No poise in it.
 *
 *     tools/wasi-cc --no-poise tests/reproducers/option_while_connecting.c -o option.wasm
 *     tools/wasi-run --host wasmtime-48 option.wasm ttl          or keepalive, buffer; error, nodelay
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static const struct {
    const char *name;
    int level, option;
} options[] = {
    { "ttl", IPPROTO_IP, IP_TTL },     { "keepalive", SOL_SOCKET, SO_KEEPALIVE }, { "buffer", SOL_SOCKET, SO_RCVBUF },
    { "error", SOL_SOCKET, SO_ERROR }, { "nodelay", IPPROTO_TCP, TCP_NODELAY },
};

int main(int argc, char **argv)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 8) ||
        getsockname(listener, (struct sockaddr *)&address, &size))
        return 1;
    int result = connect(client, (struct sockaddr *)&address, size);
    printf("connect: %s\n", result == 0 ? "connected" : strerror(errno));
    fflush(stdout);
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        int value = 0;
        size = sizeof value;
        if (argc > 1 && strcmp(argv[1], options[i].name) != 0)
            continue;
        result = getsockopt(client, options[i].level, options[i].option, &value, &size);
        printf("%s: %s, %d\n", options[i].name, result == 0 ? "works" : strerror(errno), value);
        fflush(stdout);
    }
    return 0;
}
