// Each OpenMP construct once, in a team of one thread.
#define HEAP_SBRK
#include "libc.h"

#define ONE(ret, name, ...) HOST(name) ret name(__VA_ARGS__);
ONE(i32, omp_get_thread_num, void) ONE(i32, omp_get_num_threads, void) ONE(i32, omp_get_max_threads, void)
ONE(i32, omp_get_thread_limit, void) ONE(i32, omp_get_num_procs, void) ONE(i32, omp_in_parallel, void) ONE(i32, omp_get_level, void)
ONE(i32, omp_get_active_level, void) ONE(i32, omp_get_max_active_levels, void) ONE(void, omp_set_max_active_levels, i32)
ONE(void, omp_set_num_threads, i32) ONE(i32, omp_get_dynamic, void) ONE(void, omp_set_dynamic, i32) ONE(i32, omp_get_nested, void)
ONE(void, omp_set_nested, i32) ONE(i32, omp_get_default_device, void) ONE(void, omp_set_default_device, i32)
ONE(i32, omp_get_num_devices, void) ONE(i32, omp_is_initial_device, void) ONE(void, omp_init_lock, u32 *)
ONE(void, omp_destroy_lock, u32 *) ONE(void, omp_set_lock, u32 *) ONE(void, omp_unset_lock, u32 *) ONE(i32, omp_test_lock, u32 *)
ONE(double, omp_get_wtime, void) ONE(double, omp_get_wtick, void)
HOST(__faasm_pull_state) void faasm_pull_state(const char *key, i32 length);
HOST(__faasm_read_state) i32 faasm_read_state(const char *key, void *buffer, i32 length);

static void plain(void) {
    i32 threads = 0, level = 0, sum = 0;
#pragma omp parallel num_threads(4)
    {
#pragma omp master
        threads = omp_get_num_threads();
        level = omp_get_level();
#pragma omp critical
        sum += 1;
#pragma omp barrier
#pragma omp single
        sum += 10;
#pragma omp flush
        sum += omp_get_thread_num();
    }
    say("threads", threads);
    say("level", level);
    say("sum", sum);
    say("level then", omp_get_level());
}

// Keeps the compiler from replacing a loop by a formula, which would need its own library.
static volatile u32 once = 1;

static void loops(void) {
    i32 sum = 0, order = 0, last = 0;
#pragma omp parallel for reduction(+ : sum)
    for (i32 i = 1; i <= 100; i++) sum += i;
    say("reduction", sum);
    u32 chunks = 0;
#pragma omp parallel for schedule(static, 3) reduction(+ : chunks)
    for (u32 i = 0; i < 10u; i++) chunks += i;
    say("chunks", chunks);
    i64 wide = 0;
#pragma omp parallel for schedule(static, 7) reduction(+ : wide)
    for (i64 i = 5000000000; i > 4999999990; i--) wide += (i - 4999999990) * once;
    say("wide", wide);
    u64 unsigned_wide = 0;
#pragma omp parallel for reduction(+ : unsigned_wide)
    for (u64 i = 0; i < 5ull; i++) unsigned_wide += i * once;
    say("unsigned wide", (i64)unsigned_wide);
    i32 dynamic = 0;
#pragma omp parallel for schedule(dynamic, 2) reduction(+ : dynamic)
    for (i32 i = 10; i > 0; i -= 3) dynamic += i;
    say("dynamic", dynamic);
    u64 guided = 0;
#pragma omp parallel for schedule(guided) reduction(+ : guided)
    for (u64 i = 0; i < 6ull; i++) guided += i * once;
    say("guided", (i64)guided);
#pragma omp parallel for ordered schedule(dynamic)
    for (i32 i = 1; i < 5; i++) {
#pragma omp ordered
        order = order * 10 + i;
    }
    say("ordered", order);
#pragma omp parallel for lastprivate(last)
    for (i32 i = 0; i < 7; i++) last = i;
    say("last", last);
#pragma omp parallel sections reduction(+ : order)
    {
#pragma omp section
        order += 1;
#pragma omp section
        order += 2;
    }
    say("sections", order);
    i32 copied = 0;
#pragma omp parallel
    {
        i32 mine = 0;
#pragma omp single copyprivate(mine)
        mine = 42;
#pragma omp critical
        copied += mine;
    }
    say("copyprivate", copied);
}

// Suspends inside a parallel region and inside a nested one.
static void waits(void) {
    char seen[16] = "", inner[16] = "";
    i32 levels = 0;
#pragma omp parallel
    {
        faasm_pull_state("k", 4);
        faasm_read_state("k", seen, 4);
#pragma omp parallel
        {
            levels = omp_get_level();
            faasm_pull_state("l", 4);
            faasm_read_state("l", inner, 4);
        }
        levels = levels * 10 + omp_get_level();
    }
    say_text("seen", seen);
    say_text("inner", inner);
    say("levels", levels);
}

// Nested regions, with a suspension in the innermost.
static i32 nested(i32 depth) {
    i32 deepest = 0;
#pragma omp parallel
    {
        if (depth > 1) {
            deepest = nested(depth - 1);
        } else {
            faasm_pull_state("k", 4);
            deepest = omp_get_level();
        }
    }
    return deepest;
}

static void condition(i32 wanted) {
    i32 level = 0;
#pragma omp parallel if (wanted)
    level = omp_get_level();
    say("serialized", level);
}

static void settings(void) {
    omp_set_num_threads(8);
    say("threads at most", omp_get_max_threads());
    say("limit", omp_get_thread_limit());
    say("processors", omp_get_num_procs());
    say("in parallel", omp_in_parallel() + omp_get_active_level());
    say("levels at most", omp_get_max_active_levels());
    omp_set_max_active_levels(3);
    say("levels set", omp_get_max_active_levels());
    omp_set_dynamic(1);
    omp_set_nested(1);
    say("dynamic, nested", omp_get_dynamic() + omp_get_nested());
    omp_set_default_device(2);
    say("device", omp_get_default_device());
    say("devices", omp_get_num_devices() + omp_is_initial_device());
    u32 lock = 77;
    omp_init_lock(&lock);
    omp_set_lock(&lock);
    say("test", omp_test_lock(&lock));
    omp_unset_lock(&lock);
    say("test then", omp_test_lock(&lock));
    omp_destroy_lock(&lock);
    double before = omp_get_wtime();
    say("time", omp_get_wtime() >= before && omp_get_wtick() > 0 && before > 0);
}

EXPORT(_start) void entry(void) {
    const char *what = input();
    if (strcmp(what, "deadlock") == 0) {
        u32 lock;
        omp_init_lock(&lock);
        omp_set_lock(&lock);
        omp_set_lock(&lock);
    }
    if (strcmp(what, "nested") == 0) {
        say("deepest", nested(200));
        write_said();
        return;
    }
    plain();
    loops();
    waits();
    condition(what[0] == 'p');
    settings();
    write_said();
    free(malloc(1));
}
