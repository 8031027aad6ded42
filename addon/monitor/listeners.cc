#include "monitor/listeners.h"

#include <sys/epoll.h>
#include <sys/mman.h>

#include <algorithm>

#include "base/socket.h"
#include "base/sys.h"

namespace caisson {

Status Listeners::add(Fd calls) {
  Fd journal(::memfd_create("caisson-calls", MFD_CLOEXEC));
  if (!journal) return sys::failed("memfd_create", "caisson-calls");
  epoll_event event{};  // EPOLLHUP alone: it comes unasked
  if (calls_) event.events = EPOLLIN;
  event.data.fd = calls.get();
  if (::epoll_ctl(loop_, EPOLL_CTL_ADD, calls.get(), &event) < 0) return sys::failed("epoll_ctl", "seccomp listener");
  listeners_.push_back({std::move(calls), std::move(journal)});
  return {};
}

bool Listeners::drop(int fd) {
  const auto gone = std::ranges::find(listeners_, fd, [](const Listener& listener) { return listener.calls.get(); });
  if (gone == listeners_.end()) return false;
  // Others may hold copies of it: closing ours would leave it in the loop, under a number that is soon another's.
  ::epoll_ctl(loop_, EPOLL_CTL_DEL, fd, nullptr);
  listeners_.erase(gone);
  return true;
}

bool Listeners::has(int fd) const {
  return std::ranges::any_of(listeners_, [fd](const Listener& listener) { return listener.calls.get() == fd; });
}

std::vector<int> Listeners::descriptors() const {
  std::vector<int> numbers;
  for (const Listener& listener : listeners_) {
    if (numbers.size() + 2 > socket::kMostDescriptors) break;
    numbers.push_back(listener.calls.get());
    numbers.push_back(listener.journal.get());
  }
  return numbers;
}

}  // namespace caisson
