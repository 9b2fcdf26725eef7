/* SPDX-License-Identifier: MIT
 *
 * A look-up: what is the same on every platform. include/poise/resolve.h says what each call promises, resolver.h what
 * the platform's resolver does.
 *
 * What the resolver finds is kept until it is taken. The one timer is the deadline, or what the resolver needs; or it
 * is due at once, so that a wait reports the look-up as long as there is something to take (sources of the resolver may
 * be quiet or gone by then). */
#include "resolver.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MOST_NAME = 253, MOST_LABEL = 63, FIRST_ROOM = 4 };

struct found {
    uint8_t bytes[16];
    uint32_t zone;
    uint8_t family;
    bool taken;
};

_Static_assert(sizeof(struct lookup) <= sizeof(((poise_lookup *)0)->reserved), "the inside of a look-up fits");
_Static_assert(_Alignof(struct lookup) <= _Alignof(uint64_t), "and is aligned");
_Static_assert(AF_INET < 256 && AF_INET6 < 256, "a family fits into a byte");

/* ---- what was found ---------------------------------------------------------------------------------------------- */

static int add(struct lookup *lookup, const struct found *found)
{
    if (lookup->family != AF_UNSPEC && lookup->family != found->family)
        return 0;
    if (lookup->found_n == lookup->found_room) {
        uint32_t room = lookup->found_room != 0 ? lookup->found_room * 2 : FIRST_ROOM;
        struct found *larger = realloc(lookup->found, room * sizeof *larger);
        if (larger == NULL)
            return -ENOMEM;
        lookup->found = larger;
        lookup->found_room = room;
    }
    lookup->found[lookup->found_n++] = *found;
    return 0;
}

int poise__lookup_found(poise_lookup *lookup, int family, const void *bytes)
{
    struct found found = { .family = (uint8_t)family };
    memcpy(found.bytes, bytes, family == AF_INET ? sizeof(struct in_addr) : sizeof(struct in6_addr));
    return add(lookup_of(lookup), &found);
}

static int add_literal(struct lookup *lookup, const poise_address *address)
{
    struct found found = { .family = (uint8_t)address->storage.ss_family };
    if (found.family == AF_INET) {
        struct sockaddr_in ipv4;
        memcpy(&ipv4, &address->storage, sizeof ipv4);
        memcpy(found.bytes, &ipv4.sin_addr, sizeof ipv4.sin_addr);
    } else {
        struct sockaddr_in6 ipv6;
        memcpy(&ipv6, &address->storage, sizeof ipv6);
        memcpy(found.bytes, &ipv6.sin6_addr, sizeof ipv6.sin6_addr);
        found.zone = ipv6.sin6_scope_id;
    }
    return add(lookup, &found);
}

static void make_address(poise_address *address, const struct found *found, uint16_t port)
{
    struct sockaddr_in ipv4 = { .sin_family = AF_INET, .sin_port = htons(port) };
    struct sockaddr_in6 ipv6 = { .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_scope_id = found->zone };
    memcpy(&ipv4.sin_addr, found->bytes, sizeof ipv4.sin_addr);
    memcpy(&ipv6.sin6_addr, found->bytes, sizeof ipv6.sin6_addr);
    if (found->family == AF_INET)
        (void)poise_address_from(address, (struct sockaddr *)&ipv4, sizeof ipv4);
    else
        (void)poise_address_from(address, (struct sockaddr *)&ipv6, sizeof ipv6);
}

/* The next one that is not taken, or NULL. */
static struct found *next_of(struct lookup *lookup, int family)
{
    while (lookup->found_first < lookup->found_n && lookup->found[lookup->found_first].taken)
        lookup->found_first++;
    for (uint32_t i = lookup->found_first; i < lookup->found_n; i++) {
        struct found *found = &lookup->found[i];
        if (!found->taken && (family == AF_UNSPEC || family == found->family))
            return found;
    }
    return NULL;
}

static bool anything_left(struct lookup *lookup) { return next_of(lookup, AF_UNSPEC) != NULL; }

bool poise__lookup_peek(poise_lookup *outer, int family, poise_address *address)
{
    struct lookup *lookup = lookup_of(outer);
    struct found *found = next_of(lookup, family);
    if (found != NULL)
        make_address(address, found, lookup->port);
    return found != NULL;
}

bool poise__lookup_take(poise_lookup *outer, int family, poise_address *address)
{
    struct lookup *lookup = lookup_of(outer);
    struct found *found = next_of(lookup, family);
    if (found == NULL)
        return false;
    make_address(address, found, lookup->port);
    found->taken = lookup->some = true;
    return true;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static size_t length_without_dot(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && name[length - 1] == '.' ? length - 1 : length;
}

/* RFC 6761, 6.3: localhost and all below it is this machine, and no server is asked. */
static bool is_localhost(const char *name)
{
    static const char localhost[] = "localhost";
    size_t length = length_without_dot(name), tail = sizeof localhost - 1;
    return length >= tail && strncasecmp(name + length - tail, localhost, tail) == 0 &&
           (length == tail || name[length - tail - 1] == '.');
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* "7", "0x7f": what some resolvers take for (a part of) an IPv4 address, and others ask a server for. */
static bool is_number(const char *label, size_t length)
{
    bool hexadecimal = length >= 2 && label[0] == '0' && (label[1] == 'x' || label[1] == 'X');
    for (size_t i = hexadecimal ? 2 : 0; i < length; i++) {
        char lower = (char)(label[i] | 0x20);
        if (!is_digit(label[i]) && !(hexadecimal && lower >= 'a' && lower <= 'f'))
            return false;
    }
    return true;
}

static bool is_host_name(const char *name)
{
    size_t length = length_without_dot(name), begin = 0;
    if (length == 0 || length > MOST_NAME)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (name[i] == '.') {
            if (i == begin || i - begin > MOST_LABEL)
                return false;
            begin = i + 1;
        } else if (!is_letter(name[i]) && !is_digit(name[i]) && name[i] != '-' && name[i] != '_') {
            return false;
        }
    }
    return begin < length && length - begin <= MOST_LABEL && !is_number(name + begin, length - begin);
}

/* ---- turns ------------------------------------------------------------------------------------------------------- */

static void stop_asking(poise_lookup *outer, int result)
{
    struct lookup *lookup = lookup_of(outer);
    if (lookup->asking)
        poise__resolver_stop(outer);
    lookup->asking = false;
    lookup->result = result;
}

static void set_timer(poise_lookup *outer, bool due)
{
    struct lookup *lookup = lookup_of(outer);
    uint64_t at = UINT64_MAX;
    if (due) {
        at = 0;
    } else if (lookup->asking) {
        uint64_t resolver = poise__resolver_deadline(outer);
        at = resolver < lookup->deadline_ns ? resolver : lookup->deadline_ns;
    }
    if (at == UINT64_MAX)
        (void)poise_timer_stop(lookup->queue, &outer->timer);
    else
        (void)poise_timer_start(lookup->queue, &outer->timer, at, outer->data);
}

/* What has come counts, even if it is late; then the deadline. */
static void turn(poise_lookup *outer)
{
    struct lookup *lookup = lookup_of(outer);
    if (!lookup->asking)
        return;
    int result = poise__resolver_turn(outer);
    if (result == -EAGAIN && lookup->deadline_ns != UINT64_MAX && poise_now() >= lookup->deadline_ns)
        result = -ETIMEDOUT;
    if (result != -EAGAIN)
        stop_asking(outer, result);
}

int poise__lookup_turn(poise_lookup *outer)
{
    struct lookup *lookup = lookup_of(outer);
    turn(outer);
    set_timer(outer, false);
    return lookup->asking ? -EAGAIN : lookup->result;
}

bool poise__lookup_stop_asking(poise_lookup *outer)
{
    bool asking = lookup_of(outer)->asking;
    if (asking)
        stop_asking(outer, 0);
    return asking;
}

bool poise__lookup_expects(poise_lookup *outer, int family)
{
    return lookup_of(outer)->asking && poise__resolver_expects(outer, family);
}

/* ---- the calls --------------------------------------------------------------------------------------------------- */

static void give_back(poise_lookup *outer, uint8_t state, int result)
{
    struct lookup *lookup = lookup_of(outer);
    stop_asking(outer, result);
    (void)poise_timer_stop(lookup->queue, &outer->timer);
    free(lookup->found);
    *lookup = (struct lookup){ .state = state, .result = result };
}

static int begin(poise_lookup *outer, const char *name, const poise_address *literal)
{
    static const uint8_t ipv4[] = { 127, 0, 0, 1 }, ipv6[16] = { [15] = 1 };
    struct lookup *lookup = lookup_of(outer);
    if (literal->length != 0)
        return add_literal(lookup, literal);
    if (is_localhost(name)) {
        int result = poise__lookup_found(outer, AF_INET6, ipv6);
        return result < 0 ? result : poise__lookup_found(outer, AF_INET, ipv4);
    }
    int result = poise__resolver_start(outer, name);
    lookup->asking = result == 0;
    if (result != -ENOENT && result != -EHOSTUNREACH && result != -ETIMEDOUT)
        return result;
    lookup->result = result; /* an answer already (wasmtime 48 may have one): it is told as every other is */
    return 0;
}

int poise_lookup_start(poise *queue, poise_lookup *outer, const char *name, uint16_t port, int family,
                       uint64_t deadline_ns, void *data)
{
    if (queue == NULL || outer == NULL || name == NULL ||
        (family != AF_UNSPEC && family != AF_INET && family != AF_INET6))
        return -EINVAL;
    struct lookup *lookup = lookup_of(outer);
    if (lookup->state == RUNNING)
        return -EBUSY;
    poise_address literal;
    if (poise_address_parse(&literal, name, port) != 0 && !is_host_name(name))
        return -EINVAL;
    outer->data = data;
    *lookup = (struct lookup){
        .queue = queue, .deadline_ns = deadline_ns, .port = port, .family = (uint8_t)family, .state = RUNNING
    };
    int result = begin(outer, name, &literal);
    if (result < 0)
        give_back(outer, NOT_STARTED, result);
    else
        set_timer(outer, !lookup->asking || anything_left(lookup));
    return result;
}

int poise_lookup_next(poise_lookup *outer, poise_address *address)
{
    if (outer == NULL || address == NULL)
        return -EINVAL;
    memset(address, 0, sizeof *address);
    struct lookup *lookup = lookup_of(outer);
    if (lookup->state != RUNNING)
        return lookup->state == ENDED ? lookup->result : -EINVAL;
    if (!anything_left(lookup))
        turn(outer);
    bool found = poise__lookup_take(outer, AF_UNSPEC, address);
    if (found || lookup->asking) {
        set_timer(outer, !lookup->asking || anything_left(lookup));
        return found ? 1 : -EAGAIN;
    }
    int result = lookup->some ? 0 : lookup->result < 0 ? lookup->result : -ENOENT;
    give_back(outer, ENDED, result);
    return result;
}

void poise_lookup_stop(poise_lookup *outer)
{
    if (outer != NULL && lookup_of(outer)->state == RUNNING)
        give_back(outer, NOT_STARTED, 0);
}
