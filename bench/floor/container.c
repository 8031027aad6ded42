#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "floor.h"

static struct sock_filter filter[BPF_MAXINSNS];
static struct sock_fprog program = {0, filter};

static void attach(const char* source, const char* target, const char* type, unsigned long flags, const char* data) {
  must(mount(source, target, type, flags, data), target);
}

static void make_devices(int sandbox) {
  static const char* const nodes[] = {"null", "zero", "full", "random", "urandom", "tty"};
  static const char* const links[][2] = {
      {"/proc/self/fd", "dev/fd"}, {"/proc/self/fd/0", "dev/stdin"}, {"/proc/self/fd/1", "dev/stdout"},
      {"/proc/self/fd/2", "dev/stderr"}, {"pts/ptmx", "dev/ptmx"}};
  attach("dev", "dev", "tmpfs", MS_NOSUID, "mode=755,size=500k");
  for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {  // a user namespace has no mknod(2)
    char from[64], to[64];
    snprintf(from, sizeof from, "/dev/%s", nodes[i]);
    snprintf(to, sizeof to, "dev/%s", nodes[i]);
    close(open(to, O_CREAT | O_CLOEXEC, 0666));
    attach(from, to, NULL, MS_BIND, NULL);
  }
  for (size_t i = 0; i < sizeof links / sizeof *links; i++) must(symlink(links[i][0], links[i][1]), links[i][1]);
  must(mkdir("dev/pts", 0755), "dev/pts");
  must(mkdir("dev/shm", 01777), "dev/shm");
  if (sandbox) return attach("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777");
  attach("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,max=1024");
}

static void cover(unsigned long safe) {
  static const char* const masked[] = {"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sysrq-trigger"};
  static const char* const readonly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"};
  for (int i = 0; i < 4; i++) {
    if (access(masked[i], F_OK) == 0) attach("/dev/null", masked[i], NULL, MS_BIND, NULL);
    attach(readonly[i], readonly[i], NULL, MS_BIND | MS_REC, NULL);
    attach(NULL, readonly[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | safe, NULL);
  }
}

void root_make(const char* rootfs, int sandbox) {
  const unsigned long safe = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  attach(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
  attach(rootfs, rootfs, NULL, MS_BIND, NULL);
  must(chdir(rootfs), rootfs);
  attach("proc", "proc", "proc", safe, sandbox ? "subset=pid" : NULL);
  if (!sandbox) attach("sysfs", "sys", "sysfs", safe | MS_RDONLY, NULL);
  make_devices(sandbox);
  if (sandbox) {
    attach("tmpfs", "tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=64m,mode=1777,nr_inodes=262144");
    attach(NULL, ".", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL);
  }
  must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
  must(umount2(".", MNT_DETACH), "umount");
  must(chdir("/"), "/");
  if (!sandbox) cover(safe);
}

void filter_read(const char* path) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  const ssize_t size = read(file, filter, sizeof filter);
  must(size, path);
  program.len = (unsigned short)((size_t)size / sizeof *filter);
  close(file);
}

void confine(int kept) {
  for (int each = kept; each <= 40; each++) prctl(PR_CAPBSET_DROP, each, 0, 0, 0);
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {0};
  data[0].effective = data[0].permitted = (1U << kept) - 1;
  must(syscall(SYS_capset, &header, data), "capset");
  must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
  must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), "seccomp");
}
