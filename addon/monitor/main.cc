// caisson-monitor: the small static process outside a container, one for each, which outlives Node.
//
// Started with a verb, the Spec in a sealed memfd on descriptor 3, the channel on 4 and the Spec's own descriptors from 5 on:
//   start   becomes the monitor of a container until it ends
//   adopt   becomes the monitor of one whose own was killed
//   attach  puts a program into a running container and is gone
//   inside  changes the mounts of a running container and is gone
//   link    changes or lists network interfaces outside a start
// And `confine PROGRAM ARGUMENT…` becomes that program, monitor/confine.h.
//   nursery forks further ones, which get all that by the channel
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "base/socket.h"
#include "base/sys.h"
#include "kernel/process.h"
#include "monitor/attach.h"
#include "monitor/confine.h"
#include "monitor/view.h"
#include "monitor/inside.h"
#include "monitor/link.h"
#include "monitor/monitor.h"
#include "monitor/nursery.h"
#include "monitor/told.h"
#include "protocol.h"

namespace caisson {

constexpr int kSpec = 3;
constexpr int kChannel = 4;
constexpr int kSlots = 5;
constexpr int kUnknown = 64;  // EX_USAGE

/// What came by exec.
static nursery::Order take_order(const char* verb) {
  nursery::Order order{.verb = verb, .told = Fd(kSpec), .channel = Fd(kChannel), .slots = {}};
  for (int fd = kSlots; ::fcntl(fd, F_GETFD) >= 0; fd++) order.slots.emplace_back(fd);
  return order;
}

template <class T, class Run>
static int serve(nursery::Order order, Run run) {
  T spec;
  Status status = read_spec(order.told.get(), spec);
  if (status) return run(spec, std::move(order.told), std::move(order.channel), std::move(order.slots));
  Report report{.kind = ReportKind::failed, .error = std::move(status).error()};
  report.error->step = "monitor.begin";
  return socket::send(order.channel.get(), encode(report), {}, true) ? 1 : 2;
}

struct Command {
  const char* verb;
  int (*run)(nursery::Order);
};

constexpr Command kCommands[] = {
    {"start", [](nursery::Order order) { return serve<StartSpec>(std::move(order), monitor::run); }},
    {"adopt", [](nursery::Order order) { return serve<StartSpec>(std::move(order), monitor::adopt); }},
    {"attach", [](nursery::Order order) { return serve<AttachSpec>(std::move(order), attach::run); }},
    {"inside", [](nursery::Order order) { return serve<InsideSpec>(std::move(order), inside::run); }},
    {"link", [](nursery::Order order) { return serve<LinkRequest>(std::move(order), link::run); }},
};

static int obey(nursery::Order order) {
  for (const Command& command : kCommands) {
    if (order.verb == command.verb) return command.run(std::move(order));
  }
  return kUnknown;
}

/// A fork of the nursery shows the verb that it has, as one does that was exec'ed.
static int nurse(char* name) {
  nursery::Order order = nursery::run(Fd(kChannel));
  if (order.verb.empty()) return 0;
  const size_t room = std::strlen(name);
  std::memset(name, 0, room);
  order.verb.copy(name, room);
  return obey(std::move(order));
}

}  // namespace caisson

int main(int argc, char** argv) {
  using namespace caisson;
  if (argc > 2 && std::strcmp(argv[1], "confine") == 0) return confine::run(argv + 2);
  if (argc > 2 && std::strcmp(argv[1], "view") == 0) return view::run(argv + 2);
  process::block_signals();
  if (argc == 2 && sys::cloexec_from(kSpec)) {
    const int ended = std::strcmp(argv[1], "nursery") == 0 ? nurse(argv[1]) : obey(take_order(argv[1]));
    if (ended != kUnknown) return ended;
  }
  constexpr char kUsage[] = "caisson-monitor is started by the caisson library\n";
  return ::write(2, kUsage, sizeof kUsage - 1) < 0 ? 2 : kUnknown;
}
