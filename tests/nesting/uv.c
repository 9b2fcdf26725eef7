/* The outer loop is libuv's: a uv_poll for the descriptor, and a uv_timer for the deadline, which uv_prepare sets anew
 * just before each wait, as anybody may have started a timer or posted in between. */
#include "nested.h"

#include <uv.h>

static uv_loop_t loop;
static uv_poll_t readable;
static uv_timer_t deadline, after;
static uv_prepare_t prepare;
static poise *queue;
static void (*serve)(poise *queue);
static void (*call_after)(void);
static unsigned turns;

static void on_readable(uv_poll_t *handle, int status, int events)
{
    (void)handle, (void)events;
    MUST(status == 0);
    serve(queue);
}

static void on_deadline(uv_timer_t *handle)
{
    (void)handle;
    serve(queue);
}

static void on_prepare(uv_prepare_t *handle)
{
    (void)handle;
    turns++;
    int ms = milliseconds_until(poise_deadline(queue));
    if (ms < 0) {
        uv_timer_stop(&deadline);
    } else {
        uv_update_time(&loop); /* libuv's timers count from the time that it has kept */
        uv_timer_start(&deadline, on_deadline, (uint64_t)ms, 0);
    }
}

static void on_after(uv_timer_t *handle)
{
    (void)handle;
    call_after();
}

void outer_open(poise *queue_, void (*serve_)(poise *queue))
{
    queue = queue_;
    serve = serve_;
    turns = 0;
    MUST(uv_loop_init(&loop) == 0);
    MUST(uv_poll_init(&loop, &readable, poise_fileno(queue)) == 0);
    MUST(uv_poll_start(&readable, UV_READABLE, on_readable) == 0);
    MUST(uv_timer_init(&loop, &deadline) == 0);
    MUST(uv_timer_init(&loop, &after) == 0);
    MUST(uv_prepare_init(&loop, &prepare) == 0);
    MUST(uv_prepare_start(&prepare, on_prepare) == 0);
}

void outer_after(unsigned ms, void (*call)(void))
{
    call_after = call;
    uv_update_time(&loop);
    MUST(uv_timer_start(&after, on_after, ms, 0) == 0);
}

void outer_run(void) { uv_run(&loop, UV_RUN_DEFAULT); }
void outer_stop(void) { uv_stop(&loop); }
unsigned outer_turns(void) { return turns; }

void outer_close(void)
{
    uv_close((uv_handle_t *)&readable, NULL);
    uv_close((uv_handle_t *)&deadline, NULL);
    uv_close((uv_handle_t *)&after, NULL);
    uv_close((uv_handle_t *)&prepare, NULL);
    MUST(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    MUST(uv_loop_close(&loop) == 0);
}
