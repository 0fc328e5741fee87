//! Functions of the probe's own table that a script can chain by pointer, one for each outcome of a chained call.
#ifndef CONFORMANCE_CALLEES_H
#define CONFORMANCE_CALLEES_H

#include "script.h"

struct callee {
    const char *name;
    faasm_entry entry;
};

extern const struct callee callees[];

static int instance_calls;

static int32_t forty_two(void) { return 42; }

static int32_t negative(void) { return -7; }

static int32_t echo(void) {
    int32_t size = __faasm_read_input(NULL, 0);
    if (size > 0) __faasm_read_input((uint8_t *)script_text, size);
    __faasm_write_output((const uint8_t *)script_text, size);
    return size;
}

/// Always returns 1, because every call has an instance of its own.
static int32_t count_calls(void) { return ++instance_calls; }

static int32_t twice(int32_t argument) { return 2 * argument; }

static void nothing(void) { faasm_output_text("nothing to return"); }

static int32_t traps(void) {
    faasm_output_text("never seen");
    __builtin_trap();
}

static int32_t divides_by_zero(void) {
    volatile int32_t number = 7, zero = 0;
    return number / zero;
}

static int32_t exits(void) {
    faasm_output_text("before the exit");
    exit(5);
}

/// Chains `echo`, which runs in an instance of its own.
static int32_t nested(void) {
    int32_t size = __faasm_read_input(NULL, 0);
    if (size > 0) __faasm_read_input((uint8_t *)script_text, size);
    char *data = NULL;
    int32_t len = 0;
    int32_t value = __faasm_await_call_output(
        __faasm_chain_ptr(echo, (const uint8_t *)script_text, size), &data, &len);
    out("nested %d: ", value);
    out_bytes(data, (size_t)len);
    script_flush();
    return value + 100;
}

static int32_t two_arguments(int32_t a, int32_t b) { return a + b; }

static int64_t long_result(void) { return 1; }

/// Runs longer than any call may take.
static int32_t loops(void) {
    for (volatile int32_t i = 0;; i++) {}
}

// The host sees the type of the function itself, whatever the type of the pointer.
#define CALLEES \
    {"forty_two", forty_two}, \
    {"negative", negative}, \
    {"echo", echo}, \
    {"count_calls", count_calls}, \
    {"twice", (faasm_entry)(void *)twice}, \
    {"nothing", (faasm_entry)(void *)nothing}, \
    {"traps", traps}, \
    {"divides_by_zero", divides_by_zero}, \
    {"exits", exits}, \
    {"nested", nested}, \
    {"two_arguments", (faasm_entry)(void *)two_arguments}, \
    {"long_result", (faasm_entry)(void *)long_result}, \
    {"loops", loops},

#endif
