/* A TCP echo server in level mode: EAGAIN, short sends, half-closed connections, no descriptors left. echo [PORT] */
#include <errno.h>
#include <poise/net.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct connection {
    int fd, leaves;  /* leaves: it is closed as soon as it is writable */
    size_t from, to; /* bytes[from] to bytes[to] have come, and are not sent back yet */
    char bytes[4096];
};
static poise *queue;
static poise_timer retry;
static int listener;

static void serve(struct connection *c)
{
    ptrdiff_t n = 1;
    if (c->leaves) {
        poise_unwatch(queue, poise_fd(c->fd)); /* from now on no event has `c` in it */
        close(c->fd), free(c);
        return;
    }
    if (c->from == c->to && (n = poise_recv(c->fd, c->bytes, sizeof c->bytes)) > 0)
        c->from = 0, c->to = (size_t)n;
    if (n > 0 && (n = poise_send(c->fd, c->bytes + c->from, c->to - c->from)) > 0)
        c->from += (size_t)n;
    if (n <= 0 && n != -EAGAIN) /* the peer's end, or an error; a close at once might wait (docs/recipes.md) */
        c->leaves = 1, poise_shutdown(c->fd, SHUT_WR);
    poise_watch(queue, poise_fd(c->fd), c->leaves || c->from < c->to ? POISE_WRITABLE : POISE_READABLE, c);
}

static void take_connections(void)
{
    int fd;
    while ((fd = poise_tcp_accept(listener, NULL)) >= 0) {
        struct connection *c = calloc(1, sizeof *c);
        if (c == NULL || (c->fd = fd, poise_watch(queue, poise_fd(fd), POISE_READABLE, c)) < 0)
            free(c), close(fd);
    }
    if (fd != -EAGAIN) /* no descriptors left: level mode would report the listener again and again, so pause it */
        poise_timer_start(queue, &retry, poise_now() + 100000000, &listener);
    poise_watch(queue, poise_fd(listener), fd != -EAGAIN ? 0 : POISE_READABLE, &listener);
}

int main(int argc, char **argv)
{
    poise_address at;
    poise_address_parse(&at, "127.0.0.1", argc > 1 ? (uint16_t)strtoul(argv[1], NULL, 10) : 0);
    if (poise_open(&queue, NULL) < 0 || (listener = poise_tcp_listen(&at, 0)) < 0 ||
        poise_local_address(listener, &at) < 0)
        return 1;
    printf("port %u\n", poise_address_port(&at)), fflush(stdout);
    take_connections();
    for (poise_event event; poise_wait(queue, POISE_FOREVER) > 0;)
        while (poise_next(queue, &event))
            event.data == &listener ? take_connections() : serve(event.data);
}
