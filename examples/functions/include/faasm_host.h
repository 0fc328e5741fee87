/*
 * Faasm's host interface for functions written in C and C++: the imports, what each does, and
 * which may block.
 *
 * "May block" means that the call can wait for another function or for the network. A web page
 * stays responsive meanwhile.
 *
 * Names and keys are NUL-terminated UTF-8 without a length limit. Data is binary and passed with
 * its length. Include this header and link with
 *
 *     -Wl,--export=malloc -Wl,--export=free -Wl,--export=__wasm_call_ctors
 *
 * The host calls malloc for the output of a chained call, and runs the constructors before a
 * function that was chained by pointer.
 */
#ifndef FAASM_HOST_H
#define FAASM_HOST_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifdef __wasm__
#define FAASM_IMPORT(name) __attribute__((import_module("env"), import_name(#name)))
#else
#define FAASM_IMPORT(name)
#endif

/* ---- Input and output ------------------------------------------------------------------- */

/* With len 0: returns the size of the input. Otherwise copies at most len bytes of it to buffer
 * and returns the number of bytes copied. */
FAASM_IMPORT(__faasm_read_input)
int32_t __faasm_read_input(uint8_t *buffer, int32_t len);

/* Sets the output of the call, and replaces any earlier output. */
FAASM_IMPORT(__faasm_write_output)
void __faasm_write_output(const uint8_t *data, int32_t len);

/* ---- Chained calls ------------------------------------------------------------------------ */

/* A function of this binary that can be chained: its result is the call's return value. */
typedef int32_t (*faasm_entry)(void);

/* Chains the function `name` of the same user; returns the call's id at once. */
FAASM_IMPORT(__faasm_chain_name)
int32_t __faasm_chain_name(const char *name, const uint8_t *input, int32_t input_len);

/* Chains `entry` in a new instance of this binary; returns the call's id at once. The new instance
 * shares no memory with this one: pass data in its input or in state. */
FAASM_IMPORT(__faasm_chain_ptr)
int32_t __faasm_chain_ptr(faasm_entry entry, const uint8_t *input, int32_t input_len);

/* Chains a Python function. Only in the cluster. */
FAASM_IMPORT(__faasm_chain_py)
int32_t __faasm_chain_py(const char *name, const uint8_t *input, int32_t input_len);

/* May block. Waits for the call to end and returns its return value; 1 if the call failed,
 * timed out, was awaited before or does not exist. */
FAASM_IMPORT(__faasm_await_call)
int32_t __faasm_await_call(int32_t call_id);

/* May block. As __faasm_await_call, and stores the address and the length of the call's output.
 * The host allocates the output with this function's own malloc; free it. Set *output to NULL and
 * *output_len to 0 before the call, since they may stay unchanged if there is no output. */
FAASM_IMPORT(__faasm_await_call_output)
int32_t __faasm_await_call_output(int32_t call_id, char **output, int32_t *output_len);

/* ---- State: byte arrays under a key, in two tiers ----------------------------------------- */
/* The global tier is the cluster's. Each host (a web page is one too) keeps a local copy, which
 * its functions read and write; push and pull synchronise it. The first access that names a size
 * fixes the value's size. `total` is the size of the whole value. */

/* With len 0: returns the size of the value, 0 if it does not exist. Otherwise copies the value to
 * buffer and returns its size. May block if this host has no local copy yet. Does not fetch a newer
 * value: use pull. */
FAASM_IMPORT(__faasm_read_state)
int32_t __faasm_read_state(const char *key, uint8_t *buffer, int32_t len);

/* Maps the value into memory. May block. After writing to it, flag the written range as dirty. */
FAASM_IMPORT(__faasm_read_state_ptr)
uint8_t *__faasm_read_state_ptr(const char *key, int32_t total);

/* Copies len bytes at offset. May block if there is no local copy of that part yet. */
FAASM_IMPORT(__faasm_read_state_offset)
void __faasm_read_state_offset(const char *key, int32_t total, int32_t offset, uint8_t *buffer,
                               int32_t len);

/* Maps len bytes at offset into memory. May block. */
FAASM_IMPORT(__faasm_read_state_offset_ptr)
uint8_t *__faasm_read_state_offset_ptr(const char *key, int32_t total, int32_t offset, int32_t len);

/* Writes the whole value, locally. */
FAASM_IMPORT(__faasm_write_state)
void __faasm_write_state(const char *key, const uint8_t *data, int32_t len);

/* Writes len bytes at offset, locally. */
FAASM_IMPORT(__faasm_write_state_offset)
void __faasm_write_state_offset(const char *key, int32_t total, int32_t offset,
                                const uint8_t *data, int32_t len);

/* Writes the content of a file as the value, locally; returns its size. */
FAASM_IMPORT(__faasm_write_state_from_file)
int32_t __faasm_write_state_from_file(const char *key, const char *path);

/* Flags the value, or a part of it, as dirty after writes through a mapped pointer. */
FAASM_IMPORT(__faasm_flag_state_dirty)
void __faasm_flag_state_dirty(const char *key, int32_t total);
FAASM_IMPORT(__faasm_flag_state_offset_dirty)
void __faasm_flag_state_offset_dirty(const char *key, int32_t total, int32_t offset, int32_t len);

/* Local to global; each may block. push_state writes the whole value if any part is dirty,
 * push_state_partial only the dirty parts, push_state_partial_mask the bytes for which the byte of
 * the value under mask_key is not zero. */
FAASM_IMPORT(__faasm_push_state)
void __faasm_push_state(const char *key);
FAASM_IMPORT(__faasm_push_state_partial)
void __faasm_push_state_partial(const char *key);
FAASM_IMPORT(__faasm_push_state_partial_mask)
void __faasm_push_state_partial_mask(const char *key, const char *mask_key);

/* Global to local, always. May block. */
FAASM_IMPORT(__faasm_pull_state)
void __faasm_pull_state(const char *key, int32_t total);

/* A list of elements under a key, in the global tier only; each may block. read_appended copies
 * the first `count` elements, concatenated. */
FAASM_IMPORT(__faasm_append_state)
void __faasm_append_state(const char *key, const uint8_t *data, int32_t len);
FAASM_IMPORT(__faasm_read_appended_state)
void __faasm_read_appended_state(const char *key, uint8_t *buffer, int32_t len, int32_t count);
FAASM_IMPORT(__faasm_clear_appended_state)
void __faasm_clear_appended_state(const char *key);

/* Locks on the local copy: many readers or one writer. Locking may block. */
FAASM_IMPORT(__faasm_lock_state_read)
void __faasm_lock_state_read(const char *key);
FAASM_IMPORT(__faasm_unlock_state_read)
void __faasm_unlock_state_read(const char *key);
FAASM_IMPORT(__faasm_lock_state_write)
void __faasm_lock_state_write(const char *key);
FAASM_IMPORT(__faasm_unlock_state_write)
void __faasm_unlock_state_write(const char *key);

/* The cluster-wide lock of a key. The local copy may be stale: pull after locking, push before
 * unlocking. Both may block. */
FAASM_IMPORT(__faasm_lock_state_global)
void __faasm_lock_state_global(const char *key);
FAASM_IMPORT(__faasm_unlock_state_global)
void __faasm_unlock_state_global(const char *key);

/* ---- Shared memory regions of fork-join programs ------------------------------------------ */
/* Declare how a variable is merged when threads join. No effect with a single thread. */

enum { FAASM_TYPE_RAW, FAASM_TYPE_BOOL, FAASM_TYPE_INT, FAASM_TYPE_LONG, FAASM_TYPE_FLOAT,
       FAASM_TYPE_DOUBLE };
enum { FAASM_OP_OVERWRITE, FAASM_OP_SUM, FAASM_OP_PRODUCT, FAASM_OP_SUBTRACT, FAASM_OP_MAX,
       FAASM_OP_MIN };

FAASM_IMPORT(__faasm_sm_var)
void __faasm_sm_var(void *variable, int32_t type);
FAASM_IMPORT(__faasm_sm_array)
void __faasm_sm_array(void *variable, int32_t type, int32_t length);
FAASM_IMPORT(__faasm_sm_raw)
void __faasm_sm_raw(void *variable, int32_t size);
FAASM_IMPORT(__faasm_sm_reduce)
void __faasm_sm_reduce(void *variable, int32_t type, int32_t operation, int32_t current_batch);
FAASM_IMPORT(__faasm_sm_critical_local)
void __faasm_sm_critical_local(void);
FAASM_IMPORT(__faasm_sm_critical_local_end)
void __faasm_sm_critical_local_end(void);

/* ---- Other host calls --------------------------------------------------------------------- */

/* Returns 1 if the host has this flag and it is on, otherwise 0. */
FAASM_IMPORT(__faasm_conf_flag)
int32_t __faasm_conf_flag(const char *key);

/* Makes the host print the call stack. */
FAASM_IMPORT(__faasm_backtrace)
void __faasm_backtrace(int32_t depth);

/* The host may migrate the function here; the new host calls entry(argument). May block. */
FAASM_IMPORT(__faasm_migrate_point)
void __faasm_migrate_point(void (*entry)(int32_t), int32_t argument);

/* User, function and entry of a Python call, NUL-terminated. Only in the cluster. */
FAASM_IMPORT(__faasm_get_py_user)
void __faasm_get_py_user(uint8_t *buffer, int32_t len);
FAASM_IMPORT(__faasm_get_py_func)
void __faasm_get_py_func(uint8_t *buffer, int32_t len);
FAASM_IMPORT(__faasm_get_py_entry)
void __faasm_get_py_entry(uint8_t *buffer, int32_t len);

/* For a host's tests. */
FAASM_IMPORT(__faasm_host_interface_test)
void __faasm_host_interface_test(int32_t number);

/* Buckets and keys of the cluster's object store. The lists are allocated by the host. */
FAASM_IMPORT(__faasm_s3_get_num_buckets)
int32_t __faasm_s3_get_num_buckets(void);
FAASM_IMPORT(__faasm_s3_list_buckets)
void __faasm_s3_list_buckets(void *names, int32_t *name_lens);
FAASM_IMPORT(__faasm_s3_get_num_keys)
int32_t __faasm_s3_get_num_keys(const char *bucket);
FAASM_IMPORT(__faasm_s3_list_keys)
void __faasm_s3_list_keys(const char *bucket, void *names, int32_t *name_lens);
FAASM_IMPORT(__faasm_s3_add_key_bytes)
int32_t __faasm_s3_add_key_bytes(const char *bucket, const char *key, void *data, int32_t len);
FAASM_IMPORT(__faasm_s3_get_key_bytes)
int32_t __faasm_s3_get_key_bytes(const char *bucket, const char *key, void *data, int32_t *len);

#ifdef __cplusplus
}
#endif

/* ---- Helpers ------------------------------------------------------------------------------ */

/* The whole input with a NUL after it, allocated with malloc; its length without the NUL in *len.
 * Aborts the function if the allocation fails. */
static inline char *faasm_input(size_t *len) {
    int32_t size = __faasm_read_input(NULL, 0);
    size_t capacity = size > 0 ? (size_t)size : 0;
    char *text = (char *)malloc(capacity + 1);
    if (text == NULL) abort();
    *len = capacity == 0 ? 0 : (size_t)__faasm_read_input((uint8_t *)text, size);
    text[*len] = '\0';
    return text;
}

/* Sets a NUL-terminated text as the output, without the NUL. */
static inline void faasm_output_text(const char *text) {
    __faasm_write_output((const uint8_t *)text, (int32_t)strlen(text));
}

#endif
