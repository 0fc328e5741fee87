//! A standalone Emscripten program: growing memory, files, time, sleep, arguments; no Faasm import.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int by_value(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

/// Whether a sleep of this many microseconds is not shorter, and takes at most some seconds.
static const char *sleeps(unsigned microseconds) {
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    usleep(microseconds);
    clock_gettime(CLOCK_MONOTONIC, &after);
    long long passed = (after.tv_sec - before.tv_sec) * 1000000LL + (after.tv_nsec - before.tv_nsec) / 1000;
    return passed < microseconds ? "too little" : passed > 10 * 1000000LL ? "too much" : "well";
}

int main(int argc, char **argv) {
    char line[64] = "";
    if (fgets(line, sizeof line, stdin) == NULL) strcpy(line, "nothing");
    // Far more than the initial memory.
    size_t len = 40 * 1000 * 1000;
    int *numbers = malloc(len * sizeof *numbers);
    if (numbers == NULL) return 1;
    for (size_t i = 0; i < len; i++) numbers[i] = (int)((i * 7919) % 1000);
    qsort(numbers, 1000, sizeof *numbers, by_value);
    printf("%d arguments, read '%s', sorted %d to %d, time %s, sleeps %s\n", argc - 1, line, numbers[0],
           numbers[999], time(NULL) > 1700000000 ? "passes" : "stands", sleeps(30000));
    free(numbers);
    (void)argv;
    return 23;
}
