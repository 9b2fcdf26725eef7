/* Fetches a URL and prints its body; natively, and as a WASI 0.2 component (tools/wasi-run --http). */
#include <poise/http.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Does what can be done now. -EAGAIN: wait on; 0: that was all; else it has failed. */
static int take(poise_http *request, bool *told)
{
    int status = poise_http_status(request);
    if (status < 0)
        return status;
    if (!*told)
        fprintf(stderr, "get: status %d\n", status);
    *told = true;
    char bytes[4096];
    ptrdiff_t n;
    while ((n = poise_http_recv(request, bytes, sizeof bytes)) > 0)
        fwrite(bytes, 1, (size_t)n, stdout);
    return (int)n;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return fputs("usage: get URL\n", stderr), 2;
    poise *queue;
    poise_http request = { 0 };
    poise_http_options options = { .size = sizeof options, .deadline_ns = poise_now() + 30000000000 };
    int result = poise_open(&queue, NULL);
    if (result < 0)
        return fprintf(stderr, "get: %s\n", strerror(-result)), 1;
    result = poise_http_start(queue, &request, argv[1], &options, &request);
    if (result == 0)
        result = -EAGAIN;
    for (bool told = false; result == -EAGAIN && poise_wait(queue, POISE_FOREVER) > 0;) {
        poise_event event;
        while (poise_next(queue, &event)) {
            if (event.data == &request && result == -EAGAIN)
                result = take(&request, &told);
        }
    }
    if (result < 0)
        fprintf(stderr, "get: %s: %s\n", argv[1], strerror(-result));
    poise_http_stop(&request);
    poise_close(queue);
    return result < 0;
}
