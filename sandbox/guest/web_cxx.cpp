// The few symbols of the C++ runtime that ada needs. libc++ itself is not linked: building it costs a minute, and its
// abort path would bring stdio along. There are no exceptions: what cannot go on traps, and a trap ends the isolate.
#include <cstdlib>
#include <new>
#include <string>

static void *allocate(std::size_t size) {
    void *memory = std::malloc(size ? size : 1);
    if (!memory)
        __builtin_trap(); // web_url.c makes sure of room first
    return memory;
}

void *operator new(std::size_t size) { return allocate(size); }
void *operator new[](std::size_t size) { return allocate(size); }
void *operator new[](std::size_t size, const std::nothrow_t &) noexcept { return std::malloc(size ? size : 1); }
void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void *memory) noexcept { std::free(memory); }

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
