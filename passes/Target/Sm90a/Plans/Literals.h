// Numbers and operands as the emitted source writes them.

#ifndef SADDLE_PASSES_TARGET_SM90A_PLANS_LITERALS_H
#define SADDLE_PASSES_TARGET_SM90A_PLANS_LITERALS_H

#include "passes/Target/Sm90a/KernelPlan.h"

namespace saddle::cuda {

/// The fp32 value nearest to `value`, exactly: "9.99999997e-07f".
std::string floatLiteral(double value);

/// Matrix type of an operand seen as rows of `cols` elements: a cache as one
/// row per token slot. The operand must be dense.
std::string rowsType(const Operand &operand, int64_t cols);

/// Elements that one access of up to 16 bytes can take in every row of all
/// operands; 1 when rows do not allow vectors (runtime/kernels/tile/
/// vectors.cuh, commonVector).
int64_t commonVector(llvm::ArrayRef<const Operand *> operands);

/// "static __constant__ const float frequencies[] = {...};": radians per
/// position of each rotated pair of a head.
std::string rotaryFrequencies(int64_t rotaryDim, double theta);

/// Threads of a CTA that shares `pieces` pieces of work: whole warps, at most
/// `most`.
uint32_t threadsFor(int64_t pieces, uint32_t most = 1024);

} // namespace saddle::cuda

#endif // SADDLE_PASSES_TARGET_SM90A_PLANS_LITERALS_H
