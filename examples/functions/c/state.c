/* State: writes a value, has a call in the cluster change it, and reads it again.
 *
 * The input is the key. The value has 16 bytes: two little-endian 64-bit numbers, a number of steps
 * and a sum. main writes the whole value first, so that the result does not depend on an earlier
 * value. */
#include <inttypes.h>
#include <stdio.h>

#include "faasm_host.h"

enum { VALUE_LEN = 16 };

struct value {
    uint64_t steps;
    uint64_t sum;
};

/* WebAssembly is little-endian, so the struct has the layout of the stored value. */
_Static_assert(sizeof(struct value) == VALUE_LEN, "the stored value has no padding");

static struct value pull(const char *key) {
    struct value value = {0, 0};
    __faasm_pull_state(key, VALUE_LEN);
    __faasm_read_state(key, (uint8_t *)&value, VALUE_LEN);
    return value;
}

static void push(const char *key, const struct value *value) {
    __faasm_write_state(key, (const uint8_t *)value, VALUE_LEN);
    __faasm_push_state(key);
}

/* Runs in the cluster. Pulls first, since its host may have an older copy. */
static int32_t step(void) {
    size_t key_len;
    char *key = faasm_input(&key_len);
    struct value value = pull(key);
    value.steps += 1;
    value.sum = value.sum * 3 + value.steps;
    push(key, &value);
    free(key);
    return (int32_t)value.steps;
}

int main(void) {
    size_t input_len;
    char *input = faasm_input(&input_len);
    const char *key = input[0] == '\0' ? "counter" : input;

    struct value value = {1, 40};
    push(key, &value);
    int32_t call = __faasm_chain_ptr(step, (const uint8_t *)key, (int32_t)strlen(key));
    int32_t returned = __faasm_await_call(call);
    value = pull(key);

    const char *format = "%s: steps %" PRIu64 ", sum %" PRIu64 ", callee returned %" PRId32;
    int len = snprintf(NULL, 0, format, key, value.steps, value.sum, returned);
    char *output = malloc((size_t)len + 1);
    if (output == NULL) return 1;
    snprintf(output, (size_t)len + 1, format, key, value.steps, value.sum, returned);
    faasm_output_text(output);
    free(output);
    free(input);
    return (int)(value.sum % 251);
}
