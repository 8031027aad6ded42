#include <linux/if_link.h>
#include <linux/pkt_sched.h>

#include <algorithm>

#include "kernel/link.h"

namespace caisson::link {

using netlink::Attribute;

namespace {

void read_counters(const Attribute& attribute, LinkState& link) {
  const auto counters = attribute.as<rtnl_link_stats64>();
  link.rx_bytes = counters.rx_bytes, link.tx_bytes = counters.tx_bytes;
  link.rx_packets = counters.rx_packets, link.tx_packets = counters.tx_packets;
  link.rx_errors = counters.rx_errors, link.tx_errors = counters.tx_errors;
  link.rx_dropped = counters.rx_dropped, link.tx_dropped = counters.tx_dropped;
}

void read_attribute(const Attribute& attribute, LinkState& link) {
  switch (attribute.type) {
    case IFLA_IFNAME: link.name = attribute.text(); break;
    case IFLA_IFALIAS: link.alias = attribute.text(); break;
    case IFLA_ADDRESS: link.mac = attribute.bytes(); break;
    case IFLA_MTU: link.mtu = attribute.as<uint32_t>(); break;
    case IFLA_OPERSTATE: link.operational = attribute.as<uint8_t>(); break;
    case IFLA_MASTER: link.master = attribute.as<uint32_t>(); break;
    case IFLA_LINK: link.peer = attribute.as<uint32_t>(); break;
    case IFLA_STATS64: {
      // Older kernels' counters are shorter than this header's: as<>() would then read nothing.
      Bytes whole = attribute.bytes();
      whole.resize(sizeof(rtnl_link_stats64));
      read_counters({attribute.type, whole.data(), whole.size()}, link);
      break;
    }
    case IFLA_LINKINFO:
      each_nested(attribute, [&](const Attribute& info) {
        if (info.type == IFLA_INFO_KIND) link.kind = info.text();
      });
      break;
    default: break;
  }
}

Result<std::vector<LinkState>> read_links(netlink::Socket& socket) {
  const Bytes answer = TRY(socket.ask(netlink::Message(RTM_GETLINK, NLM_F_DUMP, ifinfomsg{}, "links")));
  std::vector<LinkState> links;
  netlink::each_message<ifinfomsg>(answer, [&](uint16_t, const ifinfomsg& head, const uint8_t* data, size_t size) {
    LinkState& link = links.emplace_back();
    link.index = static_cast<uint32_t>(head.ifi_index);
    link.flags = head.ifi_flags;
    netlink::each_attribute(data, size, [&](const Attribute& attribute) { read_attribute(attribute, link); });
  });
  return links;
}

LinkState* with_index(std::vector<LinkState>& links, uint32_t index) {
  const auto at = std::find_if(links.begin(), links.end(), [&](const LinkState& link) { return link.index == index; });
  return at == links.end() ? nullptr : &*at;
}

Status read_addresses(netlink::Socket& socket, std::vector<LinkState>& links) {
  const Bytes answer = TRY(socket.ask(netlink::Message(RTM_GETADDR, NLM_F_DUMP, ifaddrmsg{}, "addresses")));
  netlink::each_message<ifaddrmsg>(answer, [&](uint16_t, const ifaddrmsg& head, const uint8_t* data, size_t size) {
    LinkState* link = with_index(links, head.ifa_index);
    if (link == nullptr) return;
    AddressState address{{}, head.ifa_prefixlen, head.ifa_scope, head.ifa_flags};
    bool local = false;  // on a point-to-point link IFA_ADDRESS is the other end's
    netlink::each_attribute(data, size, [&](const Attribute& attribute) {
      if (attribute.type == IFA_LOCAL || (attribute.type == IFA_ADDRESS && !local)) address.address = attribute.bytes();
      if (attribute.type == IFA_LOCAL) local = true;
      if (attribute.type == IFA_FLAGS) address.flags = attribute.as<uint32_t>();
    });
    link->addresses.push_back(std::move(address));
  });
  return {};
}

uint64_t bucket_rate(const Attribute& options) {
  uint64_t rate = 0, wide = 0;
  each_nested(options, [&](const Attribute& option) {
    if (option.type == TCA_TBF_PARMS) rate = option.as<tc_tbf_qopt>().rate.rate;
    if (option.type == TCA_TBF_RATE64) wide = option.as<uint64_t>();
  });
  return wide != 0 ? wide : rate;
}

Status read_rates(netlink::Socket& socket, std::vector<LinkState>& links) {
  const Bytes answer = TRY(socket.ask(netlink::Message(RTM_GETQDISC, NLM_F_DUMP, tcmsg{}, "rates")));
  netlink::each_message<tcmsg>(answer, [&](uint16_t, const tcmsg& head, const uint8_t* data, size_t size) {
    LinkState* link = with_index(links, static_cast<uint32_t>(head.tcm_ifindex));
    if (link == nullptr || head.tcm_parent != TC_H_ROOT) return;
    std::string kind;
    Attribute options;
    netlink::each_attribute(data, size, [&](const Attribute& attribute) {
      if (attribute.type == TCA_KIND) kind = attribute.text();
      if (attribute.type == TCA_OPTIONS) options = attribute;
    });
    if (kind == "tbf") link->rate = bucket_rate(options);
  });
  return {};
}

}  // namespace

Result<std::vector<LinkState>> list(netlink::Socket& socket) {
  std::vector<LinkState> links = TRY(read_links(socket));
  TRY(read_addresses(socket, links));
  TRY(read_rates(socket, links));
  return links;
}

Result<Known> find(netlink::Socket& socket, const std::string& name) {
  netlink::Message request(RTM_GETLINK, 0, ifinfomsg{}, name);
  request.text(IFLA_IFNAME, name);
  Result<Bytes> answer = socket.ask(std::move(request));
  if (!answer) {
    if (answer.error().number == ENODEV) return Known{};
    return std::move(answer).error();
  }
  Known known;
  netlink::each_message<ifinfomsg>(*answer, [&](uint16_t, const ifinfomsg& head, const uint8_t* data, size_t size) {
    known.index = static_cast<uint32_t>(head.ifi_index);
    netlink::each_attribute(data, size, [&](const Attribute& attribute) {
      if (attribute.type == IFLA_MTU) known.mtu = attribute.as<uint32_t>();
      if (attribute.type == IFLA_ADDRESS) known.mac = attribute.bytes();
      if (attribute.type == IFLA_IFALIAS) known.alias = attribute.text();
    });
  });
  return known;
}

}  // namespace caisson::link
