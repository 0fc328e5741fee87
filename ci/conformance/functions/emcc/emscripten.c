//! A program for Emscripten's standalone output: memory that grows, files, time, arguments; no Faasm import.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int by_value(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

int main(int argc, char **argv) {
    char line[64] = "";
    if (fgets(line, sizeof line, stdin) == NULL) strcpy(line, "nothing");
    // Far more than the memory it starts with.
    size_t len = 40 * 1000 * 1000;
    int *numbers = malloc(len * sizeof *numbers);
    if (numbers == NULL) return 1;
    for (size_t i = 0; i < len; i++) numbers[i] = (int)((i * 7919) % 1000);
    qsort(numbers, 1000, sizeof *numbers, by_value);
    printf("%d arguments, read '%s', sorted %d to %d, time %s\n", argc - 1, line, numbers[0],
           numbers[999], time(NULL) > 1700000000 ? "passes" : "stands");
    free(numbers);
    (void)argv;
    return 23;
}
