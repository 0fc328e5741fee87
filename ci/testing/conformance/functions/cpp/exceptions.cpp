// C++ exceptions around suspensions. The input names the part to run: exceptions are thrown, held and destroyed while
// calls are awaited. Compiled with each encoding of exceptions that compilers emit.
#include <cstdint>
#include <stdexcept>
#include <string>

#include <unistd.h>

#include "faasm_host.h"

#ifndef __EMSCRIPTEN__
#include "exceptions_runtime.h"
#endif

namespace {

/// Observations, in order.
std::string result;

void note(const std::string &text) { result += text + ' '; }

/// A call that returns the length of its input.
int32_t echo() { return __faasm_read_input(nullptr, 0); }

/// A call that ends with an exception.
int32_t fail() { throw 5; }

int32_t chain(faasm_entry entry, const char *input) {
    return __faasm_chain_ptr(entry, reinterpret_cast<const uint8_t *>(input), static_cast<int32_t>(std::strlen(input)));
}

/// Chains a call with an input of three characters, and awaits it.
void wait() {
    int32_t id = chain(echo, "abc");
    if (__faasm_await_call(id) != 3) note("(another value)");
}

/// Records its destruction.
struct Announced {
    const char *name;
    explicit Announced(const char *name) : name(name) {}
    Announced(const Announced &) = delete;
    ~Announced() { note(std::string("~") + name); }
};

/// Suspends in its destructor.
struct Slow {
    const char *name;
    explicit Slow(const char *name) : name(name) {}
    Slow(const Slow &) = delete;
    ~Slow() {
        wait();
        note(std::string("~") + name);
    }
};

struct Base {
    int number;
    explicit Base(int number) : number(number) {}
    Base(const Base &) = default;
    virtual ~Base() = default;
    virtual std::string name() const { return "base"; }
};
struct Left : virtual Base {
    int left = 1;
    Left() : Base(0) {}
};
struct Right : virtual Base {
    int right = 2;
    Right() : Base(0) {}
};
/// Its second base does not start at its address.
struct Derived : Left, Right {
    std::string text;
    explicit Derived(std::string text) : Base(static_cast<int>(text.size())), text(std::move(text)) {}
    Derived(const Derived &) = default;
    std::string name() const override { return "derived " + text; }
};

[[gnu::noinline]] void throw_number(int number) {
    wait();
    throw number;
}

void caught() {
    Announced outer("outer");
    try {
        Announced inner("inner");
        wait();
        usleep(1000);
        throw_number(7);
        note("(not reached)");
    } catch (int number) {
        note("caught " + std::to_string(number));
    }
    wait();
    note("after");
}

[[gnu::noinline]] int descend(int depth) {
    Announced here(depth % 2 == 0 ? "even" : "odd");
    if (depth == 0) {
        throw_number(40);
        return 0;
    }
    wait();
    int below = descend(depth - 1);
    return below + 1;
}

/// Throws through frames with and without objects to destroy.
[[gnu::noinline]] int pass(int depth) { return depth == 0 ? descend(3) : pass(depth - 1) + 1; }

void frames() {
    try {
        note(std::to_string(pass(3)));
    } catch (int number) {
        note(std::to_string(number));
    }
}

void slow() {
    try {
        Slow first("first");
        Slow second("second");
        throw std::runtime_error("slow");
    } catch (const std::exception &error) {
        note(error.what());
    }
}

[[gnu::noinline]] void throw_by_kind(int kind) {
    static Derived pointed("pointed");
    wait();
    switch (kind) {
        case 0: throw 3;
        case 1: throw 'c';
        case 2: throw "text";
        case 3: throw Derived("thing");
        case 4: throw &pointed;
        case 5: throw std::out_of_range("range");
        case 6: throw std::string("string");
        case 7: throw 1.5;
        default: return;
    }
}

[[gnu::noinline]] void catch_some(int kind) {
    try {
        throw_by_kind(kind);
        note("nothing");
    } catch (char character) {
        note(std::string("char ") + character);
    } catch (const char *text) {
        note(std::string("text ") + text);
    } catch (const std::string &text) {
        note("string " + text);
    } catch (const std::logic_error &error) {
        note(std::string("logic ") + error.what());
    }
}

void types() {
    for (int kind = 0; kind < 9; kind++) {
        try {
            catch_some(kind);
        } catch (int number) {
            note("int " + std::to_string(number));
        } catch (const Right &right) {
            note(right.name() + ' ' + std::to_string(right.right) + ' ' + std::to_string(right.number));
        } catch (Base *base) {
            note(base->name() + ' ' + std::to_string(base->number));
        } catch (...) {
            note("anything");
        }
    }
}

[[gnu::noinline]] void changes_and_throws_again() {
    try {
        throw_number(1);
    } catch (int &number) {
        number += 10;
        wait();
        throw;
    }
}

[[gnu::noinline]] void throws_again_through_any() {
    Slow local("local");
    try {
        changes_and_throws_again();
    } catch (...) {
        note("any");
        wait();
        throw;
    }
}

void rethrow() {
    try {
        try {
            throws_again_through_any();
        } catch (const std::exception &) {
            note("(not reached)");
        }
    } catch (int number) {
        note("then " + std::to_string(number));
    }
    // Another exception replaces it.
    try {
        try {
            throw_number(2);
        } catch (int number) {
            Announced handler("handler");
            wait();
            throw std::runtime_error("for " + std::to_string(number));
        }
    } catch (const std::runtime_error &error) {
        note(error.what());
    }
}

void held() {
    try {
        throw Derived("held");
    } catch (const Base &outer) {
        wait();
        for (int round = 0; round < 3; round++) {
            try {
                throw_number(round);
            } catch (int inner) {
                wait();
                note(std::to_string(inner) + ' ' + outer.name());
            }
        }
        usleep(1000);
        note(outer.name());
    }
}

/// Throws so often that memory would run out if nothing were freed, with occasional suspensions.
void many() {
    int64_t sum = 0;
    for (int round = 0; round < 3000; round++) {
        try {
            std::string large(40000, 'x');
            if (round % 500 == 0) wait();
            throw large;
        } catch (const std::string &text) {
            sum += static_cast<int64_t>(text.size());
        }
    }
    note(std::to_string(sum));
}

struct Half {
    Slow first{"first"};
    Announced second{"second"};
    Half() { throw_number(9); }
    ~Half() { note("(not reached)"); }
};

void constructor() {
    try {
        Half half;
    } catch (int number) {
        note(std::to_string(number));
    }
}

/// A call that ends with an exception does not end its caller.
void chained() {
    try {
        int32_t id = chain(fail, "");
        note(std::to_string(__faasm_await_call(id)));
        wait();
    } catch (...) {
        note("(not reached)");
    }
}

/// Prints when it is destroyed during unwinding.
struct Printed {
    Printed() = default;
    Printed(const Printed &) = delete;
    ~Printed() {
        wait();
        if (write(1, "destroyed\n", 10) != 10) note("(not written)");
    }
};

[[gnu::noinline]] void uncaught() {
    Printed printed;
    try {
        throw_number(1);
    } catch (const std::exception &) {
        note("(not reached)");
    }
}

void ends_the_program() noexcept { throw_number(1); }

struct Part {
    const char *name;
    void (*run)();
};

constexpr Part PARTS[] = {
    {"caught", caught},           {"frames", frames},   {"slow", slow},         {"types", types},
    {"rethrow", rethrow},         {"held", held},       {"many", many},         {"constructor", constructor},
    {"chained", chained},         {"uncaught", uncaught}, {"noexcept", ends_the_program},
};

}  // namespace

int main() {
    char name[32] = {};
    __faasm_read_input(reinterpret_cast<uint8_t *>(name), sizeof name - 1);
    for (const Part &part : PARTS) {
        if (std::strcmp(part.name, name) != 0) continue;
        part.run();
        faasm_output_text(result.c_str());
        return 0;
    }
    return 99;
}
