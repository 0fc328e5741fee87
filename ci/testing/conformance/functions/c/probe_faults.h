//! Commands of the probe that pass invalid arguments to host calls.
#ifndef CONFORMANCE_PROBE_FAULTS_H
#define CONFORMANCE_PROBE_FAULTS_H

#include <errno.h>
#include <wasi/api.h>

#include "script.h"

/// The end of memory as the guest sees it.
static uintptr_t memory_end(void) { return __builtin_wasm_memory_size(0) * (uintptr_t)65536; }

/// A string without a terminator: the last bytes of memory, none of them NUL.
static const char *unterminated(void) {
    __builtin_wasm_memory_grow(0, 1);
    char *start = (char *)(memory_end() - 32);
    memset(start, 'x', 32);
    return start;
}

static bool fault_command(char *name, char *rest) {
#define IS(text) (strcmp(name, text) == 0)
    // The first two start inside memory and end outside.
    uint8_t *last = (uint8_t *)(memory_end() - 4);
    uint8_t *beyond = (uint8_t *)0xfffffff0u;
    const char *no_string = (const char *)beyond;
    (void)rest;
    if (IS("oob_write_output")) __faasm_write_output(last, 5);
    else if (IS("oob_write_output_fits")) {
        memcpy(last, "last", 4);
        __faasm_write_output(last, 4);
        script_writes_output = false;
    } else if (IS("oob_wraps")) __faasm_write_output(beyond, 32);
    else if (IS("oob_negative_length")) __faasm_write_output(last, -1);
    else if (IS("oob_read_input")) __faasm_read_input(last, 5);
    else if (IS("oob_chain_name")) __faasm_chain_name(no_string, NULL, 0);
    else if (IS("oob_chain_input")) __faasm_chain_name("probe", beyond, 4);
    else if (IS("oob_chain_ptr_input")) __faasm_chain_ptr(NULL, beyond, 4);
    else if (IS("oob_conf")) __faasm_conf_flag(no_string);
    else if (IS("oob_key")) __faasm_write_state(no_string, last, 1);
    else if (IS("oob_write_state")) __faasm_write_state("k", last, 5);
    else if (IS("oob_read_state")) __faasm_read_state("k", last, 5);
    else if (IS("oob_read_state_at")) __faasm_read_state_offset("k", 5, 0, last, 5);
    else if (IS("oob_append")) __faasm_append_state("k", last, 5);
    else if (IS("oob_await_output")) {
        __faasm_await_call_output(1, (char **)beyond, (int32_t *)beyond);
    }
#ifndef FOR_FAASM
    else if (IS("oob_mask")) __faasm_push_state_partial_mask("k", no_string);
#endif
    else if (IS("unterminated_key")) __faasm_read_state(unterminated(), NULL, 0);
    else if (IS("unterminated_name")) __faasm_chain_name(unterminated(), NULL, 0);
    else if (IS("bad_utf8_key")) __faasm_write_state("\xff\xfe", last, 1);
    else if (IS("bad_utf8_name")) __faasm_chain_name("\xc3(", NULL, 0);
    // WASI reports this with errno 21, `fault`.
    else if (IS("oob_fd_write")) {
        __wasi_ciovec_t list = {.buf = beyond, .buf_len = 4};
        __wasi_size_t written = 0;
        out("oob_fd_write = %d\n", __wasi_fd_write(1, &list, 1, &written));
    } else if (IS("oob_fd_write_list")) {
        __wasi_size_t written = 0;
        out("oob_fd_write_list = %d\n",
            __wasi_fd_write(1, (const __wasi_ciovec_t *)beyond, 1, &written));
    } else if (IS("oob_random")) out("oob_random = %d\n", __wasi_random_get(last, 5));
    else if (IS("oob_clock")) {
        out("oob_clock = %d\n", __wasi_clock_time_get(1, 0, (__wasi_timestamp_t *)last));
    } else if (IS("oob_args")) {
        out("oob_args = %d\n", __wasi_args_get((uint8_t **)beyond, beyond));
    } else if (IS("oob_poll")) {
        __wasi_size_t events = 0;
        __wasi_event_t event;
        out("oob_poll = %d\n",
            __wasi_poll_oneoff((const __wasi_subscription_t *)beyond, &event, 1, &events));
    } else if (IS("bad_clock")) {
        __wasi_timestamp_t time = 0;
        out("bad_clock = %d\n", __wasi_clock_time_get(9, 0, &time));
    } else if (IS("bad_descriptor")) {
        __wasi_size_t count = 0;
        __wasi_ciovec_t list = {.buf = (const uint8_t *)"x", .buf_len = 1};
        out("bad_descriptor = %d\n", __wasi_fd_write(77, &list, 1, &count));
    } else if (IS("poll_nothing")) {
        __wasi_size_t events = 0;
        out("poll_nothing = %d\n", __wasi_poll_oneoff(NULL, NULL, 0, &events));
    } else return false;
    return true;
#undef IS
}

#endif
