//! Exits in a constructor, before `main`.
#include <cstdlib>

#include "faasm_host.h"

struct Early {
    Early() {
        faasm_output_text("from the constructor");
        std::_Exit(9);
    }
};
static Early early;

int main() {
    faasm_output_text("from main");
    return 1;
}
