// Packets with descriptors beside them, over SOCK_SEQPACKET: the transport of batons and channels.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/codec.h"
#include "base/fd.h"
#include "base/result.h"

namespace caisson::socket {

/// The kernel takes at most 253 descriptors with one packet (SCM_MAX_FD).
constexpr size_t kMostDescriptors = 240;

struct Pair {
  Fd left;
  Fd right;
};
Result<Pair> pair();

struct Packet {
  Bytes data;               ///< empty: the peer has closed
  std::vector<Fd> descriptors;
  std::optional<ucred> sender{};  ///< where the socket asks for it (SO_PASSCRED)
};

/// Sends one packet. With `wait` false a full peer is EAGAIN.
Status send(int socket, const Bytes& data, const std::vector<int>& descriptors, bool wait);
/// Receives one packet of at most `most` bytes; the descriptors are close-on-exec. With `wait` false an empty socket is EAGAIN.
Result<Packet> receive(int socket, size_t most, bool wait);
/// Waits until the socket is readable: false when the deadline (ms, CLOCK_MONOTONIC; -1: none) has passed.
Result<bool> wait_readable(int socket, int64_t deadline_ms);

/// Listens on `name` in the directory `dir` (mode 0600): the path may be longer than sun_path holds.
Result<Fd> listen(int dir, const std::string& name);
/// Connects to `path` likewise.
Result<Fd> connect(const std::string& path);
/// The uid of the process at the other end, SO_PEERCRED.
Result<uid_t> peer_uid(int socket);

}  // namespace caisson::socket
