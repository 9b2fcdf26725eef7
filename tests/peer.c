/* The other end of the fairness test (fair.c): a process of its own, since a component has not enough descriptors for
 * both.
 *
 * Prints the port on which it listens on the loopback; sends one byte on every 5th connection; keeps them until they are
 * closed, or standard input ends. (It closes its ends, too: else Linux, when it gives a port anew, lets a connect run
 * into what is left of the old connection, and wait for a second.) */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static int watch(int epoll, int fd, unsigned events)
{
    struct epoll_event event = { .events = events, .data.fd = fd };
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void take(int epoll, int listener, unsigned *n)
{
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) { /* no descriptor is left: so it is with the other end */
        epoll_ctl(epoll, EPOLL_CTL_DEL, listener, NULL);
        return;
    }
    if (watch(epoll, fd, EPOLLRDHUP) != 0)
        perror("peer: epoll_ctl");
    if ((*n)++ % 5 == 0 && send(fd, "x", 1, MSG_NOSIGNAL) != 1)
        perror("peer: send");
}

int main(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), epoll = epoll_create1(0);
    if (listener < 0 || epoll < 0 || bind(listener, (struct sockaddr *)&address, size) != 0 ||
        listen(listener, 4096) != 0 || getsockname(listener, (struct sockaddr *)&address, &size) != 0 ||
        watch(epoll, listener, EPOLLIN) != 0 || watch(epoll, 0, EPOLLIN) != 0) {
        perror("peer");
        return 1;
    }
    printf("%u\n", (unsigned)ntohs(address.sin_port));
    fflush(stdout);
    struct epoll_event event;
    for (unsigned n = 0; epoll_wait(epoll, &event, 1, -1) > 0 && event.data.fd != 0;) {
        if (event.data.fd == listener)
            take(epoll, listener, &n);
        else
            close(event.data.fd);
    }
    return 0;
}
