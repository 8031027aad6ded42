// Security modules: the label that a program enters at exec (AppArmor, SELinux), and a Landlock domain.
//
// A label is written to the process's own files below /proc/self/attr. Which procfs that is must not be the container's choice: an image
// or a process inside may have mounted anything over /proc (CVE-2019-16884, CVE-2025-52881, CVE-2015-1334). So the host's own /proc is
// opened before any namespace of the container is entered, proven to be one, and every attribute is reached through that descriptor and
// proven again. What was written is read back. A label that cannot be applied is an Error: nothing ever runs with less than was asked for.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "spec.h"

namespace caisson::lsm {

/// The caller's /proc as an O_PATH descriptor of a procfs's root.
Result<Fd> open_proc();
/// Writes one of the caller's own attributes below `proc`/self/attr and returns what the kernel then holds.
Result<std::string> write_attribute(int proc, const std::string& name, const std::string& value);

/// The SELinux context of the keyrings that the caller makes from now on.
Status label_keyring(int proc, const std::string& context);

namespace apparmor {
/// The profile that the caller enters now, and with it what it executes.
Status label_now(int proc, const std::string& profile);
/// Removes a loaded profile and a policy namespace, each empty or gone: nothing to do.
Status remove(const std::string& profile, const std::string& policy_namespace);
}  // namespace apparmor

namespace selinux {
/// The context that the next execve(2) enters.
Status label_exec(int proc, const std::string& context);
}  // namespace selinux

namespace landlock {
/// The ABI of this kernel, landlock(7); 0: it has none, or it is switched off.
int abi();
/// Puts the caller into a domain, for good. Paths are opened as the caller sees them; one that does not exist grants nothing. Rights
/// that the ABI does not know are left out; without any ABI it is an Error only for a domain that is `required`. Needs no_new_privs or
/// CAP_SYS_ADMIN.
Status restrict(const LandlockSpec& spec);
}  // namespace landlock

}  // namespace caisson::lsm
