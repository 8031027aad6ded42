#include "kernel/seccomp.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/sys.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

namespace caisson::seccomp {

static long set_filter(const sock_fprog& program, unsigned long flags) {
  return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

Result<Fd> load(const Bytes& bytes, bool listener) {
  if (bytes.empty() || bytes.size() % sizeof(sock_filter) != 0 || bytes.size() / sizeof(sock_filter) > BPF_MAXINSNS) {
    return sys::failed_with(EINVAL, "seccomp", {}, "a program of " + std::to_string(bytes.size()) + " bytes");
  }
  // The kernel copies the instructions and promises not to write; sock_fprog merely lacks the const. Copied for alignment too.
  std::vector<sock_filter> code(bytes.size() / sizeof(sock_filter));
  std::memcpy(code.data(), bytes.data(), bytes.size());
  const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  if (!listener) {
    if (set_filter(program, 0) != 0) return sys::failed("seccomp", {}, "SECCOMP_SET_MODE_FILTER");
    return Fd();
  }
  long fd = set_filter(program, SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
  if (fd < 0 && errno == EINVAL) fd = set_filter(program, SECCOMP_FILTER_FLAG_NEW_LISTENER);
  if (fd < 0) return sys::failed("seccomp", {}, "SECCOMP_FILTER_FLAG_NEW_LISTENER");
  return Fd(static_cast<int>(fd));  // the kernel opens it O_CLOEXEC
}

}  // namespace caisson::seccomp
