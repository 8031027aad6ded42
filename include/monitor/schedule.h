// The Schedule: starting (or attaching) as ONE table of rows, walked by both sides.
//
// Theory of operation. A row is {"concern.verb", side, go, undo, when}. The monitor walks the table alone until a row clones the newborn
// process; from then on there are two walkers with the same table and the same Spec. Each runs the rows of its own side. Where the side
// changes, the walker that has the turn sends the baton, with the descriptors that the other side needs, and waits until it comes back.
// Rows whose `when` says no are skipped by both, so no baton is spent on them. If the guest needs something from the host, that is a
// Host row before it: there is no other protocol between the two.
//
// The guest's last row is exec. Its end of the line is close-on-exec, so the line's end of file announces exec; a failed exec is told on
// the line like every failed row. The host's rows that were done are undone in reverse: after a failure, at stop, and at the end. Stop,
// failure and crash share that one way.
#pragma once

#include <span>

#include "monitor/context.h"

namespace caisson {

struct Row {
  const char* step;                         ///< `concern.verb`: the error's step, the trace's, the test's, the hint's key
  Side side;
  Status (*go)(Context&);
  Status (*undo)(Context&) = nullptr;       ///< host rows only; must be safe when the thing has gone already
  bool (*when)(const Context&) = nullptr;   ///< the same answer on both sides
};

class Schedule {
 public:
  Schedule(std::span<const Row> rows, Context& context) : rows_(rows), context_(context) {}

  /// Walks all rows. On the host: returns when the guest has exec'ed, or with the Error of the row that failed on either side; the rows
  /// done so far stay done until undo(). In the guest: returns only when no row is left to it (a minimal init).
  Status walk();
  /// Undoes the host's done rows, the last one first. Every undo is tried; the failures are returned.
  std::vector<Error> undo();
  /// Makes undo() do what a walk's would: the rows were done by a monitor that is no more.
  void take_over();
  /// How long each row took, of both sides.
  const std::vector<TraceEntry>& trace() const { return trace_; }

 private:
  Status run(const Row& row);
  Status take_turn();
  Status await_exec();
  [[noreturn]] void give_up(const Error& error);

  std::span<const Row> rows_;
  Context& context_;
  Side turn_ = Side::host;
  bool last_ = false;  ///< the guest has announced that only exec is left
  std::vector<const Row*> done_;
  std::vector<TraceEntry> trace_;
};

}  // namespace caisson
