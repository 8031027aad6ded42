// The part of a filter that tests one call's arguments: straight-line classic BPF, every jump forward and inside the block.
#pragma once

#include <linux/filter.h>

#include <vector>

#include "kernel/seccomp.h"

namespace caisson::seccomp {

/// A condition is 7 instructions at most, and a conditional jump reaches 255.
constexpr size_t kMostConditions = 24;

using Code = std::vector<sock_filter>;

inline sock_filter statement(int code, uint32_t k) { return {static_cast<uint16_t>(code), 0, 0, k}; }

/// The instruction that ends the filter with an action.
sock_filter returning(const Action& action);

/// What happens to one call on one architecture: rules in order, reduced to conditions and actions.
struct Choice {
  std::vector<Condition> conditions;
  Action action;
};
using Choices = std::vector<Choice>;

/// Tests the choices in order; a single `return` when there is nothing to test.
Code block(const Choices& choices, const Action& otherwise);

}  // namespace caisson::seccomp
