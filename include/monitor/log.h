// The log of a container (lxc.log.*): what the monitor does and what becomes of the container, a line each, in the columns of LXC's log.
//
// The file is opened once, with the rights of whoever starts the container and before anything of the container exists: never through a
// link, and only a regular file. A line that cannot be written, or that no syslogd takes, is lost: a log never stops a container.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "protocol.h"
#include "spec.h"

namespace caisson {

/// The numbers of lxc.log.level.
enum class Level : uint32_t { trace, debug, info, notice, warn, error };

class Log {
 public:
  Status open(const StartSpec& spec);
  /// `concern` is a step of the schedule, or what the line is about.
  void write(Level level, const std::string& concern, const std::string& text);
  void write(Level level, const Error& error);
  /// How long each step took.
  void write(const std::vector<TraceEntry>& steps);

 private:
  void send(Level level, const std::string& line);

  std::string name_;
  Level least_ = Level::error;
  Fd file_;
  std::optional<uint32_t> facility_;
};

}  // namespace caisson
