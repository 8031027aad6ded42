// A child process that is a program from its first instruction on: never a fork of Node, which is large and has many threads. The page
// tables of a 1 GB heap take 50 ms and more to copy, and a forked thread may call next to nothing. clone(CLONE_VM | CLONE_VFORK) shares the
// memory instead and stops the calling thread until the child has exec'ed; it is called on the reactor's, as that takes half a millisecond,
// and whole time slices where the processors are busy. Without an exit signal Node's own SIGCHLD handling never hears of the child; its
// pidfd tells of its end.
#pragma once

#include <napi.h>

#include <functional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace caisson::binding::child {

struct Program {
  Fd file;           ///< executed by execveat(2), if there is one
  std::string path;  ///< or by execve(2)
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
  std::string directory;  ///< its working directory; empty: the caller's
  bool ordinary = false;  ///< it begins with no signal blocked or ignored; a monitor blocks all of them
};

struct Child {
  Fd pidfd;
  int pid = -1;
};

/// Starts it soon, on the reactor's thread, with the descriptors as 0, 1, 2 … Then `done` is called, on that thread, and is free to use them.
void exec_soon(Napi::Env env, Program program, std::vector<Fd> descriptors,
               std::function<void(const std::vector<Fd>&, Result<Child>)> done);

/// spawnProgram(path or descriptor, arguments, environment, directory, descriptors, callback(pid, pidfd) or callback({ failure })); the
/// descriptors stay the caller's, the pidfd becomes it.
Napi::Value spawn_program(const Napi::CallbackInfo& info);

}  // namespace caisson::binding::child
