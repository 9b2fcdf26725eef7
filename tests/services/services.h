/* What the service tests share beyond the test kit: where the servers are, blocking connections, and faults.
 * tests/services.py explains the environment, tests/services/faults.py the specifications. */
#ifndef POISE_SERVICES_H
#define POISE_SERVICES_H

#include "test.h"

#include <poise/net.h>

/* ---- the environment: what is not there ends the program ---------------------------------------------------------- */

const char *service_text(const char *name); /* "POISE_RUN": a word of this run, for keys and channels of its own */
uint16_t service_port(const char *name);    /* "POISE_REDIS" */
bool service_ipv6(void);

#define NEED_IPV6()                                \
    do {                                           \
        if (!service_ipv6())                       \
            SKIP("the machine has no IPv6 (::1)"); \
    } while (0)

/* Addresses of the namespace: every port of a server is open on the live ones, and a connect to the dead ones hangs. */
#define LIVE_V4 "127.0.0.1"
#define LIVE_V6 "::1"
#define DEAD_V4 "198.51.100.66"
#define DEAD_V6 "2001:db8::66"

poise_address service_address(const char *literal, uint16_t port);

/* ---- blocking libc calls ------------------------------------------------------------------------------------------ */

int connect_blocking(const char *literal, uint16_t port);   /* the descriptor, or a negative errno */
int connect_blocking_name(const char *name, uint16_t port); /* by getaddrinfo, the first address that works; or -1 */
long send_blocking(int fd, const void *bytes, size_t size); /* all of it: `size`, or a negative errno */
long receive_blocking(int fd, void *bytes, size_t size);    /* until `size` or the end; or a negative errno */

/* ---- faults: a port that does what a specification says, until fault_close ------------------------------------------ */

struct fault {
    int control;
    uint16_t port;
};

void fault_open(struct fault *fault, const char *specification); /* "proxy redis cut 100 reset" */
int fault_end(struct fault *fault, const char *how);             /* "close", "reset", "half-close": all connections */
int fault_connections(struct fault *fault);                      /* how many are open */
void fault_close(struct fault *fault);

#endif
