#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/sys.h"
#include "kernel/lsm.h"

namespace caisson::lsm::landlock {

// As the kernel takes them, by size: Debian 12's header ends at ABI 2.
struct Ruleset {
  uint64_t handled_access_fs;
  uint64_t handled_access_net;  ///< ABI 4
  uint64_t scoped;              ///< ABI 6
};
struct __attribute__((packed)) PathBeneath {
  uint64_t allowed_access;
  int32_t parent_fd;
};
struct NetPort {
  uint64_t allowed_access;
  uint64_t port;
};
constexpr int kPathBeneath = 1;
constexpr int kNetPort = 2;

/// What each ABI knows of a kind of rights; the newest first.
struct Known {
  int abi;
  uint64_t rights;
};
constexpr uint64_t up_to(unsigned bit) { return (uint64_t{2} << bit) - 1; }
constexpr Known kFiles[] = {{5, up_to(15)}, {3, up_to(14)}, {2, up_to(13)}, {1, up_to(12)}, {0, 0}};
constexpr Known kNetwork[] = {{4, up_to(1)}, {0, 0}};
constexpr Known kScopes[] = {{6, up_to(1)}, {0, 0}};
/// Rights that a rule about something else than a directory may have: execute, write, read, truncate, ioctl.
constexpr uint64_t kFileRights = 1U << 0 | 1U << 1 | 1U << 2 | 1U << 14 | 1U << 15;

template <size_t N>
static uint64_t known(const Known (&table)[N], int abi, uint64_t wanted) {
  for (const Known& row : table) {
    if (abi >= row.abi) return wanted & row.rights;
  }
  return 0;
}

int abi() {
  const long version = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  return version < 0 ? 0 : static_cast<int>(version);
}

static Status add_rule(int ruleset, int type, const void* rule, const std::string& about) {
  if (::syscall(SYS_landlock_add_rule, ruleset, type, rule, 0) < 0) return sys::failed("landlock_add_rule", about);
  return {};
}

static Status add_path(int ruleset, const LandlockPath& path, uint64_t handled) {
  auto place = sys::open(path.path, O_PATH);
  if (!place && (place.error().number == ENOENT || place.error().number == ENOTDIR)) return {};
  if (!place) return std::move(place).error();
  struct stat info{};
  if (::fstat(place->get(), &info) < 0) return sys::failed("fstat", path.path);
  const uint64_t rights = path.access & handled & (S_ISDIR(info.st_mode) ? ~uint64_t{0} : kFileRights);
  if (rights == 0) return {};
  const PathBeneath rule{rights, place->get()};
  return add_rule(ruleset, kPathBeneath, &rule, path.path);
}

Status restrict(const LandlockSpec& spec) {
  const int version = abi();
  if (version == 0) {
    return spec.required ? Status(sys::refused("ERR_FEATURE_MISSING", "this kernel does not run Landlock")) : Status{};
  }
  const Ruleset handled{known(kFiles, version, spec.handled_access), known(kNetwork, version, spec.handled_network),
                        known(kScopes, version, spec.scoped)};
  if (handled.handled_access_fs == 0 && handled.handled_access_net == 0 && handled.scoped == 0) return {};
  const size_t size = version >= 6 ? sizeof handled : version >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
  const Fd ruleset(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &handled, size, 0)));
  if (!ruleset) return sys::failed("landlock_create_ruleset");
  for (const LandlockPath& path : spec.paths) TRY(add_path(ruleset.get(), path, handled.handled_access_fs));
  for (const LandlockPort& port : spec.ports) {
    const NetPort rule{port.access & handled.handled_access_net, port.port};
    if (rule.allowed_access != 0) TRY(add_rule(ruleset.get(), kNetPort, &rule, std::to_string(port.port)));
  }
  if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) < 0) return sys::failed("landlock_restrict_self");
  return {};
}

}  // namespace caisson::lsm::landlock
