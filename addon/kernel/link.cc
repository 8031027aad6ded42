#include "kernel/link.h"

#include <linux/if.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/veth.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/sys.h"
#include "kernel/process.h"

namespace caisson::link {

using netlink::Message;
using netlink::Socket;
using Links = std::vector<LinkSpec>;

namespace {

ifinfomsg interface(uint32_t index, unsigned char family = AF_UNSPEC) {
  ifinfomsg head{};
  head.ifi_family = family;
  head.ifi_index = static_cast<int>(index);
  return head;
}

/// Whether `create` leaves something of it on the host.
bool on_host(const LinkSpec& link) { return link.kind == LinkKind::veth || link.kind == LinkKind::bridge; }
const std::string& host_end(const LinkSpec& link) { return link.kind == LinkKind::bridge ? link.name : link.host_name; }

// ── making ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

void identify(Message& message, const std::string& name, const Bytes& mac, uint32_t mtu) {
  if (!name.empty()) message.text(IFLA_IFNAME, name);
  if (!mac.empty()) message.bytes(IFLA_ADDRESS, mac);
  if (mtu != 0) message.number(IFLA_MTU, mtu);
}

void enter(Message& message, const Target& target) {
  if (target.netns >= 0) message.number(IFLA_NET_NS_FD, static_cast<uint32_t>(target.netns));
}

void count_queues(Message& message, uint32_t receive, uint32_t transmit) {
  if (receive != 0) message.number(IFLA_NUM_RX_QUEUES, receive);
  if (transmit != 0) message.number(IFLA_NUM_TX_QUEUES, transmit);
}

/// Both ends at once, each where it belongs and down.
void describe_veth(Message& message, const LinkSpec& link, const Known& parent, const Target& target) {
  const uint32_t mtu = link.mtu != 0 ? link.mtu : parent.mtu;
  identify(message, link.host_name, link.host_mac, mtu);
  if (parent.index != 0) message.number(IFLA_MASTER, parent.index);
  count_queues(message, link.tx_queues, link.rx_queues);  // what the container receives, the host's end sends
  message.nest(IFLA_LINKINFO, [&] {
    message.text(IFLA_INFO_KIND, "veth");
    message.nest(IFLA_INFO_DATA, [&] {
      message.nest(VETH_INFO_PEER, [&] {
        const ifinfomsg peer = interface(0);
        message.append(&peer, sizeof peer);
        identify(message, link.name, link.mac, mtu);
        count_queues(message, link.rx_queues, link.tx_queues);
        enter(message, target);
      });
    });
  });
}

/// One that shares its parent: made on the host, where the parent is known, and born inside.
void describe_child(Message& message, const LinkSpec& link, const Known& parent, const Target& target) {
  identify(message, link.name, link.mac, link.mtu);
  message.number(IFLA_LINK, parent.index);
  enter(message, target);
  message.nest(IFLA_LINKINFO, [&] {
    message.text(IFLA_INFO_KIND, names(LinkKind{})[static_cast<size_t>(link.kind)]);
    message.nest(IFLA_INFO_DATA, [&] {
      if (link.kind == LinkKind::macvlan) message.number(IFLA_MACVLAN_MODE, link.mode);
      if (link.kind == LinkKind::vlan) message.number(IFLA_VLAN_ID, static_cast<uint16_t>(link.vlan));
      if (link.kind != LinkKind::ipvlan) return;
      message.number(IFLA_IPVLAN_MODE, static_cast<uint16_t>(link.mode));
      if (link.flags != 0) message.number(IFLA_IPVLAN_FLAGS, static_cast<uint16_t>(link.flags));
    });
  });
}

void describe_bridge(Message& message, const LinkSpec& link) {
  identify(message, link.name, link.mac, link.mtu);
  message.nest(IFLA_LINKINFO, [&] {
    message.text(IFLA_INFO_KIND, "bridge");
    message.nest(IFLA_INFO_DATA, [&] {
      message.number<uint32_t>(IFLA_BR_FORWARD_DELAY, 0);
      message.number<uint32_t>(IFLA_BR_STP_STATE, 0);
      if (link.vlan_filtering) message.number<uint8_t>(IFLA_BR_VLAN_FILTERING, 1);
    });
  });
}

/// An interface that exists: everything about it is set at home, then it moves and gets its name.
Status lend(Socket& socket, const LinkSpec& link, const Known& found, const Target& target) {
  ifinfomsg down = interface(found.index);
  down.ifi_change = IFF_UP;
  Message dress(RTM_NEWLINK, 0, down, link.host_name);
  identify(dress, "", link.mac, link.mtu);
  dress.characters(IFLA_IFALIAS, link.tag);
  TRY(socket.transact({std::move(dress)}));
  Message move(RTM_NEWLINK, 0, interface(found.index), link.host_name);
  identify(move, link.name, {}, 0);
  enter(move, target);
  return socket.transact({std::move(move)});
}

Message birth(const LinkSpec& link, const Known& parent, const Target& target) {
  Message message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, interface(0), on_host(link) ? host_end(link) : link.name);
  if (link.kind == LinkKind::veth) describe_veth(message, link, parent, target);
  else if (link.kind == LinkKind::bridge) describe_bridge(message, link);
  else describe_child(message, link, parent, target);
  return message;
}

/// What each link is made from, looked up before anything is made.
Result<std::vector<Known>> find_parents(Socket& socket, const Links& links) {
  std::vector<Known> parents;
  for (const LinkSpec& link : links) {
    const std::string& name = link.kind == LinkKind::phys ? link.host_name : link.parent;
    Known& parent = parents.emplace_back();
    if (name.empty() || link.kind == LinkKind::user) continue;
    parent = TRY(find(socket, name));
    if (parent.index == 0) return sys::failed_with(ENODEV, "RTM_GETLINK", name, "needed by \"" + link.name + "\"");
  }
  return parents;
}

bool owned(const Known& known, const LinkSpec& link) {
  if (!known.alias.empty()) return known.alias == link.tag;
  return !link.host_mac.empty() && known.mac == link.host_mac;
}

Status delete_owned(Socket& socket, const std::string& name, const LinkSpec& link) {
  const Known known = TRY(find(socket, name));
  if (known.index == 0 || !owned(known, link)) return {};
  return socket.transact({Message(RTM_DELLINK, 0, interface(known.index), name)});
}

Status remove_orphan(Socket& socket, const LinkSpec& link) {
  if (!link.rate.shaper.empty()) TRY(delete_owned(socket, link.rate.shaper, link));
  if (on_host(link)) return delete_owned(socket, host_end(link), link);
  return {};
}

/// One after the other, each with its tag: nothing that another one's failure leaves behind is unknown.
Status make(Socket& socket, const LinkSpec& link, const Known& parent, const Target& target) {
  if (link.kind == LinkKind::phys) return lend(socket, link, parent, target);
  TRY(remove_orphan(socket, link));
  TRY(socket.transact({birth(link, parent, target)}));
  if (!on_host(link)) return {};
  Message label(RTM_NEWLINK, 0, interface(TRY(find(socket, host_end(link))).index), host_end(link));
  label.characters(IFLA_IFALIAS, link.tag);
  return socket.transact({std::move(label)});
}

// ── the host's end ──────────────────────────────────────────────────────────────────────────────────────────────────────

Message vlan_entry(uint32_t index, uint32_t vlan, uint16_t flags, bool add, const std::string& subject) {
  Message message(add ? RTM_SETLINK : RTM_DELLINK, 0, interface(index, AF_BRIDGE), subject);
  message.nest(IFLA_AF_SPEC, [&] {
    bridge_vlan_info info{flags, static_cast<uint16_t>(vlan)};
    message.record(IFLA_BRIDGE_VLAN_INFO, info);
  });
  return message;
}

/// A port starts out with VLAN 1 for frames without a tag, the bridge's default_pvid.
void set_port(std::vector<Message>& batch, uint32_t index, const LinkSpec& link) {
  const std::string& name = link.host_name;
  if (link.port.isolated) {
    Message message(RTM_SETLINK, 0, interface(index, AF_BRIDGE), name);
    message.nest(IFLA_PROTINFO | NLA_F_NESTED, [&] { message.number<uint8_t>(IFLA_BRPORT_ISOLATED, 1); });
    batch.push_back(std::move(message));
  }
  if (link.port.vlan && *link.port.vlan != 1) {
    batch.push_back(vlan_entry(index, 1, 0, false, name));
    if (*link.port.vlan != 0) {
      batch.push_back(vlan_entry(index, *link.port.vlan, BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED, true, name));
    }
  }
  for (const uint32_t vlan : link.port.tagged) batch.push_back(vlan_entry(index, vlan, 0, true, name));
}

Message proxy_entry(uint16_t type, uint32_t index, const ProxySpec& proxy, const std::string& subject) {
  ndmsg head{};
  head.ndm_family = proxy.address.size() == 4 ? AF_INET : AF_INET6;
  head.ndm_ifindex = static_cast<int>(index);
  head.ndm_flags = NTF_PROXY;
  head.ndm_state = NUD_PERMANENT;
  Message message(type, type == RTM_NEWNEIGH ? NLM_F_CREATE | NLM_F_REPLACE : 0, head, subject);
  message.bytes(NDA_DST, proxy.address);
  return message;
}

Message host_route(uint32_t index, const RouteSpec& route, const std::string& subject) {
  rtmsg head{};
  head.rtm_family = route.destination.size() == 4 ? AF_INET : AF_INET6;
  head.rtm_dst_len = static_cast<unsigned char>(route.prefix);
  head.rtm_table = RT_TABLE_MAIN;
  head.rtm_protocol = RTPROT_STATIC;
  head.rtm_scope = RT_SCOPE_LINK;
  head.rtm_type = RTN_UNICAST;
  Message message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, head, subject);
  message.bytes(RTA_DST, route.destination);
  message.number(RTA_OIF, index);
  return message;
}

/// Everything about the host's end: restricted first, up last.
Status settle(Socket& socket, const LinkSpec& link) {
  const std::string& name = host_end(link);
  const uint32_t index = TRY(find(socket, name)).index;
  std::vector<Message> before, after;
  set_port(before, index, link);
  TRY(socket.transact(std::move(before)));
  if (link.filter) TRY(filter_sources(socket, index, name, *link.filter));
  if (link.rate.ingress != 0 || link.rate.egress != 0) TRY(shape(socket, index, link));
  for (const Setting& setting : link.host_settings) TRY(sys::write_file(setting.path, setting.value));
  if (link.kind == LinkKind::bridge) return {};
  ifinfomsg up = interface(index);
  up.ifi_flags = up.ifi_change = IFF_UP;
  after.emplace_back(RTM_NEWLINK, 0, up, name);
  for (const RouteSpec& route : link.host_routes) after.push_back(host_route(index, route, name));
  for (const ProxySpec& proxy : link.proxies) {
    const uint32_t at = proxy.link.empty() ? index : TRY(find(socket, proxy.link)).index;
    after.push_back(proxy_entry(RTM_NEWNEIGH, at, proxy, proxy.link.empty() ? name : proxy.link));
  }
  return socket.transact(std::move(after));
}

Status run(const std::vector<HostProgram>& programs, const Target& target) {
  std::optional<Error> first;
  for (const HostProgram& program : programs) {
    Strings argv = program.argv;
    if (program.pid_at >= 0 && static_cast<size_t>(program.pid_at) < argv.size()) {
      argv[static_cast<size_t>(program.pid_at)] = std::to_string(target.pid);
    }
    Status status = process::run(argv, program.environment);
    if (!status && !first) first = std::move(status).error();
  }
  if (first) return std::move(*first);
  return {};
}

/// `begun` counts the links of which something may exist.
Status create_all(Socket& socket, const Links& links, const Target& target, size_t& begun) {
  const std::vector<Known> parents = TRY(find_parents(socket, links));
  for (size_t i = 0; i < links.size(); i++) {
    // A birth inside that fails leaves nothing, and a namesake there is not ours to remove.
    if (on_host(links[i]) || links[i].kind == LinkKind::phys) begun = i + 1;
    if (links[i].kind != LinkKind::user) TRY(make(socket, links[i], parents[i], target));
    begun = i + 1;
    if (on_host(links[i])) TRY(settle(socket, links[i]));
    TRY(run(links[i].up_programs, target));
  }
  return {};
}

// ── taking away ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/// Proxies on other interfaces than the host's end outlive it.
Status remove_proxies(Socket& socket, const LinkSpec& link) {
  for (const ProxySpec& proxy : link.proxies) {
    if (proxy.link.empty()) continue;
    const Known at = TRY(find(socket, proxy.link));
    if (at.index == 0) continue;
    Status status = socket.transact({proxy_entry(RTM_DELNEIGH, at.index, proxy, proxy.link)});
    if (!status && status.error().number != ENOENT) return status;
  }
  return {};
}

/// An interface of that tag, or else of that name.
Result<uint32_t> find_lent(Socket& socket, const std::string& tag, const std::string& name) {
  const std::vector<LinkState> found = TRY(list(socket));
  uint32_t called = 0;
  for (const LinkState& state : found) {
    if (!tag.empty() && state.alias == tag) return state.index;
    if (state.name == name) called = state.index;
  }
  return called;
}

/// A phys interface gets back what was changed, and its place and name. It is known by its tag first, since root inside may have renamed
/// it, and since the kernel brings it home under its last name when the container's namespace goes.
Status give_back(Socket& socket, const LinkSpec& link, const Target& target) {
  const auto restore = [&](uint32_t index) {
    Message message(RTM_NEWLINK, 0, interface(index), link.host_name);
    identify(message, link.host_name, link.host_mac, link.host_mtu);
    message.characters(IFLA_IFALIAS, "");
    return message;
  };
  const uint32_t here = link.tag.empty() ? 0 : TRY(find_lent(socket, link.tag, ""));
  if (here != 0) return socket.transact({restore(here)});
  if (target.netns < 0) return {};
  Socket inside = TRY(Socket::open_in(target.netns));
  const uint32_t there = TRY(find_lent(inside, link.tag, link.name));
  if (there == 0) return {};
  const Fd home = TRY(sys::open("/proc/thread-self/ns/net", O_RDONLY));
  Message message = restore(there);
  message.number(IFLA_NET_NS_FD, static_cast<uint32_t>(home.get()));
  return inside.transact({std::move(message)});
}

Status remove_inside(const LinkSpec& link, const Target& target) {
  Socket inside = TRY(Socket::open_in(target.netns));
  const Known known = TRY(find(inside, link.name));
  if (known.index == 0) return {};
  return inside.transact({Message(RTM_DELLINK, 0, interface(known.index), link.name)});
}

Status remove_one(Socket& socket, const LinkSpec& link, const Target& target) {
  Status programs = run(link.down_programs, target);
  if (link.kind == LinkKind::user) return programs;
  TRY(remove_proxies(socket, link));
  if (!link.rate.shaper.empty()) TRY(delete_owned(socket, link.rate.shaper, link));
  if (on_host(link)) TRY(delete_owned(socket, host_end(link), link));
  else if (link.kind == LinkKind::phys) TRY(give_back(socket, link, target));
  else if (target.netns >= 0) TRY(remove_inside(link, target));
  return programs;
}

}  // namespace

Status pin(int netns, const std::string& file) {
  TRY(sys::open(file, O_RDONLY | O_CREAT | O_NOFOLLOW, 0600));
  const std::string source = "/proc/self/fd/" + std::to_string(netns);
  if (::mount(source.c_str(), file.c_str(), nullptr, MS_BIND, nullptr) < 0) return sys::failed("mount", file);
  return {};
}

Status unpin(const std::string& file) {
  if (::umount2(file.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT) return sys::failed("umount2", file);
  if (::unlink(file.c_str()) < 0 && errno != ENOENT) return sys::failed("unlink", file);
  return {};
}

Status create(const Links& links, const Target& target) {
  if (links.empty()) return {};
  Socket socket = TRY(Socket::open());
  size_t begun = 0;
  Status made = create_all(socket, links, target, begun);
  // What was made is taken back; the failure that is told is the first one.
  if (!made) (void)remove(Links(links.begin(), links.begin() + static_cast<ptrdiff_t>(begun)), target);
  return made;
}

Status remove(const Links& links, const Target& target) {
  if (links.empty()) return {};
  Socket socket = TRY(Socket::open());
  std::optional<Error> first;
  for (auto link = links.rbegin(); link != links.rend(); ++link) {
    Status status = remove_one(socket, *link, target);
    if (!status && !first) first = std::move(status).error();
  }
  if (first) return std::move(*first);
  return {};
}

}  // namespace caisson::link
