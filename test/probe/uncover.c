#include "uncover.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "json.h"

/// What is tried, and where what is covered would then be seen.
typedef struct {
  const char* cover;
  char parent[PATH_MAX];
  const char* name;
  bool masked;
  char aside[PATH_MAX];  ///< the same name below /tmp/aside, a mount point of the try's own
} Target;

static const char* const kAside = "/tmp/aside";
static const char* const kAsideFile = "/tmp/aside-file";

/// Opens the kernel's own file, not what is mounted on it. 0: it is read-only, 1: it can be written, -1: another one is seen.
static int kernel_file(int directory, const char* path) {
  struct statfs seen;
  const int opened = openat(directory, path, O_PATH | O_CLOEXEC);
  const bool ours = opened >= 0 && fstatfs(opened, &seen) == 0 && (seen.f_type == PROC_SUPER_MAGIC || seen.f_type == SYSFS_MAGIC);
  if (opened >= 0) close(opened);
  return ours ? (seen.f_flags & ST_RDONLY) == 0 : -1;
}

/// Where a mask is gone; a path that was only read-only can be written.
static bool shows(const Target* target, int directory, const char* path) {
  return kernel_file(directory, path) >= (target->masked ? 0 : 1);
}

static long open_tree_of(const char* path, unsigned flags) { return syscall(SYS_open_tree, AT_FDCWD, path, flags | OPEN_TREE_CLOEXEC); }
static long move_tree(int tree, const char* to, unsigned flags) {
  return syscall(SYS_move_mount, tree, "", AT_FDCWD, to, flags | MOVE_MOUNT_F_EMPTY_PATH);
}
static bool seen_at(const Target* target) { return shows(target, AT_FDCWD, target->cover); }
static bool seen_aside(const Target* target) { return shows(target, AT_FDCWD, target->aside); }

static bool by_umount(const Target* target) {
  static const int kinds[] = {0, MNT_DETACH, MNT_FORCE | MNT_DETACH, MNT_EXPIRE, MNT_EXPIRE, UMOUNT_NOFOLLOW};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) umount2(target->cover, kinds[i]);
  return seen_at(target);
}

static bool by_moving(const Target* target) {
  const long tree = open_tree_of(target->cover, 0);
  for (int file = 0; file < 2; file++) {
    const char* const aside = file ? kAsideFile : kAside;
    mount(target->cover, aside, NULL, MS_MOVE, NULL);
    if (tree >= 0) move_tree((int)tree, aside, 0);
  }
  return seen_at(target);
}

static bool by_bind(const Target* target) {
  return mount(target->parent, kAside, NULL, MS_BIND, NULL) == 0 && seen_aside(target);
}

static bool by_deep_bind(const Target* target) {
  if (mount(target->parent, kAside, NULL, MS_BIND | MS_REC, NULL) < 0) return false;
  umount2(target->aside, MNT_DETACH);
  return seen_aside(target);
}

static bool by_clone(const Target* target) {
  const long tree = open_tree_of(target->parent, OPEN_TREE_CLONE);
  return tree >= 0 && shows(target, (int)tree, target->name);
}

static bool by_deep_clone(const Target* target) {
  const long tree = open_tree_of(target->parent, OPEN_TREE_CLONE | AT_RECURSIVE);
  if (tree < 0 || move_tree((int)tree, kAside, 0) < 0) return false;
  umount2(target->aside, MNT_DETACH);
  return seen_aside(target);
}

static bool by_mounting_over(const Target* target) {
  mount("none", target->cover, "tmpfs", 0, NULL);
  mount("/dev/zero", target->cover, NULL, MS_BIND, NULL);
  for (int i = 0; i < 3; i++) umount2(target->cover, MNT_DETACH);
  return seen_at(target);
}

/// What is put below a cover is what is seen when the cover goes.
static bool by_mounting_beneath(const Target* target) {
  const long tree = open_tree_of("/tmp", OPEN_TREE_CLONE);
  if (tree >= 0) move_tree((int)tree, target->cover, 0x200 /* MOVE_MOUNT_BENEATH */);
  for (int i = 0; i < 3; i++) umount2(target->cover, MNT_DETACH);
  return seen_at(target);
}

static bool by_remount(const Target* target) {
  mount(NULL, target->cover, NULL, MS_REMOUNT | MS_BIND, NULL);
  const struct { unsigned long long set, clear, propagation, user_namespace; } attributes = {0, MS_RDONLY, 0, 0};
  syscall(SYS_mount_setattr, AT_FDCWD, target->cover, AT_RECURSIVE, &attributes, sizeof attributes);
  return seen_at(target);
}

static bool by_overlay(const Target* target) {
  char options[2 * PATH_MAX];
  snprintf(options, sizeof options, "lowerdir=%s:/tmp", target->parent);
  return mount("overlay", kAside, "overlay", 0, options) == 0 && seen_aside(target);
}

/// With the parent as the root, a mount on it is a mount on the root.
static bool by_pivot(const Target* target) {
  if (mount(target->parent, kAside, NULL, MS_BIND | MS_REC, NULL) < 0 || chdir(kAside) < 0) return false;
  if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0) return false;
  umount2(target->name, MNT_DETACH);
  return shows(target, AT_FDCWD, target->name);
}

static bool by_propagation(const Target* target) {
  mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL);
  const pid_t other = fork();
  if (other == 0) unshare(CLONE_NEWNS), umount2(target->cover, MNT_DETACH), _exit(0);
  waitpid(other, NULL, 0);
  return seen_at(target);
}

/// A file system of the kernel's once more, with the first one there or gone.
static bool by_new_mount(const Target* target) {
  const bool proc = strncmp(target->cover, "/proc/", 6) == 0;
  char place[2 * PATH_MAX];
  snprintf(place, sizeof place, "%s/%s", kAside, strchr(target->cover + 1, '/') + 1);
  for (int gone = 0; gone < 2; gone++) {
    if (mount("none", kAside, proc ? "proc" : "sysfs", 0, NULL) == 0 && shows(target, AT_FDCWD, place)) return true;
    umount2(proc ? "/proc" : "/sys", MNT_DETACH);
  }
  return false;
}

static const struct { const char* name; bool (*shown)(const Target*); } ways[] = {
    {"umount", by_umount},         {"move", by_moving},          {"bind", by_bind},       {"deep bind", by_deep_bind},
    {"clone", by_clone},           {"deep clone", by_deep_clone}, {"over", by_mounting_over}, {"beneath", by_mounting_beneath},
    {"remount", by_remount},       {"overlay", by_overlay},      {"pivot", by_pivot},     {"propagation", by_propagation},
    {"new mount", by_new_mount},
};

static const struct { const char* name; int kinds; } places[] = {
    {"", CLONE_NEWNS}, {" below", CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET},
};

/// Each try is a process in a mount namespace of its own, so that none finds what another has left. A new pid namespace has a new first process.
static bool tried(bool (*shown)(const Target*), int kinds, const Target* target) {
  const pid_t child = fork();
  if (child == 0) {
    if (unshare(kinds) < 0) _exit(2);
    const pid_t first = fork();
    if (first == 0) _exit(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && shown(target) ? 1 : 0);
    int status = 0;
    waitpid(first, &status, 0);
    _exit(WEXITSTATUS(status));
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

int uncover(char** arguments) {
  mkdir(kAside, 0755);
  const int aside = open(kAsideFile, O_CREAT | O_CLOEXEC, 0644);
  if (aside >= 0) close(aside);
  json_open(NULL, '{');
  for (; *arguments; arguments++) {
    Target target = {.cover = *arguments, .name = strrchr(*arguments, '/') + 1, .masked = kernel_file(AT_FDCWD, *arguments) < 0};
    snprintf(target.parent, sizeof target.parent, "%.*s", (int)(target.name - 1 - *arguments), *arguments);
    snprintf(target.aside, sizeof target.aside, "%.64s/%.2048s", kAside, target.name);
    json_open(*arguments, '[');
    for (size_t place = 0; place < sizeof places / sizeof *places; place++) {
      for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
        if (!tried(ways[way].shown, places[place].kinds, &target)) continue;
        char text[64];
        snprintf(text, sizeof text, "%s%s", ways[way].name, places[place].name);
        json_string(NULL, text);
      }
    }
    // And once where it would stay so.
    if (by_umount(&target)) json_string(NULL, "umount for good");
    json_close(']');
  }
  json_close('}');
  putchar('\n');
  return 0;
}
