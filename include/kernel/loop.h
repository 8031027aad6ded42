// A regular file as a block device, loop(4). Linux 5.8.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace caisson::loop {

struct Device {
  Fd device;         ///< the kernel frees the device when this and what is mounted from it have gone, whoever was killed
  std::string path;  ///< /dev/loopN
};

/// Takes a free device for the file. EBUSY is never the caller's: somebody else's haste is waited out.
Result<Device> attach(const std::string& file, bool read_only);

}  // namespace caisson::loop
