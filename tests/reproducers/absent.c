/* What WASI 0.2 has not got, and how wasi-libc says so: Unix sockets, peeking, out-of-band data, multicast, broadcast.
 * There is no pipe(2), socketpair(2), fork(2) or pthread_create(3) to call. No poise in it.
 *
 *     tools/wasi-cc --no-poise tests/reproducers/absent.c -o absent.wasm && tools/wasi-run absent.wasm
 *
 * prints an error for each, on every host.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* Its headers leave these out. The values are Linux's, as are those of the others. */
#ifndef SO_BROADCAST
#define SO_BROADCAST 6
#endif
#ifndef MSG_OOB
#define MSG_OOB 0x0001
#endif

static void tell(const char *what, long result) { printf("%s: %s\n", what, result < 0 ? strerror(errno) : "works"); }

int main(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct ip_mreq group = { .imr_multiaddr.s_addr = htonl(0xe0000001) };
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    int udp = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
    char byte;
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 8) ||
        getsockname(listener, (struct sockaddr *)&address, &size) || connect(client, (struct sockaddr *)&address, size))
        return 1;
    int server = accept(listener, NULL, NULL);
    struct pollfd waiting = { .fd = server, .events = POLLIN };
    if (send(client, "x", 1, 0) != 1 || poll(&waiting, 1, 2000) != 1)
        return 1;
    tell("a Unix socket", socket(AF_UNIX, SOCK_STREAM, 0));
    tell("MSG_PEEK", recv(server, &byte, 1, MSG_PEEK));
    tell("MSG_OOB", send(client, "x", 1, MSG_OOB));
    tell("SO_BROADCAST", setsockopt(udp, SOL_SOCKET, SO_BROADCAST, &on, sizeof on));
    tell("IP_MULTICAST_LOOP", setsockopt(udp, IPPROTO_IP, IP_MULTICAST_LOOP, &on, sizeof on));
    tell("IP_MULTICAST_TTL", setsockopt(udp, IPPROTO_IP, IP_MULTICAST_TTL, &on, sizeof on));
    tell("IP_ADD_MEMBERSHIP", setsockopt(udp, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group));
    tell("IPV6_MULTICAST_LOOP",
         setsockopt(socket(AF_INET6, SOCK_DGRAM, 0), IPPROTO_IPV6, IPV6_MULTICAST_LOOP, &on, sizeof on));
    return 0;
}
