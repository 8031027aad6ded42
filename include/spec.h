// What a container means: numbers, paths, bytes, enum names. TypeScript resolves Config and Host into one of these structs; the monitor
// only obeys. No text is parsed on this side of the border, and no field has a meaning that depends on another process's environment.
//
// Each struct names its fields once, in describe(); the wire format, the N-API conversion and lib/native/spec.ts are visitors over it.
// A Slot is an index into the descriptors that travel with the Spec (sent at launch, after the Spec and the channel); -1 is none.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/codec.h"

namespace caisson {

using Slot = int32_t;
using Strings = std::vector<std::string>;

// ── namespaces and ids ──────────────────────────────────────────────────────────────────────────────────────────────────

/// The eight namespaces, namespaces(7). The order is that of `names`.
enum class NamespaceKind : uint8_t { user, mnt, pid, net, ipc, uts, cgroup, time };
constexpr auto names(NamespaceKind) {
  return std::array{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"};
}

/// A namespace that exists already and is joined instead of created (lxc.namespace.share.*).
struct NamespaceJoin {
  static constexpr const char* kName = "NamespaceJoin";
  NamespaceKind kind{};
  Slot descriptor = -1;  ///< an open /proc/PID/ns/KIND

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("kind", s.kind), v("descriptor", s.descriptor);
  }
};

/// One extent of an id map, user_namespaces(7): `range` ids from `container` inside are those from `host` outside.
struct IdMapExtent {
  static constexpr const char* kName = "IdMapExtent";
  uint32_t container = 0;
  uint32_t host = 0;
  uint32_t range = 0;

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("container", s.container), v("host", s.host), v("range", s.range);
  }
};

/// The id maps of the user namespace (lxc.idmap). Empty when no user namespace is created.
struct IdMap {
  static constexpr const char* kName = "IdMap";
  std::vector<IdMapExtent> uids;
  std::vector<IdMapExtent> gids;
  /// The programs that write the maps for an unprivileged user, as absolute paths; empty: the monitor writes them itself.
  std::string newuidmap;
  std::string newgidmap;
  /// Forbids setgroups(2) first, which the kernel demands of an unprivileged writer of gid_map without newgidmap.
  bool deny_setgroups = false;
  /// Host ids that create, and so own, the user namespace: per-user kernel limits are then counted for them and not for the caller.
  std::optional<uint32_t> owner_uid;
  std::optional<uint32_t> owner_gid;

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("uids", s.uids), v("gids", s.gids), v("newuidmap", s.newuidmap), v("newgidmap", s.newgidmap);
    v("denySetgroups", s.deny_setgroups), v("ownerUid", s.owner_uid), v("ownerGid", s.owner_gid);
  }
};

/// Offsets of a new time namespace's clocks, time_namespaces(7) (lxc.time.offset.*).
struct TimeOffset {
  static constexpr const char* kName = "TimeOffset";
  bool monotonic = false;  ///< CLOCK_MONOTONIC; otherwise CLOCK_BOOTTIME
  int64_t seconds = 0;
  int64_t nanoseconds = 0;

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("monotonic", s.monotonic), v("seconds", s.seconds), v("nanoseconds", s.nanoseconds);
  }
};

// ── cgroups ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/// One mounted cgroup hierarchy and the container's place in it.
struct CgroupHierarchy {
  static constexpr const char* kName = "CgroupHierarchy";
  uint32_t version = 2;     ///< 1 or 2
  std::string mount;        ///< where it is mounted, "/sys/fs/cgroup/pids"
  std::string base;         ///< the existing cgroup below which ours is made, relative to the mount; may be empty
  std::string path;         ///< the container's cgroup, relative to base; made, and removed at the end
  std::string monitor_base; ///< the existing cgroup below which the monitor's is made
  std::string monitor;      ///< the monitor's cgroup, relative to monitor_base; empty: the monitor stays where it was started
  std::string inner;        ///< one directory below path that becomes the root of the cgroup namespace; may be empty
  std::string pivot;        ///< below monitor_base: where the monitor goes when it ends; made, and left standing; empty: monitor_base
  Strings controllers;      ///< v1: what the hierarchy holds; v2: what is enabled for the container
  bool delegated = false;   ///< the container's directory is given to CgroupSpec::owner_uid, cgroups(7) "delegation"

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("version", s.version), v("mount", s.mount), v("base", s.base), v("path", s.path);
    v("monitorBase", s.monitor_base), v("monitor", s.monitor), v("inner", s.inner), v("pivot", s.pivot);
    v("controllers", s.controllers), v("delegated", s.delegated);
  }
};

/// One control file, written in order before the container's first process joins.
struct CgroupFile {
  static constexpr const char* kName = "CgroupFile";
  uint32_t hierarchy = 0;  ///< index into CgroupSpec::hierarchies
  std::string name;
  std::string value;
  bool optional = false;   ///< a default of the library: its absence on this host is no failure
  /// The file and value of kernels that lack `name` (io.bfq.weight for io.weight); empty: none.
  std::string fallback_name = {};
  std::string fallback_value = {};

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("hierarchy", s.hierarchy), v("name", s.name), v("value", s.value), v("optional", s.optional);
    v("fallbackName", s.fallback_name), v("fallbackValue", s.fallback_value);
  }
};

/// A device rule of the cgroup v2 device program; -1 stands for any number. v1 takes its rules as CgroupFile.
struct DeviceRule {
  static constexpr const char* kName = "DeviceRule";
  bool allow = true;
  uint32_t type = 'a';     ///< 'a', 'b' or 'c'
  int64_t major = -1;
  int64_t minor = -1;
  std::string access;      ///< a subset of "rwm"

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("allow", s.allow), v("type", s.type), v("major", s.major), v("minor", s.minor), v("access", s.access);
  }
};

struct CgroupSpec {
  static constexpr const char* kName = "CgroupSpec";
  std::vector<CgroupHierarchy> hierarchies;
  std::vector<CgroupFile> files;
  std::vector<DeviceRule> devices;   ///< for the v2 hierarchy; empty: no program is attached
  /// The host ids that own the directories of delegated hierarchies and their files of cgroups(7) "delegation"; absent: the caller's.
  std::optional<uint32_t> owner_uid;
  std::optional<uint32_t> owner_gid;
  /// The v2 directory of a scope of the user's systemd, which the launcher has made around the monitor when that asks.
  std::optional<std::string> scope;

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("hierarchies", s.hierarchies), v("files", s.files), v("devices", s.devices);
    v("ownerUid", s.owner_uid), v("ownerGid", s.owner_gid), v("scope", s.scope);
  }
};

// ── file systems ────────────────────────────────────────────────────────────────────────────────────────────────────────

struct Option {
  static constexpr const char* kName = "Option";
  std::string key;
  std::string value;  ///< empty: a flag

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("key", s.key), v("value", s.value);
  }
};

enum class Propagation : uint8_t { unchanged, shared, slave, private_, unbindable };
constexpr auto names(Propagation) { return std::array{"unchanged", "shared", "slave", "private", "unbindable"}; }

/// What is made where a mount's target is missing; `cover` makes a file, and covers a symlink itself instead of what it leads to.
enum class Creation : uint8_t { none, dir, file, cover };
constexpr auto names(Creation) { return std::array{"none", "dir", "file", "cover"}; }

/// What shifts the ids of a mount, mount_setattr(2) MOUNT_ATTR_IDMAP: nothing, the container's user namespace, or an open one. `preferred`
/// is the container's where the file system can, and nothing where it can't: then less is readable inside, never more.
enum class MountIdmap : uint8_t { none, container, descriptor, preferred };
constexpr auto names(MountIdmap) { return std::array{"none", "container", "descriptor", "preferred"}; }

/// One mount inside the container. Targets are resolved below the container's root by openat2(2), never by a joined path.
struct MountSpec {
  static constexpr const char* kName = "MountSpec";
  std::string source;         ///< a host path (bind), a path in the container (relative), or the file system's source word
  std::string target;         ///< below the container's root
  std::string type;           ///< file system type; empty for a bind mount
  bool recursive = false;     ///< bind the mounts below source too
  bool relative = false;      ///< source is below the container's root
  uint64_t attributes = 0;    ///< MOUNT_ATTR_* to set, linux/mount.h
  uint64_t cleared = 0;       ///< MOUNT_ATTR_* to clear
  std::vector<Option> options;///< of the file system, given one by one to fsconfig(2)
  Propagation propagation{};
  Creation create{};
  bool optional = false;      ///< a failure is not one
  MountIdmap idmap{};
  Slot user_namespace = -1;   ///< for MountIdmap::descriptor

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("source", s.source), v("target", s.target), v("type", s.type), v("recursive", s.recursive), v("relative", s.relative);
    v("attributes", s.attributes), v("cleared", s.cleared), v("options", s.options), v("propagation", s.propagation);
    v("create", s.create), v("optional", s.optional), v("idmap", s.idmap), v("userNamespace", s.user_namespace);
  }
};

/// The container's root (lxc.rootfs.*): a directory, bound; or an overlay of directories.
struct RootfsSpec {
  static constexpr const char* kName = "RootfsSpec";
  std::string path;           ///< the directory; for an overlay the upper one, or empty for a read-only overlay
  Strings lower;              ///< overlay: the lower directories, topmost first; empty: no overlay
  std::string work;           ///< overlay: the work directory
  bool in_memory = false;     ///< overlay: changes go to a tmpfs, and are lost with it; what is in `path` lies below it
  uint64_t memory = 0;        ///< the most that it may hold, in bytes; 0: the kernel's default, half of the memory
  bool idmapped = false;      ///< shown through the container's id map: files of uid 0 on disk are its root's
  bool idmap_preferred = false;  ///< `idmapped` as far as the file system can
  Slot user_namespace = -1;   ///< or through the map of this one
  uint64_t attributes = 0;    ///< MOUNT_ATTR_* of the root mount
  std::vector<Option> options;
  std::string image;          ///< a block device, a file made into one, or a dataset, whose file system is mounted; empty: path is bound
  std::string image_type;     ///< its file system type
  /// A fresh tmpfs is the root and `mounts` fill it (sandboxes); path is not used. `attributes` are set when it is filled.
  bool empty = false;
  std::vector<Option> links;  ///< symbolic links of an empty root, by path below it
  std::vector<Option> files;  ///< small files of an empty root, by path below it
  /// Where it is attached in the container's mount namespace until it becomes the root, for hooks that need a path; empty: above "/".
  std::string attached_at;

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("path", s.path), v("lower", s.lower), v("work", s.work), v("inMemory", s.in_memory), v("memory", s.memory);
    v("idmapped", s.idmapped), v("idmapPreferred", s.idmap_preferred), v("userNamespace", s.user_namespace), v("attributes", s.attributes), v("options", s.options), v("image", s.image), v("imageType", s.image_type), v("empty", s.empty), v("links", s.links), v("files", s.files);
    v("attachedAt", s.attached_at);
  }
};

/// A device node of the container's /dev, bound from the host's node of that path in a user namespace, made by mknod(2) otherwise.
struct DeviceNode {
  static constexpr const char* kName = "DeviceNode";
  std::string name;           ///< below /dev, "null", "net/tun"
  uint32_t type = 'c';
  uint32_t major = 0;
  uint32_t minor = 0;
  uint32_t mode = 0666;

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("name", s.name), v("type", s.type), v("major", s.major), v("minor", s.minor), v("mode", s.mode);
  }
};

/// The container's /dev (lxc.autodev, lxc.pty.max, lxc.tty.*).
struct DevSpec {
  static constexpr const char* kName = "DevSpec";
  bool tmpfs = true;          ///< a fresh tmpfs with the nodes below; otherwise the image's own /dev
  uint64_t size = 500'000;    ///< of the tmpfs, in bytes
  std::vector<DeviceNode> nodes;
  uint32_t pts = 1024;        ///< highest number of ptys of its own devpts; 0: no devpts
  uint32_t ttys = 0;          ///< /dev/tty1 … ttyN, each a pty that the monitor hands out
  std::string tty_dir;        ///< a directory below /dev for the tty nodes, with links to them
  bool shm = true;
  bool mqueue = true;

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("tmpfs", s.tmpfs), v("size", s.size), v("nodes", s.nodes), v("pts", s.pts), v("ttys", s.ttys);
    v("ttyDir", s.tty_dir), v("shm", s.shm), v("mqueue", s.mqueue);
  }
};

/// Where the container's console and its first process's descriptors 0, 1 and 2 lead.
struct ConsoleSpec {
  static constexpr const char* kName = "ConsoleSpec";
  bool pty = true;            ///< a pty of the container's own devpts is /dev/console; the monitor keeps the other end
  std::string path;           ///< a host tty used instead (lxc.console.path)
  uint64_t buffer = 0;        ///< bytes of the in-memory log that the monitor keeps; 0: none
  std::string log;            ///< a file that gets all output, appended (lxc.console.logfile)
  uint64_t log_size = 0;      ///< 0: unlimited
  bool log_rotate = false;
  /// Descriptors for 0, 1 and 2; -1: the console, or /dev/null without one.
  Slot input = -1;
  Slot output = -1;
  Slot error = -1;

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("pty", s.pty), v("path", s.path), v("buffer", s.buffer), v("log", s.log), v("logSize", s.log_size);
    v("logRotate", s.log_rotate), v("input", s.input), v("output", s.output), v("error", s.error);
  }
};

// ── what confines a process ─────────────────────────────────────────────────────────────────────────────────────────────

/// Capability sets as bit masks, capabilities(7). Inheritable is always empty (CVE-2022-29162) unless ambient asks for it.
struct CapabilitySpec {
  static constexpr const char* kName = "CapabilitySpec";
  uint64_t bounding = 0;
  uint64_t permitted = 0;
  uint64_t effective = 0;
  uint64_t ambient = 0;
  uint32_t securebits = 0;

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("bounding", s.bounding), v("permitted", s.permitted), v("effective", s.effective);
    v("ambient", s.ambient), v("securebits", s.securebits);
  }
};

/// A Landlock rule, landlock(7): rights on everything below a path of the container.
struct LandlockPath {
  static constexpr const char* kName = "LandlockPath";
  std::string path;
  uint64_t access = 0;

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("path", s.path), v("access", s.access);
  }
};

/// A TCP port that may be bound or connected to, landlock(7), ABI 4.
struct LandlockPort {
  static constexpr const char* kName = "LandlockPort";
  uint64_t port = 0;
  uint64_t access = 0;

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("port", s.port), v("access", s.access);
  }
};

/// A Landlock domain; rights the kernel's ABI does not know are left out (best effort by ABI).
struct LandlockSpec {
  static constexpr const char* kName = "LandlockSpec";
  uint64_t handled_access = 0;
  uint64_t handled_network = 0;
  uint64_t scoped = 0;
  std::vector<LandlockPath> paths;
  std::vector<LandlockPort> ports;
  bool required = false;       ///< a kernel without Landlock is an error

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("handledAccess", s.handled_access), v("handledNetwork", s.handled_network), v("scoped", s.scoped), v("paths", s.paths);
    v("ports", s.ports), v("required", s.required);
  }
};

/// What is told to `caisson-monitor confine`.
struct ConfineSpec {
  static constexpr const char* kName = "ConfineSpec";
  std::string through;         ///< a file below /proc of the mount namespace in which the working directory lies; empty: the caller's
  std::string below;           ///< a path from the working directory to the one meant, which only root of the map may pass; empty: itself
  bool own_root = true;        ///< a root of its own; without it the caller's, where paths are what they are outside
  Strings programs;            ///< directories of the caller's root, shown read-only; links of it are copied
  std::string tree;            ///< the name in the root at which the working directory is shown; empty: not at all
  bool read_only = false;      ///< …read-only
  std::string at;              ///< a path that is resolved with the tree as root: a file is its standard input, a directory where it works; empty: none
  bool at_directory = false;   ///< which of the two it must be
  std::optional<LandlockSpec> landlock;
  Bytes seccomp;               ///< a finished classic BPF program
  uint64_t capabilities = 0;   ///< all that the program has, in its user namespace

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("through", s.through), v("below", s.below), v("ownRoot", s.own_root), v("programs", s.programs), v("tree", s.tree), v("readOnly", s.read_only);
    v("at", s.at), v("atDirectory", s.at_directory), v("landlock", s.landlock), v("seccomp", s.seccomp), v("capabilities", s.capabilities);
  }
};

/// What is told to `caisson-monitor view`.
struct ViewSpec {
  static constexpr const char* kName = "ViewSpec";
  RootfsSpec rootfs;           ///< an overlay; `idmapped` layers are shown through `idmap`
  IdMap idmap;
  std::string at;              ///< where it is seen: a name in /run, which is a tmpfs then

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("rootfs", s.rootfs), v("idmap", s.idmap), v("at", s.at);
  }
};

struct SecuritySpec {
  static constexpr const char* kName = "SecuritySpec";
  CapabilitySpec capabilities;
  bool no_new_privs = false;
  Bytes seccomp;               ///< a finished classic BPF program; empty: none
  bool seccomp_notify = false; ///< the program has notify rules: the listener goes to the monitor
  std::string apparmor;        ///< profile entered before exec, "unconfined" among them; empty: unchanged
  std::string apparmor_profile;   ///< loaded for this container alone: removed at its end; empty: none
  std::string apparmor_namespace; ///< and the policy namespace that belongs to it
  std::string selinux;         ///< context entered at exec; empty: unchanged
  std::string selinux_keyring;
  bool keyring = true;         ///< a new session keyring, keyctl(2)
  std::optional<LandlockSpec> landlock;
  bool core_scheduling = false;

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("capabilities", s.capabilities), v("noNewPrivs", s.no_new_privs), v("seccomp", s.seccomp);
    v("seccompNotify", s.seccomp_notify), v("apparmor", s.apparmor);
    v("apparmorProfile", s.apparmor_profile), v("apparmorNamespace", s.apparmor_namespace), v("selinux", s.selinux);
    v("selinuxKeyring", s.selinux_keyring), v("keyring", s.keyring), v("landlock", s.landlock);
    v("coreScheduling", s.core_scheduling);
  }
};

/// setrlimit(2); ~0 is RLIM_INFINITY.
struct Rlimit {
  static constexpr const char* kName = "Rlimit";
  uint32_t resource = 0;
  uint64_t soft = 0;
  uint64_t hard = 0;
  bool best_effort = false;  ///< one of the defaults: who may not raise the hard limit so far keeps to what there is

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("resource", s.resource), v("soft", s.soft), v("hard", s.hard), v("bestEffort", s.best_effort);
  }
};

/// A file below /proc/sys (sysctl) or /proc/PID (proc), and the text written to it.
struct Setting {
  static constexpr const char* kName = "Setting";
  std::string path;
  std::string value;

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("path", s.path), v("value", s.value);
  }
};

// ── network ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/// An address of an interface; 4 or 16 bytes tell the family.
struct AddressSpec {
  static constexpr const char* kName = "AddressSpec";
  Bytes address;
  uint32_t prefix = 0;
  Bytes broadcast;             ///< IPv4; empty: none

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("address", s.address), v("prefix", s.prefix), v("broadcast", s.broadcast);
  }
};

/// A route through an interface.
struct RouteSpec {
  static constexpr const char* kName = "RouteSpec";
  Bytes destination;           ///< 4 or 16 bytes; all zero with prefix 0: the default route
  uint32_t prefix = 0;
  Bytes gateway;               ///< empty: straight to the interface
  bool on_link = false;        ///< the gateway is reached through this interface although no address of it says so

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("destination", s.destination), v("prefix", s.prefix), v("gateway", s.gateway), v("onLink", s.on_link);
  }
};

/// An address for which a host interface answers ARP or neighbour solicitations (lxc.net.N.l2proxy).
struct ProxySpec {
  static constexpr const char* kName = "ProxySpec";
  std::string link;            ///< the host interface; empty: the host's end of the veth pair
  Bytes address;

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("link", s.link), v("address", s.address);
  }
};

/// A veth's host end as a port of a bridge, bridge(8).
struct PortSpec {
  static constexpr const char* kName = "PortSpec";
  bool isolated = false;       ///< does not talk to other isolated ports; Linux 4.18
  std::optional<uint32_t> vlan;///< of frames without a tag; 0: none are accepted (lxc.net.N.veth.vlan.id)
  std::vector<uint32_t> tagged;///< VLANs whose tagged frames pass (lxc.net.N.veth.vlan.tagged.id)

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("isolated", s.isolated), v("vlan", s.vlan), v("tagged", s.tagged);
  }
};

/// What a container may send as: frames with another source address are dropped at the host's end.
struct SourceFilter {
  static constexpr const char* kName = "SourceFilter";
  Bytes mac;
  std::vector<Bytes> addresses;  ///< 4 or 16 bytes each; the link-local address made of the mac is always allowed

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("mac", s.mac), v("addresses", s.addresses);
  }
};

/// Rates in bytes per second, seen from the container; 0 is no limit. They need a veth pair.
struct RateSpec {
  static constexpr const char* kName = "RateSpec";
  uint64_t ingress = 0;        ///< towards the container: a token bucket on the host's end
  uint64_t egress = 0;         ///< from the container: its frames go through a token bucket on `shaper`
  std::string shaper;          ///< name of the ifb interface that egress needs

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("ingress", s.ingress), v("egress", s.egress), v("shaper", s.shaper);
  }
};

/// A program of the host, by absolute path, and its whole environment.
struct HostProgram {
  static constexpr const char* kName = "HostProgram";
  Strings argv;
  Strings environment;
  int32_t pid_at = -1;         ///< this argument is replaced by the pid of the container's first process; -1: none

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("argv", s.argv), v("environment", s.environment), v("pidAt", s.pid_at);
  }
};

/// How an interface comes to be. `user` ones are made by HostProgram `up` (pasta, slirp4netns, lxc-user-nic).
enum class LinkKind : uint8_t { veth, macvlan, ipvlan, vlan, phys, bridge, user };
constexpr auto names(LinkKind) { return std::array{"veth", "macvlan", "ipvlan", "vlan", "phys", "bridge", "user"}; }

/// One network interface (lxc.net.N.*). Names are at most 15 bytes.
struct LinkSpec {
  static constexpr const char* kName = "LinkSpec";
  LinkKind kind{};
  std::string name;            ///< inside
  std::string host_name;       ///< veth: the host's end; phys: its name on the host, which it gets back
  std::string parent;          ///< veth: the bridge, may be empty; macvlan, ipvlan, vlan: the interface below
  std::string tag;             ///< the alias of what stands on the host: tells whose it is; replaced when found with the same tag
  Bytes mac;                   ///< inside; empty: the kernel's choice, or unchanged
  Bytes host_mac;              ///< of the host's end; phys: what it gets back
  uint32_t mtu = 0;            ///< 0: that of parent, or unchanged
  uint32_t host_mtu = 0;       ///< phys: what it gets back; 0: unchanged
  bool up = true;
  uint32_t mode = 0;           ///< MACVLAN_MODE_*, IPVLAN_MODE_*
  uint32_t flags = 0;          ///< IPVLAN_F_*
  uint32_t vlan = 0;           ///< vlan: its id
  bool vlan_filtering = false; ///< bridge: ports have VLANs
  uint32_t rx_queues = 0;      ///< veth; 0: the kernel's choice
  uint32_t tx_queues = 0;
  std::vector<AddressSpec> addresses;
  std::vector<RouteSpec> routes;
  std::vector<RouteSpec> host_routes;   ///< on the host, through the veth's host end
  std::vector<ProxySpec> proxies;
  std::vector<Setting> host_settings;   ///< below /proc/sys, when the host's end exists
  PortSpec port;
  std::optional<SourceFilter> filter;
  RateSpec rate;
  std::vector<HostProgram> up_programs;    ///< when it exists (lxc.net.N.script.up, Open vSwitch)
  std::vector<HostProgram> down_programs;  ///< before it is removed; all are run, whatever the others say

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("kind", s.kind), v("name", s.name), v("hostName", s.host_name), v("parent", s.parent), v("tag", s.tag);
    v("mac", s.mac), v("hostMac", s.host_mac), v("mtu", s.mtu), v("hostMtu", s.host_mtu), v("up", s.up);
    v("mode", s.mode), v("flags", s.flags), v("vlan", s.vlan), v("vlanFiltering", s.vlan_filtering);
    v("rxQueues", s.rx_queues), v("txQueues", s.tx_queues), v("addresses", s.addresses), v("routes", s.routes);
    v("hostRoutes", s.host_routes), v("proxies", s.proxies), v("hostSettings", s.host_settings), v("port", s.port);
    v("filter", s.filter), v("rate", s.rate), v("upPrograms", s.up_programs), v("downPrograms", s.down_programs);
  }
};

/// What is told to `caisson-monitor link`: changes and questions outside a start. Done in the order of the fields.
struct LinkRequest {
  static constexpr const char* kName = "LinkRequest";
  Slot user = -1;              ///< a user namespace, or the pidfd of its init, joined first by a caller without rights of its own
  Slot netns = -1;             ///< the container's network namespace, or its init's pidfd; -1: the caller's own
  std::vector<LinkSpec> remove;
  std::vector<LinkSpec> create;
  std::vector<LinkSpec> shape; ///< existing ones: their rate is set anew; only hostName and rate are used
  std::string unpin;           ///< a file on which a namespace was kept (link::pin): unmounted and removed
  bool list = false;           ///< report what interfaces the namespace has
  bool watch = false;          ///< and report again at each change, until the channel closes

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("user", s.user), v("netns", s.netns), v("remove", s.remove), v("create", s.create), v("shape", s.shape);
    v("unpin", s.unpin), v("list", s.list), v("watch", s.watch);
  }
};

/// An address that an interface has, ip-address(8).
struct AddressState {
  static constexpr const char* kName = "AddressState";
  Bytes address;
  uint32_t prefix = 0;
  uint32_t scope = 0;          ///< RT_SCOPE_*: 0 is global, 253 this link, 254 this host
  uint32_t flags = 0;          ///< IFA_F_*: 0x40 is tentative

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("address", s.address), v("prefix", s.prefix), v("scope", s.scope), v("flags", s.flags);
  }
};

/// An interface as it is, ip-link(8).
struct LinkState {
  static constexpr const char* kName = "LinkState";
  uint32_t index = 0;
  std::string name;
  std::string kind;            ///< "veth", "bridge"; empty for hardware and lo
  std::string alias;
  Bytes mac;
  uint32_t mtu = 0;
  uint32_t flags = 0;          ///< IFF_*
  uint32_t operational = 0;    ///< IF_OPER_*, RFC 2863
  uint32_t master = 0;         ///< index of the bridge it is a port of
  uint32_t peer = 0;           ///< index of its other end or its parent, perhaps in another namespace
  std::vector<AddressState> addresses;
  uint64_t rx_bytes = 0, tx_bytes = 0, rx_packets = 0, tx_packets = 0;
  uint64_t rx_errors = 0, tx_errors = 0, rx_dropped = 0, tx_dropped = 0;
  uint64_t rate = 0;           ///< bytes per second of a token bucket on it; 0: none

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("index", s.index), v("name", s.name), v("kind", s.kind), v("alias", s.alias), v("mac", s.mac), v("mtu", s.mtu);
    v("flags", s.flags), v("operational", s.operational), v("master", s.master), v("peer", s.peer);
    v("addresses", s.addresses), v("rxBytes", s.rx_bytes), v("txBytes", s.tx_bytes), v("rxPackets", s.rx_packets);
    v("txPackets", s.tx_packets), v("rxErrors", s.rx_errors), v("txErrors", s.tx_errors);
    v("rxDropped", s.rx_dropped), v("txDropped", s.tx_dropped), v("rate", s.rate);
  }
};

// ── hooks ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

/// When a hook runs (lxc.hook.*). The first two and the last two are run by the monitor; the others by the newborn process with the
/// container's ids: three with the host's root still in sight, `start` inside.
enum class HookPoint : uint8_t { pre_start, start_host, pre_mount, mount, autodev, start, stop, post_stop, destroy };
constexpr auto names(HookPoint) {
  return std::array{"pre-start", "start-host", "pre-mount", "mount", "autodev", "start", "stop", "post-stop", "destroy"};
}

/// One hook. The monitor adds only what is not known before: LXC_PID (start-host), LXC_TARGET (stop, post-stop), and for `stop` the
/// namespaces that init leaves, as arguments `net:/proc/PID/fd/N` or as variables LXC_NET_NS.
struct HookSpec {
  static constexpr const char* kName = "HookSpec";
  HookPoint point{};
  Strings argv;                ///< an absolute path first; no shell reads it
  Strings environment;         ///< whole
  bool by_environment = false; ///< lxc.hook.version 1

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("point", s.point), v("argv", s.argv), v("environment", s.environment), v("byEnvironment", s.by_environment);
  }
};

// ── the process ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/// A program and everything it inherits. The environment is whole: nothing of the caller's is added.
struct ProcessSpec {
  static constexpr const char* kName = "ProcessSpec";
  Strings argv;                ///< argv[0] without a slash is looked up in the environment's PATH, inside
  Strings environment;         ///< KEY=value
  std::string cwd;
  uint32_t uid = 0;            ///< inside
  uint32_t gid = 0;
  std::vector<uint32_t> groups;
  std::optional<uint32_t> umask;
  std::optional<int32_t> oom_score_adj;
  std::optional<uint32_t> personality;
  std::vector<Rlimit> rlimits;
  bool terminal = false;       ///< descriptors 0, 1, 2 are a pty of the container, which becomes the controlling terminal
  uint32_t columns = 0;        ///< of the terminal; 0: unchanged
  uint32_t rows = 0;

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("argv", s.argv), v("environment", s.environment), v("cwd", s.cwd), v("uid", s.uid), v("gid", s.gid);
    v("groups", s.groups), v("umask", s.umask), v("oomScoreAdj", s.oom_score_adj), v("personality", s.personality);
    v("rlimits", s.rlimits), v("terminal", s.terminal), v("columns", s.columns), v("rows", s.rows);
  }
};

/// Signals to init, by number; 0 is none (lxc.signal.*, lxc.monitor.signal.pdeath).
struct SignalSpec {
  static constexpr const char* kName = "SignalSpec";
  uint32_t halt = 0;           ///< 0: SIGPWR, or SIGRTMIN+3 when init is one that blocks or catches that
  uint32_t reboot = 2;
  uint32_t stop = 9;
  uint32_t parent_death = 9;   ///< sent to init when the monitor dies; 0: the container lives on and can be adopted

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("halt", s.halt), v("reboot", s.reboot), v("stop", s.stop), v("parentDeath", s.parent_death);
  }
};

/// The log of a container (lxc.log.*), which the monitor writes.
struct LogSpec {
  static constexpr const char* kName = "LogSpec";
  std::string file;            ///< appended to, never through a link; empty: none
  uint32_t level = 5;          ///< the least that is written: 0 TRACE, DEBUG, INFO, NOTICE, WARN, 5 ERROR, …, 8 FATAL
  std::optional<uint32_t> facility;  ///< of syslog(3), shifted: 3 daemon, 16 … 23 local0 … local7

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("file", s.file), v("level", s.level), v("facility", s.facility);
  }
};

/// The program that answers system calls for the container (lxc.seccomp.notify.*).
struct SyscallProxySpec {
  static constexpr const char* kName = "SyscallProxySpec";
  std::string address;         ///< of its SOCK_SEQPACKET socket: a path, or a name of the abstract namespace
  bool abstract = false;
  std::string cookie;          ///< told with every call

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("address", s.address), v("abstract", s.abstract), v("cookie", s.cookie);
  }
};

/// What the monitor is told by `caisson-monitor start`.
struct StartSpec {
  static constexpr const char* kName = "StartSpec";
  std::string name;
  std::string lxcpath;
  /// 0700 directory for the command socket, the exit record and the lock; empty: no socket, the channel is the only way in.
  std::string run_dir;
  bool foreground = false;     ///< the container ends when the channel closes
  /// Process 1 is a small reaper that runs the program as its child (lxc-execute), or only reaps when the command line is empty.
  bool minimal_init = false;
  /// This much is made at once: namespaces, ids, cgroups. The whole Spec, which has them alike, comes later by the channel.
  bool ahead = false;
  bool trace = false;          ///< report how long each row took
  bool unshare = false;        ///< the monitor leaves the host's mount namespace first (lxc.monitor.unshare)
  /// LXCPATH/NAME is removed when the container has ended, and not to reboot (lxc.ephemeral).
  bool ephemeral = false;
  std::vector<NamespaceKind> namespaces;  ///< created
  std::vector<NamespaceJoin> joined;
  IdMap idmap;
  std::vector<TimeOffset> time_offsets;
  CgroupSpec cgroup;
  RootfsSpec rootfs;
  bool proc = true;            ///< a fresh /proc
  bool proc_read_only_sys = true;
  bool proc_hidden = false;    ///< subset=pid,hidepid=invisible
  enum class Sysfs : uint8_t { none, read_only, mixed, read_write } sysfs = Sysfs::mixed;
  enum class CgroupFs : uint8_t { none, read_only, read_write } cgroupfs = CgroupFs::none;
  std::vector<MountSpec> mounts;
  DevSpec dev;
  ConsoleSpec console;
  Strings masked;              ///< paths made unreadable: files by /dev/null, directories by one empty read-only tmpfs
  Strings read_only;           ///< paths bound read-only onto themselves
  std::string hostname;
  std::vector<LinkSpec> links; ///< of the container's network namespace, in this order
  std::vector<Setting> sysctls;
  std::vector<Setting> proc_settings;
  SecuritySpec security;
  ProcessSpec process;
  SignalSpec signals;
  std::vector<HookSpec> hooks; ///< those of one point run in this order
  std::vector<HookPoint> callbacks;  ///< points at which the launcher is asked to do something itself, before the point's hooks
  uint32_t hook_timeout_ms = 60'000;  ///< how long each may take before it is killed, which is its failure
  std::optional<LogSpec> log;
  std::optional<SyscallProxySpec> syscall_proxy;

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("name", s.name), v("lxcpath", s.lxcpath), v("runDir", s.run_dir), v("foreground", s.foreground);
    v("minimalInit", s.minimal_init), v("ahead", s.ahead), v("trace", s.trace), v("unshare", s.unshare);
    v("namespaces", s.namespaces), v("joined", s.joined), v("ephemeral", s.ephemeral), v("idmap", s.idmap);
    v("timeOffsets", s.time_offsets), v("cgroup", s.cgroup), v("rootfs", s.rootfs);
    v("proc", s.proc), v("procReadOnlySys", s.proc_read_only_sys), v("procHidden", s.proc_hidden);
    v("sysfs", s.sysfs), v("cgroupfs", s.cgroupfs), v("mounts", s.mounts), v("dev", s.dev), v("console", s.console);
    v("masked", s.masked), v("readOnly", s.read_only), v("hostname", s.hostname), v("links", s.links), v("sysctls", s.sysctls);
    v("procSettings", s.proc_settings), v("security", s.security), v("process", s.process), v("signals", s.signals);
    v("hooks", s.hooks), v("callbacks", s.callbacks), v("hookTimeoutMs", s.hook_timeout_ms), v("log", s.log), v("syscallProxy", s.syscall_proxy);
  }
};
constexpr auto names(StartSpec::Sysfs) { return std::array{"none", "readOnly", "mixed", "readWrite"}; }
constexpr auto names(StartSpec::CgroupFs) { return std::array{"none", "readOnly", "readWrite"}; }

/// What is told to `caisson-monitor attach`: a program to run inside a running container.
struct AttachSpec {
  static constexpr const char* kName = "AttachSpec";
  Slot init = -1;              ///< pidfd of the container's init, from its monitor
  std::vector<NamespaceKind> namespaces;  ///< joined
  CgroupSpec cgroup;           ///< only hierarchies are used; empty: the caller's cgroups are kept
  bool own_cgroup = false;     ///< these are the program's own, made for it, and not those that init lives in
  SecuritySpec security;
  ProcessSpec process;
  Slot input = -1;             ///< descriptors 0, 1 and 2; -1: /dev/null
  Slot output = -1;
  Slot error = -1;
  bool keep_groups = false;    ///< setgroups(2) is forbidden in the container's user namespace
  uint32_t first_uid = 0;      ///< who the program is inside until it takes its ids: 0 where that is mapped
  uint32_t first_gid = 0;
  bool own_pids = false;       ///< the program and what it starts are in a pid namespace of their own, and end with the program
  bool remount = false;        ///< without the container's mount namespace: one of its own, with /proc and /sys of the namespaces joined
  std::optional<std::string> run_dir;  ///< of the container's monitor, which keeps the listener of a filter with notify rules

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("keepGroups", s.keep_groups), v("firstUid", s.first_uid), v("firstGid", s.first_gid), v("ownPids", s.own_pids), v("remount", s.remount), v("runDir", s.run_dir), v("ownCgroup", s.own_cgroup);
    v("init", s.init), v("namespaces", s.namespaces), v("cgroup", s.cgroup), v("security", s.security);
    v("process", s.process), v("input", s.input), v("output", s.output), v("error", s.error);
  }
};

/// What is told to `caisson-monitor inside`: changes to the mounts of a running container.
struct InsideSpec {
  static constexpr const char* kName = "InsideSpec";
  Slot init = -1;              ///< pidfd of the container's init, from its monitor
  bool user = false;           ///< its user namespace is joined too, so that all is done with the rights and ids of its root
  bool keep_groups = false;    ///< setgroups(2) is forbidden there
  CgroupSpec cgroup;           ///< v2: `devices` replace the rules of its hierarchy, first; none: they stay
  std::vector<MountSpec> mounts;  ///< made in this order; what was made is unmade when one fails
  Strings unmounts;            ///< targets whose topmost mount is taken away
  Strings removals;            ///< empty files that are then removed (nodes that devices were bound on)

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("init", s.init), v("user", s.user), v("keepGroups", s.keep_groups), v("cgroup", s.cgroup), v("mounts", s.mounts), v("unmounts", s.unmounts), v("removals", s.removals);
  }
};

}  // namespace caisson
