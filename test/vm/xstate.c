/*
 * Lets user-mode Linux run where the processor has more register state than its kernel knows (AMX: 11,008 bytes; it keeps 2,696).
 *
 * It keeps the registers of its processes by PTRACE_GETREGSET and PTRACE_SETREGSET of NT_X86_XSTATE, and the host takes only a whole
 * XSAVE area (ptrace(2)); with less, EFAULT, the first process dies of it. Preloaded, this ptrace() hands the host a whole area: the
 * part that the kernel kept, with nothing beyond it, and a header that says so.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

enum { kLargest = 16384, kHeader = 512 };

/* The state components that lie wholly within so many bytes: their offsets and sizes are leaf 13 of CPUID. */
static uint64_t components_within(size_t bytes) {
  uint64_t within = 3; /* x87 and SSE, the first 512 bytes */
  for (unsigned i = 2; i < 63; i++) {
    unsigned size = 0, offset = 0, c = 0, d = 0;
    __cpuid_count(13, i, size, offset, c, d);
    if (size != 0 && offset + size <= bytes) within |= 1ULL << i;
  }
  return within;
}

static size_t whole_area(void) {
  unsigned a = 0, enabled = 0, c = 0, d = 0;
  __cpuid_count(13, 0, a, enabled, c, d);
  return enabled;
}

typedef long (*Ptrace)(int, pid_t, void*, void*);

static long set_registers(Ptrace next, pid_t pid, void* kind, const struct iovec* kept) {
  static _Alignas(64) char area[kLargest];
  static uint64_t within;
  static size_t whole;
  if (whole == 0) whole = whole_area(), within = components_within(kept->iov_len);
  if (kept->iov_len >= whole || whole > kLargest) return next(PTRACE_SETREGSET, pid, kind, (void*)kept);
  memcpy(area, kept->iov_base, kept->iov_len);
  uint64_t present;
  memcpy(&present, area + kHeader, sizeof present);
  present &= within;
  memcpy(area + kHeader, &present, sizeof present);
  struct iovec full = {area, whole};
  return next(PTRACE_SETREGSET, pid, kind, &full);
}

long ptrace(enum __ptrace_request request, ...) {
  static Ptrace next;
  if (next == NULL) next = (Ptrace)dlsym(RTLD_NEXT, "ptrace");
  va_list rest;
  va_start(rest, request);
  const pid_t pid = va_arg(rest, pid_t);
  void* const address = va_arg(rest, void*);
  void* const data = va_arg(rest, void*);
  va_end(rest);
  if (request == PTRACE_SETREGSET && address == (void*)NT_X86_XSTATE) return set_registers(next, pid, address, data);
  return next(request, pid, address, data);
}
