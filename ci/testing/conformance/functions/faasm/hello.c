// The first function of the toolchain of early 2020: `main` prints with `puts`, which its C library imports from the
// host, after a zygote; the heap is system call 223, and no allocator is exported.
#define HEAP_223
#include "libc.h"

HOST(puts) i32 puts(const char *text);
HOST(__faasm_get_idx) i32 faasm_get_idx(void);

static char *greeting;

EXPORT(_faasm_zygote) i32 zygote(void) {
    greeting = malloc(32);
    if (greeting != NULL) memcpy(greeting, "Hello from the zygote", 22);
    return 0;
}

EXPORT(main) i32 entry(i32 argc, char **argv) {
    (void)argv;
    puts(greeting == NULL ? "(null)" : greeting);
    // Larger than a page, so that the heap grows by several pages.
    char *large = malloc(200000);
    if (large == NULL) return 1;
    memset(large, 'x', 200000);
    say("index", faasm_get_idx());
    say("arguments", argc);
    say("large", large[199999]);
    say("greeting", strcmp(greeting, "Hello from the zygote"));
    write_said();
    return 0;
}
