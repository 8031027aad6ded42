// Cgroups of our own on whatever this host mounts: v1, hybrid or v2. Needs root; everything is below caisson.test.PID and goes at the end.
#include "kernel/cgroup.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include <cerrno>

#include "cgroup_host.h"

static void creates_limits_and_joins() {
  CgroupSpec spec = host_spec();
  add_file(spec, "pids", "pids.max", "pids.max", "77");
  add_file(spec, "memory", "memory.limit_in_bytes", "memory.max", "67108864");
  spec.files.push_back({0, "there.is.none", "1", true});
  auto places = cgroup::create(spec);
  if (!worked(places, "create makes every directory")) return;
  bool read_back = true;
  for (const CgroupFile& f : spec.files) {
    if (!f.optional && text_of(dir(spec.hierarchies[f.hierarchy]) + "/" + f.name) != f.value) read_back = false;
  }
  check(read_back, "control files hold what was written");
  for (const bool into : {true, false}) {
    const int status = ended(spawn(*places, [&] {
      std::istringstream lines(text_of("/proc/self/cgroup"));
      size_t ours = 0;
      for (std::string line; std::getline(lines, line);) {
        if (line.ends_with(":/" + name_of(""))) ours++;
      }
      return ours == spec.hierarchies.size() ? 0 : 1;
    }, into));
    check(status == 0, into ? "a process joins all by CLONE_INTO_CGROUP and tasks" : "a process joins all by itself");
  }
  auto again = cgroup::create(spec);
  check(!again && again.error().number == EEXIST && any_left(spec), "a taken name is EEXIST, and stays");
  auto opened = cgroup::open(spec);
  if (worked(opened, "open gives the same handles")) check(run(*opened, [] { return 7; }) == 7, "which can be joined");
  auto removed = cgroup::remove(spec);
  worked(removed, "remove");
  check(!any_left(spec), "nothing is left");
  auto twice = cgroup::remove(spec);
  worked(twice, "what is gone may be removed again");
}

static void holds_an_inner_directory() {
  CgroupSpec spec = host_spec();
  for (CgroupHierarchy& h : spec.hierarchies) h.inner = "inside";
  add_file(spec, "cpuset", "cpuset.cpus", "cpuset.cpus", "0");
  add_file(spec, "pids", "there.is.none", "there.is.none", "");
  if (index_of(spec, "pids") >= 0) spec.files.back().fallback_name = "pids.max", spec.files.back().fallback_value = "9";
  auto places = cgroup::create(spec);
  if (!worked(places, "create with an inner directory and a narrower cpuset")) return;
  if (index_of(spec, "pids") >= 0) {
    const std::string limit = dir(spec.hierarchies[static_cast<size_t>(index_of(spec, "pids"))]) + "/pids.max";
    check(text_of(limit) == "9", "a kernel without the file gets the fallback");
  }
  check(run(*places, [&] {
    std::istringstream lines(text_of("/proc/self/cgroup"));
    for (std::string line; std::getline(lines, line);) {
      if (line.ends_with(name_of("/inside"))) continue;
      return 1;
    }
    return 0;
  }) == 0, "processes live in the inner one");
  auto removed = cgroup::remove(spec);
  worked(removed, "remove");
}

static void takes_back_a_failure() {
  CgroupSpec spec = host_spec();
  for (CgroupHierarchy& h : spec.hierarchies) h.path = name_of("/a/b"), h.inner = "inside", h.monitor = name_of("/m");
  spec.files.push_back({0, "there.is.none", "1", false});
  auto places = cgroup::create(spec);
  check(!places && places.error().number == ENOENT, "an unknown control file is an error");
  for (CgroupHierarchy& h : spec.hierarchies) h.path = name_of("");
  check(!any_left(spec), "and nothing of what was made stays");
}

static void removes_what_grew() {
  CgroupSpec spec = host_spec();
  auto places = cgroup::create(spec);
  if (!worked(places, "create")) return;
  for (const CgroupHierarchy& h : spec.hierarchies) {
    std::string deep = dir(h);
    for (int i = 0; i < 150; i++) {
      deep += "/" + std::string(20, 'n');
      if (::mkdir(deep.c_str(), 0755) != 0) break;
      ::mkdir((deep + ".sibling").c_str(), 0755);
    }
    ::mkdir((dir(h) + "/other").c_str(), 0755);
  }
  const pid_t busy = spawn(*places, [] {
    const timespec a_while{0, 100'000'000};
    return ::nanosleep(&a_while, nullptr);
  });
  auto removed = cgroup::remove(spec, 5000);
  worked(removed, "deep, wide and busy directories go");
  check(!any_left(spec), "all of them");
  ended(busy);
}

static void leaves_a_busy_one() {
  CgroupSpec spec = host_spec();
  auto places = cgroup::create(spec);
  if (!worked(places, "create")) return;
  auto* inside = shared_counter();
  const pid_t busy = spawn(*places, [inside] {
    inside->store(1);
    return ::pause();
  });
  check(soon([&] { return inside->load() == 1; }), "a process lives there");
  auto removed = cgroup::remove(spec, 20);
  check(!removed && removed.error().number == EBUSY, "a living process makes remove fail with EBUSY in time");
  auto populated = cgroup::populated(*places);
  check(populated && *populated, "populated while it lives");
  auto killed = cgroup::kill(*places);
  worked(killed, "kill, though some places may be gone");
  check(WTERMSIG(ended(busy)) == SIGKILL, "killed it");
  check(soon([&] { return !cgroup::populated(*places).value(); }), "populated no longer");
  auto then = cgroup::remove(spec);
  worked(then, "then it goes");
}

static void freezes(const char* how, const std::function<void(CgroupSpec&)>& choose) {
  CgroupSpec spec = host_spec();
  choose(spec);
  if (spec.hierarchies.empty()) return skip(how, "no such hierarchy here");
  auto places = cgroup::create(spec);
  if (!worked(places, std::string("create for ") + how)) return;
  auto* counter = shared_counter();
  const pid_t busy = spawn_counter(*places, counter);
  check(soon([&] { return counter->load() > 0; }), "it counts");
  auto watch = cgroup::watch_events(*places);
  check(static_cast<bool>(watch), "watch_events");
  auto begun = cgroup::freeze(*places);
  worked(begun, std::string("freeze by ") + how);
  if (watch && watch->fd) {
    // The news may have come before the poll: ask first, as a monitor does.
    pollfd poll_for{watch->fd.get(), POLLPRI, 0};
    check(cgroup::frozen(*places).value() || ::poll(&poll_for, 1, 10'000) == 1, "cgroup.events tells");
  }
  check(soon([&] { return cgroup::frozen(*places).value(); }), "all is frozen");
  const uint64_t before = counter->load();
  const timespec a_while{0, 50'000'000};
  ::nanosleep(&a_while, nullptr);
  check(counter->load() == before, "what is frozen doesn't run");
  worked(begun = cgroup::thaw(*places), "thaw");
  check(soon([&] { return counter->load() > before; }), "it counts again");
  worked(begun = cgroup::freeze(*places), "freeze again");
  worked(begun = cgroup::kill(*places), "kill of what is frozen");
  check(WTERMSIG(ended(busy)) == SIGKILL, "dies");
  auto removed = cgroup::remove(spec);
  worked(removed, "remove");
}

static void tells_each_change_once() {
  CgroupSpec spec = host_spec();
  if (unified_of(spec) == nullptr) return skip("news", "no cgroup v2 here");
  auto places = cgroup::create(spec);
  if (!worked(places, "create")) return;
  auto watch = cgroup::watch_events(*places);
  if (!worked(watch, "watch_events")) return;
  const Fd loop(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{watch->events, {}};
  ::epoll_ctl(loop.get(), EPOLL_CTL_ADD, watch->fd.get(), &event);
  while (::epoll_wait(loop.get(), &event, 1, 0) > 0) continue;
  check(true, "what nobody reads is not told without end");
  const pid_t child = spawn(*places, [] { return ::pause(); });
  check(::epoll_wait(loop.get(), &event, 1, 10'000) == 1, "a change is told");
  check(::epoll_wait(loop.get(), &event, 1, 0) == 0, "once");
  auto killed = cgroup::kill(*places);
  worked(killed, "kill");
  ended(child);
  check(::epoll_wait(loop.get(), &event, 1, 10'000) == 1, "and the next");
  auto removed = cgroup::remove(spec);
  worked(removed, "remove");
}

static void kills_forkers(const char* how, const std::function<void(CgroupSpec&)>& choose) {
  CgroupSpec spec = host_spec();
  choose(spec);
  if (spec.hierarchies.empty()) return skip(how, "no such hierarchy here");
  add_file(spec, "pids", "pids.max", "pids.max", "40");
  auto places = cgroup::create(spec);
  if (!worked(places, std::string("create for ") + how)) return;
  auto* counter = shared_counter();
  const pid_t forker = spawn(*places, [counter]() -> int {
    ::signal(SIGCHLD, SIG_IGN);
    for (;;) {  // everybody forks and some end: the list is never the same twice
      if (::fork() == 0 && counter->fetch_add(1) % 2 == 0) ::_exit(0);
      const timespec a_while{0, 200'000};
      ::nanosleep(&a_while, nullptr);
    }
  });
  check(soon([&] { return counter->load() > 30; }), "they fork");
  auto killed = cgroup::kill(*places);
  worked(killed, how);
  check(WTERMSIG(ended(forker)) == SIGKILL, "the first is dead");
  check(soon([&] { return !cgroup::populated(*places).value(); }), "and nobody lives");
  auto removed = cgroup::remove(spec);
  worked(removed, "remove");
}

static void tells_usage_and_oom() {
  CgroupSpec spec = host_spec();
  if (index_of(spec, "memory") < 0) return skip("oom", "no memory controller here");
  add_file(spec, "memory", "memory.limit_in_bytes", "memory.max", "33554432");
  add_file(spec, "memory", "memory.swappiness", "memory.swap.max", "0");
  spec.files.back().optional = true;
  add_file(spec, "pids", "pids.max", "pids.max", "3");
  auto places = cgroup::create(spec);
  if (!worked(places, "create")) return;
  auto watch = cgroup::watch_oom(*places);
  if (!worked(watch, "watch_oom")) return;
  check(static_cast<bool>(watch->fd), "there is something to watch");
  const int status = run(*places, [] {
    const size_t size = 256U << 20U;
    auto* memory = static_cast<char*>(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (size_t at = 0; at < size; at += 4096) memory[at] = 1;
    return 0;
  });
  check(status == 256 + SIGKILL, "beyond the limit one is killed");
  pollfd news{watch->fd.get(), static_cast<short>((watch->events & EPOLLPRI) != 0 ? POLLPRI : POLLIN), 0};
  check(::poll(&news, 1, 10'000) == 1, "the watch tells");
  const int forked = run(*places, [] {
    for (int i = 0; i < 5; i++) {
      const pid_t child = ::fork();
      if (child < 0) return errno == EAGAIN ? 9 : 1;
      if (child == 0) ::_exit(::pause());
    }
    return 0;
  });
  check(forked == 9, "beyond pids.max fork is EAGAIN");
  const cgroup::Usage usage = cgroup::usage(*places);
  check(usage.oom_kills == 1, "one victim");
  check(usage.memory_peak.value_or(33'000'000) > 30'000'000 && usage.memory_peak.value_or(0) <= 33'554'432, "memory peak");
  check(usage.pids_limit_hits >= 1, "pids limit hit");
  check(usage.cpu_usec.value_or(0) > 0, "cpu time");
  auto killed = cgroup::kill(*places);
  worked(killed, "kill");
  auto removed = cgroup::remove(spec);
  worked(removed, "remove");
}

static void watches_pressure() {
  CgroupSpec spec = host_spec();
  auto places = cgroup::create(spec);
  if (!worked(places, "create")) return;
  auto watch = cgroup::watch_pressure(*places, "cpu", 1000, 2'000'000);
  worked(watch, "watch_pressure");
  if (!watch || !watch->fd) skip("pressure", "no PSI of cgroups here");
  else {
    // More busy processes than cpus must wait for one another.
    auto* counter = shared_counter();
    Strings pids;
    for (long i = 0; i < ::sysconf(_SC_NPROCESSORS_ONLN) + 2; i++) spawn_counter(*places, counter);
    pollfd news{watch->fd.get(), POLLPRI, 0};
    check(::poll(&news, 1, 30'000) == 1 && (news.revents & POLLPRI) != 0, "a busy cgroup triggers it");
    auto share = cgroup::pressure(*places, "cpu");
    if (worked(share, "pressure")) check(*share <= 10'000, "is a share");
  }
  auto killed = cgroup::kill(*places);
  worked(killed, "kill");
  while (::waitpid(-1, nullptr, 0) > 0) continue;
  auto removed = cgroup::remove(spec);
  worked(removed, "remove");
}

static void delegates() {
  CgroupSpec spec = host_spec();
  spec.owner_uid = 100'000, spec.owner_gid = 100'001;
  for (CgroupHierarchy& h : spec.hierarchies) h.delegated = h.version == 2 || h.controllers[0].starts_with("name=");
  auto places = cgroup::create(spec);
  if (!worked(places, "create")) return;
  bool owned = true, kept = true;
  for (const CgroupHierarchy& h : spec.hierarchies) {
    const uid_t expected = h.delegated ? 100'000 : 0;
    for (const char* file : {"", "/cgroup.procs", h.version == 1 ? "/tasks" : "/cgroup.subtree_control"}) {
      struct stat status{};
      if (::stat((dir(h) + file).c_str(), &status) != 0 || status.st_uid != expected) owned = false;
    }
    for (const char* file : {"/pids.max", "/memory.max", "/cgroup.max.depth", "/cgroup.freeze", "/notify_on_release"}) {
      struct stat status{};
      if (::stat((dir(h) + file).c_str(), &status) == 0 && status.st_uid != 0) kept = false;
    }
  }
  check(owned, "delegated hierarchies belong to the owner, others to nobody else");
  check(kept, "limits don't");
  auto removed = cgroup::remove(spec);
  worked(removed, "remove");
}

static void follows_init() {
  CgroupSpec spec = host_spec();
  const CgroupHierarchy* unified = unified_of(spec);
  if (unified == nullptr) return skip("follow init", "no cgroup v2 here");
  for (CgroupHierarchy& h : spec.hierarchies) h.inner = "";
  auto places = cgroup::create(spec);
  if (!worked(places, "create")) return;
  const pid_t init = spawn(*places, [] { return ::pause(); });
  const std::string scope = dir(*unified) + "/init.scope";
  ::mkdir(scope.c_str(), 0755);
  auto moved = sys::write_file(scope + "/cgroup.procs", std::to_string(init));
  worked(moved, "init moves on, as systemd does");
  bool closed = false;
  for (const std::string& controller : unified->controllers) {
    closed |= static_cast<bool>(sys::write_file(dir(*unified) + "/cgroup.subtree_control", "+" + controller));
  }
  auto plain = cgroup::open(spec);
  if (closed && plain) check(spawn(*plain, [] { return 0; }) == -1, "then its first cgroup can hold no process");
  auto opened = cgroup::open(spec, init);
  if (worked(opened, "open with init's pid")) {
    const std::string want = "0::/" + unified->path + "/init.scope\n";
    check(run(*opened, [&] { return (text_of("/proc/self/cgroup") + "\n").ends_with(want) ? 0 : 1; }) == 0, "joins init's own");
  }
  auto strange = cgroup::open(spec, ::getpid());
  check(!strange && strange.error().number == ESRCH, "a process elsewhere is no init of this container");
  auto killed = cgroup::kill(*places);
  worked(killed, "kill reaches below");
  check(WTERMSIG(ended(init)) == SIGKILL, "init is dead");
  auto removed = cgroup::remove(spec);
  worked(removed, "remove");
}

static void moves_the_monitor() {
  CgroupSpec spec = host_spec();
  for (CgroupHierarchy& h : spec.hierarchies) {
    if (h.version == 2 || h.controllers[0].starts_with("name=")) h.monitor = name_of(".monitor");
  }
  auto places = cgroup::create(spec);
  if (!worked(places, "create")) return;
  std::fflush(stdout);
  const pid_t monitor = ::fork();
  if (monitor == 0) {
    const std::string origin = cgroup::own_unified(spec), before = text_of("/proc/self/cgroup");
    if (!cgroup::enter_monitor(spec)) ::_exit(1);
    if (text_of("/proc/self/cgroup").find(name_of(".monitor")) == std::string::npos) ::_exit(2);
    if (!cgroup::leave_monitor(spec, origin)) ::_exit(3);
    if (text_of("/proc/self/cgroup").find(name_of(".monitor")) != std::string::npos) ::_exit(4);
    ::_exit(0);
  }
  check(ended(monitor) == 0, "a monitor moves to its own cgroups and out again");
  auto removed = cgroup::remove(spec);
  worked(removed, "remove takes them too");
  for (CgroupHierarchy& h : spec.hierarchies) h.path = h.monitor.empty() ? h.path : h.monitor;
  check(!any_left(spec), "nothing is left");
}

static void only_v1(CgroupSpec& spec) {
  std::erase_if(spec.hierarchies, [](const CgroupHierarchy& h) { return h.version == 2; });
}
static void only_v2(CgroupSpec& spec) {
  std::erase_if(spec.hierarchies, [](const CgroupHierarchy& h) { return h.version == 1; });
}

int main() {
  if (::geteuid() != 0 || host_spec().hierarchies.empty()) {
    std::printf("1..0 # SKIP needs root and cgroups\n");
    return 0;
  }
  creates_limits_and_joins();
  holds_an_inner_directory();
  takes_back_a_failure();
  removes_what_grew();
  leaves_a_busy_one();
  freezes("cgroup.freeze", only_v2);
  freezes("the v1 freezer", only_v1);
  tells_each_change_once();
  kills_forkers("cgroup.kill", only_v2);
  kills_forkers("a walk over v1", only_v1);
  tells_usage_and_oom();
  watches_pressure();
  delegates();
  follows_init();
  moves_the_monitor();
  std::printf("1..%d\n", count);
  return failed ? 1 : 0;
}
