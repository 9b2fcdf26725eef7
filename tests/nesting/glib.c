/* The outer loop is GLib's: a GSource with the descriptor, whose prepare says how long the wait may take. (Not
 * g_source_set_ready_time: whoever starts a timer or posts would have to call that, and each call wakes the loop.) */
#include "nested.h"

#include <glib-unix.h>
#include <glib.h>

struct source {
    GSource base;
    poise *queue;
    void *tag; /* of the descriptor */
};

static GMainLoop *loop;
static GSource *source;
static void (*serve)(poise *queue);
static unsigned turns;

static gboolean prepare(GSource *base, gint *timeout)
{
    turns++;
    *timeout = milliseconds_until(poise_deadline(((struct source *)base)->queue));
    return *timeout == 0;
}

static gboolean check(GSource *base)
{
    struct source *self = (struct source *)base;
    return g_source_query_unix_fd(base, self->tag) != 0 || poise_deadline(self->queue) <= poise_now();
}

static gboolean dispatch(GSource *base, GSourceFunc function, gpointer data)
{
    (void)function, (void)data;
    serve(((struct source *)base)->queue);
    return G_SOURCE_CONTINUE;
}

void outer_open(poise *queue, void (*serve_)(poise *queue))
{
    static GSourceFuncs functions = { .prepare = prepare, .check = check, .dispatch = dispatch };
    serve = serve_;
    turns = 0;
    loop = g_main_loop_new(NULL, FALSE);
    source = g_source_new(&functions, sizeof(struct source));
    struct source *self = (struct source *)source;
    self->queue = queue;
    self->tag = g_source_add_unix_fd(source, poise_fileno(queue), G_IO_IN);
    g_source_attach(source, NULL);
}

static gboolean on_after(gpointer data)
{
    void (**call)(void) = data;
    (*call)();
    return G_SOURCE_REMOVE;
}

void outer_after(unsigned ms, void (*call)(void))
{
    static void (*call_after)(void);
    call_after = call;
    g_timeout_add(ms, on_after, &call_after);
}

void outer_run(void) { g_main_loop_run(loop); }
void outer_stop(void) { g_main_loop_quit(loop); }
unsigned outer_turns(void) { return turns; }

void outer_close(void)
{
    g_source_destroy(source);
    g_source_unref(source);
    g_main_loop_unref(loop);
}
