// The device program judged by the kernel: lists of rules against a plain reading of them, and no gap while they are exchanged.
#include "kernel/device_program.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <cstdlib>

#include "cgroup_host.h"

/// Whether the list, read plainly, permits all of `access`: for each letter the last matching rule decides, without one it is refused.
static bool permits(const std::vector<DeviceRule>& rules, unsigned major, unsigned minor, const std::string& access) {
  for (const char letter : access) {
    bool allowed = false;
    for (const DeviceRule& rule : rules) {
      const bool matches = rule.type != 'b' && (rule.major < 0 || rule.major == major) && (rule.minor < 0 || rule.minor == minor);
      if (matches && rule.access.find(letter) != std::string::npos) allowed = rule.allow;
    }
    if (!allowed) return false;
  }
  return true;
}

static bool opens(unsigned minor, const std::string& access) {
  const int flags = access == "rw" ? O_RDWR : access == "w" ? O_WRONLY : O_RDONLY;
  const Fd fd(::open(("node." + std::to_string(minor)).c_str(), flags | O_CLOEXEC));
  return static_cast<bool>(fd);
}

static std::vector<DeviceRule> random_rules() {
  const char* const accesses[] = {"r", "w", "m", "rw", "rm", "wm", "rwm"};
  std::vector<DeviceRule> rules(static_cast<size_t>(std::rand() % 12 + 1));
  for (DeviceRule& rule : rules) {
    rule.allow = std::rand() % 3 != 0;
    rule.type = static_cast<uint32_t>("aabcccc"[std::rand() % 7]);
    if (std::rand() % 4 != 0) rule.major = std::rand() % 8 == 0 ? 5 : 1;
    if (std::rand() % 3 != 0) rule.minor = std::rand() % 6 + 3;
    rule.access = accesses[std::rand() % 7];
  }
  return rules;
}

/// In the container's cgroup: exchanges itself nothing, only asks what the parent's rules permit.
static int disagreements(const std::vector<DeviceRule>& rules) {
  int wrong = 0;
  for (const unsigned minor : {3U, 5U, 7U, 8U}) {
    for (const char* access : {"r", "w", "rw"}) {
      if (opens(minor, access) != permits(rules, 1, minor, access)) wrong++;
    }
    const bool made = ::mknod("made", S_IFCHR | 0600, makedev(1, minor)) == 0;
    if (made != permits(rules, 1, minor, "m")) wrong++;
    ::unlink("made");
  }
  return wrong;
}

static void judges_devices() {
  CgroupSpec spec = host_spec();
  const CgroupHierarchy* unified = unified_of(spec);
  if (unified == nullptr) return skip("device program", "no cgroup v2 here");
  spec.devices = {{false, 'a', -1, -1, "rwm"}, {true, 'c', 1, 3, "rwm"}};
  auto places = cgroup::create(spec);
  if (!places && places.error().call == "bpf" && places.error().number == EINVAL) return skip("device program", "no BPF_CGROUP_DEVICE");
  if (!worked(places, "create attaches the device program")) return;
  char scratch[] = "/tmp/caisson-devices-XXXXXX";
  if (::mkdtemp(scratch) == nullptr || ::chdir(scratch) != 0) return check(false, "scratch directory");
  for (const unsigned minor : {3U, 5U, 7U, 8U}) ::mknod(("node." + std::to_string(minor)).c_str(), S_IFCHR | 0600, makedev(1, minor));
  check(run(*places, [&] { return disagreements(spec.devices); }) == 0, "only what is listed opens");
  const Fd directory(::open(dir(*unified).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::srand(20'260'901);
  int wrong = 0, refused = 0;
  for (int i = 0; i < 60; i++) {
    const auto rules = random_rules();
    if (!device_program::replace(directory.get(), rules)) refused++;
    else if (run(*places, [&] { return disagreements(rules); }) != 0) wrong++;
  }
  check(refused == 0, "the kernel takes every program");
  check(wrong == 0, "random lists are judged as a plain reading does");
  // H3: no gap. The child asks for what no list allows, and for what every list allows, until both exchanges are through.
  auto* leaks = shared_counter();
  if (!device_program::replace(directory.get(), spec.devices)) return check(false, "replace");
  const pid_t hammer = spawn(*places, [&]() -> int {
    for (;;) {
      if (opens(8, "r") || !opens(3, "r")) leaks->fetch_add(1);
    }
  });
  std::vector<DeviceRule> more = spec.devices;
  more.push_back({true, 'c', 1, 5, "rwm"});
  for (int i = 0; i < 2000; i++) {
    if (!device_program::replace(directory.get(), i % 2 == 0 ? more : spec.devices)) leaks->fetch_add(1);
  }
  check(leaks->load() == 0, "2000 exchanges leave no gap");
  auto killed = cgroup::kill(*places);
  worked(killed, "kill");
  ended(hammer);
  for (const unsigned minor : {3U, 5U, 7U, 8U}) ::unlink(("node." + std::to_string(minor)).c_str());
  if (::chdir("/") != 0 || ::rmdir(scratch) != 0) check(false, "scratch directory is empty");
  auto removed = cgroup::remove(spec);
  worked(removed, "remove");
}

int main() {
  if (::geteuid() != 0 || host_spec().hierarchies.empty()) {
    std::printf("1..0 # SKIP needs root and cgroups\n");
    return 0;
  }
  judges_devices();
  std::printf("1..%d\n", count);
  return failed ? 1 : 0;
}
