#include "monitor/hook.h"

#include <unistd.h>

#include <cctype>

#include "base/sys.h"
#include "kernel/namespace.h"
#include "kernel/process.h"
#include "monitor/peers.h"

namespace caisson::hook {

bool has(const Context& c, HookPoint point) {
  for (const HookSpec& hook : c.spec.hooks) {
    if (hook.point == point) return true;
  }
  return false;
}

bool frames(const Context& c) { return has(c, HookPoint::pre_start) || has(c, HookPoint::post_stop); }

/// `net:/proc/PID/fd/N` for each kept namespace, or LXC_NET_NS=/proc/PID/fd/N.
static void add_namespaces(const Context& c, const HookSpec& hook, Strings& argv, Strings& environment) {
  for (size_t kind = 0; kind < c.namespaces.size(); kind++) {
    if (!c.namespaces[kind]) continue;
    std::string name = ns::name(static_cast<NamespaceKind>(kind));
    const std::string path = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(c.namespaces[kind].get());
    if (!hook.by_environment) {
      argv.push_back(name + ":" + path);
      continue;
    }
    for (char& letter : name) letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
    environment.push_back("LXC_" + name + "_NS=" + path);
  }
}

Status run(Context& c, HookPoint point) {
  for (const HookSpec& hook : c.spec.hooks) {
    if (hook.point != point) continue;
    Strings argv = hook.argv;
    Strings environment = hook.environment;
    if (point == HookPoint::start_host) environment.push_back("LXC_PID=" + std::to_string(c.init));
    if (point == HookPoint::stop) add_namespaces(c, hook, argv, environment);
    if (point == HookPoint::stop || point == HookPoint::post_stop) {
      environment.push_back(c.rebooting ? "LXC_TARGET=reboot" : "LXC_TARGET=stop");
    }
    TRY(process::run(argv, environment, c.spec.hook_timeout_ms));
  }
  return {};
}

Status call(Context& c, HookPoint point) {
  const std::string step = std::string("hook.") + names(point)[static_cast<size_t>(point)];
  const bool answered = TRY(c.peers->ask(step, c.init, c.spec.hook_timeout_ms));
  if (answered || point == HookPoint::stop || point == HookPoint::post_stop) return {};
  return sys::refused("ERR_HOOK", "the process that has its callback is gone");
}

Status nothing(Context&) { return {}; }

Status keep_namespaces(Context& c) {
  c.namespaces.clear();
  c.namespaces.resize(names(NamespaceKind{}).size());
  for (const NamespaceKind kind : c.spec.namespaces) {
    const std::string path = "/proc/" + std::to_string(c.init) + "/ns/" + ns::name(kind);
    c.namespaces[static_cast<size_t>(kind)] = TRY(sys::open(path, O_RDONLY));
  }
  return {};
}

Status run_stop(Context& c) {
  Status status = run(c, HookPoint::stop);
  c.namespaces.clear();
  return status;
}

}  // namespace caisson::hook
