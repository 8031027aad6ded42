// The system calls that wait for an answer from this process, seccomp_unotify(2).
//
// The kernel gives a call out once. Were it kept in this process alone, its caller would wait for ever when the process dies. So the calls
// stand in a file, the journal, into which the kernel itself writes them: whoever opens the listener next finds those that nobody answered.
// A lock on the journal lets one process at a time answer, so that no two wait for the same call.
#pragma once

#include <linux/seccomp.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace caisson::binding {

class Pending {
 public:
  /// Takes the listener and its journal, as the monitor keeps them. ERR_CONTAINER_BUSY while another process answers.
  static Result<std::unique_ptr<Pending>> open(Fd listener, Fd journal);
  ~Pending();
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;

  int listener() const { return listener_.get(); }
  /// The calls that an earlier process received and did not answer, and whose callers still wait.
  std::vector<seccomp_notif> left();
  /// The next call. Nothing when its caller has just been killed. Only when there is room, and poll(2) has seen one.
  Result<std::optional<seccomp_notif>> receive();
  /// No call is received before another is answered.
  bool full();
  /// From now on nothing is received, not even by a wake-up that is under way on another thread.
  void stop();
  bool stopped() const { return stopped_; }
  /// Lets another process answer; after stop().
  void release();

  /// Ends a call with a value, or with a negative errno, or (SECCOMP_USER_NOTIF_FLAG_CONTINUE, Linux 5.5) lets the kernel do it. False when
  /// the caller is gone.
  Result<bool> answer(uint64_t id, int64_t value, int32_t error, uint32_t flags);
  /// Puts a copy of a descriptor into the caller, and ends the call with its number: in one step on Linux 5.14, before with two.
  Result<bool> inject(uint64_t id, int descriptor, uint32_t flags);
  /// Whether the caller still waits. Whatever was learned about it by its pid before is about the right process if so.
  bool waits(uint64_t id) const;

 private:
  static constexpr size_t kSlots = 256, kSlotBytes = 128;

  Pending(Fd listener, Fd journal, uint8_t* slots) : listener_(std::move(listener)), journal_(std::move(journal)), slots_(slots) {}
  seccomp_notif* slot(size_t index) const { return reinterpret_cast<seccomp_notif*>(slots_ + index * kSlotBytes); }
  seccomp_notif* find(uint64_t id) const;
  void clear(uint64_t id);

  Fd listener_;
  Fd journal_;
  uint8_t* slots_;
  std::mutex mutex_;
  bool stopped_ = false;
};

}  // namespace caisson::binding
