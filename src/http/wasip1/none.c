/* SPDX-License-Identifier: MIT
 *
 * WASI 0.1 has no HTTP, and no sockets to make it of: no request can be started, and nothing else is ever called. */
#include "http.h"

#include <errno.h>

int poise__http_platform_open(struct http *http, const struct target *target, const poise_http_options *options)
{
    (void)http, (void)target, (void)options;
    return -ENOTSUP;
}

ptrdiff_t poise__http_platform_send(struct http *http, const void *bytes, size_t size)
{
    (void)http, (void)bytes, (void)size;
    return -ENOTSUP;
}

int poise__http_platform_finish(struct http *http)
{
    (void)http;
    return -ENOTSUP;
}

int poise__http_platform_head(struct http *http)
{
    (void)http;
    return -ENOTSUP;
}

ptrdiff_t poise__http_platform_recv(struct http *http, void *bytes, size_t size)
{
    (void)http, (void)bytes, (void)size;
    return -ENOTSUP;
}

void poise__http_platform_pause(struct http *http) { (void)http; }
void poise__http_platform_close(struct http *http) { (void)http; }
