#include "monitor/viewers.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/sys.h"

namespace caisson {

constexpr int64_t kPatienceMs = 2000;

Result<Fd> Viewers::add(Bytes before) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) return sys::failed("socketpair");
  auto viewer = std::make_unique<Viewer>();
  viewer->socket = Fd(ends[0]);
  Fd theirs(ends[1]);
  viewer->output = std::move(before);
  viewer->since = sys::now_ms();
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = ends[0];
  if (::epoll_ctl(loop_, EPOLL_CTL_ADD, ends[0], &event) < 0) return sys::failed("epoll_ctl");
  viewers_.push_back(std::move(viewer));
  pass_output(*viewers_.back());
  watch(*viewers_.back());
  return theirs;
}

void Viewers::show(const uint8_t* data, size_t size) {
  for (const auto& viewer : viewers_) {
    if (viewer->output.empty()) viewer->since = sys::now_ms();
    viewer->output.insert(viewer->output.end(), data, data + size);
    pass_output(*viewer);
    watch(*viewer);
  }
  forget();
}

bool Viewers::serve(int fd, int console) {
  const auto found = std::ranges::find(viewers_, fd, [](const auto& viewer) { return viewer->socket.get(); });
  if (found == viewers_.end()) return false;
  Viewer& viewer = **found;
  pass_output(viewer);
  pass_input(viewer, console);
  watch(viewer);
  forget();
  return true;
}

void Viewers::type(int console) {
  for (const auto& viewer : viewers_) {
    if (viewer->input.empty()) continue;
    pass_input(*viewer, console);
    watch(*viewer);
  }
  forget();
}

void Viewers::pass_output(Viewer& viewer) {
  if (viewer.output.empty()) return;
  const ssize_t put = ::send(viewer.socket.get(), viewer.output.data(), viewer.output.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (put < 0) {
    viewer.gone = viewer.gone || (errno != EAGAIN && errno != EINTR);
    return;
  }
  viewer.output.erase(viewer.output.begin(), viewer.output.begin() + put);
  viewer.since = sys::now_ms();
}

void Viewers::pass_input(Viewer& viewer, int console) {
  if (viewer.input.empty()) {
    uint8_t buffer[4096];
    const ssize_t got = ::recv(viewer.socket.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) viewer.gone = true;  // it has left: what it has not read is its own loss
    else viewer.input.assign(buffer, buffer + got);
  }
  if (viewer.input.empty()) return;
  const ssize_t put = ::write(console, viewer.input.data(), viewer.input.size());
  if (put > 0) viewer.input.erase(viewer.input.begin(), viewer.input.begin() + put);
}

void Viewers::watch(const Viewer& viewer) const {
  epoll_event event{};
  event.events = (viewer.input.empty() ? EPOLLIN : 0U) | (viewer.output.empty() ? 0U : EPOLLOUT);
  event.data.fd = viewer.socket.get();
  ::epoll_ctl(loop_, EPOLL_CTL_MOD, viewer.socket.get(), &event);
}

void Viewers::forget() {
  std::erase_if(viewers_, [](const auto& viewer) { return viewer->gone; });
}

bool Viewers::behind() const {
  return std::ranges::any_of(viewers_, [](const auto& viewer) { return !viewer->output.empty(); });
}

bool Viewers::typing() const {
  return std::ranges::any_of(viewers_, [](const auto& viewer) { return !viewer->input.empty(); });
}

int64_t Viewers::deadline() const {
  int64_t first = -1;
  for (const auto& viewer : viewers_) {
    if (viewer->output.empty()) continue;
    const int64_t at = viewer->since + kPatienceMs;
    if (first < 0 || at < first) first = at;
  }
  return first;
}

void Viewers::expire(int64_t now) {
  for (const auto& viewer : viewers_) {
    if (!viewer->output.empty() && now >= viewer->since + kPatienceMs) viewer->gone = true;
  }
  forget();
}

void Viewers::finish() {
  while (behind()) {
    std::vector<pollfd> waited;
    for (const auto& viewer : viewers_) {
      if (!viewer->output.empty()) waited.push_back({viewer->socket.get(), POLLOUT, 0});
    }
    const int64_t left = std::max<int64_t>(0, deadline() - sys::now_ms());
    ::poll(waited.data(), waited.size(), static_cast<int>(left));
    for (const auto& viewer : viewers_) pass_output(*viewer);
    forget();
    expire(sys::now_ms());
  }
}

}  // namespace caisson
