// The Spec as a monitor gets it: bytes in a sealed memfd.
#pragma once

#include <sys/mman.h>
#include <sys/stat.h>

#include "base/codec.h"
#include "base/result.h"
#include "base/sys.h"

namespace caisson {

/// Decodes what lies in the memfd; the bytes come from the library, but a truncated or foreign one is refused all the same.
template <class T>
Status read_spec(int fd, T& spec) {
  struct stat info{};
  if (::fstat(fd, &info) < 0) return sys::failed("fstat", "spec");
  const size_t size = static_cast<size_t>(info.st_size);
  void* bytes = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (bytes == MAP_FAILED) return sys::failed("mmap", "spec");
  const bool whole = decode(bytes, size, spec);
  ::munmap(bytes, size);
  if (!whole) return sys::refused("ERR_PROTOCOL", "the monitor and the library are of different versions");
  return {};
}

}  // namespace caisson
