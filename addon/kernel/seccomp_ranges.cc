#include "kernel/seccomp_ranges.h"

#include <linux/audit.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <set>

namespace caisson::seccomp {

#if defined(__x86_64__)
constexpr uint32_t kAbis[] = {AUDIT_ARCH_X86_64, AUDIT_ARCH_I386};
#elif defined(__aarch64__)
constexpr uint32_t kAbis[] = {AUDIT_ARCH_AARCH64, AUDIT_ARCH_ARM};
#else
constexpr uint32_t kAbis[] = {0};
#endif

/// What a call meets: an answer, or the place of the filter where it begins to look at more than the ABI and the number.
struct Outcome {
  bool settled;
  uint32_t value;
  bool operator==(const Outcome&) const = default;
};

/// Numbers from `first` to the next range's.
struct Range {
  uint32_t first;
  Outcome outcome;
};
using Ranges = std::vector<Range>;

constexpr uint32_t kNumber = offsetof(seccomp_data, nr);
constexpr uint32_t kAbi = offsetof(seccomp_data, arch);
constexpr uint32_t kNoAbi = 0;

/// Where a comparison leads, or nothing when it is none that splits the numbers into ranges.
static std::optional<bool> compare(const sock_filter& jump, uint32_t value) {
  switch (BPF_OP(jump.code)) {
    case BPF_JEQ: return value == jump.k;
    case BPF_JGT: return value > jump.k;
    case BPF_JGE: return value >= jump.k;
    default: return std::nullopt;
  }
}

/// Follows a call of which the ABI and the number are known. Nothing: it does with them what is not understood here.
static std::optional<Outcome> follow(const Code& code, uint32_t abi, uint32_t number) {
  std::optional<uint32_t> held;
  for (size_t at = 0; at < code.size(); at++) {
    const sock_filter& one = code[at];
    if (one.code == (BPF_RET | BPF_K)) return Outcome{true, one.k};
    if (one.code == (BPF_LD | BPF_W | BPF_ABS)) {
      // A load forgets what was held before: the filter can be entered here.
      if (one.k != kNumber && one.k != kAbi) return Outcome{false, static_cast<uint32_t>(at)};
      held = one.k == kNumber ? number : abi;
    } else if (one.code == (BPF_JMP | BPF_JA)) {
      at += one.k;
    } else if (BPF_CLASS(one.code) == BPF_JMP && BPF_SRC(one.code) == BPF_K && held) {
      const std::optional<bool> taken = compare(one, *held);
      if (!taken) return std::nullopt;
      at += *taken ? one.jt : one.jf;
    } else {
      return std::nullopt;
    }
  }
  return std::nullopt;
}

/// Between two neighbouring numbers that the filter compares with, nothing can change.
static std::optional<Ranges> ranges_of(const Code& code, uint32_t abi) {
  std::set<uint32_t> bounds{0};
  for (const sock_filter& one : code) {
    if (BPF_CLASS(one.code) != BPF_JMP || BPF_OP(one.code) == BPF_JA) continue;
    bounds.insert(one.k);
    if (one.k != UINT32_MAX) bounds.insert(one.k + 1);
  }
  Ranges ranges;
  for (const uint32_t bound : bounds) {
    const std::optional<Outcome> found = follow(code, abi, bound);
    if (!found) return std::nullopt;
    if (ranges.empty() || ranges.back().outcome != *found) ranges.push_back({bound, *found});
  }
  return ranges;
}

/// The ranges of each ABI, and of all that are none of them: there the number may decide nothing.
static std::optional<std::vector<Ranges>> all_ranges(const Code& code) {
  std::vector<Ranges> all;
  for (const uint32_t abi : kAbis) {
    std::optional<Ranges> ranges = ranges_of(code, abi);
    if (!ranges) return std::nullopt;
    all.push_back(std::move(*ranges));
  }
  std::optional<Ranges> others = ranges_of(code, kNoAbi);
  if (!others || others->size() != 1) return std::nullopt;
  all.push_back(std::move(*others));
  return all;
}

/// Whether the filter asks for an ABI that is none of this machine's.
static bool knows_others(const Code& code) {
  bool abi = false;
  for (const sock_filter& one : code) {
    const bool compares = BPF_CLASS(one.code) == BPF_JMP && BPF_OP(one.code) != BPF_JA;
    if (one.code == (BPF_LD | BPF_W | BPF_ABS)) abi = one.k == kAbi;
    else if (abi && compares && std::ranges::find(kAbis, one.k) == std::end(kAbis)) return true;
  }
  return false;
}

/// The parts of the filter that are still entered, moved together.
class Rest {
 public:
  Rest(const Code& code, const std::vector<Ranges>& all) : code_(code), places_(code.size(), kDropped) {
    for (const Ranges& ranges : all) {
      for (const Range& range : ranges) {
        if (!range.outcome.settled) keep(range.outcome.value);
      }
    }
    size_t next = 0;
    for (size_t& place : places_) {
      if (place != kDropped) place = next++;
    }
    for (size_t at = 0; at < code.size(); at++) {
      if (places_[at] != kDropped) kept_.push_back(moved(at));
    }
  }
  size_t place(size_t at) const { return places_[at]; }
  const Code& kept() const { return kept_; }

 private:
  static constexpr size_t kDropped = SIZE_MAX;

  void keep(size_t from) {
    for (std::vector<size_t> open{from}; !open.empty();) {
      const size_t at = open.back();
      open.pop_back();
      if (at >= code_.size() || places_[at] != kDropped) continue;
      places_[at] = 0;
      const sock_filter& one = code_[at];
      if (BPF_CLASS(one.code) == BPF_RET) continue;
      if (one.code == (BPF_JMP | BPF_JA)) open.push_back(at + 1 + one.k);
      else if (BPF_CLASS(one.code) == BPF_JMP) open.push_back(at + 1 + one.jt), open.push_back(at + 1 + one.jf);
      else open.push_back(at + 1);
    }
  }

  /// What lies between only shrinks: a distance that had room has room still.
  sock_filter moved(size_t at) const {
    sock_filter one = code_[at];
    const auto distance = [&](size_t offset) { return places_[at + 1 + offset] - places_[at] - 1; };
    if (one.code == (BPF_JMP | BPF_JA)) one.k = static_cast<uint32_t>(distance(one.k));
    else if (BPF_CLASS(one.code) == BPF_JMP) one.jt = static_cast<uint8_t>(distance(one.jt)), one.jf = static_cast<uint8_t>(distance(one.jf));
    return one;
  }

  const Code& code_;
  std::vector<size_t> places_;
  Code kept_;
};

static void append(Code& code, const Code& more) { code.insert(code.end(), more.begin(), more.end()); }

/// Marks a jump into the rest, until the distance is known.
constexpr uint32_t kIntoRest = 1U << 31;

static sock_filter leaf(const Outcome& outcome, const Rest& rest) {
  if (outcome.settled) return statement(BPF_RET | BPF_K, outcome.value);
  return statement(BPF_JMP | BPF_JA, kIntoRest | static_cast<uint32_t>(rest.place(outcome.value)));
}

/// Expects the number in the accumulator.
static Code bisect(const Ranges& ranges, size_t from, size_t to, const Rest& rest) {
  if (to - from == 1) return {leaf(ranges[from].outcome, rest)};
  const size_t middle = from + (to - from) / 2;
  const Code low = bisect(ranges, from, middle, rest);
  Code code{statement(BPF_JMP | BPF_JGE | BPF_K, ranges[middle].first)};
  if (low.size() <= UINT8_MAX) {
    code[0].jt = static_cast<uint8_t>(low.size());
  } else {
    code[0].jf = 1;
    code.push_back(statement(BPF_JMP | BPF_JA, static_cast<uint32_t>(low.size())));
  }
  append(code, low);
  append(code, bisect(ranges, middle, to, rest));
  return code;
}

Code with_ranges(Code code) {
  if (knows_others(code)) return code;
  const std::optional<std::vector<Ranges>> all = all_ranges(code);
  if (!all) return code;
  const Rest rest(code, *all);
  Code whole{statement(BPF_LD | BPF_W | BPF_ABS, kAbi)};
  for (size_t i = 0; i < std::size(kAbis); i++) {
    const Code tree = bisect((*all)[i], 0, (*all)[i].size(), rest);
    // Another ABI: past the load of the number and the tree.
    whole.push_back(statement(BPF_JMP | BPF_JEQ | BPF_K, kAbis[i]));
    whole.back().jt = 1;
    whole.push_back(statement(BPF_JMP | BPF_JA, static_cast<uint32_t>(tree.size() + 1)));
    whole.push_back(statement(BPF_LD | BPF_W | BPF_ABS, kNumber));
    append(whole, tree);
  }
  whole.push_back(leaf(all->back()[0].outcome, rest));
  for (size_t at = 0; at < whole.size(); at++) {
    sock_filter& one = whole[at];
    if (one.code == (BPF_JMP | BPF_JA) && (one.k & kIntoRest) != 0) {
      one.k = static_cast<uint32_t>(whole.size() - at - 1) + (one.k & ~kIntoRest);
    }
  }
  append(whole, rest.kept());
  return whole.size() < code.size() ? whole : code;
}

}  // namespace caisson::seccomp
