// A small C library that imports the same host calls as Faasm's own C libraries. Its heap comes from HEAP_SBRK,
// HEAP_223 (the older toolchain's system call) or HEAP_MMAP. It exports no malloc, and only the host grows memory.
//
// Programs that use it are linked without any other library. They output their observations as lines `name = value`.
#ifndef FAASM_TEST_LIBC_H
#define FAASM_TEST_LIBC_H

typedef int i32;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;
typedef unsigned char u8;

#define NULL ((void *)0)
#define HOST(name) __attribute__((import_module("env"), import_name(#name)))
#define WASI(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))
#define EXPORT(name) __attribute__((export_name(#name)))

HOST(__faasm_read_input) i32 faasm_read_input(void *buffer, i32 length);
HOST(__faasm_write_output) void faasm_write_output(const void *bytes, i32 length);

// The host finds the address of errno with this function.
static int errno_value = 0;
__attribute__((used, noinline, export_name("__errno_location"))) int *errno_location(void) { return &errno_value; }

static u32 strlen(const char *text) {
    u32 length = 0;
    while (text[length] != 0) length++;
    return length;
}

static int strcmp(const char *a, const char *b) {
    while (*a != 0 && *a == *b) a++, b++;
    return (u8)*a - (u8)*b;
}

__attribute__((used)) void *memcpy(void *to, const void *from, u32 length) {
    for (u32 i = 0; i < length; i++) ((u8 *)to)[i] = ((const u8 *)from)[i];
    return to;
}

__attribute__((used)) void *memset(void *to, int byte, u32 length) {
    for (u32 i = 0; i < length; i++) ((u8 *)to)[i] = (u8)byte;
    return to;
}

// ---- The heap: pieces of memory from the host, cut into blocks that are never joined. --------------------------------------

#define PAGE 65536u

#if defined(HEAP_SBRK)
HOST(__sbrk) void *sbrk(i32 increment);
static void *more(u32 bytes) { return sbrk((i32)bytes); }
#elif defined(HEAP_223)
HOST(__syscall1) i32 syscall1(i32 number, i32 a);
static void *more(u32 bytes) { return (void *)syscall1(223, (i32)bytes); }
#elif defined(HEAP_MMAP)
HOST(mmap) void *mmap(void *hint, u32 length, i32 protection, i32 flags, i32 descriptor, i64 offset);
HOST(munmap) i32 munmap(void *start, u32 length);
static void *more(u32 bytes) { return mmap(NULL, bytes, 3, 0x22, -1, 0); }
#endif

#if defined(HEAP_SBRK) || defined(HEAP_223) || defined(HEAP_MMAP)
struct block {
    u32 size;
    struct block *next;
};

static struct block *free_blocks = NULL;
static u8 *heap_at = NULL, *heap_end = NULL;

static void *malloc(u32 size) {
    size = (size + 15u) & ~15u;
    for (struct block **at = &free_blocks; *at != NULL; at = &(*at)->next) {
        if ((*at)->size >= size) {
            struct block *found = *at;
            *at = found->next;
            return found + 1;
        }
    }
    u32 whole = size + sizeof(struct block);
    if (whole > (u32)(heap_end - heap_at)) {
        u32 pages = (whole + PAGE - 1) / PAGE * PAGE;
        u8 *got = more(pages);
        if ((i32)(u32)got == -1 || (i32)(u32)got == -12) return NULL;
        // A piece that is not contiguous starts a new heap area; the rest of the last one is lost.
        if (got != heap_end) heap_at = got;
        heap_end = got + pages;
    }
    struct block *block = (struct block *)heap_at;
    heap_at += whole;
    block->size = size;
    return block + 1;
}

static void free(void *pointer) {
    if (pointer == NULL) return;
    struct block *block = (struct block *)pointer - 1;
    block->next = free_blocks;
    free_blocks = block;
}
#endif

// ---- The output -----------------------------------------------------------------------------------------------------------

static char said[16384];
static u32 said_length = 0;

static void put_text(const char *text) {
    while (*text != 0 && said_length < sizeof(said)) said[said_length++] = *text++;
}

static void put_number(i64 value) {
    char digits[24];
    u32 count = 0;
    u64 left = value < 0 ? 0 - (u64)value : (u64)value;
    do digits[count++] = (char)('0' + left % 10);
    while ((left /= 10) != 0);
    if (value < 0) digits[count++] = '-';
    while (count > 0 && said_length < sizeof(said)) said[said_length++] = digits[--count];
}

static void say(const char *name, i64 value) {
    put_text(name);
    put_text(" = ");
    put_number(value);
    put_text("\n");
}

__attribute__((unused)) static void say_text(const char *name, const char *text) {
    put_text(name);
    put_text(" = ");
    put_text(text);
    put_text("\n");
}

// Outputs the result of a call and, if it is -1, the error number.
__attribute__((unused)) static void say_result(const char *name, i32 value) {
    put_text(name);
    put_text(" = ");
    put_number(value);
    if (value == -1) {
        put_text(" errno ");
        put_number(errno_value);
    }
    put_text("\n");
    errno_value = 0;
}

static void write_said(void) { faasm_write_output(said, (i32)said_length); }

__attribute__((unused)) static const char *input(void) {
    static char text[256];
    i32 length = faasm_read_input(text, sizeof(text) - 1);
    text[length] = 0;
    return text;
}
#endif
