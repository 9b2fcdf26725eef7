/* What the tests of poise/net.h share: sockets by poise's own calls, and calls that wait. */
#ifndef POISE_NET_KIT_H
#define POISE_NET_KIT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "test.h"

#include <poise/net.h>

#include <fcntl.h>
#include <unistd.h>

#ifndef __wasi__
#include <sys/resource.h>
#endif

#define V4 "127.0.0.1"
#define V6 "::1"

static inline poise_address at(const char *host, uint16_t port)
{
    poise_address address;
    MUST(poise_address_parse(&address, host, port) == 0);
    return address;
}

static inline uint16_t port_of(int fd)
{
    poise_address local;
    MUST(poise_local_address(fd, &local) == 0);
    return poise_address_port(&local);
}

static inline bool host_exists(const char *host)
{
    poise_address any = at(host, 0);
    int fd = poise_udp_bind(&any);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

#define NEED_HOST(host)                            \
    do {                                           \
        if (!host_exists(host))                    \
            SKIP("the machine has no IPv6 (::1)"); \
    } while (0)

/* Waits for one descriptor in a queue of its own. What came, or 0. */
static inline uint32_t wait_fd(int fd, uint32_t interest)
{
    poise *queue = open_queue();
    MUST(poise_watch(queue, poise_fd(fd), interest, &fd) == 0);
    uint32_t ready = wait_for(queue, &fd);
    poise_close(queue);
    return ready;
}

/* -EAGAIN is never an error: on a WASI host a fresh socket may say so without a reason. */
static inline ptrdiff_t patient_recv(int fd, void *bytes, size_t size, poise_address *from)
{
    uint64_t end = poise_now() + (uint64_t)patience();
    ptrdiff_t n;
    do
        n = from != NULL ? poise_recv_from(fd, bytes, size, from) : poise_recv(fd, bytes, size);
    while (n == -EAGAIN && wait_fd(fd, POISE_READABLE) != 0 && poise_now() < end);
    return n;
}

static inline ptrdiff_t patient_send(int fd, const void *bytes, size_t size, const poise_address *to)
{
    uint64_t end = poise_now() + (uint64_t)patience();
    ptrdiff_t n;
    do
        n = to != NULL ? poise_send_to(fd, bytes, size, to) : poise_send(fd, bytes, size);
    while (n == -EAGAIN && wait_fd(fd, POISE_WRITABLE) != 0 && poise_now() < end);
    return n;
}

static inline int patient_accept(int listener, poise_address *peer)
{
    int fd;
    do
        fd = poise_tcp_accept(listener, peer);
    while (fd == -EAGAIN && wait_fd(listener, POISE_READABLE) != 0);
    return fd;
}

static inline int patient_result(int fd)
{
    int result;
    do
        result = poise_tcp_connect_result(fd);
    while (result == -EINPROGRESS && wait_fd(fd, POISE_WRITABLE) != 0);
    return result;
}

static inline int listen_at(const char *host, poise_address *address)
{
    *address = at(host, 0);
    int fd = poise_tcp_listen(address, 16);
    MUST(fd >= 0);
    MUST(poise_local_address(fd, address) == 0);
    return fd;
}

/* client and server, connected; by poise's calls alone. */
static inline void connected(const char *host, int *client, int *server)
{
    poise_address address;
    int listener = listen_at(host, &address);
    *client = poise_tcp_connect(&address);
    MUST(*client >= 0);
    *server = patient_accept(listener, NULL);
    MUST(*server >= 0);
    MUST(patient_result(*client) == 0);
    close(listener);
}

/* A port that nobody listens at. Natively it stays bound until the next call, so that nobody else gets it meanwhile; on
 * jco a connect to one that is bound is not refused. */
static inline poise_address nobody(const char *host)
{
#ifdef __wasi__
    poise_address address;
    close(listen_at(host, &address));
#else
    static int kept = -1;
    poise_address address = at(host, 0);
    if (kept >= 0)
        close(kept);
    kept = socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(kept >= 0 && bind(kept, (const struct sockaddr *)&address.storage, address.length) == 0);
    MUST(poise_local_address(kept, &address) == 0);
#endif
    return address;
}

static inline void check_flags(int fd)
{
    CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
#ifndef __wasi__ /* no exec there */
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
#endif
}

static inline bool gone(ptrdiff_t error)
{
    return error == -EPIPE || error == -ECONNRESET || (on_wasi() && error == -EIO);
}

#ifndef __wasi__

/* From now on no descriptor can be opened. */
static inline void no_more_descriptors(struct rlimit *before)
{
    struct rlimit now;
    MUST(getrlimit(RLIMIT_NOFILE, before) == 0);
    int lowest = dup(0);
    MUST(lowest >= 0);
    close(lowest);
    now = *before;
    now.rlim_cur = (rlim_t)lowest;
    MUST(setrlimit(RLIMIT_NOFILE, &now) == 0);
}

/* ---- a folder for Unix sockets: a name in it is a letter, "a" to "d" ------------------------------------------------ */

static char folder[64];

static inline const char *in_folder(const char *name)
{
    static char path[sizeof folder + 16];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static inline void open_folder(void)
{
    snprintf(folder, sizeof folder, "%s/poise-XXXXXX", P_tmpdir);
    MUST(mkdtemp(folder) != NULL);
}

static inline void close_folder(void)
{
    char name[] = "a";
    for (; name[0] <= 'd'; name[0]++)
        unlink(in_folder(name));
    MUST(rmdir(folder) == 0);
}

static inline poise_address named(const char *name)
{
    poise_address address;
    MUST(poise_address_unix(&address, in_folder(name), 0) == 0);
    return address;
}

#endif
#endif
