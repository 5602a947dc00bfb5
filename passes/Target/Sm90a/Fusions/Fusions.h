// The fusions of sm_90a: pattern, constraints and planner of each in a file of
// its own beside this one.

#ifndef SADDLE_PASSES_TARGET_SM90A_FUSIONS_FUSIONS_H
#define SADDLE_PASSES_TARGET_SM90A_FUSIONS_FUSIONS_H

#include "passes/Target/Fusion.h"
#include "passes/Target/Sm90a/KernelPlan.h"

namespace saddle::cuda {

class DeviceFusion : public Fusion {
public:
  using Fusion::Fusion;

  /// What its groups, and so their kernels, are called.
  virtual llvm::ArrayRef<llvm::StringLiteral> signatures() const = 0;
  /// The values of each step as the fusion's kernel takes them: operands in
  /// order, then values between steps. Others are refused.
  virtual std::vector<std::vector<int64_t>>
  values(llvm::StringRef signature) const = 0;
  /// Contract: planKernel.
  virtual llvm::FailureOr<KernelPlan> plan(const LaunchDesc &launch,
                                           std::string &error) const = 0;
};

const DeviceFusion *addRMSNorm();
const DeviceFusion *addRMSNormEncode();
const DeviceFusion *addRMSNormLinear();
const DeviceFusion *addRMSNormRouter();
const DeviceFusion *allReduceDivideByRMS();
const DeviceFusion *attentionLinear();
const DeviceFusion *normGate();
const DeviceFusion *normGateLinear();
const DeviceFusion *normsConcat();
const DeviceFusion *qkNormAttention();
const DeviceFusion *qkNormRopeKVAppend();
const DeviceFusion *scaledAddRMSNorm();
const DeviceFusion *scaledAddRMSNormRouter();
const DeviceFusion *siluDecayScan();
const DeviceFusion *squaresGate();

/// Registration: what is listed here is formed and planned. Of two that begin
/// at one op, the larger stands first.
inline llvm::ArrayRef<const DeviceFusion *> deviceFusions() {
  static const DeviceFusion *const all[] = {scaledAddRMSNormRouter(),
                                            scaledAddRMSNorm(),
                                            addRMSNormRouter(),
                                            addRMSNormLinear(),
                                            addRMSNormEncode(),
                                            addRMSNorm(),
                                            attentionLinear(),
                                            normGateLinear(),
                                            normGate(),
                                            normsConcat(),
                                            qkNormAttention(),
                                            qkNormRopeKVAppend(),
                                            siluDecayScan(),
                                            squaresGate(),
                                            allReduceDivideByRMS()};
  return all;
}

/// The fusion whose groups have that signature; null without one.
inline const DeviceFusion *fusionOf(llvm::StringRef signature) {
  for (const DeviceFusion *fusion : deviceFusions())
    if (llvm::is_contained(fusion->signatures(), signature))
      return fusion;
  return nullptr;
}

} // namespace saddle::cuda

#endif // SADDLE_PASSES_TARGET_SM90A_FUSIONS_FUSIONS_H
