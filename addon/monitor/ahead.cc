#include "monitor/ahead.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>

#include "base/socket.h"
#include "base/sys.h"
#include "monitor/told.h"

namespace caisson::ahead {

/// The kernel says who sends: a program that has given up its rights meanwhile starts nothing with those of before.
Status await_spec(Context& c) {
  // The guest says nothing while it waits: its side of the line shows that it was killed.
  pollfd waited[] = {{c.rest.channel, POLLIN, 0}, {c.line.get(), POLLIN, 0}};
  while (::poll(waited, 2, -1) < 0) {
    if (errno != EINTR) return sys::failed("poll");
  }
  if (waited[1].revents != 0) return sys::refused("ERR_INIT_KILLED", "the newborn process was killed while it waited");
  socket::Packet packet = TRY(socket::receive(c.rest.channel, 16, true));
  if (packet.descriptors.empty()) return sys::refused("ERR_ABORTED", "nothing came to run");
  if (!packet.sender || packet.sender->uid != ::getuid()) return sys::refused("EPERM", "the launcher is another user now");
  c.told = std::move(packet.descriptors[0]);
  c.told_guest = Fd(::fcntl(c.told.get(), F_DUPFD_CLOEXEC, 3));
  if (!c.told_guest) return sys::failed("fcntl", "spec");
  for (size_t i = 1; i < packet.descriptors.size(); i++) c.slots.push_back(std::move(packet.descriptors[i]));
  return read_spec(c.told.get(), *c.rest.spec);
}

Status limit_cgroups(Context& c) { return cgroup::limit(c.spec.cgroup); }

Status take_spec(Context& c) {
  Status read = read_spec(c.told.get(), *c.rest.spec);
  c.told.reset();
  return read;
}

}  // namespace caisson::ahead
