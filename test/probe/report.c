#include "report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/securebits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "json.h"

extern char** environ;

static void chomp(char* line) { line[strcspn(line, "\n")] = 0; }

/// The first line of a file, or null when it can't be read.
static void line_of(const char* name, const char* path) {
  char line[4096] = "";
  FILE* file = fopen(path, "re");
  if (file && !fgets(line, sizeof line, file)) line[0] = 0;
  chomp(line);
  json_string(name, file ? line : NULL);
  if (file) fclose(file);
}

/// /proc/self/status as it is: ids, groups, capabilities, seccomp, signal masks, umask.
static void status(void) {
  char line[4096];
  FILE* file = fopen("/proc/self/status", "re");
  json_open("status", '{');
  while (file && fgets(line, sizeof line, file)) {
    chomp(line);
    char* value = strchr(line, ':');
    if (!value) continue;
    *value++ = 0;
    json_string(line, value + strspn(value, " \t"));
  }
  if (file) fclose(file);
  json_close('}');
}

static void id_map(const char* name, const char* path) {
  long long inside, outside, count;
  FILE* file = fopen(path, "re");
  json_open(name, '[');
  while (file && fscanf(file, "%lld %lld %lld", &inside, &outside, &count) == 3) {
    json_open(NULL, '[');
    json_number(NULL, inside), json_number(NULL, outside), json_number(NULL, count);
    json_close(']');
  }
  if (file) fclose(file);
  json_close(']');
}

/// The entries of a directory of symbolic links, by name; `omit` is the descriptor that reads it.
static void links(const char* name, const char* path) {
  DIR* directory = opendir(path);
  json_open(name, '{');
  for (struct dirent* entry; directory && (entry = readdir(directory));) {
    char target[4096];
    const ssize_t size = readlinkat(dirfd(directory), entry->d_name, target, sizeof target - 1);
    if (size < 0 || (strcmp(name, "fds") == 0 && atoi(entry->d_name) == dirfd(directory))) continue;
    target[size] = 0;
    json_string(entry->d_name, target);
  }
  if (directory) closedir(directory);
  json_close('}');
}

static void lines(const char* name, const char* path) {
  char line[4096];
  FILE* file = fopen(path, "re");
  json_open(name, '[');
  while (file && fgets(line, sizeof line, file)) chomp(line), json_string(NULL, line);
  if (file) fclose(file);
  json_close(']');
}

/// proc(5): ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [OPTIONAL…] - TYPE SOURCE SUPER-OPTIONS
static void mounts(void) {
  static const char* const before[] = {"id", "parent", "device", "root", "point", "options"};
  static const char* const after[] = {"type", "source", "super"};
  char line[8192];
  FILE* file = fopen("/proc/self/mountinfo", "re");
  json_open("mounts", '[');
  while (file && fgets(line, sizeof line, file)) {
    chomp(line);
    char* rest = line;
    json_open(NULL, '{');
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) json_string(before[i], strsep(&rest, " "));
    json_open("optional", '[');
    for (char* field; (field = strsep(&rest, " ")) && strcmp(field, "-") != 0;) json_string(NULL, field);
    json_close(']');
    for (size_t i = 0; i < sizeof after / sizeof *after; i++) json_string(after[i], strsep(&rest, " "));
    json_close('}');
  }
  if (file) fclose(file);
  json_close(']');
}

static void limits(void) {
  static const char* const names[] = {"cpu",   "fsize", "data",       "stack",    "core", "rss",    "nproc", "nofile",
                                      "memlock", "as",    "locks",      "sigpending", "msgqueue", "nice", "rtprio", "rttime"};
  json_open("limits", '{');
  for (int i = 0; i < (int)(sizeof names / sizeof *names); i++) {
    struct rlimit limit;
    if (getrlimit((__rlimit_resource_t)i, &limit) != 0) continue;
    json_open(names[i], '[');
    json_number(NULL, (long long)limit.rlim_cur), json_number(NULL, (long long)limit.rlim_max);  // unlimited is -1
    json_close(']');
  }
  json_close('}');
}

static void environment(void) {
  json_open("env", '{');
  for (char** each = environ; *each; each++) {
    char pair[8192];
    snprintf(pair, sizeof pair, "%s", *each);
    char* value = strchr(pair, '=');
    if (!value) continue;
    *value++ = 0;
    json_string(pair, value);
  }
  json_close('}');
}

static void processes(void) {
  uid_t uid[3];
  gid_t gid[3];
  getresuid(&uid[0], &uid[1], &uid[2]);
  getresgid(&gid[0], &gid[1], &gid[2]);
  json_number("pid", getpid());
  json_number("ppid", getppid());
  json_number("pgid", getpgid(0));
  json_number("sid", getsid(0));
  json_open("uid", '[');
  for (int i = 0; i < 3; i++) json_number(NULL, uid[i]);
  json_close(']');
  json_open("gid", '[');
  for (int i = 0; i < 3; i++) json_number(NULL, gid[i]);
  json_close(']');
  gid_t groups[1024];
  const int count = getgroups(1024, groups);
  json_open("groups", '[');
  for (int i = 0; i < count; i++) json_number(NULL, groups[i]);
  json_close(']');
}

static void terminal(void) {
  struct winsize size;
  const int controlling = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  json_open("terminal", '{');
  json_string("stdin", isatty(0) ? ttyname(0) : NULL);
  json_bool("controlling", controlling >= 0);
  if (isatty(0) && ioctl(0, TIOCGWINSZ, &size) == 0) json_number("rows", size.ws_row), json_number("columns", size.ws_col);
  json_number("foreground", isatty(0) ? tcgetpgrp(0) : -1);
  json_close('}');
  if (controlling >= 0) close(controlling);
}

static void attributes(void) {
  const mode_t mask = umask(0);
  umask(mask);
  int death_signal = 0;
  prctl(PR_GET_PDEATHSIG, &death_signal);
  const long keyring = syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
  json_number("umask", mask);
  json_number("keyring", keyring);  // -1 where there is none, or the filter forbids the question
  json_number("securebits", prctl(PR_GET_SECUREBITS));
  json_number("noNewPrivs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
  json_number("dumpable", prctl(PR_GET_DUMPABLE));
  json_number("deathSignal", death_signal);
  json_number("personality", personality(0xffffffff));
  json_number("nice", getpriority(PRIO_PROCESS, 0));
}

void report(int count, char** arguments) {
  char directory[4096];
  struct utsname names;
  uname(&names);
  json_open(NULL, '{');
  json_open("argv", '[');
  for (int i = 0; i < count; i++) json_string(NULL, arguments[i]);
  json_close(']');
  processes();
  terminal();
  attributes();
  json_string("cwd", getcwd(directory, sizeof directory));
  json_string("hostname", names.nodename);
  json_string("domainname", names.domainname);
  json_string("release", names.release);
  json_string("machine", names.machine);
  line_of("label", "/proc/self/attr/current");
  line_of("oomScoreAdj", "/proc/self/oom_score_adj");
  line_of("init", "/proc/1/comm");
  status();
  id_map("uidMap", "/proc/self/uid_map");
  id_map("gidMap", "/proc/self/gid_map");
  line_of("setgroups", "/proc/self/setgroups");
  links("namespaces", "/proc/self/ns");
  links("fds", "/proc/self/fd");
  lines("cgroup", "/proc/self/cgroup");
  mounts();
  limits();
  environment();
  json_close('}');
  putchar('\n');
}
