/* Shared by the C workloads: a main that makes one blocking host call, rounds that time themselves, and a source of
 * bytes: memory (form A: only main blocks) or a state value (form B, with -DPULL: every read is a host call that may
 * block, at any depth of the call stack).
 *
 * Prints `checksum HEX` once and `round NANOSECONDS` for each round; the argument is the number of rounds. */
#ifndef BENCH_H
#define BENCH_H

/* For clock_gettime. */
#define _DEFAULT_SOURCE

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "faasm_host.h"

/* Each workload defines these two. Every round does the same work and returns a checksum of its results. */
static void prepare(void);
static uint64_t run_round(void);

#define HASH_START 14695981039346656037u

/* FNV-1a. */
static inline uint64_t hash_bytes(uint64_t hash, const void *data, size_t len) {
    const uint8_t *bytes = data;
    for (size_t i = 0; i < len; i++) hash = (hash ^ bytes[i]) * 1099511628211u;
    return hash;
}

static inline uint64_t hash_number(uint64_t hash, int64_t number) {
    return hash_bytes(hash, &number, sizeof number);
}

/* A small generator, so that the data is the same on every platform. */
static inline uint32_t next_random(uint32_t *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* The bytes that a workload reads. Their number never changes. */
enum { SOURCE_BYTES = 8 << 20 };

#ifdef PULL
static inline void source_read(uint32_t offset, void *to, uint32_t len) {
    __faasm_read_state_offset("source", SOURCE_BYTES, (int32_t)offset, to, (int32_t)len);
}

static inline void source_write(uint32_t offset, const void *from, uint32_t len) {
    __faasm_write_state_offset("source", SOURCE_BYTES, (int32_t)offset, from, (int32_t)len);
}
#else
static uint8_t source[SOURCE_BYTES];

static inline void source_read(uint32_t offset, void *to, uint32_t len) {
    memcpy(to, source + offset, len);
}

static inline void source_write(uint32_t offset, const void *from, uint32_t len) {
    memcpy(source + offset, from, len);
}
#endif

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 1;
    /* The result does not matter: the function need not exist. */
    __faasm_await_call(__faasm_chain_name("nobody", NULL, 0));
    prepare();
    uint64_t checksum = 0;
    for (int round = 0; round < rounds; round++) {
        uint64_t start = now();
        uint64_t sum = run_round();
        uint64_t took = now() - start;
        if (round > 0 && sum != checksum) {
            printf("round %d differs\n", round);
            return 1;
        }
        checksum = sum;
        printf("round %llu\n", (unsigned long long)took);
    }
    printf("checksum %016llx\n", (unsigned long long)checksum);
    /* Debian's wasi-libc does not flush at exit, which loses output if standard output is not a terminal. */
    return fflush(stdout);
}

#endif
