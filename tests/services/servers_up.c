/* The servers answer, the faults are what they say, and an echo comes back: with blocking libc calls and with poise. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "services.h"

#include <unistd.h>

/* ---- an echo with blocking calls ---------------------------------------------------------------------------------- */

static void fill_pattern(char *bytes, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)((i * 7 + seed) % 251);
}

/* Closes the descriptor. */
static void check_blocking_echo(int fd)
{
    CHECK(fd >= 0);
    static char sent[5000], back[5000];
    for (unsigned round = 0; round < scale(100); round++) {
        fill_pattern(sent, sizeof sent, round);
        CHECK_INT(send_blocking(fd, sent, sizeof sent), sizeof sent);
        CHECK_INT(receive_blocking(fd, back, sizeof back), sizeof back);
        CHECK(memcmp(sent, back, sizeof sent) == 0);
    }
    close(fd);
}

TEST(Echo, blocking_by_ipv4) { CALL(check_blocking_echo(connect_blocking(LIVE_V4, service_port("POISE_ECHO")))); }

TEST(Echo, blocking_by_ipv6)
{
    NEED_IPV6();
    CALL(check_blocking_echo(connect_blocking(LIVE_V6, service_port("POISE_ECHO"))));
}

TEST(Echo, blocking_by_name)
{
    CALL(check_blocking_echo(connect_blocking_name("echo.poise.test", service_port("POISE_ECHO"))));
    CALL(check_blocking_echo(connect_blocking_name("v4.poise.test", service_port("POISE_ECHO"))));
    CHECK_INT(connect_blocking_name("none.poise.test", service_port("POISE_ECHO")), -1);
}

TEST(Echo, blocking_by_name_with_ipv6_alone)
{
    NEED_IPV6();
    CALL(check_blocking_echo(connect_blocking_name("v6.poise.test", service_port("POISE_ECHO"))));
}

/* ---- an echo with poise ------------------------------------------------------------------------------------------- */

/* Connects, sends `size` bytes while it takes back what is there, and ends the connection in good order. */
static void check_poise_echo(const char *literal, size_t size)
{
    poise *queue = open_queue();
    poise_address address = service_address(literal, service_port("POISE_ECHO"));
    int fd = poise_tcp_connect(&address);
    CHECK(fd >= 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd), POISE_WRITABLE, &fd), 0);
    while (poise_tcp_connect_result(fd) == -EINPROGRESS)
        CHECK(wait_for(queue, &fd) != 0);
    CHECK_INT(poise_tcp_connect_result(fd), 0);

    static char sent[4096], back[4096];
    size_t out = 0, in = 0;
    fill_pattern(sent, sizeof sent, 3);
    CHECK_INT(poise_watch(queue, poise_fd(fd), POISE_READABLE | POISE_WRITABLE, &fd), 0);
    while (in < size) {
        uint32_t ready = wait_for(queue, &fd);
        CHECK(ready != 0);
        if (out < size && (ready & POISE_WRITABLE) != 0) {
            size_t at = out % sizeof sent, left = size - out;
            ptrdiff_t n = poise_send(fd, sent + at, left < sizeof sent - at ? left : sizeof sent - at);
            CHECK(n > 0 || n == -EAGAIN);
            out += n > 0 ? (size_t)n : 0;
            if (out == size)
                CHECK_INT(poise_watch(queue, poise_fd(fd), POISE_READABLE, &fd), 0);
        }
        if ((ready & POISE_READABLE) != 0) {
            size_t at = in % sizeof sent;
            ptrdiff_t n = poise_recv(fd, back, sizeof sent - at);
            CHECK(n > 0 || n == -EAGAIN);
            if (n > 0)
                CHECK(memcmp(back, sent + at, (size_t)n) == 0);
            in += n > 0 ? (size_t)n : 0;
        }
    }
    CHECK_INT(in, size);
    CHECK_INT(poise_shutdown(fd, SHUT_WR), 0);
    ptrdiff_t end;
    while ((end = poise_recv(fd, back, sizeof back)) == -EAGAIN)
        CHECK(wait_for(queue, &fd) != 0);
    CHECK_INT(end, 0);
    CHECK_INT(poise_unwatch(queue, poise_fd(fd)), 0);
    close(fd);
    poise_close(queue);
}

TEST(Echo, poise_by_ipv4) { CALL(check_poise_echo(LIVE_V4, 10000 * (size_t)scale(100))); }

TEST(Echo, poise_by_ipv6)
{
    NEED_IPV6();
    CALL(check_poise_echo(LIVE_V6, 10000 * (size_t)scale(100)));
}

/* ---- each server, in its own protocol's first words ---------------------------------------------------------------- */

static void check_answer(uint16_t port, const char *ask, size_t ask_size, const char *answer)
{
    char got[64] = "";
    size_t size = strlen(answer);
    int fd = connect_blocking(LIVE_V4, port);
    CHECK(fd >= 0);
    CHECK_INT(send_blocking(fd, ask, ask_size), ask_size);
    CHECK_INT(receive_blocking(fd, got, size), size);
    CHECK(memcmp(got, answer, size) == 0);
    close(fd);
}

static const char ping[] = "PING\r\n";
static const char get_hello[] = "GET /hello.txt HTTP/1.0\r\n\r\n";
static const char ssl_request[] = { 0, 0, 0, 8, 0x04, (char)0xd2, 0x16, 0x2f };

TEST(Servers, redis) { CALL(check_answer(service_port("POISE_REDIS"), ping, strlen(ping), "+PONG\r\n")); }
TEST(Servers, nginx)
{
    CALL(check_answer(service_port("POISE_HTTP"), get_hello, strlen(get_hello), "HTTP/1.1 200 OK"));
}
TEST(Servers, postgres) { CALL(check_answer(service_port("POISE_PG"), ssl_request, sizeof ssl_request, "N")); }

/* ---- the faults ---------------------------------------------------------------------------------------------------- */

/* Asks for more than there is. What came, `size` bytes of it, and how it ended: 0, or a negative errno. */
static void ask_all(uint16_t port, const char *ask, char *got, size_t most, size_t *size, long *end)
{
    int fd = connect_blocking(LIVE_V4, port);
    *size = 0;
    *end = fd;
    if (fd < 0)
        return;
    long sent = send_blocking(fd, ask, strlen(ask));
    while ((*end = receive_blocking(fd, got + *size, 1)) == 1 && *size + 1 < most)
        (*size)++;
    if (*end == 0 && sent < 0) /* Linux tells of a reset once */
        *end = sent;
    close(fd);
}

/* WASI's hosts tell a reset as EIO, or as an end; a connect that it overtakes has still other words for it. */
static bool is_reset(long end) { return on_wasi() ? end <= 0 : end == -ECONNRESET || end == -EPIPE; }

TEST(Faults, half_an_answer)
{
    char got[64];
    size_t size;
    long end;
    ask_all(service_port("POISE_FAULT_REDIS_CLOSE"), ping, got, sizeof got, &size, &end);
    CHECK(size == 9 && memcmp(got, "$10\r\nhalf", 9) == 0);
    CHECK_INT(end, 0);
    ask_all(service_port("POISE_FAULT_REDIS_HALF_CLOSE"), ping, got, sizeof got, &size, &end);
    CHECK_INT(size, 9);
    CHECK_INT(end, 0);
    ask_all(service_port("POISE_FAULT_REDIS_RESET"), ping, got, sizeof got, &size, &end);
    CHECK_RANGE(size, 0, 9); /* a reset may overtake it */
    CHECK(is_reset(end));
}

TEST(Faults, ends_at_once)
{
    char got[64];
    size_t size;
    long end;
    ask_all(service_port("POISE_FAULT_HALF_CLOSE"), ping, got, sizeof got, &size, &end);
    CHECK_INT(size, 0);
    CHECK_INT(end, 0);
    ask_all(service_port("POISE_FAULT_RESET"), ping, got, sizeof got, &size, &end);
    CHECK_INT(size, 0);
    CHECK(is_reset(end));
    ask_all(service_port("POISE_FAULT_CLOSE"), "", got, sizeof got, &size, &end);
    CHECK_INT(size, 0);
    CHECK_INT(end, 0);
}

TEST(Faults, one_byte_at_a_time)
{
    CALL(check_answer(service_port("POISE_FAULT_REDIS_BYTEWISE"), ping, strlen(ping), "+PONG\r\n"));
}

TEST(Faults, a_proxy_that_dies)
{
    struct fault fault;
    char got[64];
    size_t size;
    long end;
    fault_open(&fault, "proxy redis cut 5 close");
    ask_all(fault.port, ping, got, sizeof got, &size, &end);
    CHECK(size == 5 && memcmp(got, "+PONG", 5) == 0);
    fault_close(&fault);

    fault_open(&fault, "proxy redis");
    int fd = connect_blocking(LIVE_V4, fault.port);
    CHECK(fd >= 0);
    CHECK_INT(send_blocking(fd, ping, strlen(ping)), strlen(ping));
    CHECK_INT(receive_blocking(fd, got, 7), 7);
    CHECK_INT(fault_connections(&fault), 1);
    CHECK_INT(fault_end(&fault, "reset"), 1);
    CHECK_INT(fault_connections(&fault), 0);
    CHECK(is_reset(receive_blocking(fd, got, 1)));
    close(fd);
    fault_close(&fault);
}

/* Nothing answers there, and nothing refuses. */
static void check_dead(const char *literal)
{
    poise *queue = open_queue();
    poise_address address = service_address(literal, service_port("POISE_ECHO"));
    int fd = poise_tcp_connect(&address);
    CHECK(fd >= 0);
    CHECK_INT(poise_watch(queue, poise_fd(fd), POISE_WRITABLE, &fd), 0);
    for (uint64_t end = poise_now() + 300 * (uint64_t)MS; poise_now() < end;) { /* spurious events may come */
        struct seen seen;
        CHECK(wait_all(queue, 50 * MS, &seen) >= 0);
        CHECK_INT(poise_tcp_connect_result(fd), -EINPROGRESS);
    }
    CHECK_INT(poise_unwatch(queue, poise_fd(fd)), 0);
    close(fd);
    poise_close(queue);
}

TEST(Faults, a_dead_address) { CALL(check_dead(DEAD_V4)); }

TEST(Faults, a_dead_ipv6_address)
{
    NEED_IPV6();
    CALL(check_dead(DEAD_V6));
}
