// Processes: running a program of the host, becoming a program of the container.
#pragma once

#include <csignal>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "spec.h"

namespace caisson::process {

/// Runs a program to its end, by absolute path, in `/`, with descriptor 0 on /dev/null and that environment alone. Exit other than 0 is
/// an Error whose detail ends with what it wrote to 1 and 2. After `timeout_ms` (-1: never) it and its children are killed, which is
/// ERR_TIMEOUT. A child that it left behind is not waited for.
Status run(const Strings& argv, const Strings& environment, int64_t timeout_ms = -1);

/// No signal blocked; every one is at its default action since block_signals().
void reset_signals();
/// Blocks every signal, at its default action, for the monitor, which learns all it must know from descriptors.
void block_signals();

/// Puts the three descriptors on 0, 1 and 2; -1 is /dev/null.
Status set_stdio(int input, int output, int error);
/// A new session; with `terminal`, descriptor 0 becomes its controlling terminal.
Status new_session(bool terminal);
/// File mode mask and execution domain.
Status set_modes(const ProcessSpec& spec);
/// Core scheduling, prctl(2) PR_SCHED_CORE, Linux 5.14 with SMT: a cookie of its own, or that of `pid`; nobody without it shares a core.
Status new_core_cookie();
Status take_core_cookie(pid_t pid);
Status set_directory(const ProcessSpec& spec);
/// Groups, gid and uid inside. `keep_groups`: setgroups is forbidden in this user namespace.
Status set_ids(const ProcessSpec& spec, bool keep_groups);
/// execve(2); returns only an Error. A name without a slash is looked up in the environment's PATH.
Error exec(const ProcessSpec& spec);

}  // namespace caisson::process
