// Interfaces made, lent, listed and removed. Needs root.
#include <dirent.h>
#include <linux/if_link.h>
#include <net/if.h>

#include "link_host.h"

static void bridges_two() {
  const Fd one = new_namespace(), two = new_namespace();
  const LinkSpec br = bridge("br0", "10.9.0.1"), a = veth("va", 11), b = veth("vb", 12);
  worked(link::create({br}, {}), "a bridge");
  worked(link::configure({br}), "its address");
  if (!make(a, one, "a veth") || !make(b, two, "another")) return;
  check(reaches(one, "10.9.0.12", two, 3000), "they reach each other");
  const std::vector<LinkState> all = links(), within = inside(one, links);
  const LinkState* host = named(all, "va");
  const LinkState* guest = named(within, "eth0");
  check(host && host->alias == a.tag && host->kind == "veth" && host->mac == a.host_mac, "the host's end is tagged");
  check(host && host->master == named(all, "br0")->index, "and a port of the bridge");
  check(guest && guest->mac == a.mac && guest->peer == host->index, "the other end was born inside, with its mac");
  check(guest && guest->addresses.size() >= 2 && guest->addresses[0].address == ip("10.9.0.11"), "with its addresses");
  check(guest && guest->rx_bytes > 0 && guest->tx_packets > 0, "and counters");
  check(within.size() <= 4 && named(within, "va") == nullptr, "nothing else is inside");

  const uint32_t before = host->index;
  if (make(a, new_namespace(), "an orphan with the same tag is replaced")) check(named(links(), "va")->index != before, "by a new one");
  LinkSpec thief = a;
  thief.tag = "caisson:test:thief", thief.host_mac = mac(66);
  auto taken = link::create({thief}, {two.get(), 0});
  check(!taken && taken.error().number == EEXIST && taken.error().path == "va", "a taken name is refused");
  check(exists("va"), "and its owner's interface stays");
  worked(link::remove({thief}, {two.get(), 0}), "removing under another tag");
  check(exists("va"), "takes nothing");
  worked(link::remove({a, b, br}, {}), "all is removed");
  check(!exists("va") && !exists("vb") && !exists("br0"), "nothing is left");
  worked(link::remove({a, b, br}, {}), "and may be removed again");
}

static void refuses_before_making() {
  const Fd netns = new_namespace();
  LinkSpec good = veth("va", 11), lost = veth("vb", 12);
  good.parent = "", lost.parent = "nobridge", lost.name = "eth1";
  auto status = link::create({good, lost}, {netns.get(), 0});
  check(!status && status.error().number == ENODEV && status.error().path == "nobridge", "a missing bridge is told");
  check(!exists("va"), "before anything is made");

  lost.parent = "", lost.mtu = 1;
  status = link::create({good, lost}, {netns.get(), 0});
  check(!status && status.error().number == EINVAL && status.error().path == "vb", "an impossible MTU is refused");
  check(!exists("va") && inside(netns, links).size() <= 3 && !inside(netns, [] { return exists("eth0"); }), "what was made is gone");

  lost.mtu = 0, lost.name = "eth0";
  status = link::create({good, lost}, {netns.get(), 0});
  check(!status && status.error().number == EEXIST && !exists("va"), "two of one name inside");

  for (const char* name : {"sixteen-bytes-xx", "a/b", "a b", "a:b", ".."}) {
    good.name = "eth0", good.host_name = name;
    status = link::create({good}, {netns.get(), 0});
    check(!status, std::string("no interface is called \"") + name + "\"");
  }
  netlink::Message huge(RTM_NEWLINK, NLM_F_CREATE, ifinfomsg{}, "huge");
  huge.text(IFLA_IFNAME, std::string(70000, 'x'));
  auto socket = netlink::Socket::open();
  status = socket->transact({std::move(huge)});
  check(!status && status.error().number == EMSGSIZE, "an attribute that would wrap is refused");
}

static void lends_an_interface() {
  const Fd netns = new_namespace();
  LinkSpec pair = veth("phys0", 20);
  pair.parent = "", pair.name = "other", pair.tag = "";
  (void)link::create({pair}, {});
  LinkSpec phys;
  phys.kind = LinkKind::phys, phys.host_name = "phys0", phys.name = "eth0", phys.tag = "caisson:test:phys0";
  phys.mac = mac(21), phys.mtu = 1400, phys.host_mac = pair.host_mac, phys.host_mtu = 1500;
  if (!make(phys, netns, "a phys interface moves")) return;
  check(!exists("phys0") && inside(netns, [] { return exists("eth0"); }), "under its new name");
  worked(link::remove({phys}, {netns.get(), 0}), "and comes back");
  const std::vector<LinkState> all = links();
  const LinkState* back = named(all, "phys0");
  check(back && back->mac == pair.host_mac && back->mtu == 1500 && back->alias.empty(), "as it was");
  check(!inside(netns, [] { return exists("eth0"); }), "none is left inside");

  make(phys, netns, "it moves again");
  inside(netns, [] {
    netlink::Socket socket = netlink::Socket::open().value();
    ifinfomsg head{};
    head.ifi_index = static_cast<int>(link::find(socket, "eth0")->index);
    netlink::Message down(RTM_NEWLINK, 0, head, "eth0");
    down.text(IFLA_IFNAME, "stolen");
    head.ifi_change = IFF_UP;
    (void)socket.transact({netlink::Message(RTM_NEWLINK, 0, head, "eth0"), std::move(down)});
  });
  worked(link::remove({phys}, {netns.get(), 0}), "and comes back though it was renamed");
  check(exists("phys0"), "with its name");

  phys.mtu = 1;
  auto status = link::create({phys}, {netns.get(), 0});
  check(!status && status.error().detail.find("mtu") != std::string::npos, "a refusal in the kernel's own words: " + status.error().detail);
  phys.mtu = 1400, phys.name = "lo";
  status = link::create({phys}, {netns.get(), 0});
  const std::vector<LinkState> again = links();
  const LinkState* home = named(again, "phys0");
  check(!status && home && home->mtu == 1500 && home->alias.empty(), "a taken name inside leaves it as it was");

  LinkSpec macvlan;
  macvlan.kind = LinkKind::macvlan, macvlan.name = "mv0", macvlan.parent = "phys0", macvlan.mode = MACVLAN_MODE_BRIDGE;
  if (make(macvlan, netns, "a macvlan is born inside")) {
    check(inside(netns, [] { return named(links(), "mv0")->kind == "macvlan"; }) && !exists("mv0"), "and only there");
    worked(link::remove({macvlan}, {netns.get(), 0}), "and removed");
    check(!inside(netns, [] { return exists("mv0"); }), "it is gone");
  }
  (void)link::remove({pair}, {});
}

/// Kinds that a kernel may lack: then the refusal is all there is to see.
static void shares_a_parent() {
  LinkSpec pair = veth("base0", 40);
  pair.parent = "", pair.name = "base1";
  (void)link::create({pair}, {});
  LinkSpec vlan;
  vlan.kind = LinkKind::vlan, vlan.name = "v7", vlan.parent = "base0", vlan.vlan = 7;
  LinkSpec ipvlan;
  ipvlan.kind = LinkKind::ipvlan, ipvlan.name = "ip0", ipvlan.parent = "base0", ipvlan.mode = IPVLAN_MODE_L2, ipvlan.flags = IPVLAN_F_VEPA;
  for (LinkSpec* link : {&vlan, &ipvlan}) {
    const Fd netns = new_namespace();
    link->addresses = {{ip("10.9.7.2"), 24, {}}};
    const char* kind = names(LinkKind{})[static_cast<size_t>(link->kind)];
    auto made = link::create({*link}, {netns.get(), 0});
    if (!made && made.error().number == EOPNOTSUPP) {
      std::printf("ok %d - %s # SKIP this kernel has none\n", ++count, kind);
      continue;
    }
    if (!worked(std::move(made), std::string(kind) + " is born inside")) continue;
    worked(inside(netns, [&] { return link::configure({*link}); }), "with an address");
    check(inside(netns, [&] { return named(links(), link->name)->kind == kind; }), "and is one");
    worked(link::remove({*link}, {netns.get(), 0}), "removed");
    check(!inside(netns, [&] { return exists(link->name); }), "it is gone");
  }
  (void)link::remove({pair}, {});
}

static size_t open_descriptors() {
  size_t open = 0;
  DIR* dir = ::opendir("/proc/self/fd");
  while (::readdir(dir) != nullptr) open++;
  ::closedir(dir);
  return open;
}

static void leaks_nothing() {
  const LinkSpec br = bridge("br0", "10.9.0.1");
  (void)link::create({br}, {});
  const size_t before = links().size(), descriptors = open_descriptors();
  bool good = true;
  for (int cycle = 0; good && cycle < 500; cycle++) {
    const Fd netns = new_namespace();
    LinkSpec a = veth("va", 11);
    if (cycle % 10 == 0) a.rate = {1'000'000, 1'000'000, "sa"}, a.filter = SourceFilter{a.mac, {ip("10.9.0.11")}};
    good = link::create({a}, {netns.get(), 0}) && inside(netns, [&] { return link::configure({a}); }) &&
           link::remove({a}, {netns.get(), 0});
  }
  check(good, "500 times made, configured and removed");
  check(links().size() == before, "no interface is left");
  check(open_descriptors() == descriptors, "no descriptor is left");
  (void)link::remove({br}, {});
}

static void hears_of_changes() {
  netlink::Socket socket = netlink::Socket::open(RTMGRP_LINK | RTMGRP_IPV4_IFADDR).value();
  check(!socket.drain().value(), "nothing has happened");
  LinkSpec lo;
  lo.name = "lo", lo.addresses = {{ip("198.51.100.7"), 32, {}}};
  (void)link::configure({lo});
  pollfd wait{socket.descriptor(), POLLIN, 0};
  check(::poll(&wait, 1, 3000) == 1 && socket.drain().value(), "a new address is heard of");
  check(!socket.drain().value(), "once");
}

int main() {
  void (*const tests[])() = {bridges_two, refuses_before_making, lends_an_interface, shares_a_parent, leaks_nothing, hears_of_changes};
  return test_alone(tests, std::size(tests));
}
