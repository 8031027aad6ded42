#include "kernel/tree.h"

#include <dirent.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>

#include "base/sys.h"

namespace caisson::tree {

/// So many directories are open at once; what lies deeper is moved up first.
constexpr int kDepth = 32;

namespace {
struct Removal {
  int top;
  unsigned moved = 0;
};
}  // namespace

static Status remove_entry(Removal& removal, int dir, const char* name, int depth);

static Result<Fd> open_below(int dir, const char* name) {
  open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS;
  const long fd = ::syscall(SYS_openat2, dir, name, &how, sizeof how);
  if (fd < 0) return sys::failed("openat2", name);
  return Fd(static_cast<int>(fd));
}

static bool is_dots(const char* name) { return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0)); }

/// Removes all entries. Directories are read anew until nothing is left: removing may hide entries from a reader.
static Status empty(Removal& removal, Fd directory, int depth) {
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(directory.get()), ::closedir);
  if (!stream) return sys::failed("fdopendir");
  const int dir = directory.release();
  for (bool found = true; found;) {
    found = false;
    ::rewinddir(stream.get());
    while (const dirent* entry = ::readdir(stream.get())) {
      if (is_dots(entry->d_name)) continue;
      found = true;
      TRY(remove_entry(removal, dir, entry->d_name, depth));
    }
  }
  return {};
}

static Status remove_entry(Removal& removal, int dir, const char* name, int depth) {
  if (::unlinkat(dir, name, 0) == 0 || errno == ENOENT) return {};
  if (errno != EISDIR) return sys::failed("unlinkat", name);
  if (depth == kDepth) {
    const std::string up = ".deep-" + std::to_string(removal.moved++);
    if (::renameat(dir, name, removal.top, up.c_str()) < 0) return sys::failed("renameat", name);
    return {};
  }
  TRY(empty(removal, TRY(open_below(dir, name)), depth + 1));
  if (::unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT) return sys::failed("unlinkat", name, "AT_REMOVEDIR");
  return {};
}

Status remove(const std::string& parent, const std::string& name) {
  auto at = sys::open(parent, O_RDONLY | O_DIRECTORY);
  if (!at) return at.error().number == ENOENT ? Status{} : std::move(at).error();
  const std::string gone = ".caisson-" + name + "-" + std::to_string(::getpid()) + "-" + std::to_string(sys::now_ms());
  if (::renameat(at->get(), name.c_str(), at->get(), gone.c_str()) < 0) {
    return errno == ENOENT ? Status{} : sys::failed("renameat", parent + "/" + name);
  }
  Fd top = TRY(open_below(at->get(), gone.c_str()));
  Removal removal{top.get()};
  // The top is read through a descriptor of its own: what is moved up needs the first one to stay.
  TRY(empty(removal, TRY(open_below(top.get(), ".")), 1));
  if (::unlinkat(at->get(), gone.c_str(), AT_REMOVEDIR) < 0) return sys::failed("unlinkat", gone, "AT_REMOVEDIR");
  return {};
}

}  // namespace caisson::tree
