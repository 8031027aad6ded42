// What a Node process and a monitor say to each other.
//
// The transport is SOCK_SEQPACKET: one message, one packet, with its descriptors beside it (SCM_RIGHTS). A launch has its channel (a
// socketpair) from the start; everybody else connects to `socket` in the container's run directory (0700, peers checked by SO_PEERCRED).
// Node sends Requests; the monitor answers each with one Report of kind `reply` and the same id, and sends Reports with id 0 on its own.
// A launch channel receives `started` or `failed` once, then every `state`, then `exited`; other channels receive `state` and `exited`
// after they have sent `subscribe`. No exchange waits for a peer: a peer that does not read loses its connection.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "base/codec.h"
#include "base/result.h"
#include "spec.h"

namespace caisson {

constexpr uint32_t kProtocolVersion = 1;
constexpr size_t kLargestMessage = 128 * 1024;

/// The states of LXC; `thawed` is never a state to rest in.
enum class State : uint8_t { stopped, starting, running, stopping, aborting, freezing, frozen, thawed };
constexpr auto names(State) {
  return std::array{"STOPPED", "STARTING", "RUNNING", "STOPPING", "ABORTING", "FREEZING", "FROZEN", "THAWED"};
}

enum class Verb : uint8_t {
  state,      ///< the state and init's pid
  subscribe,  ///< state changes and the end are reported from now on; answers like `state`
  spec,       ///< the Spec it was started with: reply.data, and descriptor 0 is init's pidfd
  signal,     ///< `number` to init
  stop,       ///< the halt signal to init; after `timeout_ms` (-1: never) everything is killed
  kill,       ///< kills everything now
  reboot,     ///< the reboot signal to init
  freeze,     ///< answers when everything is frozen, or `timeout_ms` has passed
  thaw,
  /// Console `number` (0): a stream socket that gets its log and then all output, and whose input is typed there; and the pty's outer end,
  /// for its size. Tty `number`, or the next free one (-1): its outer end; reply.pid is its number, and it is the asker's until that
  /// closes the connection.
  console,
  log,        ///< the console's ring buffer, descriptor 0 is a file; number 1 clears it
  /// The seccomp listeners: of init's filter and of each attached program's, each followed by its journal (monitor/listeners.h). A report
  /// of kind `listener` tells the asker from now on that there is one more. With a descriptor, from an attaching process: this is one.
  listener,
  answered,   ///< the answer to a report of kind `ask`, by its id: `number` 0, or 1 for a failure; gets none itself
};
constexpr auto names(Verb) {
  return std::array{"state", "subscribe", "spec", "signal", "stop", "kill", "reboot", "freeze", "thaw", "console", "log", "listener", "answered"};
}

struct Request {
  static constexpr const char* kName = "Request";
  uint32_t id = 0;
  Verb verb{};
  int64_t number = 0;
  int64_t timeout_ms = -1;

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("id", s.id), v("verb", s.verb), v("number", s.number), v("timeoutMs", s.timeout_ms);
  }
};

/// How the container's init ended, and what the container had used by then (absent where no cgroup could tell).
struct ExitRecord {
  static constexpr const char* kName = "ExitRecord";
  std::optional<int32_t> code;
  std::optional<int32_t> signal;
  bool oom_killed = false;
  bool pids_limit_hit = false;
  int64_t at_ms = 0;           ///< Unix time
  std::optional<uint64_t> cpu_usec;
  std::optional<uint64_t> memory_peak;
  std::optional<uint64_t> pids_peak;

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("code", s.code), v("signal", s.signal), v("oomKilled", s.oom_killed), v("pidsLimitHit", s.pids_limit_hit);
    v("atMs", s.at_ms), v("cpuUsec", s.cpu_usec), v("memoryPeak", s.memory_peak), v("pidsPeak", s.pids_peak);
  }
};

/// How long a row of the schedule took, when the Spec asked for a trace.
struct TraceEntry {
  static constexpr const char* kName = "TraceEntry";
  std::string step;
  bool guest = false;
  uint64_t nanoseconds = 0;

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("step", s.step), v("guest", s.guest), v("nanoseconds", s.nanoseconds);
  }
};

/// `ask`: the launcher is to do what the step says, and the monitor waits for its `answered`.
enum class ReportKind : uint8_t { reply, started, failed, state, exited, links, listener, ask };
constexpr auto names(ReportKind) { return std::array{"reply", "started", "failed", "state", "exited", "links", "listener", "ask"}; }

struct Report {
  static constexpr const char* kName = "Report";
  ReportKind kind{};
  uint32_t id = 0;
  State state{};
  int32_t pid = 0;             ///< init's, or the attached program's, in the monitor's pid namespace; 0: none
  std::optional<Error> error{};
  std::vector<Error> cleanup{};  ///< failures of the undoing; they never replace the error
  std::optional<ExitRecord> exit{};
  std::string step{};          ///< of an `ask`
  std::vector<TraceEntry> trace{};
  Bytes data{};
  std::vector<LinkState> links{};  ///< of `caisson-monitor link`: a list in pieces of kind `links`, the last one of kind `reply`

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("kind", s.kind), v("id", s.id), v("state", s.state), v("pid", s.pid), v("error", s.error);
    v("cleanup", s.cleanup), v("exit", s.exit), v("step", s.step), v("trace", s.trace), v("data", s.data), v("links", s.links);
  }
};

}  // namespace caisson
