/* A peer that resets its connection ends a component that asks for its address: getpeername in wasi-libc 2026-04,
 * accept with an address in 2026-08, too; on every host (src/wasi/socket_address.c). No poise in it.
 *
 *     tools/wasi-cc --no-poise tests/reproducers/accept_reset.c -o reset.wasm && tools/wasi-run reset.wasm
 *     tools/wasi-run reset.wasm getpeername
 *
 * prints a port; let a client connect to it with SO_LINGER 0 and close at once:
 *
 *     python3 -c 'import socket, struct, sys; s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
 *     s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); s.close()' PORT
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    (void)argv;
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 8) ||
        getsockname(listener, (struct sockaddr *)&address, &size))
        return 1;
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    struct pollfd waiting = { .fd = listener, .events = POLLIN };
    poll(&waiting, 1, 10000);
    usleep(200000); /* the reset comes */
    int fd = argc > 1 ? accept(listener, NULL, NULL) : accept(listener, (struct sockaddr *)&address, &size);
    int named = getpeername(fd, (struct sockaddr *)&address, &size);
    printf("still here: accept %d, getpeername %d\n", fd, named);
    return 0;
}
