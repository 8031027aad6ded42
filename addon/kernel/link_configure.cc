#include <linux/if.h>
#include <linux/if_addr.h>

#include <cerrno>

#include "base/sys.h"
#include "kernel/link.h"

namespace caisson::link {

using netlink::Message;

namespace {

Message add_address(uint32_t index, const AddressSpec& address, const std::string& subject) {
  ifaddrmsg head{};
  head.ifa_family = address.address.size() == 4 ? AF_INET : AF_INET6;
  head.ifa_prefixlen = static_cast<unsigned char>(address.prefix);
  head.ifa_index = index;
  // Usable at once: whoever resolved the Spec has handed out the address and knows that nobody else has it (RFC 4862, 5.4).
  head.ifa_flags = head.ifa_family == AF_INET6 ? IFA_F_NODAD : 0;
  Message message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, head, subject);
  message.bytes(IFA_LOCAL, address.address);
  message.bytes(IFA_ADDRESS, address.address);
  if (!address.broadcast.empty()) message.bytes(IFA_BROADCAST, address.broadcast);
  return message;
}

Message add_route(uint32_t index, const RouteSpec& route, const std::string& subject) {
  rtmsg head{};
  head.rtm_family = route.destination.size() == 4 ? AF_INET : AF_INET6;
  head.rtm_dst_len = static_cast<unsigned char>(route.prefix);
  head.rtm_table = RT_TABLE_MAIN;
  head.rtm_protocol = RTPROT_STATIC;
  head.rtm_scope = route.gateway.empty() ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  head.rtm_type = RTN_UNICAST;
  head.rtm_flags = route.on_link ? RTNH_F_ONLINK : 0;
  Message message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, head, subject);
  if (route.prefix > 0) message.bytes(RTA_DST, route.destination);
  if (!route.gateway.empty()) message.bytes(RTA_GATEWAY, route.gateway);
  message.number(RTA_OIF, index);
  return message;
}

Status configure_one(netlink::Socket& socket, const LinkSpec& link) {
  const Known known = TRY(find(socket, link.name));
  if (known.index == 0) return sys::failed_with(ENODEV, "RTM_GETLINK", link.name);
  std::vector<Message> batch;
  if (link.kind == LinkKind::user && !link.mac.empty()) {
    ifinfomsg dress{};
    dress.ifi_index = static_cast<int>(known.index);
    Message message(RTM_NEWLINK, 0, dress, link.name);
    message.bytes(IFLA_ADDRESS, link.mac);
    batch.push_back(std::move(message));
  }
  if (link.up) {
    ifinfomsg up{};
    up.ifi_index = static_cast<int>(known.index);
    up.ifi_flags = up.ifi_change = IFF_UP;
    batch.emplace_back(RTM_NEWLINK, 0, up, link.name);
  }
  for (const AddressSpec& address : link.addresses) batch.push_back(add_address(known.index, address, link.name));
  for (const RouteSpec& route : link.routes) batch.push_back(add_route(known.index, route, link.name));
  return socket.transact(std::move(batch));
}

}  // namespace

Status configure(const std::vector<LinkSpec>& links) {
  if (links.empty()) return {};
  netlink::Socket socket = TRY(netlink::Socket::open());
  for (const LinkSpec& link : links) {
    // One that a program has made and brought up needs nothing more.
    if (link.kind != LinkKind::user || link.up) TRY(configure_one(socket, link));
  }
  return {};
}

}  // namespace caisson::link
