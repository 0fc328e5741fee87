//! C++ features that programs rely on. The input names the part to run; most parts suspend in the middle.
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <unistd.h>

#include "faasm_host.h"

namespace {

std::ostringstream result;

std::string input() {
    size_t len = 0;
    char *data = faasm_input(&len);
    std::string text(data, len);
    std::free(data);
    return text;
}

/// Suspends the function for a moment.
void wait() { usleep(1000); }

int32_t chain(faasm_entry entry, std::string_view input) {
    return __faasm_chain_ptr(entry, reinterpret_cast<const uint8_t *>(input.data()),
                             static_cast<int32_t>(input.size()));
}

struct Finished {
    int32_t value;
    std::string output;
};

Finished await(int32_t id) {
    char *data = nullptr;
    int32_t len = 0;
    int32_t value = __faasm_await_call_output(id, &data, &len);
    Finished finished{value, data == nullptr ? "" : std::string(data, static_cast<size_t>(len))};
    if (len > 0) std::free(data);
    return finished;
}

// Constructed before main, and before every function that is started by pointer.
struct Registry {
    std::vector<std::string> names{"first", "second"};
    int constructed = 0;
    Registry() { constructed++; }
};
Registry registry;
const std::string late = registry.names.front() + " of the registry";

/// Prints to standard output when it is destroyed.
struct Announced {
    const char *name;
    ~Announced() { std::cout << name << " destroyed" << std::endl; }
};
Announced global{"global"};

int32_t read_registry() {
    static int local_statics = 0;
    local_statics++;
    std::ostringstream text;
    text << registry.constructed << ' ' << registry.names.size() << ' ' << late << ' ' << local_statics;
    faasm_output_text(text.str().c_str());
    registry.names.push_back("third");
    return registry.constructed;
}

struct Shape {
    virtual ~Shape() = default;
    virtual int area() const = 0;
    virtual std::string name() const { return "shape"; }
};
struct Square : Shape {
    int side;
    explicit Square(int side) : side(side) {}
    // The caller's frame is on the stack of a suspended virtual call.
    int area() const override {
        int before = side;
        wait();
        return before * side;
    }
    std::string name() const override { return "square"; }
};
struct Rectangle : Shape {
    int width, height;
    Rectangle(int width, int height) : width(width), height(height) {}
    int area() const override { return width * height; }
};

void containers() {
    std::map<std::string, int> words;
    std::istringstream text("the quick brown fox jumps over the lazy dog the end");
    for (std::string word; text >> word;) words[word]++;
    wait();
    std::vector<std::pair<int, std::string>> order;
    for (auto &[word, count] : words) order.emplace_back(-count, word);
    std::sort(order.begin(), order.end());
    for (auto &[count, word] : order) result << word << '=' << -count << ' ';
}

void strings() {
    std::string text;
    for (int i = 0; i < 100; i++) {
        text += std::to_string(i * i) + ",";
        if (i % 40 == 0) wait();
    }
    result << text.size() << ' ' << text.substr(0, 11) << ' ' << std::count(text.begin(), text.end(), ',');
}

void virtuals() {
    std::vector<std::unique_ptr<Shape>> shapes;
    shapes.push_back(std::make_unique<Square>(7));
    shapes.push_back(std::make_unique<Rectangle>(3, 4));
    shapes.push_back(std::make_unique<Square>(2));
    int total = 0;
    for (auto &shape : shapes) {
        total += shape->area();
        result << shape->name() << ' ';
    }
    result << total;
}

/// Suspends at the bottom of the recursion, with live objects on every level.
__attribute__((noinline)) int descend(int depth, std::vector<int> &trail) {
    volatile int mine = depth * 3;
    if (depth == 0) {
        wait();
        return 0;
    }
    trail.push_back(depth);
    int below = descend(depth - 1, trail);
    return below + mine - 2 * depth;
}

void recursion() {
    std::vector<int> trail;
    result << descend(400, trail) << ' ' << trail.size();
}

__attribute__((noinline)) int big_frame(int depth) {
    volatile unsigned char frame[20000];
    for (size_t i = 0; i < sizeof frame; i++) frame[i] = static_cast<unsigned char>(i + static_cast<size_t>(depth));
    if (depth == 0) wait();
    int below = depth == 0 ? 0 : big_frame(depth - 1);
    int wrong = 0;
    for (size_t i = 0; i < sizeof frame; i++) {
        wrong += frame[i] != static_cast<unsigned char>(i + static_cast<size_t>(depth));
    }
    return below + wrong;
}

void big_frames() { result << big_frame(20) << " bytes wrong"; }

void pointers() {
    std::vector<std::function<int(int)>> steps;
    int offset = 5;
    steps.push_back([offset](int n) { return n + offset; });
    steps.push_back([](int n) {
        wait();
        return n * 2;
    });
    steps.push_back([&offset](int n) { return n - ++offset; });
    result << std::accumulate(steps.begin(), steps.end(), 10, [](int n, auto &step) { return step(n); });
    result << ' ' << offset;
}

thread_local int own = 3;

void locals() {
    own += 4;
    wait();
    result << own;
}

void statics() {
    read_registry();
    result.str("");
    Finished callee = await(chain(read_registry, ""));
    result << "here " << registry.names.size() << " there " << callee.value << ": " << callee.output;
}

void floats() {
    double sum = 0;
    float small = 0.1F;
    for (int i = 1; i <= 1000; i++) {
        sum += 1.0 / i;
        if (i % 400 == 0) wait();
        small *= 1.001F;
    }
    result.precision(12);
    result << sum << ' ' << small;
}

void streams() {
    std::cout << "first line" << std::endl << "number " << 42 << ' ' << std::hex << 255 << '\n';
    std::cerr << "to the other stream\n";
    std::string word;
    std::istringstream lines("alpha beta");
    lines >> word;
    std::cout << word << " without end";
    result << "printed";
}

void read_cin() {
    // Standard input is the call's input: the name of this part, and the text after it.
    std::string word;
    while (std::cin >> word) result << '[' << word << ']';
}

}  // namespace

int main() {
    const std::string all = input();
    const std::string part = all.substr(0, all.find(' '));
    const std::map<std::string, void (*)()> parts = {
        {"containers", containers}, {"strings", strings},       {"virtuals", virtuals},
        {"recursion", recursion},   {"big_frames", big_frames}, {"pointers", pointers},
        {"locals", locals},         {"statics", statics},       {"floats", floats},
        {"streams", streams},       {"cin", read_cin},
    };
    auto found = parts.find(part);
    if (found == parts.end()) return 99;
    found->second();
    faasm_output_text(result.str().c_str());
    return static_cast<int>(part.size());
}
