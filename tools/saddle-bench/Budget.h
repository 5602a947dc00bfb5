// The budget of a step: for each launch of a layer what it must move and
// compute, what it waits for, and what it took.

#ifndef SADDLE_TOOLS_SADDLE_BENCH_BUDGET_H
#define SADDLE_TOOLS_SADDLE_BENCH_BUDGET_H

#include "tools/saddle-bench/Measure.h"

namespace saddle::tools {

/// Launches of one kernel at one place of all layers, in one traced step of one
/// rank. Times, bytes and operations are sums over them.
struct BudgetRow {
  std::string place; // "layers.*.o_proj"
  std::string kernel, op;
  uint64_t launches = 0;
  uint32_t functions = 0; // of one launch
  uint64_t bytes = 0;
  double operations = 0, operationsE4M3 = 0;
  /// What memory or tensor cores need at least, launch by launch.
  double floorSeconds = 0;
  /// What is waited for beside it: launches, round trips to memory, barriers,
  /// other ranks.
  double latencySeconds = 0;
  double seconds = 0; // measured

  double predicted() const { return floorSeconds + latencySeconds; }
  /// What is left of the measured time without the floor.
  double measuredLatency() const { return seconds - floorSeconds; }
};

/// In the order of the step. `isAlone`: exchanges are looped back.
std::vector<BudgetRow> budgetOf(const std::vector<Event> &events, uint32_t rank,
                                bool isAlone);

/// Why a row's time and its prediction part, from its numbers; empty when they
/// do not by more than a fifth.
std::string reasonOf(const BudgetRow &row);

/// A Markdown table of the rows, microseconds of one launch, and the sums of a
/// step beside what the step took on the device as a graph.
std::string budgetTable(const std::vector<BudgetRow> &rows,
                        double deviceSeconds);

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SADDLE_BENCH_BUDGET_H
