// rtnetlink(7) as a transport: requests in batches over one socket, every one acknowledged, and the kernel's own words about what it
// refused in Error.detail (NETLINK_EXT_ACK, Linux 4.12).
//
// A batch is one sendmsg(2). The kernel works through all of it, also past a refusal, so whoever gets an Error undoes the whole batch.
// A Socket belongs to the network namespace in which it was opened, whatever namespace its user enters later.
#pragma once

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/codec.h"
#include "base/fd.h"
#include "base/result.h"

namespace caisson::netlink {

/// One request: a header, the fixed part of its family (ifinfomsg, ifaddrmsg, …), attributes.
class Message {
 public:
  /// `subject` is what an Error will name: the link, the address.
  template <class Family>
  Message(uint16_t type, unsigned flags, const Family& family, std::string subject) : subject_(std::move(subject)) {
    nlmsghdr header{};
    header.nlmsg_type = type;
    header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
    append(&header, sizeof header);
    append(&family, sizeof family);
  }

  void attribute(unsigned type, const void* data, size_t size);
  template <class T>
  void number(unsigned type, T value) {
    static_assert(std::is_arithmetic_v<T>);
    attribute(type, &value, sizeof value);
  }
  /// NUL-terminated, as names are.
  void text(unsigned type, const std::string& value) { attribute(type, value.c_str(), value.size() + 1); }
  /// Without its NUL, as the alias is.
  void characters(unsigned type, const std::string& value) { attribute(type, value.data(), value.size()); }
  void bytes(unsigned type, const Bytes& value) { attribute(type, value.data(), value.size()); }
  template <class T>
  void record(unsigned type, const T& value) {
    attribute(type, &value, sizeof value);
  }
  /// Nested attributes: those that `fill` puts.
  template <class Fill>
  void nest(unsigned type, Fill fill) {
    const size_t start = open(type);
    fill();
    close(start);
  }
  /// A family header in the middle of a message, as VETH_INFO_PEER has one.
  void append(const void* data, size_t size);

 private:
  friend class Socket;
  size_t open(unsigned type);
  void close(size_t start);
  nlmsghdr* header() { return reinterpret_cast<nlmsghdr*>(bytes_.data()); }

  Bytes bytes_;
  std::string subject_;
  bool too_long_ = false;  ///< an attribute's length has 16 bits: one that wrapped would be read as others (CVE-2021-43784)
};

/// One attribute of an answer.
struct Attribute {
  unsigned type = 0;
  const uint8_t* data = nullptr;
  size_t size = 0;

  /// 0 when the attribute is shorter than a T.
  template <class T>
  T as() const {
    T value{};
    if (size >= sizeof value) std::memcpy(&value, data, sizeof value);
    return value;
  }
  std::string text() const {
    const auto* chars = reinterpret_cast<const char*>(data);
    return std::string(chars, strnlen(chars, size));
  }
  Bytes bytes() const { return Bytes(data, data + size); }
};

template <class Each>
void each_attribute(const uint8_t* next, size_t left, Each each) {
  while (left >= sizeof(nlattr)) {
    nlattr head{};
    std::memcpy(&head, next, sizeof head);
    if (head.nla_len < sizeof head || head.nla_len > left) return;
    each(Attribute{head.nla_type & static_cast<unsigned>(NLA_TYPE_MASK), next + sizeof head, head.nla_len - sizeof head});
    const size_t step = NLA_ALIGN(head.nla_len);
    if (step >= left) return;
    next += step, left -= step;
  }
}

template <class Each>
void each_nested(const Attribute& outer, Each each) {
  each_attribute(outer.data, outer.size, each);
}

/// Calls `each(type, family, attributes, size)` for every message of an answer; Family is its fixed part.
template <class Family, class Each>
void each_message(const Bytes& answer, Each each) {
  size_t at = 0;
  while (answer.size() - at >= sizeof(nlmsghdr)) {
    nlmsghdr head{};
    std::memcpy(&head, answer.data() + at, sizeof head);
    if (head.nlmsg_len < sizeof head || head.nlmsg_len > answer.size() - at) return;
    constexpr size_t kBody = sizeof(nlmsghdr) + NLMSG_ALIGN(sizeof(Family));
    if (head.nlmsg_len >= kBody) {
      Family family{};
      std::memcpy(&family, answer.data() + at + sizeof head, sizeof family);
      each(head.nlmsg_type, family, answer.data() + at + kBody, head.nlmsg_len - kBody);
    }
    at += NLMSG_ALIGN(head.nlmsg_len);
    if (at > answer.size()) return;
  }
}

class Socket {
 public:
  /// In the caller's network namespace; `groups` is a mask of RTMGRP_* to be told of.
  static Result<Socket> open(uint32_t groups = 0);
  /// In another namespace: a single-threaded caller goes there and comes back. `netns` is a namespace's descriptor or a pidfd.
  static Result<Socket> open_in(int netns, uint32_t groups = 0);

  /// Sends all and waits for all acknowledgements: the first refusal, if any.
  Status transact(std::vector<Message> batch);
  /// The messages that answer one request; for a dump (NLM_F_DUMP) all of them, again from the start when the kernel says that what it
  /// showed changed meanwhile (NLM_F_DUMP_INTR).
  Result<Bytes> ask(Message request);
  /// Takes what the groups have sent so far, without waiting; a lost event (ENOBUFS) is taken too. False: there was nothing.
  Result<bool> drain();
  int descriptor() const { return fd_.get(); }

 private:
  explicit Socket(Fd fd) : fd_(std::move(fd)) {}
  Status send(const Bytes& bytes);
  Result<size_t> receive();

  Fd fd_;
  uint32_t sequence_ = 0;
  Bytes buffer_ = Bytes(64 * 1024);
};

/// Enters a network namespace, setns(2), and goes back at the end of its scope.
class Visit {
 public:
  static Result<Visit> to(int netns);
  /// A descriptor of the namespace that is visited.
  Result<Fd> here() const;
  Visit(Visit&&) = default;
  ~Visit();

 private:
  explicit Visit(Fd home) : home_(std::move(home)) {}
  Fd home_;
};

}  // namespace caisson::netlink
