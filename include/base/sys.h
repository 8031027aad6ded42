// System calls as Results: each names itself, its errno and its path in the Error it returns.
//
// Only what several modules need stands here; a call with one user stays with that user. EINTR is retried where a retry is right.
#pragma once

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace caisson::sys {

/// An Error for the call that just failed, from errno.
Error failed(const char* call, std::string path = {}, std::string detail = {});
/// The same for a call that returned its errno negated.
Error failed_with(int number, const char* call, std::string path = {}, std::string detail = {});
/// An Error of the library's own.
Error refused(const char* code, std::string detail, std::string path = {});

Result<Fd> open(const std::string& path, int flags, mode_t mode = 0);
Result<Fd> open_at(int dir, const std::string& path, int flags, mode_t mode = 0);
/// Another descriptor of the same open file, not among the standard ones.
Result<Fd> copy(int descriptor);
/// openat2(2), Linux 5.6: `path` is resolved with `dir` as its root; no symlink, no magic link, no `..` leaves it.
Result<Fd> open_in_root(int dir, const std::string& path, uint64_t flags, mode_t mode = 0);

Result<std::string> read_file(const std::string& path, size_t most = 1 << 20);
Result<std::string> read_all(int fd, const std::string& path, size_t most = 1 << 20);
/// One write(2) of the whole text: what kernel files want. Never creates the file.
Status write_file(const std::string& path, std::string_view text);
Status write_file_at(int dir, const std::string& path, std::string_view text);
/// write(2) until all is written.
Status write_all(int fd, const void* data, size_t size, const std::string& path);
/// Replaces `dir`/`name` by a new file: written aside, renamed. Not synced: for files that mean nothing after a reboot.
Status replace_file_at(int dir, const std::string& name, std::string_view text, mode_t mode);

/// clone3(2), Linux 5.3, without a stack or thread flags: a fork with options. Returns 0 in the child.
Result<pid_t> clone_process(uint64_t flags, int* pidfd, int exit_signal, int cgroup = -1);
Result<Fd> pidfd_open(pid_t pid);
Status pidfd_send_signal(int pidfd, int signal, unsigned flags = 0);
/// The pid behind a pidfd, as the caller sees it: the `Pid:` line of its fdinfo. ESRCH when the process is gone.
Result<pid_t> pid_of(int pidfd);
/// close_range(2), Linux 5.9; walks /proc/self/fd on older kernels.
Status close_from(unsigned first);
/// close_range(CLOSE_RANGE_CLOEXEC), Linux 5.11; walks /proc/self/fd on older kernels.
Status cloexec_from(unsigned first);

// The mount API of Linux 5.2 and 5.12, which glibc 2.36 wraps only in part.
Result<Fd> open_tree(int dir, const std::string& path, unsigned flags);
Status move_mount(int from, int to_dir, const std::string& to);
Status move_mount_onto(int from, int target);
Status mount_setattr(int dir, const std::string& path, unsigned flags, const mount_attr& attributes);
Result<Fd> fsopen(const char* type);
Status fsconfig(int context, unsigned command, const char* key, const std::string& value, int aux = 0);
Result<Fd> fsmount(int context, unsigned attributes);
Status pivot_root(const char* new_root, const char* put_old);

/// CLOCK_MONOTONIC in milliseconds.
int64_t now_ms();
/// Field 22 of /proc/PID/stat: start time in clock ticks since boot; with the boot id it identifies a process for good.
Result<uint64_t> start_time(pid_t pid);

}  // namespace caisson::sys
