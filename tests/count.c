/* Counts what the whole program asks of the C library's allocator. Needs, on every linker,
 *     -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
 * which catches the library, libc's archive members under WASI, and the tests themselves, and leaves sanitizers alone.
 */
#include "test.h"

/* Weak, so that a link without the option fails one test, with a message, and not the build. */
__attribute__((weak)) void *__real_malloc(size_t size);
__attribute__((weak)) void *__real_calloc(size_t n, size_t size);
__attribute__((weak)) void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *block, size_t size);

static _Atomic unsigned long calls;
static _Atomic bool no_memory;

void malloc_fails(bool fails) { no_memory = fails; }

void *__wrap_malloc(size_t size)
{
    calls++;
    return no_memory ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    calls++;
    return no_memory ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *block, size_t size)
{
    calls++;
    return no_memory ? NULL : __real_realloc(block, size);
}

unsigned long malloc_calls(void) { return calls; }

bool malloc_counted(void)
{
    unsigned long before = calls;
    void *volatile block = malloc(16);
    free(block);
    return calls > before;
}
