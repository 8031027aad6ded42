// Creating, joining and configuring namespaces, namespaces(7). User namespaces are in idmap.h.
#pragma once

#include "base/result.h"
#include "spec.h"

namespace caisson::ns {

/// The clone flags of those kinds.
uint64_t flags(const std::vector<NamespaceKind>& kinds);
bool has(const std::vector<NamespaceKind>& kinds, NamespaceKind kind);
/// "net" → "/proc/PID/ns/net"
const char* name(NamespaceKind kind);

/// setns(2) into each of them, `descriptor` telling which; a user namespace comes when what needs the caller's own rights has been joined.
struct Joined {
  NamespaceKind kind;
  int descriptor;
};
Status join(const std::vector<Joined>& wanted);
/// unshare(CLONE_NEWCGROUP): after the process has joined its cgroups, so that they become the root it sees.
Status unshare_cgroup();
/// A time namespace with those offsets, entered at once: the process must be single-threaded (time_namespaces(7), Linux 5.6).
Status enter_time(const std::vector<TimeOffset>& offsets);
Status set_hostname(const std::string& name);
/// Brings `lo` up in the caller's network namespace.
Status raise_loopback();

}  // namespace caisson::ns
