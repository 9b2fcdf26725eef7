/* mio's tests/unix_pipe.rs. What mio's thread does with its end is done in between. */
#include "kit.h"

#ifdef __wasi__

TEST(unix_pipe, smoke) { SKIP("WASI has no pipes"); }
TEST(unix_pipe, event_when_sender_is_dropped) { SKIP("WASI has no pipes"); }
TEST(unix_pipe, event_when_receiver_is_dropped) { SKIP("WASI has no pipes"); }
TEST(unix_pipe, from_child_process_io) { SKIP("WASI has no pipes"); }
TEST(unix_pipe, nonblocking_child_process_io) { SKIP("WASI has no pipes"); }

#else

#include <spawn.h>
#include <sys/wait.h>

#define TEXT "through a pipe"
enum { LENGTH = sizeof TEXT - 1 };

/* The next wait has one event, which is of this source and has this hint. */
static bool one_closed_event(poise *queue, const int *fd, uint32_t hint)
{
    struct seen seen;
    return wait_all(queue, patience(), &seen) > 0 && seen.n == 1 && seen.event[0].data == fd &&
           (seen.event[0].ready & hint) != 0;
}

static bool would_block(int fd)
{
    char byte;
    return read(fd, &byte, 1) < 0 && errno == EAGAIN;
}

static bool received(int fd)
{
    char bytes[64];
    return read(fd, bytes, sizeof bytes) == LENGTH && memcmp(bytes, TEXT, LENGTH) == 0;
}

TEST(unix_pipe, smoke)
{
    poise *queue = open_queue();
    int fd[2];
    CHECK_INT(poise_pipe(fd), 0);
    CHECK(would_block(fd[0]));
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | EDGE, &fd[0]), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[1]), OUT | EDGE, &fd[1]), 0);
    CHECK(EVENTS_COME(queue, { &fd[1], OUT }));
    CHECK_INT(write(fd[1], TEXT, LENGTH), LENGTH);
    CHECK(EVENTS_COME(queue, { &fd[0], IN }));
    bool read_it = received(fd[0]);
    poise_close(queue);
    close(fd[0]);
    close(fd[1]);
    POINT(read_it);
}

TEST(unix_pipe, event_when_sender_is_dropped)
{
    poise *queue = open_queue();
    int fd[2];
    CHECK_INT(poise_pipe(fd), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | EDGE, &fd[0]), 0);
    CHECK_INT(write(fd[1], TEXT, LENGTH), LENGTH);
    CHECK(EVENTS_COME(queue, { &fd[0], IN }));
    close(fd[1]);
    eagain(queue, fd[0], IN); /* the bytes stay unread */
    bool told = one_closed_event(queue, &fd[0], POISE_READ_CLOSED);
    poise_close(queue);
    close(fd[0]);
    POINT(told);
}

TEST(unix_pipe, event_when_receiver_is_dropped)
{
    poise *queue = open_queue();
    int fd[2];
    CHECK_INT(poise_pipe(fd), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[1]), OUT | EDGE, &fd[1]), 0);
    CHECK(EVENTS_COME(queue, { &fd[1], OUT }));
    close(fd[0]);
    eagain(queue, fd[1], OUT); /* it is not full */
    bool told = one_closed_event(queue, &fd[1], POISE_WRITE_CLOSED);
    poise_close(queue);
    close(fd[1]);
    POINT(told);
}

/* ---- a child's ends ---------------------------------------------------------------------------------------------- */

/* `cat`, with pipes of another's making: theirs and ours block. fd[0]: its output; fd[1]: its input. */
static pid_t start_cat(int fd[2])
{
    extern char **environ;
    char *const arguments[] = { (char[]){ "cat" }, NULL };
    posix_spawn_file_actions_t actions;
    int input[2], output[2];
    pid_t child;
    MUST(pipe2(input, O_CLOEXEC) == 0 && pipe2(output, O_CLOEXEC) == 0);
    MUST(posix_spawn_file_actions_init(&actions) == 0);
    MUST(posix_spawn_file_actions_adddup2(&actions, input[0], STDIN_FILENO) == 0);
    MUST(posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO) == 0);
    MUST(posix_spawnp(&child, arguments[0], &actions, NULL, arguments, environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    close(input[0]);
    close(output[1]);
    fd[0] = output[0];
    fd[1] = input[1];
    return child;
}

static int status_of(pid_t child)
{
    int status = -1;
    MUST(waitpid(child, &status, 0) == child);
    return status;
}

TEST(unix_pipe, from_child_process_io)
{
    poise *queue = open_queue();
    int fd[2];
    pid_t child = start_cat(fd);
    set_nonblocking(fd[0]);
    CHECK_INT(poise_watch(queue, poise_fd(fd[0]), IN | EDGE, &fd[0]), 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd[1]), OUT | EDGE, &fd[1]), 0);
    CHECK(EVENTS_COME(queue, { &fd[1], OUT }));
    CHECK_INT(write(fd[1], TEXT, LENGTH), LENGTH);
    CHECK(EVENTS_COME(queue, { &fd[0], IN }));
    CHECK(received(fd[0]));
    CHECK(would_block(fd[0]));
    eagain(queue, fd[0], IN);
    CHECK_INT(poise_unwatch(queue, poise_fd(fd[1])), 0); /* the one event is of the other end */
    close(fd[1]);
    bool told = one_closed_event(queue, &fd[0], POISE_READ_CLOSED);
    poise_close(queue);
    close(fd[0]);
    CHECK_INT(status_of(child), 0);
    POINT(told);
}

TEST(unix_pipe, nonblocking_child_process_io)
{
    int fd[2];
    pid_t child = start_cat(fd);
    set_nonblocking(fd[0]);
    bool blocks = would_block(fd[0]);
    close(fd[1]);
    CHECK_INT(status_of(child), 0);
    close(fd[0]);
    POINT(blocks);
}

#endif
