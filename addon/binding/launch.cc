#include "binding/launch.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/socket.h"
#include "base/sys.h"
#include "binding/channel.h"
#include "binding/child.h"
#include "binding/failure.h"
#include "binding/nursery.h"
#include "binding/reactor.h"
#include "protocol.h"
#include "spec.h"

extern "C" const char caisson_monitor_start[];
extern "C" const char caisson_monitor_end[];

namespace caisson::binding {

constexpr int kAllSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

static Result<Fd> sealed_memfd(const char* name, const void* data, size_t size, bool executable) {
  constexpr unsigned kExec = 0x0010U, kNoExecSeal = 0x0008U;  // MFD_EXEC, MFD_NOEXEC_SEAL: Linux 6.3, EINVAL before
  const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  Fd fd(::memfd_create(name, flags | (executable ? kExec : kNoExecSeal)));
  if (!fd && errno == EINVAL) fd = Fd(::memfd_create(name, flags));
  if (!fd) return sys::failed("memfd_create", name);
  TRY(sys::write_all(fd.get(), data, size, name));
  if (::fcntl(fd.get(), F_ADD_SEALS, kAllSeals) < 0) return sys::failed("fcntl", name, "F_ADD_SEALS");
  return fd;
}

/// The monitor's program, made once for the process.
static Result<int> program(const std::string& fallback) {
  static const int made = [] {
    auto fd = sealed_memfd("caisson-monitor", caisson_monitor_start,
                           static_cast<size_t>(caisson_monitor_end - caisson_monitor_start), true);
    return fd ? fd->release() : -1;
  }();
  if (made >= 0) return made;
  static const int file = ::open(fallback.c_str(), O_PATH | O_CLOEXEC);
  if (file < 0) return sys::failed("open", fallback, "no memfd can be executed here, and the monitor's file is missing");
  return file;
}

Result<child::Program> monitor_program(const char* verb, const std::string& fallback) {
  child::Program monitor;
  monitor.file = TRY(sys::copy(TRY(program(fallback))));
  monitor.path = "caisson-monitor";
  monitor.arguments = {monitor.path, verb};
  return monitor;
}

void tell_failure(int channel, Error error) {
  Report report{.kind = ReportKind::failed, .error = std::move(error)};
  report.error->step = "monitor.begin";
  // A launcher that has gone needs no answer.
  (void)!socket::send(channel, encode(report), {}, false);
}

Result<Fd> seal_spec(const Bytes& spec) { return sealed_memfd("caisson-spec", spec.data(), spec.size(), false); }

static Status start(Napi::Env env, const char* verb, const Bytes& spec, const std::vector<int>& descriptors, Fd channel,
                    const std::string& fallback) {
  const Fd told = TRY(seal_spec(spec));
  std::vector<int> given{told.get(), channel.get()};
  given.insert(given.end(), descriptors.begin(), descriptors.end());
  if (nursery::launch(env, verb, given, fallback)) return {};
  child::Program monitor = TRY(monitor_program(verb, fallback));
  std::vector<Fd> all;
  for (int i = 0; i < kNull; i++) all.push_back(TRY(sys::open("/dev/null", O_RDWR | O_NOCTTY)));
  for (const int descriptor : given) all.push_back(TRY(sys::copy(descriptor)));
  Reactor& reactor = Reactor::of(env);
  child::exec_soon(env, std::move(monitor), std::move(all), [&reactor](const std::vector<Fd>& held, Result<child::Child> started) {
    if (started) reactor.reap(std::move(started->pidfd));
    else tell_failure(held[kNull + 1].get(), std::move(started).error());
  });
  return {};
}

template <class T>
static bool encode_spec(const Napi::Value& from, Bytes& bytes) {
  T spec;
  if (!convert::from_js(from, spec, T::kName)) return false;
  bytes = encode(spec);
  return true;
}

struct Verbs {
  const char* name;
  bool (*encode)(const Napi::Value&, Bytes&);
};
constexpr Verbs kVerbs[] = {{"start", encode_spec<StartSpec>},
                            {"adopt", encode_spec<StartSpec>},
                            {"attach", encode_spec<AttachSpec>},
                            {"inside", encode_spec<InsideSpec>},
                            {"link", encode_spec<LinkRequest>}};

static const Verbs* find_verb(const std::string& name) {
  for (const Verbs& verb : kVerbs) {
    if (name == verb.name) return &verb;
  }
  return nullptr;
}

Napi::Value launch(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString() || !info[2].IsArray() || !info[3].IsFunction() || !info[4].IsString()) return throw_arguments(env);
  const Verbs* verb = find_verb(info[0].As<Napi::String>().Utf8Value());
  Bytes bytes;
  std::vector<int> descriptors;
  if (verb == nullptr) return throw_arguments(env);
  if (!verb->encode(info[1], bytes) || !convert::from_js(info[2], descriptors, "descriptors")) return env.Undefined();
  auto pair = socket::pair();
  constexpr int kOn = 1;
  // Before it has been sent anything: a monitor may want to know who sends.
  if (pair && ::setsockopt(pair->right.get(), SOL_SOCKET, SO_PASSCRED, &kOn, sizeof kOn) < 0) pair = sys::failed("setsockopt");
  if (!pair) return failure_to_js(env, pair.error());
  Status started = start(env, verb->name, bytes, descriptors, std::move(pair->right), info[4].As<Napi::String>().Utf8Value());
  if (!started) return failure_to_js(env, started.error());
  return wrap_channel(env, std::move(pair->left), info[3].As<Napi::Function>());
}

template <class T>
static Napi::Value seal(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[1].IsString()) return throw_arguments(env);
  Bytes bytes;
  if (!encode_spec<T>(info[0], bytes)) return env.Undefined();
  auto told = sealed_memfd("caisson-spec", bytes.data(), bytes.size(), false);
  if (!told) return failure_to_js(env, told.error());
  auto monitor = program(info[1].As<Napi::String>().Utf8Value());
  if (!monitor) return failure_to_js(env, monitor.error());
  auto copy = sys::copy(*monitor);
  if (!copy) return failure_to_js(env, copy.error());
  auto array = Napi::Array::New(env, 2);
  array.Set(0U, Napi::Number::New(env, told->release()));
  array.Set(1U, Napi::Number::New(env, copy->release()));
  return array;
}

Napi::Value seal_confinement(const Napi::CallbackInfo& info) { return seal<ConfineSpec>(info); }
Napi::Value seal_view(const Napi::CallbackInfo& info) { return seal<ViewSpec>(info); }

Napi::Value decode_spec(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsNumber()) return throw_arguments(env);
  const int fd = info[0].As<Napi::Number>().Int32Value();
  struct stat status{};
  if (::fstat(fd, &status) < 0) return failure_to_js(env, sys::failed("fstat", "spec"));
  const auto size = static_cast<size_t>(status.st_size);
  void* bytes = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (bytes == MAP_FAILED) return failure_to_js(env, sys::failed("mmap", "spec"));
  StartSpec spec;
  const bool whole = decode(bytes, size, spec);
  ::munmap(bytes, size);
  if (!whole) return failure_to_js(env, sys::refused("ERR_PROTOCOL", "the monitor is of another version of the library"));
  return convert::to_js(env, spec);
}

}  // namespace caisson::binding
