// Those who look at the console: each has a stream socket that gets all output and whose input is typed at the console.
//
// Output is shown byte for byte, so while a viewer has not taken what was shown the console is not read. A viewer that takes nothing for
// kPatienceMs loses its connection: nobody can hold up a container for longer than that.
#pragma once

#include <memory>
#include <vector>

#include "base/codec.h"
#include "base/fd.h"
#include "base/result.h"

namespace caisson {

class Viewers {
 public:
  /// `loop` is the epoll descriptor that learns of the viewers' sockets.
  explicit Viewers(int loop) : loop_(loop) {}

  /// One more; gives its end of the socket, which begins with `before`.
  Result<Fd> add(Bytes before);
  void show(const uint8_t* data, size_t size);
  /// Something happened on a descriptor: passes on what can be. False when it is none of ours.
  bool serve(int fd, int console);
  /// Types at the console what it did not take before.
  void type(int console);

  /// Somebody has not taken all output.
  bool behind() const;
  /// The console has not taken all input.
  bool typing() const;
  /// When the patience with the slowest viewer ends (ms, CLOCK_MONOTONIC); -1: nobody is slow.
  int64_t deadline() const;
  /// Lets go of those with whom the patience has ended.
  void expire(int64_t now);
  /// Passes on what is left to those who take it, with the same patience.
  void finish();

 private:
  struct Viewer {
    Fd socket;
    Bytes output;          ///< what it has not taken yet
    Bytes input;           ///< what the console has not taken yet
    int64_t since = 0;     ///< when it took something last
    bool gone = false;
  };

  void pass_output(Viewer& viewer);
  void pass_input(Viewer& viewer, int console);
  void watch(const Viewer& viewer) const;
  void forget();

  int loop_;
  std::vector<std::unique_ptr<Viewer>> viewers_;
};

}  // namespace caisson
