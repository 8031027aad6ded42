#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "floor.h"

enum { kMost = 20 };

static struct Hierarchy {
  char name[64];  // of its directory, which is that of its controller; "" for v2
  char root[128];
  char path[256];
  int door;       // v1: its `tasks`; v2: the directory
  bool unified;
} hierarchies[kMost];
static int count;

void put(const char* directory, const char* name, const char* text) {
  char path[512];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  const int file = open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return;  // a limit that this hierarchy does not have
  must(write(file, text, strlen(text)), path);
  close(file);
}

static void add(const char* root, const char* name) {
  struct Hierarchy* added = &hierarchies[count];
  char file[256];
  snprintf(file, sizeof file, "%s/cgroup.procs", root);
  if (count == kMost || access(file, F_OK) != 0) return;
  snprintf(file, sizeof file, "%s/cgroup.controllers", root);
  added->unified = access(file, F_OK) == 0;
  snprintf(added->name, sizeof added->name, "%s", added->unified ? "" : name);
  snprintf(added->root, sizeof added->root, "%s", root);
  snprintf(added->path, sizeof added->path, "%s/caisson-floor-%d", root, getpid());
  count++;
}

void cgroups_find(int sandbox) {
  DIR* all = opendir("/sys/fs/cgroup");
  add("/sys/fs/cgroup", "");
  const bool pure = count == 1;
  for (struct dirent* entry; !pure && all && (entry = readdir(all));) {
    char root[128];
    if (entry->d_name[0] == '.' || entry->d_type != DT_DIR || strlen(entry->d_name) > 60) continue;
    if (sandbox && !strstr("memory pids unified", entry->d_name)) continue;
    snprintf(root, sizeof root, "/sys/fs/cgroup/%.60s", entry->d_name);
    add(root, entry->d_name);
  }
  closedir(all);
}

static void open_door(struct Hierarchy* hierarchy, const char* path) {
  char door[512];
  snprintf(door, sizeof door, "%s%s", path, hierarchy->unified ? "" : "/tasks");
  hierarchy->door = open(door, (hierarchy->unified ? O_RDONLY : O_WRONLY) | O_CLOEXEC);
  must(hierarchy->door, door);
}

/// A new v1 cpuset has no processors and takes no process until it is given its parent's.
static void inherit_cpuset(const struct Hierarchy* hierarchy) {
  static const char* const names[] = {"cpuset.cpus", "cpuset.mems"};
  for (int i = 0; i < 2 && !hierarchy->unified; i++) {
    char above[256], value[256] = "";
    snprintf(above, sizeof above, "%s/%s", hierarchy->root, names[i]);
    const int file = open(above, O_RDONLY | O_CLOEXEC);
    if (file < 0) continue;
    if (read(file, value, sizeof value - 1) > 0) put(hierarchy->path, names[i], value);
    close(file);
  }
}

void cgroups_make(void) {
  for (struct Hierarchy* each = hierarchies; each < hierarchies + count; each++) {
    must(mkdir(each->path, 0755), each->path);
    inherit_cpuset(each);
    put(each->path, "pids.max", "1000");
    put(each->path, "memory.limit_in_bytes", "1073741824");
    put(each->path, "memory.max", "1073741824");
    put(each->path, "cpu.shares", "512");
    put(each->path, "cpu.weight", "50");
    open_door(each, each->path);
  }
}

void cgroups_remove(void) {
  for (struct Hierarchy* each = hierarchies; each < hierarchies + count; each++) {
    close(each->door);
    while (rmdir(each->path) != 0 && errno == EBUSY) continue;  // the dead leave a moment later
  }
}

static void find_door(const char* controllers, const char* path) {
  const char* name = strncmp(controllers, "name=", 5) == 0 ? controllers + 5 : controllers;
  for (struct Hierarchy* each = hierarchies; each < hierarchies + count; each++) {
    char directory[512];
    if (strcmp(each->name, name) != 0) continue;
    snprintf(directory, sizeof directory, "%s%s", each->root, path);
    open_door(each, directory);
  }
}

void cgroups_of(const char* pid) {
  char path[64], line[512];
  snprintf(path, sizeof path, "/proc/%s/cgroup", pid);
  FILE* file = fopen(path, "re");
  must(file ? 0 : -1, path);
  while (fgets(line, sizeof line, file)) {  // cgroups(7): ID:CONTROLLERS:PATH
    line[strcspn(line, "\n")] = 0;
    char* rest = line;
    strsep(&rest, ":");
    char* controllers = strsep(&rest, ":");
    find_door(controllers, rest);
  }
  fclose(file);
}

void cgroups_enter(void) {
  for (const struct Hierarchy* each = hierarchies; each < hierarchies + count; each++) {
    if (!each->unified && each->door > 0) must(write(each->door, "0", 1), each->path);
  }
}

int cgroups_unified(void) {
  for (const struct Hierarchy* each = hierarchies; each < hierarchies + count; each++) {
    if (each->unified && each->door > 0) return each->door;
  }
  return -1;
}
