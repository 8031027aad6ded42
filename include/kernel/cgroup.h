// A container's cgroups: made, limited, joined, frozen, killed, asked and removed, on v1, hybrid and v2 hosts alike.
//
// Theory of operation. A CgroupSpec names the hierarchies of the host (one on v2, about ten on v1, both on hybrid hosts) and the
// container's directory in each. `create` makes the directories, writes the limits, and opens what the newborn process needs to join,
// with the host's rights; the newborn joins by itself, because that is cheap: moving a process from outside (cgroup.procs) takes
// cgroup_threadgroup_rwsem for writing and waits for an RCU grace period, ~10 ms on an idle machine. CLONE_INTO_CGROUP (v2, Linux 5.7)
// and a single-threaded process that writes "0" to its v1 `tasks` do not. The cgroup namespace is unshared after that.
//
// Where a v2 hierarchy exists, even an empty one beside v1, it kills and freezes: it does both at once and tells when it is done.
// Paths of cgroupfs need no protection against links (it has none), and no file here is ever created.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/result.h"
#include "kernel/cgroup_driver.h"
#include "spec.h"

namespace caisson::cgroup {

/// Makes all directories of the Spec, enables v2 controllers down the path, writes the control files in order, attaches the device
/// program and gives the delegated directories to their owner. What was made is removed again when a later part fails. A container's
/// directory that exists already is EEXIST: somebody's, perhaps a leftover for recover(). A file that asks for a controller which the
/// host can't enable is ERR_NO_CGROUP.
Result<Places> create(const CgroupSpec& spec);

/// Gives the delegated directories to `uid` and leaves their group: what `create` does with the owner's ids when the caller is root. For a
/// process that is root over the caller's id and the container's (idmap::run_over).
Status give(const CgroupSpec& spec, uid_t uid);

/// Writes the Spec's control files, for cgroups that were made without them.
Status limit(const CgroupSpec& spec);

/// The same handles for cgroups that exist. With `init` (seen in the caller's pid namespace) the v2 home is the cgroup that init itself
/// lives in now: a systemd inside has moved on, and processes may not live where it has enabled controllers (cgroups(7)).
Result<Places> open(const CgroupSpec& spec, pid_t init = 0);

/// Replaces the device program of the v2 hierarchy by one for the Spec's rules, without a moment between the two. No rules: nothing.
Status replace_devices(const CgroupSpec& spec);

/// A directory descriptor for CLONE_INTO_CGROUP, or -1 without a v2 hierarchy.
int unified(const Places& places);

/// Moves the caller, which must have one thread, into every place; `unified_joined` says that CLONE_INTO_CGROUP did the v2 one. The
/// kernel compares the opener's user id with the caller's on v1: call it before ids are changed.
Status enter(const Places& places, bool unified_joined);

/// Moves the caller into the monitor's own cgroups, so that a service manager which stops the program that started the container
/// doesn't stop the monitor too. Costs a grace period on v2: not for the way to exec.
Status enter_monitor(const CgroupSpec& spec);
/// Moves the caller out of them, to where they stand (base) or, where that can't hold processes, to `origin`, the directory of v2 that
/// it came from (see own_unified); for a monitor about to end.
Status leave_monitor(const CgroupSpec& spec, const std::string& origin);
/// The caller's own v2 cgroup as an absolute directory below the Spec's mount; empty when it has none.
std::string own_unified(const CgroupSpec& spec);

/// Kills every process below the places, frozen ones too. On v1 a race with fork(2) is closed by freezing first; processes in
/// uninterruptible sleep die later. An empty place is no failure.
Status kill(const Places& places);

/// Begins to freeze; `frozen` says when all is. Fails with ERR_NO_CGROUP when no hierarchy can.
Status freeze(const Places& places);
Status thaw(const Places& places);
Result<bool> frozen(const Places& places);

/// cgroup.events of v2: `frozen` and `populated` may have changed. v1 has no notification; ask `frozen` from time to time.
Result<Watch> watch_events(const Places& places);
/// The out-of-memory killer was here; `usage().oom_kills` counts its victims.
Result<Watch> watch_oom(const Places& places);
/// Processes have waited `stall_us` for the resource ("cpu", "memory", "io") within `window_us`; a window is a multiple of 2 s for a
/// caller without CAP_SYS_RESOURCE (PSI, Documentation/accounting/psi.rst). v2 only.
Result<Watch> watch_pressure(const Places& places, const char* resource, uint64_t stall_us, uint64_t window_us);
/// The share of time, in hundredths of a percent over 10 s, for which some process waited for the resource.
Result<uint32_t> pressure(const Places& places, const char* resource);

/// Whether a process lives in the container's v2 place or below; on v1 in any.
Result<bool> populated(const Places& places);

Usage usage(const Places& places);

/// Removes the directories of the Spec, the deepest first and whatever was made below them; a busy one is tried again for
/// `patience_ms`. Directories between base and path go when they are empty. What is gone already is no failure.
Status remove(const CgroupSpec& spec, int64_t patience_ms = 2000);

}  // namespace caisson::cgroup
