// The monitor's end of the container's console: read at once, kept in a ring buffer and a file, and shown to whoever looks on.
#pragma once

#include "base/fd.h"
#include "base/result.h"
#include "monitor/viewers.h"
#include "spec.h"

namespace caisson {

class Console {
 public:
  /// `loop` is the epoll descriptor that learns of the console and of its viewers.
  explicit Console(int loop) : loop_(loop), viewers_(loop) {}

  /// Opens the log file, when there is to be one. `outer` stays the caller's.
  Status open(const ConsoleSpec& spec, int outer);
  /// Serves a descriptor of the console's; false when it is none of them.
  bool serve(int fd);
  /// Reads what is left, and is served no more.
  void finish();
  /// One more viewer, who gets what the ring buffer has first; gives the viewer's end of a stream socket.
  Result<Fd> view();
  /// The next moment to call `expire` at (ms, CLOCK_MONOTONIC), or -1.
  int64_t deadline() const { return viewers_.deadline(); }
  void expire(int64_t now);
  /// The ring buffer, oldest byte first: a file, since it may be larger than a message.
  Result<Fd> log_file() const;
  void clear() { ring_.clear(), next_ = 0; }

 private:
  Status attend();
  void drain();
  Bytes log() const;
  void rearm();
  void keep(const uint8_t* data, size_t size);
  void write_log(const uint8_t* data, size_t size);

  int loop_;
  Viewers viewers_;
  int outer_ = -1;
  Fd inner_;             ///< kept open, so that a container that closes its console and opens it again loses nothing
  Bytes ring_;           ///< grows to `most_`, then wraps at `next_`
  size_t most_ = 0;
  size_t next_ = 0;
  Fd file_;
  std::string path_;
  uint64_t written_ = 0;
  uint64_t largest_ = 0;
  bool rotate_ = false;
};

}  // namespace caisson
