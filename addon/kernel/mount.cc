#include "kernel/mount.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <optional>
#include <string>

#include "base/codec.h"
#include "base/socket.h"
#include "base/sys.h"
#include "kernel/path.h"

namespace caisson::mount {

Status isolate(bool receive) {
  if (::mount(nullptr, "/", nullptr, MS_REC | (receive ? MS_SLAVE : MS_PRIVATE), nullptr) < 0) return sys::failed("mount", "/");
  return {};
}

Status leave_host() {
  if (::unshare(CLONE_NEWNS) < 0) return sys::failed("unshare", {}, "CLONE_NEWNS");
  return isolate(true);
}

Result<Fd> clone(const std::string& path, bool recursive) {
  return sys::open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | (recursive ? AT_RECURSIVE : 0U));
}

Result<Fd> clone_at(int place, bool recursive) {
  return sys::open_tree(place, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0U));
}

/// The caller's own, or root's.
static bool is_trusted(uid_t owner) { return owner == 0 || owner == ::geteuid(); }

/// Whether somebody else could have put a link into that directory, or could exchange one. Of a sticky one only who owns it or the link.
static bool is_guarded(const struct stat& directory) {
  if (!is_trusted(directory.st_uid)) return false;
  if ((directory.st_mode & S_ISVTX) != 0) return true;
  const bool own_group = directory.st_gid == 0 || directory.st_gid == ::getegid();
  return (directory.st_mode & S_IWOTH) == 0 && ((directory.st_mode & S_IWGRP) == 0 || own_group);
}

/// Where a link leads that was opened by itself, or why it is not followed.
static Result<std::string> read_trusted_link(int parent, int link, const std::string& path) {
  struct stat directory{};
  struct stat info{};
  if (::fstat(parent, &directory) < 0 || ::fstat(link, &info) < 0) return sys::failed("fstat", path);
  if (!is_trusted(info.st_uid)) return sys::failed_with(ELOOP, "openat", path, "a symlink of another user is on the way");
  if (!is_guarded(directory)) return sys::failed_with(ELOOP, "openat", path, "a symlink is on the way, in a directory of others");
  char target[PATH_MAX];
  const ssize_t length = ::readlinkat(link, "", target, sizeof target);
  if (length < 0 || static_cast<size_t>(length) == sizeof target) return sys::failed("readlinkat", path);
  return std::string(target, static_cast<size_t>(length));
}

/// Name by name; what is left of the path grows by what links say.
static Result<Fd> walk_links(const std::string& path) {
  constexpr int kMostLinks = 40;  // as the kernel's own (path_resolution(7))
  Fd at = TRY(sys::open(path.front() == '/' ? "/" : ".", O_PATH | O_DIRECTORY));
  std::string rest = path;
  for (int links = 0;;) {
    const size_t begin = rest.find_first_not_of('/');
    if (begin == std::string::npos) return at;
    const size_t end = std::min(rest.find('/', begin), rest.size());
    const std::string name = rest.substr(begin, end - begin);
    rest.erase(0, end);
    Fd next = TRY(sys::open_at(at.get(), name, O_PATH | O_NOFOLLOW));
    struct stat info{};
    if (::fstat(next.get(), &info) < 0) return sys::failed("fstat", path);
    if (S_ISDIR(info.st_mode)) {
      at = std::move(next);
      continue;
    }
    if (!S_ISLNK(info.st_mode)) return sys::failed_with(ENOTDIR, "openat", path);
    if (++links > kMostLinks) return sys::failed_with(ELOOP, "openat", path);
    const std::string target = TRY(read_trusted_link(at.get(), next.get(), path));
    if (target.front() == '/') at = TRY(sys::open("/", O_PATH | O_DIRECTORY));
    rest.insert(0, target);
  }
}

Result<Fd> find_directory(const std::string& path) {
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS;
  const long fd = TEMP_FAILURE_RETRY(::syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how));
  if (fd >= 0) return Fd(static_cast<int>(fd));
  return errno == ELOOP ? walk_links(path) : Result<Fd>(sys::failed("openat2", path));
}

Result<Fd> open_directory(const std::string& path) {
  const Fd directory = TRY(find_directory(path));
  return clone_at(directory.get(), true);
}

Result<Fd> create(const std::string& type, const std::string& source, const std::vector<Option>& options, uint64_t attributes) {
  const Fd context = TRY(sys::fsopen(type.c_str()));
  if (!source.empty()) TRY(sys::fsconfig(context.get(), FSCONFIG_SET_STRING, "source", source));
  for (const Option& option : options) {
    const unsigned command = option.value.empty() ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING;
    TRY(sys::fsconfig(context.get(), command, option.key.c_str(), option.value));
  }
  TRY(sys::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, {}));
  return sys::fsmount(context.get(), static_cast<unsigned>(attributes));
}

bool is_bind(const MountSpec& spec) { return spec.type.empty() && !spec.relative; }

Result<Fd> open_source(const MountSpec& spec) { return clone(spec.source, spec.recursive); }

Status shift(int mount, int user_namespace, bool recursive) {
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_IDMAP;
  attributes.userns_fd = static_cast<uint64_t>(user_namespace);
  return sys::mount_setattr(mount, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0U), attributes);
}

static uint64_t propagation_flag(Propagation propagation) {
  constexpr uint64_t kFlags[] = {0, MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE};
  return kFlags[static_cast<size_t>(propagation)];
}

static Status set_attributes(int mount, const MountSpec& spec) {
  mount_attr attributes{};
  attributes.attr_set = spec.attributes;
  attributes.attr_clr = spec.cleared;
  // An access-time mode is a field, not a flag: the kernel wants it cleared before it is set (mount_setattr(2)).
  constexpr uint64_t kAccessTime = MOUNT_ATTR__ATIME;
  if ((spec.attributes & kAccessTime) != 0 || (spec.cleared & kAccessTime) != 0) attributes.attr_clr |= kAccessTime;
  attributes.propagation = propagation_flag(spec.propagation);
  if (attributes.attr_set == 0 && attributes.attr_clr == 0 && attributes.propagation == 0) return {};
  return sys::mount_setattr(mount, "", AT_EMPTY_PATH | (spec.recursive ? AT_RECURSIVE : 0U), attributes);
}

static Result<Fd> open_relative(int root, const MountSpec& spec) {
  const Fd source = TRY(path::open(root, spec.source));
  return clone_at(source.get(), spec.recursive);
}

static Result<Fd> open_mount(int root, const MountSpec& spec) {
  if (!spec.type.empty()) return create(spec.type, spec.source, spec.options, 0);
  if (spec.relative) return open_relative(root, spec);
  return open_source(spec);
}

static Result<Fd> open_target(int root, const MountSpec& spec) {
  if (spec.create == Creation::dir) return path::make_directory(root, spec.target);
  if (spec.create == Creation::file) return path::make_file(root, spec.target);
  if (spec.create == Creation::cover) return path::make_entry(root, spec.target);
  return path::open(root, spec.target);
}

static Status attach_one(int root, const MountSpec& spec, Fd source) {
  Fd mount = source ? std::move(source) : TRY(open_mount(root, spec));
  TRY(set_attributes(mount.get(), spec));
  const Fd target = TRY(open_target(root, spec));
  return sys::move_mount_onto(mount.get(), target.get());
}

bool restricts(const MountSpec& spec) {
  return (spec.attributes & (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)) != 0;
}

/// What the process in between says with the descriptor, or instead of it.
struct Word {
  std::optional<Error> error{};
  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("error", s.error);
  }
};

/// Attaches the mount where a directory or a file surely is, in a mount namespace that nobody else sees, and copies it from the copy of
/// that namespace that belongs to the user namespace.
static Result<Fd> copy_locked(const MountSpec& spec, int source, int user_namespace) {
  struct stat info{};
  if (::fstat(source, &info) < 0) return sys::failed("fstat", spec.source);
  const char* const place = S_ISDIR(info.st_mode) ? "/proc" : "/proc/uptime";
  if (::unshare(CLONE_NEWNS) < 0) return sys::failed("unshare", {}, "CLONE_NEWNS");
  TRY(isolate(false));
  TRY(sys::move_mount(source, AT_FDCWD, place));
  if (::setns(user_namespace, CLONE_NEWUSER) < 0) return sys::failed("setns", "user");
  if (::unshare(CLONE_NEWNS) < 0) return sys::failed("unshare", {}, "CLONE_NEWNS");
  return clone(place, spec.recursive);
}

[[noreturn]] static void lock_and_send(const MountSpec& spec, int source, int user_namespace, int tell) {
  auto locked = copy_locked(spec, source, user_namespace);
  Word word;
  std::vector<int> descriptors;
  if (locked) descriptors.push_back(locked->get());
  else word.error = std::move(locked).error();
  ::_exit(socket::send(tell, encode(word), descriptors, true) ? 0 : 1);
}

Result<Fd> lock(const MountSpec& spec, Fd source, int user_namespace) {
  TRY(set_attributes(source.get(), spec));
  socket::Pair line = TRY(socket::pair());
  const pid_t between = ::fork();
  if (between < 0) return sys::failed("fork");
  if (between == 0) lock_and_send(spec, source.get(), user_namespace, line.right.get());
  line.right.reset();
  auto packet = socket::receive(line.left.get(), 4096, true);
  while (::waitpid(between, nullptr, 0) < 0 && errno == EINTR) continue;
  if (!packet) return std::move(packet).error();
  Word word;
  if (decode(packet->data.data(), packet->data.size(), word) && !word.error && packet->descriptors.size() == 1) {
    return std::move(packet->descriptors[0]);
  }
  return word.error ? *std::move(word.error) : sys::failed_with(EPROTO, "recvmsg", spec.target, "the process in between was killed");
}

Status attach(int root, const MountSpec& spec, Fd source) {
  Status status = attach_one(root, spec, std::move(source));
  if (status || spec.optional) return {};
  Error error = std::move(status).error();
  error.path = spec.target;
  if (error.detail.empty()) error.detail = (spec.type.empty() ? "bind of \"" : spec.type + " from \"") + spec.source + "\"";
  return error;
}

/// The directory that holds the last component of `path`, and that component.
struct Entry {
  Fd directory;
  std::string name;
};

static Result<Entry> open_entry(int root, const std::string& path) {
  const size_t end = path.find_last_not_of('/');
  const size_t slash = path.rfind('/', end);
  const size_t begin = slash == std::string::npos ? 0 : slash + 1;
  Entry entry;
  if (end != std::string::npos) entry.name = path.substr(begin, end - begin + 1);
  if (entry.name.empty() || entry.name == "." || entry.name == "..") return sys::failed_with(EINVAL, "open", path);
  entry.directory = TRY(path::open(root, path.substr(0, begin)));
  return entry;
}

Status detach(int root, const std::string& path) {
  const Entry entry = TRY(open_entry(root, path));
  // By its name in its directory, since umount2(2) takes no descriptor, and no /proc inside is to be trusted.
  if (::fchdir(entry.directory.get()) < 0) return sys::failed("fchdir", path);
  const int result = ::umount2(entry.name.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
  const int number = errno;
  if (::fchdir(root) < 0) return sys::failed("fchdir", "/");
  return result < 0 ? Status(sys::failed_with(number, "umount2", path)) : Status{};
}

Status remove_file(int root, const std::string& path) {
  auto entry = open_entry(root, path);
  if (!entry) return entry.error().number == ENOENT ? Status{} : Status(std::move(entry).error());
  struct stat info{};
  if (::fstatat(entry->directory.get(), entry->name.c_str(), &info, AT_SYMLINK_NOFOLLOW) < 0) {
    return errno == ENOENT ? Status{} : Status(sys::failed("fstatat", path));
  }
  if (!S_ISREG(info.st_mode) || info.st_size != 0) return sys::failed_with(EEXIST, "unlinkat", path, "not an empty file");
  if (::unlinkat(entry->directory.get(), entry->name.c_str(), 0) < 0) return sys::failed("unlinkat", path);
  return {};
}

Status protect(int root, const std::string& path) {
  auto found = path::open(root, path);
  if (!found) return found.error().number == ENOENT ? Status{} : Status(std::move(found).error());
  const Fd mount = TRY(sys::open_tree(found->get(), "", OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE));
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  TRY(sys::mount_setattr(mount.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, attributes));
  return sys::move_mount_onto(mount.get(), found->get());
}

/// What is put over a path. Before Linux 6.15 only an attached mount could be cloned: then each directory gets an empty tmpfs of its own.
static Result<Fd> clone_cover(int cover, bool directory) {
  auto clone = sys::open_tree(cover, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
  if (clone || !directory || clone.error().number != EINVAL) return clone;
  return create("tmpfs", "masked", {{"size", "4k"}, {"mode", "0555"}},
                MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

Status mask(int root, const std::string& path, int null, int empty) {
  auto found = path::open(root, path);
  if (!found) return found.error().number == ENOENT ? Status{} : Status(std::move(found).error());
  struct stat info{};
  if (::fstat(found->get(), &info) < 0) return sys::failed("fstat", path);
  const bool directory = S_ISDIR(info.st_mode);
  const Fd mount = TRY(clone_cover(directory ? empty : null, directory));
  return sys::move_mount_onto(mount.get(), found->get());
}

}  // namespace caisson::mount
