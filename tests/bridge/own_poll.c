/* A program whose own poll(2) calls go on working beside poise, with the same sockets and with others, and select(2) as well. */
#include <sys/select.h>

#include "with_poise.h"

int main(void)
{
    poise *queue = NULL;
    int fd[2], other[2];
    char byte;
    CHECK(poll(NULL, 0, 1) == 0); /* before there is a queue */
    tcp_pair(other);
    CHECK(!own_poll(other[0], POLLIN, 10) && own_poll(other[0], POLLOUT, 5000));
    CHECK(poise_open(&queue, NULL) == 0 && strcmp(poise_backend(queue), "wasip2") == 0);
    tcp_pair(fd);
    CHECK(poise_watch(queue, poise_fd(fd[0]), POISE_READABLE, fd) == 0);
    for (int i = 0; i < 50; i++) {
        CHECK(!own_poll(fd[0], POLLIN, 0));
        CHECK(own_poll(fd[0], POLLOUT, 5000));
        send_byte(fd[1]);
        CHECK(own_poll(fd[0], POLLIN, 5000));
        CHECK(wait_for(queue, fd) & POISE_READABLE);
        send_byte(other[1]);
        struct pollfd two[2] = { { .fd = fd[0], .events = POLLIN }, { .fd = other[0], .events = POLLIN } };
        while (poll(two, 2, 5000) == 1 && !(two[1].revents & POLLIN))
            ;
        CHECK(two[1].revents & POLLIN);
        CHECK(recv(fd[0], &byte, 1, 0) == 1 && recv(other[0], &byte, 1, 0) == 1);
        while (recv(fd[0], &byte, 1, 0) == 1 || recv(other[0], &byte, 1, 0) == 1)
            ;
        CHECK(!own_poll(other[0], POLLIN, 0) || recv(other[0], &byte, 1, 0) < 0);
        fd_set set;
        struct timeval none = { 0, 0 };
        FD_ZERO(&set);
        FD_SET(fd[0], &set);
        CHECK(select(fd[0] + 1, NULL, &set, NULL, &none) == 1);
        CHECK(poise_wait(queue, 0) >= 0);
        poise_event event;
        while (poise_next(queue, &event))
            ;
    }
    poise_close(queue);
    CHECK(own_poll(other[0], POLLOUT, 5000)); /* and after it */
    puts("ok");
    return 0;
}
