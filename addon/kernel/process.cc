#include "kernel/process.h"

#include <grp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/sys.h"

namespace caisson::process {

/// Strings as execve(2) wants them.
static std::vector<char*> pointers(const Strings& strings) {
  std::vector<char*> list;
  list.reserve(strings.size() + 1);
  for (const std::string& string : strings) list.push_back(const_cast<char*>(string.c_str()));
  list.push_back(nullptr);
  return list;
}

[[noreturn]] static void become(const Strings& argv, const Strings& environment, int words) {
  ::setsid();  // a group of its own: what it starts can be killed with it
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0 || ::dup2(null, 0) < 0 || ::dup2(words, 1) < 0 || ::dup2(words, 2) < 0 || ::chdir("/") < 0) ::_exit(127);
  reset_signals();
  ::execve(argv[0].c_str(), pointers(argv).data(), pointers(environment).data());
  ::_exit(errno == ENOENT ? 127 : 126);
}

constexpr size_t kMostWords = 4096;

/// Takes what the program has written so far; of too much the end is kept, as that says what went wrong. False: nothing more will come.
static bool take_words(int from, std::string& words) {
  char buffer[4096];
  for (;;) {
    const ssize_t got = ::read(from, buffer, sizeof buffer);
    if (got == 0) return false;
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    words.append(buffer, static_cast<size_t>(got));
    if (words.size() > kMostWords) words.erase(0, words.size() - kMostWords);
  }
}

/// Reads until the program has ended. False: the deadline has passed.
static bool attend(int pidfd, int from, int64_t deadline_ms, std::string& words) {
  pollfd watched[] = {{pidfd, POLLIN, 0}, {from, POLLIN, 0}};
  for (;;) {
    const int64_t left = deadline_ms < 0 ? -1 : std::max<int64_t>(0, deadline_ms - sys::now_ms());
    const int ready = ::poll(watched, 2, static_cast<int>(std::min<int64_t>(left, 1 << 30)));
    if (ready == 0 && deadline_ms >= 0 && sys::now_ms() >= deadline_ms) return false;
    if (ready <= 0) continue;
    if (watched[1].revents != 0 && !take_words(from, words)) watched[1].fd = -1;
    if (watched[0].revents == 0) continue;
    if (watched[1].fd >= 0) take_words(from, words);
    return true;
  }
}

static Error end_of(const std::string& program, int status, const std::string& words) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127 && words.empty()) {
    return sys::refused("ERR_TOOL_MISSING", "cannot be executed", program);
  }
  std::string detail = WIFEXITED(status) ? "exit code " + std::to_string(WEXITSTATUS(status))
                                         : "killed by signal " + std::to_string(WTERMSIG(status));
  if (!words.empty()) detail += ": " + words;
  while (!detail.empty() && detail.back() == '\n') detail.pop_back();
  return sys::refused("ERR_TOOL_FAILED", std::move(detail), program);
}

Status run(const Strings& argv, const Strings& environment, int64_t timeout_ms) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return sys::failed("pipe2");
  Fd from(ends[0]), to(ends[1]);
  ::fcntl(from.get(), F_SETFL, O_NONBLOCK);
  const pid_t pid = ::fork();
  if (pid < 0) return sys::failed("fork");
  if (pid == 0) become(argv, environment, to.get());
  to.reset();
  std::string words;
  auto pidfd = sys::pidfd_open(pid);
  const bool ended = pidfd && attend(pidfd->get(), from.get(), timeout_ms < 0 ? -1 : sys::now_ms() + timeout_ms, words);
  if (!ended) ::kill(-pid, SIGKILL), ::kill(pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, __WALL) < 0) {
    if (errno != EINTR) return sys::failed("waitpid", argv[0]);
  }
  if (!pidfd) return std::move(pidfd).error();
  if (!ended) return sys::refused("ERR_TIMEOUT", "killed after " + std::to_string(timeout_ms) + " ms", argv[0]);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? Status{} : Status(end_of(argv[0], status, words));
}

void reset_signals() {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void block_signals() {
  // Node ignores some, and what is ignored stays so over exec.
  struct sigaction standard{};
  standard.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; number++) ::sigaction(number, &standard, nullptr);
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
}

static Result<Fd> open_null() { return sys::open("/dev/null", O_RDWR | O_NOCTTY); }

Status set_stdio(int input, int output, int error) {
  const Fd null = TRY(open_null());
  const int wanted[] = {input, output, error};
  int sources[3];
  // Copies above 2 first, so that no dup2 overwrites what a later one needs.
  for (int i = 0; i < 3; i++) {
    sources[i] = ::fcntl(wanted[i] < 0 ? null.get() : wanted[i], F_DUPFD_CLOEXEC, 3);
    if (sources[i] < 0) return sys::failed("fcntl", {}, "descriptor " + std::to_string(i));
  }
  for (int i = 0; i < 3; i++) {
    const Fd source(sources[i]);
    if (::dup2(source.get(), i) < 0) return sys::failed("dup2");
  }
  return {};
}

Status new_session(bool terminal) {
  if (::setsid() < 0 && errno != EPERM) return sys::failed("setsid");
  if (terminal && ::ioctl(0, TIOCSCTTY, 0) < 0) return sys::failed("ioctl", "TIOCSCTTY");
  return {};
}

Status set_modes(const ProcessSpec& spec) {
  ::umask(spec.umask.value_or(022));
  if (spec.personality && ::personality(*spec.personality) < 0) return sys::failed("personality");
  return {};
}

static Status schedule_core(unsigned long command, pid_t pid) {
  constexpr unsigned long kThreadGroup = 1;  // PR_SCHED_CORE_SCOPE_THREAD_GROUP
  const unsigned long scope = command == PR_SCHED_CORE_CREATE ? kThreadGroup : 0;
  if (::prctl(PR_SCHED_CORE, command, pid, scope, 0) == 0) return {};
  if (errno != EINVAL && errno != ENODEV) return sys::failed("prctl", {}, "PR_SCHED_CORE");
  return sys::refused("ERR_FEATURE_MISSING", errno == ENODEV ? "this machine has no simultaneous multithreading, or it is off"
                                                             : "this kernel has no core scheduling");
}

Status new_core_cookie() { return schedule_core(PR_SCHED_CORE_CREATE, 0); }
Status take_core_cookie(pid_t pid) { return schedule_core(PR_SCHED_CORE_SHARE_FROM, pid); }

Status set_directory(const ProcessSpec& spec) {
  const char* directory = spec.cwd.empty() ? "/" : spec.cwd.c_str();
  if (::chdir(directory) < 0) return sys::failed("chdir", directory);
  return {};
}

Status set_ids(const ProcessSpec& spec, bool keep_groups) {
  if (!keep_groups && ::syscall(SYS_setgroups, spec.groups.size(), spec.groups.data()) < 0) return sys::failed("setgroups");
  if (::syscall(SYS_setresgid, spec.gid, spec.gid, spec.gid) < 0) return sys::failed("setresgid", std::to_string(spec.gid));
  if (::syscall(SYS_setresuid, spec.uid, spec.uid, spec.uid) < 0) return sys::failed("setresuid", std::to_string(spec.uid));
  return {};
}

static std::string search_path(const Strings& environment) {
  for (const std::string& entry : environment) {
    if (entry.rfind("PATH=", 0) == 0) return entry.substr(5);
  }
  return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

/// Tries each directory of PATH; as execvp(3), a file that cannot be executed is remembered and the search goes on.
static int exec_searched(const std::string& name, const Strings& environment, char* const* argv, char* const* envp) {
  const std::string path = search_path(environment);
  int worst = ENOENT;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find(':', begin), path.size());
    const std::string directory = path.substr(begin, end - begin);
    ::execve(((directory.empty() ? "." : directory) + "/" + name).c_str(), argv, envp);
    if (errno != ENOENT && errno != ENOTDIR) worst = errno;
    if (worst != ENOENT && worst != EACCES) break;
    begin = end + 1;
  }
  return worst;
}

Error exec(const ProcessSpec& spec) {
  const std::string& name = spec.argv[0];
  const auto argv = pointers(spec.argv);
  const auto envp = pointers(spec.environment);
  if (name.find('/') == std::string::npos) {
    return sys::failed_with(exec_searched(name, spec.environment, argv.data(), envp.data()), "execve", name);
  }
  ::execve(name.c_str(), argv.data(), envp.data());
  return sys::failed("execve", name);
}

}  // namespace caisson::process
