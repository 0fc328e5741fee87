// Chaining as in the proof of concept of 2020: one `main` for all calls, which reads its index; strings from its own
// malloc; outputs of awaited calls, although it exports no allocator.
#define HEAP_223
#include "libc.h"

HOST(puts) i32 puts(const char *text);
HOST(__faasm_get_idx) i32 faasm_get_idx(void);
HOST(__faasm_chain_this) u32 faasm_chain_this(i32 index, const void *input, i32 length);
HOST(__faasm_await_call) i32 faasm_await_call(u32 call);
HOST(__faasm_await_call_output) i32 faasm_await_call_output(u32 call, char **output, i32 *length);

static i32 first(void) {
    i32 length = faasm_read_input(NULL, 0);
    char *text = malloc((u32)length + 16);
    faasm_read_input(text, length);
    memcpy(text + length, " was first", 11);
    puts(text);
    faasm_write_output(text, length + 10);
    return 11;
}

static i32 second(void) {
    char *text = malloc(32);
    memcpy(text, "second", 7);
    puts(text);
    faasm_write_output(text, 6);
    return 22;
}

EXPORT(main) i32 entry(void) {
    if (faasm_get_idx() == 1) return first();
    if (faasm_get_idx() == 2) return second();
    char *before = malloc(64);
    memcpy(before, "kept", 5);
    char *input = malloc(8);
    memcpy(input, "this", 5);
    u32 calls[2] = {faasm_chain_this(1, input, 4), faasm_chain_this(2, NULL, 0)};
    char *output = NULL;
    i32 length = 0;
    say("first", faasm_await_call_output(calls[0], &output, &length));
    char *after = malloc(200000);
    memset(after, 'y', 200000);
    // The received output is still intact after the heap has grown.
    char *copy = malloc((u32)length + 1);
    memcpy(copy, output, (u32)length);
    copy[length] = 0;
    say_text("output", copy);
    say("second", faasm_await_call(calls[1]));
    say_text("before", before);
    write_said();
    puts(copy);
    return 0;
}
