//! The probe's commands for state: values, mappings, lists, locks.
#ifndef CONFORMANCE_PROBE_STATE_H
#define CONFORMANCE_PROBE_STATE_H

#include "script.h"

enum { MAX_MAPPINGS = 16, MAX_READ = 256 * 1024, GUARD = 64 };

/// Outputs the bytes that a call wrote into a buffer of `len` bytes, and checks the bytes after it.
static void show_buffer(const char *what, int32_t result, const char *buffer, int32_t len) {
    if (result == INT32_MIN) out("%s = ", what);
    else out("%s = %d ", what, result);
    out_text(buffer, (size_t)len);
    for (int i = 0; i < GUARD; i++) {
        if (buffer[len + i] != '.') {
            out(" and wrote beyond");
            break;
        }
    }
    out("\n");
}

static char *read_buffer(int32_t len) {
    static char buffer[MAX_READ + GUARD];
    if (len < 0 || len > MAX_READ) __builtin_trap();
    memset(buffer, '.', (size_t)len + GUARD);
    return buffer;
}

/// A key of `len` characters.
static const char *long_key(int32_t len) {
    static char key[128 * 1024];
    memset(key, 'k', (size_t)len);
    key[len] = '\0';
    return key;
}

#define IS(text) (strcmp(name, text) == 0)

// A Faasm cluster supports none of these commands, and rejects functions that import their host calls.
#ifndef FOR_FAASM
static struct { char *start; int32_t len; } mappings[MAX_MAPPINGS];
static int n_mappings;
/// The mapping that `poke` and `peek` use.
static int current;

static void add_mapping(uint8_t *start, int32_t len) {
    if (n_mappings == MAX_MAPPINGS) __builtin_trap();
    current = n_mappings++;
    mappings[current].start = (char *)start;
    mappings[current].len = len;
    out("map = ");
    out_text(mappings[current].start, (size_t)len);
    out("\n");
}

static bool mapping_command(char *name, char *rest) {
    if (IS("map")) {
        char *key = word(&rest);
        int32_t len = number(&rest);
        add_mapping(__faasm_read_state_ptr(key, len), len);
    } else if (IS("map_at")) {
        char *key = word(&rest);
        int32_t total = number(&rest), offset = number(&rest), len = number(&rest);
        add_mapping(__faasm_read_state_offset_ptr(key, total, offset, len), len);
    } else if (IS("use")) current = number(&rest);
    else if (IS("distance")) {
        int32_t a = number(&rest), b = number(&rest);
        out("distance = %td\n", mappings[b].start - mappings[a].start);
    } else if (IS("poke")) {
        int32_t offset = number(&rest);
        size_t len = text(rest);
        memcpy(mappings[current].start + offset, rest, len);
    } else if (IS("peek")) {
        int32_t offset = number(&rest), len = number(&rest);
        out("peek = ");
        out_text(mappings[current].start + offset, (size_t)len);
        out("\n");
    } else return false;
    return true;
}

static bool lock_command(char *name, char *rest) {
    if (IS("lock_read")) __faasm_lock_state_read(word(&rest));
    else if (IS("lock_write")) __faasm_lock_state_write(word(&rest));
    else if (IS("unlock_read")) __faasm_unlock_state_read(word(&rest));
    else if (IS("unlock_write")) __faasm_unlock_state_write(word(&rest));
    else if (IS("lock_global")) __faasm_lock_state_global(word(&rest));
    else if (IS("unlock_global")) __faasm_unlock_state_global(word(&rest));
    else return false;
    return true;
}

static bool partial_command(char *name, char *rest) {
    if (IS("push_partial")) __faasm_push_state_partial(word(&rest));
    else if (IS("push_mask")) {
        char *key = word(&rest);
        __faasm_push_state_partial_mask(key, word(&rest));
    } else return false;
    return true;
}

static bool host_only_command(char *name, char *rest) {
    return mapping_command(name, rest) || lock_command(name, rest) || partial_command(name, rest);
}
#else
static bool host_only_command(char *name, char *rest) {
    (void)name, (void)rest;
    return false;
}
#endif

static bool list_command(char *name, char *rest) {
    if (IS("append")) {
        char *key = word(&rest);
        size_t len = text(rest);
        __faasm_append_state(key, (const uint8_t *)rest, (int32_t)len);
    } else if (IS("appended")) {
        char *key = word(&rest);
        int32_t count = number(&rest), len = number(&rest);
        char *buffer = read_buffer(len);
        __faasm_read_appended_state(key, (uint8_t *)buffer, len, count);
        show_buffer("appended", INT32_MIN, buffer, len);
    } else if (IS("clear")) __faasm_clear_appended_state(word(&rest));
    else return false;
    return true;
}

static bool state_command(char *name, char *rest) {
    if (IS("write")) {
        char *key = word(&rest);
        size_t len = text(rest);
        __faasm_write_state(key, (const uint8_t *)rest, (int32_t)len);
    } else if (IS("write_at")) {
        char *key = word(&rest);
        int32_t total = number(&rest), offset = number(&rest);
        size_t len = text(rest);
        __faasm_write_state_offset(key, total, offset, (const uint8_t *)rest, (int32_t)len);
    } else if (IS("fill")) {
        // A value of `len` bytes, each the low byte of its offset divided by 256.
        char *key = word(&rest);
        int32_t len = number(&rest);
        uint8_t *value = malloc((size_t)len);
        for (int32_t i = 0; i < len; i++) value[i] = (uint8_t)(i >> 8);
        __faasm_write_state(key, value, len);
        free(value);
    } else if (IS("size")) {
        out("size = %d\n", __faasm_read_state(word(&rest), NULL, 0));
    } else if (IS("read")) {
        char *key = word(&rest);
        int32_t len = number(&rest);
        char *buffer = read_buffer(len);
        show_buffer("read", __faasm_read_state(key, (uint8_t *)buffer, len), buffer, len);
    } else if (IS("read_at")) {
        char *key = word(&rest);
        int32_t total = number(&rest), offset = number(&rest), len = number(&rest);
        char *buffer = read_buffer(len);
        __faasm_read_state_offset(key, total, offset, (uint8_t *)buffer, len);
        show_buffer("read_at", INT32_MIN, buffer, len);
    } else if (IS("push")) __faasm_push_state(word(&rest));
    else if (IS("pull")) {
        char *key = word(&rest);
        __faasm_pull_state(key, number(&rest));
    } else if (IS("flag")) {
        char *key = word(&rest);
        __faasm_flag_state_dirty(key, number(&rest));
    } else if (IS("flag_at")) {
        char *key = word(&rest);
        int32_t total = number(&rest), offset = number(&rest);
        __faasm_flag_state_offset_dirty(key, total, offset, number(&rest));
    } else if (IS("write_long_key")) {
        int32_t len = number(&rest);
        size_t value = text(rest);
        __faasm_write_state(long_key(len), (const uint8_t *)rest, (int32_t)value);
        __faasm_push_state(long_key(len));
    } else if (IS("read_long_key")) {
        int32_t len = number(&rest), cap = number(&rest);
        char *buffer = read_buffer(cap);
        int32_t size = __faasm_read_state(long_key(len), (uint8_t *)buffer, cap);
        show_buffer("read_long_key", size, buffer, cap);
    } else return host_only_command(name, rest) || list_command(name, rest);
    return true;
#undef IS
}

#endif
