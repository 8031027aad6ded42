#include "sockets.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "json.h"

static int bind_to(const char* path, int type) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const size_t abstract = path[0] == '@';
  strncpy(address.sun_path + abstract, path + abstract, sizeof address.sun_path - 2);
  const socklen_t size = (socklen_t)(sizeof address.sun_family + strlen(path) + !abstract);
  const int made = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
  if (made < 0 || bind(made, (struct sockaddr*)&address, size) < 0) return perror(path), -1;
  if (type == SOCK_SEQPACKET && listen(made, 8) < 0) return perror("listen"), -1;
  puts("listening");
  fflush(stdout);
  return made;
}

int hear_datagrams(char** arguments) {
  const int from = bind_to(arguments[0], SOCK_DGRAM);
  char text[8192];
  for (ssize_t size; from >= 0 && (size = recv(from, text, sizeof text, 0)) > 0;) {
    printf("%.*s\n", (int)size, text);
    fflush(stdout);
  }
  return 1;
}

/// LXC's packet; the cookie follows it.
struct packet {
  uint64_t reserved;
  int32_t monitor;
  int32_t init;
  struct seccomp_notif_sizes sizes;
  uint64_t cookie_length;
  struct seccomp_notif call;
  struct seccomp_notif_resp answer;
};

static void print_target(const char* name, int fd) {
  char link[64], target[256];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, target, sizeof target - 1);
  target[length < 0 ? 0 : length] = '\0';
  json_string(name, target);
}

/// What came, and where the descriptors lead.
static void print_call(const struct packet* packet, const char* cookie, size_t cookie_size, const int* fds, int count) {
  char text[256];
  snprintf(text, sizeof text, "%.*s", (int)cookie_size, cookie);
  json_open(NULL, '{');
  json_number("monitor", packet->monitor);
  json_number("init", packet->init);
  json_number("pid", packet->call.pid);
  json_number("nr", packet->call.data.nr);
  json_number("sameId", packet->call.id == packet->answer.id);
  json_number("cookieLength", (long long)packet->cookie_length);
  json_string("cookie", text);
  json_open("descriptors", '[');
  for (int i = 0; i < count; i++) print_target(NULL, fds[i]), close(fds[i]);
  json_close(']');
  json_close('}');
  putchar('\n');
  fflush(stdout);
}

static void set_answer(struct packet* packet, const char* wanted) {
  const long long value = strtoll(wanted, NULL, 0);
  if (strcmp(wanted, "continue") == 0) packet->answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  else if (value < 0) packet->answer.error = (int32_t)value;
  else packet->answer.val = value;
}

static int answer_peer(int peer, const char* wanted) {
  struct packet packet;
  char cookie[256];
  union { struct cmsghdr header; char bytes[CMSG_SPACE(8 * sizeof(int))]; } control;
  for (;;) {
    struct iovec parts[] = {{&packet, sizeof packet}, {cookie, sizeof cookie}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof control};
    const ssize_t size = recvmsg(peer, &message, MSG_CMSG_CLOEXEC);
    if (size < (ssize_t)sizeof packet) return 0;
    const struct cmsghdr* header = CMSG_FIRSTHDR(&message);
    int fds[8];
    const size_t bytes = header ? header->cmsg_len - CMSG_LEN(0) : 0;
    if (bytes > 0) memcpy(fds, CMSG_DATA(header), bytes);
    print_call(&packet, cookie, (size_t)size - sizeof packet, fds, (int)(bytes / sizeof(int)));
    if (strcmp(wanted, "gone") == 0) return 0;
    set_answer(&packet, wanted);
    if (send(peer, &packet, sizeof packet, MSG_NOSIGNAL) < 0) return 1;
  }
}

int answer_calls(char** arguments) {
  const int from = bind_to(arguments[0], SOCK_SEQPACKET);
  for (int peer; from >= 0 && (peer = accept4(from, NULL, NULL, SOCK_CLOEXEC)) >= 0; close(peer)) answer_peer(peer, arguments[1]);
  return 1;
}
