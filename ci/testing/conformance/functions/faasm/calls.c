// What Faasm's C library imports from its host besides WASI: processes, users, descriptors, sockets, debug prints, old
// names and signatures. Each result is a line of the output; the input selects how the program ends.
#define HEAP_SBRK
#include "libc.h"

#define ONE(ret, name, ...) HOST(name) ret host_##name(__VA_ARGS__);
ONE(i32, getpid, void) ONE(i32, getppid, void) ONE(i32, getuid, void) ONE(i32, geteuid, void) ONE(i32, getgid, void)
ONE(i32, getegid, void) ONE(i32, getpwuid, i32) ONE(i32, getpwnam, i32) ONE(i32, signal, i32, i32) ONE(i32, kill, i32, i32)
ONE(i32, fork, void) ONE(i32, wait, i32) ONE(i32, execv, i32, i32) ONE(i32, execve, i32, i32, i32) ONE(i32, system, i32)
ONE(i32, syscall, i32, i32) ONE(i32, setrlimit, i32, i32) ONE(i32, getrlimit, i32, u64 *) ONE(i32, socket, i32, i32, i32)
ONE(i32, connect, i32, i32, i32) ONE(i32, bind, i32, i32, i32) ONE(i32, listen, i32, i32) ONE(i32, accept, i32, i32, i32)
ONE(i32, gethostbyname, i32) ONE(i32, uname, char *) ONE(char *, getcwd, char *, i32) ONE(i32, chdir, const char *)
ONE(i32, ioctl, i32, i32, i32) ONE(i32, tmpfile, void) ONE(i32, pipe, i32) ONE(i32, ttyname, i32) ONE(i32, dup, i32)
ONE(i32, __wasi_fd_dup, i32, u32 *) ONE(i32, __copy_tls, i32) ONE(void, __println, const char *)
ONE(void, __faasmp_debug_copy, const char *, const char *) ONE(void, __faasm_read_config, const char *, char *)
ONE(i32, __faasm_conf_flag, const char *) ONE(void, __faasm_host_interface_test, i32)
ONE(void, exit, i32) ONE(void, _Exit, i32) ONE(void, abort, void) ONE(i32, raise, i32)
ONE(void *, __cxa_allocate_exception, u32) ONE(void, __cxa_throw, void *, void *, void *) ONE(void, __cxa_rethrow, void)
ONE(void *, __cxa_begin_catch, void *) ONE(void, __cxa_end_catch, void) ONE(void, __cxa_pure_virtual, void)
// The older signatures, whose last argument requested an asynchronous transfer.
ONE(void, __faasm_read_state, const char *, void *, i32, i32) ONE(void, __faasm_write_state, const char *, const void *, i32, i32)
// WASI calls under the names that its C library uses.
ONE(i32, __wasi_fd_write, i32, const void *, i32, u32 *) ONE(i32, __wasi_args_sizes_get, u32 *, u32 *)
ONE(i32, __wasi_args_get, char **, char *) ONE(i32, __wasi_random_get, void *, i32) ONE(i32, __wasi_fd_prestat_get, i32, u32 *)
ONE(i32, __wasi_fd_prestat_dir_name, i32, char *, i32) ONE(i32, __wasi_fd_close, i32)
ONE(i32, __wasi_path_filestat_get, i32, i32, const char *, i32, u64 *)
ONE(i32, __wasi_path_open, i32, i32, const char *, i32, i32, u64, u64, i32, u32 *)
ONE(i32, __wasi_path_create_directory, i32, const char *, i32)

static i32 write_to(u32 descriptor, const char *text) {
    struct { const char *at; u32 length; } part = {text, strlen(text)};
    u32 written = 0;
    i32 error = host___wasi_fd_write((i32)descriptor, &part, 1, &written);
    return error == 0 ? (i32)written : -error;
}

static void answers(void) {
    say("getpid", host_getpid());
    say("getppid", host_getppid());
    say("users", host_getuid() + host_geteuid() + host_getgid() + host_getegid());
    say("getpwuid", host_getpwuid(0));
    say("getpwnam", host_getpwnam(0));
    say("signal", host_signal(2, 1));
    say_result("kill", host_kill(1, 9));
    say_result("fork", host_fork());
    say_result("wait", host_wait(0));
    say_result("execv", host_execv(0, 0));
    say_result("execve", host_execve(0, 0, 0));
    say_result("system", host_system((i32) "true"));
    say("a shell", host_system(0));
    say_result("syscall", host_syscall(20, 0));
    say_result("setrlimit", host_setrlimit(7, 0));
    u64 limits[2] = {0, 0};
    say("getrlimit", host_getrlimit(7, limits));
    say("unlimited", limits[0] == ~0ull);
    say_result("socket", host_socket(2, 1, 0));
    say_result("connect", host_connect(3, 0, 0));
    say_result("bind", host_bind(3, 0, 0));
    say_result("listen", host_listen(3, 1));
    say_result("accept", host_accept(3, 0, 0));
    say("gethostbyname", host_gethostbyname((i32) "localhost"));
    char system[6 * 65];
    say("uname", host_uname(system));
    say_text("machine", system + 4 * 65);
    char folder[8];
    say_text("getcwd", host_getcwd(folder, sizeof(folder)));
    say("getcwd of one byte", (i32)(u32)host_getcwd(folder, 1));
    say("errno", errno_value);
    say("chdir to the root", host_chdir("/"));
    say_result("chdir", host_chdir("/tmp"));
    say_result("ioctl", host_ioctl(1, 0x5401, 0));
    say_result("ioctl of nothing", host_ioctl(77, 0, 0));
    say("tmpfile", host_tmpfile());
    say_result("pipe", host_pipe(0));
    say("ttyname", host_ttyname(1));
    i32 copy = host_dup(1);
    say("dup", copy);
    say("through it", write_to((u32)copy, "by a second descriptor\n"));
    say_result("dup of nothing", host_dup(77));
    u32 second = 0;
    say("fd_dup", host___wasi_fd_dup(1, &second));
    say("fd_dup gave", second);
    say("copy_tls", host___copy_tls(123));
    host___println("a line");
    host___faasmp_debug_copy("copied", folder);
    char config[4] = "xyz";
    host___faasm_read_config("NAME", config);
    say("config", config[0]);
    say("flags", host___faasm_conf_flag("ALWAYS_ON") + host___faasm_conf_flag("other"));
    host___faasm_host_interface_test(1);
    char value[4] = "";
    host___faasm_write_state("old", "abcd", 4, 1);
    host___faasm_read_state("old", value, 4, 1);
    say("old signature", value[0] == 'a' && value[3] == 'd');

    u32 count = 0, bytes = 0;
    say("args", host___wasi_args_sizes_get(&count, &bytes) + (i32)count);
    char *pointers[4], text[64];
    host___wasi_args_get(pointers, text);
    say_text("argv[0]", pointers[0]);
    u8 random[8] = {0};
    say("random", host___wasi_random_get(random, 8));
    for (i32 descriptor = 3; descriptor < 6; descriptor++) {
        u32 prestat[2] = {9, 9};
        i32 error = host___wasi_fd_prestat_get(descriptor, prestat);
        say("prestat", error);
        if (error != 0 || prestat[1] >= sizeof(text)) continue;
        host___wasi_fd_prestat_dir_name(descriptor, text, (i32)prestat[1]);
        text[prestat[1]] = 0;
        say_text("preopened", text);
    }
    u64 stat[8];
    say("tmp", host___wasi_path_filestat_get(4, 0, "tmp", 3, stat));
    say("is a folder", (u8)stat[2] == 3);
    // Relative paths work from the start.
    say("mkdir", host___wasi_path_create_directory(4, "made", 4));
    u32 file = 0;
    say("open", host___wasi_path_open(4, 0, "made/file", 9, 1, ~0ull >> 35, 0, 0, &file));
    say("written", write_to(file, "content"));
    say("close", host___wasi_fd_close((i32)file));
    say("by the root", host___wasi_path_filestat_get(3, 0, "made/file", 9, stat));
    say("size", (i64)stat[4]);
}

EXPORT(_start) void entry(void) {
    const char *end = input();
    if (strcmp(end, "") == 0) answers();
    write_said();
    struct { void *table; const char *name; } type = {NULL, "St13runtime_error"};
    if (strcmp(end, "exit") == 0) host_exit(7);
    if (strcmp(end, "_Exit") == 0) host__Exit(8);
    if (strcmp(end, "abort") == 0) host_abort();
    if (strcmp(end, "raise") == 0) host_raise(6);
    if (strcmp(end, "throw") == 0) host___cxa_throw(host___cxa_allocate_exception(8), &type, NULL);
    if (strcmp(end, "rethrow") == 0) host___cxa_rethrow();
    if (strcmp(end, "catch") == 0) {
        host___cxa_begin_catch(NULL);
        host___cxa_end_catch();
    }
    if (strcmp(end, "virtual") == 0) host___cxa_pure_virtual();
    // Never called, but must exist.
    free(malloc(1));
}
