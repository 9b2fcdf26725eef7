/* jco: wasi:cli/stdin's get-stdin gives the same stream each time. A program that asks for it, while libc waits for standard input, too,
 * traps when it drops its own ("Cannot drop input stream as it has a child poll resource"). No poise in it.
 *
 *     tools/wasi-cc --no-poise tests/reproducers/stdin_twice_jco.c -o twice.wasm && tools/wasi-run --host jco twice.wasm
 */
#include <poll.h>
#include <stdio.h>
#include <wasi/wasip2.h>

int main(void)
{
    struct pollfd input = { .fd = 0, .events = POLLIN };
    poll(&input, 1, 0);
    streams_input_stream_drop_own(stdin_get_stdin());
    puts("dropped");
    return 0;
}
