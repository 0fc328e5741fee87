// Hand-written calls of OpenMP runtime functions that clang does not emit for C in this configuration; and the whole
// memory as a state value.
#define HEAP_SBRK
#include "libc.h"

#define ONE(ret, name, ...) HOST(name) ret name(__VA_ARGS__);
ONE(i32, __kmpc_global_num_threads, i32) ONE(i32, __kmpc_bound_thread_num, i32) ONE(i32, __kmpc_bound_num_threads, i32)
ONE(i32, __kmpc_masked, i32, i32, i32) ONE(void, __kmpc_end_masked, i32, i32) ONE(i32, __kmpc_master, i32, i32)
ONE(void, __kmpc_end_master, i32, i32)
ONE(void, __kmpc_critical_with_hint, i32, i32, u32 *, i32) ONE(void, __kmpc_end_critical, i32, i32, u32 *)
ONE(i32, __kmpc_reduce, i32, i32, i32, i32, i32, i32, i32) ONE(void, __kmpc_end_reduce, i32, i32, i32)
ONE(i32, __kmpc_reduce_nowait, i32, i32, i32, i32, i32, i32, i32) ONE(void, __kmpc_end_reduce_nowait, i32, i32, i32)
ONE(void, __kmpc_for_static_init_4u, i32, i32, i32, u32 *, u32 *, u32 *, u32 *, i32, i32)
ONE(void, __kmpc_for_static_init_8, i32, i32, i32, u32 *, i64 *, i64 *, i64 *, i64, i64)
ONE(void, __kmpc_for_static_init_8u, i32, i32, i32, u32 *, u64 *, u64 *, u64 *, i64, i64)
ONE(void, __kmpc_dispatch_init_4u, i32, i32, i32, u32, u32, i32, i32)
ONE(i32, __kmpc_dispatch_next_4u, i32, i32, u32 *, u32 *, u32 *, i32 *) ONE(void, __kmpc_dispatch_fini_4u, i32, i32)
ONE(void, __kmpc_dispatch_init_8, i32, i32, i32, i64, i64, i64, i64)
ONE(i32, __kmpc_dispatch_next_8, i32, i32, u32 *, i64 *, i64 *, i64 *) ONE(void, __kmpc_dispatch_fini_8, i32, i32)
ONE(void, __kmpc_dispatch_init_8u, i32, i32, i32, u64, u64, i64, i64)
ONE(i32, __kmpc_dispatch_next_8u, i32, i32, u32 *, u64 *, u64 *, i64 *) ONE(void, __kmpc_dispatch_fini_8u, i32, i32)
ONE(void, __kmpc_dispatch_fini_4, i32, i32)
ONE(void, __faasm_snapshot_memory, const char *) ONE(void, __faasm_restore_memory, const char *)

static volatile u32 number = 1;

EXPORT(_start) void entry(void) {
    if (strcmp(input(), "no snapshot") == 0) __faasm_restore_memory("nothing");
    say("threads", __kmpc_global_num_threads(0) * 10 + __kmpc_bound_num_threads(0));
    say("thread", __kmpc_bound_thread_num(0));
    say("masked", __kmpc_masked(0, 0, 0) * 10 + __kmpc_masked(0, 0, 1));
    __kmpc_end_masked(0, 0);
    say("master", __kmpc_master(0, 0));
    __kmpc_end_master(0, 0);
    u32 lock = 0;
    __kmpc_critical_with_hint(0, 0, &lock, 0);
    __kmpc_end_critical(0, 0, &lock);
    say("reduce", __kmpc_reduce(0, 0, 0, 0, 0, 0, 0) + __kmpc_reduce_nowait(0, 0, 0, 0, 0, 0, 0));
    __kmpc_end_reduce(0, 0, 0);
    __kmpc_end_reduce_nowait(0, 0, 0);

    u32 last = 9, low = 3, high = 0xfffffff0u, stride = 0;
    __kmpc_for_static_init_4u(0, 0, 34, &last, &low, &high, &stride, 1, 1);
    say("4u", last == 1 && low == 3 && high == 0xfffffff0u && stride == 0xffffffeeu);
    i64 wide_low = -5, wide_high = 5, wide_stride = 0;
    __kmpc_for_static_init_8(0, 0, 34, &last, &wide_low, &wide_high, &wide_stride, 1, 1);
    say("8", wide_stride);
    u64 long_low = 9, long_high = 3, long_stride = 0;
    __kmpc_for_static_init_8u(0, 0, 34, &last, &long_low, &long_high, &long_stride, -1, 1);
    say("8u", (i64)long_stride);

    i32 step = 0;
    __kmpc_dispatch_init_4u(0, 0, 35, 1, 0xf0000000u, 2, 1);
    say("next 4u", __kmpc_dispatch_next_4u(0, 0, &last, &low, &high, &step) * 10 + step);
    say("range 4u", low == 1 && high == 0xf0000000u);
    __kmpc_dispatch_fini_4u(0, 0);
    say("end 4u", __kmpc_dispatch_next_4u(0, 0, &last, &low, &high, &step));
    i64 wide_step = 0;
    __kmpc_dispatch_init_8(0, 0, 35, 3, 1, 1, 1);
    say("empty 8", __kmpc_dispatch_next_8(0, 0, &last, &wide_low, &wide_high, &wide_step));
    __kmpc_dispatch_fini_8(0, 0);
    __kmpc_dispatch_init_8u(0, 0, 35, 10, 1, -3, 1);
    say("next 8u", __kmpc_dispatch_next_8u(0, 0, &last, &long_low, &long_high, &wide_step));
    say("step 8u", wide_step);
    __kmpc_dispatch_fini_8u(0, 0);
    __kmpc_dispatch_fini_4(0, 0);

    __faasm_snapshot_memory("memory");
    number = 2;
    char *later = malloc(10);
    *later = 'x';
    __faasm_restore_memory("memory");
    say("number", number);
    write_said();
}
