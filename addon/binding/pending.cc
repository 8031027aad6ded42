#include "binding/pending.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/sys.h"

#ifndef SECCOMP_ADDFD_FLAG_SEND
#define SECCOMP_ADDFD_FLAG_SEND (1UL << 1)
#endif

namespace caisson::binding {

/// The kernel's notification may be longer than the one this was built with; it must fit a slot.
static Status check_sizes(size_t slot) {
  seccomp_notif_sizes sizes{};
  if (::syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) < 0) return sys::failed("seccomp", {}, "SECCOMP_GET_NOTIF_SIZES");
  if (sizes.seccomp_notif > slot || sizes.seccomp_notif_resp > sizeof(seccomp_notif_resp)) {
    return sys::refused("ERR_FEATURE_MISSING", "the kernel's seccomp notifications are larger than this build knows");
  }
  return {};
}

static int set_lock(int journal, short type) {
  struct flock lock{};
  lock.l_type = type;
  return ::fcntl(journal, F_OFD_SETLK, &lock);
}

Result<std::unique_ptr<Pending>> Pending::open(Fd listener, Fd received) {
  TRY(check_sizes(kSlotBytes));
  // A lock belongs to an open file, of which the received descriptor is only a copy: the other holders would share it.
  Fd journal = TRY(sys::open("/proc/self/fd/" + std::to_string(received.get()), O_RDWR));
  if (set_lock(journal.get(), F_WRLCK) < 0) {
    if (errno == EAGAIN || errno == EACCES) return sys::refused("ERR_CONTAINER_BUSY", "another process answers its system calls");
    return sys::failed("fcntl", "journal", "F_OFD_SETLK");
  }
  if (::ftruncate(journal.get(), kSlots * kSlotBytes) < 0) return sys::failed("ftruncate", "journal");
  void* slots = ::mmap(nullptr, kSlots * kSlotBytes, PROT_READ | PROT_WRITE, MAP_SHARED, journal.get(), 0);
  if (slots == MAP_FAILED) return sys::failed("mmap", "journal");
  return std::unique_ptr<Pending>(new Pending(std::move(listener), std::move(journal), static_cast<uint8_t*>(slots)));
}

Pending::~Pending() { ::munmap(slots_, kSlots * kSlotBytes); }

seccomp_notif* Pending::find(uint64_t id) const {
  for (size_t i = 0; i < kSlots; i++) {
    if (slot(i)->id == id) return slot(i);
  }
  return nullptr;
}

std::vector<seccomp_notif> Pending::left() {
  const std::lock_guard lock(mutex_);
  std::vector<seccomp_notif> calls;
  for (size_t i = 0; i < kSlots; i++) {
    if (slot(i)->id != 0 && waits(slot(i)->id)) calls.push_back(*slot(i));
    else std::memset(slot(i), 0, kSlotBytes);
  }
  return calls;
}

bool Pending::full() {
  const std::lock_guard lock(mutex_);
  return find(0) == nullptr;
}

void Pending::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
}

void Pending::release() { set_lock(journal_.get(), F_UNLCK); }

Result<std::optional<seccomp_notif>> Pending::receive() {
  const std::lock_guard lock(mutex_);
  if (stopped_) return std::optional<seccomp_notif>{};
  seccomp_notif* room = find(0);
  if (room == nullptr) return sys::failed_with(EBUSY, "ioctl", "SECCOMP_IOCTL_NOTIF_RECV");
  // The kernel wants zeros, which a free slot is, and writes its id with the rest: there is no moment at which the call is in no file.
  if (::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_RECV, room) == 0) return std::optional(*room);
  const int number = errno;
  std::memset(room, 0, kSlotBytes);
  if (number == ENOENT || number == EINTR) return std::optional<seccomp_notif>{};
  return sys::failed_with(number, "ioctl", "SECCOMP_IOCTL_NOTIF_RECV");
}

bool Pending::waits(uint64_t id) const { return ::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0; }

void Pending::clear(uint64_t id) {
  const std::lock_guard lock(mutex_);
  if (seccomp_notif* call = id == 0 ? nullptr : find(id)) std::memset(call, 0, kSlotBytes);
}

/// ENOENT: the caller was killed. Everything else is a mistake of ours, and the call is still to be answered.
static Result<bool> answered(int result, const char* what) {
  if (result >= 0) return true;
  if (errno == ENOENT) return false;
  return sys::failed("ioctl", what);
}

Result<bool> Pending::answer(uint64_t id, int64_t value, int32_t error, uint32_t flags) {
  seccomp_notif_resp response{id, value, error, flags};
  const bool there = TRY(answered(::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_SEND, &response), "SECCOMP_IOCTL_NOTIF_SEND"));
  clear(id);
  return there;
}

Result<bool> Pending::inject(uint64_t id, int descriptor, uint32_t flags) {
  seccomp_notif_addfd request{};
  request.id = id;
  request.srcfd = static_cast<uint32_t>(descriptor);
  request.newfd_flags = flags;
  request.flags = SECCOMP_ADDFD_FLAG_SEND;
  int number = ::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &request);
  if (number < 0 && errno == EINVAL) {
    request.flags = 0;
    number = ::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &request);
    if (number >= 0) return answer(id, number, 0, 0);
  }
  const bool there = TRY(answered(number, "SECCOMP_IOCTL_NOTIF_ADDFD"));
  clear(id);
  return there;
}

}  // namespace caisson::binding
