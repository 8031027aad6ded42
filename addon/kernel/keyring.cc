#include "kernel/keyring.h"

#include <linux/keyctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/sys.h"

namespace caisson::keyring {

Status renew() {
  // ENOSYS: a kernel without keys has none to leak.
  if (::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr) < 0 && errno != ENOSYS) return sys::failed("keyctl");
  return {};
}

}  // namespace caisson::keyring
