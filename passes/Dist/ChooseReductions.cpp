// Where the residual stream lives: on every rank (all-reduce behind each
// branch), or split by tokens (reduce-scatter behind the branch, add and norm
// on a rank's own rows, all-gather before the next branch).

#include "passes/Dist/Passes.h"

#include "passes/Dist/CostModel.h"
#include "passes/Dist/ShardingRules.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/Format.h"

namespace saddle::dist {
#define GEN_PASS_DEF_CHOOSEREDUCTIONS
#include "passes/Dist/Passes.h.inc"
} // namespace saddle::dist

using namespace mlir;
using namespace saddle;
using namespace saddle::dist;

static std::string microseconds(double time) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%.1f us", time);
  return text;
}

namespace {

/// Predicted microseconds behind one branch of one layer: what finishes its
/// sum, the residual add and the next norm, and what the next branch needs.
struct Prediction {
  double allReduce;
  double reduceScatter;
};

struct ChooseReductions
    : saddle::dist::impl::ChooseReductionsBase<ChooseReductions> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (reduction != "auto" && reduction != "all_reduce" &&
        reduction != "reduce_scatter") {
      module.emitError("reduction must be auto, all_reduce or reduce_scatter, "
                       "but got \"")
          << reduction << "\"";
      return signalPassFailure();
    }
    ShardingState state(module);
    auto topology =
        module->getAttrOfType<DictionaryAttr>(DistDialect::kTopologyAttrName);
    auto dp = topology ? topology.getAs<IntegerAttr>("dp") : IntegerAttr();
    int64_t tp = state.hasMesh() ? state.mesh().axisSize("tp") : 0;
    if (!dp || tp == 0) {
      module.emitError("module has no mesh; run dist-attach-mesh first");
      return signalPassFailure();
    }
    // One rank has nothing to sum; replicas have their tokens apart already.
    if (tp == 1 || dp.getInt() > 1)
      return;
    auto axis =
        AxesAttr::get(&getContext(), state.meshName(),
                      AxisRef{StringAttr::get(&getContext(), "tp"), 1, 0});
    for (auto function : module.getOps<func::FuncOp>())
      if (splits(function, state, tp))
        function.walk([&](Operation *op) {
          if (isa<model::AddOp, model::RMSNormOp, model::LayerBoundaryOp>(op) &&
              !readsRows(op))
            op->setAttr(DistDialect::kTokenAxisAttrName, axis);
        });
  }

private:
  /// Behind model.select_rows there are logits rows, not tokens.
  static bool readsRows(Operation *op) {
    return op->getOperand(0).getDefiningOp<model::SelectRowsOp>() != nullptr;
  }

  /// Whether what enters the residual stream is a partial sum over all of tp.
  /// It is not where the embedding is replicated, or where ranks beyond the
  /// heads repeat a share of attention.
  static bool sumsOverAllRanks(func::FuncOp function,
                               const ShardingState &state) {
    auto splitOverAll = [&](FlatSymbolRefAttr symbol, unsigned dim) {
      ShardingAttr sharding = state.ofSymbol(symbol);
      return sharding && sharding.getDims().size() > dim &&
             sharding.getDims()[dim] && sharding.getDims()[dim].isWhole();
    };
    bool all = true;
    function.walk([&](model::EmbeddingOp op) {
      all &= splitOverAll(op.getTableAttr(), 0);
    });
    function.walk([&](model::AttentionOp op) {
      for (Operation *user : op.getResult().getUsers())
        if (auto linear = dyn_cast<model::LinearOp>(user))
          all &= splitOverAll(linear.getWeightAttr(), 1);
    });
    return all;
  }

  static Prediction predict(int64_t tp, RankedTensorType residual) {
    LinkModel links = h200Links();
    double bytes = static_cast<double>(residual.getNumElements()) *
                   residual.getElementTypeBitWidth() / 8;
    // Add and norm read two tensors and write two.
    double rows = memoryTime(links, 4 * bytes);
    return {allReduceTime(links, tp, bytes) + rows,
            2 * scatterTime(links, tp, bytes) + rows / static_cast<double>(tp)};
  }

  /// Whether the function's residual stream is to be split, with a remark that
  /// says why.
  bool splits(func::FuncOp function, const ShardingState &state, int64_t tp) {
    model::AddOp add;
    function.walk([&](model::AddOp op) {
      add = op;
      return WalkResult::interrupt();
    });
    if (!add)
      return false;
    auto residual = cast<RankedTensorType>(add.getType());
    int64_t tokens = residual.getDimSize(0);
    if (tokens % tp != 0) {
      function.emitRemark("@")
          << function.getName() << ": all_reduce, because " << tokens
          << " tokens cannot be split over tp = " << tp;
      return false;
    }
    if (!sumsOverAllRanks(function, state)) {
      function.emitRemark("@")
          << function.getName()
          << ": all_reduce, because some branch is complete, or summed over "
             "fewer ranks than tp = "
          << tp;
      return false;
    }
    Prediction time = predict(tp, residual);
    bool split = reduction == "auto" ? time.reduceScatter < time.allReduce
                                     : reduction == "reduce_scatter";
    function.emitRemark("@")
        << function.getName() << ": "
        << (split ? "reduce_scatter + all_gather" : "all_reduce") << " for "
        << tokens << " tokens over tp = " << tp << " ("
        << (reduction == "auto" ? "predicted for H200" : "asked for")
        << "): all_reduce " << microseconds(time.allReduce)
        << ", reduce_scatter + all_gather " << microseconds(time.reduceScatter)
        << " behind each branch, add and norm included";
    return split;
  }
};

} // namespace
