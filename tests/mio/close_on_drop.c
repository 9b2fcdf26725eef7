/* mio's tests/close_on_drop.rs */
#include "kit.h"

struct connection {
    poise *queue;
    int listener, client;
    bool writable;      /* the client has been reported so, and is watched for input from then on */
    int ends, accepted; /* how often the client has received the end */
};

static void client_readable(struct connection *connection)
{
    char bytes[16];
    CHECK(connection->writable);
    ptrdiff_t n = receive(connection->queue, connection->client, bytes, sizeof bytes, NULL);
    if (on_wasi() && n == -EAGAIN) /* a spurious event */
        return;
    CHECK_INT(n, 0);
    connection->ends++;
    CHECK_INT(poise_recv(connection->client, bytes, sizeof bytes), 0);
    connection->ends++;
}

static void handle(struct connection *connection, const poise_event *event)
{
    if (event->data == &connection->listener) {
        CHECK((event->ready & IN) != 0);
        int server = poise_tcp_accept(connection->listener, NULL);
        CHECK(server >= 0);
        close(server);
        connection->accepted++;
    } else if (event->ready & IN) {
        CALL(client_readable(connection));
    } else {
        CHECK((event->ready & OUT) != 0);
        connection->writable = true;
        CHECK_INT(poise_watch(connection->queue, poise_fd(connection->client), IN | EDGE, &connection->client), 0);
    }
}

TEST(close_on_drop, close_on_drop)
{
    struct connection connection = { .queue = open_queue() };
    poise *queue = connection.queue;
    poise_address address;
    connection.listener = listen_at(V4, &address);
    CHECK_INT(poise_watch(queue, poise_fd(connection.listener), IN | EDGE, &connection.listener), 0);
    connection.client = poise_tcp_connect(&address);
    CHECK(connection.client >= 0);
    CHECK_INT(poise_watch(queue, poise_fd(connection.client), OUT | EDGE, &connection.client), 0);
    while (connection.ends == 0) {
        poise_event event;
        CHECK(next_event(queue, &event));
        CALL(handle(&connection, &event));
    }
    poise_close(queue);
    close(connection.client);
    close(connection.listener);
    CHECK_INT(connection.accepted, 1);
    POINT(connection.ends == 2);
}
