// The fusions of sm_90a: pattern, constraints, launch and planner of each in a
// file of its own beside this one.

#ifndef SADDLE_PASSES_TARGET_SM90A_FUSIONS_FUSIONS_H
#define SADDLE_PASSES_TARGET_SM90A_FUSIONS_FUSIONS_H

#include "passes/Target/Fusion.h"
#include "passes/Target/Sm90a/KernelPlan.h"

namespace saddle::cuda {

class DeviceFusion : public Fusion {
public:
  using Fusion::Fusion;

  /// The runtime's ops that its groups become.
  virtual llvm::ArrayRef<llvm::StringLiteral> launchedOps() const = 0;
  /// Names of their operands, as docs/Runtime.md has them.
  virtual llvm::ArrayRef<llvm::StringLiteral> operandNames() const = 0;
  /// Contract: planKernel.
  virtual llvm::FailureOr<KernelPlan> plan(const LaunchDesc &launch,
                                           std::string &error) const = 0;
};

const DeviceFusion *addRMSNorm();
const DeviceFusion *qkNormRopeKVAppend();

/// Registration: what is listed here is formed, launched and planned.
inline llvm::ArrayRef<const DeviceFusion *> deviceFusions() {
  static const DeviceFusion *const all[] = {addRMSNorm(), qkNormRopeKVAppend()};
  return all;
}

/// The fusion whose groups become launches of that op; null without one.
inline const DeviceFusion *fusionOfOp(llvm::StringRef op) {
  for (const DeviceFusion *fusion : deviceFusions())
    if (llvm::is_contained(fusion->launchedOps(), op))
      return fusion;
  return nullptr;
}

} // namespace saddle::cuda

#endif // SADDLE_PASSES_TARGET_SM90A_FUSIONS_FUSIONS_H
