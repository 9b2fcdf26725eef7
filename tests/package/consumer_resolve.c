/* The smallest program that shows that poise::resolve was found and works: localhost answers without a server, and
 * a connection to nobody fails. Both C and C++. */
#include <errno.h>
#include <poise/connect.h>
#include <poise/resolve.h>
#include <stdio.h>
#include <string.h>

static poise_lookup lookup;
static poise_connect connecting;

int main(void)
{
    poise *queue;
    poise_address address;
    poise_event event;
    if (poise_open(&queue, NULL) != 0)
        return 1;
    if (poise_lookup_start(queue, &lookup, "localhost", 80, AF_INET, UINT64_MAX, &lookup) != 0)
        return 2;
    int result, n = 0, port = 0;
    for (;;) {
        for (; (result = poise_lookup_next(&lookup, &address)) == 1; n++)
            port = poise_address_port(&address);
        if (result != -EAGAIN || poise_wait(queue, POISE_FOREVER) < 0)
            break;
        while (poise_next(queue, &event)) {}
    }
    if (result != 0 || n != 1 || port != 80)
        return 3;
    if (poise_connect_start(queue, &connecting, "127.0.0.1", 1, UINT64_MAX, &connecting) != 0)
        return 4;
    while ((result = poise_connect_result(&connecting)) == -EINPROGRESS && poise_wait(queue, POISE_FOREVER) >= 0)
        while (poise_next(queue, &event)) {}
    if (result >= 0 || result == -EINPROGRESS)
        return 5;
    printf("poise_resolve with poise %s\n", poise_version());
    poise_close(queue);
    return 0;
}
