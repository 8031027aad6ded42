#include "binding/relay.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <thread>

#include "base/fd.h"
#include "base/sys.h"
#include "binding/failure.h"

namespace caisson::binding {

/// Bytes on their way from one descriptor to the other.
class Stream {
 public:
  Stream(int from, int to) : from_(from), to_(to) {}

  /// What there is already is passed on, and is all.
  void finish() { last_ = true; }

  bool wants_input() const { return !ended_ && begin_ == end_; }
  bool wants_output() const { return begin_ < end_; }
  /// Nothing more will come, and all that came has been passed on.
  bool done() const { return ended_ && begin_ == end_; }

  /// False when the other side no longer takes anything.
  bool move() {
    if (begin_ == end_) {
      const ssize_t got = ::read(from_, buffer_, sizeof buffer_);
      const bool later = got < 0 && (errno == EAGAIN || errno == EINTR);
      if (later && !(last_ && errno == EAGAIN)) return true;
      if (got <= 0) ended_ = true;  // end of file, or EIO: the terminal's last inner end is closed
      begin_ = 0;
      end_ = got > 0 ? static_cast<size_t>(got) : 0;
    }
    while (begin_ < end_) {
      const ssize_t put = ::write(to_, buffer_ + begin_, end_ - begin_);
      if (put < 0) return errno == EAGAIN || errno == EINTR;
      begin_ += static_cast<size_t>(put);
    }
    return true;
  }

 private:
  int from_;
  int to_;
  char buffer_[16 * 1024];
  size_t begin_ = 0;
  size_t end_ = 0;
  bool ended_ = false;
  bool last_ = false;
};

/// Until the terminal's inner end is closed or the program has ended, whichever is first: what a program leaves in the background may keep
/// the terminal open for ever. n_tty_read() flushes what is under way before it says EAGAIN, so that not a byte of the program is missed.
static void relay(Fd terminal, Fd socket, Fd program) {
  Stream out(terminal.get(), socket.get());
  Stream in(socket.get(), terminal.get());
  while (!out.done()) {
    const auto events = [](bool input, bool output) {
      return static_cast<short>((input ? POLLIN : 0) | (output ? POLLOUT : 0));
    };
    pollfd waited[3] = {{terminal.get(), events(out.wants_input(), in.wants_output()), 0},
                        {socket.get(), events(in.wants_input(), out.wants_output()), 0},
                        {program.get(), POLLIN, 0}};  // poll(2) passes over negative descriptors
    if (::poll(waited, 3, -1) < 0 && errno != EINTR) return;
    if (waited[2].revents != 0) {
      out.finish();
      program.reset();
    }
    if (!out.move()) return;
    // A reader that has gone hangs up the terminal; one that has only ended its input does not.
    if ((waited[1].revents & (POLLERR | POLLHUP)) != 0 && !out.wants_output()) return;
    if (!in.done() && !in.move() && errno != EIO) return;
  }
}

Napi::Value relay_terminal(const Napi::CallbackInfo& info) {
  if (!info[0].IsNumber() || !info[1].IsNumber()) return throw_arguments(info.Env());
  Fd terminal(info[0].As<Napi::Number>().Int32Value());
  const int pidfd = info[1].As<Napi::Number>().Int32Value();
  Fd program(pidfd < 0 ? -1 : ::fcntl(pidfd, F_DUPFD_CLOEXEC, 0));
  if (pidfd >= 0 && !program) return failure_to_js(info.Env(), sys::failed("fcntl"));
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
    return failure_to_js(info.Env(), sys::failed("socketpair"));
  }
  Fd socket(ends[1]);
  for (const int fd : {terminal.get(), socket.get()}) {
    if (::fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0) return failure_to_js(info.Env(), sys::failed("fcntl"));
  }
  // Signals are Node's own business: the thread takes none (a write to a closed socket would be SIGPIPE, which Node ignores).
  sigset_t all, old;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &old);
  std::thread(relay, std::move(terminal), std::move(socket), std::move(program)).detach();
  ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
  return Napi::Number::New(info.Env(), ends[0]);
}

}  // namespace caisson::binding
