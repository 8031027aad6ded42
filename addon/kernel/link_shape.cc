// Rates and source filters: what sits on the traffic of a veth's host end.
//
// Towards the container, a token bucket (tc-tbf(8)) on the host end's way out. From the container, its way in, where there is no queue:
// an ifb interface lends one, and a filter redirects everything to it (tc-mirred(8)). A bucket delays and thereby slows a sender down,
// where a policer drops. All need no modules but those of any distribution's kernel.
#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/tc_act/tc_mirred.h>

#include <algorithm>
#include <cerrno>

#include "base/sys.h"
#include "kernel/link.h"

namespace caisson::link {

using netlink::Message;

namespace {

constexpr uint32_t kBucketHandle = 0x00010000;                                       // 1:0
constexpr uint32_t kInput = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
constexpr uint32_t kSourcePriority = 1, kShaperPriority = 2;
constexpr uint64_t kLeastBurst = 64 * 1024, kMostBurst = 4 * 1024 * 1024;

tcmsg queue(uint32_t index, uint32_t parent, uint32_t handle) {
  tcmsg head{};
  head.tcm_family = AF_UNSPEC;
  head.tcm_ifindex = static_cast<int>(index);
  head.tcm_parent = parent;
  head.tcm_handle = handle;
  return head;
}

tcmsg input_filter(uint32_t index, uint32_t priority) {
  tcmsg head = queue(index, kInput, 0);
  head.tcm_info = TC_H_MAKE(priority << 16, htons(ETH_P_ALL));
  return head;
}

/// The qdisc that has no queue and only filters, on the way in; there already is right too.
Message open_input(uint32_t index, const std::string& subject) {
  Message message(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, queue(index, TC_H_CLSACT, TC_H_MAKE(TC_H_CLSACT, 0)), subject);
  message.text(TCA_KIND, "clsact");
  return message;
}

Message bpf_filter(uint32_t index, uint32_t priority, const std::vector<sock_filter>& program, const std::string& subject,
                   uint32_t redirect_to) {
  Message message(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, input_filter(index, priority), subject);
  message.text(TCA_KIND, "bpf");
  message.nest(TCA_OPTIONS, [&] {
    message.number(TCA_BPF_OPS_LEN, static_cast<uint16_t>(program.size()));
    message.attribute(TCA_BPF_OPS, program.data(), program.size() * sizeof program[0]);
    if (redirect_to == 0) {
      message.number<uint32_t>(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
      return;
    }
    message.nest(TCA_BPF_ACT, [&] {
      message.nest(1, [&] {
        message.text(TCA_ACT_KIND, "mirred");
        message.nest(TCA_ACT_OPTIONS, [&] {
          tc_mirred action{};
          action.action = TC_ACT_STOLEN;
          action.eaction = TCA_EGRESS_REDIR;
          action.ifindex = redirect_to;
          message.record(TCA_MIRRED_PARMS, action);
        });
      });
    });
  });
  return message;
}

Message shaper(const std::string& name, const Bytes& mac) {
  Message message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{}, name);
  message.text(IFLA_IFNAME, name);
  if (!mac.empty()) message.bytes(IFLA_ADDRESS, mac);
  message.nest(IFLA_LINKINFO, [&] { message.text(IFLA_INFO_KIND, "ifb"); });
  return message;
}

Message raise(uint32_t index, const std::string& tag, const std::string& subject) {
  ifinfomsg head{};
  head.ifi_index = static_cast<int>(index);
  head.ifi_flags = head.ifi_change = IFF_UP;
  Message message(RTM_NEWLINK, 0, head, subject);
  message.characters(IFLA_IFALIAS, tag);
  return message;
}

/// What one more attempt to remove may answer: it is not there.
Status gone(Status status) {
  if (!status && (status.error().number == ENOENT || status.error().number == EINVAL || status.error().number == ENODEV)) return {};
  return status;
}

Status stop_shaper(netlink::Socket& socket, uint32_t index, const LinkSpec& link) {
  TRY(gone(socket.transact({Message(RTM_DELTFILTER, 0, input_filter(index, kShaperPriority), link.host_name)})));
  if (link.rate.shaper.empty()) return {};
  Message remove(RTM_DELLINK, 0, ifinfomsg{}, link.rate.shaper);
  remove.text(IFLA_IFNAME, link.rate.shaper);
  return gone(socket.transact({std::move(remove)}));
}

Status start_shaper(netlink::Socket& socket, uint32_t index, const LinkSpec& link) {
  const std::string& name = link.rate.shaper;
  if (TRY(find(socket, name)).index == 0) TRY(socket.transact({shaper(name, link.host_mac)}));
  const uint32_t ifb = TRY(find(socket, name)).index;
  TRY(gone(socket.transact({Message(RTM_DELTFILTER, 0, input_filter(index, kShaperPriority), link.host_name)})));
  const std::vector<sock_filter> everything = {{BPF_RET | BPF_K, 0, 0, ~0U}};
  return socket.transact({limit_output(ifb, link.rate.egress, name), raise(ifb, link.tag, name), open_input(index, link.host_name),
                          bpf_filter(index, kShaperPriority, everything, link.host_name, ifb)});
}

}  // namespace

Message limit_output(uint32_t index, uint64_t rate, const std::string& subject) {
  const bool limited = rate > 0;
  Message message(limited ? RTM_NEWQDISC : RTM_DELQDISC, limited ? NLM_F_CREATE | NLM_F_REPLACE : 0,
                  queue(index, TC_H_ROOT, kBucketHandle), subject);
  if (!limited) return message;
  // 20 ms' worth, and never less than the largest frame that a veth carries undivided (GSO); a queue of 100 ms behind it.
  const uint64_t burst = std::clamp(rate / 50, kLeastBurst, kMostBurst);
  tc_tbf_qopt options{};
  options.rate.rate = static_cast<uint32_t>(std::min<uint64_t>(rate, ~0U));
  options.rate.linklayer = TC_LINKLAYER_ETHERNET;
  options.limit = static_cast<uint32_t>(std::min<uint64_t>(burst + rate / 10, 1U << 30));
  message.text(TCA_KIND, "tbf");
  message.nest(TCA_OPTIONS, [&] {
    message.record(TCA_TBF_PARMS, options);
    message.number(TCA_TBF_BURST, static_cast<uint32_t>(burst));
    if (rate >= ~0U) message.number(TCA_TBF_RATE64, rate);
  });
  return message;
}

Status shape(netlink::Socket& socket, uint32_t index, const LinkSpec& link) {
  Status bucket = socket.transact({limit_output(index, link.rate.ingress, link.host_name)});
  TRY(link.rate.ingress == 0 ? gone(std::move(bucket)) : std::move(bucket));
  return link.rate.egress == 0 ? stop_shaper(socket, index, link) : start_shaper(socket, index, link);
}

Status shape(const std::vector<LinkSpec>& links) {
  netlink::Socket socket = TRY(netlink::Socket::open());
  for (const LinkSpec& link : links) {
    const Known known = TRY(find(socket, link.host_name));
    if (known.index == 0) return sys::failed_with(ENODEV, "RTM_GETLINK", link.host_name);
    TRY(shape(socket, known.index, link));
  }
  return {};
}

Status filter_sources(netlink::Socket& socket, uint32_t index, const std::string& name, const SourceFilter& filter) {
  return socket.transact({open_input(index, name), bpf_filter(index, kSourcePriority, compile(filter), name, 0)});
}

}  // namespace caisson::link
