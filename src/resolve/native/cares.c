/* SPDX-License-Identifier: MIT
 *
 * The native resolver: c-ares, a channel for each look-up. [ares_init_options(3) and the other pages of c-ares]
 *
 * The traps of c-ares (1.18 to 1.34):
 *  1. Callbacks run inside its calls, also inside ares_getaddrinfo and ares_destroy (ARES_EDESTRUCTION): they only take
 *     notes, and the channel is destroyed outside of them.
 *  2. It doesn't say why a socket could not be made, only that no server could be asked. So sockets are made here; it
 *     then sets no options on them.
 *  3. If it can't open its files at all (EMFILE), it goes on as if they were empty, and asks a server on this machine.
 *  4. A socket is closed behind ARES_OPT_SOCK_STATE_CB's back when its connect fails: what unwatches is the close.
 *  5. One query for both families answers when both have. Two queries answer as they come, but each goes its own way
 *     through /etc/hosts and the search list of resolv.conf, so that they may speak of different hosts: an IPv4 line in
 *     /etc/hosts would be joined by IPv6 addresses of DNS, and a name without IPv6 by those of a name below a search
 *     domain. So there are two only for a name as it stands (with a dot behind), after /etc/hosts; all else is one.
 *  6. Its way of sorting addresses connects sockets to each of them: ARES_AI_NOSORT.
 *  7. ares_library_init is not thread-safe, and counts. */
#include "../resolver.h"

#define CARES_NO_DEPRECATED /* the calls that serve both 1.18 and 1.34 */

#include <ares.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

struct query {
    struct asking *asking;
    int family;
    bool pending;
};

/* Of a look-up that is under way. */
struct asking {
    poise_lookup *lookup;
    ares_channel channel;
    struct query queries[2]; /* IPv6, IPv4; or one for what was asked for */
    char *search;            /* the name, if it is still to be tried below the search domains; allocated */
    struct pollfd *sockets;  /* of the channel */
    unsigned n, room;
    int error;        /* the worst of the answers so far */
    int socket_error; /* errno: why the last socket could not be made */
    int broken;       /* why a socket could not be watched: there may never be an event again */
    bool ending;
};

static struct asking *asking_of(const poise_lookup *outer)
{
    return ((const struct lookup *)(const void *)outer->reserved)->resolver.block;
}

/* ---- sockets: calls from c-ares ---------------------------------------------------------------------------------- */

static struct pollfd *find(struct asking *asking, int fd)
{
    for (unsigned i = 0; i < asking->n; i++)
        if (asking->sockets[i].fd == fd)
            return &asking->sockets[i];
    return NULL;
}

static bool make_room(struct asking *asking)
{
    if (asking->n < asking->room)
        return true;
    unsigned room = asking->room != 0 ? asking->room * 2 : 4;
    struct pollfd *larger = realloc(asking->sockets, room * sizeof *larger);
    if (larger == NULL)
        return false;
    asking->sockets = larger;
    asking->room = room;
    return true;
}

static ares_socket_t open_socket(int family, int type, int protocol, void *user)
{
    struct asking *asking = user;
    int fd = -1;
    if (!make_room(asking))
        errno = ENOMEM;
    else
        fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        asking->socket_error = errno;
    else
        asking->sockets[asking->n++] = (struct pollfd){ .fd = fd };
    return fd;
}

static int close_socket(ares_socket_t fd, void *user)
{
    struct asking *asking = user;
    struct pollfd *socket = find(asking, fd);
    if (socket != NULL)
        *socket = asking->sockets[--asking->n];
    (void)poise_unwatch(lookup_of(asking->lookup)->queue, poise_fd(fd));
    return close(fd);
}

static int connect_socket(ares_socket_t fd, const struct sockaddr *to, ares_socklen_t length, void *user)
{
    (void)user;
    return connect(fd, to, length);
}

static ares_ssize_t receive(ares_socket_t fd, void *bytes, size_t size, int flags, struct sockaddr *from,
                            ares_socklen_t *length, void *user)
{
    (void)user;
    return recvfrom(fd, bytes, size, flags, from, length);
}

/* writev, but for SIGPIPE. */
static ares_ssize_t send_pieces(ares_socket_t fd, const struct iovec *pieces, int n, void *user)
{
    (void)user;
    struct msghdr message = { .msg_iov = (struct iovec *)(uintptr_t)pieces, .msg_iovlen = (size_t)n };
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

static const struct ares_socket_functions socket_functions = {
    open_socket, close_socket, connect_socket, receive, send_pieces,
};

/* What c-ares waits for on a socket; neither: it is about to be closed. */
static void on_socket_state(void *user, ares_socket_t fd, int readable, int writable)
{
    struct asking *asking = user;
    struct pollfd *socket = find(asking, fd);
    if (socket == NULL || (!readable && !writable))
        return;
    socket->events = (short)((readable ? POLLIN : 0) | (writable ? POLLOUT : 0));
    uint32_t interest = (readable ? POISE_READABLE : 0u) | (writable ? POISE_WRITABLE : 0u);
    int result = poise_watch(lookup_of(asking->lookup)->queue, poise_fd(fd), interest, asking->lookup->data);
    if (result < 0)
        asking->broken = result;
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static int error_of(const struct asking *asking, int status)
{
    switch (status) {
    case ARES_EBADNAME: /* too long with a search domain behind it: the name itself was looked at */
    case ARES_ENOTFOUND:
    case ARES_ENODATA:
    case ARES_ENONAME: return -ENOENT;
    case ARES_ETIMEOUT: return -ETIMEDOUT;
    case ARES_ENOMEM: return -ENOMEM;
    case ARES_EFORMERR:
    case ARES_EBADRESP:
    case ARES_EOF: return -EPROTO;
    default: break;
    }
    switch (asking->socket_error) { /* ARES_ECONNREFUSED, and in newer ones more: no server could be asked */
    case EMFILE:
    case ENFILE: return -asking->socket_error;
    case ENOMEM:
    case ENOBUFS: return -ENOMEM;
    default: return -EHOSTUNREACH;
    }
}

static void note_error(struct asking *asking, int error)
{
    if (asking->error == 0 || asking->error == -ENOENT)
        asking->error = error;
}

static void on_answer(void *user, int status, int timeouts, struct ares_addrinfo *answer)
{
    struct query *query = user;
    struct asking *asking = query->asking;
    (void)timeouts;
    query->pending = false;
    if (asking->ending) {
        ares_freeaddrinfo(answer);
        return;
    }
    if (status != ARES_SUCCESS)
        note_error(asking, error_of(asking, status));
    for (const struct ares_addrinfo_node *node = answer != NULL ? answer->nodes : NULL; node != NULL;
         node = node->ai_next) {
        struct sockaddr_in ipv4;
        struct sockaddr_in6 ipv6;
        int result = 0;
        if (node->ai_family == AF_INET) {
            memcpy(&ipv4, node->ai_addr, sizeof ipv4);
            result = poise__lookup_found(asking->lookup, AF_INET, &ipv4.sin_addr);
        } else if (node->ai_family == AF_INET6) {
            memcpy(&ipv6, node->ai_addr, sizeof ipv6);
            result = poise__lookup_found(asking->lookup, AF_INET6, &ipv6.sin6_addr);
        }
        if (result < 0)
            note_error(asking, result);
    }
    ares_freeaddrinfo(answer);
}

static bool pending(const struct asking *asking) { return asking->queries[0].pending || asking->queries[1].pending; }

/* ---- the resolver ------------------------------------------------------------------------------------------------ */

static int library_status;

static void open_library(void) { library_status = ares_library_init(ARES_LIB_INIT_ALL); }

/* Trap 3. */
static int check_descriptors(void)
{
    int fd = open("/", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : 0;
    close(fd);
    return 0;
}

static int open_channel(struct asking *asking)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int result = -pthread_once(&once, open_library);
    if (result == 0 && library_status != ARES_SUCCESS)
        result = error_of(asking, library_status);
    if (result == 0)
        result = check_descriptors();
    if (result < 0)
        return result;
    struct ares_options options = { .sock_state_cb = on_socket_state, .sock_state_cb_data = asking };
    int status = ares_init_options(&asking->channel, &options, ARES_OPT_SOCK_STATE_CB);
    if (status != ARES_SUCCESS)
        return error_of(asking, status);
    ares_set_socket_functions(asking->channel, &socket_functions, asking);
    return 0;
}

static void ask(struct asking *asking, int i, int family, const char *name)
{
    struct ares_addrinfo_hints hints = { .ai_flags = ARES_AI_NOSORT, .ai_family = family, .ai_socktype = SOCK_STREAM };
    ares_getaddrinfo(asking->channel, name, NULL, &hints, on_answer, &asking->queries[i]);
}

static void ask_once(struct asking *asking, int family, const char *name)
{
    asking->queries[0] = (struct query){ asking, family, true };
    ask(asking, 0, family, name);
}

static void ask_twice(struct asking *asking, const char *name)
{
    asking->queries[0] = (struct query){ asking, AF_INET6, true };
    asking->queries[1] = (struct query){ asking, AF_INET, true }; /* both before the first callback */
    ask(asking, 0, AF_INET6, name);
    ask(asking, 1, AF_INET, name);
}

/* Whether /etc/hosts knows the name; then it is the answer, for both families. Else 0, or a negative errno value. */
static int ask_hosts(struct asking *asking, const char *name)
{
    static const int families[] = { AF_INET6, AF_INET };
    int found = 0;
    for (int i = 0; i < 2; i++) {
        struct hostent *host;
        int status = ares_gethostbyname_file(asking->channel, name, families[i], &host);
        if (status == ARES_ENOMEM)
            return -ENOMEM;
        if (status != ARES_SUCCESS)
            continue;
        int result = 0;
        for (char **address = host->h_addr_list; *address != NULL && result == 0; address++)
            result = poise__lookup_found(asking->lookup, families[i], *address);
        ares_free_hostent(host);
        if (result < 0)
            return result;
        found = 1;
    }
    return found;
}

/* Whether a name is asked for as it stands before it is tried below the search domains, and after /etc/hosts; and
 * whether there are such domains. [resolv.conf(5) ndots; nsswitch.conf(5)] */
static bool stands_first(ares_channel channel, const char *name, bool *domains)
{
    struct ares_options options = { .flags = 0 };
    int mask, dots = 0;
    if (ares_save_options(channel, &options, &mask) != ARES_SUCCESS)
        return false;
    for (const char *c = name; *c != '\0'; c++)
        dots += *c == '.';
    bool first = options.lookups != NULL && strcmp(options.lookups, "fb") == 0 && dots >= options.ndots;
    *domains = options.ndomains > 0;
    ares_destroy_options(&options);
    return first;
}

/* Both families. Tells as it comes what may be told so (trap 5). */
static int ask_for_both(struct asking *asking, const char *name)
{
    bool domains;
    size_t length = strlen(name);
    if (!stands_first(asking->channel, name, &domains)) {
        ask_once(asking, AF_UNSPEC, name);
        return 0;
    }
    int result = ask_hosts(asking, name);
    if (result != 0)
        return result < 0 ? result : 0; /* nothing is pending: the next turn ends it */
    bool has_dot = name[length - 1] == '.', searched = domains && !has_dot;
    char *absolute = malloc(length + 2);
    asking->search = searched ? strdup(name) : NULL;
    if (absolute == NULL || (searched && asking->search == NULL)) {
        free(absolute);
        return -ENOMEM;
    }
    (void)snprintf(absolute, length + 2, "%s%s", name, has_dot ? "" : ".");
    ask_twice(asking, absolute);
    free(absolute);
    return 0;
}

int poise__resolver_start(poise_lookup *outer, const char *name)
{
    struct lookup *lookup = lookup_of(outer);
    struct asking *asking = calloc(1, sizeof *asking);
    if (asking == NULL)
        return -ENOMEM;
    asking->lookup = outer;
    int result = open_channel(asking);
    if (result < 0) {
        free(asking);
        return result;
    }
    lookup->resolver.block = asking;
    if (lookup->family == AF_UNSPEC)
        result = ask_for_both(asking, name);
    else
        ask_once(asking, lookup->family, name);
    if (result < 0)
        poise__resolver_stop(outer);
    return result;
}

/* An event may have been any socket's: poll(2) says whose. Downwards: a socket that c-ares closes meanwhile gets the
 * place of the last one, and new ones come behind. */
int poise__resolver_turn(poise_lookup *outer)
{
    struct asking *asking = asking_of(outer);
    if (asking->n > 0 && poll(asking->sockets, asking->n, 0) > 0) {
        for (unsigned i = asking->n; i-- > 0;) {
            if (i >= asking->n)
                continue;
            struct pollfd ready = asking->sockets[i];
            asking->sockets[i].revents = 0;
            bool readable = ready.revents & (POLLIN | POLLERR | POLLHUP), writable = ready.revents & POLLOUT;
            if (readable || writable)
                ares_process_fd(asking->channel, readable ? ready.fd : ARES_SOCKET_BAD,
                                writable ? ready.fd : ARES_SOCKET_BAD);
        }
    }
    ares_process_fd(asking->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD); /* what has timed out */
    if (asking->broken < 0)
        return asking->broken;
    if (!pending(asking) && asking->error == -ENOENT && asking->search != NULL && lookup_of(outer)->found_n == 0) {
        char *name = asking->search;
        asking->search = NULL;
        asking->error = 0;
        ask_once(asking, AF_UNSPEC, name);
        free(name);
    }
    return pending(asking) ? -EAGAIN : asking->error;
}

bool poise__resolver_expects(const poise_lookup *outer, int family)
{
    const struct query *queries = asking_of(outer)->queries;
    for (int i = 0; i < 2; i++)
        if (queries[i].pending && (queries[i].family == family || queries[i].family == AF_UNSPEC))
            return true;
    return false;
}

uint64_t poise__resolver_deadline(const poise_lookup *outer)
{
    const struct asking *asking = asking_of(outer);
    if (!pending(asking) || asking->broken < 0)
        return 0;
    struct timeval left;
    if (ares_timeout(asking->channel, NULL, &left) == NULL)
        return UINT64_MAX;
    /* A microsecond more: c-ares does not count parts of one. */
    return poise_now() + (uint64_t)left.tv_sec * 1000000000 + ((uint64_t)left.tv_usec + 1) * 1000;
}

void poise__resolver_stop(poise_lookup *outer)
{
    struct asking *asking = asking_of(outer);
    asking->ending = true;
    ares_destroy(asking->channel);
    free(asking->sockets);
    free(asking->search);
    free(asking);
    lookup_of(outer)->resolver.block = NULL;
}
