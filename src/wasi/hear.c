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
 * we look for more, where the backend thinks that it saves a wait. What is there is added to what was read; no byte is
 * ever kept back. (To ask for one byte would be enough, but tear apart what was sent as a whole: programs don't expect
 * that of a loopback, allowed as it is.)
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
void (*poise__heard_unknown)(bool input);
void (*poise__heard_shutdown)(int fd, int how);
bool poise__hear_deaf;

/* ---- which pollables belong to a stream -------------------------------------------------------------------------- */

enum kind { INPUT, OUTPUT, SOCKET, INCOMING, OUTGOING, POLLABLE, KINDS = 8 };

/* A hash table with open addressing, at most four fifths full. Two entries for each pollable: by its stream, which may
 * have several, and by itself, so that it is forgotten when it is dropped (before its stream is: that is the rule).
 *
 * It is the program's, not a queue's, and comes from malloc: libc may have subscribed before there was a queue. A queue
 * makes room for both directions of each source that it has room for, so that no wait needs memory: 40 bytes a source. */
struct link {
    uint32_t key;   /* handle * KINDS + kind: some hosts number each kind for itself. 0: a free place; no handle is 0 */
    uint32_t value; /* a stream's: the pollable; a pollable's: the key of its stream */
};

enum { LEAST = 20, A_SOURCE = 5 /* places: four entries */ };

static struct {
    struct link *links;
    uint32_t capacity, used;
    uint32_t reserved; /* the least capacity that queues have asked for */
} table;

static uint32_t key_of(enum kind kind, int32_t handle) { return (uint32_t)handle * KINDS + kind; }

static uint32_t home_of(uint32_t key)
{
    return (uint32_t)((uint64_t)(key * UINT32_C(0x9E3779B1)) * table.capacity >> 32);
}

static uint32_t after(uint32_t at) { return at + 1 < table.capacity ? at + 1 : 0; }

static uint32_t distance(uint32_t from, uint32_t to) { return to >= from ? to - from : to + table.capacity - from; }

/* The next place, from this one on, that has the key; or the free place where none is any more. */
static uint32_t find(uint32_t at, uint32_t key)
{
    while (table.links[at].key != 0 && table.links[at].key != key) {
        at = after(at);
    }
    return at;
}

static void insert(uint32_t key, uint32_t value)
{
    uint32_t at = home_of(key);
    while (table.links[at].key != 0) {
        at = after(at);
    }
    table.links[at] = (struct link){ key, value };
    table.used++;
}

static void erase(uint32_t hole)
{
    for (uint32_t at = after(hole); table.links[at].key != 0; at = after(at)) {
        uint32_t home = home_of(table.links[at].key);
        if (distance(home, at) >= distance(hole, at)) { /* its home is not behind the hole */
            table.links[hole] = table.links[at];
            hole = at;
        }
    }
    table.links[hole].key = 0;
    table.used--;
}

static bool resize(uint32_t capacity)
{
    struct link *before = table.links;
    uint32_t old = table.capacity;
    struct link *links = calloc(capacity, sizeof *links);
    if (links == NULL) {
        return false;
    }
    table.links = links;
    table.capacity = capacity;
    table.used = 0;
    for (uint32_t i = 0; i < old; i++) {
        if (before[i].key != 0) {
            insert(before[i].key, before[i].value);
        }
    }
    free(before);
    return true;
}

/* After something has gone: a table that is nearly empty gives memory back. Without memory for that it stays. */
static void shrink(void)
{
    uint32_t enough = table.used * 2 + LEAST > table.reserved ? table.used * 2 + LEAST : table.reserved;
    if (table.used == 0 && table.reserved == 0) {
        free(table.links);
        table.links = NULL;
        table.capacity = 0;
    } else if (table.used < table.capacity / 8 && enough < table.capacity) {
        (void)resize(enough);
    }
}

bool poise__hear_reserve(uint32_t sources)
{
    if (table.capacity < sources * A_SOURCE && !resize(sources * A_SOURCE)) {
        return false;
    }
    table.reserved = sources * A_SOURCE;
    shrink();
    return true;
}

static bool room(uint32_t entries)
{
    return (table.used + entries) * 5 <= table.capacity * 4 || resize(table.capacity * 2 + LEAST + entries);
}

bool poise__hear_room(uint32_t sources) { return room(sources * 4); }

static void forget(int32_t pollable)
{
    uint32_t key = key_of(POLLABLE, pollable);
    uint32_t at = table.capacity != 0 ? find(home_of(key), key) : 0;
    if (table.capacity == 0 || table.links[at].key == 0) {
        return;
    }
    uint32_t stream = table.links[at].value;
    erase(at);
    at = find(home_of(stream), stream);
    while (table.links[at].key != 0 && table.links[at].value != (uint32_t)pollable) {
        at = find(after(at), stream);
    }
    if (table.links[at].key != 0) {
        erase(at);
    }
}

static int32_t subscribed(enum kind kind, int32_t handle, int32_t pollable)
{
    poise__host_calls.heard++;
    forget(pollable); /* if somebody has dropped it by an import of his own */
    if (!room(2)) {
        poise__hear_deaf = true;
        return pollable;
    }
    insert(key_of(kind, handle), (uint32_t)pollable);
    insert(key_of(POLLABLE, pollable), key_of(kind, handle));
    return pollable;
}

void poise__hear_dropped(int32_t pollable)
{
    forget(pollable);
    shrink();
}

bool poise__hear_knows(int32_t pollable)
{
    uint32_t key = key_of(POLLABLE, pollable);
    return table.capacity != 0 && table.links[find(home_of(key), key)].key != 0;
}

/* Returns whether to look behind a part. */
static bool tell(enum kind kind, int32_t handle, enum heard what)
{
    bool known = false;
    bool look = false;
    uint32_t key = key_of(kind, handle);
    if (poise__heard == NULL) {
        return false;
    }
    uint32_t at = table.capacity != 0 ? find(home_of(key), key) : 0;
    for (; table.capacity != 0 && table.links[at].key != 0; at = find(after(at), key)) {
        known = true;
        look |= poise__heard((int32_t)table.links[at].value, what);
    }
    if (!known && poise__hear_deaf) {
        poise__heard_unknown(kind != OUTPUT && kind != OUTGOING);
    }
    return look;
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

SUBSCRIBE(INPUT, STREAMS, "input-stream", streams_method_input_stream_subscribe)
SUBSCRIBE(OUTPUT, STREAMS, "output-stream", streams_method_output_stream_subscribe)
SUBSCRIBE(SOCKET, TCP, "tcp-socket", tcp_method_tcp_socket_subscribe)
SUBSCRIBE(INCOMING, UDP, "incoming-datagram-stream", udp_method_incoming_datagram_stream_subscribe)
SUBSCRIBE(OUTGOING, UDP, "outgoing-datagram-stream", udp_method_outgoing_datagram_stream_subscribe)

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

enum { MOST_BEHIND = 4096 }; /* room to ask the allocator for */

static void look_behind(int32_t stream, uint64_t asked, struct read_result *result)
{
    uint32_t n = result->is.list.n;
    uint32_t room = asked - n < MOST_BEHIND ? (uint32_t)(asked - n) : MOST_BEHIND;
    uint8_t *bytes = kept.stream == 0 ? realloc(result->is.list.bytes, n + room) : NULL;
    if (bytes == NULL) {
        return;
    }
    result->is.list.bytes = bytes;
    struct read_result more;
    poise__host_calls.looks++;
    poise__host_lend(&bytes[n], room, 1);
    poise__input_stream_read(stream, room, &more);
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
        memcpy(&bytes[n], more.is.list.bytes, more.is.list.n);
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
            look_behind(stream, (uint64_t)n, result);
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
    if (would_block(result) || (result[0] == 0 && n < (uint64_t)most)) {
        (void)tell(INCOMING, stream, result[0] == 0 && n > 0 ? HEARD_PART : HEARD_EMPTY);
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
    const struct number_result *result = (struct number_result *)(void *)returned;
    poise__outgoing_send(stream, datagrams, n, (struct number_result *)(void *)returned);
    heard_room(stream, result);
    if (!result->is_error && result->is.number > 0 && result->is.number < n) {
        (void)tell(OUTGOING, stream, HEARD_PART);
    }
}
