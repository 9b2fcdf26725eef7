/* mio's tests/poll.rs */
#include "kit.h"

#ifndef __wasi__
#include <pthread.h>
#include <time.h>
#endif

TEST(poll, run_once_with_nothing)
{
    poise *queue = open_queue();
    int result = poise_wait(queue, 100 * MS);
    poise_close(queue);
    POINT(result == 0);
}

/* G11: epoll has forgotten it; the other backends tell, once. */
TEST(poll, add_then_drop)
{
    poise *queue = open_queue();
    poise_address address;
    struct seen seen;
    int listener = listen_at(V4, &address);
    CHECK_INT(poise_watch(queue, poise_fd(listener), BOTH | EDGE, &listener), 0);
    close(listener);
    int result = wait_all(queue, 100 * MS, &seen);
    CHECK_INT(seen.n, backend_is("epoll") ? 0 : 1);
    if (seen.n == 1)
        CHECK(seen.event[0].data == &listener && (seen.event[0].ready & POISE_ERROR) != 0 &&
              seen.event[0].result == -EBADF);
    bool harmless = result >= 0 && quiet(queue);
    CALL(check_unharmed(queue));
    poise_close(queue);
    POINT(harmless);
}

TEST(poll, zero_duration_polls_events)
{
    poise *queue = open_queue();
    poise_address address;
    int fd[3], listener = listen_at(V4, &address);
    for (int i = 0; i < 3; i++) {
        fd[i] = poise_tcp_connect(&address);
        CHECK(fd[i] >= 0);
        CHECK_INT(poise_watch(queue, poise_fd(fd[i]), OUT | EDGE, &fd[i]), 0);
    }
    for (int i = 0; i < 3; i++) /* by queues of their own, in place of mio's sleep */
        CHECK_INT(patient_result(fd[i]), 0);
    struct seen seen;
    int result = wait_all(queue, 0, &seen);
    poise_close(queue);
    for (int i = 0; i < 3; i++) {
        close(fd[i]);
        CHECK((seen_ready(&seen, &fd[i]) & ~OUT) == 0);
    }
    close(listener);
    POINT(result >= 1 && seen.n >= 1);
}

/* The number that the next descriptor gets: the lowest one that is free. */
static int next_number(void)
{
    poise_address any = at(V4, 0);
    int fd = poise_udp_bind(&any);
    MUST(fd >= 0);
    close(fd);
    return fd;
}

TEST(poll, poll_closes_fd)
{
    int before = next_number();
    for (int i = 0; i < 2000; i++) {
        poise *queue = open_queue();
        CHECK_INT(poise_wait(queue, 0), 0);
        poise_close(queue);
    }
    int after = next_number();
    POINT(after == before);
}

TEST(poll, readiness_is_reregistered_after_would_block)
{
    poise *queue = open_queue();
    char bytes[16];
    int client, server;
    connected(V4, &client, &server);
    CHECK_INT(poise_watch(queue, poise_fd(client), IN | EDGE, &client), 0);
    CHECK_INT(patient_send(server, "hello", 5, NULL), 5);
    CHECK_INT(wait_receive(queue, &client, bytes, sizeof bytes, NULL), 5);
    CHECK_INT(receive(queue, client, bytes, sizeof bytes, NULL), -EAGAIN);
    CHECK(quiet(queue));
    CHECK_INT(patient_send(server, "again", 5, NULL), 5);
    ptrdiff_t n = wait_receive(queue, &client, bytes, sizeof bytes, NULL);
    poise_close(queue);
    close(client);
    close(server);
    POINT(n == 5 && memcmp(bytes, "again", 5) == 0);
}

TEST(poll, drop_cancels_interest_and_shuts_down)
{
    poise *queue = open_queue();
    poise_address address;
    char bytes[16];
    int listener = listen_at(V4, &address);
    int client = poise_tcp_connect(&address);
    CHECK(client >= 0);
    CHECK_INT(poise_watch(queue, poise_fd(client), BOTH | EDGE, &client), 0);
    CHECK(wait_for_bits(queue, &client, OUT) != 0);
    int server = patient_accept(listener, NULL);
    CHECK(server >= 0);
    CHECK_INT(receive(queue, client, bytes, sizeof bytes, NULL), -EAGAIN);
    close(client);
    ptrdiff_t n = patient_recv(server, bytes, sizeof bytes, NULL);
    CHECK_INT(poise_unwatch(queue, poise_fd(client)), 0);
    CHECK(quiet(queue)); /* the interest has gone, too */
    poise_close(queue);
    close(server);
    close(listener);
    POINT(n == 0);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

/* What one of mio's threads does with a source; natively it is a thread here, too. */
struct task {
    poise *queue;
    int fd;
    uint32_t first, last; /* interests */
    int result;
#ifndef __wasi__
    pthread_t thread;
    pthread_barrier_t *barrier; /* so that they begin together */
#endif
};

static void change_registration(struct task *task)
{
    poise_source source = poise_fd(task->fd);
    task->result = poise_watch(task->queue, source, task->first, &task->fd);
    if (task->result == 0)
        task->result = poise_unwatch(task->queue, source);
    if (task->result == 0)
        task->result = poise_watch(task->queue, source, task->first, &task->fd);
    if (task->result == 0)
        task->result = poise_watch(task->queue, source, task->last, &task->fd);
}

#ifdef __wasi__

/* WASI has no threads: there one after the other. */
static void change_registrations(struct task *tasks, int n)
{
    for (int i = 0; i < n; i++)
        change_registration(&tasks[i]);
}

#else

static void *change_in_a_thread(void *task)
{
    pthread_barrier_wait(((struct task *)task)->barrier);
    change_registration(task);
    return NULL;
}

static void change_registrations(struct task *tasks, int n)
{
    pthread_barrier_t barrier;
    MUST(pthread_barrier_init(&barrier, NULL, (unsigned)n) == 0);
    for (int i = 0; i < n; i++) {
        tasks[i].barrier = &barrier;
        MUST(pthread_create(&tasks[i].thread, NULL, change_in_a_thread, &tasks[i]) == 0);
    }
    for (int i = 0; i < n; i++)
        MUST(pthread_join(tasks[i].thread, NULL) == 0);
    pthread_barrier_destroy(&barrier);
}

#endif

TEST(poll, registry_operations_are_thread_safe)
{
    poise *queue = open_queue();
    poise_address address, any = at(V4, 0);
    int listener = listen_at(V4, &address), datagram = poise_udp_bind(&any), client = poise_tcp_connect(&address);
    CHECK(datagram >= 0 && client >= 0);
    struct task tasks[] = { { .queue = queue, .fd = listener, .first = IN | EDGE, .last = IN | EDGE },
                            { .queue = queue, .fd = datagram, .first = OUT | EDGE, .last = BOTH | EDGE },
                            { .queue = queue, .fd = client, .first = IN | EDGE, .last = BOTH | EDGE } };
    change_registrations(tasks, 3);
    for (int i = 0; i < 3; i++)
        CHECK_INT(tasks[i].result, 0);
    bool came = EVENTS_COME(queue, { &tasks[0].fd, IN }, { &tasks[1].fd, OUT }, { &tasks[2].fd, OUT });
    poise_close(queue);
    close(client);
    close(datagram);
    close(listener);
    POINT(came);
}

#ifdef __wasi__

TEST(poll, registry_behind_arc) { SKIP("WASI has no threads"); }
TEST(poll, register_during_poll) { SKIP("WASI has no threads"); }

#else

static void *watch_last(void *of)
{
    struct task *task = of;
    task->result = poise_watch(task->queue, poise_fd(task->fd), task->last, &task->fd);
    return NULL;
}

TEST(poll, registry_behind_arc)
{
    poise *queue = open_queue();
    poise_address address;
    int listener = listen_at(V4, &address), client = poise_tcp_connect(&address);
    CHECK(client >= 0);
    struct task tasks[] = { { .queue = queue, .fd = listener, .last = IN | EDGE },
                            { .queue = queue, .fd = client, .last = BOTH | EDGE } };
    for (int i = 0; i < 2; i++)
        MUST(pthread_create(&tasks[i].thread, NULL, watch_last, &tasks[i]) == 0);
    bool came = EVENTS_COME(queue, { &tasks[0].fd, IN }, { &tasks[1].fd, OUT });
    for (int i = 0; i < 2; i++)
        MUST(pthread_join(tasks[i].thread, NULL) == 0);
    poise_close(queue);
    close(client);
    close(listener);
    CHECK(tasks[0].result == 0 && tasks[1].result == 0);
    POINT(came);
}

/* The pause lets the wait begin first, nearly always: if it doesn't, the test is easier, not wrong. */
static void *watch_during_a_wait(void *of)
{
    struct task *task = of;
    struct timespec time = { .tv_nsec = 100 * MS };
    pthread_barrier_wait(task->barrier);
    nanosleep(&time, NULL);
    return watch_last(task);
}

TEST(poll, register_during_poll)
{
    pthread_barrier_t barrier;
    poise_address any = at(V4, 0);
    struct seen seen;
    struct task task = { .queue = open_queue(), .fd = poise_udp_bind(&any), .last = OUT | EDGE, .barrier = &barrier };
    CHECK(task.fd >= 0);
    MUST(pthread_barrier_init(&barrier, NULL, 2) == 0);
    MUST(pthread_create(&task.thread, NULL, watch_during_a_wait, &task) == 0);
    pthread_barrier_wait(&barrier);
    int n = wait_all(task.queue, patience(), &seen);
    MUST(pthread_join(task.thread, NULL) == 0);
    pthread_barrier_destroy(&barrier);
    poise_close(task.queue);
    close(task.fd);
    CHECK_INT(task.result, 0);
    POINT(n > 0 && seen.n == 1 && seen_ready(&seen, &task.fd) == OUT);
}

#endif

/* ---- registering ------------------------------------------------------------------------------------------------- */

/* Readable, too, but nobody asks for that any more. */
TEST(poll, reregister_interest_token_usage)
{
    poise *queue = open_queue();
    poise_address own = at(V4, 0);
    poise_event event;
    int fd = poise_udp_bind(&own), one = fd, two = fd;
    CHECK(fd >= 0);
    CHECK_INT(poise_local_address(fd, &own), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd), IN | EDGE, &one), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd), IN | EDGE, &one), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd), OUT | EDGE, &two), 0);
    CHECK_INT(patient_send(fd, "hello", 5, &own), 5);
    CHECK(next_event(queue, &event));
    bool silence = quiet(queue);
    poise_close(queue);
    close(fd);
    CHECK(silence);
    POINT(event.data == &two && event.ready == OUT);
}

/* G14: watching again replaces; there is no error. */
TEST(poll, double_register_different_token)
{
    poise *queue = open_queue();
    poise_address address;
    poise_event event;
    int listener = listen_at(V4, &address), one = listener, two = listener;
    CHECK_INT(poise_watch(queue, poise_fd(listener), IN | EDGE, &one), 0);
    CHECK_INT(poise_watch(queue, poise_fd(listener), IN | EDGE, &two), 0);
    int client = poise_tcp_connect(&address);
    CHECK(client >= 0);
    CHECK(next_event(queue, &event));
    bool silence = quiet(queue);
    poise_close(queue);
    close(client);
    close(listener);
    CHECK(silence);
    POINT(event.data == &two && event.ready == IN);
}

TEST(poll, poll_ok_after_cancelling_pending_ops)
{
    poise *queue = open_queue();
    poise_address address;
    poise_event event;
    int listener = listen_at(V4, &address), one = listener, two = listener;
    CHECK_INT(poise_watch(queue, poise_fd(listener), IN | EDGE, &one), 0);
    CHECK_INT(poise_wait(queue, 0), 0);
    CHECK_INT(poise_watch(queue, poise_fd(listener), IN | EDGE, &two), 0);
    int client = poise_tcp_connect(&address);
    CHECK(client >= 0);
    CHECK(next_event(queue, &event));
    CHECK(event.data == &two && event.ready == IN);
    int server = poise_tcp_accept(listener, NULL);
    CHECK(server >= 0);
    CHECK_INT(poise_watch(queue, poise_fd(client), OUT | EDGE, &client), 0);
    bool came = EVENTS_COME(queue, { &client, OUT });
    poise_close(queue);
    close(client);
    close(server);
    close(listener);
    POINT(came);
}

/* G14: one call is for both. */
TEST(poll, reregister_without_register)
{
    poise *queue = open_queue();
    poise_address address;
    int listener = listen_at(V4, &address);
    CHECK_INT(poise_again(queue, poise_fd(listener), IN), -ENOENT);
    CHECK_INT(poise_post(queue, poise_fd(listener), IN), -ENOENT);
    CHECK_INT(poise_watch(queue, poise_fd(listener), IN | EDGE, &listener), 0);
    int client = poise_tcp_connect(&address);
    CHECK(client >= 0);
    bool came = EVENTS_COME(queue, { &listener, IN });
    poise_close(queue);
    close(client);
    close(listener);
    POINT(came);
}

TEST(poll, deregister_without_register)
{
    poise *queue = open_queue();
    poise_address address;
    int listener = listen_at(V4, &address);
    int result = poise_unwatch(queue, poise_fd(listener));
    poise_close(queue);
    close(listener);
    POINT(result == -ENOENT);
}
