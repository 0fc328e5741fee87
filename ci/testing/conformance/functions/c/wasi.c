//! A plain WASI program that does not use Faasm's host interface.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    char line[128];
    int lines = 0;
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        printf("%d: %s\n", ++lines, line);
        usleep(1000);
    }
    int *numbers = calloc(100000, sizeof *numbers);
    if (numbers == NULL) return 1;
    for (int i = 0; i < 100000; i++) numbers[i] = i;
    long long sum = 0;
    for (int i = 0; i < 100000; i++) sum += numbers[i];
    free(numbers);
    const char *home = getenv("HOME");
    fprintf(stderr, "%d arguments\n", argc - 1);
    printf("%s: %lld, home %s\n", argv[0], sum, home == NULL ? "nowhere" : home);
    return lines;
}
