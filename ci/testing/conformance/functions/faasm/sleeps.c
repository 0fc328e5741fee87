// Sleeps of the toolchain of early 2020, whose C library makes cancellable calls with six arguments. No sleep may end
// before the program's clock has advanced by its duration.
#define HEAP_223
#include "libc.h"

HOST(__syscall6) i32 syscall6(i32 number, i32 a, i32 b, i32 c, i32 d, i32 e, i32 f);
HOST(__syscall2) i32 syscall2(i32 number, i32 a, i32 b);

struct time {
    i64 seconds;
    i64 fraction;
};

static i64 now(i32 clock) {
    struct time time = {0, 0};
    syscall2(265, clock, (i32)&time);
    return time.seconds * 1000000000 + time.fraction;
}

static void sleep(const char *name, i32 number, i32 a, i32 b, i32 e, i64 nanoseconds) {
    i64 monotonic = now(1), realtime = now(0);
    i32 result = syscall6(number, a, b, number == 168 ? e : 0, 0, number == 142 || number == 308 ? e : 0, 0);
    i64 by_monotonic = now(1) - monotonic, by_realtime = now(0) - realtime;
    say(name, result);
    say("slept enough", by_monotonic >= nanoseconds && by_realtime >= nanoseconds);
}

EXPORT(main) i32 entry(void) {
    struct time nanosleep = {0, 10000}, microseconds = {0, 1500};
    sleep("nanosleep", 162, (i32)&nanosleep, 0, 0, 10000);
    sleep("poll", 168, 0, 0, 2, 2000000);
    sleep("select", 142, 0, 0, (i32)&microseconds, 1500000);
    sleep("pselect", 308, 0, 0, (i32)&nanosleep, 10000);
    for (i32 i = 0; i < 20; i++) {
        i64 before = now(i % 2);
        syscall6(162, (i32)&nanosleep, 0, 0, 0, 0, 0);
        if (now(i % 2) - before < 10000) say("too early", i);
    }
    write_said();
    free(malloc(1));
    return 0;
}
