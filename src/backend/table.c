/* SPDX-License-Identifier: MIT
 *
 * Which backends a platform has, the best first. To add one: CONTRIBUTING.md. */
#include <string.h>

#include "../backend.h"

#ifdef __wasi__
#include <wasi/version.h>
#endif

extern const struct backend poise__epoll, poise__poll, poise__wasip2;

#ifdef __wasip2__
const struct backend *const poise__backends[] = { &poise__wasip2, &poise__poll, NULL };
#elif defined(__linux__)
const struct backend *const poise__backends[] = { &poise__epoll, &poise__poll, NULL };
#else
const struct backend *const poise__backends[] = { &poise__poll, NULL };
#endif

bool poise__backend_known(const char *name)
{
    return strcmp(name, "epoll") == 0 || strcmp(name, "poll") == 0 || strcmp(name, "wasip2") == 0;
}
