/* SPDX-License-Identifier: MIT
 *
 * syscalls FILE COMMAND...: runs COMMAND, and writes into FILE how often it (its first thread) made each system call, a
 * line `NUMBER COUNT` for each. A kernel that does not let it trace is status 3.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/ptrace.h>

enum { NUMBERS = 1024 };

static unsigned long counts[NUMBERS];

static void count_one(pid_t child)
{
    struct ptrace_syscall_info info;
    long size = ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof info, &info);
    if (size > 0 && info.op == PTRACE_SYSCALL_INFO_ENTRY && info.entry.nr < NUMBERS) {
        counts[info.entry.nr]++;
    }
}

/* Returns the exit status, as a shell has it. */
static int trace(pid_t child)
{
    int status;
    while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
        int signal = WSTOPSIG(status);
        if (signal == (SIGTRAP | 0x80)) {
            count_one(child);
            signal = 0;
        } else if (signal == SIGTRAP || signal == SIGSTOP) {
            signal = 0; /* of the exec, of the beginning */
        }
        if (ptrace(PTRACE_SYSCALL, child, NULL, (long)signal) != 0 && errno != ESRCH) {
            return 3;
        }
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        return fputs("usage: syscalls FILE COMMAND...\n", stderr), 2;
    }
    pid_t child = fork();
    if (child == 0) {
        (void)raise(SIGSTOP);
        execvp(argv[2], argv + 2);
        perror(argv[2]);
        _exit(127);
    }
    int status;
    if (child < 0 || ptrace(PTRACE_SEIZE, child, NULL, (long)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)) != 0) {
        perror("syscalls");
        (void)kill(child, SIGKILL);
        return 3;
    }
    while (waitpid(child, &status, WUNTRACED) == child && !WIFSTOPPED(status)) {}
    (void)kill(child, SIGCONT);
    if (ptrace(PTRACE_SYSCALL, child, NULL, 0L) != 0) {
        perror("syscalls");
        return 3;
    }
    status = trace(child);
    FILE *file = fopen(argv[1], "w");
    if (file == NULL) {
        perror(argv[1]);
        return 3;
    }
    for (int i = 0; i < NUMBERS; i++) {
        if (counts[i] > 0) {
            (void)fprintf(file, "%d %lu\n", i, counts[i]);
        }
    }
    return fclose(file) == 0 ? status : 3;
}
