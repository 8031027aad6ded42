#include "monitor/view.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/sys.h"
#include "kernel/idmap.h"
#include "kernel/mount.h"
#include "kernel/overlay.h"
#include "kernel/process.h"
#include "monitor/become.h"
#include "spec.h"

namespace caisson::view {

/// A user namespace with that map. It lives on as a descriptor; the process that it was made with does not.
static Result<Fd> make_user_namespace(const IdMap& map) {
  int pidfd = -1;
  const pid_t pid = TRY(sys::clone_process(CLONE_NEWUSER, &pidfd, SIGCHLD));
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    for (;;) ::pause();
  }
  const Fd held(pidfd);
  Status written = idmap::write(pid, map);
  Result<Fd> made = written ? idmap::open(pid) : Result<Fd>(written.error());
  TRY(sys::pidfd_send_signal(held.get(), SIGKILL));
  if (TEMP_FAILURE_RETRY(::waitpid(pid, nullptr, 0)) < 0) return sys::failed("waitpid");
  return made;
}

static Status become_program(char** command) {
  const ViewSpec spec = TRY(become::read<ViewSpec>());
  TRY(sys::cloexec_from(3));
  if (::unshare(CLONE_NEWNS) < 0) return sys::failed("unshare", {}, "CLONE_NEWNS");
  TRY(mount::isolate(false));
  const Fd map = TRY(make_user_namespace(spec.idmap));
  const Fd shown = TRY(overlay::open(spec.rootfs, map.get(), {}));
  if (spec.rootfs.attributes != 0) {
    mount_attr attributes{};
    attributes.attr_set = spec.rootfs.attributes;
    TRY(sys::mount_setattr(shown.get(), "", AT_EMPTY_PATH, attributes));
  }
  const Fd run = TRY(mount::create("tmpfs", "", {{"size", "1m"}, {"mode", "755"}}, 0));
  if (::mkdirat(run.get(), spec.at.c_str(), 0755) < 0) return sys::failed("mkdirat", spec.at);
  TRY(sys::move_mount(run.get(), AT_FDCWD, "/run"));
  TRY(sys::move_mount(shown.get(), run.get(), spec.at));
  process::reset_signals();
  ::execv(command[0], command);
  return sys::failed("execve", command[0]);
}

int run(char** command) { return become::report(become_program(command)); }

}  // namespace caisson::view
