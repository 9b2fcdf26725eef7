/* Connects to a name, sends a line, and prints the answer. connect NAME PORT [LINE] */
#include <errno.h>
#include <poise/connect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)

static int failed(const char *what, int error)
{
    return fprintf(stderr, "connect: %s: %s\n", what, strerror(-error)), 1;
}

int main(int argc, char **argv)
{
    poise *queue;
    poise_event event;
    poise_connect attempt = { 0 };
    if (argc < 3 || poise_open(&queue, NULL) < 0)
        return fputs("usage: connect NAME PORT [LINE]\n", stderr), 1;

    /* By the first of its addresses that answers: a socket within 10 seconds, or the reason why not. */
    unsigned long port = strtoul(argv[2], NULL, 10);
    int fd = port > UINT16_MAX ? -EINVAL : -EINPROGRESS;
    int error = poise_connect_start(queue, &attempt, argv[1], (uint16_t)port, poise_now() + 10 * SECOND, &attempt);
    if (error < 0)
        fd = error;
    while (fd == -EINPROGRESS && poise_wait(queue, POISE_FOREVER) > 0)
        while (fd == -EINPROGRESS && poise_next(queue, &event))
            fd = poise_connect_result(&attempt);
    if (fd < 0)
        return failed(argv[1], fd);
    poise_address peer;
    char text[POISE_ADDRESS_TEXT];
    poise_peer_address(fd, &peer), poise_address_format(&peer, text, sizeof text);
    printf("connected to %s\n", text);

    char line[1024];
    size_t size = (size_t)snprintf(line, sizeof line, "%.1000s\n", argc > 3 ? argv[3] : "hello"), sent = 0;
    ptrdiff_t n = -EAGAIN;
    poise_watch(queue, poise_fd(fd), POISE_WRITABLE, NULL);
    while (sent < size && (n > 0 || n == -EAGAIN) && poise_wait(queue, POISE_FOREVER) > 0)
        while (poise_next(queue, &event))
            if (sent < size && (n = poise_send(fd, line + sent, size - sent)) > 0)
                sent += (size_t)n;
    poise_watch(queue, poise_fd(fd), POISE_READABLE, NULL);
    for (n = -EAGAIN; n == -EAGAIN && poise_wait(queue, POISE_FOREVER) > 0;)
        while (n == -EAGAIN && poise_next(queue, &event))
            n = poise_recv(fd, line, sizeof line);
    if (n < 0)
        return failed(text, (int)n);
    printf("the answer has %d bytes: %.*s", (int)n, (int)n, line);
    poise_unwatch(queue, poise_fd(fd));
    close(fd);
    poise_close(queue);
}
