// A program that grows memory itself and uses everything below `memory.size`, like Emscripten's `sbrk`, while the host
// allocates memory too: the two must never overlap.
#include "libc.h"

HOST(__faasm_chain_name) u32 faasm_chain_name(const char *name, const void *input, i32 length);
HOST(__faasm_await_call_output) i32 faasm_await_call_output(u32 call, char **output, i32 *length);
HOST(__faasm_read_state_ptr) u8 *faasm_read_state_ptr(const char *key, i32 length);

extern u8 __heap_base;
static u8 *at = NULL;

// Ignores the result of `memory.grow`: everything below the size is its own.
static u8 *take(u32 bytes) {
    if (at == NULL) at = &__heap_base;
    u8 *found = at;
    at += bytes;
    while ((u32)at > __builtin_wasm_memory_size(0) * PAGE)
        if (__builtin_wasm_memory_grow(0, 1) == (u32)-1) return NULL;
    return found;
}

EXPORT(_start) void entry(void) {
    u8 *pieces[12];
    for (u32 i = 0; i < 3; i++) memset(pieces[i] = take(50000), (i32)i + 1, 50000);
    char *output = NULL;
    i32 length = 0;
    faasm_await_call_output(faasm_chain_name("echo", "one", 3), &output, &length);
    for (u32 i = 3; i < 6; i++) memset(pieces[i] = take(50000), (i32)i + 1, 50000);
    u8 *mapped = faasm_read_state_ptr("k", 4);
    char *another = NULL;
    faasm_await_call_output(faasm_chain_name("echo", "two", 3), &another, &length);
    // All of the memory that it sees.
    u8 *rest = at, *end = (u8 *)(__builtin_wasm_memory_size(0) * PAGE);
    memset(rest, 99, (u32)(end - rest));
    for (u32 i = 6; i < 12; i++) memset(pieces[i] = take(150000), (i32)i + 1, 150000);
    i32 damaged = 0;
    for (u32 i = 0; i < 12; i++)
        for (u32 j = 0; j < (i < 6 ? 50000u : 150000u); j++) damaged += pieces[i][j] != i + 1;
    say("damaged", damaged);
    say("outputs", output[0] == 'o' && output[2] == 'e' && another[0] == 't' && another[2] == 'o');
    say("mapped", mapped[0] == 'a' && mapped[3] == 'd');
    say("grows", __builtin_wasm_memory_size(0) * PAGE >= (u32)at);
    write_said();
}
