// The ways in which a decoder layer's ranks can meet, and what each costs.

#ifndef SADDLE_PASSES_DIST_EXCHANGEPLAN_H
#define SADDLE_PASSES_DIST_EXCHANGEPLAN_H

#include "passes/Dist/CostModel.h"
#include "passes/Dist/Decision.h"
#include "passes/Target/Target.h"

namespace saddle::dist {

/// How a branch's partial sums are finished. The names are those of options,
/// remarks and the attribute `dist.choices`.
inline constexpr llvm::StringLiteral kAllReduce = "all_reduce";
inline constexpr llvm::StringLiteral kDeferred = "deferred";
inline constexpr llvm::StringLiteral kReduceScatter = "reduce_scatter";
/// Which rows are normalised: a rank's own before they are gathered, or all
/// behind the gather.
inline constexpr llvm::StringLiteral kEarly = "early";
inline constexpr llvm::StringLiteral kLate = "late";
/// Where experts' tokens come from: every rank holds all of them and masks
/// those of other ranks' experts, or they are gathered from split rows.
inline constexpr llvm::StringLiteral kMasked = "masked";
inline constexpr llvm::StringLiteral kGathered = "gathered";
/// How rows of attention replicas lie when gathered.
inline constexpr llvm::StringLiteral kPacked = "packed";
inline constexpr llvm::StringLiteral kPadded = "padded";

/// Sequences are dealt to replicas in turn, so in decode their counts differ by
/// one at most.
inline constexpr double kDecodeCountSpread = 1;
/// In prefill a replica's chunk is the rest of a prompt as often as not: counts
/// are taken as uniform from nothing to a full chunk. As a share of the chunk.
inline constexpr double kPrefillCountSpread = 1;

/// What a layer's cost depends on.
struct LayerShape {
  int64_t replicas = 1;
  /// Of one replica; with several, of the busiest.
  int64_t tokens = 0;
  /// Of one row of the residual stream.
  double rowBytes = 0;
  bool decode = true;
  /// All ranks of a stage; those of a replica; one of each replica.
  RankGroup all, attention, across;
};

/// One choice for each decision.
struct ExchangePlan {
  llvm::StringRef reduction = kDeferred;
  llvm::StringRef norm = kEarly;
  llvm::StringRef experts = kMasked;
  llvm::StringRef rows = kPacked;

  /// Whether every rank holds only some rows of the residual stream, so that
  /// norms have a choice of rows.
  bool splitsRows(const LayerShape &shape) const {
    return shape.replicas > 1 || reduction == kReduceScatter;
  }
};

/// Whether the choices go together at all: without replicas, tokens are
/// gathered exactly where the sums are scattered.
bool isConsistent(const LayerShape &shape, const ExchangePlan &plan);

/// Predicted cost of what one layer exchanges, its adds and norms, and with
/// replicas the rows that router and experts read and write. What all plans
/// share beside that (weights, attention, the QK norm's sum) is left out. What
/// no fusion of the target covers is a launch of its own.
Cost layerCost(const Target &target, const LayerShape &shape,
               const ExchangePlan &plan);

/// Rows that all replicas together bring, as a plan lays them: `replicas` times
/// the busiest one's when padded, times the assumed mean when packed.
double gatheredRows(const LayerShape &shape, llvm::StringRef rows);

} // namespace saddle::dist

#endif // SADDLE_PASSES_DIST_EXCHANGEPLAN_H
