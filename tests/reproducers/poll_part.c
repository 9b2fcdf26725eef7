/* libc's poll(2) in a component reports a part of what is ready, always the same: under wasmtime a call of wasi:io/poll.poll gives a
 * task that has used up its budget (128 steps of tokio) no more. Of 200 sockets with a byte to read, those that come out in 100
 * calls are counted. No poise in it.
 *
 *     tools/wasi-cc --no-poise tests/reproducers/poll_part.c -o part.wasm && tools/wasi-run --host wasmtime-48 part.wasm
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

enum { N = 200 };

int main(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, N) ||
        getsockname(listener, (struct sockaddr *)&address, &size))
        return 1;
    static struct pollfd fds[N];
    static char seen[N];
    for (int i = 0; i < N; i++) {
        int client = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(client, (struct sockaddr *)&address, size))
            return 1;
        fds[i] = (struct pollfd){ .fd = accept(listener, NULL, NULL), .events = POLLIN };
        while (send(client, "x", 1, 0) != 1)
            poll(&(struct pollfd){ .fd = client, .events = POLLOUT }, 1, 10);
        poll(&fds[i], 1, 1000); /* alone, each is reported */
    }
    int ready = 0, total = 0;
    for (int call = 0; call < 100; call++) {
        ready = poll(fds, N, 1000);
        for (int i = 0; i < N; i++)
            seen[i] |= fds[i].revents != 0;
    }
    for (int i = 0; i < N; i++)
        total += seen[i];
    printf("of %d ready sockets the last call reported %d, and 100 calls together %d\n", N, ready, total);
    return 0;
}
