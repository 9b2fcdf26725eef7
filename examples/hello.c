/* Waits for standard input and for a timer, in one call; natively and as a WASI 0.2 component. Ends with the input. */
#include <poise/poise.h>

#include <stdio.h>
#include <unistd.h>

int main(void)
{
    poise *queue;
    if (poise_open(&queue, NULL) < 0 || poise_watch(queue, poise_fd(STDIN_FILENO), POISE_READABLE, stdin) < 0)
        return fputs("hello: can't wait for standard input\n", stderr), 1;
    poise_timer tick = { 0 };
    poise_timer_start(queue, &tick, poise_now() + 1000000000, &tick);

    for (ssize_t n = 1; n > 0 && poise_wait(queue, POISE_FOREVER) > 0;) {
        poise_event event;
        while (poise_next(queue, &event)) {
            if (event.data == &tick) {
                puts("a second has passed");
                poise_timer_start(queue, &tick, tick.deadline_ns + 1000000000, &tick);
            } else if (event.data == stdin) {
                char bytes[256];
                n = read(STDIN_FILENO, bytes, sizeof bytes);
                printf("%zd bytes have come\n", n);
            }
        }
    }
    poise_close(queue);
}
