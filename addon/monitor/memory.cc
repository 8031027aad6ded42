#include "monitor/memory.h"

#include <elf.h>
#include <link.h>
#include <malloc.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace caisson::memory {

void settle() {
  const auto* headers = reinterpret_cast<const ElfW(Phdr)*>(::getauxval(AT_PHDR));
  const unsigned long count = ::getauxval(AT_PHNUM);
  const auto page = static_cast<uintptr_t>(::getpagesize());
  for (unsigned long i = 0; headers != nullptr && i < count; i++) {
    if (headers[i].p_type != PT_LOAD || (headers[i].p_flags & PF_W) != 0) continue;
    const uintptr_t begin = headers[i].p_vaddr & ~(page - 1);
    const size_t size = headers[i].p_vaddr + headers[i].p_memsz - begin;
    // Without MADV_RANDOM one fault maps sixteen pages.
    ::madvise(reinterpret_cast<void*>(begin), size, MADV_RANDOM);
    ::madvise(reinterpret_cast<void*>(begin), size, MADV_DONTNEED);
  }
  ::malloc_trim(0);
}

}  // namespace caisson::memory
