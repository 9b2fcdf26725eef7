/* jco: a TCP socket that is bound and does not listen accepts connections all the same (and closes them). No poise in it.
 *
 *     tools/wasi-cc --no-poise tests/reproducers/bound_accepts_jco.c -o bound.wasm && tools/wasi-run --host jco bound.wasm
 *
 * says "connected"; elsewhere "Connection refused", at once or in SO_ERROR.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int main(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int bound = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(bound, (struct sockaddr *)&address, size) || getsockname(bound, (struct sockaddr *)&address, &size))
        return 1;
    int result = connect(client, (struct sockaddr *)&address, size);
    printf("%s\n", result == 0 ? "connected" : strerror(errno));
    return 0;
}
