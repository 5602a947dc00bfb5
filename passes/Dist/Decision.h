// A decision between equivalent programs, and the one form of remark that
// reports it.

#ifndef SADDLE_PASSES_DIST_DECISION_H
#define SADDLE_PASSES_DIST_DECISION_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <optional>
#include <string>

namespace saddle::dist {

/// Predicted microseconds, by what they are spent on.
struct Cost {
  double exchange = 0;
  /// Launches that exchange nothing; the others are in their exchange.
  double launch = 0;
  double memory = 0;

  double total() const { return exchange + launch + memory; }
};

/// One way to do it: its cost, or why it cannot be done here.
struct Candidate {
  llvm::StringRef name;
  std::optional<Cost> cost;
  std::string obstacle;
};

/// What was decided, of which candidates, and what the user asked for ("auto":
/// nothing).
struct Decision {
  llvm::StringRef name;
  std::string asked;
  llvm::SmallVector<Candidate> candidates;
  llvm::StringRef chosen;
};

/// Emits `@f: NAME = CHOSEN, WHY: CANDIDATE TIME (parts), ...` at the function.
/// Times are of one decoder layer on `target`.
void reportDecision(mlir::func::FuncOp function, const Decision &decision,
                    llvm::StringRef target);

} // namespace saddle::dist

#endif // SADDLE_PASSES_DIST_DECISION_H
