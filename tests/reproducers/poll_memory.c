/* libc's poll(2) in a component overwrites memory beyond some 2,700 descriptors: it keeps its lists on the stack, which has 64 KiB, and
 * nothing guards its end. Prints nothing more after "4000:", or traps. No poise in it.
 *
 *     tools/wasi-cc --no-poise tests/reproducers/poll_memory.c -o memory.wasm && tools/wasi-run memory.wasm
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

int main(void)
{
    static struct pollfd fds[4000];
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    for (int i = 0; i < 4000; i++) {
        fds[i] = (struct pollfd){ .fd = socket(AF_INET, SOCK_DGRAM, 0), .events = POLLIN };
        if (bind(fds[i].fd, (struct sockaddr *)&address, sizeof address))
            return 1;
    }
    for (int n = 1000; n <= 4000; n += 1000) {
        printf("%d:", n);
        fflush(stdout);
        printf(" poll returned %d\n", poll(fds, (nfds_t)n, 0));
    }
    return 0;
}
