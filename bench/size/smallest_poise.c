/* SPDX-License-Identifier: MIT
 *
 * smallest_poll.c with poise.
 */
#include <poise/poise.h>

#include <unistd.h>

int main(void)
{
    char bytes[256];
    ssize_t n = 1;
    poise *queue;
    if (poise_open(&queue, NULL) < 0 || poise_watch(queue, poise_fd(0), POISE_READABLE, NULL) < 0) {
        return 1;
    }
    while (n > 0) {
        poise_event event;
        if (poise_wait(queue, POISE_FOREVER) > 0 && poise_next(queue, &event)) {
            n = read(0, bytes, sizeof bytes);
        }
    }
    poise_close(queue);
    return n < 0;
}
