//! Shared by the scripted functions: reads a script line by line, and collects results as the output. Each line of a
//! script is a command: a word, and arguments separated by single blanks. The last argument of a command that takes
//! text is the rest of the line, with `\n`, `\0`, `\s` (blank), `\\` and `\xHH` as escapes.
#ifndef CONFORMANCE_SCRIPT_H
#define CONFORMANCE_SCRIPT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "faasm_host.h"

// Static, so that only commands that say so allocate memory: the host may be the first to call malloc.
static char script_text[256 * 1024];
static char script_out[1024 * 1024];
static size_t script_out_len;
/// Cleared by a command that writes the output itself.
static bool script_writes_output = true;

static void out_bytes(const char *bytes, size_t len) {
    if (len > sizeof script_out - script_out_len) __builtin_trap();
    memcpy(script_out + script_out_len, bytes, len);
    script_out_len += len;
}

__attribute__((format(printf, 1, 2))) static void out(const char *format, ...) {
    va_list args;
    va_start(args, format);
    size_t room = sizeof script_out - script_out_len;
    int len = vsnprintf(script_out + script_out_len, room, format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= room) __builtin_trap();
    script_out_len += (size_t)len;
}

/// Outputs bytes as quoted text: printable ASCII unchanged, the rest escaped.
static void out_text(const char *bytes, size_t len) {
    out("\"");
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '\n') out("\\n");
        else if (c == 0) out("\\0");
        else if (c == '"' || c == '\\') out("\\%c", c);
        else if (c >= 0x20 && c < 0x7f) out_bytes(bytes + i, 1);
        else out("\\x%02x", c);
    }
    out("\"");
}

static void script_flush(void) {
    if (script_writes_output) {
        __faasm_write_output((const uint8_t *)script_out, (int32_t)script_out_len);
    }
}

static void script_unknown(const char *what) {
    out("unknown: %s\n", what);
    script_flush();
    exit(99);
}

/// Splits off the next word of a line, which is cut at the blank; `*line` advances past it.
static char *word(char **line) {
    char *start = *line;
    char *end = strchr(start, ' ');
    if (end == NULL) {
        *line = start + strlen(start);
    } else {
        *end = '\0';
        *line = end + 1;
    }
    return start;
}

static int32_t number(char **line) { return (int32_t)strtoul(word(line), NULL, 0); }

static int hex(char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; }

/// Resolves the escapes of a text in place, terminates it with NUL, and returns its length.
static size_t text(char *line) {
    char *to = line;
    for (char *from = line; *from != '\0'; from++) {
        if (*from != '\\') {
            *to++ = *from;
            continue;
        }
        switch (*++from) {
            case 'n': *to++ = '\n'; break;
            case '0': *to++ = '\0'; break;
            case 's': *to++ = ' '; break;
            case 'x':
                *to++ = (char)(hex(from[1]) << 4 | hex(from[2]));
                from += 2;
                break;
            default: *to++ = *from;
        }
    }
    *to = '\0';
    return (size_t)(to - line);
}

/// Reads the script from the input and runs each line. `script_value` is the return value, 0 unless a command sets it.
static int32_t script_value;

static int32_t run_script(void (*command)(char *name, char *rest)) {
    int32_t size = __faasm_read_input(NULL, 0);
    if (size < 0 || (size_t)size >= sizeof script_text) __builtin_trap();
    if (size > 0) __faasm_read_input((uint8_t *)script_text, size);
    script_text[size] = '\0';
    for (char *line = script_text; *line != '\0';) {
        char *end = strchr(line, '\n');
        char *next = end == NULL ? line + strlen(line) : end + 1;
        if (end != NULL) *end = '\0';
        char *name = word(&line);
        if (*name != '\0' && *name != '#') command(name, line);
        line = next;
    }
    script_flush();
    return script_value;
}

#endif
