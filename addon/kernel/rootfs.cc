#include "kernel/rootfs.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/sys.h"
#include "kernel/loop.h"
#include "kernel/mount.h"
#include "kernel/overlay.h"
#include "kernel/path.h"

namespace caisson::rootfs {

Result<std::vector<Fd>> find(const RootfsSpec& spec) {
  std::vector<Fd> found;
  if (spec.empty || !spec.image.empty()) return found;
  for (const std::string& lower : spec.lower) found.push_back(TRY(mount::find_directory(lower)));
  if (!spec.path.empty()) found.push_back(TRY(mount::find_directory(spec.path)));
  if (!spec.lower.empty() && !spec.work.empty()) found.push_back(TRY(mount::find_directory(spec.work)));
  return found;
}

/// An overlay of layers by their descriptors, whose names need no way to them.
static Result<Fd> open_found_overlay(const RootfsSpec& spec, const std::vector<Fd>& found) {
  RootfsSpec shown = spec;
  size_t next = 0;
  const auto name = [&](std::string& path) {
    if (!path.empty()) path = "/proc/self/fd/" + std::to_string(found[next++].get());
  };
  for (std::string& lower : shown.lower) name(lower);
  name(shown.path);
  name(shown.work);
  return overlay::open(shown, -1, {});
}

/// The type is the Spec's, never what the image says of itself (CVE-2023-30549 is that class).
static Result<Fd> open_image(const RootfsSpec& spec) {
  struct stat info{};
  // A dataset is no file at all.
  if (::stat(spec.image.c_str(), &info) < 0 || !S_ISREG(info.st_mode)) {
    return mount::create(spec.image_type, spec.image, spec.options, 0);
  }
  const loop::Device device = TRY(loop::attach(spec.image, (spec.attributes & MOUNT_ATTR_RDONLY) != 0));
  return mount::create(spec.image_type, device.path, spec.options, 0);
}

Result<Fd> open(const RootfsSpec& spec, const std::vector<Fd>& found) {
  if (spec.empty) return mount::create("tmpfs", "caisson", {{"mode", "0755"}, {"size", "1m"}}, 0);
  if (!spec.lower.empty() && !found.empty()) return open_found_overlay(spec, found);
  // overlayfs takes names; where one leads is asked before.
  for (const std::string& lower : spec.lower) TRY(mount::find_directory(lower));
  if (!spec.lower.empty()) return overlay::open(spec, -1, {});
  if (!spec.image.empty()) return open_image(spec);
  return found.empty() ? mount::open_directory(spec.path) : mount::clone_at(found[0].get(), true);
}

Status attach(const RootfsSpec& spec, int root) {
  mount_attr attributes{};
  attributes.propagation = MS_PRIVATE;
  TRY(sys::mount_setattr(root, "", AT_EMPTY_PATH | AT_RECURSIVE, attributes));
  TRY(sys::move_mount(root, AT_FDCWD, spec.attached_at.empty() ? "/" : spec.attached_at));
  if (spec.attributes == 0 || spec.empty) return {};
  attributes = {};
  attributes.attr_set = spec.attributes;
  return sys::mount_setattr(root, "", AT_EMPTY_PATH | AT_RECURSIVE, attributes);
}

static Result<Fd> make_parent(int root, const std::string& path) {
  const size_t slash = path.rfind('/');
  return path::make_directory(root, slash == std::string::npos ? "" : path.substr(0, slash));
}

static std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

Status fill(const RootfsSpec& spec, int root) {
  for (const Option& link : spec.links) {
    const Fd parent = TRY(make_parent(root, link.key));
    if (::symlinkat(link.value.c_str(), parent.get(), name_of(link.key).c_str()) < 0) return sys::failed("symlinkat", link.key);
  }
  for (const Option& file : spec.files) {
    const Fd parent = TRY(make_parent(root, file.key));
    const Fd made = TRY(sys::open_at(parent.get(), name_of(file.key), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644));
    TRY(sys::write_all(made.get(), file.value.data(), file.value.size(), file.key));
  }
  return {};
}

Status close(const RootfsSpec& spec, int root) {
  mount_attr attributes{};
  attributes.attr_set = spec.attributes;
  return sys::mount_setattr(root, "", AT_EMPTY_PATH, attributes);
}

Status pivot(int root) {
  if (::fchdir(root) < 0) return sys::failed("fchdir");
  // pivot_root(".", ".") stacks the old root on the new one, from where it is unmounted at once (pivot_root(2), NOTES).
  TRY(sys::pivot_root(".", "."));
  if (::umount2(".", MNT_DETACH) < 0) return sys::failed("umount2", ".");
  if (::chdir("/") < 0) return sys::failed("chdir", "/");
  return {};
}

}  // namespace caisson::rootfs
