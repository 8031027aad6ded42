#include "monitor/reaper.h"

#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/sys.h"
#include "kernel/process.h"
#include "monitor/baton.h"

namespace caisson::reaper {

[[noreturn]] static void become_child(Context& c) {
  // A session of its own: process 1 must not be the one that the terminal stops or interrupts.
  const Status session = process::new_session(c.spec.process.terminal || (c.spec.console.pty && c.spec.console.input < 0));
  process::reset_signals();
  const Error error = session ? process::exec(c.spec.process) : Status(session).error();
  baton::tell(c.line.get(), error);
  ::_exit(127);
}

/// Ends as the child did: its code, or 128 + its signal, since process 1 cannot kill itself.
[[noreturn]] static void end_as(int status, int ending) {
  (void)!::write(ending, &status, sizeof status);
  ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static void reap(pid_t child, int ending) {
  int status = 0;
  for (pid_t pid; (pid = ::waitpid(-1, &status, WNOHANG | __WALL)) > 0;) {
    if (pid == child) end_as(status, ending);
  }
}

constexpr int kSignals = 3;
constexpr int kEnding = 4;

/// Lets go of everything else. The terminal and the pipes belong to the child alone; held here too they would never report their end.
static Status keep_only(int signals, int ending) {
  const int sources[] = {signals, ending};
  for (int i = 0; i < 2; i++) {
    const Fd copy(::fcntl(sources[i], F_DUPFD, 5 + i));
    if (!copy || ::dup2(copy.get(), kSignals + i) < 0) return sys::failed("dup2");
  }
  TRY(sys::close_from(kEnding + 1));
  return process::set_stdio(-1, -1, -1);
}

Status run(Context& c) {
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  Fd signals(::signalfd(-1, &all, SFD_CLOEXEC));
  if (!signals) return sys::failed("signalfd");
  pid_t child = 0;
  if (!c.spec.process.argv.empty()) {
    // Nothing is copied for a child that only execs, and this process has nothing to do until it has.
    child = ::vfork();
    if (child < 0) return sys::failed("vfork");
    if (child == 0) become_child(c);
  } else if (::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0) {
    // Who adds programs to this container enters through its process 1, and nothing of this process is worth hiding from those.
    return sys::failed("prctl", {}, "PR_SET_DUMPABLE");
  }
  if (!keep_only(signals.release(), c.ending.release())) ::_exit(1);
  for (;;) {
    signalfd_siginfo info{};
    if (::read(kSignals, &info, sizeof info) != sizeof info) continue;
    if (info.ssi_signo == SIGCHLD) reap(child, kEnding);
    else if (child != 0) ::kill(child, static_cast<int>(info.ssi_signo));
  }
}

}  // namespace caisson::reaper
