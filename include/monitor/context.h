// What exists so far at run time: pids, descriptors, places. Each side of the schedule has its own copy from the clone on.
#pragma once

#include <sys/types.h>

#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "kernel/cgroup.h"
#include "monitor/log.h"
#include "protocol.h"
#include "spec.h"

namespace caisson {

/// On which side a row of the schedule runs: outside, or in the process that becomes the container.
enum class Side : uint8_t { host, guest };

/// Where the rest of a Spec comes from, and where it goes.
struct Rest {
  int channel = -1;  ///< the launcher's
  StartSpec* spec = nullptr;
};

class Peers;

struct Context {
  explicit Context(const StartSpec& told) : spec(told) {}

  const StartSpec& spec;
  Fd told;                       ///< the sealed memfd that holds the Spec
  Rest rest;
  Fd told_guest;                 ///< host: the same memfd once more, on its way to the guest
  Peers* peers = nullptr;        ///< host: whom the monitor talks to
  std::vector<Fd> slots;         ///< the descriptors that came with the Spec
  int target = -1;               ///< attaching: pidfd of the container's init
  bool remount = false;          ///< attaching: /proc and /sys are mounted anew, where nobody else sees them
  bool own_cgroup = false;       ///< attaching: the Spec's cgroups are the program's own
  bool privileged = false;       ///< the monitor may copy the host's mounts (CAP_SYS_ADMIN in the initial user namespace)
  cgroup::Places places;
  Fd run_dir;                    ///< O_PATH; closed when the Spec has none
  Fd proc;                       ///< the host's own /proc, for labels; open only when there are any
  std::vector<Fd> namespaces;    ///< host: the container's, by NamespaceKind, when a stop hook is to see them
  bool rebooting = false;        ///< host: the undoing comes before another start
  Log log;
  Fd proxy;                      ///< host: the connection to what answers system calls, until the container runs

  Side side = Side::host;
  Fd line;                       ///< the socket to the other side; closed by exec, which is how exec is announced
  pid_t init = 0;                ///< host: init's pid
  Fd pidfd;                      ///< host: init's
  Fd netns;                      ///< host: the container's network namespace, kept so that interfaces can be taken back from it
  bool unified_joined = false;   ///< init was born in its v2 cgroup
  Fd root;                       ///< the container's root mount
  std::vector<Fd> sources;       ///< detached bind mounts, by index of StartSpec::mounts; closed where there is none
  std::vector<Fd> found_root;    ///< unprivileged: the directories of the root, O_PATH, as rootfs::find gives them
  std::vector<Fd> found;         ///< unprivileged: sources of bind mounts, O_PATH, by index of StartSpec::mounts
  std::vector<Fd> covered;       ///< detached copies of /proc and /sys, their covers locked; closed where there is none
  pid_t copier = 0;              ///< host: the child that has made them, while it is still to be waited for
  Fd console;                    ///< the monitor's end of the console's pty
  Fd console_inner;              ///< the container's end, or the host's tty
  std::vector<Fd> ttys;          ///< the monitor's ends of tty1 … ttyN
  Fd listener;                   ///< seccomp notifications
  Fd monitor;                    ///< attaching, host: a connection to the container's monitor
  Fd ending;                     ///< of a minimal init: where it writes its child's wait status; the host's end reads

  /// The descriptor behind a Slot, or -1.
  int slot(Slot index) const {
    return index >= 0 && static_cast<size_t>(index) < slots.size() ? slots[static_cast<size_t>(index)].get() : -1;
  }
};

}  // namespace caisson
