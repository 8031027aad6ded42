#include "monitor/nursery.h"

#include <sched.h>
#include <unistd.h>

#include <cerrno>

#include "base/socket.h"
#include "base/sys.h"
#include "protocol.h"

namespace caisson::nursery {

static void tell_failure(int channel, Error error) {
  Report report{.kind = ReportKind::failed, .error = std::move(error)};
  report.error->step = "monitor.begin";
  // A launcher that has gone needs no answer.
  (void)!socket::send(channel, encode(report), {}, true);
}

static Order order_of(socket::Packet packet) {
  Order order;
  order.verb.assign(packet.data.begin(), packet.data.end());
  order.told = std::move(packet.descriptors[0]);
  order.channel = std::move(packet.descriptors[1]);
  for (size_t i = 2; i < packet.descriptors.size(); i++) order.slots.push_back(std::move(packet.descriptors[i]));
  return order;
}

/// Whether the packet comes from a process of the user who started this one, and is an order.
static bool is_order(const socket::Packet& packet) {
  return !packet.data.empty() && packet.descriptors.size() >= 2 && packet.sender && packet.sender->uid == ::getuid() &&
         packet.sender->gid == ::getgid();
}

Order run(Fd socket) {
  for (;;) {
    auto packet = socket::receive(socket.get(), 16, true);
    if (!packet || !is_order(*packet)) return {};
    int number = -1;
    // The launcher's own child, with the exit signal of this process, which is none.
    auto pid = sys::clone_process(CLONE_PARENT, &number, 0, -1);
    if (pid && *pid == 0) return order_of(std::move(*packet));
    if (!pid) {
      tell_failure(packet->descriptors[1].get(), std::move(pid).error());
      continue;
    }
    const Fd pidfd(number);
    if (!socket::send(socket.get(), Bytes{1}, {pidfd.get()}, true)) return {};
  }
}

}  // namespace caisson::nursery
