// A value, or the one Error that says why there is none.
//
// An Error is built once, at the call that failed (see sys::failed), and travels unchanged; the schedule adds the step.
// Nothing throws. TRY(expr) unwraps a Result or returns its Error from the enclosing function.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace caisson {

/// What went wrong: which step, which call, with which errno, on which path.
struct Error {
  static constexpr const char* kName = "Failure";
  std::string step;    ///< `concern.verb`, the schedule's row; added by the schedule
  std::string call;    ///< the system call or program, "mount"; empty when the failure is the library's own
  int number = 0;      ///< errno; 0 when the failure is not the kernel's
  std::string path;    ///< the file, link or cgroup it was about; may be empty
  std::string detail;  ///< one clause for people: what was tried, or the kernel's own extended text
  std::string code;    ///< a code of the library's table ("ERR_INIT_MISSING"), or empty: then errno's name is the code

  template <class V, class S>
  static void describe(V&& v, S& s) {
    v("step", s.step), v("call", s.call), v("number", s.number);
    v("path", s.path), v("detail", s.detail), v("code", s.code);
  }
};

/// T, or an Error. Move-only in spirit: value() and error() are taken from an rvalue by TRY.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : held_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : held_(std::in_place_index<1>, std::move(error)) {}
  explicit operator bool() const { return held_.index() == 0; }
  T& value() & { return *std::get_if<0>(&held_); }
  T value() && { return std::move(*std::get_if<0>(&held_)); }
  T& operator*() & { return *std::get_if<0>(&held_); }
  T* operator->() { return std::get_if<0>(&held_); }
  Error& error() & { return *std::get_if<1>(&held_); }
  Error error() && { return std::move(*std::get_if<1>(&held_)); }

 private:
  std::variant<T, Error> held_;
};

/// Success, or an Error.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}
  explicit operator bool() const { return !error_; }
  void value() const {}
  Error& error() & { return *error_; }
  Error error() && { return std::move(*error_); }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

#define TRY(expr)                                            \
  ({                                                         \
    auto tried_ = (expr);                                    \
    if (!tried_) return std::move(tried_).error();           \
    std::move(tried_).value();                               \
  })

}  // namespace caisson
