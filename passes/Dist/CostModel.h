// Predicted time of collectives and of memory traffic on a machine, for passes
// that choose between equivalent programs.

#ifndef SADDLE_PASSES_DIST_COSTMODEL_H
#define SADDLE_PASSES_DIST_COSTMODEL_H

#include "passes/Target/Machine.h"

#include "dialects/Dist/IR/MeshUtils.h"

namespace saddle::dist {

/// The ranks that a collective joins, as the cost model sees them.
struct RankGroup {
  int64_t ranks = 1;
  /// Whether some group of these axes leaves an island.
  bool far = false;
};

/// The groups along `axes` of a mesh whose rank 0 opens an island.
RankGroup rankGroup(const Machine &machine, const Mesh &mesh,
                    llvm::ArrayRef<AxisRef> axes);

/// Microseconds of an all-reduce of `bytes` per rank: one-shot (everybody sends
/// everything) or two-shot (scatter, then gather), whichever is faster.
double allReduceTime(const Machine &machine, RankGroup group, double bytes);

/// Microseconds of a reduce-scatter from, or an all-gather to, `bytes` per
/// rank: each rank sends a share to every other.
double scatterTime(const Machine &machine, RankGroup group, double bytes);

/// Microseconds of moving `bytes` through a rank's memory.
double memoryTime(const Machine &machine, double bytes);

} // namespace saddle::dist

#endif // SADDLE_PASSES_DIST_COSTMODEL_H
