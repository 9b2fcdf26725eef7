/* What the tests of poise/http.h need of the platform. */
#ifndef POISE_HTTP_KIT_H
#define POISE_HTTP_KIT_H

#include "services.h"

#include <poise/http.h>

/* What requests hold: bytes of memory (WASI: whole pages, that never become fewer), open descriptors (natively), the
 * host's handles (WASI). What a platform or a sanitizer does not tell is 0. */
struct http_usage {
    int64_t descriptors, memory, handles;
};
struct http_usage http_usage(void);

/* From now on the host refuses every request; false: that can't be had here. */
bool http_refuse(bool refuses);

#endif
