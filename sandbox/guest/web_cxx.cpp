// The symbols of the C++ runtime that ada needs. libc++ itself is not linked: building it takes a minute, and its abort path
// needs stdio. There are no exceptions: where one would be thrown the guest traps, and a trap ends the isolate.
#include <cstdint>
#include <cstdlib>
#include <new>
#include <string>

extern "C" {
#include "web.h"
}

// ada cannot report that it is out of memory. So one block for a whole call is allocated before it, which the engine counts
// like any other; ada's allocations are cut from it front to back, and it is freed as a whole.
static std::uint8_t *arena, *arena_next, *arena_end;

extern "C" bool web_arena_open(JSContext *ctx, size_t size) {
    arena = arena_next = static_cast<std::uint8_t *>(js_malloc(ctx, size));
    arena_end = arena ? arena + size : nullptr;
    return arena;
}

extern "C" void web_arena_close(JSContext *ctx) {
    js_free(ctx, arena);
    arena = arena_next = arena_end = nullptr;
}

static void *allocate(std::size_t size) noexcept {
    std::size_t rounded = (size + 15) & ~std::size_t(15);
    if (rounded >= size && rounded <= std::size_t(arena_end - arena_next)) {
        void *memory = arena_next;
        arena_next += rounded;
        return memory;
    }
    return std::malloc(size ? size : 1); // while initialising, or for a rare input that needs more than the block
}

static void *allocate_or_trap(std::size_t size) {
    void *memory = allocate(size);
    if (!memory)
        __builtin_trap();
    return memory;
}

static void release(void *memory) noexcept {
    if (memory < static_cast<void *>(arena) || memory >= static_cast<void *>(arena_end))
        std::free(memory);
}

void *operator new(std::size_t size) { return allocate_or_trap(size); }
void *operator new[](std::size_t size) { return allocate_or_trap(size); }
void *operator new[](std::size_t size, const std::nothrow_t &) noexcept { return allocate(size); }
void operator delete(void *memory) noexcept { release(memory); }
void operator delete(void *memory, std::size_t) noexcept { release(memory); }
void operator delete[](void *memory) noexcept { release(memory); }

namespace std {
const nothrow_t nothrow{};
}

extern "C" void __cxa_pure_virtual() { __builtin_trap(); }

#ifdef _LIBCPP_VERSION
template class std::basic_string<char>;

_LIBCPP_BEGIN_NAMESPACE_STD
string to_string(unsigned value) {
    char digits[10], *end = digits + sizeof digits, *first = end;
    do {
        *--first = static_cast<char>('0' + value % 10);
        value /= 10;
    } while (value);
    return string(first, end);
}

void __libcpp_verbose_abort(char const *, ...) noexcept { __builtin_trap(); }
_LIBCPP_END_NAMESPACE_STD
#endif
