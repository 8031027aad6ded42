#include "kernel/overlay.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "base/sys.h"
#include "kernel/mount.h"

namespace caisson::overlay {

static std::string path_of(const Fd& fd) { return "/proc/self/fd/" + std::to_string(fd.get()); }

static Status set(const Fd& context, const char* key, const std::string& value) {
  return sys::fsconfig(context.get(), value.empty() ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING, key, value);
}

/// Of these two, and not of `lowerdir+`, the kernel takes a backslash for an escape.
static std::string escaped(const std::string& path) {
  std::string text;
  for (const char letter : path) text.append(letter == '\\' ? 2 : 1, letter);
  return text;
}

static Result<Fd> finish(const Fd& context, const RootfsSpec& spec) {
  if (!spec.path.empty()) {
    TRY(set(context, "upperdir", escaped(spec.path)));
    TRY(set(context, "workdir", escaped(spec.work)));
  }
  for (const Option& option : spec.options) TRY(set(context, option.key.c_str(), option.value));
  TRY(sys::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, {}));
  return sys::fsmount(context.get(), 0);
}

/// Layers go to the kernel one by one, so that a comma or colon in a path stays part of it: Linux 6.7.
static Result<Fd> make_by_layer(const RootfsSpec& spec) {
  const Fd context = TRY(sys::fsopen("overlay"));
  for (const std::string& lower : spec.lower) TRY(set(context, "lowerdir+", lower));
  return finish(context, spec);
}

/// Before, they are one text, in which no path but that of a descriptor is safe from being taken apart.
static Result<Fd> make_by_text(const RootfsSpec& spec) {
  const Fd context = TRY(sys::fsopen("overlay"));
  RootfsSpec plain = spec;
  std::vector<Fd> opened;
  const auto name = [&opened](std::string& path) -> Status {
    opened.push_back(TRY(sys::open(path, O_PATH | O_DIRECTORY)));
    path = path_of(opened.back());
    return {};
  };
  std::string joined;
  for (std::string& lower : plain.lower) {
    TRY(name(lower));
    joined += (joined.empty() ? "" : ":") + lower;
  }
  if (!plain.path.empty()) {
    TRY(name(plain.path));
    TRY(name(plain.work));
  }
  TRY(set(context, "lowerdir", joined));
  return finish(context, plain);
}

static Result<Fd> make(const RootfsSpec& spec) {
  auto made = make_by_layer(spec);
  // Linux before 6.5 takes any option at first, and refuses it at the end.
  if (made || made.error().number != EINVAL) return made;
  return make_by_text(spec);
}

/// A tmpfs with a delta and a work directory, the delta with the owner and mode of the one on disk, which becomes the topmost lower layer.
static Result<Fd> open_memory(RootfsSpec& shown) {
  struct stat info{};
  if (::stat(shown.path.c_str(), &info) < 0) return sys::failed("stat", shown.path);
  std::vector<Option> options{{"mode", "0755"}};
  if (shown.memory > 0) options.push_back({"size", std::to_string(shown.memory)});
  Fd memory = TRY(mount::create("tmpfs", "caisson", options, 0));
  for (const char* name : {"delta", "work"}) {
    if (::mkdirat(memory.get(), name, info.st_mode & 07777) < 0) return sys::failed("mkdirat", name);
  }
  if (::fchownat(memory.get(), "delta", info.st_uid, info.st_gid, 0) < 0) return sys::failed("fchownat", "delta");
  shown.lower.insert(shown.lower.begin(), shown.path);
  shown.path = path_of(memory) + "/delta";
  shown.work = path_of(memory) + "/work";
  return memory;
}

/// Layers attached above "/" of the caller's mount namespace, and taken off again.
class Attached {
 public:
  static Status attach(Attached& self, const std::vector<Fd>& layers) {
    for (const Fd& layer : layers) {
      TRY(sys::move_mount(layer.get(), AT_FDCWD, "/"));
      self.layers_.push_back(&layer);
    }
    return {};
  }
  ~Attached() {
    for (size_t i = layers_.size(); i > 0; i--) ::umount2(path_of(*layers_[i - 1]).c_str(), MNT_DETACH);
  }

 private:
  std::vector<const Fd*> layers_;
};

static Result<Fd> make_attached(const RootfsSpec& shown, const std::vector<Fd>& layers) {
  Attached attached;
  TRY(Attached::attach(attached, layers));
  return make(shown);
}

static Result<Fd> make_inside(const RootfsSpec& shown, const std::vector<Fd>& layers, const std::string& mount_namespace) {
  const Fd own = TRY(sys::open("/proc/self/ns/mnt", O_RDONLY));
  const Fd other = TRY(sys::open(mount_namespace, O_RDONLY));
  if (::setns(other.get(), CLONE_NEWNS) < 0) return sys::failed("setns", mount_namespace);
  Result<Fd> made = make_attached(shown, layers);
  if (::setns(own.get(), CLONE_NEWNS) < 0) return sys::failed("setns", "/proc/self/ns/mnt");
  return made;
}

bool needs_guest(const RootfsSpec& spec) { return !spec.lower.empty() && (spec.idmapped || spec.in_memory); }

Result<Fd> open(const RootfsSpec& spec, int user_namespace, const std::string& mount_namespace) {
  std::vector<Fd> layers;
  RootfsSpec shown = spec;
  if (user_namespace >= 0) {
    for (std::string& lower : shown.lower) {
      layers.push_back(TRY(mount::open_directory(lower)));
      TRY(mount::shift(layers.back().get(), user_namespace, false));
      lower = path_of(layers.back());
    }
  }
  if (spec.in_memory) layers.push_back(TRY(open_memory(shown)));
  auto made = make(shown);
  if (made || layers.empty() || made.error().number != EINVAL) return made;
  return mount_namespace.empty() ? make_attached(shown, layers) : make_inside(shown, layers, mount_namespace);
}

}  // namespace caisson::overlay
