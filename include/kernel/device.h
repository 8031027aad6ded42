// The container's /dev: a small tmpfs with a fixed list of nodes, its own devpts, and nothing else of the host's.
#pragma once

#include "base/fd.h"
#include "base/result.h"
#include "spec.h"

namespace caisson::device {

/// Mounts the tmpfs and fills it: nodes, links (fd, stdin, stdout, stderr, ptmx), pts, shm and mqueue. Without DevSpec::tmpfs only
/// pts is mounted. In a user namespace (`bound`) nodes are bound from the host, as mknod(2) is refused there.
Status populate(int root, const DevSpec& spec, bool bound);

/// A pty of the container's own devpts: the monitor's end, and the container's.
struct Pty {
  Fd outer;
  Fd inner;
  unsigned number = 0;
};
Result<Pty> open_pty(int root);
/// Binds a tty of the host on a node below /dev.
Status bind_tty(int root, const std::string& path, const std::string& name);
/// A symbolic link below /dev in place of what has that name.
Status link(int root, const std::string& to, const std::string& name);
/// Binds a pty's inner end on a node below /dev: "console", "tty1".
Status bind_pty(int root, const Pty& pty, const std::string& name);

}  // namespace caisson::device
