#include "monitor/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/sys.h"
#include "kernel/process.h"
#include "monitor/reaper.h"

namespace caisson::supervisor {

Status unshare_pids(Context&) {
  if (::unshare(CLONE_NEWPID) < 0) return sys::failed("unshare", {}, "CLONE_NEWPID");
  return {};
}

/// Process 1 of the new namespace. Its parent is outside of that, so getppid(2) says nothing of it: a supervisor that has died before the
/// death signal was asked for is seen by the pipe that nobody reads any more.
static Status become_init(Context& c) {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) return sys::failed("prctl", {}, "PR_SET_PDEATHSIG");
  pollfd reader{c.ending.get(), 0, 0};
  if (::poll(&reader, 1, 0) > 0) ::_exit(1);
  return reaper::run(c);
}

/// By the same signal where there was one: this is no process 1.
[[noreturn]] static void end_as(int status) {
  if (WIFEXITED(status)) ::_exit(WEXITSTATUS(status));
  const int number = WTERMSIG(status);
  process::reset_signals();
  ::raise(number);
  ::_exit(128 + number);
}

constexpr int kSignals = 3;
constexpr int kTold = 4;

/// The pipes and the terminal are the program's alone: held here too they would never report their end.
static Status keep_only(int signals, int told) {
  const Fd signals_copy(::fcntl(signals, F_DUPFD, 8)), told_copy(::fcntl(told, F_DUPFD, 9));
  if (!signals_copy || !told_copy) return sys::failed("fcntl", {}, "F_DUPFD");
  if (::dup2(signals_copy.get(), kSignals) < 0 || ::dup2(told_copy.get(), kTold) < 0) return sys::failed("dup2");
  TRY(sys::close_from(kTold + 1));
  return process::set_stdio(-1, -1, -1);
}

/// When init has been killed, all that it says of the program is nothing.
[[noreturn]] static void reap(pid_t init) {
  int status = 0;
  if (::waitpid(init, &status, __WALL) != init) ::_exit(1);
  int told = 0;
  if (::read(kTold, &told, sizeof told) == sizeof told) status = told;
  end_as(status);
}

Status run(Context& c) {
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  Fd signals(::signalfd(-1, &all, SFD_CLOEXEC));
  if (!signals) return sys::failed("signalfd");
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return sys::failed("pipe2");
  Fd told(ends[0]);
  c.ending = Fd(ends[1]);
  const pid_t init = ::fork();
  if (init < 0) return sys::failed("fork");
  if (init == 0) {
    told.reset(), signals.reset();
    return become_init(c);
  }
  if (!keep_only(signals.release(), told.release())) ::_exit(1);
  for (;;) {
    signalfd_siginfo info{};
    if (::read(kSignals, &info, sizeof info) != sizeof info) continue;
    if (info.ssi_signo == SIGCHLD) reap(init);
    ::kill(init, static_cast<int>(info.ssi_signo));
  }
}

}  // namespace caisson::supervisor
