//! Runs a script of host calls and outputs the result of each. The commands are the names in `command`.
#define _GNU_SOURCE
#include <time.h>
#include <unistd.h>

#include "callees.h"
#include "probe_faults.h"
#include "probe_state.h"
#include "script.h"

enum { MAX_CALLS = 4096, MAX_PATTERNS = 64 };

static int32_t calls[MAX_CALLS];
static int n_calls;
static int n_awaited;

static struct { unsigned char *start; size_t len; } patterns[MAX_PATTERNS];
static int n_patterns;
static int counter;

static void add_call(int32_t id) {
    if (n_calls == MAX_CALLS) __builtin_trap();
    calls[n_calls++] = id;
}

/// The call that an `await` refers to: the one at the given position, or else the first that was not awaited yet.
static int32_t pick_call(char *rest) {
    int position = *rest == '\0' ? n_awaited++ : number(&rest);
    return calls[position];
}

static void chain_by_pointer(char *rest) {
    char *name = word(&rest);
    for (const struct callee *callee = callees; callee->name != NULL; callee++) {
        if (strcmp(callee->name, name) == 0) {
            size_t len = text(rest);
            add_call(__faasm_chain_ptr(callee->entry, (const uint8_t *)rest, (int32_t)len));
            return;
        }
    }
    script_unknown(name);
}

static void await_output(int32_t id, bool in_full) {
    char *data = NULL;
    int32_t len = 0;
    int32_t value = __faasm_await_call_output(id, &data, &len);
    out("await_output = %d ", value);
    if (in_full) out_text(data, (size_t)len);
    else out("%s", len > 0 ? "with a reason" : "without a reason");
    out("\n");
    if (len > 0) free(data);
}

static unsigned char pattern_byte(const unsigned char *address) {
    uintptr_t at = (uintptr_t)address;
    return (unsigned char)(at ^ at >> 8 ^ 0x5a);
}

/// Fills fresh memory with bytes that depend on their position, to be verified later.
static void pattern(size_t len) {
    unsigned char *start = malloc(len);
    if (start == NULL || n_patterns == MAX_PATTERNS) __builtin_trap();
    for (size_t i = 0; i < len; i++) start[i] = pattern_byte(start + i);
    patterns[n_patterns].start = start;
    patterns[n_patterns++].len = len;
}

static void verify(void) {
    size_t wrong = 0;
    for (int p = 0; p < n_patterns; p++) {
        for (size_t i = 0; i < patterns[p].len; i++) {
            if (patterns[p].start[i] != pattern_byte(patterns[p].start + i)) wrong++;
        }
    }
    out("verify = %zu wrong\n", wrong);
}

static void sleep_ms(int32_t ms) {
    struct timespec before, after, wait = {ms / 1000, ms % 1000 * 1000000L};
    clock_gettime(CLOCK_MONOTONIC, &before);
    int result = nanosleep(&wait, NULL);
    clock_gettime(CLOCK_MONOTONIC, &after);
    int64_t took = (after.tv_sec - before.tv_sec) * 1000LL + (after.tv_nsec - before.tv_nsec) / 1000000;
    // Browsers round timers to milliseconds.
    out("sleep = %d %s\n", result, took >= ms - 2 ? "long enough" : "too short");
}

static void print_to(int descriptor, char *rest) {
    size_t len = text(rest);
    if (write(descriptor, rest, len) != (ssize_t)len) out("print failed\n");
}

static void read_input(char *rest) {
    static char buffer[4096];
    memset(buffer, '.', sizeof buffer);
    int32_t count = __faasm_read_input((uint8_t *)buffer, number(&rest));
    out("read_input = %d ", count);
    out_text(buffer, (size_t)count + 1);
    out("\n");
}

static void command(char *name, char *rest);

static void repeat(char *rest) {
    static char copy[4096];
    int32_t times = number(&rest);
    for (int32_t i = 0; i < times; i++) {
        strcpy(copy, rest);
        char *line = copy;
        char *name = word(&line);
        command(name, line);
    }
}

static void command(char *name, char *rest) {
#define IS(text) (strcmp(name, text) == 0)
    if (state_command(name, rest) || fault_command(name, rest)) return;
#ifndef FOR_FAASM
    if (IS("test_hook")) {
        __faasm_host_interface_test(number(&rest));
        return;
    }
#endif
    if (IS("print")) print_to(1, rest);
    else if (IS("eprint")) print_to(2, rest);
    else if (IS("say")) out_bytes(rest, text(rest));
    else if (IS("raw_output")) {
        size_t len = text(rest);
        __faasm_write_output((const uint8_t *)rest, (int32_t)len);
        script_writes_output = false;
    }
    else if (IS("quiet")) script_writes_output = false;
    else if (IS("big_output")) {
        size_t len = (size_t)number(&rest);
        unsigned char *bytes = malloc(len);
        for (size_t i = 0; i < len; i++) bytes[i] = (unsigned char)(i % 251);
        __faasm_write_output(bytes, (int32_t)len);
        script_writes_output = false;
        free(bytes);
    }
    else if (IS("input_size")) out("input_size = %d\n", __faasm_read_input(NULL, 0));
    else if (IS("read_input")) read_input(rest);
    else if (IS("count")) out("count = %d\n", ++counter);
    else if (IS("chain")) {
        char *function = word(&rest);
        size_t len = text(rest);
        add_call(__faasm_chain_name(function, (const uint8_t *)rest, (int32_t)len));
    }
    else if (IS("chain_ptr")) chain_by_pointer(rest);
    else if (IS("chain_index")) {
        faasm_entry entry = (faasm_entry)(uintptr_t)(uint32_t)number(&rest);
        size_t len = text(rest);
        add_call(__faasm_chain_ptr(entry, (const uint8_t *)rest, (int32_t)len));
    }
    else if (IS("await")) out("await = %d\n", __faasm_await_call(pick_call(rest)));
    else if (IS("await_output")) await_output(pick_call(rest), true);
    else if (IS("await_reason")) await_output(pick_call(rest), false);
    else if (IS("await_id")) out("await_id = %d\n", __faasm_await_call(number(&rest)));
    else if (IS("await_output_id")) await_output(number(&rest), true);
    else if (IS("await_big")) {
        char *data = NULL;
        int32_t len = 0, wrong = 0;
        int32_t value = __faasm_await_call_output(pick_call(rest), &data, &len);
        for (int32_t i = 0; i < len; i++) wrong += (unsigned char)data[i] != i % 251;
        out("await_big = %d, %d bytes, %d wrong\n", value, len, wrong);
        free(data);
    }
    else if (IS("sleep")) sleep_ms(number(&rest));
    else if (IS("conf")) out("conf = %d\n", __faasm_conf_flag(word(&rest)));
    else if (IS("backtrace")) __faasm_backtrace(number(&rest));
    else if (IS("migrate")) __faasm_migrate_point(NULL, number(&rest));
    else if (IS("shared_memory")) {
        int32_t sum = 5, list[3] = {1, 2, 3};
        __faasm_sm_var(&sum, FAASM_TYPE_INT);
        __faasm_sm_array(list, FAASM_TYPE_INT, 3);
        __faasm_sm_raw(list, sizeof list);
        __faasm_sm_critical_local();
        __faasm_sm_reduce(&sum, FAASM_TYPE_INT, FAASM_OP_SUM, 0);
        __faasm_sm_critical_local_end();
        out("shared_memory = %d %d %d %d\n", sum, list[0], list[1], list[2]);
    }
    else if (IS("malloc")) out("malloc = %s\n", malloc((size_t)number(&rest)) != NULL ? "memory" : "none");
    else if (IS("pattern")) pattern((size_t)number(&rest));
    else if (IS("verify")) verify();
    else if (IS("grow")) {
        bool grown = __builtin_wasm_memory_grow(0, (size_t)number(&rest)) != (size_t)-1;
        out("grow = %s\n", grown ? "yes" : "no");
    }
    else if (IS("repeat")) repeat(rest);
    else if (IS("return")) script_value = number(&rest);
    else if (IS("exit")) {
        script_flush();
        exit(number(&rest));
    }
    else if (IS("trap")) __builtin_trap();
    else if (IS("abort")) abort();
    else script_unknown(name);
#undef IS
}

static int32_t run_given_script(void) { return run_script(command); }

const struct callee callees[] = {
    CALLEES
    {"script", run_given_script},
    {NULL, NULL},
};

int main(void) { return run_script(command); }
