//! Runs a script of POSIX file calls and outputs the result of each, or the name of its error.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <wasi/api.h>

#include "script.h"

enum { MAX_ENTRIES = 256, MAX_BUFFER = 128 * 1024 };

static int current = -1;
static char buffer[MAX_BUFFER];

static const struct { int number; const char *name; } errors[] = {
    {EACCES, "EACCES"}, {EBADF, "EBADF"},   {EEXIST, "EEXIST"}, {EFAULT, "EFAULT"},
    {EFBIG, "EFBIG"},   {EINVAL, "EINVAL"}, {EISDIR, "EISDIR"}, {EIO, "EIO"}, {ELOOP, "ELOOP"},
    {ENAMETOOLONG, "ENAMETOOLONG"}, {ENOENT, "ENOENT"}, {ENOSPC, "ENOSPC"}, {ENOSYS, "ENOSYS"},
    {ENOTDIR, "ENOTDIR"}, {ENOTEMPTY, "ENOTEMPTY"}, {ENOTSUP, "ENOTSUP"}, {EPERM, "EPERM"},
    {EROFS, "EROFS"},   {ESPIPE, "ESPIPE"}, {EXDEV, "EXDEV"}, {EMFILE, "EMFILE"},
    {ENOTCAPABLE, "ENOTCAPABLE"}, {EBUSY, "EBUSY"}, {ENOTTY, "ENOTTY"},
};

/// Outputs the result of a call that returns -1 and sets errno on failure.
static void result(const char *what, long long value) {
    if (value >= 0) {
        out("%s = %lld\n", what, value);
        return;
    }
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        if (errors[i].number == errno) {
            out("%s = %s\n", what, errors[i].name);
            return;
        }
    }
    out("%s = errno %d\n", what, errno);
}

/// As [`result`], for calls whose success has no interesting value.
static void done(const char *what, int value) {
    if (value == 0) out("%s = ok\n", what);
    else result(what, -1);
}

static void bytes(const char *what, ssize_t count) {
    if (count < 0) {
        result(what, -1);
        return;
    }
    out("%s = ", what);
    out_text(buffer, (size_t)count);
    out("\n");
}

static size_t room(char **line) {
    size_t len = (size_t)number(line);
    if (len > sizeof buffer) __builtin_trap();
    return len;
}

static int flags(const char *letters) {
    bool reads = strchr(letters, 'r') != NULL, writes = strchr(letters, 'w') != NULL;
    int flags = reads && writes ? O_RDWR : writes ? O_WRONLY : O_RDONLY;
    if (strchr(letters, 'c')) flags |= O_CREAT;
    if (strchr(letters, 'x')) flags |= O_EXCL;
    if (strchr(letters, 't')) flags |= O_TRUNC;
    if (strchr(letters, 'a')) flags |= O_APPEND;
    if (strchr(letters, 'd')) flags |= O_DIRECTORY;
    if (strchr(letters, 'n')) flags |= O_NOFOLLOW;
    return flags;
}

static const char *kind(const struct stat *stat) {
    return S_ISREG(stat->st_mode) ? "file" : S_ISDIR(stat->st_mode) ? "folder"
         : S_ISCHR(stat->st_mode) ? "device" : S_ISLNK(stat->st_mode) ? "link" : "other";
}

static void show_stat(const char *what, int value, const struct stat *stat) {
    if (value != 0) result(what, -1);
    else if (S_ISREG(stat->st_mode)) out("%s = file of %lld\n", what, (long long)stat->st_size);
    else out("%s = %s\n", what, kind(stat));
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/// Outputs the names in a folder in order, folders with a slash, without `.` and `..`.
static void list(const char *path) {
    static char *names[MAX_ENTRIES];
    DIR *folder = opendir(path);
    if (folder == NULL) {
        result("list", -1);
        return;
    }
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (count == MAX_ENTRIES) __builtin_trap();
        size_t len = strlen(entry->d_name);
        char *name = malloc(len + 2);
        memcpy(name, entry->d_name, len + 1);
        if (entry->d_type == DT_DIR) strcpy(name + len, "/");
        names[count++] = name;
    }
    closedir(folder);
    qsort(names, count, sizeof *names, by_name);
    out("list =");
    for (size_t i = 0; i < count; i++) out(" %s", names[i]);
    out("\n");
}

static void clocks(void) {
    struct timespec first, second, real, resolution;
    clock_gettime(CLOCK_MONOTONIC, &first);
    clock_gettime(CLOCK_MONOTONIC, &second);
    clock_gettime(CLOCK_REALTIME, &real);
    int got = clock_getres(CLOCK_MONOTONIC, &resolution);
    bool forward = second.tv_sec > first.tv_sec ||
                   (second.tv_sec == first.tv_sec && second.tv_nsec >= first.tv_nsec);
    // After the start of 2024, and before the start of 2100.
    bool plausible = real.tv_sec > 1704067200LL && real.tv_sec < 4102444800LL;
    out("clocks = %s %s %d\n", forward ? "forward" : "back", plausible ? "plausible" : "wrong", got);
}

static void randoms(void) {
    unsigned char a[32] = {0}, b[32] = {0};
    int failed = getentropy(a, sizeof a) != 0 || getentropy(b, sizeof b) != 0;
    out("randoms = %s\n", failed ? "failed" : memcmp(a, b, sizeof a) == 0 ? "equal" : "differ");
}

static bool descriptor_command(char *name, char *rest) {
#define IS(text) (strcmp(name, text) == 0)
    if (IS("open")) {
        char *path = word(&rest);
        current = open(path, flags(rest), 0666);
        // Only whether the number is set, not its value.
        if (current < 0) result("open", -1);
        else out("open = ok\n");
    } else if (IS("use")) current = number(&rest);
    else if (IS("close")) done("close", close(current));
    else if (IS("write")) {
        size_t len = text(rest);
        result("write", write(current, rest, len));
    } else if (IS("write_many")) {
        // The given number of bytes: 0 to 250, repeated.
        size_t len = room(&rest);
        for (size_t i = 0; i < len; i++) buffer[i] = (char)(i % 251);
        result("write_many", write(current, buffer, len));
    } else if (IS("read")) bytes("read", read(current, buffer, room(&rest)));
    else if (IS("pread")) {
        size_t len = room(&rest);
        bytes("pread", pread(current, buffer, len, number(&rest)));
    } else if (IS("pwrite")) {
        int32_t offset = number(&rest);
        size_t len = text(rest);
        result("pwrite", pwrite(current, rest, len, offset));
    } else if (IS("seek")) {
        off_t offset = number(&rest);
        int whence = IS("seek") && *rest == 'e' ? SEEK_END : *rest == 'c' ? SEEK_CUR : SEEK_SET;
        result("seek", lseek(current, offset, whence));
    } else if (IS("tell")) result("tell", lseek(current, 0, SEEK_CUR));
    else if (IS("ftruncate")) done("ftruncate", ftruncate(current, number(&rest)));
    else if (IS("fstat")) {
        struct stat stat;
        int value = fstat(current, &stat);
        show_stat("fstat", value, &stat);
    } else if (IS("fsync")) done("fsync", fsync(current));
    else if (IS("allocate")) {
        int error = posix_fallocate(current, 0, number(&rest));
        errno = error;
        done("allocate", error == 0 ? 0 : -1);
    } else if (IS("append_mode")) {
        done("append_mode", fcntl(current, F_SETFL, O_APPEND) < 0 ? -1 : 0);
    } else if (IS("renumber")) {
        int to = number(&rest);
        errno = __wasi_fd_renumber(current, to);
        done("renumber", errno == 0 ? 0 : -1);
        current = to;
    } else if (IS("isatty")) out("isatty = %d\n", isatty(current));
    else return false;
    return true;
}

static bool path_command(char *name, char *rest) {
    if (IS("list")) list(rest);
    else if (IS("stat") || IS("lstat")) {
        struct stat stat_buffer;
        int value = IS("stat") ? stat(rest, &stat_buffer) : lstat(rest, &stat_buffer);
        show_stat("stat", value, &stat_buffer);
    } else if (IS("mkdir")) done("mkdir", mkdir(rest, 0777));
    else if (IS("rmdir")) done("rmdir", rmdir(rest));
    else if (IS("unlink")) done("unlink", unlink(rest));
    else if (IS("symlink")) {
        char *target = word(&rest);
        done("symlink", symlink(target, rest));
    } else if (IS("readlink")) bytes("readlink", readlink(rest, buffer, sizeof buffer));
    else if (IS("rename")) {
        char *from = word(&rest);
        done("rename", rename(from, rest));
    } else if (IS("truncate")) {
        char *path = word(&rest);
        done("truncate", truncate(path, number(&rest)));
    } else if (IS("access")) done("access", access(rest, R_OK));
    else if (IS("chdir")) done("chdir", chdir(rest));
    else if (IS("touch")) {
        struct timespec times[2] = {{1000, 5}, {2000, 7}};
        struct stat stat_buffer;
        done("touch", utimensat(AT_FDCWD, rest, times, 0));
        if (stat(rest, &stat_buffer) == 0) {
            out("times = %lld %lld\n", (long long)stat_buffer.st_atim.tv_sec,
                (long long)stat_buffer.st_mtim.tv_sec);
        }
    } else return false;
    return true;
}

static void command(char *name, char *rest) {
    if (descriptor_command(name, rest) || path_command(name, rest)) return;
#ifndef FOR_FAASM
    if (IS("from_file")) {
        char *key = word(&rest);
        out("from_file = %d\n", __faasm_write_state_from_file(key, rest));
        return;
    }
#endif
    if (IS("push")) __faasm_push_state(rest);
    else if (IS("getenv")) {
        const char *value = getenv(rest);
        out("getenv = %s\n", value == NULL ? "(none)" : value);
    } else if (IS("clocks")) clocks();
    else if (IS("randoms")) randoms();
    else if (IS("printf")) printf("%s and %d and %.3f\n", rest, 7, 0.125);
    else if (IS("partial")) {
        // Without a line feed at the end, and not flushed by the function.
        printf("%s", rest);
    } else if (IS("return")) script_value = number(&rest);
    else script_unknown(name);
#undef IS
}

/// With arguments: lists them and the environment, and copies standard input. Without: runs the script.
int main(int argc, char **argv) {
    extern char **environ;
    if (argc == 1) return run_script(command);
    for (int i = 0; i < argc; i++) out("argv[%d] = %s\n", i, argv[i]);
    for (char **variable = environ; *variable != NULL; variable++) out("env %s\n", *variable);
    out("stdin = ");
    // Two reads, to test that the offset advances.
    for (size_t step = 5;; step = sizeof buffer) {
        ssize_t count = read(0, buffer, step);
        if (count <= 0) break;
        out_bytes(buffer, (size_t)count);
    }
    out("\n");
    script_flush();
    return argc;
}
