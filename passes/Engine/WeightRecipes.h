// Weight shards to recipes over checkpoint sources.

#ifndef SADDLE_PASSES_ENGINE_WEIGHTRECIPES_H
#define SADDLE_PASSES_ENGINE_WEIGHTRECIPES_H

#include "dialects/Dist/IR/DistDialect.h"
#include "dialects/Engine/IR/EngineDialect.h"

namespace saddle::engine {

/// The symbol of a weight's companion.
std::string companionName(llvm::StringRef weight, model::CompanionKind kind);

/// Which weights of a module read the same tensor: the first one's sources
/// serve them all.
class SharedSources {
public:
  explicit SharedSources(mlir::ModuleOp module);

  /// The weight whose sources `weight` reads.
  model::WeightOp of(model::WeightOp weight) const;

private:
  llvm::DenseMap<std::pair<mlir::StringAttr, mlir::StringAttr>, model::WeightOp>
      firsts; // by checkpoint and source
};

/// Creates the `engine.source`s of a checkpoint weight at the builder's
/// insertion point: its elements and its companions.
void createSources(mlir::OpBuilder &builder, model::WeightOp weight);

/// Creates the `engine.weight` of a shard in `arena` at the builder's insertion
/// point and one for each of its companions. `symbols` finds `model.weight`s
/// and the mesh. Fails with an error at the shard when its parts lie along a
/// dimension that a recipe cannot express, or when the runtime cannot execute
/// its storage.
llvm::LogicalResult createWeights(mlir::OpBuilder &builder,
                                  dist::WeightShardOp shard,
                                  mlir::FlatSymbolRefAttr arena,
                                  const mlir::SymbolTable &symbols,
                                  const SharedSources &sources);

} // namespace saddle::engine

#endif // SADDLE_PASSES_ENGINE_WEIGHTRECIPES_H
