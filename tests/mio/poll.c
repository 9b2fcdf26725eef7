/* mio's tests/poll.rs */
#include "kit.h"

#ifndef __wasi__
#include <pthread.h>
#include <time.h>
#endif

TEST(poll, run_once_with_nothing)
{
    poise *queue = open_queue();
    uint64_t start = poise_now();
    int result = poise_wait(queue, 100 * MS);
    uint64_t took = poise_now() - start;
    poise_close(queue);
    POINT(result == 0 && took >= (uint64_t)(100 * MS));
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

/* How many of the lowest numbers are open. */
static int descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 8192; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

TEST(poll, poll_closes_fd)
{
    int before = descriptors();
    for (int i = 0; i < 2000; i++) {
        poise *queue = open_queue();
        CHECK_INT(poise_wait(queue, 0), 0);
        poise_close(queue);
    }
    int after = descriptors();
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
    void (*work)(struct task *task);
    poise *queue;
    int fd;
    uint32_t first, last; /* interests */
    int result;
#ifndef __wasi__
    pthread_t thread;
#endif
};

#ifdef __wasi__

/* WASI has no threads: there one after the other. */
static void begin(struct task *tasks, int n)
{
    for (int i = 0; i < n; i++)
        tasks[i].work(&tasks[i]);
}

static void finish(struct task *tasks, int n) { (void)tasks, (void)n; }

#else

static pthread_barrier_t together; /* so that the threads begin at the same time */

static void *in_a_thread(void *of)
{
    struct task *task = of;
    pthread_barrier_wait(&together);
    task->work(task);
    return NULL;
}

static void begin(struct task *tasks, int n)
{
    MUST(pthread_barrier_init(&together, NULL, (unsigned)n) == 0);
    for (int i = 0; i < n; i++)
        MUST(pthread_create(&tasks[i].thread, NULL, in_a_thread, &tasks[i]) == 0);
}

static void finish(struct task *tasks, int n)
{
    for (int i = 0; i < n; i++)
        MUST(pthread_join(tasks[i].thread, NULL) == 0);
    pthread_barrier_destroy(&together);
}

#endif

static void watch_last(struct task *task)
{
    task->result = poise_watch(task->queue, poise_fd(task->fd), task->last, &task->fd);
}

static void change_registration(struct task *task)
{
    poise_source source = poise_fd(task->fd);
    task->result = poise_watch(task->queue, source, task->first, &task->fd);
    if (task->result == 0)
        task->result = poise_unwatch(task->queue, source);
    if (task->result == 0)
        task->result = poise_watch(task->queue, source, task->first, &task->fd);
    if (task->result == 0)
        watch_last(task);
}

TEST(poll, registry_behind_arc)
{
    poise *queue = open_queue();
    poise_address address;
    int listener = listen_at(V4, &address), client = poise_tcp_connect(&address);
    CHECK(client >= 0);
    struct task tasks[] = { { .work = watch_last, .queue = queue, .fd = listener, .last = IN | EDGE },
                            { .work = watch_last, .queue = queue, .fd = client, .last = BOTH | EDGE } };
    begin(tasks, 2);
    bool came = EVENTS_COME(queue, { &tasks[0].fd, IN }, { &tasks[1].fd, OUT });
    finish(tasks, 2);
    poise_close(queue);
    close(client);
    close(listener);
    CHECK(tasks[0].result == 0 && tasks[1].result == 0);
    POINT(came);
}

TEST(poll, registry_operations_are_thread_safe)
{
    poise *queue = open_queue();
    poise_address address, any = at(V4, 0);
    int listener = listen_at(V4, &address), datagram = poise_udp_bind(&any), client = poise_tcp_connect(&address);
    CHECK(datagram >= 0 && client >= 0);
    struct task tasks[] = {
        { change_registration, .queue = queue, .fd = listener, .first = IN | EDGE, .last = IN | EDGE },
        { change_registration, .queue = queue, .fd = datagram, .first = OUT | EDGE, .last = BOTH | EDGE },
        { change_registration, .queue = queue, .fd = client, .first = IN | EDGE, .last = BOTH | EDGE }
    };
    begin(tasks, 3);
    finish(tasks, 3);
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

TEST(poll, register_during_poll) { SKIP("WASI has no threads"); }

#else

/* The pause lets the wait begin first, nearly always: if it doesn't, the test is easier, not wrong. */
static void watch_during_a_wait(struct task *task)
{
    struct timespec time = { .tv_nsec = 100 * MS };
    nanosleep(&time, NULL);
    watch_last(task);
}

TEST(poll, register_during_poll)
{
    poise_address any = at(V4, 0);
    struct seen seen;
    struct task task = {
        .work = watch_during_a_wait, .queue = open_queue(), .fd = poise_udp_bind(&any), .last = OUT | EDGE
    };
    CHECK(task.fd >= 0);
    begin(&task, 1);
    int n = wait_all(task.queue, patience(), &seen);
    finish(&task, 1);
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
