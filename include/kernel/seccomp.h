// System call filters: structured rules into a classic BPF program, and a finished program into the kernel; seccomp(2).
//
// Rules are read in order, and the first one whose architecture, call and arguments match decides; where none does, the default
// action does. A number that no rule names meets the default action too, so a policy whose default is ENOSYS and which lists what
// it forbids tells a C library "this kernel is older" about calls newer than the policy, and "not you" (EPERM) about known ones.
//
// Three facts of 32-bit compatibility:
//  - On x86-64 the numbers of x32 carry bit 30 under the same AUDIT_ARCH; without "x32" among the architectures they meet the
//    bad-architecture action (firejail's and others' filters let them through as unknown numbers).
//  - i386 reaches sockets and System V IPC also through socketcall(2) and ipc(2). An unconditional rule for such a call covers its
//    multiplexed form; arguments stand behind a pointer there, so a rule with conditions cannot, and does not apply to it. A rule
//    for "socketcall" or "ipc" itself takes its place in the order like any other.
//  - The kernel reads an int argument's low 32 bits only, while a filter sees 64: compare those with a mask of 0xffffffff, or
//    TIOCSTI | 1 << 32 walks past (CVE-2019-10063, CVE-2019-7303).
//
// compile() is pure and the only user of libseccomp; load() needs nothing but the kernel. They are two link units.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/codec.h"
#include "base/fd.h"
#include "base/result.h"

namespace caisson::seccomp {

/// What a filter answers, seccomp(2). `notify` asks a process outside; `errno` fails with Action::number.
enum class ActionKind : uint8_t { allow, log, notify, errno_, trap, kill, kill_process };
constexpr auto names(ActionKind) { return std::array{"allow", "log", "notify", "errno", "trap", "kill", "kill-process"}; }

struct Action {
  static constexpr const char* kName = "SeccompVerdict";
  ActionKind kind{};
  uint32_t number = 0;  ///< the errno, 1 … 4095; 0 for every other kind

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("kind", s.kind), v("number", s.number);
  }
};

enum class Comparison : uint8_t { equal, unequal, less, less_equal, greater, greater_equal };
constexpr auto names(Comparison) { return std::array{"==", "!=", "<", "<=", ">", ">="}; }

/// `(argument & mask) <comparison> value`, unsigned, on all 64 bits.
struct Condition {
  static constexpr const char* kName = "SeccompCondition";
  uint32_t index = 0;  ///< of the argument, 0 … 5
  Comparison comparison{};
  uint64_t value = 0;
  uint64_t mask = ~uint64_t{0};

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("index", s.index), v("comparison", s.comparison), v("value", s.value), v("mask", s.mask);
  }
};

/// One rule: any of the calls, on any of the architectures, with all of the conditions.
struct Rule {
  static constexpr const char* kName = "SeccompStatement";
  std::vector<std::string> syscalls;  ///< by name; digits are a number of the native architecture (LXC's version 1 policies)
  Action action;
  std::vector<Condition> conditions;
  std::vector<std::string> architectures;  ///< empty: all of the policy's

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("syscalls", s.syscalls), v("action", s.action), v("conditions", s.conditions), v("architectures", s.architectures);
  }
};

struct Policy {
  static constexpr const char* kName = "SeccompPolicy";
  Action default_action;
  Action bad_architecture_action;          ///< for calls of an architecture that is not listed
  std::vector<std::string> architectures;  ///< libseccomp's names: "x86_64", "x86", "x32", "aarch64", "arm", "riscv64", …
  std::vector<Rule> rules;

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("defaultAction", s.default_action), v("badArchitectureAction", s.bad_architecture_action);
    v("architectures", s.architectures), v("rules", s.rules);
  }
};

/// A program for load(), and the names of calls that no architecture of the policy has or that are newer than this build.
struct Compiled {
  static constexpr const char* kName = "SeccompProgram";
  Bytes program;                     ///< struct sock_filter[], in the byte order of this machine
  std::vector<std::string> unknown;  ///< rules for these have no effect

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("program", s.program), v("unknown", s.unknown);
  }
};

/// Compiles a policy. Fails with ERR_CONFIG_VALUE for an unknown architecture, an index above 5, an errno outside 1 … 4095,
/// more than 24 conditions in a rule and a program longer than the kernel's 4096 instructions.
Result<Compiled> compile(const Policy& policy);

/// The name of a call by its AUDIT_ARCH_* and number, as a notification carries them; empty when this build knows none.
std::string syscall_name(uint32_t audit_arch, int number);
/// The number of a call on an architecture; -1 when it has none there or is unknown.
int syscall_number(const std::string& architecture, const std::string& name);

/// A call that waits for an answer, seccomp_unotify(2), as JavaScript sees it.
struct Call {
  static constexpr const char* kName = "SyscallCall";
  uint64_t id = 0;
  int32_t pid = 0;            ///< of the calling thread, in this process's pid namespace; 0 when it is not visible from here
  uint32_t architecture = 0;  ///< AUDIT_ARCH_*
  int32_t number = 0;
  std::string name;           ///< empty when unknown
  std::vector<uint64_t> arguments;

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("id", s.id), v("pid", s.pid), v("architecture", s.architecture), v("number", s.number);
    v("name", s.name), v("arguments", s.arguments);
  }
};

/// Loads a program for the calling thread and all that it starts. Needs no_new_privs or CAP_SYS_ADMIN in its user namespace.
/// Linux 3.17; with `listener` 5.0, and the returned descriptor gets the notifications: waiting for an answer is interrupted only by
/// a fatal signal where the kernel can (5.19), so that a handler's side effects are not repeated by a restarted call.
/// Without `listener` the returned Fd is empty.
Result<Fd> load(const Bytes& program, bool listener);

}  // namespace caisson::seccomp
