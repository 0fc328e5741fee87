//! Counts the runs of its constructors and destructors. Linked in four ways with different exports; if `malloc` is
//! exported, the host calls it during the run.
#include <cstdio>

#include "faasm_host.h"

static int constructed;

struct Counted {
    int value;
    Counted() : value(7) { constructed++; }
    ~Counted() { std::printf("destroyed with %d\n", value); }
};

static Counted counted;

static int32_t callee() {
    char text[64];
    std::snprintf(text, sizeof text, "callee: %d constructed, value %d", constructed, counted.value);
    faasm_output_text(text);
    return constructed;
}

int main() {
    counted.value = 8;
    int32_t id = __faasm_chain_ptr(callee, nullptr, 0);
    char text[200];
#ifdef WITH_MALLOC
    char *output = nullptr;
    int32_t len = 0;
    int32_t value = __faasm_await_call_output(id, &output, &len);
    std::snprintf(text, sizeof text, "%d constructed, value %d; %d from %.*s", constructed,
                  counted.value, value, static_cast<int>(len), output);
#else
    int32_t value = __faasm_await_call(id);
    std::snprintf(text, sizeof text, "%d constructed, value %d; %d", constructed, counted.value, value);
#endif
    faasm_output_text(text);
    return constructed;
}
