#include "binding/child.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <memory>
#include <utility>

#include "base/sys.h"
#include "binding/convert.h"
#include "binding/failure.h"
#include "binding/reactor.h"

namespace caisson::binding::child {

/// Everything is made before the clone, as the child may only call the kernel.
struct Plan {
  const Program* program;
  char* const* arguments;
  char* const* environment;
  const int* sources;  ///< go to descriptors 0, 1, 2 …
  int* spare;          ///< room for as many copies
  int count;
  const char* call = "";
  int error = 0;
};

[[noreturn]] static void fail(Plan& plan, const char* call) {
  plan.error = errno;
  plan.call = call;
  ::_exit(127);
}

/// First away from the low numbers, then down: no copy overwrites a source.
static void place_descriptors(Plan& plan) {
  for (int i = 0; i < plan.count; i++) {
    plan.spare[i] = ::fcntl(plan.sources[i], F_DUPFD_CLOEXEC, plan.count);
    if (plan.spare[i] < 0) fail(plan, "fcntl");
  }
  for (int i = 0; i < plan.count; i++) {
    if (::dup2(plan.spare[i], i) < 0) fail(plan, "dup2");
  }
  constexpr unsigned kCloexec = 1U << 2;  // CLOSE_RANGE_CLOEXEC, Linux 5.11; what is there should be close-on-exec without it
  ::syscall(SYS_close_range, plan.count, ~0U, kCloexec);
}

/// What is ignored here would be ignored there: exec resets handlers only.
static void reset_signals() {
  for (int signal = 1; signal < NSIG; signal++) {
    struct sigaction action{};
    action.sa_handler = SIG_DFL;
    ::sigaction(signal, &action, nullptr);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

static int run(void* argument) {
  auto& plan = *static_cast<Plan*>(argument);
  const Program& program = *plan.program;
  place_descriptors(plan);
  if (!program.directory.empty() && ::chdir(program.directory.c_str()) < 0) fail(plan, "chdir");
  if (program.ordinary) reset_signals();
  if (program.file) ::syscall(SYS_execveat, program.file.get(), "", plan.arguments, plan.environment, AT_EMPTY_PATH);
  else ::execve(program.path.c_str(), plan.arguments, plan.environment);
  fail(plan, "execve");
}

static Result<Child> clone_and_exec(Plan& plan) {
  constexpr size_t kStack = 64 * 1024;
  void* const stack = ::mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) return sys::failed("mmap");
  // The child runs with this thread's signal mask: with all blocked, no handler of Node's runs in it.
  sigset_t all, old;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &old);
  int pidfd = -1;
  const int pid = ::clone(run, static_cast<char*>(stack) + kStack, CLONE_VM | CLONE_VFORK | CLONE_PIDFD, &plan, &pidfd);
  const int number = errno;
  ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
  ::munmap(stack, kStack);
  if (pid < 0) return sys::failed_with(number, "clone");
  Child child{Fd(pidfd), pid};
  if (plan.error == 0) return child;
  siginfo_t info{};
  ::waitid(static_cast<idtype_t>(3), static_cast<id_t>(pidfd), &info, WEXITED | __WALL);
  const Program& program = *plan.program;
  return sys::failed_with(plan.error, plan.call, std::string(plan.call) == "chdir" ? program.directory : program.path);
}

static std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> list;
  for (const std::string& string : strings) list.push_back(const_cast<char*>(string.c_str()));
  list.push_back(nullptr);
  return list;
}

static Result<Child> exec(const Program& program, const std::vector<Fd>& descriptors) {
  const auto arguments = pointers(program.arguments), environment = pointers(program.environment);
  std::vector<int> sources;
  for (const Fd& descriptor : descriptors) sources.push_back(descriptor.get());
  std::vector<int> spare(sources.size());
  Plan plan{&program, arguments.data(), environment.data(), sources.data(), spare.data(), static_cast<int>(sources.size())};
  return clone_and_exec(plan);
}

void exec_soon(Napi::Env env, Program program, std::vector<Fd> descriptors,
               std::function<void(const std::vector<Fd>&, Result<Child>)> done) {
  struct Order {
    Program program;
    std::vector<Fd> descriptors;
  };
  const auto order = std::make_shared<Order>(Order{std::move(program), std::move(descriptors)});
  Reactor::of(env).defer([order, done = std::move(done)] {
    done(order->descriptors, exec(order->program, order->descriptors));
    order->descriptors.clear();
  });
}

static Result<std::vector<Fd>> copy_all(const std::vector<int>& descriptors) {
  std::vector<Fd> copies;
  for (const int descriptor : descriptors) copies.push_back(TRY(sys::copy(descriptor)));
  return copies;
}

Napi::Value spawn_program(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Program program;
  std::vector<int> descriptors;
  program.ordinary = true;
  if (!convert::from_js(info[1], program.arguments, "arguments") || !convert::from_js(info[2], program.environment, "environment") ||
      !convert::from_js(info[3], program.directory, "directory") || !convert::from_js(info[4], descriptors, "descriptors")) {
    return env.Undefined();
  }
  if (!info[5].IsFunction() || !(info[0].IsString() || info[0].IsNumber())) return throw_arguments(env);
  if (info[0].IsString()) program.path = info[0].As<Napi::String>().Utf8Value();
  else {
    auto file = sys::copy(info[0].As<Napi::Number>().Int32Value());
    if (!file) return failure_to_js(env, file.error());
    program.file = std::move(*file);
  }
  auto copies = copy_all(descriptors);
  if (!copies) return failure_to_js(env, copies.error());
  Reactor& reactor = Reactor::of(env);
  reactor.hold(env);
  const auto callback = std::make_shared<Napi::FunctionReference>(Napi::Persistent(info[5].As<Napi::Function>()));
  exec_soon(env, std::move(program), std::move(*copies), [&reactor, callback](const std::vector<Fd>&, Result<Child> child) {
    const auto told = std::make_shared<Result<Child>>(std::move(child));
    reactor.post([&reactor, callback, told](Napi::Env env) {
      const Napi::HandleScope scope(env);
      reactor.release(env);
      const Napi::Function call = callback->Value();
      callback->Reset();
      if (!*told) call.MakeCallback(env.Global(), {failure_to_js(env, told->error())});
      else call.MakeCallback(env.Global(), {Napi::Number::New(env, (*told)->pid), Napi::Number::New(env, (*told)->pidfd.release())});
    });
  });
  return env.Undefined();
}

}  // namespace caisson::binding::child
