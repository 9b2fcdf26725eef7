/* mio's tests/registering.rs */
#include "kit.h"

struct connection {
    poise *queue;
    int listener, client;
    enum { CONNECTING, READ, WRITTEN } state;
};

/* The listener's event: accepts, sends, closes. */
static void greet(const struct connection *connection)
{
    int server = poise_tcp_accept(connection->listener, NULL);
    CHECK(server >= 0);
    CHECK_INT(patient_send(server, "foobar", 6, NULL), 6);
    close_gently(server);
}

static void client_readable(struct connection *connection)
{
    char bytes[8];
    CHECK_INT(connection->state, CONNECTING);
    ptrdiff_t n = receive(connection->queue, connection->client, bytes, sizeof bytes, NULL);
    if (on_wasi() && n == -EAGAIN) /* a spurious event */
        return;
    CHECK(n == 6 && memcmp(bytes, "foobar", 6) == 0);
    connection->state = READ;
    CHECK_INT(poise_watch(connection->queue, poise_fd(connection->client), OUT | EDGE, &connection->client), 0);
}

static void client_writable(struct connection *connection)
{
    CHECK_INT(connection->state, READ);
    connection->state = WRITTEN;
    CHECK_INT(poise_unwatch(connection->queue, poise_fd(connection->client)), 0);
    CHECK_INT(poise_unwatch(connection->queue, poise_fd(connection->listener)), 0);
}

TEST(registering, register_deregister)
{
    struct connection connection = { .queue = open_queue() };
    poise *queue = connection.queue;
    poise_address address;
    connection.listener = listen_at(V4, &address);
    CHECK_INT(poise_watch(queue, poise_fd(connection.listener), IN | EDGE, &connection.listener), 0);
    connection.client = poise_tcp_connect(&address);
    CHECK(connection.client >= 0);
    CHECK_INT(poise_watch(queue, poise_fd(connection.client), IN | EDGE, &connection.client), 0);
    while (connection.state != WRITTEN) {
        poise_event event;
        CHECK(next_event(queue, &event));
        if (event.data == &connection.listener)
            CALL(greet(&connection));
        else if (event.ready & IN)
            CALL(client_readable(&connection));
        else
            CALL(client_writable(&connection));
    }
    bool silence = quiet(queue);
    poise_close(queue);
    close(connection.client);
    close(connection.listener);
    POINT(silence);
}

TEST(registering, reregister_different_interest_without_poll)
{
    poise *queue = open_queue();
    poise_address address;
    int listener = listen_at(V4, &address);
    CHECK_INT(poise_watch(queue, poise_fd(listener), IN | EDGE, &listener), 0);
    int client = poise_tcp_connect(&address);
    CHECK(client >= 0);
    CHECK_INT(poise_watch(queue, poise_fd(client), IN | EDGE, &client), 0);
    await_readable(listener); /* in place of mio's sleep */
    CHECK_INT(poise_watch(queue, poise_fd(listener), OUT | EDGE, &listener), 0);
    bool silence = quiet(queue);
    int server = patient_accept(listener, NULL);
    poise_close(queue);
    close(server);
    close(client);
    close(listener);
    CHECK(server >= 0); /* there was something to be silent about */
    POINT(silence);
}

/* Watches one descriptor in two queues, each with data of its own. */
static void watch_twice(poise *queues[2], int fd, int data[2])
{
    for (int i = 0; i < 2; i++) {
        data[i] = fd;
        CHECK_INT(poise_watch(queues[i], poise_fd(fd), BOTH | EDGE, &data[i]), 0);
    }
}

/* G16: both queues report it. */
TEST(registering, tcp_register_multiple_event_loops)
{
    poise *queues[2] = { open_queue(), open_queue() };
    poise_address address;
    int listeners[2], clients[2];
    int listener = listen_at(V4, &address);
    CALL(watch_twice(queues, listener, listeners));
    int client = poise_tcp_connect(&address);
    CHECK(client >= 0);
    CALL(watch_twice(queues, client, clients));
    bool came[2];
    for (int i = 0; i < 2; i++) {
        came[i] = EVENTS_COME(queues[i], { &listeners[i], IN }, { &clients[i], OUT });
        poise_close(queues[i]);
    }
    close(client);
    close(listener);
    CHECK(came[0]);
    POINT(came[1]);
}

/* G16, with a datagram. The first receive comes before it: jco loses what comes earlier. */
TEST(registering, udp_register_multiple_event_loops)
{
    poise *queues[2] = { open_queue(), open_queue() };
    poise_address address = at(V4, 0), any = address;
    char bytes[8];
    int data[2], fd = poise_udp_bind(&address), sender = poise_udp_bind(&any);
    CHECK(fd >= 0 && sender >= 0);
    CHECK_INT(poise_local_address(fd, &address), 0);
    CHECK_INT(poise_recv(fd, bytes, sizeof bytes), -EAGAIN);
    CALL(watch_twice(queues, fd, data));
    CHECK_INT(patient_send(sender, "hello", 5, &address), 5);
    bool came[2];
    for (int i = 0; i < 2; i++)
        came[i] = EVENTS_COME(queues[i], { &data[i], IN });
    ptrdiff_t n = patient_recv(fd, bytes, sizeof bytes, NULL);
    for (int i = 0; i < 2; i++)
        poise_close(queues[i]);
    close(sender);
    close(fd);
    CHECK_INT(n, 5);
    CHECK(came[0]);
    POINT(came[1]);
}

TEST(registering, registering_after_deregistering)
{
    poise *queue = open_queue();
    poise_address address;
    int listener = listen_at(V4, &address);
    CHECK_INT(poise_watch(queue, poise_fd(listener), IN | EDGE, &listener), 0);
    CHECK_INT(poise_unwatch(queue, poise_fd(listener)), 0);
    CHECK_INT(poise_watch(queue, poise_fd(listener), IN | EDGE, &listener), 0);
    bool silence = quiet(queue);
    poise_close(queue);
    close(listener);
    POINT(silence);
}
