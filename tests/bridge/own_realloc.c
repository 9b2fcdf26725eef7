/* A program with a cabi_import_realloc of its own keeps it: poise works, with allocations. */
#include <wasi/host.h> /* of src/: the counts */

#include "with_poise.h"

void *cabi_import_realloc(void *block, size_t old, size_t align, size_t size);

static unsigned own_calls;

__attribute__((__export_name__("cabi_import_realloc"))) void *cabi_import_realloc(void *block, size_t old, size_t align,
                                                                                  size_t size)
{
    (void)old;
    own_calls++;
    if (size == 0)
        return (void *)align;
    void *moved = realloc(block, size);
    if (moved == NULL)
        abort();
    return moved;
}

int main(void)
{
    check_queue("wasip2");
    CHECK(own_calls > 100);
    CHECK(poise__host_calls.allocations > 100);
    puts("ok");
    return 0;
}
