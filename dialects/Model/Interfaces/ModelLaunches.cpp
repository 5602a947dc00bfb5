// What the ops of the `model` dialect launch, and which weights and state they
// use. Ops that need one line for it have it in ModelOps.td (`Launches`).

#include "dialects/Model/IR/ModelDialect.h"

using namespace mlir;
using namespace saddle::model;

//===----------------------------------------------------------------------===//
// Dense ops
//===----------------------------------------------------------------------===//

SmallVector<WeightUse> EmbeddingOp::getWeightUses() {
  return {{getTableAttr(), WeightRead::Rows}};
}

LogicalResult EmbeddingOp::describeLaunch(LaunchBuilder &launch) {
  launch.calls("embedding").operands().weights().rankConstant("vocab_start");
  return success();
}

/// Norms and biases are a few values, wanted exactly.
static SmallVector<WeightUse> vectors(ArrayRef<FlatSymbolRefAttr> symbols) {
  return llvm::map_to_vector(symbols, [](FlatSymbolRefAttr symbol) {
    WeightUse use{symbol};
    use.widens = true;
    return use;
  });
}

SmallVector<WeightUse> RMSNormOp::getWeightUses() {
  return vectors(getWeightAttr());
}

SmallVector<WeightUse> ScaleOp::getWeightUses() {
  return vectors(getWeightAttr());
}

SmallVector<WeightUse> LinearOp::getWeightUses() {
  WeightUse use{getWeightAttr()};
  use.joins = 0;
  return {use};
}

LogicalResult LinearOp::describeLaunch(LaunchBuilder &launch) {
  launch.calls("linear")
      .operands()
      .stored(getWeightAttr())
      .constant("act_group", getActGroup().value_or(0));
  return success();
}

LogicalResult SplitOp::describeLaunch(LaunchBuilder &launch) {
  launch.views(getInput());
  return success();
}

SmallVector<WeightUse> LinearOfCodesOp::getWeightUses() {
  return {{getWeightAttr()}};
}

LogicalResult LinearOfCodesOp::describeLaunch(LaunchBuilder &launch) {
  launch.calls("linear_of_codes")
      .operands()
      .stored(getWeightAttr())
      .constant("act_group", static_cast<int64_t>(getActGroup()));
  return success();
}

LogicalResult JoinBytesOp::describeLaunch(LaunchBuilder &launch) {
  launch.joins();
  return success();
}

LogicalResult SplitBytesOp::describeLaunch(LaunchBuilder &launch) {
  launch.views(getInput());
  return success();
}

Value SelectRowsOp::getRowOperand() { return getRows(); }

LogicalResult LayerBoundaryOp::describeLaunch(LaunchBuilder &) {
  return emitError("op '") << getOperationName()
                           << "' has no engine counterpart; run "
                              "dist-split-stages";
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

SmallVector<WeightUse> QKNormOp::getWeightUses() {
  return vectors({getQWeightAttr(), getKWeightAttr()});
}

LogicalResult QKNormOp::describeLaunch(LaunchBuilder &) {
  return emitError("op '") << getOperationName()
                           << "' has no engine counterpart; run "
                              "model-decompose-qk-norm";
}

SmallVector<WeightUse> RMSScaleOp::getWeightUses() {
  return vectors(getWeightAttr());
}

SmallVector<WeightUse> ScaleColumnsOp::getWeightUses() {
  return vectors(getWeightAttr());
}

SmallVector<StateUse> KVAppendOp::getStateUses() {
  return {{getCacheAttr(), /*reads=*/false, /*writes=*/true}};
}

LogicalResult KVAppendOp::describeLaunch(LaunchBuilder &launch) {
  launch.calls("kv_append")
      .operands()
      .stepInput("slots")
      .writesState(getCacheAttr(), "k")
      .writesState(getCacheAttr(), "v");
  return success();
}

SmallVector<StateUse> AttentionOp::getStateUses() {
  return {{getCacheAttr(), /*reads=*/true, /*writes=*/false}};
}

LogicalResult AttentionOp::describeLaunch(LaunchBuilder &launch) {
  auto cache = launch.lookup<KVCacheOp>(getCacheAttr());
  launch.calls("attention")
      .operands()
      .state(getCacheAttr(), "k")
      .state(getCacheAttr(), "v")
      .stepInput("positions")
      .stepInput("sequences")
      .stepInput("block_table")
      .constant("head_dim", static_cast<int64_t>(cache.getHeadDim()))
      .attributes({"scale"});
  return success();
}

SmallVector<StateUse> DecayScanOp::getStateUses() {
  return {{getStateAttr(), /*reads=*/true, /*writes=*/true}};
}

LogicalResult DecayScanOp::describeLaunch(LaunchBuilder &launch) {
  launch.calls("decay_scan")
      .operands()
      .stepInput("positions")
      .stepInput("sequences")
      .writesState(getStateAttr(), "state")
      .attributes({"heads", "rate"})
      .rankConstant("head_start");
  return success();
}

//===----------------------------------------------------------------------===//
// Rows that survive steps
//===----------------------------------------------------------------------===//

SmallVector<StateUse> KeepRowsOp::getStateUses() {
  return {{getStateAttr(), /*reads=*/false, /*writes=*/true}};
}

LogicalResult KeepRowsOp::describeLaunch(LaunchBuilder &launch) {
  launch.calls("keep_rows")
      .operands()
      .stepInput("slots")
      .writesState(getStateAttr(), "rows");
  return success();
}

SmallVector<StateUse> KeepNextRowsOp::getStateUses() {
  return {{getStateAttr(), /*reads=*/false, /*writes=*/true}};
}

Value KeepNextRowsOp::getRowOperand() { return getRows(); }

LogicalResult KeepNextRowsOp::describeLaunch(LaunchBuilder &launch) {
  launch.calls("keep_next_rows")
      .operands()
      .stepInput("positions")
      .stepInput("sequences")
      .stepInput("block_table")
      .writesState(getStateAttr(), "rows");
  return success();
}

SmallVector<StateUse> KeptRowsOp::getStateUses() {
  return {{getStateAttr(), /*reads=*/true, /*writes=*/false}};
}

LogicalResult KeptRowsOp::describeLaunch(LaunchBuilder &launch) {
  launch.calls("kept_rows").stepInput("slots").state(getStateAttr(), "rows");
  return success();
}

//===----------------------------------------------------------------------===//
// Mixture of experts
//===----------------------------------------------------------------------===//

SmallVector<WeightUse> RouterOp::getWeightUses() {
  return vectors(getBiasAttr());
}

SmallVector<WeightUse> ExpertsOp::getWeightUses() {
  SmallVector<WeightUse> uses;
  for (auto symbol : getGateUp().getAsRange<FlatSymbolRefAttr>())
    uses.push_back({symbol, WeightRead::Members, getExperts(),
                    /*widens=*/false, /*joins=*/1});
  uses.push_back({getDownAttr(), WeightRead::Members, getExperts()});
  return uses;
}

LogicalResult ExpertsOp::describeLaunch(LaunchBuilder &launch) {
  if (getGateUp().size() != 1)
    return emitError("expected gate and up in one weight; run "
                     "dist-fuse-projections");
  auto gateUp = cast<FlatSymbolRefAttr>(getGateUp()[0]);
  launch.calls("experts")
      .operands()
      .stored(gateUp)
      .stored(getDownAttr())
      .rankConstant("expert_start")
      .constant("act_group", getActGroup().value_or(0));
  return success();
}

SmallVector<WeightUse> ExpertsOfCodesOp::getWeightUses() {
  return {{getGateUpAttr(), WeightRead::Members, getExperts()},
          {getDownAttr(), WeightRead::Members, getExperts()}};
}

LogicalResult ExpertsOfCodesOp::describeLaunch(LaunchBuilder &launch) {
  launch.calls("experts_of_codes")
      .operands()
      .stored(getGateUpAttr())
      .stored(getDownAttr())
      .rankConstant("expert_start")
      .constant("act_group", static_cast<int64_t>(getActGroup()));
  return success();
}

//===----------------------------------------------------------------------===//
// Candidates
//===----------------------------------------------------------------------===//

LogicalResult TopCandidatesOp::describeLaunch(LaunchBuilder &launch) {
  launch.calls("top_candidates").operands().rankConstant("vocab_start");
  return success();
}

SmallVector<WeightUse> MapTokensOp::getWeightUses() {
  return {{getTableAttr(), WeightRead::Rows}};
}
