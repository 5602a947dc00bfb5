// Products of many tokens with stored weights that are decoded to bf16 on the
// way (tile/decode.cuh).

#ifndef SADDLE_PASSES_TARGET_SM90A_PLANS_DECODED_H
#define SADDLE_PASSES_TARGET_SM90A_PLANS_DECODED_H

#include "passes/Target/Sm90a/Plans/ExpertsLaunch.h"

namespace saddle::cuda {

/// Bits of the codes of a weight with `rows` rows in each member that
/// DecodedRows can read; 0 where it cannot: rotated rows, scales of rows of
/// several members, blocks of columns that stages of 64 cut, rows that do not
/// begin at multiples of 16 bytes.
int64_t decodedBits(const StoredWeight &weight, int64_t rows);

/// Fewer tokens than this of codes of four bits are multiplied as they stream
/// (tile/packed.cuh); one or two of codes of eight do so more slowly in tiles.
int64_t leastDecodedTokens(int64_t bits);

/// Kernels of impls/linear_tile.cuh and impls/experts_tile.cuh, where the
/// operands allow them and there are tokens enough.
std::optional<KernelPlan> planLinearDecoded(const LaunchDesc &launch,
                                            const StoredWeight &w);
std::optional<KernelPlan> planExpertsDecoded(const ExpertsLaunch &op);

} // namespace saddle::cuda

#endif // SADDLE_PASSES_TARGET_SM90A_PLANS_DECODED_H
