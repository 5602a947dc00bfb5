// Products with weights of four bits (tile/packed.cuh): which can be streamed,
// and in which shapes.

#ifndef SADDLE_PASSES_TARGET_SM90A_PLANS_PACKED_H
#define SADDLE_PASSES_TARGET_SM90A_PLANS_PACKED_H

#include "passes/Target/Sm90a/Plans/ExpertsLaunch.h"
#include "runtime/kernels/shared/packed.h"

namespace saddle::cuda {

/// PackedShape of tile/packed.cuh, and the shared memory that follows. A weight
/// decides `unit`; planners choose the rest.
struct PackedShape : device::CtaLayout<device::PackedLayout> {
  /// The shape of a weight with `rows` rows in each member; none where
  /// PackedStream cannot read it: other elements, rotated rows, scales of
  /// several rows, blocks of columns that 32 does not divide, rows that do not
  /// begin at multiples of 16 bytes.
  static std::optional<PackedShape> of(const StoredWeight &weight,
                                       int64_t rows);

  /// Divides the columns over `warps` warps and sets the pieces of a stage:
  /// wide ones, but two or more for a warp where there are so many.
  void divideColumns(int64_t warps);
  /// Chooses the depth, with at most `most` bytes of shared memory for a CTA
  /// that keeps `kept` tokens where possible; false when they do not fit at
  /// all.
  bool chooseDepth(int64_t kept, int64_t most);

  int64_t stages() const { return cols / stageColumns(); }
  int64_t tokenBytes() const { return device::packedTokenBytes(cols); }
  /// Of a CTA of rowWarps x columnWarps warps, whose sums lie in the place of
  /// the rings.
  int64_t sharedBytes(int64_t kept) const {
    return residentOffset() + kept * tokenBytes();
  }
  /// Columns that four lanes read together.
  int64_t unitColumns() const { return unit; }
  /// "PackedShape<128, 8, 1, 4, 2, 4>".
  std::string text() const;

private:
  PackedShape() : CtaLayout<device::PackedLayout>{} {}
  bool setPieces(int64_t count);

  int64_t cols = 0, unit = 0;
  const Operand *scales = nullptr, *zeros = nullptr;
};

/// Whether rows of `x` can be the tokens of such weights.
bool canPlaceTokens(const Operand &x);

/// Kernels of impls/linear_packed.cuh and impls/experts_packed.cuh, where the
/// operands allow them.
std::optional<KernelPlan> planLinearPacked(const LaunchDesc &launch,
                                           const StoredWeight &w);
std::optional<KernelPlan> planExpertsPacked(const ExpertsLaunch &op);

} // namespace saddle::cuda

#endif // SADDLE_PASSES_TARGET_SM90A_PLANS_PACKED_H
