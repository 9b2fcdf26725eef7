#include "kit.h"

/* ---- events ------------------------------------------------------------------------------------------------------ */

enum { MOST = 16 };

bool events_come(poise *queue, int n, const struct expect expected[])
{
    bool came[MOST] = { false };
    int missing = n;
    uint64_t end = poise_now() + (uint64_t)patience();
    MUST(n > 0 && n <= MOST);
    for (uint64_t now = poise_now(); missing > 0 && now < end; now = poise_now()) {
        poise_event event;
        if (poise_wait(queue, (int64_t)(end - now)) < 0)
            return false;
        while (poise_next(queue, &event)) {
            int i = 0;
            while (i < n &&
                   (came[i] || expected[i].data != event.data || (event.ready & expected[i].bits) != expected[i].bits))
                i++;
            if (i < n) {
                came[i] = true;
                missing--;
            }
        }
    }
    return missing == 0;
}

bool next_event(poise *queue, poise_event *event)
{
    return poise_next(queue, event) || (poise_wait(queue, patience()) > 0 && poise_next(queue, event));
}

static bool spurious(poise *queue, const poise_event *event)
{
    char byte;
    if (!on_wasi() || event->ready != IN)
        return false;
    int fd = *(const int *)event->data;
    ptrdiff_t n = poise_recv(fd, &byte, 1);
    eagain(queue, fd, IN);
    return n == -EAGAIN;
}

bool quiet(poise *queue)
{
    int64_t before = cpu_time();
    uint64_t end = poise_now() + (uint64_t)(50 * MS);
    for (uint64_t now = poise_now(); now < end; now = poise_now()) {
        poise_event event;
        if (poise_wait(queue, (int64_t)(end - now)) < 0)
            return false;
        while (poise_next(queue, &event))
            if (!spurious(queue, &event))
                return false;
    }
    return cpu_time() - before <= 25 * MS; /* a wait that spins is no silence */
}

void eagain(poise *queue, int fd, uint32_t directions)
{
    if (backend_is("poll"))
        MUST(poise_again(queue, poise_fd(fd), directions) == 0);
}

ptrdiff_t receive(poise *queue, int fd, void *bytes, size_t size, poise_address *from)
{
    ptrdiff_t n = from != NULL ? poise_recv_from(fd, bytes, size, from) : poise_recv(fd, bytes, size);
    if (n == -EAGAIN)
        eagain(queue, fd, IN);
    return n;
}

ptrdiff_t wait_receive(poise *queue, const int *fd, void *bytes, size_t size, poise_address *from)
{
    uint64_t end = poise_now() + (uint64_t)patience();
    ptrdiff_t n = -EAGAIN;
    do {
        if (wait_for_bits(queue, fd, IN) == 0)
            return -EAGAIN;
        n = receive(queue, *fd, bytes, size, from);
    } while (n == -EAGAIN && on_wasi() && poise_now() < end);
    return n;
}

/* ---- closed hints ------------------------------------------------------------------------------------------------ */

/* No WASI host tells of an end before somebody reads: then the next event has the hint (BRIDGE.read_closed_is_heard). */
uint32_t hints_of_end(void) { return on_wasi() ? 0 : POISE_READ_CLOSED; }
uint32_t hints_of_reset(void) { return on_wasi() ? 0 : CLOSED; }
uint32_t hints_of_refusal(void) { return on_wasi() && !backend_is("wasip2") ? 0 : CLOSED; }

uint32_t hints_of_own_shutdown(int how)
{
    if (on_wasi() && !backend_is("wasip2"))
        return 0;
    return how == SHUT_RD ? POISE_READ_CLOSED : CLOSED;
}

bool end_is_told(poise *queue, int *fd)
{
    if (!backend_is("wasip2"))
        return true;
    MUST(poise_watch(queue, poise_fd(*fd), IN | EDGE, fd) == 0);
    return wait_for_bits(queue, fd, IN | POISE_READ_CLOSED) != 0;
}

/* ---- ends of a connection ---------------------------------------------------------------------------------------- */

void close_gently(int fd)
{
    if (poise_shutdown(fd, SHUT_WR) == 0)
        MUST((wait_fd(fd, OUT) & OUT) != 0);
    close(fd);
}

void reset_by(int fd, int peer)
{
#ifdef __wasi__
    MUST(patient_send(peer, "x", 1, NULL) == 1);
    await_readable(fd);
#else
    struct linger linger = { .l_onoff = 1, .l_linger = 0 };
    (void)peer;
    MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
#endif
    close(fd);
}
