// The monitor's connections: the launch channel, and whoever connects to the command socket.
#pragma once

#include <memory>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "protocol.h"

namespace caisson {

struct Peer {
  Fd socket;
  bool launcher = false;    ///< the channel that came with the Spec
  bool subscribed = false;  ///< gets state changes and the end
  bool answers = false;     ///< is told of new seccomp listeners
  int64_t tty = 0;          ///< the number of the tty that is lent to it; 0: none
};

class Peers {
 public:
  /// `loop` is the epoll descriptor that learns of each peer's socket.
  explicit Peers(int loop) : loop_(loop) {}

  Status adopt(Fd socket, bool launcher);
  /// Listens on `socket` in the run directory.
  Status listen(int run_dir);
  int listener() const { return listener_.get(); }
  /// Takes a connection of the same user or of root; others are closed without a word.
  void accept();

  Peer* find(int socket);
  /// Whether a tty is lent to somebody.
  bool has_tty(int64_t number) const;
  /// The launch channel, while it is open.
  Peer* launcher();
  /// Reads one request, and what came with it. Null: nothing to do (a malformed request costs the connection). `closed` tells that the
  /// peer is gone.
  std::optional<Request> read(Peer& peer, std::vector<Fd>& descriptors, bool& closed);
  void drop(int socket);

  /// Sends without waiting; a peer that does not read is dropped. False when it was.
  bool send(Peer& peer, const Report& report, const std::vector<int>& descriptors = {});
  /// Asks the launcher to do what a step says, and waits until it has. False: there is no launcher any more. What it says beside that
  /// meanwhile is refused; others wait.
  Result<bool> ask(const std::string& step, pid_t init, int64_t timeout_ms);
  /// Sends to the launcher and to all subscribers.
  void publish(const Report& report);
  /// Sends to all that answer system calls.
  void tell_answering(const Report& report);
  /// Stops listening: no new peer is taken.
  void close_listener();

 private:
  template <class Wants>
  void send_to(Wants wants, const Report& report);

  int loop_;
  uint32_t asked_ = 0;
  Fd listener_;
  std::vector<std::unique_ptr<Peer>> peers_;
};

}  // namespace caisson
