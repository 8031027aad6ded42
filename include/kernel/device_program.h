// Device rules as an eBPF program of the v2 hierarchy (BPF_PROG_TYPE_CGROUP_DEVICE, Linux 4.15; replaced in place since 5.6).
//
// A request (mknod, open for reading, open for writing, or several at once) is judged by the rules from the last to the first: for each
// kind of access the last rule that matches the device decides, as a list of devices.deny and devices.allow writes does on v1. What no
// rule matches is refused.
#pragma once

#include <linux/bpf.h>

#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "spec.h"

namespace caisson::device_program {

/// The program's instructions.
std::vector<bpf_insn> compile(const std::vector<DeviceRule>& rules);

/// Loads and attaches the program of `rules` to a cgroup directory (an O_RDONLY descriptor). A program that an earlier call attached is
/// exchanged for it in one step, so that no request falls between them (security.md H3). EPERM without CAP_BPF or CAP_SYS_ADMIN.
Status replace(int cgroup, const std::vector<DeviceRule>& rules);

}  // namespace caisson::device_program
