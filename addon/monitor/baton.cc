#include "monitor/baton.h"

#include <cerrno>

#include "base/sys.h"

namespace caisson::baton {

struct Parcel {
  Tag tag;
  Fd* descriptor;
};

/// Sends the parcels in as many packets as their descriptors need, and lets go of them.
static Status pass(int socket, const std::vector<Parcel>& parcels, Message message) {
  size_t next = 0;
  do {
    Message packet;
    std::vector<int> numbers;
    for (; next < parcels.size() && numbers.size() < socket::kMostDescriptors; next++) {
      packet.tags.push_back(parcels[next].tag);
      numbers.push_back(parcels[next].descriptor->get());
    }
    packet.more = next < parcels.size();
    packet.last = message.last;
    if (!packet.more) packet.trace = std::move(message.trace);
    TRY(socket::send(socket, encode(packet), numbers, true));
  } while (next < parcels.size());
  for (const Parcel& parcel : parcels) parcel.descriptor->reset();
  return {};
}

static void add(std::vector<Parcel>& parcels, Item item, size_t index, Fd& descriptor) {
  if (descriptor) parcels.push_back({{item, static_cast<uint32_t>(index)}, &descriptor});
}

Status pass_to_guest(int socket, Context& context) {
  std::vector<Parcel> parcels;
  add(parcels, Item::root, 0, context.root);
  for (size_t i = 0; i < context.sources.size(); i++) add(parcels, Item::source, i, context.sources[i]);
  for (size_t i = 0; i < context.covered.size(); i++) add(parcels, Item::covered, i, context.covered[i]);
  if (context.told_guest) {
    add(parcels, Item::told, 0, context.told_guest);
    for (size_t i = 0; i < context.slots.size(); i++) add(parcels, Item::slot, i, context.slots[i]);
  }
  return pass(socket, parcels, {});
}

Status pass_to_host(int socket, Context& context, bool last, std::vector<TraceEntry> trace) {
  std::vector<Parcel> parcels;
  add(parcels, Item::console, 0, context.console);
  for (size_t i = 0; i < context.ttys.size(); i++) add(parcels, Item::tty, i, context.ttys[i]);
  add(parcels, Item::listener, 0, context.listener);
  Message message;
  message.last = last;
  message.trace = std::move(trace);
  return pass(socket, parcels, std::move(message));
}

void tell(int socket, const Error& error) {
  Message message;
  message.error = error;
  // A peer that is gone has ended its side for a reason of its own, which it reports itself.
  (void)!socket::send(socket, encode(message), {}, true);
}

static void place(std::vector<Fd>& list, size_t index, Fd descriptor) {
  if (list.size() <= index) list.resize(index + 1);
  list[index] = std::move(descriptor);
}

static void unpack(Context& context, const Tag& tag, Fd descriptor) {
  switch (tag.item) {
    case Item::root: context.root = std::move(descriptor); break;
    case Item::source: place(context.sources, tag.index, std::move(descriptor)); break;
    case Item::covered: place(context.covered, tag.index, std::move(descriptor)); break;
    case Item::console: context.console = std::move(descriptor); break;
    case Item::tty: place(context.ttys, tag.index, std::move(descriptor)); break;
    case Item::listener: context.listener = std::move(descriptor); break;
    case Item::told: context.told = std::move(descriptor); break;
    case Item::slot: place(context.slots, tag.index, std::move(descriptor)); break;
  }
}

Result<bool> take(int socket, Context& context, int64_t deadline_ms, std::vector<TraceEntry>& trace, bool& last) {
  for (;;) {
    if (!TRY(socket::wait_readable(socket, deadline_ms))) {
      return sys::refused("ERR_TIMEOUT", "the other side of the schedule did not answer in time");
    }
    socket::Packet packet = TRY(socket::receive(socket, kLargestMessage, true));
    if (packet.data.empty()) return false;
    Message message;
    if (!decode(packet.data.data(), packet.data.size(), message) || message.tags.size() != packet.descriptors.size()) {
      return sys::failed_with(EPROTO, "recvmsg", {}, "a malformed baton");
    }
    if (message.error) return *std::move(message.error);
    for (size_t i = 0; i < message.tags.size(); i++) unpack(context, message.tags[i], std::move(packet.descriptors[i]));
    for (TraceEntry& entry : message.trace) trace.push_back(std::move(entry));
    last = message.last;
    if (!message.more) return true;
  }
}

}  // namespace caisson::baton
