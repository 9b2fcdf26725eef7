/* The other end of the fairness test (fair.c): a process of its own, since a component has not enough descriptors for
 * both.
 *
 * Prints the port on which it listens on the loopback; sends one byte on every 5th connection; keeps them all until
 * standard input ends. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 4096) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0) {
        perror("peer");
        return 1;
    }
    printf("%u\n", (unsigned)ntohs(address.sin_port));
    fflush(stdout);
    struct pollfd poll_fd[2] = { { .fd = 0, .events = POLLIN }, { .fd = listener, .events = POLLIN } };
    for (unsigned n = 0; poll(poll_fd, 2, -1) > 0 && poll_fd[0].revents == 0;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) { /* no descriptor is left: so it is with the other end */
            poll_fd[1].fd = -1;
            continue;
        }
        if (n++ % 5 == 0 && send(fd, "x", 1, MSG_NOSIGNAL) != 1)
            perror("peer: send");
    }
    return 0;
}
