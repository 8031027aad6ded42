// The listeners of a container's filters, kept while nobody answers: that of its init, and one for each attached program, since a filter
// loaded from outside is a filter of its own.
//
// Each has a journal beside it, a memfd into which whoever answers lets the kernel write the calls it takes (binding/pending.h). Both are
// handed out as copies; while the monitor holds the listener, a call waits for the next handler instead of failing with ENOSYS.
#pragma once

#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace caisson {

class Listeners {
 public:
  /// `loop` is the epoll descriptor that learns when a listener's last process has gone, and with `calls` of calls that wait.
  Listeners(int loop, bool calls) : loop_(loop), calls_(calls) {}

  Status add(Fd listener);
  /// Closes a listener that has no process left; false when `fd` is none of ours.
  bool drop(int fd);
  bool has(int fd) const;
  /// A listener and its journal by turns; at most as many as one message carries.
  std::vector<int> descriptors() const;

 private:
  struct Listener {
    Fd calls;
    Fd journal;
  };
  int loop_;
  bool calls_;
  std::vector<Listener> listeners_;
};

}  // namespace caisson
