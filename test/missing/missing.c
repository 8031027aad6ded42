// missing NUMBER PROGRAM [ARGUMENT…]: runs a program on a kernel that seems to lack one system call: it fails with ENOSYS, here and in all
// that is started from here. no_new_privs is not set, since root needs none for a filter, and a container would inherit it.
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char** argv) {
  char* end = NULL;
  const unsigned long number = argc < 3 ? 0 : strtoul(argv[1], &end, 10);
  if (end == NULL || *end != '\0' || end == argv[1]) {
    fprintf(stderr, "usage: missing NUMBER PROGRAM [ARGUMENT...]\n");
    return 2;
  }
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const struct sock_fprog program = {sizeof code / sizeof code[0], code};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) {
    perror("missing: seccomp");
    return 1;
  }
  execvp(argv[2], argv + 2);
  perror("missing: execvp");
  return 127;
}
