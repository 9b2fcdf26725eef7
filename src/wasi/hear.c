/* SPDX-License-Identifier: MIT
 *
 * What the program's own reads and writes tell. libc, and whoever else uses its bindings, calls the host by raw imports;
 * as in bridge.c, we define those that say something and hand the call on. Heard is:
 *
 *   subscribe                   which stream stands behind which pollable
 *   read, receive, accept       there is nothing (any more), or the end
 *   check-write, write,
 *   check-send, send            there is no room, or nobody takes anything any more
 *
 * So an edge arms itself again when the program has seen EAGAIN, as in a kernel, and the closed hints are known as soon
 * as anybody can know them: no host tells them without a read or a write.
 *
 * One thing more: after a read that takes all there is, a host's stream stays ready until another read has found
 * nothing, so that level mode sees two waits for each event. So behind a read that returned less than it was asked for
 * we look for one byte more, where the backend thinks that it saves a wait. If there is one, it is added to what was
 * read; no byte is ever kept back.
 *
 * The definitions are weak: a program may have its own, and then says EAGAIN with poise_again. libc refers to all of
 * them, but what a program does not call is not linked, and not imported.
 */
#include "hear.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

bool (*poise__heard)(int32_t pollable, enum heard what);
void (*poise__heard_shutdown)(int fd, int how);
bool poise__hear_deaf;

/* ---- which pollable belongs to a stream -------------------------------------------------------------------------- */

enum kind { INPUT, OUTPUT, SOCKET, INCOMING, OUTGOING, KINDS = 8 };

/* A hash table with open addressing, at most three quarters full: 11 to 22 bytes for each stream that has a pollable. It
 * is the program's, not a queue's: libc may have subscribed before there was any. */
struct link {
    uint32_t stream;  /* handle * KINDS + kind: some hosts number each kind for itself */
    int32_t pollable; /* 0: a free place */
};

static struct {
    struct link *links;
    uint32_t capacity, used; /* a power of two */
} table;

static uint32_t home_of(uint32_t stream) { return (stream * UINT32_C(0x9E3779B1)) >> 4 & (table.capacity - 1); }

/* Where the stream is, or the free place where it would be. */
static struct link *place_of(uint32_t stream)
{
    uint32_t at = home_of(stream);
    while (table.links[at].pollable != 0 && table.links[at].stream != stream) {
        at = (at + 1) & (table.capacity - 1);
    }
    return &table.links[at];
}

static bool grow(void)
{
    uint32_t old = table.capacity;
    struct link *before = table.links;
    struct link *links = calloc(old != 0 ? old * 2 : 16, sizeof *links);
    if (links == NULL) {
        return false;
    }
    table.links = links;
    table.capacity = old != 0 ? old * 2 : 16;
    for (uint32_t i = 0; i < old; i++) {
        if (before[i].pollable != 0) {
            *place_of(before[i].stream) = before[i];
        }
    }
    free(before);
    return true;
}

static int32_t subscribed(enum kind kind, int32_t handle, int32_t pollable)
{
    uint32_t stream = (uint32_t)handle * KINDS + kind;
    poise__host_calls.heard++;
    if (table.used >= table.capacity / 4 * 3 && !grow()) {
        poise__hear_deaf = true;
        return pollable;
    }
    struct link *link = place_of(stream);
    table.used += link->pollable == 0;
    *link = (struct link){ stream, pollable };
    return pollable;
}

static void dropped(enum kind kind, int32_t handle)
{
    if (table.capacity == 0) {
        return;
    }
    struct link *hole = place_of((uint32_t)handle * KINDS + kind);
    if (hole->pollable == 0) {
        return;
    }
    uint32_t mask = table.capacity - 1;
    uint32_t free_place = (uint32_t)(hole - table.links);
    for (uint32_t at = (free_place + 1) & mask; table.links[at].pollable != 0; at = (at + 1) & mask) {
        uint32_t home = home_of(table.links[at].stream);
        if (((at - home) & mask) >= ((at - free_place) & mask)) { /* it may be as near to its home as the hole is */
            table.links[free_place] = table.links[at];
            free_place = at;
        }
    }
    table.links[free_place].pollable = 0;
    if (--table.used == 0) {
        free(table.links);
        table.links = NULL;
        table.capacity = 0;
    }
}

static bool tell(enum kind kind, int32_t handle, enum heard what)
{
    if (poise__heard == NULL) {
        return false;
    }
    int32_t pollable = table.capacity != 0 ? place_of((uint32_t)handle * KINDS + kind)->pollable : 0;
    return (pollable != 0 || poise__hear_deaf) && poise__heard(pollable, what);
}

/* ---- the imports, and what stands in for them -------------------------------------------------------------------- */

#define STREAMS "wasi:io/streams@0.2.0"
#define TCP "wasi:sockets/tcp@0.2.0"
#define UDP "wasi:sockets/udp@0.2.0"
#define IMPORT(module, name) __attribute__((__import_module__(module), __import_name__(name))) extern
/* The names are wit-bindgen's, and libc's own object files refer to them. */
#define INSTEAD(symbol) __wasm_import_##symbol
#define WEAK __attribute__((__weak__))

#define SUBSCRIBE(kind, module, name, symbol)                                      \
    IMPORT(module, "[method]" name ".subscribe") int32_t poise__##symbol(int32_t); \
    int32_t INSTEAD(symbol)(int32_t handle);                                       \
    WEAK int32_t INSTEAD(symbol)(int32_t handle) { return subscribed(kind, handle, poise__##symbol(handle)); }

#define DROP(kind, module, name, symbol)                                  \
    IMPORT(module, "[resource-drop]" name) void poise__##symbol(int32_t); \
    void INSTEAD(symbol)(int32_t handle);                                 \
    WEAK void INSTEAD(symbol)(int32_t handle)                             \
    {                                                                     \
        dropped(kind, handle);                                            \
        poise__##symbol(handle);                                          \
    }

SUBSCRIBE(INPUT, STREAMS, "input-stream", streams_method_input_stream_subscribe)
SUBSCRIBE(OUTPUT, STREAMS, "output-stream", streams_method_output_stream_subscribe)
SUBSCRIBE(SOCKET, TCP, "tcp-socket", tcp_method_tcp_socket_subscribe)
SUBSCRIBE(INCOMING, UDP, "incoming-datagram-stream", udp_method_incoming_datagram_stream_subscribe)
SUBSCRIBE(OUTGOING, UDP, "outgoing-datagram-stream", udp_method_outgoing_datagram_stream_subscribe)

DROP(OUTPUT, STREAMS, "output-stream", streams_output_stream_drop)
DROP(SOCKET, TCP, "tcp-socket", tcp_tcp_socket_drop)
DROP(INCOMING, UDP, "incoming-datagram-stream", udp_incoming_datagram_stream_drop)
DROP(OUTGOING, UDP, "outgoing-datagram-stream", udp_outgoing_datagram_stream_drop)

/* ---- input ------------------------------------------------------------------------------------------------------- */

/* result<list<u8>, stream-error>, as the canonical ABI returns it. */
struct read_result {
    uint8_t is_error;
    union {
        struct {
            uint8_t *bytes;
            uint32_t n;
        } list;
        struct {
            uint8_t tag;
            int32_t error;
        } failure;
    } is;
};

enum { LAST_OPERATION_FAILED, CLOSED }; /* tags of stream-error */

IMPORT(STREAMS, "[method]input-stream.read")
void poise__input_stream_read(int32_t stream, int64_t n, struct read_result *result);
IMPORT(STREAMS, "[resource-drop]input-stream") void poise__input_stream_drop(int32_t stream);
IMPORT("wasi:io/error@0.2.0", "[resource-drop]error") void poise__error_drop(int32_t error);

/* The failure that a look behind a part has found: the host tells it once, so it is kept for the read that follows. */
static struct {
    int32_t stream; /* 0: none is kept */
    int32_t error;
} kept;

static void look_behind(int32_t stream, struct read_result *result)
{
    uint32_t n = result->is.list.n;
    uint8_t *bytes = kept.stream == 0 ? realloc(result->is.list.bytes, n + 1) : NULL;
    if (bytes == NULL) {
        return;
    }
    result->is.list.bytes = bytes;
    struct read_result more;
    poise__host_calls.looks++;
    poise__host_lend(&bytes[n], 1, 1);
    poise__input_stream_read(stream, 1, &more);
    poise__host_lend(NULL, 0, 0);
    if (more.is_error) {
        bool closed = more.is.failure.tag == CLOSED;
        if (!closed) {
            kept.stream = stream;
            kept.error = more.is.failure.error;
        }
        (void)tell(INPUT, stream, closed ? HEARD_CLOSED : HEARD_FAILED);
        return;
    }
    if (more.is.list.n > 0 && more.is.list.bytes != &bytes[n]) { /* by a cabi_import_realloc of the program's own */
        bytes[n] = more.is.list.bytes[0];
        free(more.is.list.bytes);
    }
    result->is.list.n += more.is.list.n;
}

void INSTEAD(streams_method_input_stream_read)(int32_t stream, int64_t n, uint8_t *returned);
WEAK void INSTEAD(streams_method_input_stream_read)(int32_t stream, int64_t n, uint8_t *returned)
{
    struct read_result *result = (struct read_result *)(void *)returned;
    if (kept.stream == stream && stream != 0) {
        *result = (struct read_result){ .is_error = 1 };
        result->is.failure.tag = LAST_OPERATION_FAILED;
        result->is.failure.error = kept.error;
        kept.stream = 0;
    } else {
        poise__input_stream_read(stream, n, result);
    }
    if (result->is_error) {
        (void)tell(INPUT, stream, HEARD_CLOSED);
    } else if (result->is.list.n < (uint64_t)n) {
        bool empty = result->is.list.n == 0;
        if (tell(INPUT, stream, empty ? HEARD_EMPTY : HEARD_PART) && !empty) {
            look_behind(stream, result);
        }
    }
}

void INSTEAD(streams_input_stream_drop)(int32_t stream);
WEAK void INSTEAD(streams_input_stream_drop)(int32_t stream)
{
    if (kept.stream == stream && stream != 0) {
        poise__error_drop(kept.error);
        kept.stream = 0;
    }
    dropped(INPUT, stream);
    poise__input_stream_drop(stream);
}

/* ---- output ------------------------------------------------------------------------------------------------------ */

/* result<u64, stream-error> and result<u64, error-code>: a byte that is 1 for an error, the number or the error at 8. */
struct number_result {
    uint8_t is_error;
    union {
        uint64_t number;
        uint8_t code; /* of stream-error: its tag */
    } is;
};

IMPORT(STREAMS, "[method]output-stream.check-write")
void poise__output_stream_check_write(int32_t stream, struct number_result *result);
IMPORT(STREAMS, "[method]output-stream.write")
void poise__output_stream_write(int32_t stream, uint8_t *bytes, size_t n, uint8_t *result);

/* What check-write has last allowed: a write of as much may be a part of what the program wants to write. */
static struct {
    int32_t stream;
    uint64_t n;
} allowed;

void INSTEAD(streams_method_output_stream_check_write)(int32_t stream, uint8_t *returned);
WEAK void INSTEAD(streams_method_output_stream_check_write)(int32_t stream, uint8_t *returned)
{
    struct number_result *result = (struct number_result *)(void *)returned;
    poise__output_stream_check_write(stream, result);
    if (result->is_error) {
        (void)tell(OUTPUT, stream, HEARD_CLOSED);
    } else if (result->is.number == 0) {
        (void)tell(OUTPUT, stream, HEARD_EMPTY);
    } else {
        allowed.stream = stream;
        allowed.n = result->is.number;
    }
}

void INSTEAD(streams_method_output_stream_write)(int32_t stream, uint8_t *bytes, size_t n, uint8_t *result);
WEAK void INSTEAD(streams_method_output_stream_write)(int32_t stream, uint8_t *bytes, size_t n, uint8_t *result)
{
    poise__output_stream_write(stream, bytes, n, result);
    if (result[0] != 0) {
        (void)tell(OUTPUT, stream, HEARD_CLOSED);
    } else if (stream == allowed.stream && n == allowed.n) {
        (void)tell(OUTPUT, stream, HEARD_PART);
    }
}

/* ---- connections and datagrams ----------------------------------------------------------------------------------- */

enum { WOULD_BLOCK = 8 }; /* of wasi:sockets/network error-code */

IMPORT(TCP, "[method]tcp-socket.accept") void poise__tcp_socket_accept(int32_t socket, uint8_t *result);
IMPORT(UDP, "[method]incoming-datagram-stream.receive")
void poise__incoming_receive(int32_t stream, int64_t most, uint8_t *result);
IMPORT(UDP, "[method]outgoing-datagram-stream.check-send")
void poise__outgoing_check_send(int32_t stream, struct number_result *result);
IMPORT(UDP, "[method]outgoing-datagram-stream.send")
void poise__outgoing_send(int32_t stream, uint8_t *datagrams, size_t n, struct number_result *result);

/* result<..., error-code> with its contents at 4. */
static bool would_block(const uint8_t *result) { return result[0] != 0 && result[4] == WOULD_BLOCK; }

void INSTEAD(tcp_method_tcp_socket_accept)(int32_t socket, uint8_t *result);
WEAK void INSTEAD(tcp_method_tcp_socket_accept)(int32_t socket, uint8_t *result)
{
    poise__tcp_socket_accept(socket, result);
    if (would_block(result)) {
        (void)tell(SOCKET, socket, HEARD_EMPTY);
    }
}

void INSTEAD(udp_method_incoming_datagram_stream_receive)(int32_t stream, int64_t most, uint8_t *result);
WEAK void INSTEAD(udp_method_incoming_datagram_stream_receive)(int32_t stream, int64_t most, uint8_t *result)
{
    poise__incoming_receive(stream, most, result);
    uint32_t n;
    memcpy(&n, &result[8], sizeof n);
    if (would_block(result) || (result[0] == 0 && n == 0)) {
        (void)tell(INCOMING, stream, HEARD_EMPTY);
    }
}

static void heard_room(int32_t stream, const struct number_result *result)
{
    if (result->is_error ? result->is.code == WOULD_BLOCK : result->is.number == 0) {
        (void)tell(OUTGOING, stream, HEARD_EMPTY);
    }
}

void INSTEAD(udp_method_outgoing_datagram_stream_check_send)(int32_t stream, uint8_t *returned);
WEAK void INSTEAD(udp_method_outgoing_datagram_stream_check_send)(int32_t stream, uint8_t *returned)
{
    poise__outgoing_check_send(stream, (struct number_result *)(void *)returned);
    heard_room(stream, (struct number_result *)(void *)returned);
}

void INSTEAD(udp_method_outgoing_datagram_stream_send)(int32_t stream, uint8_t *datagrams, size_t n, uint8_t *returned);
WEAK void INSTEAD(udp_method_outgoing_datagram_stream_send)(int32_t stream, uint8_t *datagrams, size_t n,
                                                            uint8_t *returned)
{
    poise__outgoing_send(stream, datagrams, n, (struct number_result *)(void *)returned);
    heard_room(stream, (struct number_result *)(void *)returned);
}
