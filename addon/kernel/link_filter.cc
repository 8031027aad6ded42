// What a container may send, as a classic BPF program on the ingress side of its veth's host end (tc-bpf(8), direct action).
//
// It sits on the port and not in a rule set: it is there before the port is up, goes with the port, and knows no names that could be
// taken. Classic BPF needs neither bpf(2) nor a verifier. Offsets count from the Ethernet header.
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>

#include "kernel/link.h"

namespace caisson::link {
namespace {

enum Offset : uint32_t {
  kSourceMac = 6, kType = 12,
  kArpSenderMac = 22, kArpSenderAddress = 28,
  kIp4 = 14, kIp4Protocol = 23, kIp4Source = 26,
  kIp6Next = 20, kIp6Source = 22, kIp6Destination = 38, kIp6Body = 54, kIp6Target = 62,
};

/// Instructions with far jumps, forward only: a conditional jump reaches 255 instructions, so it only ever skips over a far one.
class Program {
 public:
  using Label = size_t;

  Label label() {
    places_.push_back(0);
    return places_.size() - 1;
  }
  void place(Label label) { places_[label] = code_.size(); }
  void load(unsigned size, uint32_t offset) { put(static_cast<uint16_t>(BPF_LD | size | BPF_ABS), offset); }
  void put(uint16_t code, uint32_t k, uint8_t jt = 0, uint8_t jf = 0) { code_.push_back({code, jt, jf, k}); }
  void jump(Label to) {
    far_.push_back({code_.size(), to});
    put(BPF_JMP | BPF_JA, 0);
  }
  void jump_if(uint32_t value, Label to) {
    put(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
    jump(to);
  }
  void jump_unless(uint32_t value, Label to) {
    put(BPF_JMP | BPF_JEQ | BPF_K, value, 1, 0);
    jump(to);
  }
  void answer(int action) { put(BPF_RET | BPF_K, static_cast<uint32_t>(action)); }

  std::vector<sock_filter> finish() {
    for (const auto& [at, to] : far_) code_[at].k = static_cast<uint32_t>(places_[to] - at - 1);
    return std::move(code_);
  }

 private:
  struct Far {
    size_t at;
    Label to;
  };
  std::vector<sock_filter> code_;
  std::vector<size_t> places_;
  std::vector<Far> far_;
};

uint32_t word(const Bytes& bytes, size_t at) {
  return static_cast<uint32_t>(bytes[at]) << 24 | static_cast<uint32_t>(bytes[at + 1]) << 16 |
         static_cast<uint32_t>(bytes[at + 2]) << 8 | bytes[at + 3];
}
uint32_t half(const Bytes& bytes, size_t at) { return static_cast<uint32_t>(bytes[at]) << 8 | bytes[at + 1]; }

/// fe80::/64 and the modified EUI-64 of the mac, RFC 4291 appendix A: what the kernel and networkd give an interface.
Bytes link_local(const Bytes& mac) {
  const auto universal = static_cast<uint8_t>(mac[0] ^ 2);
  return {0xfe, 0x80, 0, 0, 0, 0, 0, 0, universal, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};
}

void require_mac(Program& program, uint32_t offset, const Bytes& mac, Program::Label drop) {
  program.load(BPF_W, offset);
  program.jump_unless(word(mac, 0), drop);
  program.load(BPF_H, offset + 4);
  program.jump_unless(half(mac, 4), drop);
}

void jump_if_ip4(Program& program, uint32_t offset, const std::vector<Bytes>& addresses, Program::Label to) {
  program.load(BPF_W, offset);
  for (const Bytes& address : addresses) {
    if (address.size() == 4) program.jump_if(word(address, 0), to);
  }
}

void jump_if_ip6(Program& program, uint32_t offset, const std::vector<Bytes>& addresses, Program::Label to) {
  for (const Bytes& address : addresses) {
    if (address.size() != 16) continue;
    const Program::Label next = program.label();
    for (uint32_t part = 0; part < 16; part += 4) {
      program.load(BPF_W, offset + part);
      program.jump_unless(word(address, part), next);
    }
    program.jump(to);
    program.place(next);
  }
}

/// A sender of its own, or none yet (RFC 5227 probes).
void check_arp(Program& program, const SourceFilter& filter, Program::Label pass, Program::Label drop) {
  require_mac(program, kArpSenderMac, filter.mac, drop);
  jump_if_ip4(program, kArpSenderAddress, filter.addresses, pass);
  program.jump_if(0, pass);
  program.jump(drop);
}

void check_ip4(Program& program, const SourceFilter& filter, Program::Label pass, Program::Label drop) {
  const Program::Label own = program.label(), unknown = program.label();
  jump_if_ip4(program, kIp4Source, filter.addresses, own);
  program.jump_if(0, unknown);
  program.jump(drop);
  program.place(own);  // anything, except to answer for a DHCP server
  program.load(BPF_B, kIp4Protocol);
  program.jump_unless(IPPROTO_UDP, pass);
  program.put(BPF_LDX | BPF_B | BPF_MSH, kIp4);
  program.put(BPF_LD | BPF_H | BPF_IND, kIp4);
  program.jump_if(67, drop);
  program.jump(pass);
  program.place(unknown);  // without an address only to ask such a server
  program.load(BPF_B, kIp4Protocol);
  program.jump_unless(IPPROTO_UDP, drop);
  program.put(BPF_LDX | BPF_B | BPF_MSH, kIp4);
  program.put(BPF_LD | BPF_H | BPF_IND, kIp4 + 2);
  program.jump_if(67, pass);
  program.jump(drop);
}

/// Router advertisements and redirects are the host's to send; an advertisement speaks for an address of the container's own.
/// Headers that could hide such a message are not let through; the kernel refuses them in fragments itself (RFC 6980).
void check_ip6(Program& program, const SourceFilter& filter, Program::Label pass, Program::Label drop) {
  std::vector<Bytes> own = filter.addresses;
  own.push_back(link_local(filter.mac));
  const Program::Label known = program.label(), icmp = program.label(), options = program.label(), udp = program.label();
  jump_if_ip6(program, kIp6Source, own, known);
  jump_if_ip6(program, kIp6Source, {Bytes(16)}, known);
  program.jump(drop);
  program.place(known);
  program.load(BPF_B, kIp6Next);
  program.jump_if(IPPROTO_ICMPV6, icmp);
  program.jump_if(IPPROTO_HOPOPTS, options);
  program.jump_if(IPPROTO_UDP, udp);
  for (const uint32_t hiding : {IPPROTO_ROUTING, IPPROTO_DSTOPTS}) program.jump_if(hiding, drop);
  program.jump(pass);
  program.place(icmp);
  program.load(BPF_B, kIp6Body);
  for (const uint32_t routers : {134U, 137U}) program.jump_if(routers, drop);
  program.jump_unless(136, pass);
  jump_if_ip6(program, kIp6Target, own, pass);
  program.jump(drop);
  program.place(options);  // of multicast listener reports only, RFC 3810
  program.load(BPF_B, kIp6Body);
  program.jump_unless(IPPROTO_ICMPV6, drop);
  program.load(BPF_B, kIp6Body + 8);
  for (const uint32_t listener : {131U, 132U, 143U}) program.jump_if(listener, pass);
  program.jump(drop);
  program.place(udp);
  program.load(BPF_H, kIp6Body);
  program.jump_if(547, drop);
  program.jump(pass);
}

}  // namespace

std::vector<sock_filter> compile(const SourceFilter& filter) {
  Program program;
  const Program::Label pass = program.label(), drop = program.label();
  const Program::Label arp = program.label(), ip4 = program.label(), ip6 = program.label();
  // The kernel keeps a VLAN tag beside the frame; behind one the filter would look at the wrong type.
  program.load(BPF_W, static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT));
  program.jump_unless(0, drop);
  require_mac(program, kSourceMac, filter.mac, drop);
  program.load(BPF_H, kType);
  program.jump_if(ETH_P_ARP, arp);
  program.jump_if(ETH_P_IP, ip4);
  program.jump_if(ETH_P_IPV6, ip6);
  program.jump(drop);
  program.place(arp);
  check_arp(program, filter, pass, drop);
  program.place(ip4);
  check_ip4(program, filter, pass, drop);
  program.place(ip6);
  check_ip6(program, filter, pass, drop);
  program.place(drop);
  program.answer(TC_ACT_SHOT);
  program.place(pass);
  program.answer(TC_ACT_UNSPEC);
  return program.finish();
}

}  // namespace caisson::link
