// The life of a container between exec and its end, as a table of state × event.
//
// Theory of operation. After the schedule has walked to exec, the monitor sleeps in one epoll loop over init's pidfd, its peers, the
// console and the cgroup's notifications, and keeps at most two deadlines. Whatever happens becomes an Event; the table says what an
// event means in each state, and a blank cell means that it is refused by name (a request) or has no meaning (a notification). When init
// has died the schedule is undone, the exit is recorded for later askers, and the monitor ends, or, after a reboot, starts anew.
#pragma once

#include <optional>

#include "monitor/console.h"
#include "monitor/listeners.h"
#include "monitor/peers.h"
#include "monitor/proxy.h"
#include "monitor/schedule.h"

namespace caisson {

enum class Event : uint8_t { stop, kill, reboot, freeze, thaw, frozen, expired, orphaned, ended };
constexpr size_t kEvents = 9;

class Life {
 public:
  Life(const StartSpec& spec, Context& context, Peers& peers, int loop);

  /// Serves until init has ended. The schedule's rows are still done.
  ExitRecord live();
  /// Whether init asked for a reboot (reboot(2) in a pid namespace ends it by SIGHUP).
  bool rebooting() const { return rebooting_; }

 private:
  using Action = void (Life::*)(const Request*, Peer*);
  static const Action kTable[][kEvents];

  void happen(Event event, const Request* request = nullptr, Peer* peer = nullptr);
  void act_stop(const Request*, Peer*);
  void act_kill(const Request*, Peer*);
  void act_reboot(const Request*, Peer*);
  void act_freeze(const Request*, Peer*);
  void act_thaw(const Request*, Peer*);
  void act_frozen(const Request*, Peer*);
  void act_freeze_expired(const Request*, Peer*);
  void act_end(const Request*, Peer*);

  void follow_owner();
  void wait_once();
  void dispatch(int fd, uint32_t events);
  void hear(Peer& peer);
  void answer(const Request& request, Peer& peer, std::vector<Fd> descriptors);
  void answer_console(const Request& request, Peer& peer);
  void answer_listener(const Request& request, Peer& peer, std::vector<Fd> descriptors);
  void answer_state(const Request& request, Peer& peer);
  void reply(const Request& request, Peer& peer, Status status, const std::vector<int>& descriptors = {});
  void enter(State state);
  void settle_freeze(Status status);
  void check_frozen();
  Status signal_init(int number);
  void ask_to_halt();
  ExitRecord reap();

  const StartSpec& spec_;
  Context& context_;
  Peers& peers_;
  int loop_;
  Console console_;
  std::vector<Fd> tty_inners_;
  Listeners listeners_;
  Proxy proxy_;
  State state_ = State::running;
  bool ended_ = false;
  bool rebooting_ = false;
  bool orphaned_ = false;   ///< whom it was to end with is gone
  int64_t kill_at_ = -1;    ///< deadline of a stop
  int halt_ = 0;            ///< the signal that asks init to shut down; 0: found by what init listens to
  int64_t ask_at_ = -1;     ///< when init is asked again
  int64_t ask_pause_ = 0;
  int64_t settle_at_ = -1;  ///< when memory that only starting needed is let go
  int64_t thaw_at_ = -1;    ///< deadline of a freeze
  int freezer_socket_ = -1; ///< the peer that waits for the freeze
  Request freezer_{};
  cgroup::Watch frozen_watch_;
};

}  // namespace caisson
