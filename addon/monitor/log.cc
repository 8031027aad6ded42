#include "monitor/log.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <ctime>

#include "base/sys.h"

namespace caisson {

constexpr const char* kLevels[] = {"TRACE", "DEBUG", "INFO", "NOTICE", "WARN", "ERROR"};
/// The severities of syslog(3), by Level.
constexpr uint32_t kSeverities[] = {7, 7, 6, 5, 4, 3};

Status Log::open(const StartSpec& spec) {
  if (!spec.log) return {};
  name_ = spec.name;
  least_ = static_cast<Level>(spec.log->level);
  facility_ = spec.log->facility;
  const std::string& path = spec.log->file;
  if (path.empty()) return {};
  // Without O_NONBLOCK a FIFO that somebody has put there would be waited for.
  file_ = TRY(sys::open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0600));
  struct stat info{};
  if (::fstat(file_.get(), &info) < 0) return sys::failed("fstat", path);
  if (!S_ISREG(info.st_mode)) return sys::failed_with(EINVAL, "open", path, "a log is a regular file");
  return {};
}

/// `20260102030405.678`, UTC, as in LXC's log.
static std::string timestamp() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm parts{};
  ::gmtime_r(&now.tv_sec, &parts);
  char text[64];
  const size_t length = std::strftime(text, sizeof text, "%Y%m%d%H%M%S", &parts);
  std::snprintf(text + length, sizeof text - length, ".%03ld", now.tv_nsec / 1'000'000);
  return text;
}

/// Nothing that is told becomes a line of its own.
static std::string one_line(std::string text) {
  for (size_t at = 0; at < text.size(); at++) {
    const unsigned char letter = static_cast<unsigned char>(text[at]);
    const unsigned char next = at + 1 < text.size() ? static_cast<unsigned char>(text[at + 1]) : 0;
    if (letter < ' ' || letter == 0x7f) text[at] = ' ';
    if (letter == 0xc2 && next >= 0x80 && next < 0xa0) text[at] = text[at + 1] = ' ';  // those of U+0080 to U+009F
  }
  return text;
}

void Log::write(Level level, const std::string& concern, const std::string& text) {
  if (level < least_ || (!file_ && !facility_)) return;
  char head[16];
  std::snprintf(head, sizeof head, "%-8s", kLevels[static_cast<size_t>(level)]);
  const std::string told = head + (" " + concern) + " - " + one_line(text);
  if (facility_) send(level, told);
  const std::string line = "caisson " + name_ + " " + timestamp() + " " + told + "\n";
  if (file_) (void)!sys::write_all(file_.get(), line.data(), line.size(), "log");
}

void Log::write(Level level, const Error& error) {
  std::string text = error.call;
  if (!error.path.empty()) text += (text.empty() ? "" : " ") + error.path;
  if (error.number != 0) text += (text.empty() ? "" : ": ") + std::string(::strerror(error.number));
  if (!error.code.empty()) text += (text.empty() ? "" : ": ") + error.code;
  if (!error.detail.empty()) text += ": " + error.detail;
  write(level, error.step, text);
}

void Log::write(const std::vector<TraceEntry>& steps) {
  for (const TraceEntry& entry : steps) {
    char took[64];
    std::snprintf(took, sizeof took, "%s, %.3f ms", entry.guest ? "inside" : "outside", static_cast<double>(entry.nanoseconds) / 1e6);
    write(Level::trace, entry.step, took);
  }
}

/// RFC 3164 without a time, which syslogd adds. A socket for each line: syslogd may have been started anew meanwhile.
void Log::send(Level level, const std::string& line) {
  const Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, "/dev/log");
  const std::string text = "<" + std::to_string(*facility_ << 3 | kSeverities[static_cast<size_t>(level)]) + ">caisson[" +
                           std::to_string(::getpid()) + "]: " + name_ + " " + line;
  if (!socket) return;
  (void)!::sendto(socket.get(), text.data(), text.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

}  // namespace caisson
