/* jco only remembers TCP's hop limit and the numbers of keep-alive: it never tells them to the kernel, and makes up
 * those of a fresh socket (with a TTL of 1 no packet would get beyond the network). No poise in it.
 *
 *     tools/wasi-cc --no-poise tests/reproducers/options_jco.c -o options.wasm && tools/wasi-run --host jco options.wasm
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof value;
    getsockopt(fd, level, name, &value, &size);
    return value;
}

int main(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    printf("TTL %d (64 elsewhere), keep-alive %d, %d, %d (7200, 75, 9 elsewhere)\n", option(fd, IPPROTO_IP, IP_TTL),
           option(fd, IPPROTO_TCP, TCP_KEEPIDLE), option(fd, IPPROTO_TCP, TCP_KEEPINTVL),
           option(fd, IPPROTO_TCP, TCP_KEEPCNT));
    return 0;
}
