#include "kernel/loop.h"

#include <linux/loop.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstdio>

#include "base/sys.h"

namespace caisson::loop {

/// How often the device that was free may have been taken before it is opened.
constexpr int kTries = 64;

Result<Device> attach(const std::string& file, bool read_only) {
  const int mode = read_only ? O_RDONLY : O_RDWR;
  const Fd image = TRY(sys::open(file, mode | O_NOFOLLOW));
  const Fd control = TRY(sys::open("/dev/loop-control", O_RDWR));
  loop_config config{};
  config.fd = static_cast<uint32_t>(image.get());
  config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
  if (read_only) config.info.lo_flags |= LO_FLAGS_READ_ONLY;
  std::snprintf(reinterpret_cast<char*>(config.info.lo_file_name), sizeof config.info.lo_file_name, "%s", file.c_str());
  for (int tries = 0;; tries++) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return sys::failed("ioctl", "/dev/loop-control", "LOOP_CTL_GET_FREE");
    Device made{{}, "/dev/loop" + std::to_string(number)};
    made.device = TRY(sys::open(made.path, mode));
    if (::ioctl(made.device.get(), LOOP_CONFIGURE, &config) == 0) return made;
    if (errno != EBUSY || tries == kTries) return sys::failed("ioctl", made.path, "LOOP_CONFIGURE");
  }
}

}  // namespace caisson::loop
