// One thread for each Node environment that waits on descriptors: channels and pidfds. The event loop hears of them through one
// thread-safe function, which keeps the loop alive only while somebody has asked for it; the libuv thread pool is never used.
#pragma once

#include <napi.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/fd.h"

namespace caisson::binding {

/// Something that is called on Node's thread.
using Task = std::function<void(Napi::Env)>;

class Reactor {
 public:
  static Reactor& of(Napi::Env env);
  ~Reactor();

  /// One watch. A descriptor's number may be another's by now, this is never.
  using Token = uint64_t;

  /// Calls `ready` on the reactor's thread whenever the descriptor is readable (or whatever of epoll's `events` is wanted), until it returns
  /// false or forget() is called. `ready` owns the descriptor, or a share of it: both threads let go of it in their own time, and a number
  /// that is closed too early is soon another's. It may post tasks; it must not touch JavaScript.
  Token watch(int fd, std::function<bool()> ready, uint32_t events = kReadable);
  /// One that has gone by itself may be named again.
  void forget(Token token);
  /// Takes the exit status of a child when it has ended, so that it does not stay as a zombie.
  void reap(Fd pidfd);
  /// Runs a task on Node's thread.
  void post(Task task);
  /// Runs a job on the reactor's thread: what would keep Node's waiting. It must not touch JavaScript, and is forgotten at the end.
  void defer(std::function<void()> job);
  /// Keeps the event loop alive: balanced calls, on Node's thread.
  void hold(Napi::Env env);
  void release(Napi::Env env);

 private:
  static constexpr uint32_t kReadable = 1;  // EPOLLIN

  struct Watch {
    int fd;
    std::function<bool()> ready;
  };

  explicit Reactor(Napi::Env env);
  void run();
  void serve(Token token);
  void work();

  Fd loop_;
  Fd wake_;
  std::mutex mutex_;
  Token last_ = 0;  ///< the wake's is 0
  std::map<Token, std::shared_ptr<Watch>> watched_;
  std::vector<std::function<void()>> jobs_;
  Napi::ThreadSafeFunction function_;
  std::atomic<bool> stopping_ = false;
  int held_ = 0;
  std::thread thread_;
};

}  // namespace caisson::binding
