// What libstdc++ calls when a container class or operator new fails. The monitor throws nothing, and an allocation of a few bytes that
// fails leaves nothing to do but end. Defined here, these keep the exception machinery, its demangler, and with them stdio's and iconv's
// tables out of the static program: every container keeps one of it in memory.
#include <cstdlib>
#include <new>

namespace std {

[[noreturn]] void __throw_length_error(const char*) { abort(); }
[[noreturn]] void __throw_logic_error(const char*) { abort(); }
[[noreturn]] void __throw_out_of_range(const char*) { abort(); }
[[noreturn]] void __throw_out_of_range_fmt(const char*, ...) { abort(); }
[[noreturn]] void __throw_bad_alloc() { abort(); }
[[noreturn]] void __throw_bad_array_new_length() { abort(); }
[[noreturn]] void __throw_bad_function_call() { abort(); }

}  // namespace std

void* operator new(size_t size) {
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  return memory;
}
void* operator new[](size_t size) { return operator new(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

// A pure virtual call, which nothing here can make.
extern "C" [[noreturn]] void __cxa_pure_virtual() { std::abort(); }
