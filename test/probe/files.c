// Files of the kernel that open for writing, devices that open at all, and covers that come off.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "json.h"
#include "surface.h"

#define LONGEST 4096

typedef void (*Visit)(const char* path, const struct stat* info);

static bool is_process(const char* path) {
  // /proc/1, /proc/self, /proc/thread-self: a process may write to its own
  const char* name = path + strlen("/proc/");
  return strncmp(path, "/proc/", 6) == 0 && (strspn(name, "0123456789") == strlen(name) || strstr(name, "self"));
}

static void walk(const char* directory, Visit visit) {
  DIR* opened = opendir(directory);
  for (struct dirent* entry; opened && (entry = readdir(opened));) {
    char path[LONGEST];
    struct stat info;
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", directory, entry->d_name) >= sizeof path) continue;
    if (is_process(path) || lstat(path, &info) < 0 || S_ISLNK(info.st_mode)) continue;
    if (S_ISDIR(info.st_mode)) walk(path, visit);
    else visit(path, &info);
  }
  if (opened) closedir(opened);
}

/// Debugging files may act when they are opened: for those, access(2) has to do.
static bool is_touchy(const char* path) {
  return strncmp(path, "/sys/kernel/debug", 17) == 0 || strncmp(path, "/sys/kernel/tracing", 19) == 0;
}

static void visit_writable(const char* path, const struct stat* info) {
  if (!S_ISREG(info->st_mode) || access(path, W_OK) < 0) return;
  if (!is_touchy(path)) {
    const int opened = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (opened < 0) return;
    close(opened);
  }
  json_string(NULL, path);
}

static void visit_device(const char* path, const struct stat* info) {
  if (!S_ISCHR(info->st_mode) && !S_ISBLK(info->st_mode)) return;
  if (strstr(path, "watchdog")) return;  // it would begin to bark
  const int opened = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (opened < 0) return;
  close(opened);
  json_string(NULL, path);
}

/// A device that nobody was given (/dev/kmsg): can it be made here, and be opened then?
static void made_device(void) {
  char path[] = "/tmp/made-XXXXXX";
  const int placeholder = mkstemp(path);
  if (placeholder >= 0) close(placeholder), unlink(path);
  const bool made = mknod(path, S_IFCHR | 0666, makedev(1, 11)) == 0;
  const int opened = made ? open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) : -1;
  json_bool("mknod", made);
  json_bool("mknodOpens", opened >= 0);
  if (opened >= 0) close(opened);
  if (made) unlink(path);
}

/// The mount points below /proc and /sys, in the order of their making.
static size_t covers(char points[][LONGEST], size_t most) {
  char line[2 * LONGEST];
  size_t count = 0;
  FILE* file = fopen("/proc/self/mountinfo", "re");
  while (file && count < most && fgets(line, sizeof line, file)) {
    char point[LONGEST];
    if (sscanf(line, "%*s %*s %*s %*s %4095s", point) != 1) continue;
    const bool inside = strncmp(point, "/proc/", 6) == 0 || strncmp(point, "/sys/", 5) == 0;
    if (inside && strncmp(point, "/sys/fs/cgroup", 14) != 0) strcpy(points[count++], point);
  }
  if (file) fclose(file);
  return count;
}

/// In a mount namespace of the prober's own, so that nothing is taken off that others look at; who may have none, may take off nothing.
static void loose_covers(void) {
  static char points[256][LONGEST];
  const size_t count = covers(points, 256);
  json_number("covers", (long long)count);
  json_open("loose", '[');
  const bool own = unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
  for (size_t i = count; own && i-- > 0;) {
    if (umount2(points[i], MNT_DETACH | UMOUNT_NOFOLLOW) == 0) json_string(NULL, points[i]);
  }
  json_close(']');
}

void surface_files(void) {
  json_open("writable", '[');
  walk("/proc", visit_writable);
  walk("/sys", visit_writable);
  json_close(']');
  json_open("devices", '[');
  walk("/dev", visit_device);
  json_close(']');
  made_device();
  loose_covers();
}
