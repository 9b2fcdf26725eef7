/* poise is linked, and not used: the bridge is in the program all the same, since libc's poll(2) refers to what it defines. */
#include "check.h"

int main(void)
{
    int fd[2];
    char byte;
    tcp_pair(fd);
    for (int i = 0; i < 50; i++) {
        send_byte(fd[1]);
        CHECK(own_poll(fd[0], POLLIN, 5000));
        CHECK(recv(fd[0], &byte, 1, 0) == 1);
    }
    CHECK(poll(NULL, 0, 5) == 0);
    close(fd[0]);
    close(fd[1]);
    puts("ok");
    return 0;
}
