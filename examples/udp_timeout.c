/* A UDP server that counts each client's datagrams, and forgets silent ones. udp_timeout [MILLISECONDS] */
#include <poise/net.h>
#include <stdio.h>
#include <stdlib.h>

static struct client {
    poise_address address; /* of length 0: a free place */
    poise_timer silence;
    unsigned datagrams;
} clients[64];
static poise *queue;
static int fd;

static struct client *find(const poise_address *address)
{
    struct client *c = clients, *end = clients + sizeof clients / sizeof clients[0];
    for (; c < end && !poise_address_equal(&c->address, address); c++)
        ;
    return c < end ? c : NULL;
}

static void say(const struct client *client, const char *what)
{
    char text[64];
    size_t size = (size_t)snprintf(text, sizeof text, "%s %u", what, client->datagrams);
    poise_send_to(fd, text, size, &client->address); /* -EAGAIN: it is lost, as datagrams are */
}

static void take_datagrams(uint64_t patience_ns)
{
    char bytes[2048];
    poise_address from;
    while (poise_recv_from(fd, bytes, sizeof bytes, &from) >= 0) {
        struct client *client = find(&from);
        if (client == NULL && (client = find(NULL)) == NULL)
            continue; /* too many */
        client->address = from;
        client->datagrams++;
        poise_timer_start(queue, &client->silence, poise_now() + patience_ns, client); /* or again, from now */
        say(client, "datagram");
    }
}

int main(int argc, char **argv)
{
    poise_address at;
    poise_address_parse(&at, "127.0.0.1", 0);
    if (poise_open(&queue, NULL) < 0 || (fd = poise_udp_bind(&at)) < 0)
        return 1;
    printf("port %u\n", poise_local_address(fd, &at) == 0 ? poise_address_port(&at) : 0), fflush(stdout);
    poise_watch(queue, poise_fd(fd), POISE_READABLE, NULL);
    for (poise_event event; poise_wait(queue, POISE_FOREVER) > 0;)
        while (poise_next(queue, &event))
            if (event.data == NULL) {
                take_datagrams(1000000 * (argc > 1 ? strtoull(argv[1], NULL, 10) : 500));
            } else { /* its timer */
                say(event.data, "forgotten after");
                *(struct client *)event.data = (struct client){ .datagrams = 0 };
            }
}
