// Mounts, by the mount API of Linux 5.2 (5.12 for attributes): a mount is made detached, given its attributes, and only then attached to
// a target that was resolved below the container's root. Old mount(2) strings are never built.
#pragma once

#include "base/fd.h"
#include "base/result.h"
#include "spec.h"

namespace caisson::mount {

/// A mount namespace of the caller's own, in which the host's mounts still arrive.
Status leave_host();
/// Makes the mount namespace's copies of the host's mounts slaves: host mounts still arrive, nothing of ours leaves (or private).
Status isolate(bool receive);

/// A detached copy of the mounts at `path` of the caller's own tree.
Result<Fd> clone(const std::string& path, bool recursive);
/// The same of a directory as find_directory() opens it, with all that is mounted below it.
Result<Fd> open_directory(const std::string& path);
/// A directory, O_PATH. A symlink on the way is followed where it is the caller's or root's, and so is its directory, where nobody else may
/// exchange it: through another's link a container would stand on what that one chose (CVE-2026-48749). ELOOP otherwise.
Result<Fd> find_directory(const std::string& path);
/// The same of a place that was opened.
Result<Fd> clone_at(int place, bool recursive);
/// A new detached file system of that type, with its options one by one. `source` may be empty.
Result<Fd> create(const std::string& type, const std::string& source, const std::vector<Option>& options, uint64_t attributes);

/// Whether it shows a path of the host.
bool is_bind(const MountSpec& spec);
/// Opens the bind source of a MountSpec that names a host path, as a detached mount.
Result<Fd> open_source(const MountSpec& spec);
/// MOUNT_ATTR_IDMAP on a detached mount, Linux 5.12.
Status shift(int mount, int user_namespace, bool recursive);

/// A detached mount, its attributes set, and locked: nobody in that user namespace can take a restriction off again. Without it the root
/// of a container could remount what it was shown read-only. The kernel locks what it copies into a mount namespace of another user
/// namespace (mount_namespaces(7)), so the mount is attached and copied by a process in between. Linux 5.2; needs CAP_SYS_ADMIN outside.
Result<Fd> lock(const MountSpec& spec, Fd source, int user_namespace);
/// Whether there is anything to lock: read-only, no programs, no devices, no set-user-id bits.
bool restricts(const MountSpec& spec);

/// Makes one MountSpec below `root`: `source` is its detached mount when the host opened it, otherwise -1.
Status attach(int root, const MountSpec& spec, Fd source);

/// Takes the topmost mount at `path` below `root` away. EINVAL: nothing is mounted there.
Status detach(int root, const std::string& path);
/// Removes the empty regular file `path` below `root`; another one stays and is an Error. A missing one is no Error.
Status remove_file(int root, const std::string& path);

/// Binds `path` below `root` read-only onto itself; a path that does not exist is none to protect.
Status protect(int root, const std::string& path);
/// Hides `path`: a file behind /dev/null (opened by us, CVE-2025-31133), a directory behind `empty`, a detached read-only tmpfs.
Status mask(int root, const std::string& path, int null, int empty);

}  // namespace caisson::mount
