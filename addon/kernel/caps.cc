#include "kernel/caps.h"

#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/sys.h"

namespace caisson::caps {

struct Sets {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
};

bool effective(unsigned capability) {
  Sets sets;
  if (::syscall(SYS_capget, &sets.header, sets.data) < 0) return false;
  return (sets.data[capability / 32].effective >> (capability % 32) & 1) != 0;
}

void raise_permitted() {
  Sets sets;
  if (::syscall(SYS_capget, &sets.header, sets.data) < 0) return;
  for (auto& half : sets.data) half.effective = half.permitted;
  ::syscall(SYS_capset, &sets.header, sets.data);
}

Status keep_over_setuid() {
  if (::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0) return sys::failed("prctl", {}, "PR_SET_KEEPCAPS");
  return {};
}

Status bound(uint64_t bounding) {
  for (unsigned capability = 0; capability < 64; capability++) {
    if ((bounding >> capability & 1) != 0) continue;
    if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
    if (errno == EINVAL) return {};  // past the kernel's last capability
    // Who may drop none has nothing to drop of what is absent.
    if (::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 0) continue;
    return sys::failed("prctl", {}, "PR_CAPBSET_DROP " + std::to_string(capability));
  }
  return {};
}

static Status raise_ambient(uint64_t ambient) {
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (unsigned capability = 0; capability < 64; capability++) {
    if ((ambient >> capability & 1) == 0) continue;
    if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0) {
      return sys::failed("prctl", {}, "PR_CAP_AMBIENT_RAISE " + std::to_string(capability));
    }
  }
  return {};
}

Status set(const CapabilitySpec& spec) {
  if (spec.securebits != 0 && ::prctl(PR_SET_SECUREBITS, spec.securebits, 0, 0, 0) < 0) {
    return sys::failed("prctl", {}, "PR_SET_SECUREBITS");
  }
  Sets held;
  if (::syscall(SYS_capget, &held.header, held.data) < 0) return sys::failed("capget");
  Sets sets;
  for (unsigned half = 0; half < 2; half++) {
    const auto part = [half](uint64_t set) { return static_cast<uint32_t>(set >> (32 * half)); };
    sets.data[half].permitted = part(spec.permitted) & held.data[half].permitted;
    sets.data[half].effective = part(spec.effective) & sets.data[half].permitted;
    sets.data[half].inheritable = part(spec.ambient);
  }
  if (::syscall(SYS_capset, &sets.header, sets.data) < 0) return sys::failed("capset");
  return raise_ambient(spec.ambient);
}

}  // namespace caisson::caps
