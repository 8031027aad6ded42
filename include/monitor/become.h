// Programs of the monitor that other programs come after: what they are told, and how they say that they could not.
#pragma once

#include <cstdio>
#include <cstring>

#include "base/sys.h"
#include "monitor/told.h"

namespace caisson::become {

constexpr int kTold = 5;
/// The exit code of a failure, which is said on standard error.
constexpr int kRefused = 126;

/// The Spec in the sealed memfd on descriptor 5.
template <class T>
Result<T> read() {
  const Fd file(kTold);
  T spec;
  TRY(read_spec(file.get(), spec));
  return spec;
}

inline int report(Status failed) {
  const Error& error = failed.error();
  std::fprintf(stderr, "caisson-monitor: %s %s: %s%s\n", error.call.c_str(), error.path.c_str(),
               error.number == 0 ? "" : std::strerror(error.number), error.detail.c_str());
  return kRefused;
}

}  // namespace caisson::become
