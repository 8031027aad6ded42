// The base layer: the codec against every truncation, sockets with descriptors, paths that cannot leave a root.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "base/codec.h"
#include "base/socket.h"
#include "base/sys.h"
#include "kernel/path.h"
#include "protocol.h"
#include "spec.h"

using namespace caisson;

static int number = 0;
static int failures = 0;

static void ok(bool good, const char* what) {
  std::printf("%sok %d - %s\n", good ? "" : "not ", ++number, what);
  failures += good ? 0 : 1;
}

static StartSpec sample() {
  StartSpec spec;
  spec.name = "web";
  spec.masked = {"/proc/kcore", ""};
  spec.idmap.uids = {{0, 100000, 65536}};
  spec.idmap.owner_uid = 100000;
  spec.security.seccomp = {1, 2, 3, 255};
  spec.sysfs = StartSpec::Sysfs::read_only;
  spec.process.rlimits = {{7, ~0ULL, ~0ULL}};
  return spec;
}

static void test_codec() {
  const Bytes bytes = encode(sample());
  StartSpec back;
  ok(decode(bytes.data(), bytes.size(), back), "a Spec is decoded");
  ok(encode(back) == bytes, "and is what it was");
  size_t refused = 0;
  for (size_t size = 0; size < bytes.size(); size++) {
    StartSpec part;
    refused += decode(bytes.data(), size, part) ? 0 : 1;
  }
  ok(refused == bytes.size(), "every truncation is refused");
  Bytes longer = bytes;
  longer.push_back(0);
  ok(!decode(longer.data(), longer.size(), back), "bytes left over are refused");
  const Bytes huge{255, 255, 255, 255};
  Strings strings;
  ok(!decode(huge.data(), huge.size(), strings) && strings.empty(), "a count that cannot be true allocates nothing");
  const Bytes unknown{200};
  State state{};
  ok(!decode(unknown.data(), unknown.size(), state) && state == State::stopped, "an unknown enum value is refused");
}

/// Bytes that mean nothing must never crash the decoder: run under the sanitizers.
static void test_noise() {
  unsigned seed = 1;
  const Bytes bytes = encode(sample());
  for (int turn = 0; turn < 20'000; turn++) {
    Bytes noise = bytes;
    for (int change = 0; change < 8; change++) noise[static_cast<size_t>(rand_r(&seed)) % noise.size()] = static_cast<uint8_t>(rand_r(&seed));
    StartSpec spec;
    (void)decode(noise.data(), noise.size(), spec);
    Request request;
    (void)decode(noise.data(), static_cast<size_t>(rand_r(&seed)) % 64, request);
  }
  ok(true, "20,000 damaged Specs and requests are read without harm");
}

static void test_socket() {
  auto pair = socket::pair();
  ok(static_cast<bool>(pair), "a pair of sockets");
  auto file = sys::open("/dev/null", O_RDONLY);
  ok(static_cast<bool>(socket::send(pair->left.get(), {1, 2, 3}, {file->get(), file->get()}, true)), "a packet is sent");
  auto packet = socket::receive(pair->right.get(), 16, true);
  ok(packet && packet->data == Bytes{1, 2, 3} && packet->descriptors.size() == 2, "and received, with its descriptors");
  ok((::fcntl(packet->descriptors[0].get(), F_GETFD) & FD_CLOEXEC) != 0, "which are close-on-exec");
  auto none = socket::receive(pair->right.get(), 16, false);
  ok(!none && none.error().number == EAGAIN, "an empty socket is EAGAIN");
  (void)!socket::send(pair->left.get(), Bytes(64), {}, true);
  auto cut = socket::receive(pair->right.get(), 16, true);
  ok(!cut && cut.error().number == EMSGSIZE, "a packet that does not fit is an error, not half a packet");
  pair->left.reset();
  auto end = socket::receive(pair->right.get(), 16, true);
  ok(end && end->data.empty(), "a closed peer is an empty packet");
}

static void test_path() {
  char root[] = "/tmp/caisson-path-XXXXXX";
  if (::mkdtemp(root) == nullptr) return ok(false, "mkdtemp");
  const Fd dir(::open(root, O_PATH | O_DIRECTORY | O_CLOEXEC));
  ok(static_cast<bool>(path::make_directory(dir.get(), "a/b/c")), "directories are made below a root");
  (void)!::symlinkat("/etc", dir.get(), "link");
  (void)!::symlinkat("../../../../etc", dir.get(), "climb");
  auto inside = path::make_file(dir.get(), "link/passwd");
  ok(!inside && inside.error().number == ENOENT, "an absolute link leads below the root, where its target is missing");
  (void)!::mkdirat(dir.get(), "etc", 0755);
  ok(static_cast<bool>(path::make_file(dir.get(), "climb/made")), "so does one that climbs");
  struct stat info{};
  ok(::fstatat(dir.get(), "etc/made", &info, 0) == 0 && ::access("/etc/made", F_OK) < 0, "and the host is untouched");
  auto strict = path::make_directory_strict(dir.get(), "link/x");
  ok(!strict && strict.error().number == ELOOP, "a strict path has no link at all");
  const std::string remove = std::string("rm -r ") + root;
  ok(std::system(remove.c_str()) == 0, "the root is removed");
}

int main() {
  test_codec();
  test_noise();
  test_socket();
  test_path();
  std::printf("1..%d\n", number);
  return failures == 0 ? 0 : 1;
}
