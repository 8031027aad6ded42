// The payload of the system tests: a static program that says what it can see of itself, or does one thing on demand.
//
//   probe                     the report, one JSON object
//   probe NAME [ARGUMENT…]    one of the commands in the table at the end
//
// As /sbin/init (or with `init`) it is a small pid 1: it reaps, stops when asked to, and ignores what it does not know.
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "json.h"
#include "report.h"
#include "sockets.h"
#include "surface.h"
#include "uncover.h"

static long long number(const char* text) { return text ? strtoll(text, NULL, 0) : 0; }

static int outcome(long long result, int failure) {
  json_open(NULL, '{');
  json_number("result", result);
  json_errno("error", result == -1 ? failure : 0);
  json_close('}');
  putchar('\n');
  return 0;
}

static int exit_with(char** arguments) { return (int)number(arguments[0]); }

static int signal_self(char** arguments) {
  kill(getpid(), (int)number(arguments[0]));
  return 0;
}

static int sleep_on(char** arguments) {
  const unsigned seconds = (unsigned)number(arguments[0]);
  puts("asleep");
  fflush(stdout);
  for (unsigned left = seconds; seconds == 0 || left > 0;) left = sleep(seconds == 0 ? 3600 : left);
  return 0;
}

static int ignore_signals(char** arguments) {
  for (int each = 1; each <= SIGRTMAX; each++) signal(each, SIG_IGN);
  return sleep_on(arguments);
}

/// Makes children until it is refused (at most as many as asked), says how many there were, and ends them.
static int fork_bomb(char** arguments) {
  const size_t most = arguments[0] ? (size_t)number(arguments[0]) : 100000;
  pid_t* children = calloc(most, sizeof *children);
  int failure = 0;
  size_t made = 0;
  while (children && made < most) {
    const pid_t child = fork();
    if (child == 0) prctl(PR_SET_PDEATHSIG, SIGKILL), pause(), _exit(0);
    if (child < 0) {
      failure = errno;
      break;
    }
    children[made++] = child;
  }
  for (size_t i = 0; i < made; i++) kill(children[i], SIGKILL), waitpid(children[i], NULL, 0);
  free(children);
  json_open(NULL, '{');
  json_number("made", (long long)made);
  json_errno("error", failure);
  json_close('}');
  putchar('\n');
  return 0;
}

/// Touches so many bytes, a mebibyte at a time, and then stays.
static int eat_memory(char** arguments) {
  const size_t size = (size_t)number(arguments[0]);
  char* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return outcome(-1, errno);
  for (size_t at = 0; at < size; at += 4096) memory[at] = 1;
  outcome((long long)size, 0);
  fflush(stdout);
  return number(arguments[1]) ? sleep_on(arguments + 1) : 0;
}

/// For so many seconds of processor time; without a number, until it is killed.
static int burn_cpu(char** arguments) {
  const long long seconds = number(arguments[0]);
  while (seconds == 0 || clock() < seconds * CLOCKS_PER_SEC) continue;
  return 0;
}

static int write_stdout(char** arguments) {
  for (long long left = number(arguments[0]), at = 0; at < left; at++) putchar((int)('a' + at % 26));
  return fflush(stdout) == 0 ? 0 : 1;
}

static int cat(char** arguments) {
  (void)arguments;
  char bytes[65536];
  for (ssize_t size; (size = read(0, bytes, sizeof bytes)) > 0;) {
    for (ssize_t done = 0; done < size;) {
      const ssize_t wrote = write(1, bytes + done, (size_t)(size - done));
      if (wrote < 0) return 1;
      done += wrote;
    }
  }
  return 0;
}

static int open_file(char** arguments) {
  static const struct { const char* name; int flags; } modes[] = {
      {"r", O_RDONLY}, {"w", O_WRONLY}, {"rw", O_RDWR}, {"c", O_WRONLY | O_CREAT | O_TRUNC}, {"a", O_WRONLY | O_APPEND}};
  int flags = O_RDONLY;
  for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
    if (arguments[1] && strcmp(arguments[1], modes[i].name) == 0) flags = modes[i].flags;
  }
  const int opened = open(arguments[0], flags | O_CLOEXEC | O_NONBLOCK, 0600);
  return outcome(opened, errno);
}

/// syscall NUMBER [ARGUMENT…]: numbers are passed as they are, anything else as a string.
static int system_call(char** arguments) {
  long values[7] = {0};
  for (int i = 0; i < 7 && arguments[i]; i++) {
    char* end;
    values[i] = (long)strtoll(arguments[i], &end, 0);
    if (*end || end == arguments[i]) values[i] = (long)arguments[i];
  }
  const long result = syscall(values[0], values[1], values[2], values[3], values[4], values[5], values[6]);
  return outcome(result, errno);
}

/* The i386 entry of the kernel, from a 64-bit program: numbers are those of i386, and pointers do not fit. */
static int system_call_32(char** arguments) {
#ifdef __x86_64__
  long values[4] = {0};
  for (int i = 0; i < 4 && arguments[i]; i++) values[i] = strtol(arguments[i], NULL, 0);
  long result = values[0];
  __asm__ volatile("int $0x80" : "+a"(result) : "b"(values[1]), "c"(values[2]), "d"(values[3]) : "memory", "r8", "r9", "r10", "r11");
  return result < 0 && result > -4096 ? outcome(-1, (int)-result) : outcome(result, 0);
#else
  (void)arguments;
  return outcome(-1, ENOSYS);
#endif
}

static int reboot_as(char** arguments) {
  const unsigned how = arguments[0] && strcmp(arguments[0], "halt") == 0 ? RB_HALT_SYSTEM : RB_AUTOBOOT;
  return outcome(reboot((int)how), errno);
}

/// SIGPWR, SIGTERM and SIGRTMIN+3 end it, SIGINT reboots; `init STATUS` is what it ends with.
static int init(char** arguments) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, NULL);
  puts("init");
  fflush(stdout);
  for (;;) {
    const int caught = sigwaitinfo(&all, NULL);
    if (caught == SIGPWR || caught == SIGTERM || caught == SIGRTMIN + 3) return (int)number(arguments[0]);
    if (caught == SIGINT) reboot(RB_AUTOBOOT);
    while (caught == SIGCHLD && waitpid(-1, NULL, WNOHANG) > 0) continue;
  }
}

/// filtered COMMAND…: becomes that program, under a filter that allows everything.
static int filtered(char** arguments) {
  struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  const struct sock_fprog program = {1, &allow};
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0) execvp(arguments[0], arguments);
  return perror(arguments[0]), 1;
}

/// Prints the core scheduling cookie of this process; 0 is none.
static int core(char** arguments) {
  (void)arguments;
  unsigned long cookie = 0;
  if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, 0, &cookie) < 0) return perror("prctl"), 1;
  printf("%lu\n", cookie);
  return 0;
}

/// exchange ONE OTHER: gives two names each other's files, over and over, until it is killed. Says `exchanging` first.
static int exchange(char** arguments) {
  puts("exchanging");
  fflush(stdout);
  while (renameat2(AT_FDCWD, arguments[0], AT_FDCWD, arguments[1], RENAME_EXCHANGE) == 0) continue;
  return perror("renameat2"), 1;
}

/// Opens instances of inotify until it may have no more, says how many, and keeps them.
static int watch_much(char** arguments) {
  (void)arguments;
  int count = 0;
  while (inotify_init1(IN_CLOEXEC) >= 0) count++;
  printf("%d\n", count);
  fflush(stdout);
  pause();
  return 0;
}

static const struct { const char* name; int (*run)(char** arguments); } commands[] = {
    {"exit", exit_with},           {"signal", signal_self},   {"sleep", sleep_on},   {"ignore-signals", ignore_signals},
    {"fork-bomb", fork_bomb},      {"eat-memory", eat_memory}, {"burn-cpu", burn_cpu}, {"write-stdout", write_stdout},
    {"cat", cat},                  {"open", open_file},       {"syscall", system_call}, {"syscall32", system_call_32}, {"reboot", reboot_as},
    {"init", init},                {"hear-datagrams", hear_datagrams}, {"answer-calls", answer_calls},
    {"filtered", filtered},        {"core", core},            {"surface", surface}, {"exchange", exchange},
    {"uncover", uncover},          {"watch-much", watch_much},
};

int main(int count, char** arguments) {
  if (getpid() == 1 && count == 1) return init(arguments + count);
  if (count == 1) return report(count, arguments), 0;
  if (strcmp(arguments[1], "report") == 0) return report(count, arguments), 0;
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
    if (strcmp(arguments[1], commands[i].name) == 0) return commands[i].run(arguments + 2);
  }
  fprintf(stderr, "probe: no command is named \"%s\"\n", arguments[1]);
  return 2;
}
