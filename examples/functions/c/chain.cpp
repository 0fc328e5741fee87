// Fan-out: chains three functions of this binary in parallel, one of which chains another, and
// combines their outputs and return values.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "faasm_host.h"

namespace {

struct Finished {
    int32_t returned;
    std::string output;
};

std::string input() {
    size_t len = 0;
    char *data = faasm_input(&len);
    std::string text(data, len);
    std::free(data);
    return text;
}

void set_output(std::string_view output) {
    __faasm_write_output(reinterpret_cast<const uint8_t *>(output.data()),
                         static_cast<int32_t>(output.size()));
}

int32_t chain(faasm_entry entry, std::string_view input) {
    return __faasm_chain_ptr(entry, reinterpret_cast<const uint8_t *>(input.data()),
                             static_cast<int32_t>(input.size()));
}

Finished await(int32_t call) {
    char *data = nullptr;
    int32_t len = 0;
    int32_t returned = __faasm_await_call_output(call, &data, &len);
    Finished finished{returned, data == nullptr ? "" : std::string(data, static_cast<size_t>(len))};
    std::free(data);
    return finished;
}

// ASCII only, so that all languages and locales give the same counts.
bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_letter(char c) { return is_lower(c) || (c >= 'A' && c <= 'Z'); }

int32_t number_of_words(std::string_view text) {
    int32_t words = 0;
    bool in_word = false;
    for (char c : text) {
        if (!is_space(c) && !in_word) words++;
        in_word = !is_space(c);
    }
    return words;
}

int32_t number_of_letters(std::string_view text) {
    return static_cast<int32_t>(std::count_if(text.begin(), text.end(), is_letter));
}

int32_t number_of_lower(std::string_view text) {
    return static_cast<int32_t>(std::count_if(text.begin(), text.end(), is_lower));
}

std::string uppercase(std::string text) {
    for (char &c : text) {
        if (is_lower(c)) c = static_cast<char>(c - 'a' + 'A');
    }
    return text;
}

// Reverses characters, not bytes: the bytes of one UTF-8 character keep their order.
std::string reverse(std::string_view text) {
    std::string reversed;
    size_t end = text.size();
    while (end > 0) {
        size_t start = end - 1;
        while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xc0) == 0x80) start--;
        reversed.append(text.substr(start, end - start));
        end = start;
    }
    return reversed;
}

int32_t count_words() {
    int32_t words = number_of_words(input());
    set_output(std::to_string(words));
    return words;
}

int32_t count_letters() {
    int32_t letters = number_of_letters(input());
    set_output(std::to_string(letters));
    return letters;
}

// Returns how many letters it changed.
int32_t shout() {
    std::string text = input();
    set_output(uppercase(text));
    return number_of_lower(text);
}

// Chains `shout` for the first half of its work, and returns that call's return value.
int32_t shout_backwards() {
    Finished shouted = await(chain(shout, input()));
    set_output(reverse(shouted.output));
    return shouted.returned;
}

std::string line(const char *what, const Finished &finished) {
    return std::string(what) + ": " + finished.output + " (returned " +
           std::to_string(finished.returned) + ")\n";
}

}  // namespace

int main() {
    const std::string text = input();

    // Chain all three before awaiting the first.
    int32_t words_call = chain(count_words, text);
    int32_t letters_call = chain(count_letters, text);
    int32_t backwards_call = chain(shout_backwards, text);
    Finished words = await(words_call);
    Finished letters = await(letters_call);
    Finished backwards = await(backwards_call);
    set_output(line("words", words) + line("letters", letters) + line("backwards", backwards));

    // One bit for each call whose result differs from this instance's own.
    auto is = [](const Finished &finished, int32_t returned, const std::string &output) {
        return finished.returned == returned && finished.output == output;
    };
    int32_t n_words = number_of_words(text);
    int32_t n_letters = number_of_letters(text);
    int wrong = 0;
    if (!is(words, n_words, std::to_string(n_words))) wrong |= 1;
    if (!is(letters, n_letters, std::to_string(n_letters))) wrong |= 2;
    if (!is(backwards, number_of_lower(text), reverse(uppercase(text)))) wrong |= 4;
    return wrong;
}
