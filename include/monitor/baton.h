// The message that hands the turn from one side of the schedule to the other, with descriptors if need be.
#pragma once

#include "base/socket.h"
#include "monitor/context.h"

namespace caisson::baton {

/// What a descriptor that travels with a baton becomes in the other side's Context.
enum class Item : uint8_t { root, source, covered, console, tty, listener, told, slot };
constexpr auto names(Item) { return std::array{"root", "source", "covered", "console", "tty", "listener", "told", "slot"}; }

struct Tag {
  Item item{};
  uint32_t index = 0;
  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("item", s.item), v("index", s.index);
  }
};

struct Message {
  bool more = false;              ///< further packets of this baton follow
  bool last = false;              ///< from the guest: nothing but exec is left
  std::vector<Tag> tags;          ///< of the packet's descriptors
  std::vector<TraceEntry> trace;
  std::optional<Error> error;     ///< instead of a turn: the sender's row failed
  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("more", s.more), v("last", s.last), v("tags", s.tags), v("trace", s.trace), v("error", s.error);
  }
};

/// The host's descriptors for the guest: the root and the bind sources; /proc and /sys with their covers; and the Spec and its descriptors, when they came late. They are
/// given away.
Status pass_to_guest(int socket, Context& context);
/// The guest's descriptors for the host: console, ttys, listener.
Status pass_to_host(int socket, Context& context, bool last, std::vector<TraceEntry> trace);
/// A failed row, told to the other side.
void tell(int socket, const Error& error);
/// Waits for the turn and unpacks what came with it. False: the peer closed without a word.
Result<bool> take(int socket, Context& context, int64_t deadline_ms, std::vector<TraceEntry>& trace, bool& last);

}  // namespace caisson::baton
