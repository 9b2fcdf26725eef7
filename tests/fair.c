/* G7 in earnest: 1,000 ready of 5,000. The other ends live in a process of its own (peer.c): --peer says on which
 * port. */
#include "test.h"

#include <poll.h>
#include <unistd.h>

enum { MOST = 10000, AHEAD = 100 };

static int fd[MOST];
static unsigned char served[MOST], before[MOST];

/* Nothing is ever read, so that what is ready stays so. Every wait takes all its events. bound 0: until all were
 * served. */
static void serve_all(poise *queue, unsigned ready, unsigned batch, unsigned bound)
{
    unsigned left = ready;
    memset(served, 0, sizeof served);
    uint64_t end = poise_now() + 15 * (uint64_t)patience();
    for (unsigned wait = 0; bound != 0 ? wait < bound : left > 0 && poise_now() < end; wait++) {
        poise_event event;
        unsigned taken = 0;
        CHECK(poise_wait(queue, patience()) > 0);
        for (; poise_next(queue, &event); taken++) {
            size_t i = (size_t)((int *)event.data - fd);
            CHECK_INT(event.ready, POISE_READABLE);
            left -= !served[i];
            served[i] = 1;
        }
        CHECK_RANGE(taken, 1, batch);
    }
    if (left != 0)
        test_failed(__FILE__, __LINE__, "%u of %u ready sources were not served%s", left, ready,
                    bound != 0 ? " in the waits that G7 promises" : " at all");
}

/* Waits until the peer has taken the last five connections (but four): one of any five in a row gets a byte then. On a
 * busy machine it is slower than who connects, and what its backlog has no room for is late by many seconds, or lost. */
static void await_peer(unsigned connections)
{
    struct pollfd five[5];
    for (unsigned i = 0; i < 5; i++)
        five[i] = (struct pollfd){ .fd = fd[connections - 5 + i], .events = POLLIN };
    MUST(poll(five, 5, (int)(5 * patience() / MS)) > 0);
}

/* A fifth of the connections is ready. */
static void serve(unsigned connections, unsigned batch)
{
    NEED_SOCKETS();
    if (on_wasi() && backend_is("poll"))
        SKIP("libc's poll(2) in a component overwrites memory beyond some 2,700 descriptors");
    if (peer_port() == 0)
        SKIP("there is no peer process: run by tests/run.py");
    poise *queue = open_queue_with((poise_options){ .batch = batch });
    unsigned ready = connections / 5, bound = (ready + batch - 1) / batch + 1;
    for (unsigned i = 0; i < connections; i++) {
        fd[i] = tcp_connected(peer_port());
        if (fd[i] < 0) {
            while (i > 0)
                close(fd[--i]);
            poise_close(queue);
            SKIP("the host process may not open 10,000 descriptors");
        }
        CHECK_INT(poise_watch(queue, poise_fd(fd[i]), POISE_READABLE, &fd[i]), 0);
        if ((i + 1) % AHEAD == 0)
            await_peer(i + 1);
    }
    CALL(serve_all(queue, ready, batch, 0));
    memcpy(before, served, sizeof served);
    for (int turn = 0; turn < 5; turn++) {
        CALL(serve_all(queue, ready, batch, bound));
        CHECK(memcmp(served, before, sizeof served) == 0);
    }
    CALL(check_unharmed(queue));
    poise_close(queue);
    for (unsigned i = 0; i < connections; i++)
        close(fd[i]);
}

TEST(G7, a_thousand_ready_of_five_thousand) { CALL(serve(5000, 16)); }
TEST(G7, two_thousand_ready_of_ten_thousand) { CALL(serve(10000, 256)); }
