#include "binding/notice.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "base/fd.h"
#include "base/sys.h"
#include "binding/failure.h"
#include "binding/reactor.h"

namespace caisson::binding {

/// What is polled and read on the reactor's thread; it goes, and its descriptors with it, when that thread has let go of it.
struct Source {
  Fd file;
  Fd event;  ///< v1: polled instead of the file

  int polled() const { return event ? event.get() : file.get(); }
};

/// What JavaScript holds on to; touched on its thread only.
struct Notice {
  Napi::FunctionReference listener;
  Reactor::Token token = 0;
};

/// What the file says now, which also acknowledges the change; an error when it has gone.
static Result<std::string> read_news(const Source& source) {
  uint64_t times = 0;
  if (source.event && ::read(source.event.get(), &times, sizeof times) < 0) return sys::failed("read", "eventfd");
  char text[4096];
  const ssize_t size = ::pread(source.file.get(), text, sizeof text, 0);
  if (size < 0) return sys::failed("pread");
  return std::string(text, static_cast<size_t>(size));
}

static Status open_source(Source& source, const std::string& file, const std::string& trigger, const std::string& control) {
  source.file = TRY(sys::open(file, (trigger.empty() ? O_RDONLY : O_RDWR) | O_NONBLOCK));
  // psi.rst: the terminating zero belongs to the trigger.
  if (!trigger.empty() && ::write(source.file.get(), trigger.c_str(), trigger.size() + 1) < 0) {
    return sys::failed("write", file, trigger);
  }
  if (control.empty()) return {};
  source.event = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!source.event) return sys::failed("eventfd");
  return sys::write_file(control, std::to_string(source.event.get()) + " " + std::to_string(source.file.get()));
}

static void tell(Reactor& reactor, const std::shared_ptr<Notice>& notice, std::string text) {
  reactor.post([notice, text = std::move(text)](Napi::Env env) {
    const Napi::HandleScope scope(env);
    if (!notice->listener.IsEmpty()) notice->listener.Value().MakeCallback(env.Global(), {Napi::String::New(env, text)});
  });
}

Napi::Value watch_notice(const Napi::CallbackInfo& info) {
  for (size_t i = 0; i < 3; i++) {
    if (!info[i].IsString()) return throw_arguments(info.Env());
  }
  if (!info[3].IsFunction()) return throw_arguments(info.Env());
  const auto text = [&](size_t i) { return info[i].As<Napi::String>().Utf8Value(); };
  auto source = std::make_shared<Source>();
  Status opened = open_source(*source, text(0), text(1), text(2));
  if (!opened) return failure_to_js(info.Env(), opened.error());
  auto notice = std::make_shared<Notice>();
  notice->listener = Napi::Persistent(info[3].As<Napi::Function>());
  Reactor& reactor = Reactor::of(info.Env());
  const uint32_t events = source->event ? EPOLLIN : EPOLLPRI;
  const int polled = source->polled();
  const auto ready = [source = std::move(source), notice, &reactor] {
    auto news = read_news(*source);
    if (!news) return false;
    tell(reactor, notice, std::move(*news));
    return true;
  };
  notice->token = reactor.watch(polled, ready, events);
  auto object = Napi::Object::New(info.Env());
  object.Set("close", Napi::Function::New(info.Env(), [notice, &reactor](const Napi::CallbackInfo&) {
    if (notice->listener.IsEmpty()) return;
    reactor.forget(notice->token);
    notice->listener.Reset();
  }));
  return object;
}

}  // namespace caisson::binding
