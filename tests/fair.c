/* G7 in earnest: 1,000 ready of 5,000. The other ends live in a process of its own (peer.c): --peer says on which port. */
#include "test.h"

#include <unistd.h>

enum { CONNECTIONS = 5000, READY = CONNECTIONS / 5, BATCH = 16, BOUND = (READY + BATCH - 1) / BATCH + 1 };

static int fd[CONNECTIONS];

/* Nothing is ever read, so that what is ready stays so. Every wait takes all its events. */
static void serve_all(poise *queue, unsigned char *served, unsigned waits, bool all_known)
{
    unsigned left = READY;
    memset(served, 0, CONNECTIONS);
    uint64_t end = poise_now() + 15 * (uint64_t)patience();
    for (unsigned wait = 0; all_known ? wait < waits : left > 0 && poise_now() < end; wait++) {
        poise_event event;
        unsigned taken = 0;
        CHECK(poise_wait(queue, patience()) > 0);
        for (; poise_next(queue, &event); taken++) {
            size_t i = (size_t)((int *)event.data - fd);
            CHECK_INT(event.ready, POISE_READABLE);
            left -= !served[i];
            served[i] = 1;
        }
        CHECK_RANGE(taken, 1, BATCH);
    }
    if (left != 0)
        test_failed(__FILE__, __LINE__, "%u of %u ready sources were not served%s", left, READY,
                    all_known ? " in the waits that G7 promises" : " at all");
}

TEST(G7, a_thousand_ready_of_five_thousand)
{
    NEED_SOCKETS();
    if (on_wasi() && backend_is("poll"))
        SKIP("libc's poll(2) in a component overwrites memory beyond some 2,700 descriptors");
    if (peer_port() == 0)
        SKIP("there is no peer process: run by tests/run.py");
    static unsigned char served[CONNECTIONS], before[CONNECTIONS];
    poise *queue = open_queue_with((poise_options){ .batch = BATCH });
    for (int i = 0; i < CONNECTIONS; i++) {
        fd[i] = tcp_connected(peer_port());
        CHECK_INT(poise_watch(queue, poise_fd(fd[i]), POISE_READABLE, &fd[i]), 0);
    }
    CALL(serve_all(queue, before, 0, false));
    for (int turn = 0; turn < 5; turn++) {
        CALL(serve_all(queue, served, BOUND, true));
        CHECK(memcmp(served, before, sizeof served) == 0);
    }
    poise_close(queue);
    for (int i = 0; i < CONNECTIONS; i++)
        close(fd[i]);
}
