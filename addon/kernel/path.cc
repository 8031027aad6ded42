#include "kernel/path.h"

#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>

#include "base/sys.h"

namespace caisson::path {

static Result<Fd> open_without_links(int dir, const std::string& path, uint64_t flags) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const long fd = ::syscall(SYS_openat2, dir, path.c_str(), &how, sizeof how);
  if (fd < 0) return sys::failed("openat2", path, errno == ELOOP ? "a symlink stands where a directory must be" : "");
  return Fd(static_cast<int>(fd));
}

Result<Fd> open(int root, const std::string& path) { return sys::open_in_root(root, path.empty() ? "." : path, O_PATH); }

Result<Fd> open_strict(int root, const std::string& path) {
  return open_without_links(root, path.empty() ? "." : path, O_PATH);
}

/// Walks `path` component by component below `root`, making the directories that `open_next` does not find.
template <class Open>
static Result<Fd> make_directories(int root, const std::string& path, Open open_next) {
  // Each prefix is opened anew from the root: a component that is a symlink then resolves as the container would resolve it.
  Fd last = TRY(open_next(root, "."));
  for (size_t end = 0; end != path.size();) {
    const size_t begin = path.find_first_not_of('/', end);
    if (begin == std::string::npos) break;
    end = std::min(path.find('/', begin), path.size());
    const std::string prefix = path.substr(0, end);
    auto next = open_next(root, prefix);
    if (!next && next.error().number == ENOENT) {
      const std::string name = path.substr(begin, end - begin);
      if (name == "..") return sys::failed_with(EINVAL, "mkdirat", path, "\"..\" below a missing directory");
      if (::mkdirat(last.get(), name.c_str(), 0755) < 0 && errno != EEXIST) return sys::failed("mkdirat", prefix);
      next = open_next(root, prefix);
    }
    last = TRY(std::move(next));
  }
  return last;
}

Result<Fd> make_directory_strict(int root, const std::string& path) {
  return make_directories(root, path, [](int dir, const std::string& at) {
    return open_without_links(dir, at, O_PATH | O_DIRECTORY);
  });
}

Result<Fd> make_directory(int root, const std::string& path) {
  return make_directories(root, path, [](int dir, const std::string& at) {
    return sys::open_in_root(dir, at, O_PATH | O_DIRECTORY);
  });
}

Result<Fd> make_file(int root, const std::string& path) {
  auto present = open(root, path);
  if (present || present.error().number != ENOENT) return present;
  const size_t slash = path.rfind('/');
  const Fd parent = TRY(make_directory(root, slash == std::string::npos ? "" : path.substr(0, slash)));
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  auto made = sys::open_at(parent.get(), name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644);
  if (!made && made.error().number != EEXIST) return std::move(made).error();
  return open(root, path);
}

Result<Fd> make_entry(int root, const std::string& path) {
  const size_t slash = path.rfind('/');
  const Fd parent = TRY(make_directory(root, slash == std::string::npos ? "" : path.substr(0, slash)));
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  auto present = sys::open_at(parent.get(), name, O_PATH | O_NOFOLLOW);
  if (present || present.error().number != ENOENT) return present;
  auto made = sys::open_at(parent.get(), name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644);
  if (!made && made.error().number != EEXIST) return std::move(made).error();
  return sys::open_at(parent.get(), name, O_PATH | O_NOFOLLOW);
}

}  // namespace caisson::path
