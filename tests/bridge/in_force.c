/* The bridge as it should be: for comparison with the other programs, and either backend by its name. */
#include <poise/wasi.h>

#include "with_poise.h"

int main(void)
{
    static const char *const names[] = { "wasip2", "poll" };
    check_queue("wasip2");
    for (int i = 0; i < 2; i++) {
        CHECK(setenv("POISE_BACKEND", names[i], 1) == 0);
        check_queue(names[i]);
    }
    puts("ok");
    return 0;
}
