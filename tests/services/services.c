/* See services.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "services.h"

#include <netdb.h>
#include <netinet/in.h>
#include <unistd.h>

/* ---- the environment ---------------------------------------------------------------------------------------------- */

const char *service_text(const char *name)
{
    const char *text = getenv(name);
    if (text == NULL)
        test_broken(__FILE__, __LINE__, "%s is not set: run this by tests/services.py", name);
    return text;
}

uint16_t service_port(const char *name)
{
    int port = atoi(service_text(name));
    if (port <= 0 || port > UINT16_MAX)
        test_broken(__FILE__, __LINE__, "%s is no port", name);
    return (uint16_t)port;
}

bool service_ipv6(void) { return strcmp(service_text("POISE_IPV6"), "1") == 0; }

poise_address service_address(const char *literal, uint16_t port)
{
    poise_address address;
    MUST(poise_address_parse(&address, literal, port) == 0);
    return address;
}

/* ---- blocking libc calls ------------------------------------------------------------------------------------------ */

static int connect_to(const struct sockaddr *address, socklen_t length)
{
    int fd = socket(address->sa_family, SOCK_STREAM, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, address, length) == 0)
        return fd;
    int error = -errno;
    close(fd);
    return error;
}

int connect_blocking(const char *literal, uint16_t port)
{
    poise_address address = service_address(literal, port);
    return connect_to((struct sockaddr *)&address.storage, address.length);
}

int connect_blocking_name(const char *name, uint16_t port)
{
    char service[8];
    snprintf(service, sizeof service, "%u", (unsigned)port);
    struct addrinfo hints, *found = NULL;
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    if (getaddrinfo(name, service, &hints, &found) != 0)
        return -1;
    int fd = -1;
    for (struct addrinfo *one = found; one != NULL && fd < 0; one = one->ai_next)
        fd = connect_to(one->ai_addr, one->ai_addrlen);
    freeaddrinfo(found);
    return fd < 0 ? -1 : fd;
}

long send_blocking(int fd, const void *bytes, size_t size)
{
    const char *rest = bytes;
    for (size_t left = size; left > 0;) {
        ssize_t n = send(fd, rest, left, 0);
        if (n < 0)
            return -errno;
        rest += n;
        left -= (size_t)n;
    }
    return (long)size;
}

long receive_blocking(int fd, void *bytes, size_t size)
{
    size_t got = 0;
    while (got < size) {
        ssize_t n = recv(fd, (char *)bytes + got, size - got, 0);
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        got += (size_t)n;
    }
    return (long)got;
}

/* ---- faults ------------------------------------------------------------------------------------------------------- */

/* Sends a line, and returns the number in the answer. */
static int command(struct fault *fault, const char *verb, const char *rest)
{
    char line[256];
    int length = snprintf(line, sizeof line, "%s%s%s\n", verb, *rest ? " " : "", rest);
    MUST(length > 0 && length < (int)sizeof line);
    MUST(send_blocking(fault->control, line, (size_t)length) == length);
    char answer[256];
    size_t got = 0;
    do {
        MUST(got + 1 < sizeof answer && receive_blocking(fault->control, answer + got, 1) == 1);
    } while (answer[got++] != '\n');
    answer[got - 1] = '\0';
    char *end = NULL;
    long number = strtol(answer, &end, 10);
    if (end == answer || *end != '\0')
        test_broken(__FILE__, __LINE__, "faults.py says to \"%s %s\": %s", verb, rest, answer);
    return (int)number;
}

void fault_open(struct fault *fault, const char *specification)
{
    fault->control = connect_blocking(LIVE_V4, service_port("POISE_FAULTS"));
    MUST(fault->control >= 0);
    fault->port = (uint16_t)command(fault, "listen", specification);
}

int fault_end(struct fault *fault, const char *how) { return command(fault, "end", how); }
int fault_connections(struct fault *fault) { return command(fault, "open", ""); }
void fault_close(struct fault *fault) { close(fault->control); }
