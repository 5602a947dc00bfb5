// The norm of q and k as other fusions have it among their steps.

#ifndef SADDLE_PASSES_TARGET_SM90A_FUSIONS_QKNORM_H
#define SADDLE_PASSES_TARGET_SM90A_FUSIONS_QKNORM_H

#include "passes/Target/Matchers.h"
#include "passes/Target/Sm90a/KernelPlan.h"

namespace saddle::cuda {

/// Whether one kernel norms q and k alike and lets nothing out but q and the
/// cache.
bool isOneNorm(QKNormOps &ops);

// Of a launch of these ops, whose steps are the launch's body:

llvm::FailureOr<KernelPlan> planQKNorm(const LaunchDesc &launch,
                                       std::string &error);
/// "6144.0f, 1024.0f, 1e-06f, frequencies", and what `frequencies` are.
std::string qkNormNumbers(const LaunchDesc &launch);
std::string qkNormFrequencies(const LaunchDesc &launch);
int64_t qkNormRotaryDim(const LaunchDesc &launch);

} // namespace saddle::cuda

#endif // SADDLE_PASSES_TARGET_SM90A_FUSIONS_QKNORM_H
