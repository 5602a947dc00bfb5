// Products of one token or two with weights of integer or e4m3 codes
// (tile/digits.cuh): which there are, and in which shapes.

#ifndef SADDLE_PASSES_TARGET_SM90A_PLANS_DIGITS_H
#define SADDLE_PASSES_TARGET_SM90A_PLANS_DIGITS_H

#include "passes/Target/Sm90a/Plans/ExpertsLaunch.h"
#include "runtime/kernels/shared/digits.h"

namespace saddle::cuda {

/// Warps that divide the columns of a weight's rows: `warps` of them, with
/// `units` units each, the last with fewer.
struct DigitShape : device::DigitLayout {
  /// The shape of a weight with `rows` rows in each member for at most
  /// `mostWarps` warps; none where DigitProduct cannot read it: codes without a
  /// scale, rotated rows, blocks of columns that cut stretches, rows that do
  /// not begin at multiples of 16 bytes.
  static std::optional<DigitShape> of(const StoredWeight &weight, int64_t rows,
                                      int64_t mostWarps);

  /// Of a CTA in which `parts` times as many warps keep `tokens` tokens each.
  int64_t sharedBytes(int64_t tokens, int64_t parts = 1) const {
    return parts * warps * warpBytes(tokens);
  }

  int64_t warps;
  /// Scales and zeros that a lane holds of a stage, which take registers.
  int64_t held;
};

/// Kernels of impls/linear_digits.cuh and impls/experts_digits.cuh, where the
/// operands allow them.
std::optional<KernelPlan> planLinearDigits(const LaunchDesc &launch,
                                           const StoredWeight &w);
std::optional<KernelPlan> planExpertsDigits(const ExpertsLaunch &op);

} // namespace saddle::cuda

#endif // SADDLE_PASSES_TARGET_SM90A_PLANS_DIGITS_H
