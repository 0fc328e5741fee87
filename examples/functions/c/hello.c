/* The smallest useful function: reads its input, prints a line, and writes its output. */
#include <stdio.h>

#include "faasm_host.h"

int main(void) {
    size_t name_len;
    char *name = faasm_input(&name_len);
    const char *who = name_len == 0 ? "world" : name;
    size_t who_len = name_len == 0 ? strlen(who) : name_len;

    /* The name may contain any bytes, so this uses lengths instead of "%s". */
    size_t len = strlen("Hello, ") + who_len + strlen("!");
    char *greeting = malloc(len + 1);
    if (greeting == NULL) return 1;
    memcpy(greeting, "Hello, ", 7);
    memcpy(greeting + 7, who, who_len);
    memcpy(greeting + 7 + who_len, "!\n", 2);

    fwrite(greeting, 1, len + 1, stdout);
    __faasm_write_output((const uint8_t *)greeting, (int32_t)len);
    free(greeting);
    free(name);
    return 0;
}
