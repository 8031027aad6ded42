#include "kernel/netlink.h"

#include <poll.h>
#include <sched.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>

#include "base/sys.h"

namespace caisson::netlink {

constexpr size_t kLongestAttribute = 0xffff;
constexpr int kMostTries = 16;

void Message::append(const void* data, size_t size) {
  const auto* from = static_cast<const uint8_t*>(data);
  bytes_.insert(bytes_.end(), from, from + size);
  bytes_.resize(NLMSG_ALIGN(bytes_.size()));
}

size_t Message::open(unsigned type) {
  const size_t start = bytes_.size();
  nlattr head{};
  head.nla_type = static_cast<uint16_t>(type);
  append(&head, sizeof head);
  return start;
}

void Message::close(size_t start) {
  const size_t size = bytes_.size() - start;
  if (size > kLongestAttribute) too_long_ = true;
  const auto length = static_cast<uint16_t>(size);
  std::memcpy(bytes_.data() + start + offsetof(nlattr, nla_len), &length, sizeof length);
}

void Message::attribute(unsigned type, const void* data, size_t size) {
  const size_t start = bytes_.size();
  nlattr head{};
  head.nla_type = static_cast<uint16_t>(type);
  if (sizeof head + size > kLongestAttribute) too_long_ = true;
  head.nla_len = static_cast<uint16_t>(sizeof head + size);
  append(&head, sizeof head);
  bytes_.resize(start + sizeof head);
  append(data, size);
}

namespace {

/// "RTM_NEWLINK" for an Error; the types come in fours (new, delete, get, set) from RTM_BASE on.
std::string request_name(uint16_t type) {
  static constexpr const char* kVerbs[] = {"RTM_NEW", "RTM_DEL", "RTM_GET", "RTM_SET"};
  static constexpr const char* kNouns[] = {"LINK", "ADDR", "ROUTE", "NEIGH", "RULE", "QDISC", "TCLASS", "TFILTER"};
  const unsigned nth = type - RTM_BASE;
  if (nth / 4 < std::size(kNouns)) return std::string(kVerbs[nth % 4]) + kNouns[nth / 4];
  return type == RTM_NEWLINKPROP ? "RTM_NEWLINKPROP" : "rtnetlink";
}

/// The kernel's sentence in an error answer, "Invalid MTU for device".
std::string words(const nlmsghdr& head, const uint8_t* body, size_t size) {
  std::string text;
  if ((head.nlmsg_flags & NLM_F_ACK_TLVS) == 0 || size <= sizeof(nlmsgerr)) return text;
  each_attribute(body + sizeof(nlmsgerr), size - sizeof(nlmsgerr), [&](const Attribute& attribute) {
    if (attribute.type == NLMSGERR_ATTR_MSG) text = attribute.text();
  });
  return text;
}

Error refusal(int number, const nlmsghdr& head, const uint8_t* body, size_t size, uint16_t type, const std::string& subject) {
  return sys::failed_with(number, request_name(type).c_str(), subject, words(head, body, size));
}

}  // namespace

Result<Socket> Socket::open(uint32_t groups) {
  Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd) return sys::failed("socket", "NETLINK_ROUTE");
  const int on = 1;
  // CAP_ACK: an error answer repeats the request's header only, so that the attributes behind it are found.
  for (const int option : {NETLINK_EXT_ACK, NETLINK_CAP_ACK}) {
    if (::setsockopt(fd.get(), SOL_NETLINK, option, &on, sizeof on) != 0) return sys::failed("setsockopt", "NETLINK_ROUTE");
  }
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = groups;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return sys::failed("bind", "NETLINK_ROUTE");
  }
  return Socket(std::move(fd));
}

Result<Socket> Socket::open_in(int netns, uint32_t groups) {
  const Visit visit = TRY(Visit::to(netns));
  return open(groups);
}

Status Socket::send(const Bytes& bytes) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  for (;;) {
    const auto sent =
        ::sendto(fd_.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel);
    if (sent >= 0) return {};
    if (errno != EINTR) return sys::failed("sendto", "NETLINK_ROUTE");
  }
}

Result<size_t> Socket::receive() {
  for (;;) {
    sockaddr_nl from{};
    socklen_t length = sizeof from;
    const ssize_t got = ::recvfrom(fd_.get(), buffer_.data(), buffer_.size(), MSG_TRUNC, reinterpret_cast<sockaddr*>(&from), &length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return sys::failed("recvfrom", "NETLINK_ROUTE");
    if (from.nl_pid != 0) continue;  // not the kernel: any process may write to a netlink socket
    if (static_cast<size_t>(got) > buffer_.size()) return sys::failed_with(EMSGSIZE, "recvfrom", "NETLINK_ROUTE");
    return static_cast<size_t>(got);
  }
}

/// Calls each(header, body, size) for the messages of one datagram.
template <class Each>
static void each_raw(const Bytes& buffer, size_t size, Each each) {
  size_t at = 0;
  while (size - at >= sizeof(nlmsghdr)) {
    nlmsghdr head{};
    std::memcpy(&head, buffer.data() + at, sizeof head);
    if (head.nlmsg_len < sizeof head || head.nlmsg_len > size - at) return;
    each(head, buffer.data() + at + sizeof head, head.nlmsg_len - sizeof head);
    at += NLMSG_ALIGN(head.nlmsg_len);
    if (at > size) return;
  }
}

static int error_number(const uint8_t* body, size_t size) {
  int32_t negative = 0;
  if (size >= sizeof negative) std::memcpy(&negative, body, sizeof negative);
  return -negative;
}

Status Socket::transact(std::vector<Message> batch) {
  if (batch.empty()) return {};
  Bytes all;
  const uint32_t first = sequence_ + 1;
  for (Message& message : batch) {
    if (message.too_long_) return sys::failed_with(EMSGSIZE, "rtnetlink", message.subject_, "an attribute exceeds 65,535 bytes");
    message.header()->nlmsg_len = static_cast<uint32_t>(message.bytes_.size());
    message.header()->nlmsg_flags |= NLM_F_ACK;
    message.header()->nlmsg_seq = ++sequence_;
    all.insert(all.end(), message.bytes_.begin(), message.bytes_.end());
  }
  TRY(send(all));
  std::optional<Error> refused;
  for (size_t pending = batch.size(); pending > 0;) {
    const size_t size = TRY(receive());
    each_raw(buffer_, size, [&](const nlmsghdr& head, const uint8_t* body, size_t length) {
      const uint32_t nth = head.nlmsg_seq - first;
      if (head.nlmsg_type != NLMSG_ERROR || nth >= batch.size() || pending == 0) return;
      pending--;
      const int number = error_number(body, length);
      Message& message = batch[nth];
      if (number != 0 && !refused) refused = refusal(number, head, body, length, message.header()->nlmsg_type, message.subject_);
    });
  }
  if (refused) return std::move(*refused);
  return {};
}

Result<Bytes> Socket::ask(Message request) {
  if (request.too_long_) return sys::failed_with(EMSGSIZE, "rtnetlink", request.subject_, "an attribute exceeds 65,535 bytes");
  const bool dump = (request.header()->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
  request.header()->nlmsg_len = static_cast<uint32_t>(request.bytes_.size());
  if (!dump) request.header()->nlmsg_flags |= NLM_F_ACK;
  for (int tries = 0; tries < kMostTries; tries++) {
    request.header()->nlmsg_seq = ++sequence_;
    TRY(send(request.bytes_));
    Bytes answer;
    bool ended = false, interrupted = false;
    std::optional<Error> refused;
    while (!ended) {
      const size_t size = TRY(receive());
      each_raw(buffer_, size, [&](const nlmsghdr& head, const uint8_t* body, size_t length) {
        if (head.nlmsg_seq != sequence_) return;
        if ((head.nlmsg_flags & NLM_F_DUMP_INTR) != 0) interrupted = true;
        if (head.nlmsg_type == NLMSG_ERROR || head.nlmsg_type == NLMSG_DONE) {
          ended = true;
          const int number = error_number(body, length);
          if (number != 0) refused = refusal(number, head, body, length, request.header()->nlmsg_type, request.subject_);
          return;
        }
        const uint8_t* start = body - sizeof head;
        answer.insert(answer.end(), start, start + head.nlmsg_len);
        answer.resize(NLMSG_ALIGN(answer.size()));
      });
    }
    if (refused) return std::move(*refused);
    if (!interrupted) return answer;
  }
  return sys::failed_with(EAGAIN, request_name(request.header()->nlmsg_type).c_str(), request.subject_, "it kept changing");
}

Result<bool> Socket::drain() {
  for (bool any = false;; any = true) {
    const ssize_t got = ::recv(fd_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT | MSG_TRUNC);
    if (got >= 0 || errno == ENOBUFS || errno == EINTR) continue;
    if (errno == EAGAIN) return any;
    return sys::failed("recv", "NETLINK_ROUTE");
  }
}

Result<Visit> Visit::to(int netns) {
  Visit visit(TRY(sys::open("/proc/thread-self/ns/net", O_RDONLY)));
  if (::setns(netns, CLONE_NEWNET) != 0) return sys::failed("setns", "net");
  return visit;
}

Result<Fd> Visit::here() const { return sys::open("/proc/thread-self/ns/net", O_RDONLY); }

Visit::~Visit() {
  // Nothing may run on in the wrong namespace: a way back that is closed is the end.
  if (home_ && ::setns(home_.get(), CLONE_NEWNET) != 0) std::abort();
}

}  // namespace caisson::netlink
