// The least that a full start can cost: one process that does, in the shortest order we know, what every container start does,
// with no configuration, no supervision, no error reports and nothing to undo. What caisson takes is measured against it.
//
//   floor start FILTER ROOTFS FIRST_ID PROGRAM     make a container and run PROGRAM in it
//   floor sandbox FILTER ROOTFS FIRST_ID PROGRAM   the same with what a sandbox of run() has
//   floor attach FILTER PID PROGRAM                run PROGRAM in the namespaces and cgroups of PID
//
// For each line on stdin it does it once and answers with one line, in microseconds: until exec, and until the end is known. FILTER is the
// file of the seccomp filter, the one that caisson loads.
// start: namespaces user mnt pid net ipc uts cgroup, id maps, a cgroup with limits in each hierarchy (v1: the child moves itself; v2:
// CLONE_INTO_CGROUP), rootfs, /proc, /sys, a tmpfs /dev with six nodes, devpts, pivot_root, eight masked or read-only paths,
// session, keyring, capabilities, no_new_privs and the filter.
// sandbox: cgroups in the hierarchies that count or limit (pids, memory, v2), a read-only root, /proc with processes only, /tmp, no /sys,
// no terminals, no capabilities; the rest is alike.
// Of what caisson does, these are missing: a first process beside the program (an init that reaps), Landlock, usage counts, a supervisor.
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "floor.h"

/// The cgroup namespace comes later, so that its root is the container's own cgroup.
enum { kNamespaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS };

void must(long result, const char* what) {
  if (result >= 0) return;
  fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
  _exit(1);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static void run(char** program) {
  static char* const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "container=lxc", NULL};
  must(execve(program[0], program, environment), program[0]);
}

static pid_t clone_into(int door, unsigned long long flags, int exit_signal) {
  struct clone_args arguments = {.flags = flags, .exit_signal = (unsigned long long)exit_signal};
  if (door >= 0) arguments.flags |= CLONE_INTO_CGROUP, arguments.cgroup = (unsigned long long)door;
  return (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
}

static int sandboxed;

static void become_container(const char* rootfs, int ready, int* away, char** program) {
  char byte;
  close(away[0]);
  must(read(ready, &byte, 1) - 1, "the id maps");
  cgroups_enter();
  must(setresgid(0, 0, 0), "setresgid");
  must(setresuid(0, 0, 0), "setresuid");
  must(unshare(CLONE_NEWCGROUP), "unshare");
  must(sethostname("floor", 5), "sethostname");
  root_make(rootfs, sandboxed);
  must(setsid(), "setsid");
  syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
  confine(sandboxed ? 0 : 14);
  run(program);
}

/// The pipe closes itself at exec, and that is how exec is known.
static double executed(int* away) {
  char byte;
  close(away[1]);
  if (read(away[0], &byte, 1) != 0) fputs("floor: unexpected byte\n", stderr);
  close(away[0]);
  return now();
}

/// A run that failed is none.
static void end(int well) {
  if (well) return;
  fputs("floor: the program did not end well\n", stderr);
  exit(1);
}

static double start(char** arguments) {
  const char* rootfs = arguments[0];
  int ready[2], away[2];
  char map[64], directory[32];
  int status = -1;
  must(pipe2(ready, O_CLOEXEC), "pipe");
  must(pipe2(away, O_CLOEXEC), "pipe");
  cgroups_make();
  const pid_t child = clone_into(cgroups_unified(), kNamespaces, SIGCHLD);
  must(child, "clone3");
  if (child == 0) become_container(rootfs, ready[0], away, arguments + 2);
  snprintf(map, sizeof map, "0 %s 65536", arguments[1]);
  snprintf(directory, sizeof directory, "/proc/%d", child);
  put(directory, "uid_map", map);
  put(directory, "gid_map", map);
  must(write(ready[1], "", 1), "ready");
  const double at = executed(away);
  close(ready[0]), close(ready[1]);
  end(waitpid(child, &status, 0) == child && status == 0);
  cgroups_remove();
  return at;
}

/// The joiner enters the namespaces; its child, which alone is in the pid namespace, is made a child of this process.
static double attach(char** arguments) {
  int away[2];
  must(pipe2(away, O_CLOEXEC), "pipe");
  const int target = (int)syscall(SYS_pidfd_open, atoi(arguments[0]), 0);
  must(target, "pidfd_open");
  const pid_t joiner = clone_into(cgroups_unified(), 0, SIGCHLD);
  must(joiner, "clone3");
  if (joiner == 0) {
    cgroups_enter();
    must(setns(target, kNamespaces | CLONE_NEWCGROUP), "setns");
    const pid_t child = clone_into(-1, CLONE_PARENT, 0);
    must(child, "clone3");
    if (child != 0) _exit(0);
    must(setresgid(0, 0, 0), "setresgid");
    must(setresuid(0, 0, 0), "setresuid");
    must(setsid(), "setsid");
    confine(14);
    run(arguments + 1);
  }
  const double at = executed(away);
  close(target);
  for (int status = 0; waitpid(-1, &status, __WALL) > 0;) end(status == 0);
  return at;
}

int main(int count, char** arguments) {
  const int attaching = count >= 5 && strcmp(arguments[1], "attach") == 0;
  sandboxed = count >= 6 && strcmp(arguments[1], "sandbox") == 0;
  if (!attaching && !sandboxed && (count < 6 || strcmp(arguments[1], "start") != 0)) {
    fputs("usage: floor start|sandbox FILTER ROOTFS FIRST_ID PROGRAM... | floor attach FILTER PID PROGRAM...\n", stderr);
    return 2;
  }
  char line[16];
  filter_read(arguments[2]);
  cgroups_find(sandboxed);
  if (attaching) cgroups_of(arguments[3]);
  while (fgets(line, sizeof line, stdin)) {
    const double begun = now();
    const double at = attaching ? attach(arguments + 3) : start(arguments + 3);
    printf("%.1f %.1f\n", at - begun, now() - begun);
    fflush(stdout);
  }
  return 0;
}
