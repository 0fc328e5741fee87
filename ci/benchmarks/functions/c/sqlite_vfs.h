/* A file system for SQLite with a single file, the database, whose content is the source of `bench.h`. Journals and
 * temporary files stay in SQLite's memory. */
#ifndef SQLITE_VFS_H
#define SQLITE_VFS_H

#include "bench.h"
#include "sqlite3.h"

static sqlite3_int64 database_bytes;

static int file_close(sqlite3_file *file) {
    (void)file;
    return SQLITE_OK;
}

static int file_read(sqlite3_file *file, void *to, int len, sqlite3_int64 offset) {
    (void)file;
    if (offset >= database_bytes) {
        memset(to, 0, (size_t)len);
        return SQLITE_IOERR_SHORT_READ;
    }
    int there = database_bytes - offset < len ? (int)(database_bytes - offset) : len;
    source_read((uint32_t)offset, to, (uint32_t)there);
    if (there == len) return SQLITE_OK;
    memset((char *)to + there, 0, (size_t)(len - there));
    return SQLITE_IOERR_SHORT_READ;
}

static int file_write(sqlite3_file *file, const void *from, int len, sqlite3_int64 offset) {
    (void)file;
    if (offset + len > SOURCE_BYTES) return SQLITE_FULL;
    source_write((uint32_t)offset, from, (uint32_t)len);
    if (offset + len > database_bytes) database_bytes = offset + len;
    return SQLITE_OK;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 bytes) {
    (void)file;
    database_bytes = bytes;
    return SQLITE_OK;
}

static int file_number(sqlite3_file *file, int number) {
    (void)file, (void)number;
    return SQLITE_OK;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *bytes) {
    (void)file;
    *bytes = database_bytes;
    return SQLITE_OK;
}

static int file_reserved(sqlite3_file *file, int *reserved) {
    (void)file;
    *reserved = 0;
    return SQLITE_OK;
}

static int file_control(sqlite3_file *file, int operation, void *argument) {
    (void)file, (void)operation, (void)argument;
    return SQLITE_NOTFOUND;
}

static int file_sector(sqlite3_file *file) {
    (void)file;
    return 4096;
}

static int file_characteristics(sqlite3_file *file) {
    (void)file;
    return 0;
}

static int vfs_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *out) {
    static const sqlite3_io_methods methods = {
        1,          file_close,   file_read,   file_write,    file_truncate, file_number,
        file_size,  file_number,  file_number, file_reserved, file_control,  file_sector,
        file_characteristics,     NULL,        NULL,          NULL,          NULL,
        NULL,       NULL,
    };
    (void)vfs, (void)name;
    file->pMethods = NULL;
    if (!(flags & SQLITE_OPEN_MAIN_DB)) return SQLITE_CANTOPEN;
    file->pMethods = &methods;
    if (out != NULL) *out = flags;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync) {
    (void)vfs, (void)name, (void)sync;
    return SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *result) {
    (void)vfs, (void)name, (void)flags;
    *result = 0;
    return SQLITE_OK;
}

static int vfs_path(sqlite3_vfs *vfs, const char *name, int len, char *out) {
    (void)vfs;
    sqlite3_snprintf(len, out, "%s", name);
    return SQLITE_OK;
}

static int vfs_randomness(sqlite3_vfs *vfs, int len, char *out) {
    (void)vfs;
    memset(out, 1, (size_t)len);
    return len;
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds) {
    (void)vfs;
    return microseconds;
}

static int vfs_time(sqlite3_vfs *vfs, double *days) {
    (void)vfs;
    *days = 2460000.5;
    return SQLITE_OK;
}

/* SQLite calls these two if it is built with SQLITE_OS_OTHER. */
int sqlite3_os_init(void) {
    static sqlite3_vfs vfs = {
        .iVersion = 1,
        .szOsFile = sizeof(sqlite3_file),
        .mxPathname = 64,
        .zName = "source",
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_path,
        .xRandomness = vfs_randomness,
        .xSleep = vfs_sleep,
        .xCurrentTime = vfs_time,
    };
    return sqlite3_vfs_register(&vfs, 1);
}

int sqlite3_os_end(void) {
    return SQLITE_OK;
}

#endif
