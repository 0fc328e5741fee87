// The part of a C++ runtime that throws and catches with WebAssembly exceptions, for compilers whose C++ library was
// built without it: Debian's clang-19. Include it in one file only. Names and layouts are those that clang's code
// generation and the Itanium C++ ABI require; dynamic types are compared by libc++abi, which always contains the type
// descriptions.
//
// Omitted, because the program does not use them: foreign exceptions, exception specifications, std::exception_ptr.
#ifndef EXCEPTIONS_RUNTIME_H
#define EXCEPTIONS_RUNTIME_H

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <typeinfo>

namespace __cxxabiv1 {

// Declared as in libc++abi, so that its virtual functions have the same slots.
class __shim_type_info : public std::type_info {
  public:
    ~__shim_type_info() override;
    virtual void noop1() const;
    virtual void noop2() const;
    virtual bool can_catch(const __shim_type_info *thrown, void *&object) const = 0;
};

}  // namespace __cxxabiv1

namespace runtime {

using Type = __cxxabiv1::__shim_type_info;

/// Precedes each thrown object. Its address is the value of the exception's tag.
struct alignas(16) Header {
    const Type *type;
    // In WebAssembly, destructors return their argument.
    void *(*destructor)(void *);
    /// The object as the caught type; a base may start at another address.
    void *adjusted;
    /// The exception that was being handled when this one was caught.
    Header *next;
    /// Number of handlers that hold it; negative while one of them rethrows it.
    int handlers;

    void *object() { return this + 1; }
    static Header *of(void *object) { return static_cast<Header *>(object) - 1; }
};

inline Header *caught;

/// Exchanged between a landing pad and `_Unwind_CallPersonality`; the compiler accesses it by offset.
struct Context {
    uintptr_t index;
    const uint8_t *table;
    uintptr_t selector;
};

inline uintptr_t unsigned_leb(const uint8_t *&at) {
    uintptr_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint8_t byte = *at++;
        value |= static_cast<uintptr_t>(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) return value;
    }
}

inline intptr_t signed_leb(const uint8_t *&at) {
    uintptr_t value = 0;
    unsigned shift = 0;
    uint8_t byte = 0;
    do {
        byte = *at++;
        value |= static_cast<uintptr_t>(byte & 0x7f) << shift;
        shift += 7;
    } while ((byte & 0x80) != 0);
    if (shift < 32 && (byte & 0x40) != 0) value |= ~uintptr_t{0} << shift;
    return static_cast<intptr_t>(value);
}

/// Number of the handler that catches the exception; 0 if this landing pad has none.
inline uintptr_t select(const Context &context, Header *exception) {
    const uint8_t omitted = 0xff;
    const uint8_t *at = context.table;
    if (*at++ != omitted) std::abort();  // landing pads have no base address here
    // Types are at the end of the table, indexed backwards.
    const uint8_t *types = nullptr;
    if (*at++ != omitted) {
        uintptr_t offset = unsigned_leb(at);
        types = at + offset;
    }
    at++;  // the encoding of call sites, which is constant here
    uintptr_t length = unsigned_leb(at);
    const uint8_t *actions = at + length;
    for (uintptr_t site = 0; site < context.index; site++) {
        unsigned_leb(at);
        unsigned_leb(at);
    }
    unsigned_leb(at);
    uintptr_t action = unsigned_leb(at);
    if (action == 0) return 0;
    for (const uint8_t *record = actions + action - 1;;) {
        intptr_t number = signed_leb(record);
        if (number > 0) {
            const Type *type = nullptr;
            std::memcpy(&type, types - number * static_cast<intptr_t>(sizeof type), sizeof type);
            void *object = exception->object();
            // A null type stands for `catch (...)`.
            if (type == nullptr || type->can_catch(exception->type, object)) {
                exception->adjusted = object;
                return static_cast<uintptr_t>(number);
            }
        }
        const uint8_t *next = record;
        intptr_t offset = signed_leb(record);
        if (offset == 0) return 0;
        record = next + offset;
    }
}

inline void destroy(Header *exception) {
    if (exception->destructor != nullptr) exception->destructor(exception->object());
    std::free(exception);
}

}  // namespace runtime

// The tag of C++ exceptions, whose value is the address of a header. LLVM before 22 defines it in each object.
__asm__(
    ".globl __cpp_exception\n"
    ".weak __cpp_exception\n"
    ".tagtype __cpp_exception i32\n"
    "__cpp_exception:\n");

extern "C" {

// The name that the compiler uses for it.
runtime::Context __wasm_lpad_context;

int _Unwind_CallPersonality(void *exception) {
    __wasm_lpad_context.selector = runtime::select(__wasm_lpad_context, static_cast<runtime::Header *>(exception));
    return 0;
}

void *__cxa_allocate_exception(size_t size) throw() {
    void *memory = std::calloc(1, sizeof(runtime::Header) + size);
    if (memory == nullptr) std::terminate();
    return static_cast<runtime::Header *>(memory)->object();
}

void __cxa_free_exception(void *object) throw() { std::free(runtime::Header::of(object)); }

[[noreturn]] void __cxa_throw(void *object, std::type_info *type, void *(*destructor)(void *)) {
    runtime::Header *exception = runtime::Header::of(object);
    exception->type = static_cast<const runtime::Type *>(type);
    exception->destructor = destructor;
    __builtin_wasm_throw(0, exception);
}

void *__cxa_begin_catch(void *thrown) throw() {
    auto *exception = static_cast<runtime::Header *>(thrown);
    exception->handlers = (exception->handlers < 0 ? -exception->handlers : exception->handlers) + 1;
    if (exception != runtime::caught) {
        exception->next = runtime::caught;
        runtime::caught = exception;
    }
    // A pointer is caught by value.
    return exception->adjusted;
}

void *__cxa_get_exception_ptr(void *thrown) throw() { return static_cast<runtime::Header *>(thrown)->adjusted; }

void __cxa_end_catch() {
    runtime::Header *exception = runtime::caught;
    if (exception == nullptr) return;
    bool thrown_again = exception->handlers < 0;
    exception->handlers += thrown_again ? 1 : -1;
    if (exception->handlers != 0) return;
    runtime::caught = exception->next;
    if (!thrown_again) runtime::destroy(exception);
}

[[noreturn]] void __cxa_rethrow() {
    runtime::Header *exception = runtime::caught;
    if (exception == nullptr) std::terminate();
    exception->handlers = -exception->handlers;
    __builtin_wasm_throw(0, exception);
}

}  // extern "C"

#endif
