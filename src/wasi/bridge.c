/* SPDX-License-Identifier: MIT
 *
 * The bridge: from a descriptor to its pollables, without libc's private parts.
 *
 * wasi-libc keeps the map from descriptors to host handles to itself. But its poll(2) ends in one call of its generated
 * binding's raw import, the symbol __wasm_import_poll_poll, and the linker takes a *definition* of that symbol from an
 * archive instead of making it an import. So we define it (the same names in every wasi-libc since 2024), import
 * wasi:io/poll.poll under a name of our own, and have libc's poll in three modes:
 *
 *   PASS     hands the list on to the host: anyone else's poll(2) goes on working;
 *   CAPTURE  notes what libc would wait for, and says that nothing is ready;
 *   INJECT   says that one given handle is ready.
 *
 * __wasm_import_poll_pollable_drop is ours, too, so that a dropped handle is never named again: that would trap the
 * component.
 *
 * What libc does, seen in wasi-libc of 2024-07, 2024-12 and 2026-04 (and read in 2026-08):
 *  1. A closed descriptor: poll fails with EBADF, or (2026-08) reports POLLNVAL. An unbound TCP socket: ENOTSUP.
 *  2. What is ready without waiting (a failed connect, unbound UDP) is counted by poll's result. libc may then add a
 *     zero time-out to the list, call the import, and drop the time-out again. So the result counts first, and a
 *     handle that is dropped within a capture was no source.
 *  3. Both directions in one call are ambiguous, and fail for standard streams: one call a direction.
 */
#include "bridge.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "hear.h"
#include "host.h"

/* The names are wit-bindgen's, and libc's own object files refer to them. */
void __wasm_import_poll_poll(uint8_t *handles, size_t n, uint8_t *result);
void __wasm_import_poll_pollable_drop(int32_t handle);

void (*poise__bridge_dropped)(int32_t handle);

static struct {
    enum { PASS, CAPTURE, INJECT } mode;
    int32_t handle;         /* captured, or to inject */
    uint32_t called, drops; /* what the self-check looks at */
} bridge;

void __wasm_import_poll_poll(uint8_t *list, size_t n, uint8_t *returned)
{
    const int32_t *handles = (const int32_t *)(const void *)list;
    struct host_list *result = (struct host_list *)(void *)returned;
    bridge.called++;
    if (bridge.mode == PASS) {
        poise__host_poll_raw(handles, n, result);
        return;
    }
    *result = (struct host_list){ 0 };
    if (bridge.mode == CAPTURE) {
        bridge.handle = n > 0 ? handles[0] : 0;
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (handles[i] == bridge.handle && (result->items = malloc(sizeof *result->items)) != NULL) {
            result->items[0] = i;
            result->n = 1;
            return;
        }
    }
}

void __wasm_import_poll_pollable_drop(int32_t handle)
{
    bridge.drops++;
    if (handle == bridge.handle) {
        bridge.handle = 0;
    }
    if (poise__bridge_dropped != NULL) {
        poise__bridge_dropped(handle);
    }
    poise__hear_dropped(handle);
    poise__host_drop(handle);
}

bool poise__bridge_in_force(void)
{
    static enum { UNKNOWN, YES, NO } answer;
    if (answer == UNKNOWN) {
        /* A poll of nothing with a zero time-out: libc makes a handle for the time, polls and drops it. */
        uint32_t called = bridge.called;
        uint32_t drops = bridge.drops;
        bridge.mode = CAPTURE;
        (void)poll(NULL, 0, 0);
        bridge.mode = PASS;
        answer = bridge.called != called && bridge.drops != drops ? YES : NO;
    }
    return answer == YES;
}

int poise__bridge_capture(int fd, short direction, int32_t *handle)
{
    struct pollfd one = { .fd = fd, .events = direction };
    bridge.handle = 0;
    bridge.mode = CAPTURE;
    int n = poll(&one, 1, -1);
    bridge.mode = PASS;
    *handle = bridge.handle;
    bridge.handle = 0;
    if (n < 0) {
        return -errno;
    }
    if (n > 0) {
        return one.revents & POLLNVAL ? -EBADF : CAPTURE_READY;
    }
    return *handle != 0 ? CAPTURE_HANDLE : CAPTURE_NEVER;
}

int poise__bridge_inject(int fd, short directions, int32_t handle)
{
    struct pollfd one = { .fd = fd, .events = directions };
    void *block = malloc(sizeof(uint32_t)); /* the same size that will be asked for: is there memory? */
    if (block == NULL) {
        return -ENOMEM;
    }
    free(block);
    bridge.handle = handle;
    bridge.mode = INJECT;
    int n = poll(&one, 1, -1);
    bridge.mode = PASS;
    bridge.handle = 0;
    return n > 0 ? one.revents : 0;
}
