// Global shapes to one rank's shapes. Runs after every edge agrees, so each op
// is rewritten on its own: local types from its shardings, weights to shards.

#include "passes/Dist/Passes.h"
#include "passes/StraightLine.h"

#include "dialects/Dist/Interfaces/Sharding.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"

#include <array>
#include <numeric>

namespace saddle::dist {
#define GEN_PASS_DEF_PARTITION
#include "passes/Dist/Passes.h.inc"
} // namespace saddle::dist

using namespace mlir;
using namespace saddle;
using namespace saddle::dist;

namespace {

class Partitioner {
public:
  explicit Partitioner(ModuleOp module)
      : module(module), state(module), builder(module.getContext()) {}

  LogicalResult run() {
    if (!state.hasMesh())
      return module.emitError("module has no mesh; run dist-attach-mesh first");
    for (auto function : module.getOps<func::FuncOp>()) {
      for (Operation &op :
           llvm::make_early_inc_range(function.getBody().front()))
        if (failed(partition(&op)))
          return failure();
      // Until here an op may ask what its operands were split by.
      for (Operation &op : function.getBody().front()) {
        op.removeAttr(DistDialect::kShardingsAttrName);
        op.removeAttr(DistDialect::kTokenAxisAttrName);
      }
      if (failed(partitionSignature(function)))
        return failure();
    }
    for (auto cached : module.getOps<model::StateOpInterface>())
      if (failed(partition(cached)))
        return failure();
    for (auto weight : module.getOps<model::WeightOp>())
      weight->removeAttr(DistDialect::kShardingAttrName);
    return success();
  }

private:
  LogicalResult partition(model::StateOpInterface cached) {
    ShardingAttr sharding =
        cached->getAttrOfType<ShardingAttr>(DistDialect::kShardingAttrName);
    if (!sharding)
      return cached.emitError("state @")
             << SymbolTable::getSymbolName(cached).getValue()
             << " has no sharding; run dist-seed-shardings first";
    auto heads =
        RankedTensorType::get({cached.getStateHeads()}, builder.getF32Type());
    RankedTensorType local = state.shareOf(heads, sharding);
    if (!local)
      return cached.emitError("heads = ")
             << cached.getStateHeads() << " cannot be split by " << sharding;
    cached.setStateHeads(local.getDimSize(0));
    cached->removeAttr(DistDialect::kShardingAttrName);
    return success();
  }

  /// Arguments last: ops are partitioned by what the global types say.
  LogicalResult partitionSignature(func::FuncOp function) {
    for (BlockArgument argument : function.getArguments()) {
      ShardingAttr sharding = state.ofValue(argument);
      if (!sharding)
        continue;
      auto type = cast<RankedTensorType>(argument.getType());
      RankedTensorType local = localType(type, sharding, state.mesh());
      if (!local)
        return function.emitError("argument ")
               << argument.getArgNumber() << " of type " << type
               << " cannot be split by " << sharding;
      argument.setType(local);
      function.removeArgAttr(argument.getArgNumber(),
                             DistDialect::kShardingAttrName);
    }
    Block &body = function.getBody().front();
    function.setFunctionType(
        FunctionType::get(function.getContext(), body.getArgumentTypes(),
                          body.getTerminator()->getOperandTypes()));
    return success();
  }

  LogicalResult partition(Operation *op) {
    auto user = dyn_cast<model::WeightUserOpInterface>(op);
    llvm::SmallDenseMap<Attribute, FlatSymbolRefAttr> replacements;
    if (user)
      for (const model::WeightUse &use : user.getWeightUses()) {
        auto shard = shardOf(op, use.symbol, use.widens);
        if (failed(shard))
          return failure();
        replacements[use.symbol] = *shard;
      }
    if (auto ruled = dyn_cast<ShardingRuleOpInterface>(op)) {
      Localizer localizer(op, state);
      if (failed(ruled.localize(localizer)))
        return failure();
    }
    if (user)
      model::replaceWeights(user, [&](const model::WeightUse &use) {
        return replacements.lookup(use.symbol);
      });
    for (OpResult result : op->getResults()) {
      ShardingAttr sharding = state.ofValue(result);
      if (!sharding)
        return op->emitError("result has no sharding; run dist-propagate "
                             "first");
      auto type = cast<RankedTensorType>(result.getType());
      RankedTensorType local = state.shareOf(type, sharding);
      if (!local)
        return op->emitError("result ")
               << type << " cannot be split by " << sharding;
      result.setType(local);
    }
    return success();
  }

  FailureOr<FlatSymbolRefAttr> shardOf(Operation *user,
                                       FlatSymbolRefAttr symbol, bool widen) {
    FlatSymbolRefAttr &shard = shards[symbol][widen];
    if (shard)
      return shard;
    auto weight =
        dyn_cast_or_null<model::WeightOp>(state.symbol(symbol.getValue()));
    ShardingAttr sharding = state.ofSymbol(symbol);
    if (!weight || !sharding)
      return user->emitError()
             << symbol << " is not a weight with a sharding; run "
             << "dist-seed-shardings first";
    RankedTensorType type = weight.getWeightType();
    RankedTensorType local = state.shareOf(type, sharding);
    if (!local) {
      InFlightDiagnostic diag = user->emitError("weight ")
                                << symbol << " of type " << type
                                << " cannot be split by " << sharding;
      diag.attachNote(weight.getLoc()) << "weight defined here";
      return diag;
    }
    bool converts = widen && !type.getElementType().isF32();
    if (converts)
      local = RankedTensorType::get(local.getShape(), builder.getF32Type());
    builder.setInsertionPoint(weight);
    std::string name = (symbol.getValue() + ".shard").str();
    auto op = WeightShardOp::create(
        builder, weight.getLoc(), builder.getStringAttr(name),
        builder.getArrayAttr(symbol), builder.getArrayAttr(sharding),
        builder.getI64IntegerAttr(0), localStorage(weight, sharding),
        TypeAttr::get(local));
    // Symbols must be defined once; shards follow all weights of the model.
    op->moveAfter(weight);
    shard = FlatSymbolRefAttr::get(op.getSymNameAttr());
    return shard;
  }

  /// Storage of a share. A rank that starts inside a block sees a finer grid,
  /// of the largest size that divides the block and the share's step. From
  /// here on a weight is stored as kernels want it.
  model::StorageAttr localStorage(model::WeightOp weight,
                                  ShardingAttr sharding) {
    if (weight.getWeightStorage().isPlain())
      return {};
    RankedTensorType type = weight.getWeightType();
    auto share = [&](int64_t block, int64_t dim) {
      int64_t factor = state.mesh().factor(sharding.getDims()[dim]);
      return factor == 1 || block == model::CompanionAttr::kWhole
                 ? block
                 : std::gcd(block, type.getDimSize(dim) / factor);
    };
    int64_t rank = type.getRank();
    return weight.getWeightStorage()
        .held(type.getElementType())
        .mapCompanions([&](model::CompanionAttr companion) {
          return companion.withBlocks(
              {share(companion.getBlockRows(), rank - 2),
               share(companion.getBlockCols(), rank - 1)});
        });
  }

  ModuleOp module;
  ShardingState state;
  OpBuilder builder;
  // By weight, as stored [0] and widened [1].
  llvm::DenseMap<Attribute, std::array<FlatSymbolRefAttr, 2>> shards;
};

struct Partition : saddle::dist::impl::PartitionBase<Partition> {
  void runOnOperation() override {
    if (failed(saddle::verifyStraightLine(getOperation())) ||
        failed(Partitioner(getOperation()).run()))
      signalPassFailure();
  }
};

} // namespace
