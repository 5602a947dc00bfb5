// The phases of a compilation. Each can be stopped at, started from and dumped.

#ifndef SADDLE_COMPILER_DRIVER_PHASE_H
#define SADDLE_COMPILER_DRIVER_PHASE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <optional>

namespace saddle {

/// `Start` is the imported module; the others are what their pipelines leave.
enum class Phase { Start, Model, Dist, Kernel, Engine };

struct PhaseInfo {
  Phase phase;
  llvm::StringLiteral name;
  llvm::StringLiteral description;
};

/// All phases in order.
llvm::ArrayRef<PhaseInfo> allPhases();
llvm::StringRef phaseName(Phase phase);
std::optional<Phase> parsePhase(llvm::StringRef name);

} // namespace saddle

#endif // SADDLE_COMPILER_DRIVER_PHASE_H
