// Paths inside a container's root: every one is resolved by openat2(2) below a pre-opened descriptor, so that no symlink, magic link or
// `..` of the image can name anything of the host (CVE-2015-1335, CVE-2021-30465, CVE-2025-31133).
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace caisson::path {

/// An O_PATH descriptor of an existing path below `root`; symlinks are followed as the container itself would.
Result<Fd> open(int root, const std::string& path);
/// The same, but any symlink on the way is an error: for the places the library itself fills, /proc, /sys and /dev (CVE-2019-19921).
Result<Fd> open_strict(int root, const std::string& path);
/// open_strict, after making missing directories (0755) on the way.
Result<Fd> make_directory_strict(int root, const std::string& path);
/// open, after making what is missing: directories (0755).
Result<Fd> make_directory(int root, const std::string& path);
/// open, after making what is missing: directories, and an empty file (0644) at the end.
Result<Fd> make_file(int root, const std::string& path);
/// The same, but a symlink at the end is itself what is opened: to be covered by a mount, wherever it leads.
Result<Fd> make_entry(int root, const std::string& path);

}  // namespace caisson::path
