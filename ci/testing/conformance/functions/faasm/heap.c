// A heap provided by the host, together with everything else that the host allocates: outputs, mapped state,
// exceptions. Compiled once for each kind of heap. Every block must keep its bytes.
#include "libc.h"

HOST(__faasm_chain_function) u32 faasm_chain_name(const char *name, const void *input, i32 length);
HOST(__faasm_await_call_output) i32 faasm_await_call_output(u32 call, char **output, i32 *length);
HOST(__faasm_read_state_ptr) u8 *faasm_read_state_ptr(const char *key, i32 length);
HOST(__faasm_read_state_offset_ptr) u8 *faasm_read_state_offset_ptr(const char *key, i32 total, i32 offset, i32 length);
HOST(__faasm_flag_state_dirty) void faasm_flag_state_dirty(const char *key, i32 total);
HOST(__faasm_flag_state_offset_dirty) void faasm_flag_state_offset_dirty(const char *key, i32 total, i32 offset, i32 length);
HOST(__faasm_push_state) void faasm_push_state(const char *key);
HOST(__cxa_allocate_exception) void *cxa_allocate_exception(u32 size);
HOST(__cxa_free_exception) void cxa_free_exception(void *exception);

#define COUNT 24
static u8 *blocks[COUNT];
static u32 sizes[COUNT];
static u8 *zygote_block;

static i32 damaged(void) {
    i32 damaged = 0;
    for (u32 i = 0; i < COUNT; i++)
        for (u32 j = 0; j < sizes[i]; j++) damaged += blocks[i][j] != (u8)(i * 7 + j);
    return damaged;
}

static void fill(u32 i, u32 size) {
    blocks[i] = malloc(size);
    sizes[i] = blocks[i] == NULL ? 0 : size;
    for (u32 j = 0; j < sizes[i]; j++) blocks[i][j] = (u8)(i * 7 + j);
}

EXPORT(_faasm_zygote) i32 zygote(void) {
    zygote_block = malloc(1000);
    memset(zygote_block, 9, 1000);
    return 0;
}

static i32 run(void) {
    say("zygote", zygote_block[0] + zygote_block[999]);
    for (u32 i = 0; i < 8; i++) fill(i, 3000 * (i + 1));
    char *output = NULL;
    i32 length = 0;
    say("await", faasm_await_call_output(faasm_chain_name("echo", "an output", 9), &output, &length));
    for (u32 i = 8; i < 16; i++) fill(i, 30000);
    u8 *mapped = faasm_read_state_ptr("k", 8);
    u8 *part = faasm_read_state_offset_ptr("l", 100000, 90000, 8);
    for (u32 i = 16; i < COUNT; i++) fill(i, 70000);
    void *exception = cxa_allocate_exception(64);
    memset(exception, 1, 64);
    cxa_free_exception(exception);
    say("length", length);
    i32 differs = 0;
    for (i32 i = 0; i < length; i++) differs += output[i] != "an output"[i];
    say("differs", differs);
    mapped[0] = 'X';
    part[0] = 'Y';
    faasm_flag_state_dirty("k", 8);
    faasm_flag_state_offset_dirty("l", 100000, 90000, 8);
    faasm_push_state("k");
    faasm_push_state("l");
    say("damaged", damaged());
    // Again, after freeing.
    free(blocks[3]);
    fill(3, 12000);
    say("damaged again", damaged());
#if defined(HEAP_SBRK)
    u8 *end = sbrk(0);
    say("grown", sbrk((i32)PAGE) == (void *)end);
    say("end", (u8 *)sbrk(0) - end);
    end[PAGE - 1] = 5;
    say("shrunk", sbrk(-(i32)PAGE) == (void *)(end + PAGE));
    say("reused", sbrk((i32)PAGE) == (void *)end);
    say("clean", end[PAGE - 1]);
    say("too much", (i32)(u32)sbrk(0x7fff0000));
    say("below", (i32)(u32)sbrk((i32)0x80000000));
#elif defined(HEAP_MMAP)
    u8 *region = more(3 * PAGE);
    say("aligned", (u32)region % PAGE);
    region[0] = 5;
    say("unmapped", munmap(region, 3 * PAGE));
    u8 *again = more(2 * PAGE);
    say("reused", again == region);
    say("clean", again[0]);
    say("unmapped badly", munmap(again + 1, PAGE));
    say("too much", (i32)(u32)more(0xfff00000));
#endif
    write_said();
    return 0;
}

#if defined(HEAP_223)
EXPORT(main) i32 entry(void) { return run(); }
#else
EXPORT(_start) void entry(void) { run(); }
#endif
