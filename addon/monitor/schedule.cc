#include "monitor/schedule.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "base/sys.h"
#include "monitor/baton.h"

namespace caisson {

/// How long one side may keep the turn: longer than any healthy set-up, shorter than for ever.
constexpr int64_t kPatienceMs = 120'000;

static uint64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

static Error with_step(Error error, const char* step) {
  if (error.step.empty()) error.step = step;
  return error;
}

Status Schedule::run(const Row& row) {
  const uint64_t begun = context_.spec.trace ? now_ns() : 0;
  Status status = row.go(context_);
  if (context_.spec.trace) trace_.push_back({row.step, row.side == Side::guest, now_ns() - begun});
  if (!status) return with_step(std::move(status).error(), row.step);
  return {};
}

void Schedule::give_up(const Error& error) {
  baton::tell(context_.line.get(), error);
  ::_exit(1);
}

Status Schedule::take_turn() {
  const bool came = TRY(baton::take(context_.line.get(), context_, sys::now_ms() + kPatienceMs, trace_, last_));
  if (came) {
    turn_ = context_.side;
    return {};
  }
  if (context_.side == Side::guest) ::_exit(1);  // the monitor is gone, and with it every reason to go on
  return sys::refused("ERR_INIT_KILLED", "the newborn process was killed while it set itself up");
}

Status Schedule::walk() {
  for (size_t i = 0; i < rows_.size(); i++) {
    const Row& row = rows_[i];
    if (row.when != nullptr && !row.when(context_)) continue;
    if (row.side != context_.side) {
      if (turn_ != context_.side) continue;
      Status passed = context_.side == Side::host ? baton::pass_to_guest(context_.line.get(), context_)
                                                  : baton::pass_to_host(context_.line.get(), context_, false, std::move(trace_));
      turn_ = row.side;
      if (!passed && context_.side == Side::guest) ::_exit(1);
      if (!passed) return with_step(std::move(passed).error(), row.step);
      continue;
    }
    if (turn_ != context_.side) {
      Status taken = take_turn();
      if (!taken) return with_step(std::move(taken).error(), row.step);
    }
    const bool host = context_.side == Side::host;
    if (!host && i + 1 == rows_.size() && !baton::pass_to_host(context_.line.get(), context_, true, std::move(trace_))) ::_exit(1);
    Status status = run(row);
    if (!status && context_.side == Side::guest) give_up(status.error());
    if (host && context_.side == Side::host) done_.push_back(&row);
    if (host && context_.side == Side::guest) trace_.clear();  // the copy of what the host has timed
    if (!status) return status;
  }
  return context_.side == Side::host ? await_exec() : Status{};
}

Status Schedule::await_exec() {
  if (!context_.line) return {};
  while (turn_ != context_.side && !last_) TRY(take_turn());
  // After its last baton the guest says nothing more, unless exec fails.
  std::vector<TraceEntry> none;
  bool last = false;
  auto told = baton::take(context_.line.get(), context_, sys::now_ms() + kPatienceMs, none, last);
  context_.line.reset();
  if (!told) return with_step(std::move(told).error(), "init.exec");
  return {};
}

void Schedule::take_over() {
  for (const Row& row : rows_) {
    if (row.side == Side::host && (row.when == nullptr || row.when(context_))) done_.push_back(&row);
  }
}

std::vector<Error> Schedule::undo() {
  std::vector<Error> failures;
  while (!done_.empty()) {
    const Row* row = done_.back();
    done_.pop_back();
    if (row->undo == nullptr) continue;
    Status status = row->undo(context_);
    if (!status) failures.push_back(with_step(std::move(status).error(), row->step));
  }
  return failures;
}

}  // namespace caisson
