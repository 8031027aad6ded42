// Network interfaces, their addresses, routes, filters and rates, by rtnetlink(7).
//
// A container's interface has two sides. The host's (create) makes it where it belongs: a veth's other end, a macvlan, ipvlan or vlan is
// born inside the container's namespace under its final name, in one message, which spares moving and renaming; all that can fail for
// want of a parent is looked up before anything is made. The guest's (configure) gives addresses and routes and brings it up.
// What stands on the host carries LinkSpec::tag as its alias: create replaces an orphan with the same tag and refuses anything else of
// that name; remove takes nothing with another tag. Between its birth and its alias an interface is known by host_mac.
#pragma once

#include <linux/filter.h>

#include <vector>

#include "base/result.h"
#include "kernel/netlink.h"
#include "spec.h"

namespace caisson::link {

/// The container as interfaces see it: its network namespace (a descriptor of it, not a pidfd; -1: the caller's own) and its init.
struct Target {
  int netns = -1;
  pid_t pid = 0;
};

/// Host side: makes all of them, up on the host but without addresses inside. A failure has undone itself.
Status create(const std::vector<LinkSpec>& links, const Target& target);
/// Guest side, in the container's namespace: addresses, routes, up.
Status configure(const std::vector<LinkSpec>& links);
/// Host side: removes what create made; a phys interface goes back to the caller's namespace with its name. What is gone is no failure.
Status remove(const std::vector<LinkSpec>& links, const Target& target);
/// Sets the rate of existing interfaces anew; 0 lifts a limit.
Status shape(const std::vector<LinkSpec>& links);
/// All interfaces of the namespace the socket is in, with addresses, counters and rates.
Result<std::vector<LinkState>> list(netlink::Socket& socket);

/// Keeps a network namespace, and so what was lent to it, alive without a process: by a bind mount on a file, as ip-netns(8) does.
/// A killed monitor's phys interfaces are then still there to be taken back; software ones would vanish with the namespace.
Status pin(int netns, const std::string& file);
/// What is not there, or is no mount any more, is right too.
Status unpin(const std::string& file);

// The parts, in files of their own.

/// What an interface is known by: 0 and empty when there is none of that name.
struct Known {
  uint32_t index = 0;
  uint32_t mtu = 0;
  Bytes mac;
  std::string alias;
};
/// The interface of that name; index 0 when there is none.
Result<Known> find(netlink::Socket& socket, const std::string& name);

/// The messages that limit what goes out of an interface; 0 lifts the limit.
netlink::Message limit_output(uint32_t index, uint64_t rate, const std::string& subject);
/// Applies a rate to a veth's host end; makes or removes its shaper.
Status shape(netlink::Socket& socket, uint32_t index, const LinkSpec& link);
/// Drops frames that come in with a foreign source; before the interface is up.
Status filter_sources(netlink::Socket& socket, uint32_t index, const std::string& name, const SourceFilter& filter);
/// The classic BPF program of that filter: TC_ACT_UNSPEC to let pass, TC_ACT_SHOT to drop.
std::vector<sock_filter> compile(const SourceFilter& filter);

}  // namespace caisson::link
