// What the cgroup tests share: TAP, the host's hierarchies read the simple way, children that live in cgroups of our own.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <functional>
#include <sstream>

#include "base/sys.h"
#include "kernel/cgroup.h"

using namespace caisson;

inline int count = 0;
inline bool failed = false;

inline void check(bool good, const std::string& what) {
  if (!good) failed = true;
  std::printf("%sok %d - %s\n", good ? "" : "not ", ++count, what.c_str());
}

inline void skip(const char* what, const char* why) { std::printf("ok %d - %s # SKIP %s\n", ++count, what, why); }

template <class T>
inline bool worked(Result<T>& result, const std::string& what) {
  if (!result) {
    const Error& e = result.error();
    std::printf("# %s: %s %s: %s (%s)\n", what.c_str(), e.call.c_str(), e.path.c_str(), std::strerror(e.number), e.detail.c_str());
  }
  check(static_cast<bool>(result), what);
  return static_cast<bool>(result);
}

// ── this host, read the simple way ──────────────────────────────────────────────────────────────────────────────────────

inline std::string text_of(const std::string& path) {
  auto text = sys::read_file(path);
  if (!text) return {};
  while (!text->empty() && text->back() == '\n') text->pop_back();
  return *text;
}

inline Strings words(std::string text) {
  for (char& c : text) c = c == ',' ? ' ' : c;
  std::istringstream in(text);
  Strings all;
  for (std::string word; in >> word;) all.push_back(word);
  return all;
}

inline const pid_t kSelf = ::getpid();
inline std::string name_of(const char* suffix) { return "caisson.test." + std::to_string(kSelf) + suffix; }

inline CgroupSpec host_spec(const char* suffix = "") {
  CgroupSpec spec;
  std::istringstream lines(text_of("/proc/self/mountinfo"));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line.substr(line.find(" - ") + 3));
    std::string type, source, options;
    fields >> type >> source >> options;
    if (type != "cgroup" && type != "cgroup2") continue;
    CgroupHierarchy h;
    h.version = type == "cgroup" ? 1 : 2;
    h.mount = words(line)[4];
    h.path = name_of(suffix);
    for (const std::string& word : words(h.version == 1 ? options : text_of(h.mount + "/cgroup.controllers"))) {
      if (word != "rw" && word != "xattr") h.controllers.push_back(word);
    }
    spec.hierarchies.push_back(h);
  }
  return spec;
}

inline int index_of(const CgroupSpec& spec, const std::string& controller) {
  for (size_t i = 0; i < spec.hierarchies.size(); i++) {
    for (const std::string& one : spec.hierarchies[i].controllers) {
      if (one == controller) return static_cast<int>(i);
    }
  }
  return -1;
}

inline const CgroupHierarchy* unified_of(const CgroupSpec& spec) {
  for (const CgroupHierarchy& h : spec.hierarchies) {
    if (h.version == 2) return &h;
  }
  return nullptr;
}

inline void add_file(CgroupSpec& spec, const std::string& controller, const char* v1, const char* v2, const char* value) {
  const int at = index_of(spec, controller);
  if (at < 0) return;
  spec.files.push_back({static_cast<uint32_t>(at), spec.hierarchies[static_cast<size_t>(at)].version == 1 ? v1 : v2, value, false});
}

inline std::string dir(const CgroupHierarchy& h) { return h.mount + "/" + (h.base.empty() ? "" : h.base + "/") + h.path; }

inline bool any_left(const CgroupSpec& spec) {
  for (const CgroupHierarchy& h : spec.hierarchies) {
    if (::access(dir(h).c_str(), F_OK) == 0) return true;
  }
  return false;
}

// ── children in the places ──────────────────────────────────────────────────────────────────────────────────────────────

inline pid_t spawn(const cgroup::Places& places, const std::function<int()>& act, bool into = true) {
  std::fflush(stdout);
  const int unified = into ? cgroup::unified(places) : -1;
  auto pid = sys::clone_process(0, nullptr, SIGCHLD, unified);
  if (!pid) return -1;
  if (*pid == 0) ::_exit(cgroup::enter(places, unified >= 0) ? act() : 121);
  return *pid;
}

inline int ended(pid_t pid) {
  int status = -1;
  ::waitpid(pid, &status, 0);
  return status;
}

inline int run(const cgroup::Places& places, const std::function<int()>& act) {
  const int status = ended(spawn(places, act));
  return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

/// Waits until `good`, at most ten seconds.
inline bool soon(const std::function<bool()>& good) {
  const timespec pause{0, 2'000'000};
  for (int i = 0; i < 5000; i++) {
    if (good()) return true;
    ::nanosleep(&pause, nullptr);
  }
  return false;
}

inline std::atomic<uint64_t>* shared_counter() {
  void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return new (page) std::atomic<uint64_t>(0);
}

inline pid_t spawn_counter(const cgroup::Places& places, std::atomic<uint64_t>* counter) {
  return spawn(places, [counter]() -> int {
    for (;;) counter->fetch_add(1);
  });
}
