// Global shapes to one rank's shapes. Runs after every edge agrees, so each op
// is rewritten on its own: local types from its shardings, weights to shards.

#include "passes/Dist/Passes.h"

#include "passes/Dist/ShardingRules.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/TypeSwitch.h"

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
      // What an op's operands were split by is gone once their producers are
      // local.
      for (auto top : function.getOps<model::TopCandidatesOp>())
        vocabulary[top] = state.ofValue(top.getLogits());
      for (Operation &op :
           llvm::make_early_inc_range(function.getBody().front())) {
        if (failed(partition(&op)))
          return failure();
        if (auto top = dyn_cast<model::TopCandidatesOp>(op))
          mergeShares(top);
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
    RankedTensorType local = shareOf(heads, sharding);
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
    if (failed(useShards(op)))
      return failure();
    for (OpResult result : op->getResults()) {
      ShardingAttr sharding = state.ofValue(result);
      if (!sharding)
        return op->emitError("result has no sharding; run dist-propagate "
                             "first");
      auto type = cast<RankedTensorType>(result.getType());
      RankedTensorType local = shareOf(type, sharding);
      if (!local)
        return op->emitError("result ")
               << type << " cannot be split by " << sharding;
      result.setType(local);
    }
    op->removeAttr(DistDialect::kShardingsAttrName);
    op->removeAttr(DistDialect::kTokenAxisAttrName);
    return success();
  }

  /// Points the op at shards and sets what depends on the split.
  LogicalResult useShards(Operation *op) {
    auto replace = [&](FlatSymbolRefAttr symbol, bool widen = false) {
      return shardOf(op, symbol, widen);
    };
    return llvm::TypeSwitch<Operation *, LogicalResult>(op)
        .Case<model::EmbeddingOp>([&](auto op) {
          auto shard = replace(op.getTableAttr());
          if (failed(shard))
            return failure();
          setStart(op, op.getTableAttr(), DistDialect::kVocabStartAttrName);
          op.setTableAttr(*shard);
          return success();
        })
        .Case<model::LinearOp>([&](auto op) {
          auto shard = replace(op.getWeightAttr());
          if (failed(shard))
            return failure();
          op.setWeightAttr(*shard);
          return success();
        })
        .Case<model::RMSNormOp>([&](auto op) {
          auto shard = replace(op.getWeightAttr(), /*widen=*/true);
          if (failed(shard))
            return failure();
          op.setWeightAttr(*shard);
          return success();
        })
        .Case<model::RMSScaleOp>([&](auto op) {
          auto shard = replace(op.getWeightAttr(), /*widen=*/true);
          if (failed(shard))
            return failure();
          countReplicas(op);
          op.setWeightAttr(*shard);
          return success();
        })
        .Case<model::DecayScanOp>([&](auto op) {
          auto shard = replace(op.getDecayAttr(), /*widen=*/true);
          if (failed(shard))
            return failure();
          op.setDecayAttr(*shard);
          return success();
        })
        .Case<model::RouterOp>([&](auto op) {
          auto shard = replace(op.getBiasAttr(), /*widen=*/true);
          if (failed(shard))
            return failure();
          op.setBiasAttr(*shard);
          return success();
        })
        .Case<model::ExpertsOp>([&](auto op) {
          SmallVector<Attribute> gateUp;
          for (Attribute symbol : op.getGateUp()) {
            auto shard = replace(cast<FlatSymbolRefAttr>(symbol));
            if (failed(shard))
              return failure();
            gateUp.push_back(*shard);
          }
          auto down = replace(op.getDownAttr());
          if (failed(down))
            return failure();
          setStart(op, op.getDownAttr(), DistDialect::kExpertStartAttrName);
          op.setGateUpAttr(builder.getArrayAttr(gateUp));
          op.setDownAttr(*down);
          return success();
        })
        .Default([](Operation *) { return success(); });
  }

  /// One rank's share of a tensor. Null when the sharding does not fit: another
  /// rank, an axis that the mesh has not, a dimension that does not divide.
  RankedTensorType shareOf(RankedTensorType type, ShardingAttr sharding) {
    if (static_cast<int64_t>(sharding.getDims().size()) != type.getRank() ||
        !llvm::all_of(sharding.getDims(), [&](AxisRef axis) {
          return !axis || state.mesh().has(axis);
        }))
      return {};
    return localType(type, sharding, state.mesh());
  }

  /// First row, or first stack member, of a split weight that a rank holds.
  void setStart(Operation *op, FlatSymbolRefAttr symbol, StringRef attrName) {
    AxisRef axis = state.ofSymbol(symbol).getDims()[0];
    int64_t extent =
        cast<model::WeightOpInterface>(state.symbol(symbol.getValue()))
            .getWeightType()
            .getDimSize(0);
    RankIndex index = state.mesh().rankIndex(axis);
    int64_t step = axis ? extent / state.mesh().factor(axis) : 0;
    op->setAttr(attrName, RankValueAttr::get(op->getContext(), 0, index.divisor,
                                             index.modulus, step));
  }

  /// Over a share of the vocabulary: the best of the share, then of all shares,
  /// which follow one another in rank order.
  void mergeShares(model::TopCandidatesOp top) {
    ShardingAttr split = vocabulary.lookup(top);
    AxisRef axis = split ? split.getDims()[1] : AxisRef();
    int64_t shares = state.mesh().factor(axis);
    if (shares == 1)
      return;
    auto whole = cast<RankedTensorType>(top.getValues().getType());
    int64_t share =
        cast<RankedTensorType>(top.getLogits().getType()).getDimSize(1);
    int64_t count = std::min(whole.getDimSize(1), share);
    RankIndex index = state.mesh().rankIndex(axis);
    top->setAttr(DistDialect::kVocabStartAttrName,
                 RankValueAttr::get(top.getContext(), 0, index.divisor,
                                    index.modulus, share));
    builder.setInsertionPointAfter(top);
    ShardingAttr from = state.matrix(split.getDims()[0], axis);
    ShardingAttr to = state.matrix(split.getDims()[0], AxisRef());
    SmallVector<Value> gathered;
    for (Value result : top.getResults()) {
      auto type = cast<RankedTensorType>(result.getType());
      result.setType(type.clone({type.getDimSize(0), count}));
      gathered.push_back(ReshardOp::create(
          builder, top.getLoc(),
          type.clone({type.getDimSize(0), count * shares}), result, from, to));
    }
    auto merge = model::MergeCandidatesOp::create(
        builder, top.getLoc(), whole,
        whole.clone(
            cast<RankedTensorType>(top.getTokens().getType()).getElementType()),
        gathered[0], gathered[1]);
    for (auto [best, merged] :
         llvm::zip_equal(top.getResults(), merge.getResults()))
      best.replaceUsesWithIf(merged, [](OpOperand &use) {
        return !isa<ReshardOp>(use.getOwner());
      });
  }

  /// The sum over the group holds each column as often as ranks replicate it:
  /// the group's size over the number of different shares.
  void countReplicas(model::RMSScaleOp scale) {
    auto reshard = scale.getSums().getDefiningOp<ReshardOp>();
    if (!reshard)
      return; // the sum is complete on every rank
    const Mesh &mesh = state.mesh();
    int64_t group = 1;
    for (AxisRef axis : reshard.getFrom().getUnreduced())
      group *= mesh.factor(axis);
    AxisRef shares = state.ofSymbol(scale.getWeightAttr()).getDims()[0];
    scale.setDivisor(scale.getDivisor() * (group / mesh.factor(shares)));
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
    RankedTensorType local = shareOf(type, sharding);
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
        builder.getI64IntegerAttr(0), localBlocks(weight, sharding),
        TypeAttr::get(local));
    // Symbols must be defined once; shards follow all weights of the model.
    op->moveAfter(weight);
    shard = FlatSymbolRefAttr::get(op.getSymNameAttr());
    return shard;
  }

  /// Blocks of a share: a rank that starts inside a block sees a finer grid,
  /// of the largest size that divides the block and the share's step.
  DenseI64ArrayAttr localBlocks(model::WeightOp weight, ShardingAttr sharding) {
    ArrayRef<int64_t> blocks = weight.getWeightScaleBlock();
    if (blocks.empty())
      return {};
    RankedTensorType type = weight.getWeightType();
    SmallVector<int64_t> local;
    for (int64_t i = 0; i < 2; ++i) {
      int64_t dim = type.getRank() - 2 + i;
      int64_t factor = state.mesh().factor(sharding.getDims()[dim]);
      local.push_back(factor == 1
                          ? blocks[i]
                          : std::gcd(blocks[i], type.getDimSize(dim) / factor));
    }
    return builder.getDenseI64ArrayAttr(local);
  }

  ModuleOp module;
  ShardingState state;
  OpBuilder builder;
  llvm::DenseMap<Operation *, ShardingAttr> vocabulary; // of logits
  // By weight, as stored [0] and widened [1].
  llvm::DenseMap<Attribute, std::array<FlatSymbolRefAttr, 2>> shards;
};

struct Partition : saddle::dist::impl::PartitionBase<Partition> {
  void runOnOperation() override {
    if (failed(Partitioner(getOperation()).run()))
      signalPassFailure();
  }
};

} // namespace
