#include <cerrno>

#include "base/sys.h"
#include "kernel/lsm.h"

namespace caisson::lsm::selinux {

Status label_exec(int proc, const std::string& context) {
  auto held = write_attribute(proc, "exec", context);
  if (!held && (held.error().number == EINVAL || held.error().call == "openat")) {
    return sys::refused("ERR_FEATURE_MISSING", "this kernel does not run SELinux, or its policy does not know \"" + context + "\"");
  }
  if (!held) return std::move(held).error();
  // The kernel may write the categories in another order; an attribute that is not SELinux's holds nothing or something else's words.
  if (held->find(':') != std::string::npos) return {};
  return sys::failed_with(EIO, "read", "self/attr/exec", "\"" + *held + "\" where \"" + context + "\" was written");
}

}  // namespace caisson::lsm::selinux
