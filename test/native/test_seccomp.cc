// Compiled filters asked by the kernel itself: each case forks a child, loads the program there, makes calls, and reports what came
// back. The i386 calls are made through int $0x80, so they need an x86-64 kernel with CONFIG_IA32_EMULATION.
#include <asm/unistd.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <functional>

#include "kernel/seccomp.h"

using namespace caisson;
using namespace caisson::seccomp;

static int count = 0;
static bool failed = false;

static void check(bool good, const std::string& what) {
  if (!good) failed = true;
  std::printf("%sok %d - %s\n", good ? "" : "not ", ++count, what.c_str());
}

static Action refuse(uint32_t number) { return {ActionKind::errno_, number}; }
static const Action kAllow{};
static const Action kKill{ActionKind::kill_process, 0};
static Policy allowing(std::vector<Rule> rules) { return {kAllow, kKill, {"x86_64", "x86"}, std::move(rules)}; }

/// Wait status of a child that loads `policy` and exits with what `act` returns.
static int in_child(const Policy& policy, const std::function<int()>& act) {
  auto compiled = compile(policy);
  if (!compiled) {
    std::printf("# compile: %s %s\n", compiled.error().call.c_str(), compiled.error().detail.c_str());
    return -1;
  }
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (!load(compiled->program, false)) ::_exit(120);
    ::_exit(act());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

static bool exits(int status, int code) { return WIFEXITED(status) && WEXITSTATUS(status) == code; }

/// errno of a call, 0 when it succeeded.
static int outcome(long result) { return result < 0 ? errno : 0; }

#ifdef __x86_64__
static int call32(long number, long a = 0, long b = 0, long c = 0) {
  long result = number;
  __asm__ volatile("int $0x80" : "+a"(result) : "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
  const int narrow = static_cast<int>(result);
  return narrow < 0 && narrow > -4096 ? -narrow : 0;
}
#endif

static bool holds(const Condition& c, uint64_t argument) {
  const uint64_t left = argument & c.mask;
  switch (c.comparison) {
    case Comparison::equal: return left == c.value;
    case Comparison::unequal: return left != c.value;
    case Comparison::less: return left < c.value;
    case Comparison::less_equal: return left <= c.value;
    case Comparison::greater: return left > c.value;
    case Comparison::greater_equal: return left >= c.value;
  }
  return false;
}

/// getppid(2) ignores its arguments, so the filter alone decides what it returns.
static void compare_with_the_kernel() {
  const uint64_t words[] = {0, 1, 0x5412, 0xffffffff, 0x100000000, 0x100005412, 0x8000000000000000, ~uint64_t{0}};
  const uint64_t masks[] = {~uint64_t{0}, 0xffffffff, 0xffffffff00000000, 0xf0};
  for (size_t op = 0; op < names(Comparison{}).size(); op++) {
    int wrong = 0;
    for (const uint64_t value : words) {
      for (const uint64_t mask : masks) {
        const Condition condition{3, static_cast<Comparison>(op), value, mask};
        const int status = in_child(allowing({{{"getppid"}, refuse(77), {condition}, {}}}), [&] {
          int differing = 0;
          for (const uint64_t word : words) {
            const bool refused = outcome(::syscall(SYS_getppid, 0, 0, 0, word)) == 77;
            differing += refused != holds(condition, word);
          }
          return differing;
        });
        if (!exits(status, 0)) wrong++;
      }
    }
    check(wrong == 0, std::string("64-bit comparison ") + names(Comparison{})[op]);
  }
}

static void order_of_rules() {
  const Condition one{0, Comparison::equal, 1, ~uint64_t{0}}, two{1, Comparison::equal, 2, ~uint64_t{0}};
  const Policy policy = allowing({{{"getppid"}, refuse(71), {one, two}, {}},
                                  {{"getppid", "getpid"}, refuse(72), {one}, {}},
                                  {{"getppid"}, refuse(73), {}, {}},
                                  {{"getppid"}, refuse(74), {two}, {}}});
  check(exits(in_child(policy, [] { return outcome(::syscall(SYS_getppid, 1, 2)); }), 71), "all conditions of a rule must hold");
  check(exits(in_child(policy, [] { return outcome(::syscall(SYS_getppid, 1, 3)); }), 72), "the first matching rule decides");
  check(exits(in_child(policy, [] { return outcome(::syscall(SYS_getppid, 0, 2)); }), 73), "an unconditional rule hides later ones");
  check(exits(in_child(policy, [] { return outcome(::syscall(SYS_getpid, 0, 2)); }), 0), "otherwise the default action");
}

static void ioctl_in_32_bits() {
  const Condition sti{1, Comparison::equal, TIOCSTI, 0xffffffff};
  const Policy policy = allowing({{{"ioctl"}, refuse(EPERM), {sti}, {}}});
  const auto ask = [](unsigned long request) { return [request] { return outcome(::syscall(SYS_ioctl, -1, request, 0)); }; };
  check(exits(in_child(policy, ask(TIOCSTI)), EPERM), "E2: TIOCSTI");
  check(exits(in_child(policy, ask(TIOCSTI | 1UL << 32)), EPERM), "E2: TIOCSTI with a high bit");
  check(exits(in_child(policy, ask(TIOCGWINSZ)), EBADF), "another request reaches the kernel");
}

static void unknown_numbers() {
  // AddressSanitizer asks for the alternate signal stack before a process ends
  const Policy policy{refuse(ENOSYS), kKill, {"x86_64", "x86"},
                      {{{"exit_group", "exit", "sigaltstack"}, kAllow, {}, {}}, {{"reboot"}, refuse(EPERM), {}, {}}}};
  check(exits(in_child(policy, [] { return outcome(::syscall(600)); }), ENOSYS), "J5: an unknown number is ENOSYS");
  check(exits(in_child(policy, [] { return outcome(::syscall(SYS_reboot, 0, 0, 0)); }), EPERM), "a forbidden name is EPERM");
  auto compiled = compile(allowing({{{"no_such_call", "mseal", "vm86"}, refuse(1), {}, {}}}));
  check(compiled && compiled->unknown == std::vector<std::string>{"no_such_call"}, "names that no architecture has are returned");
}

#ifdef __x86_64__
static void other_abis() {
  const Condition alg{0, Comparison::equal, AF_ALG, 0xffffffff};
  const Policy policy = allowing({{{"socket"}, refuse(EAFNOSUPPORT), {alg}, {}},
                                  {{"bind"}, refuse(81), {}, {}},
                                  {{"mseal"}, refuse(82), {}, {}},
                                  {{"getppid"}, refuse(83), {}, {"x86"}},
                                  {{"shmget"}, refuse(84), {}, {}}});
  check(exits(in_child(policy, [] { return call32(359, AF_ALG, SOCK_SEQPACKET, 0); }), EAFNOSUPPORT), "J9: i386 socket");
  check(exits(in_child(policy, [] { return call32(359, AF_UNIX, SOCK_STREAM, 0); }), 0), "i386 socket of another family");
  check(exits(in_child(policy, [] { return call32(361, -1, 0, 0); }), 81), "i386 bind");
  check(exits(in_child(policy, [] { return call32(102, 2, 0, 0); }), 81), "i386 bind by socketcall");
  check(exits(in_child(policy, [] { return call32(102, AF_ALG, 0, 0); }), EINVAL), "conditions do not mistake socketcall's number");
  check(exits(in_child(policy, [] { return call32(117, 1 << 16 | 23, 0, 0); }), 84), "i386 shmget by ipc, with a version");
  check(exits(in_child(policy, [] { return call32(462, 0, 0, 0); }), 82), "i386 call newer than libseccomp");
  check(exits(in_child(policy, [] { return outcome(::syscall(462, 0, 0, 0)); }), 82), "the same on x86-64");
  check(exits(in_child(policy, [] { return call32(64); }), 83), "a rule of one architecture applies there");
  check(exits(in_child(policy, [] { return outcome(::syscall(SYS_getppid)); }), 0), "and not on another");
  const auto x32 = in_child(policy, [] { return outcome(::syscall(SYS_getpid | 0x40000000)); });
  check(WIFSIGNALED(x32) && WTERMSIG(x32) == SIGSYS, "J1: x32 is killed");
  Policy native = policy;
  native.architectures = {"x86_64"};
  native.rules[3].architectures.clear();
  const auto i386 = in_child(native, [] { return call32(20); });
  check(WIFSIGNALED(i386) && WTERMSIG(i386) == SIGSYS, "an architecture that is not listed is killed");
}
#endif

static void refusals() {
  const auto code = [](Policy policy) {
    auto compiled = compile(policy);
    return compiled ? std::string("compiled") : compiled.error().code;
  };
  Policy policy = allowing({});
  policy.architectures = {"x86_65"};
  check(code(policy) == "ERR_CONFIG_VALUE", "J12: an unknown architecture is refused");
  policy.architectures.clear();
  check(code(policy) == "ERR_CONFIG_VALUE", "J12: no architecture is refused");
  check(code(allowing({{{"read"}, refuse(4096), {}, {}}})) == "ERR_CONFIG_VALUE", "J12: an errno above 4095 is refused");
  check(code(allowing({{{"read"}, refuse(1), {{6, Comparison::equal, 0, 0}}, {}}})) == "ERR_CONFIG_VALUE",
        "J12: an argument index above 5 is refused");
  std::vector<Rule> rules;
  for (uint64_t i = 0; i < 2000; i++) rules.push_back({{"read"}, refuse(1), {{0, Comparison::equal, i, ~uint64_t{0}}}, {}});
  check(code(allowing(rules)) == "ERR_CONFIG_VALUE", "a program longer than the kernel's limit is refused");
  check(!load({}, false) && !load(Bytes(7), false), "load refuses what is no program");
}

static void listener() {
  auto compiled = compile(allowing({{{"getppid"}, {ActionKind::notify, 0}, {}, {}}}));
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    auto fd = load(compiled->program, true);
    ::_exit(fd && *fd && (::fcntl(fd->get(), F_GETFD) & FD_CLOEXEC) != 0 ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  check(exits(status, 0), "a listener comes close-on-exec");
}

int main() {
  compare_with_the_kernel();
  order_of_rules();
  ioctl_in_32_bits();
  unknown_numbers();
#ifdef __x86_64__
  other_abis();
#endif
  refusals();
  listener();
  std::printf("1..%d\n", count);
  return failed ? 1 : 0;
}
