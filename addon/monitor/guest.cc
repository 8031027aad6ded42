#include "monitor/guest.h"

#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>

#include "base/sys.h"
#include "kernel/caps.h"
#include "kernel/idmap.h"
#include "kernel/keyring.h"
#include "kernel/lsm.h"
#include "kernel/namespace.h"
#include "kernel/process.h"
#include "kernel/seccomp.h"

namespace caisson::guest {

bool has_user(const Context& c) { return ns::has(c.spec.namespaces, NamespaceKind::user); }
bool in_user(const Context& c) {
  for (const NamespaceJoin& join : c.spec.joined) {
    if (join.kind == NamespaceKind::user) return true;
  }
  return has_user(c);
}
bool has_cgroups(const Context& c) { return !c.spec.cgroup.hierarchies.empty(); }
bool notifies(const Context& c) { return c.spec.security.seccomp_notify; }
static bool filters(const Context& c) { return !c.spec.security.seccomp.empty(); }
bool filters_early(const Context& c) { return filters(c) && !c.spec.security.no_new_privs; }
bool filters_late(const Context& c) { return filters(c) && c.spec.security.no_new_privs; }
bool forbids_privileges(const Context& c) { return c.spec.security.no_new_privs; }
static bool labels_exec(const Context& c) { return !c.spec.security.apparmor.empty() || !c.spec.security.selinux.empty(); }
bool has_labels(const Context& c) { return labels_exec(c) || !c.spec.security.selinux_keyring.empty(); }
bool has_landlock(const Context& c) { return c.spec.security.landlock.has_value(); }
bool schedules_cores(const Context& c) { return c.spec.security.core_scheduling; }

Status enter_cgroups(Context& c) { return cgroup::enter(c.places, c.unified_joined); }

Status enter_idmap(Context& c) {
  TRY(idmap::enter(c.spec.idmap));
  // Ids have changed, and with them the process has become dumpable by the container's own rules; it is not, before exec.
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) return sys::failed("prctl", {}, "PR_SET_DUMPABLE");
  return {};
}

Status renew_keyring(Context& c) {
  if (!c.spec.security.keyring) return {};
  const std::string& context = c.spec.security.selinux_keyring;
  if (!context.empty()) TRY(lsm::label_keyring(c.proc.get(), context));
  return keyring::renew();
}

Status create_session(Context& c) {
  const ConsoleSpec& console = c.spec.console;
  const auto source = [&](Slot slot) { return slot >= 0 ? c.slot(slot) : c.console_inner.get(); };
  TRY(process::set_stdio(source(console.input), source(console.output), source(console.error)));
  if (c.spec.minimal_init) return {};  // its child makes the session
  return process::new_session(c.spec.process.terminal || (console.pty && console.input < 0));
}

/// 0 is the caller itself.
static Status set_limit(pid_t process, const Rlimit& limit) {
  const auto resource = static_cast<__rlimit_resource>(limit.resource);
  rlimit values{limit.soft, limit.hard};
  if (::prlimit(process, resource, &values, nullptr) == 0) return {};
  rlimit now{};
  if (errno == EPERM && limit.best_effort && ::prlimit(process, resource, nullptr, &now) == 0) {
    values = {std::min<rlim_t>(limit.soft, now.rlim_max), std::min<rlim_t>(limit.hard, now.rlim_max)};
    if (::prlimit(process, resource, &values, nullptr) == 0) return {};
  }
  return sys::failed("prlimit", std::to_string(limit.resource));
}

Status set_modes(Context& c) {
  for (const Rlimit& limit : c.spec.process.rlimits) TRY(set_limit(0, limit));
  TRY(process::set_modes(c.spec.process));
  return process::set_directory(c.spec.process);
}

Status bound_caps(Context& c) { return caps::bound(c.spec.security.capabilities.bounding); }

Status set_ids(Context& c) {
  TRY(caps::keep_over_setuid());
  TRY(process::set_ids(c.spec.process, c.spec.idmap.deny_setgroups));
  caps::raise_permitted();
  return {};
}

Status set_caps(Context& c) { return caps::set(c.spec.security.capabilities); }

Status forbid_privileges(Context&) {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return sys::failed("prctl", {}, "PR_SET_NO_NEW_PRIVS");
  return {};
}

Status prepare_labels(Context& c) {
  c.proc = TRY(lsm::open_proc());
  return {};
}

/// A reboot enters the same profile again.
Status remove_labels(Context& c) {
  c.proc.reset();
  if (c.rebooting) return {};
  return lsm::apparmor::remove(c.spec.security.apparmor_profile, c.spec.security.apparmor_namespace);
}

/// AppArmor's profile is entered now and not at exec: a minimal init never execs, and where exec changes the profile the kernel forgets the
/// parent-death signal (apparmor_bprm_committing_creds). SELinux knows no such change without a rule of the policy.
Status label_process(Context& c) {
  const SecuritySpec& security = c.spec.security;
  if (!security.selinux.empty()) TRY(lsm::selinux::label_exec(c.proc.get(), security.selinux));
  return security.apparmor.empty() ? Status{} : lsm::apparmor::label_now(c.proc.get(), security.apparmor);
}

Status restrict_files(Context& c) {
  if (c.spec.security.no_new_privs) TRY(forbid_privileges(c));
  return lsm::landlock::restrict(*c.spec.security.landlock);
}

Status load_filter(Context& c) {
  c.listener = TRY(seccomp::load(c.spec.security.seccomp, c.spec.security.seccomp_notify));
  return {};
}

/// From outside, as a hard limit may only be raised with rights in the initial user namespace; a host without CAP_SYS_RESOURCE may not
/// touch another user's process at all, and leaves what can be lowered to the process itself.
Status set_rlimits(Context& c) {
  for (const Rlimit& limit : c.spec.process.rlimits) {
    Status set = set_limit(c.init, limit);
    if (!set && (set.error().number != EPERM || c.init == 0)) return set;
  }
  return {};
}

Status set_proc(Context& c) {
  const std::string proc = "/proc/" + (c.init == 0 ? std::string("self") : std::to_string(c.init)) + "/";
  if (c.spec.process.oom_score_adj) {
    TRY(sys::write_file(proc + "oom_score_adj", std::to_string(*c.spec.process.oom_score_adj)));
  }
  for (const Setting& setting : c.spec.proc_settings) TRY(sys::write_file(proc + setting.path, setting.value));
  return {};
}

}  // namespace caisson::guest
