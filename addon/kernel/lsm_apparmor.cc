#include <unistd.h>

#include <cerrno>

#include "base/sys.h"
#include "kernel/lsm.h"

namespace caisson::lsm::apparmor {

/// ENOENT: no such file before Linux 5.8, where the one without a directory is AppArmor's when AppArmor is what runs. EINVAL: nobody's.
static Result<std::string> write(int proc, const char* name, const std::string& command) {
  auto held = write_attribute(proc, std::string("apparmor/") + name, command);
  if (!held && held.error().number == ENOENT && held.error().call == "openat") held = write_attribute(proc, name, command);
  if (held || (held.error().number != EINVAL && held.error().call != "openat")) return held;
  return sys::refused("ERR_FEATURE_MISSING", "this kernel does not run AppArmor (" + command + ")");
}

/// "name (enforce)". Who has entered a policy namespace, as the last of a stack, sees only what is within it: there the write's own
/// success is the proof.
static Status prove(const std::string& held, const std::string& profile) {
  if (profile.find("//&:") != std::string::npos) return {};
  const std::string& wanted = profile;
  const size_t size = wanted.size();
  const bool same = held.compare(0, size, wanted) == 0;
  const std::string rest = same ? held.substr(size) : std::string{};
  if (same && (rest.empty() || rest.rfind(" (", 0) == 0)) return {};
  return sys::failed_with(EIO, "read", "self/attr/apparmor", "\"" + held + "\" where \"" + profile + "\" was written");
}

Status label_now(int proc, const std::string& profile) {
  return prove(TRY(write(proc, "current", "changeprofile " + profile)), profile);
}

Status remove(const std::string& profile, const std::string& policy_namespace) {
  const std::string policy = "/sys/kernel/security/apparmor/";
  if (!policy_namespace.empty()) {
    const std::string directory = policy + "policy/namespaces/" + policy_namespace;
    if (::rmdir(directory.c_str()) < 0 && errno != ENOENT) return sys::failed("rmdir", directory);
  }
  if (profile.empty()) return {};
  Status removed = sys::write_file(policy + ".remove", profile);
  return removed || removed.error().number == ENOENT ? Status{} : std::move(removed);
}

}  // namespace caisson::lsm::apparmor
