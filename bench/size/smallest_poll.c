/* SPDX-License-Identifier: MIT
 *
 * The smallest program that waits: for standard input, with the C library's poll(2). smallest_poise.c is the same with
 * poise; bench/size.py compares the two components.
 */
#include <poll.h>
#include <unistd.h>

int main(void)
{
    char bytes[256];
    ssize_t n = 1;
    while (n > 0) {
        struct pollfd input = { .fd = 0, .events = POLLIN };
        if (poll(&input, 1, -1) > 0) {
            n = read(0, bytes, sizeof bytes);
        }
    }
    return n < 0;
}
