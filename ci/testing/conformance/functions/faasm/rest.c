// Rows of the host interface that no other program of the suite imports.
#define HEAP_SBRK
#include "libc.h"

#define ONE(name, ...) WASI(name) i32 name(__VA_ARGS__);
ONE(path_open, i32, i32, const char *, i32, i32, u64, u64, i32, u32 *) ONE(fd_advise, u32, u64, u64, i32)
ONE(fd_datasync, u32) ONE(fd_fdstat_set_rights, u32, u64, u64) ONE(fd_filestat_set_times, u32, u64, u64, i32)
ONE(fd_filestat_get, u32, u64 *) ONE(path_link, i32, i32, const char *, i32, i32, const char *, i32) ONE(proc_raise, i32)
ONE(sched_yield, void) ONE(sock_accept, u32, i32, u32 *) ONE(sock_recv, u32, void *, i32, i32, u32 *, u32 *)
ONE(sock_send, u32, void *, i32, i32, u32 *) ONE(sock_shutdown, u32, i32)
HOST(__syscall4) i32 syscall4(i32 number, i32 a, i32 b, i32 c, i32 d);

EXPORT(_start) void entry(void) {
    u32 file = 0;
    u64 all = ~0ull >> 35, read = 1 << 1, stat[8];
    say("open", path_open(3, 0, "f", 1, 1, all, 0, 0, &file));
    say("advise", fd_advise(file, 0, 0, 1));
    say("advise badly", fd_advise(file, 0, 0, 9));
    say("datasync", fd_datasync(file));
    say("times", fd_filestat_set_times(file, 5, 6, 1 | 4));
    say("stat", fd_filestat_get(file, stat));
    say("accessed", (i64)stat[5]);
    say("modified", (i64)stat[6]);
    say("link", path_link(3, 0, "f", 1, 3, "g", 1));
    say("link again", path_link(3, 0, "f", 1, 3, "g", 1));
    fd_filestat_get(file, stat);
    say("links", (i64)stat[3]);
    say("fewer rights", fd_fdstat_set_rights(file, read, 0));
    say("more rights", fd_fdstat_set_rights(file, all, 0));
    say("raise", proc_raise(6));
    say("yield", sched_yield());
    say("accept", sock_accept(1, 0, NULL));
    say("receive", sock_recv(1, NULL, 0, 0, NULL, NULL));
    say("send", sock_send(1, NULL, 0, 0, NULL));
    say("shutdown", sock_shutdown(1, 0));
    say("shutdown of nothing", sock_shutdown(77, 0));
    // fstatat64(AT_FDCWD, "/g", …, 0)
    u8 kernel_stat[128];
    say("fstatat", syscall4(300, -100, (i32) "/g", (i32)kernel_stat, 0));
    write_said();
    free(malloc(1));
}
