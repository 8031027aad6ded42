#include "kernel/device_program.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/sys.h"

namespace caisson::device_program {

constexpr char kName[] = "caisson_dev";  // of the program, by which an earlier one is found; 15 characters at most

// The registers of the program: the context, and from it what is asked. `kAsked` loses a bit for each access that a rule has allowed.
enum Register : uint8_t { kReturn = 0, kContext = 1, kType = 2, kAsked = 3, kMajor = 4, kMinor = 5, kScratch = 6 };

static bpf_insn instruction(unsigned code, unsigned to, unsigned from, size_t offset, int32_t value) {
  bpf_insn one{};
  one.code = static_cast<uint8_t>(code);
  one.dst_reg = to & 0xf;
  one.src_reg = from & 0xf;
  one.off = static_cast<int16_t>(offset);
  one.imm = value;
  return one;
}
static bpf_insn load(Register to, size_t offset) { return instruction(BPF_LDX | BPF_MEM | BPF_W, to, kContext, offset, 0); }
static bpf_insn copy(Register to, Register from) { return instruction(BPF_ALU | BPF_MOV | BPF_X, to, from, 0, 0); }
static bpf_insn compute(unsigned operation, Register on, int32_t with) {
  return instruction(BPF_ALU | operation | BPF_K, on, 0, 0, with);
}
static bpf_insn jump(unsigned condition, Register on, int32_t with, size_t over) {
  return instruction(BPF_JMP | condition | BPF_K, on, 0, over, with);
}
static void answer(std::vector<bpf_insn>& program, int32_t value) {
  program.push_back(instruction(BPF_ALU64 | BPF_MOV | BPF_K, kReturn, 0, 0, value));
  program.push_back(instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
}

static int32_t access_bits(const std::string& access) {
  int32_t bits = 0;
  for (const char letter : access) {
    bits |= letter == 'm' ? BPF_DEVCG_ACC_MKNOD : letter == 'r' ? BPF_DEVCG_ACC_READ : letter == 'w' ? BPF_DEVCG_ACC_WRITE : 0;
  }
  return bits;
}

/// The rule's tests, each of which skips to the end of the rule, then its verdict.
static void append(std::vector<bpf_insn>& program, const DeviceRule& rule) {
  std::vector<bpf_insn> verdict;
  if (rule.allow) {
    verdict.push_back(compute(BPF_AND, kAsked, ~access_bits(rule.access)));
    verdict.push_back(jump(BPF_JNE, kAsked, 0, 2));
    answer(verdict, 1);
  } else {
    verdict.push_back(copy(kScratch, kAsked));
    verdict.push_back(compute(BPF_AND, kScratch, access_bits(rule.access)));
    verdict.push_back(jump(BPF_JEQ, kScratch, 0, 2));
    answer(verdict, 0);
  }
  struct Test {
    bool wanted;
    Register on;
    int32_t value;
  };
  const Test tests[] = {
      {rule.type != 'a', kType, rule.type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR},
      {rule.major >= 0, kMajor, static_cast<int32_t>(rule.major)},
      {rule.minor >= 0, kMinor, static_cast<int32_t>(rule.minor)},
  };
  size_t left = 0;
  for (const Test& test : tests) left += test.wanted ? 1 : 0;
  for (const Test& test : tests) {
    if (test.wanted) program.push_back(jump(BPF_JNE, test.on, test.value, --left + verdict.size()));
  }
  program.insert(program.end(), verdict.begin(), verdict.end());
}

std::vector<bpf_insn> compile(const std::vector<DeviceRule>& rules) {
  std::vector<bpf_insn> program = {
      load(kType, offsetof(bpf_cgroup_dev_ctx, access_type)),
      copy(kAsked, kType),
      compute(BPF_AND, kType, 0xffff),
      compute(BPF_RSH, kAsked, 16),
      load(kMajor, offsetof(bpf_cgroup_dev_ctx, major)),
      load(kMinor, offsetof(bpf_cgroup_dev_ctx, minor)),
  };
  for (auto rule = rules.rbegin(); rule != rules.rend(); ++rule) append(program, *rule);
  answer(program, 0);
  return program;
}

static long bpf(int command, bpf_attr& attributes) { return ::syscall(SYS_bpf, command, &attributes, sizeof attributes); }

static Result<Fd> load(const std::vector<bpf_insn>& program) {
  bpf_attr attributes{};
  attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attributes.insns = reinterpret_cast<uintptr_t>(program.data());
  attributes.insn_cnt = static_cast<uint32_t>(program.size());
  attributes.license = reinterpret_cast<uintptr_t>("GPL");
  std::memcpy(attributes.prog_name, kName, sizeof kName);
  const long fd = bpf(BPF_PROG_LOAD, attributes);
  if (fd < 0) return sys::failed("bpf", {}, "load the device program");
  return Fd(static_cast<int>(fd));
}

static bool is_ours(int program) {
  bpf_prog_info info{};
  bpf_attr attributes{};
  attributes.info.bpf_fd = static_cast<uint32_t>(program);
  attributes.info.info_len = sizeof info;
  attributes.info.info = reinterpret_cast<uintptr_t>(&info);
  return bpf(BPF_OBJ_GET_INFO_BY_FD, attributes) == 0 && std::strncmp(info.name, kName, sizeof info.name) == 0;
}

/// The program that an earlier call attached, or none.
static Result<Fd> attached(int cgroup) {
  uint32_t ids[64] = {};  // the kernel's own limit of programs on one cgroup
  bpf_attr attributes{};
  attributes.query.target_fd = static_cast<uint32_t>(cgroup);
  attributes.query.attach_type = BPF_CGROUP_DEVICE;
  attributes.query.prog_ids = reinterpret_cast<uintptr_t>(ids);
  attributes.query.prog_cnt = 64;
  if (bpf(BPF_PROG_QUERY, attributes) != 0) return sys::failed("bpf", {}, "ask for device programs");
  for (uint32_t i = 0; i < attributes.query.prog_cnt; i++) {
    bpf_attr by_id{};
    by_id.prog_id = ids[i];
    Fd program(static_cast<int>(bpf(BPF_PROG_GET_FD_BY_ID, by_id)));
    if (program && is_ours(program.get())) return program;
  }
  return Fd();
}

Status replace(int cgroup, const std::vector<DeviceRule>& rules) {
  const Fd program = TRY(load(compile(rules)));
  const Fd old = TRY(attached(cgroup));
  bpf_attr attributes{};
  attributes.target_fd = static_cast<uint32_t>(cgroup);
  attributes.attach_bpf_fd = static_cast<uint32_t>(program.get());
  attributes.attach_type = BPF_CGROUP_DEVICE;
  attributes.attach_flags = BPF_F_ALLOW_MULTI;
  if (old) {
    attributes.attach_flags |= BPF_F_REPLACE;
    attributes.replace_bpf_fd = static_cast<uint32_t>(old.get());
  }
  if (bpf(BPF_PROG_ATTACH, attributes) != 0) return sys::failed("bpf", {}, "attach the device program");
  return {};
}

}  // namespace caisson::device_program
