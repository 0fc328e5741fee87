// A zygote in a program that starts with `_start` and has constructors: they run once, before the zygote, and the entry
// and a chained pointer see the results of both.
#include <faasm_host.h>
#include <cstdio>
#include <cstring>

namespace {
int constructed = 0;

struct Counter {
    int made;
    Counter() : made(100) { constructed++; }
};
Counter counter;
int by_zygote = 0;
}  // namespace

extern "C" __attribute__((export_name("_faasm_zygote"))) int zygote() {
    by_zygote = counter.made + 1;
    return 0;
}

namespace {
int chained() {
    char text[64];
    int length = std::snprintf(text, sizeof text, "chained %d %d", constructed, by_zygote);
    __faasm_write_output(reinterpret_cast<const unsigned char *>(text), length);
    return by_zygote;
}
}  // namespace

int main() {
    int call = static_cast<int>(__faasm_chain_ptr(chained, nullptr, 0));
    char *output = nullptr;
    int length = 0;
    int value = __faasm_await_call_output(call, &output, &length);
    char text[128];
    int size = std::snprintf(text, sizeof text, "constructed %d, zygote %d, pointer %d: %.*s", constructed, by_zygote, value,
                             length, output);
    __faasm_write_output(reinterpret_cast<const unsigned char *>(text), size);
    return 0;
}
