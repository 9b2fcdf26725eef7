/* SPDX-License-Identifier: MIT
 *
 * helper COMMAND...: the other side of a component's connections, a native process.
 *
 * Runs COMMAND with `port=N` behind its arguments, on its own standard input, output and errors, and ends with its
 * status. Whatever message comes on a connection is sent back after the time that it names, on the connection that it
 * names (message.h). The first connection is for orders and is not counted. */
#include "message.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BACKLOG = 128, MOST_EVENTS = 256, FIRST_ROOM = 1024 };
enum { LISTENER = UINT32_MAX, CHILD = UINT32_MAX - 1 };

struct due {
    uint64_t at;
    struct message message;
};

static int poller, listener, *connections; /* connections[0] is for orders */
static uint32_t count, room;
static struct due *heap; /* the earliest first */
static size_t waiting, heap_room;

static _Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

static void *grown(void *block, size_t n, size_t size)
{
    void *moved = realloc(block, n * size);
    if (moved == NULL)
        die("realloc");
    return moved;
}

static uint64_t now_ns(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void push(struct due due)
{
    if (waiting == heap_room) {
        heap_room = heap_room > 0 ? heap_room * 2 : FIRST_ROOM;
        heap = grown(heap, heap_room, sizeof *heap);
    }
    size_t i = waiting++;
    for (; i > 0 && heap[(i - 1) / 2].at > due.at; i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = due;
}

static struct due pop(void)
{
    struct due first = heap[0];
    struct due last = heap[--waiting];
    size_t i = 0;
    for (size_t child = 1; child < waiting; child = 2 * i + 1) {
        child += child + 1 < waiting && heap[child + 1].at < heap[child].at;
        if (heap[child].at >= last.at)
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return first;
}

static void watch(int fd, uint32_t what)
{
    struct epoll_event event = { .events = EPOLLIN, .data.u32 = what };
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll_ctl");
}

static uint16_t listen_somewhere(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, BACKLOG) != 0 || getsockname(listener, (struct sockaddr *)&address, &size) != 0)
        die("listen");
    watch(listener, LISTENER);
    return ntohs(address.sin_port);
}

static void accept_one(void)
{
    int on = 1;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        die("accept");
    if (count == room) {
        room = room > 0 ? room * 2 : FIRST_ROOM;
        connections = grown(connections, room, sizeof *connections);
    }
    connections[count] = fd;
    watch(fd, count++);
}

static void answer(struct message message)
{
    if (message.target + 1 >= count)
        return;
    message.sent = now_ns(CLOCK_REALTIME);
    (void)send(connections[message.target + 1], &message, sizeof message, MSG_NOSIGNAL);
}

static void serve(int fd)
{
    struct message message;
    ssize_t n = recv(fd, &message, sizeof message, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        (void)epoll_ctl(poller, EPOLL_CTL_DEL, fd, NULL); /* the component ends */
    } else if (n == (ssize_t)sizeof message && message.delay_us == 0) {
        answer(message);
    } else if (n == (ssize_t)sizeof message) {
        push((struct due){ now_ns(CLOCK_MONOTONIC) + message.delay_us * UINT64_C(1000), message });
    }
}

static _Noreturn void become(char **command, int n, uint16_t port, pid_t parent)
{
    char text[16];
    char **arguments = grown(NULL, (size_t)n + 2, sizeof *arguments);
    memcpy(arguments, command, (size_t)n * sizeof *arguments);
    (void)snprintf(text, sizeof text, "port=%u", port);
    arguments[n] = text;
    arguments[n + 1] = NULL;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent)
        (void)execvp(arguments[0], arguments);
    die(arguments[0]);
}

static int status_of(pid_t child)
{
    int status;
    if (waitpid(child, &status, 0) != child)
        die("waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static struct timespec until_next(void)
{
    uint64_t now = now_ns(CLOCK_MONOTONIC);
    uint64_t left = heap[0].at > now ? heap[0].at - now : 0;
    return (struct timespec){ .tv_sec = (time_t)(left / 1000000000), .tv_nsec = (long)(left % 1000000000) };
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: helper COMMAND...\n");
        return 2;
    }
    struct rlimit files;
    (void)getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max; /* for the command, too */
    (void)setrlimit(RLIMIT_NOFILE, &files);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0)
        die("epoll_create1");
    uint16_t port = listen_somewhere();
    pid_t self = getpid();
    pid_t child = fork();
    if (child < 0)
        die("fork");
    if (child == 0)
        become(argv + 1, argc - 1, port, self);
    (void)prctl(PR_SET_TIMERSLACK, 1UL);
    int end = (int)syscall(SYS_pidfd_open, child, 0);
    if (end < 0)
        die("pidfd_open");
    watch(end, CHILD);
    for (;;) {
        struct epoll_event events[MOST_EVENTS];
        struct timespec time = waiting > 0 ? until_next() : (struct timespec){ 0 };
        int n = epoll_pwait2(poller, events, MOST_EVENTS, waiting > 0 ? &time : NULL, NULL);
        if (n < 0 && errno != EINTR)
            die("epoll_pwait2");
        for (int i = 0; i < n; i++) {
            if (events[i].data.u32 == LISTENER)
                accept_one();
            else if (events[i].data.u32 == CHILD)
                return status_of(child);
            else
                serve(connections[events[i].data.u32]);
        }
        while (waiting > 0 && heap[0].at <= now_ns(CLOCK_MONOTONIC))
            answer(pop().message);
    }
}
