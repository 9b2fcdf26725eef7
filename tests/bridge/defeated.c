/* Linked with a bridge whose override is not in force: the queue falls back to poll(2), and says so. */
#include <poise/wasi.h>

#include "with_poise.h"

int main(void)
{
    poise *queue = NULL;
    poise_options options = { .size = sizeof options, .backend = "wasip2" };
    int none;
    check_queue("poll");
    CHECK(poise_open(&queue, &options) == -ENOTSUP && queue == NULL);
    CHECK(setenv("POISE_BACKEND", "wasip2", 1) == 0);
    CHECK(poise_open(&queue, NULL) == -ENOTSUP && queue == NULL);
    CHECK(unsetenv("POISE_BACKEND") == 0);
    CHECK(poise_open(&queue, NULL) == 0);
    CHECK(poise_watch(queue, poise_pollable(1), POISE_READABLE, &none) == -ENOTSUP);
    CHECK(poise_unwatch(queue, poise_pollable(1)) == -ENOENT);
    poise_close(queue);
    check_queue("poll");
    puts("ok");
    return 0;
}
