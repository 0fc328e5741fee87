// Chains another function by name: `hello_c`, a separate binary.
#include <cstdlib>
#include <string>

#include "faasm_host.h"

int main() {
    size_t name_len = 0;
    char *name = faasm_input(&name_len);
    int32_t call = __faasm_chain_name("hello_c", reinterpret_cast<const uint8_t *>(name),
                                      static_cast<int32_t>(name_len));
    std::free(name);

    // The host allocates the output with this function's malloc.
    char *said = nullptr;
    int32_t said_len = 0;
    int32_t returned = __faasm_await_call_output(call, &said, &said_len);

    std::string output = "callee said: ";
    if (said != nullptr) output.append(said, static_cast<size_t>(said_len));
    std::free(said);
    __faasm_write_output(reinterpret_cast<const uint8_t *>(output.data()),
                         static_cast<int32_t>(output.size()));
    return returned;
}
