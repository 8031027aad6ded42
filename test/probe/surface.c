// Which calls get past the filters that are in force. A filter of our own, loaded on top, hands every call that carries a mark in its sixth
// argument to a process that answers with an errno of its own: a refusal of the filters below is stronger than that, so what we hear is theirs
// where they refuse, and ours where they let pass. No call that is tried is ever made.
#include "surface.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "json.h"

#define MARK 0x0ca1550f
#define PASSED ENOTUNIQ  // no filter answers so by itself

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the low half of an argument comes first here"
#endif

static int load(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MARK, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const struct sock_fprog program = {sizeof code / sizeof *code, code};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

/// Answers until nobody is left who could ask.
static void answer(int listener) {
  struct seccomp_notif request;
  for (;;) {
    memset(&request, 0, sizeof request);
    struct pollfd waiting = {listener, POLLIN, 0};
    if (poll(&waiting, 1, -1) < 0 || (waiting.revents & POLLIN) == 0) _exit(0);
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request) < 0) continue;
    struct seccomp_notif_resp response = {request.id, 0, -PASSED, 0};
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
  }
}

static int ask(long number, long a, long b, long c) {
  const int answered = syscall(number, a, b, c, 0, 0, MARK) < 0 ? errno : 0;
  syscall(SYS_getpid, 0, 0, 0, 0, 0, 0);  // the mark must not stay in its register, where a call of the C library's would carry it
  return answered;
}

#ifdef __x86_64__
/// The same by the 32-bit entry, which has numbers of its own; a kernel without it kills.
static int ask_32(long number, long a, long b, long c) {
  long result;
  __asm__ volatile(
      "lea -128(%%rsp), %%rsp\n\tpush %%rbp\n\tmov %6, %%ebp\n\tint $0x80\n\tpop %%rbp\n\tlea 128(%%rsp), %%rsp"
      : "=a"(result)
      : "a"(number), "b"(a), "c"(b), "d"(c), "S"(0L), "i"(MARK), "D"(0L)
      : "memory", "r8", "r9", "r10", "r11");
  return result < 0 && result > -4096 ? (int)-result : 0;
}
#endif

/// In a child, since what is asked may be answered by death: whether it got past.
static bool passes_alone(int (*how)(long, long, long, long), long number) {
  const pid_t child = fork();
  if (child == 0) _exit(how(number, 0, 0, 0) == PASSED ? 0 : 1);
  int status = 1;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void list(const char* name, const char* format, bool (*passes)(long), long first, long last) {
  char text[64];
  json_open(name, '[');
  for (long each = first; each <= last; each++) {
    if (!passes(each)) continue;
    snprintf(text, sizeof text, format, each);
    json_string(NULL, text);
  }
  json_close(']');
}

static bool family_passes(long family) {
  static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    if (family != AF_NETLINK && ask(SYS_socket, family, types[i], 0) == PASSED) return true;
  }
  return false;
}
static bool netlink_passes(long protocol) { return ask(SYS_socket, AF_NETLINK, SOCK_RAW, protocol) == PASSED; }
static bool unknown_passes(long number) { return ask(number, 0, 0, 0) == PASSED; }

/// What is decided by an argument: a name, the call, and its arguments.
static const struct { const char* name; long number, a, b; } conditions[] = {
    {"ioctl TIOCSTI", SYS_ioctl, 0, 0x5412},
    {"ioctl TIOCSTI with high bits", SYS_ioctl, 0, 0x100005412},
    {"ioctl TIOCLINUX", SYS_ioctl, 0, 0x541c},
    {"clone CLONE_NEWUSER", SYS_clone, 0x10000000, 0},
    {"clone CLONE_NEWNS", SYS_clone, 0x00020000, 0},
    {"unshare CLONE_NEWUSER", SYS_unshare, 0x10000000, 0},
    {"personality ADDR_NO_RANDOMIZE", SYS_personality, 0x0040000, 0},
    {"personality READ_IMPLIES_EXEC", SYS_personality, 0x0400000, 0},
    {"userfaultfd", SYS_userfaultfd, 0, 0},
    {"userfaultfd UFFD_USER_MODE_ONLY", SYS_userfaultfd, 1, 0},
    {"umount2 MNT_FORCE", SYS_umount2, 0, 1},
};

static void report_conditions(void) {
  json_open("conditions", '[');
  for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++) {
    if (ask(conditions[i].number, conditions[i].a, conditions[i].b, 0) == PASSED) json_string(NULL, conditions[i].name);
  }
  json_close(']');
}

/// uretprobe(2) and uprobe(2): no filter sees them since Linux 6.14, and who calls them from anywhere but a trampoline is killed.
static bool is_exempt(long number) { return number == 335 || number == 336; }

static void report_calls(char** numbers) {
  json_open("calls", '[');
  for (; *numbers; numbers++) {
    const long number = strtol(*numbers, NULL, 10);
    if (is_exempt(number)) continue;
    if (ask(number, 0, 0, 0) == PASSED || (number == SYS_socket && family_passes(AF_UNIX))) json_number(NULL, number);
  }
  json_close(']');
}

/// How many of the other entries' calls get past: 32-bit ones, and those with x32's bit.
static void report_other_entries(void) {
#ifdef __x86_64__
  long compat = 0, x32 = 0;
  const long most = 470;
  if (passes_alone(ask_32, 20)) {
    for (long number = 0; number < most; number++) compat += ask_32(number, 0, 0, 0) == PASSED;
  }
  for (long number = 0; number < most; number += 10) x32 += passes_alone(ask, number | 0x40000000);
  json_number("calls32", compat);
  json_number("callsX32", x32);
#endif
}

int surface(char** arguments) {
  const int listener = load();
  const int failure = errno;
  json_open(NULL, '{');
  json_errno("obstacle", listener < 0 ? failure : 0);
  if (listener >= 0) {
    fflush(stdout);
    const pid_t answering = fork();
    if (answering == 0) prctl(PR_SET_PDEATHSIG, SIGKILL), answer(listener);
    close(listener);
    report_calls(arguments);
    list("unknown", "%ld", unknown_passes, 480, 599);
    list("families", "%ld", family_passes, 0, 45);
    list("netlink", "%ld", netlink_passes, 0, 22);
    report_conditions();
    report_other_entries();
    kill(answering, SIGKILL);
    waitpid(answering, NULL, 0);
  }
  surface_files();
  json_close('}');
  putchar('\n');
  return 0;
}
