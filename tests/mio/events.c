/* mio's tests/events.rs */
#include "kit.h"

/* options.batch is mio's capacity; what mio clears, poise_next has given. */
TEST(events, events_all)
{
    poise *queue = open_queue_with((poise_options){ .batch = 16 });
    poise_waker waker = { 0 };
    poise_event event, none;
    CHECK(!poise_next(queue, &none));
    CHECK_INT(poise_waker_open(queue, &waker, &waker), 0);
    poise_wake(&waker);
    CHECK(poise_wait(queue, patience()) > 0);
    CHECK(poise_next(queue, &event));
    bool empty = !poise_next(queue, &none) && poise_wait(queue, 0) == 0 && !poise_next(queue, &none);
    poise_waker_close(&waker);
    poise_close(queue);
    CHECK(empty);
    POINT(event.data == &waker && event.ready == POISE_WAKE);
}
