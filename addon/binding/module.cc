// The addon's exports: a thin border. Everything that has a meaning is decided in TypeScript or in the monitor.
#include <fcntl.h>
#include <napi.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>

#include "base/sys.h"
#include "binding/channel.h"
#include "binding/failure.h"
#include "binding/launch.h"
#include "binding/relay.h"
#include "binding/notice.h"
#include "binding/notify.h"
#include "binding/nursery.h"
#include "binding/seccomp.h"

namespace caisson::binding {

/// makePipe(room?) → [reader, writer]: a real pipe, which /dev/stdout inside can open anew, unlike Node's socket pairs; with room for so many bytes where the user may have them.
static Napi::Value make_pipe(const Napi::CallbackInfo& info) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return failure_to_js(info.Env(), sys::failed("pipe2"));
  // pipe(7): beyond pipe-user-pages-soft it stays as it is, which is only slower.
  if (info[0].IsNumber()) ::fcntl(ends[0], F_SETPIPE_SZ, info[0].As<Napi::Number>().Int32Value());
  auto array = Napi::Array::New(info.Env(), 2);
  for (uint32_t i = 0; i < 2; i++) array.Set(i, Napi::Number::New(info.Env(), ends[i]));
  return array;
}

/// lockFile(path, byte?) → descriptor: an OFD lock on the file or on one byte of it (fcntl(2)), held until it is closed, however this process ends; EAGAIN when it is taken.
static Napi::Value lock_file(const Napi::CallbackInfo& info) {
  if (!info[0].IsString()) return throw_arguments(info.Env());
  const std::string path = info[0].As<Napi::String>().Utf8Value();
  auto file = sys::open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
  if (!file) return failure_to_js(info.Env(), file.error());
  struct flock range{};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  if (info[1].IsNumber()) range.l_start = info[1].As<Napi::Number>().Int64Value(), range.l_len = 1;
  if (::fcntl(file->get(), F_OFD_SETLK, &range) < 0) return failure_to_js(info.Env(), sys::failed("fcntl", path));
  return Napi::Number::New(info.Env(), file->release());
}

/// isLocked(path): whether somebody holds the lock of that file; a file that does not exist is not locked.
static Napi::Value is_locked(const Napi::CallbackInfo& info) {
  if (!info[0].IsString()) return throw_arguments(info.Env());
  const std::string path = info[0].As<Napi::String>().Utf8Value();
  auto file = sys::open(path, O_RDWR | O_NOFOLLOW);
  if (!file && file.error().number == ENOENT) return Napi::Boolean::New(info.Env(), false);
  if (!file) return failure_to_js(info.Env(), file.error());
  struct flock range{};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  if (::fcntl(file->get(), F_OFD_GETLK, &range) < 0) return failure_to_js(info.Env(), sys::failed("fcntl", path));
  return Napi::Boolean::New(info.Env(), range.l_type != F_UNLCK);
}

/// landlockAbi() → the version of landlock_create_ruleset(2); 0 where there is none.
static Napi::Value landlock_abi(const Napi::CallbackInfo& info) {
  constexpr unsigned kVersion = 1;  // LANDLOCK_CREATE_RULESET_VERSION
  const long version = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, kVersion);
  return Napi::Number::New(info.Env(), version < 0 ? 0 : static_cast<double>(version));
}

/// copyDescriptor(descriptor) → another of the same open file.
static Napi::Value copy_descriptor(const Napi::CallbackInfo& info) {
  if (!info[0].IsNumber()) return throw_arguments(info.Env());
  auto copy = sys::copy(info[0].As<Napi::Number>().Int32Value());
  if (!copy) return failure_to_js(info.Env(), copy.error());
  return Napi::Number::New(info.Env(), copy->release());
}

/// closeDescriptors(numbers)
static Napi::Value close_descriptors(const Napi::CallbackInfo& info) {
  std::vector<int> numbers;
  if (convert::from_js(info[0], numbers, "descriptors")) {
    for (const int number : numbers) ::close(number);
  }
  return info.Env().Undefined();
}

/// openBelow(root, path) → descriptor of a file, resolved with `root` as its root directory: no link of a container leads out of it.
/// Opening never waits: a FIFO or device is the caller's to refuse by fstat.
static Napi::Value open_below(const Napi::CallbackInfo& info) {
  if (!info[0].IsString() || !info[1].IsString()) return throw_arguments(info.Env());
  auto root = sys::open(info[0].As<Napi::String>().Utf8Value(), O_PATH | O_DIRECTORY);
  if (!root) return failure_to_js(info.Env(), root.error());
  const std::string path = info[1].As<Napi::String>().Utf8Value();
  auto file = sys::open_in_root(root->get(), path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!file) return failure_to_js(info.Env(), file.error());
  return Napi::Number::New(info.Env(), file->release());
}

/// resizeTerminal(descriptor, columns, rows)
static Napi::Value resize_terminal(const Napi::CallbackInfo& info) {
  winsize size{};
  int descriptor = -1;
  if (!convert::from_js(info[0], descriptor, "descriptor") || !convert::from_js(info[1], size.ws_col, "columns") ||
      !convert::from_js(info[2], size.ws_row, "rows")) {
    return info.Env().Undefined();
  }
  if (::ioctl(descriptor, TIOCSWINSZ, &size) < 0) return failure_to_js(info.Env(), sys::failed("ioctl", "TIOCSWINSZ"));
  return info.Env().Undefined();
}

/// passOutput(descriptor): the terminal shows what it gets as it is; in Node's raw mode it still puts a carriage return before each newline.
static Napi::Value pass_output(const Napi::CallbackInfo& info) {
  int descriptor = -1;
  if (!convert::from_js(info[0], descriptor, "descriptor")) return info.Env().Undefined();
  termios modes{};
  if (::tcgetattr(descriptor, &modes) < 0) return failure_to_js(info.Env(), sys::failed("tcgetattr"));
  modes.c_oflag &= ~static_cast<tcflag_t>(OPOST);
  if (::tcsetattr(descriptor, TCSANOW, &modes) < 0) return failure_to_js(info.Env(), sys::failed("tcsetattr"));
  return info.Env().Undefined();
}

static Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  const auto offer = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  offer("launch", launch);
  offer("closeNursery", nursery::close);
  offer("spawnProgram", child::spawn_program);
  offer("decodeSpec", decode_spec);
  offer("sealConfinement", seal_confinement);
  offer("sealView", seal_view);
  offer("connectChannel", connect_channel);
  offer("watchProcess", watch_process);
  offer("killProcess", kill_process);
  offer("watchNotice", watch_notice);
  offer("compileSeccomp", compile_seccomp);
  offer("lockFile", lock_file);
  offer("makePipe", make_pipe);
  offer("openBelow", open_below);
  offer("isLocked", is_locked);
  offer("copyDescriptor", copy_descriptor);
  offer("landlockAbi", landlock_abi);
  offer("relayTerminal", relay_terminal);
  offer("resizeTerminal", resize_terminal);
  offer("passOutput", pass_output);
  offer("openListener", open_listener);
  offer("closeDescriptors", close_descriptors);
  return exports;
}

NODE_API_MODULE(NODE_GYP_MODULE_NAME, initialize)

}  // namespace caisson::binding
