#include "binding/reactor.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#include <csignal>

namespace caisson::binding {

Reactor& Reactor::of(Napi::Env env) {
  auto* reactor = env.GetInstanceData<Reactor>();
  if (reactor == nullptr) {
    reactor = new Reactor(env);
    env.SetInstanceData(reactor);
  }
  return *reactor;
}

Reactor::Reactor(Napi::Env env) : loop_(::epoll_create1(EPOLL_CLOEXEC)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  function_ = Napi::ThreadSafeFunction::New(env, Napi::Function(), "caisson", 0, 1);
  function_.Unref(env);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = 0;
  ::epoll_ctl(loop_.get(), EPOLL_CTL_ADD, wake_.get(), &event);
  // Signals are Node's own business: this thread takes none.
  sigset_t all, old;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &old);
  thread_ = std::thread([this] { run(); });
  ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

Reactor::~Reactor() {
  stopping_ = true;
  ::eventfd_write(wake_.get(), 1);
  thread_.join();
  function_.Abort();
}

Reactor::Token Reactor::watch(int fd, std::function<bool()> ready, uint32_t events) {
  const std::lock_guard lock(mutex_);
  const Token token = ++last_;
  watched_[token] = std::make_shared<Watch>(Watch{fd, std::move(ready)});
  epoll_event event{};
  event.events = events;
  event.data.u64 = token;
  ::epoll_ctl(loop_.get(), EPOLL_CTL_ADD, fd, &event);
  return token;
}

void Reactor::forget(Token token) {
  std::shared_ptr<Watch> forgotten;  // outlives the lock: its end may close the descriptor
  const std::lock_guard lock(mutex_);
  const auto found = watched_.find(token);
  if (found == watched_.end()) return;
  forgotten = std::move(found->second);
  watched_.erase(found);
  ::epoll_ctl(loop_.get(), EPOLL_CTL_DEL, forgotten->fd, nullptr);
}

void Reactor::reap(Fd pidfd) {
  const auto held = std::make_shared<Fd>(std::move(pidfd));
  watch(held->get(), [held] {
    siginfo_t info{};
    constexpr auto kByPidfd = static_cast<idtype_t>(3);  // P_PIDFD, Linux 5.4
    ::waitid(kByPidfd, static_cast<id_t>(held->get()), &info, WEXITED | WNOHANG | __WALL);
    return false;
  });
}

void Reactor::defer(std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  ::eventfd_write(wake_.get(), 1);
}

void Reactor::work() {
  eventfd_t times = 0;
  ::eventfd_read(wake_.get(), &times);
  std::vector<std::function<void()>> jobs;
  {
    const std::lock_guard lock(mutex_);
    jobs.swap(jobs_);
  }
  for (const auto& job : jobs) job();
}

void Reactor::serve(Token token) {
  std::shared_ptr<Watch> watch;
  {
    const std::lock_guard lock(mutex_);
    const auto found = watched_.find(token);
    if (found != watched_.end()) watch = found->second;
  }
  if (watch && !watch->ready()) forget(token);
}

void Reactor::run() {
  while (!stopping_) {
    epoll_event events[32];
    const int count = ::epoll_wait(loop_.get(), events, 32, -1);
    for (int i = 0; i < count && !stopping_; i++) {
      if (events[i].data.u64 == 0) work();
      else serve(events[i].data.u64);
    }
  }
}

void Reactor::post(Task task) {
  auto* held = new Task(std::move(task));
  const auto call = [](Napi::Env env, Napi::Function, Task* todo) {
    if (static_cast<napi_env>(env) != nullptr) (*todo)(env);
    delete todo;
  };
  if (function_.NonBlockingCall(held, call) != napi_ok) delete held;
}

void Reactor::hold(Napi::Env env) {
  if (held_++ == 0) function_.Ref(env);
}

void Reactor::release(Napi::Env env) {
  if (--held_ == 0) function_.Unref(env);
}

}  // namespace caisson::binding
