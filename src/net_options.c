/* SPDX-License-Identifier: MIT
 *
 * Options of sockets: include/poise/net.h says what each call promises. Each is an int to the kernel or host. */
#include <poise/net.h>

#include "net_platform.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

/* Linux's limits (tcp(7) does not name them: MAX_TCP_KEEPIDLE and the like). Hosts of WASI clamp, which nobody notices.
 *  */
enum { MAX_SECONDS = 32767, MAX_PROBES = 127 };

static int get_option(int fd, int level, int option, int *value)
{
    socklen_t length = sizeof *value;
    *value = 0;
    return ask_option(fd, level, option, value, &length) < 0 ? -errno : 0;
}

static int set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) < 0 ? -errno : 0;
}

/* ---- hops -------------------------------------------------------------------------------------------------------- */

/* IPv6 alone is what open_socket makes, and wasi-libc takes only the option of the socket's own family. */
static int hop_option(int fd, int *level, int *option)
{
    int family = AF_UNSPEC, result = options_barred(fd);
    if (result == 0)
        result = get_option(fd, SOL_SOCKET, SO_DOMAIN, &family);
    if (result < 0)
        return result;
    if (family != AF_INET && family != AF_INET6)
        return -EAFNOSUPPORT;
    *level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
    *option = family == AF_INET ? IP_TTL : IPV6_UNICAST_HOPS;
    return 0;
}

int poise_hop_limit(int fd)
{
    int level, option, hops, result = hop_option(fd, &level, &option);
    if (result == 0)
        result = get_option(fd, level, option, &hops);
    return result < 0 ? result : hops;
}

int poise_set_hop_limit(int fd, int hops)
{
    if (hops < 1 || hops > 255)
        return -EINVAL;
    int level, option, result = hop_option(fd, &level, &option);
    return result < 0 ? result : set_option(fd, level, option, hops);
}

/* ---- TCP --------------------------------------------------------------------------------------------------------- */

int poise_tcp_no_delay(int fd)
{
    int on, result = get_option(fd, IPPROTO_TCP, TCP_NODELAY, &on);
    return result < 0 ? result : on != 0;
}

int poise_tcp_set_no_delay(int fd, bool on) { return set_option(fd, IPPROTO_TCP, TCP_NODELAY, on); }

int poise_tcp_set_keep_alive(int fd, unsigned idle_s, unsigned interval_s, unsigned probes)
{
    if (idle_s != 0 && (idle_s > MAX_SECONDS || interval_s > MAX_SECONDS || probes > MAX_PROBES))
        return -EINVAL;
    int result = options_barred(fd), idle;
    if (result == 0)
        result = get_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle); /* SO_KEEPALIVE alone would pass for UDP */
    if (result == 0 && idle_s != 0)
        result = set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)idle_s);
    if (result == 0 && idle_s != 0 && interval_s != 0)
        result = set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, (int)interval_s);
    if (result == 0 && idle_s != 0 && probes != 0)
        result = set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, (int)probes);
    if (result == 0)
        result = set_option(fd, SOL_SOCKET, SO_KEEPALIVE, idle_s != 0);
    return result;
}

int poise_tcp_keep_alive(int fd, unsigned *idle_s, unsigned *interval_s, unsigned *probes)
{
    int idle = 0, interval = 0, count = 0, on = 0, result = options_barred(fd);
    if (result == 0)
        result = get_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle);
    if (result == 0)
        result = get_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval);
    if (result == 0)
        result = get_option(fd, IPPROTO_TCP, TCP_KEEPCNT, &count);
    if (result == 0)
        result = get_option(fd, SOL_SOCKET, SO_KEEPALIVE, &on);
    if (result < 0)
        return result;
    if (idle_s != NULL)
        *idle_s = (unsigned)idle;
    if (interval_s != NULL)
        *interval_s = (unsigned)interval;
    if (probes != NULL)
        *probes = (unsigned)count;
    return on != 0;
}

/* ---- errors ------------------------------------------------------------------------------------------------------ */

int poise_socket_error(int fd)
{
    int error, result = get_option(fd, SOL_SOCKET, SO_ERROR, &error);
    /* EINPROGRESS: what WASI says of a connect that is under way. */
    return result < 0 ? result : error == EINPROGRESS ? 0 : -error;
}
