/* The smallest program that shows that poise was found and works. Both C and C++. */
#include <poise/net.h>
#include <poise/poise.h>
#include <poise/wasi.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    poise *queue;
    if (poise_open(&queue, NULL) != 0)
        return 1;
    poise_timer timer;
    memset(&timer, 0, sizeof timer);
    if (poise_timer_start(queue, &timer, poise_now() + 1000000, &timer) != 0)
        return 2;
    poise_event event;
    if (poise_wait(queue, 2000000000) <= 0 || !poise_next(queue, &event))
        return 3;
    if (event.data != &timer || event.ready != POISE_TIMER)
        return 4;
    printf("poise %s, %s\n", poise_version(), poise_backend(queue));
    poise_close(queue);
    return 0;
}
