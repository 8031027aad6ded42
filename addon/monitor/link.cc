#include "monitor/link.h"

#include <poll.h>
#include <sched.h>

#include <cerrno>

#include "base/socket.h"
#include "base/sys.h"
#include "kernel/link.h"
#include "protocol.h"

namespace caisson::link {

/// So many interfaces fit into one message with room to spare.
constexpr size_t kMostInReport = 128;
constexpr uint32_t kChanges = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;

static int slot(const std::vector<Fd>& slots, Slot index) {
  return index >= 0 && static_cast<size_t>(index) < slots.size() ? slots[static_cast<size_t>(index)].get() : -1;
}

static Status with_step(Status status, const char* step) {
  if (!status && status.error().step.empty()) status.error().step = step;
  return status;
}

/// The namespace to act on; none when this process is in it. Whoever joins a user namespace has no rights over the network it came from, and
/// stays.
static Result<Fd> open_target(const LinkRequest& request, const std::vector<Fd>& slots) {
  if (request.user >= 0) {
    if (::setns(slot(slots, request.user), CLONE_NEWUSER) < 0) return sys::failed("setns", "user");
    if (::setns(slot(slots, request.netns), CLONE_NEWNET) < 0) return sys::failed("setns", "net");
  }
  if (request.user >= 0 || request.netns < 0) return Fd();
  const netlink::Visit visit = TRY(netlink::Visit::to(slot(slots, request.netns)));
  return visit.here();
}

static Status configure_inside(const LinkRequest& request, const Target& target) {
  if (target.netns < 0) return configure(request.create);
  const netlink::Visit visit = TRY(netlink::Visit::to(target.netns));
  return configure(request.create);
}

static Status change(const LinkRequest& request, const Target& target) {
  TRY(with_step(remove(request.remove, target), "link.remove"));
  TRY(with_step(create(request.create, target), "link.create"));
  Status configured = with_step(configure_inside(request, target), "link.configure");
  if (!configured) (void)remove(request.create, target);
  TRY(std::move(configured));
  TRY(with_step(shape(request.shape), "link.shape"));
  return with_step(request.unpin.empty() ? Status{} : unpin(request.unpin), "link.unpin");
}

static Status report_list(netlink::Socket& socket, int channel) {
  std::vector<LinkState> links = TRY(list(socket));
  for (size_t at = 0; at < links.size(); at += kMostInReport) {
    const bool last = links.size() - at <= kMostInReport;
    const auto end = last ? links.end() : links.begin() + static_cast<ptrdiff_t>(at + kMostInReport);
    Report report{.kind = last ? ReportKind::reply : ReportKind::links};
    report.links.assign(links.begin() + static_cast<ptrdiff_t>(at), end);
    TRY(socket::send(channel, encode(report), {}, true));
  }
  return {};
}

/// Until the asker has closed the channel. Only the socket keeps the namespace alive meanwhile.
static Status watch(netlink::Socket& socket, int channel) {
  for (;;) {
    pollfd wait[] = {{socket.descriptor(), POLLIN, 0}, {channel, POLLIN, 0}};
    if (::poll(wait, 2, -1) < 0 && errno != EINTR) return sys::failed("poll");
    if (wait[1].revents != 0) return {};
    if (TRY(socket.drain())) TRY(report_list(socket, channel));
  }
}

static Status serve(const LinkRequest& request, std::vector<Fd>& slots, int channel) {
  Fd netns = TRY(open_target(request, slots));
  const Target target{netns.get(), 0};
  TRY(change(request, target));
  if (!request.list) return socket::send(channel, encode(Report{.kind = ReportKind::reply}), {}, true);
  const uint32_t groups = request.watch ? kChanges : 0;
  netlink::Socket socket = TRY(target.netns < 0 ? netlink::Socket::open(groups) : netlink::Socket::open_in(target.netns, groups));
  netns.reset();
  slots.clear();
  TRY(with_step(report_list(socket, channel), "link.list"));
  return request.watch ? watch(socket, channel) : Status{};
}

int run(const LinkRequest& request, Fd, Fd channel, std::vector<Fd> slots) {
  Status served = serve(request, slots, channel.get());
  if (served) return 0;
  Report report{.kind = ReportKind::failed, .error = std::move(served).error()};
  if (report.error->step.empty()) report.error->step = "link.open";
  return socket::send(channel.get(), encode(report), {}, true) ? 1 : 2;
}

}  // namespace caisson::link
