// libseccomp contributes what it is good at: the names and numbers of every architecture, the dispatch by architecture, the refusal
// of x32, and a balanced tree over the numbers. What it cannot say is "this call, except when": an unconditional rule swallows every
// conditional one for the same call, conflicting conditions have no order, and an argument can be compared once per rule. So each
// call gets a ticket instead of an action, SECCOMP_RET_TRACE | n, which no policy of ours uses, and the `return` of ticket n is
// replaced in the exported program: by the action, or by a jump to a block at its end that tests the arguments in the order of the
// rules.
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <optional>

#include "base/sys.h"
#include "kernel/seccomp.h"
#include "kernel/seccomp_block.h"
#include "kernel/seccomp_ranges.h"

namespace caisson::seccomp {

namespace {

// ── names and numbers ───────────────────────────────────────────────────────────────────────────────────────────────────

/// Calls newer than the libseccomp we link (2.5.4 as Debian 12 patches it). From 424 on a number is the same on all architectures.
struct NewSyscall {
  const char* name;
  int number;
  uint32_t token = 0;  ///< the only architecture that has it; 0: all
};
constexpr NewSyscall kNewSyscalls[] = {
    {"cachestat", 451},         {"fchmodat2", 452},     {"map_shadow_stack", 453}, {"futex_wake", 454},
    {"futex_wait", 455},        {"futex_requeue", 456}, {"statmount", 457},        {"listmount", 458},
    {"lsm_get_self_attr", 459}, {"lsm_set_self_attr", 460}, {"lsm_list_modules", 461}, {"mseal", 462},
    {"setxattrat", 463},        {"getxattrat", 464},    {"listxattrat", 465},      {"removexattrat", 466},
    {"open_tree_attr", 467},    {"file_getattr", 468},  {"file_setattr", 469},
    {"uretprobe", 335, SCMP_ARCH_X86_64}, {"uprobe", 336, SCMP_ARCH_X86_64}, {"riscv_hwprobe", 258, SCMP_ARCH_RISCV64},
};

/// What is added to the common numbers where several ABIs share a table.
struct NumberBase {
  uint32_t token;
  int base;
};
constexpr NumberBase kNumberBases[] = {
    {SCMP_ARCH_X32, 0x40000000},  {SCMP_ARCH_MIPS, 4000},       {SCMP_ARCH_MIPSEL, 4000},     {SCMP_ARCH_MIPS64, 5000},
    {SCMP_ARCH_MIPSEL64, 5000},   {SCMP_ARCH_MIPS64N32, 6000},  {SCMP_ARCH_MIPSEL64N32, 6000},
};

int number_base(uint32_t token) {
  for (const auto& [having, base] : kNumberBases) {
    if (having == token) return base;
  }
  return 0;
}

/// The number from our own table, or from digits, which are the native architecture's; nothing when there is none for this one.
std::optional<int> own_number(uint32_t token, const std::string& name) {
  if (!name.empty() && name.size() <= 9 && name.find_first_not_of("0123456789") == std::string::npos) {
    return token == seccomp_arch_native() ? std::optional(std::atoi(name.c_str())) : std::nullopt;
  }
  for (const NewSyscall& call : kNewSyscalls) {
    if (name == call.name && (call.token == 0 || call.token == token)) return call.number + number_base(token);
  }
  return {};
}

constexpr int kUnmultiplexed = -400;  // libseccomp's -100 … -399 stand for a call of socketcall(2) or ipc(2), the rest for none

/// An architecture of the policy.
struct Architecture {
  uint32_t token;
  bool multiplexes;  ///< has socketcall(2) and ipc(2)

  explicit Architecture(uint32_t of)
      : token(of), multiplexes(seccomp_syscall_resolve_name_arch(of, "socketcall") >= 0) {}

  /// libseccomp's number of a call that exists here, which is negative for a multiplexed one.
  std::optional<int> number(const std::string& name) const {
    const int found = seccomp_syscall_resolve_name_arch(token, name.c_str());
    if (found >= 0 || (multiplexes && found <= -100 && found > kUnmultiplexed)) return found;
    return found == __NR_SCMP_ERROR ? own_number(token, name) : std::nullopt;
  }
};

// ── tickets ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/// Blocks by number; equal blocks share one.
class Tickets {
 public:
  uint32_t issue(Code code) {
    for (size_t i = 0; i < blocks_.size(); i++) {
      if (same(blocks_[i], code)) return ticket(i);
    }
    return issue_own(std::move(code));
  }
  /// A ticket that no equal block shares.
  uint32_t issue_own(Code code) {
    blocks_.push_back(std::move(code));
    return ticket(blocks_.size() - 1);
  }
  void replace(uint32_t ticket, Code code) { blocks_[ticket & SECCOMP_RET_DATA] = std::move(code); }
  bool overflowed() const { return blocks_.size() > SECCOMP_RET_DATA; }

  /// Replaces every ticket's `return` in an exported program, and in the blocks that this appends. The first ticket's block may hold
  /// tickets itself; it is appended first, since jumps go forward only.
  void redeem(Code& program) const {
    std::map<size_t, size_t> placed{{0, program.size()}};
    if (blocks_[0].size() > 1) program.insert(program.end(), blocks_[0].begin(), blocks_[0].end());
    for (size_t at = 0; at < program.size(); at++) {
      if (program[at].code != (BPF_RET | BPF_K) || (program[at].k & SECCOMP_RET_ACTION_FULL) != SECCOMP_RET_TRACE) continue;
      const size_t index = program[at].k & SECCOMP_RET_DATA;
      const Code& code = blocks_[index];
      if (code.size() == 1) {
        program[at] = code[0];
        continue;
      }
      const auto [place, fresh] = placed.try_emplace(index, program.size());
      program[at] = statement(BPF_JMP | BPF_JA, static_cast<uint32_t>(place->second - at - 1));
      if (fresh) program.insert(program.end(), code.begin(), code.end());
    }
  }

 private:
  static uint32_t ticket(size_t index) { return SCMP_ACT_TRACE(static_cast<uint32_t>(index)); }
  static bool same(const Code& a, const Code& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(sock_filter)) == 0;
  }
  std::vector<Code> blocks_;
};

// ── the policy, call by call ────────────────────────────────────────────────────────────────────────────────────────────

/// The choices for each call of one architecture, by libseccomp's number, with a name that has this number.
struct Call {
  std::string name;
  Choices choices;
};
using Calls = std::map<int, Call>;

bool applies(const Rule& rule, uint32_t token) {
  return rule.architectures.empty() || std::ranges::any_of(rule.architectures, [&](const std::string& name) {
           return seccomp_arch_resolve_name(name.c_str()) == token;
         });
}

/// An unconditional rule for a multiplexed call, as a choice of its multiplexer. ipc(2) keeps a version in the upper half of the
/// call's number; both are ints.
void add_multiplexed(Calls& calls, const Architecture& architecture, int number, const Action& action) {
  const bool socket = number > -200;
  const char* name = socket ? "socketcall" : "ipc";
  const uint64_t mask = socket ? 0xffffffff : 0xffff;
  Call& call = calls[*architecture.number(name)];
  call.name = name;
  call.choices.push_back({{{0, Comparison::equal, static_cast<uint64_t>(-number % 100), mask}}, action});
}

Calls gather(const Policy& policy, const Architecture& architecture) {
  Calls calls;
  if (architecture.multiplexes) {
    for (const char* name : {"socketcall", "ipc"}) calls[*architecture.number(name)].name = name;
  }
  for (const Rule& rule : policy.rules) {
    if (!applies(rule, architecture.token)) continue;
    for (const std::string& name : rule.syscalls) {
      const std::optional<int> number = architecture.number(name);
      if (!number) continue;
      Call& call = calls[*number];
      call.name = name;
      call.choices.push_back({rule.conditions, rule.action});
      if (*number < 0 && rule.conditions.empty()) add_multiplexed(calls, architecture, *number, rule.action);
    }
  }
  return calls;
}

std::vector<std::string> unknown_names(const Policy& policy, const std::vector<Architecture>& architectures) {
  std::vector<std::string> unknown;
  for (const Rule& rule : policy.rules) {
    for (const std::string& name : rule.syscalls) {
      const bool known = std::ranges::any_of(architectures, [&](const auto& one) { return one.number(name).has_value(); });
      if (!known && std::ranges::find(unknown, name) == unknown.end()) unknown.push_back(name);
    }
  }
  return unknown;
}

// ── libseccomp ──────────────────────────────────────────────────────────────────────────────────────────────────────────

struct Release {
  void operator()(void* context) const { seccomp_release(context); }
};
using Context = std::unique_ptr<void, Release>;

Status checked(int result, const char* call, std::string detail = {}) {
  if (result < 0) return sys::failed_with(-result, call, {}, std::move(detail));
  return {};
}

/// The first two tickets: what is answered by default, and to a foreign architecture.
struct Common {
  Tickets& tickets;
  uint32_t otherwise;
  uint32_t bad_architecture;
};

/// A number libseccomp cannot translate to a foreign architecture, with its ticket's block: tested where the default is answered.
struct Extra {
  uint32_t audit_arch;
  int number;
  uint32_t ticket;
};

Result<Context> open(const Common& common, uint32_t token) {
  Context context(seccomp_init(common.otherwise));
  if (!context) return sys::failed_with(ENOMEM, "seccomp_init");
  TRY(checked(seccomp_attr_set(context.get(), SCMP_FLTATR_ACT_BADARCH, common.bad_architecture), "seccomp_attr_set"));
  TRY(checked(seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2), "seccomp_attr_set", "binary tree"));
  if (token == seccomp_arch_native()) return context;
  TRY(checked(seccomp_arch_add(context.get(), token), "seccomp_arch_add"));
  TRY(checked(seccomp_arch_remove(context.get(), seccomp_arch_native()), "seccomp_arch_remove"));
  return context;
}

/// Gives libseccomp one architecture's calls. Multiplexers come first and always: an unconditional rule of theirs keeps the
/// conditional ones away that libseccomp adds for each multiplexed call, whose arguments would be taken for the call's own.
Status add_calls(void* context, const Policy& policy, const Architecture& architecture, const Common& common,
                 std::vector<Extra>& extras) {
  const Calls calls = gather(policy, architecture);
  const auto add = [&](const Call& call) -> Status {
    const uint32_t ticket = common.tickets.issue(block(call.choices, policy.default_action));
    const int known = seccomp_syscall_resolve_name(call.name.c_str());
    const int native = known != __NR_SCMP_ERROR ? known : *own_number(architecture.token, call.name);
    if (known == __NR_SCMP_ERROR && architecture.token != seccomp_arch_native()) {
      const uint32_t audit_arch = architecture.token == SCMP_ARCH_X32 ? AUDIT_ARCH_X86_64 : architecture.token;
      extras.push_back({audit_arch, native, ticket});
      return {};
    }
    return checked(seccomp_rule_add(context, ticket, native, 0), "seccomp_rule_add", call.name);
  };
  const auto is_multiplexer = [](const Call& call) { return call.name == "socketcall" || call.name == "ipc"; };
  for (const auto& [number, call] : calls) {
    if (is_multiplexer(call)) TRY(add(call));
  }
  for (const auto& [number, call] : calls) {
    if (!is_multiplexer(call)) TRY(add(call));
  }
  return {};
}

/// What is answered where libseccomp's tree ends: the extras by their tickets, everything else by the default action.
Code default_block(const std::vector<Extra>& extras, const Action& otherwise) {
  Code code;
  for (const Extra& extra : extras) {
    code.push_back(statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)));
    code.push_back({BPF_JMP | BPF_JEQ | BPF_K, 0, 3, extra.audit_arch});
    code.push_back(statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
    code.push_back({BPF_JMP | BPF_JEQ | BPF_K, 0, 1, static_cast<uint32_t>(extra.number)});
    code.push_back(statement(BPF_RET | BPF_K, extra.ticket));
  }
  code.push_back(returning(otherwise));
  return code;
}

Result<Code> exported(void* context) {
  const Fd file(::memfd_create("seccomp", MFD_CLOEXEC));
  if (!file) return sys::failed("memfd_create");
  TRY(checked(seccomp_export_bpf(context, file.get()), "seccomp_export_bpf"));
  const off_t size = ::lseek(file.get(), 0, SEEK_CUR);
  Code code(static_cast<size_t>(size) / sizeof(sock_filter));
  if (::pread(file.get(), code.data(), static_cast<size_t>(size), 0) != size) return sys::failed("pread");
  return code;
}

Status validate(const Action& action) {
  const bool valid = action.kind == ActionKind::errno_ ? action.number >= 1 && action.number <= 4095 : action.number == 0;
  if (!valid) return sys::refused("ERR_CONFIG_VALUE", "a seccomp action with the number " + std::to_string(action.number));
  return {};
}

Status validate(const Policy& policy) {
  TRY(validate(policy.default_action));
  TRY(validate(policy.bad_architecture_action));
  for (const Rule& rule : policy.rules) {
    TRY(validate(rule.action));
    if (rule.conditions.size() > kMostConditions) return sys::refused("ERR_CONFIG_VALUE", "a seccomp rule with over 24 conditions");
    for (const Condition& condition : rule.conditions) {
      if (condition.index > 5) return sys::refused("ERR_CONFIG_VALUE", "a seccomp argument index above 5");
    }
  }
  return {};
}

Result<std::vector<Architecture>> resolve_architectures(const std::vector<std::string>& names) {
  std::vector<Architecture> architectures;
  for (const std::string& name : names) {
    const uint32_t token = seccomp_arch_resolve_name(name.c_str());
    if (token == 0) return sys::refused("ERR_CONFIG_VALUE", "unknown seccomp architecture \"" + name + "\"");
    architectures.emplace_back(token);
  }
  if (architectures.empty()) return sys::refused("ERR_CONFIG_VALUE", "a seccomp policy without an architecture");
  return architectures;
}

}  // namespace

Result<Compiled> compile(const Policy& policy) {
  TRY(validate(policy));
  const std::vector<Architecture> architectures = TRY(resolve_architectures(policy.architectures));
  Tickets tickets;
  const Common common{tickets, tickets.issue_own({}), tickets.issue_own({returning(policy.bad_architecture_action)})};
  std::vector<Extra> extras;
  Context whole;
  for (const Architecture& architecture : architectures) {
    Context one = TRY(open(common, architecture.token));
    TRY(add_calls(one.get(), policy, architecture, common, extras));
    if (!whole) {
      whole = std::move(one);
    } else {
      TRY(checked(seccomp_merge(whole.get(), one.get()), "seccomp_merge"));
      static_cast<void>(one.release());  // merged into the other, which frees it
    }
  }
  tickets.replace(common.otherwise, default_block(extras, policy.default_action));
  Code code = TRY(exported(whole.get()));
  if (tickets.overflowed()) return sys::refused("ERR_CONFIG_VALUE", "a seccomp policy with too many different rules");
  tickets.redeem(code);
  if (code.size() > BPF_MAXINSNS) {
    return sys::refused("ERR_CONFIG_VALUE", "a seccomp policy of " + std::to_string(code.size()) +
                                                " instructions; the kernel takes 4096");
  }
  code = with_ranges(std::move(code));
  Compiled compiled;
  compiled.program.resize(code.size() * sizeof(sock_filter));
  std::memcpy(compiled.program.data(), code.data(), compiled.program.size());
  compiled.unknown = unknown_names(policy, architectures);
  return compiled;
}

std::string syscall_name(uint32_t audit_arch, int number) {
  const bool x32 = audit_arch == AUDIT_ARCH_X86_64 && (number & 0x40000000) != 0;
  const uint32_t token = x32 ? SCMP_ARCH_X32 : audit_arch;
  if (char* found = seccomp_syscall_resolve_num_arch(token, number)) {
    std::string name = found;
    ::free(found);  // NOLINT: libseccomp allocates with malloc
    return name;
  }
  for (const NewSyscall& call : kNewSyscalls) {
    if (own_number(token, call.name) == number) return call.name;
  }
  return {};
}

int syscall_number(const std::string& architecture, const std::string& name) {
  const uint32_t token = seccomp_arch_resolve_name(architecture.c_str());
  return token == 0 ? -1 : std::max(Architecture(token).number(name).value_or(-1), -1);
}

}  // namespace caisson::seccomp
