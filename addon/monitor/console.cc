#include "monitor/console.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "base/sys.h"

namespace caisson {

Status Console::attend() {
  if (::fcntl(outer_, F_SETFL, O_RDWR | O_NONBLOCK) < 0) return sys::failed("fcntl");
  inner_ = Fd(::ioctl(outer_, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!inner_) return sys::failed("ioctl", {}, "TIOCGPTPEER");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = outer_;
  return ::epoll_ctl(loop_, EPOLL_CTL_ADD, outer_, &event) < 0 ? Status(sys::failed("epoll_ctl")) : Status{};
}

Status Console::open(const ConsoleSpec& spec, int outer) {
  outer_ = outer;
  most_ = spec.buffer;
  path_ = spec.log;
  largest_ = spec.log_size;
  rotate_ = spec.log_rotate;
  if (outer_ >= 0) TRY(attend());
  if (path_.empty()) return {};
  // Never through a link that somebody has put there (CVE-2026-33711).
  file_ = TRY(sys::open(path_, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NOCTTY, 0600));
  struct stat info{};
  if (::fstat(file_.get(), &info) < 0) return sys::failed("fstat", path_);
  if (!S_ISREG(info.st_mode)) return sys::failed_with(EINVAL, "open", path_, "a console log is a regular file");
  written_ = static_cast<uint64_t>(info.st_size);
  return {};
}

bool Console::serve(int fd) {
  if (outer_ < 0) return false;
  if (fd == outer_) {
    viewers_.type(outer_);
    drain();
  } else if (!viewers_.serve(fd, outer_)) {
    return false;
  }
  rearm();
  return true;
}

void Console::drain() {
  uint8_t buffer[4096];
  for (int turns = 0; turns < 16 && !viewers_.behind(); turns++) {  // then the other descriptors have their turn
    const ssize_t got = ::read(outer_, buffer, sizeof buffer);
    if (got <= 0) return;
    keep(buffer, static_cast<size_t>(got));
    write_log(buffer, static_cast<size_t>(got));
    viewers_.show(buffer, static_cast<size_t>(got));
  }
}

/// The console is read when all viewers have taken what was read before, and written when somebody's input waits.
void Console::rearm() {
  epoll_event event{};
  event.events = (viewers_.behind() ? 0U : EPOLLIN) | (viewers_.typing() ? EPOLLOUT : 0U);
  event.data.fd = outer_;
  ::epoll_ctl(loop_, EPOLL_CTL_MOD, outer_, &event);
}

void Console::finish() {
  if (outer_ < 0) return;
  inner_.reset();
  for (;;) {
    viewers_.finish();
    pollfd more{outer_, POLLIN, 0};
    if (::poll(&more, 1, 0) <= 0 || (more.revents & POLLIN) == 0) break;
    drain();
  }
  ::epoll_ctl(loop_, EPOLL_CTL_DEL, outer_, nullptr);
  outer_ = -1;
}

Result<Fd> Console::view() {
  if (outer_ < 0) return sys::refused("ERR_CONTAINER_STATE", "it has no console here: it is elsewhere, or was with a monitor that is gone");
  Fd theirs = TRY(viewers_.add(log()));
  rearm();
  return theirs;
}

void Console::expire(int64_t now) {
  viewers_.expire(now);
  if (outer_ >= 0) rearm();
}

void Console::keep(const uint8_t* data, size_t size) {
  if (most_ == 0) return;
  if (size > most_) data += size - most_, size = most_;
  const size_t appended = std::min(size, most_ - ring_.size());
  ring_.insert(ring_.end(), data, data + appended);
  for (size_t i = appended; i < size; i++) {
    ring_[next_] = data[i];
    next_ = (next_ + 1) % most_;
  }
}

void Console::write_log(const uint8_t* data, size_t size) {
  if (!file_) return;
  if (largest_ > 0 && written_ + size > largest_) {
    if (!rotate_) size = static_cast<size_t>(largest_ - std::min(largest_, written_));
    else if (::rename(path_.c_str(), (path_ + ".1").c_str()) == 0) {
      auto fresh = sys::open(path_, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW, 0600);
      if (fresh) file_ = std::move(*fresh), written_ = 0;
    }
  }
  // A full disk must not stop the container: what cannot be written to the log is lost from the log only.
  if (size > 0 && sys::write_all(file_.get(), data, size, path_)) written_ += size;
}

Result<Fd> Console::log_file() const {
  const Bytes all = log();
  Fd file(::memfd_create("caisson-console", MFD_CLOEXEC));
  if (!file) return sys::failed("memfd_create", "caisson-console");
  TRY(sys::write_all(file.get(), all.data(), all.size(), "caisson-console"));
  if (::lseek(file.get(), 0, SEEK_SET) < 0) return sys::failed("lseek", "caisson-console");
  return file;
}

Bytes Console::log() const {
  Bytes all(ring_.begin() + static_cast<ptrdiff_t>(next_), ring_.end());
  all.insert(all.end(), ring_.begin(), ring_.begin() + static_cast<ptrdiff_t>(next_));
  return all;
}

}  // namespace caisson
