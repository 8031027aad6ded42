#include "kernel/seccomp_block.h"

#include <linux/seccomp.h>

#include <bit>
#include <cstddef>
#include <utility>

namespace caisson::seccomp {

namespace {

uint32_t return_value(const Action& action) {
  switch (action.kind) {
    case ActionKind::allow: return SECCOMP_RET_ALLOW;
    case ActionKind::log: return SECCOMP_RET_LOG;
    case ActionKind::notify: return SECCOMP_RET_USER_NOTIF;
    case ActionKind::errno_: return SECCOMP_RET_ERRNO | action.number;
    case ActionKind::trap: return SECCOMP_RET_TRAP;
    case ActionKind::kill: return SECCOMP_RET_KILL_THREAD;
    case ActionKind::kill_process: return SECCOMP_RET_KILL_PROCESS;
  }
  return SECCOMP_RET_KILL_PROCESS;
}

/// Emits one condition: falls through when it holds; jumps that leave the rule carry kFail until the rule's end is known.
class ConditionEmitter {
 public:
  static constexpr uint8_t kFail = 0xff, kHolds = 0xfe;

  explicit ConditionEmitter(Code& code) : code_(code) {}

  void emit(const Condition& condition) {
    const bool little = std::endian::native == std::endian::little;
    const auto base = static_cast<uint32_t>(offsetof(seccomp_data, args) + 8 * condition.index);
    const uint32_t low = base + (little ? 0 : 4), high = base + (little ? 4 : 0);
    const size_t start = code_.size();
    const auto half = [](uint64_t word) { return static_cast<uint32_t>(word >> 32); };
    const bool plain = half(condition.mask) == 0 && half(condition.value) == 0;  // an upper half of zeros equals itself
    const auto [holds, fails] = negated(condition) ? std::pair{kFail, kHolds} : std::pair{kHolds, kFail};
    const int test = condition.comparison == Comparison::equal || condition.comparison == Comparison::unequal ? BPF_JEQ
                     : condition.comparison == Comparison::greater || condition.comparison == Comparison::less_equal
                         ? BPF_JGT
                         : BPF_JGE;
    if (!plain) {
      load(high, half(condition.mask));
      if (test != BPF_JEQ) jump(BPF_JGT, half(condition.value), holds, 0);
      jump(BPF_JEQ, half(condition.value), 0, fails);
    }
    load(low, static_cast<uint32_t>(condition.mask));
    jump(test, static_cast<uint32_t>(condition.value), holds, fails);
    aim(start, kHolds);
  }

  /// Points every jump to `mark` from `start` on at the end of the code.
  void aim(size_t start, uint8_t mark) {
    for (size_t at = start; at < code_.size(); at++) {
      if (BPF_CLASS(code_[at].code) != BPF_JMP) continue;
      const auto distance = static_cast<uint8_t>(code_.size() - at - 1);
      if (code_[at].jt == mark) code_[at].jt = distance;
      if (code_[at].jf == mark) code_[at].jf = distance;
    }
  }

 private:
  static bool negated(const Condition& condition) {
    return condition.comparison == Comparison::unequal || condition.comparison == Comparison::less ||
           condition.comparison == Comparison::less_equal;
  }
  void load(uint32_t offset, uint32_t mask) {
    code_.push_back(statement(BPF_LD | BPF_W | BPF_ABS, offset));
    if (mask != ~0U) code_.push_back(statement(BPF_ALU | BPF_AND | BPF_K, mask));
  }
  void jump(int test, uint32_t k, uint8_t jt, uint8_t jf) {
    code_.push_back({static_cast<uint16_t>(BPF_JMP | test | BPF_K), jt, jf, k});
  }

  Code& code_;
};

}  // namespace

sock_filter returning(const Action& action) { return statement(BPF_RET | BPF_K, return_value(action)); }

Code block(const Choices& choices, const Action& otherwise) {
  Code code;
  ConditionEmitter emitter(code);
  for (const Choice& choice : choices) {
    const size_t start = code.size();
    for (const Condition& condition : choice.conditions) emitter.emit(condition);
    code.push_back(returning(choice.action));
    if (choice.conditions.empty()) return code;  // whatever follows is never reached
    emitter.aim(start, ConditionEmitter::kFail);
  }
  code.push_back(returning(otherwise));
  return code;
}

}  // namespace caisson::seccomp
