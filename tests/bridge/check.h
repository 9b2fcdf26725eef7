/* What the programs of tests/bridge.py share: each is a program of its own, and says "ok" or what is wrong. */
#ifndef POISE_BRIDGE_CHECK_H
#define POISE_BRIDGE_CHECK_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHECK(expression)                                                                                \
    do {                                                                                                 \
        if (!(expression)) {                                                                             \
            printf("failed: %s:%d: %s (errno: %s)\n", __FILE__, __LINE__, #expression, strerror(errno)); \
            exit(1);                                                                                     \
        }                                                                                                \
    } while (0)

/* A connected TCP pair on the loopback, non-blocking. */
static inline void tcp_pair(int fd[2])
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 1) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    fd[0] = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fd[0], (struct sockaddr *)&address, size) == 0);
    fd[1] = accept(listener, NULL, NULL);
    CHECK(fd[1] >= 0 && fcntl(fd[0], F_SETFL, O_NONBLOCK) == 0 && fcntl(fd[1], F_SETFL, O_NONBLOCK) == 0);
    close(listener);
}

static inline bool own_poll(int fd, short events, int milliseconds)
{
    struct pollfd one = { .fd = fd, .events = events };
    return poll(&one, 1, milliseconds) == 1 && (one.revents & events) != 0;
}

static inline void send_byte(int fd)
{
    while (send(fd, "x", 1, 0) != 1)
        CHECK(errno == EAGAIN && own_poll(fd, POLLOUT, 5000));
}

#endif
