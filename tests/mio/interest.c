/* mio's tests/interest.rs */
#include "kit.h"

static const uint32_t all_bits[] = { POISE_READABLE,     POISE_WRITABLE, POISE_PRIORITY, POISE_ERROR, POISE_READ_CLOSED,
                                     POISE_WRITE_CLOSED, POISE_TIMER,    POISE_WAKE,     POISE_EDGE,  POISE_ONESHOT };
enum { BITS = sizeof all_bits / sizeof all_bits[0] };

/* How many of the enum's names are in there. */
static int names_in(uint32_t interest)
{
    int n = 0;
    for (int i = 0; i < BITS; i++)
        n += (interest & all_bits[i]) != 0;
    return n;
}

/* AIO and LIO are bits of mio's that poise has not got: of its own, no other is set. */
TEST(interest, is_tests)
{
    POINT((IN & POISE_READABLE) != 0 && (IN & POISE_WRITABLE) == 0 && names_in(IN) == 1);
    POINT((OUT & POISE_READABLE) == 0 && (OUT & POISE_WRITABLE) != 0 && names_in(OUT) == 1);
}

/* What a watch for both means: both directions are reported, and each of them is in the interest. */
TEST(interest, bit_or)
{
    uint32_t interest = POISE_READABLE | POISE_WRITABLE;
    CHECK((interest & POISE_READABLE) != 0 && (interest & POISE_WRITABLE) != 0 && names_in(interest) == 2);
    poise *queue = open_queue();
    int fd, peer;
    connected(V4, &fd, &peer);
    CHECK_INT(patient_send(peer, "x", 1, NULL), 1);
    await_readable(fd);
    CHECK_INT(poise_watch(queue, poise_fd(fd), interest, &fd), 0);
    uint32_t ready = wait_for_bits(queue, &fd, BOTH);
    poise_close(queue);
    close(peer);
    close(fd);
    POINT((ready & BOTH) == BOTH);
}

/* No two names share a bit, so that their sum is their `or`. */
TEST(interest, add)
{
    uint32_t sum = 0, either = 0;
    for (int i = 0; i < BITS; i++) {
        CHECK((either & all_bits[i]) == 0);
        sum += all_bits[i];
        either |= all_bits[i];
    }
    CHECK_INT(sum, either);
    uint32_t interest = POISE_READABLE + POISE_WRITABLE;
    POINT((interest & POISE_READABLE) != 0 && (interest & POISE_WRITABLE) != 0 && interest == BOTH);
}
