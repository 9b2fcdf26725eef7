/* The smallest program that shows that poise::http was found and works: nobody answers a request to port 1. Both C and
 * C++. */
#include <errno.h>
#include <poise/http.h>
#include <stdio.h>
#include <string.h>

static poise_http request;

int main(void)
{
    poise *queue;
    poise_event event;
    if (poise_open(&queue, NULL) != 0)
        return 1;
    int result = poise_http_start(queue, &request, "http://127.0.0.1:1/", NULL, &request);
    if (result != 0)
        return 2;
    while ((result = poise_http_status(&request)) == -EAGAIN && poise_wait(queue, POISE_FOREVER) >= 0)
        while (poise_next(queue, &event)) {}
    if (result >= 0 || result == -EAGAIN)
        return 3;
    poise_http_stop(&request);
    printf("poise_http with poise %s\n", poise_version());
    poise_close(queue);
    return 0;
}
