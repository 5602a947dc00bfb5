#include "passes/Target/Matchers.h"

using namespace mlir;
using namespace saddle;

model::LinearOp saddle::quantisedReader(Value value) {
  if (!value.hasOneUse())
    return {};
  auto linear = dyn_cast<model::LinearOp>(*value.user_begin());
  return linear && linear.getActGroup() ? linear : model::LinearOp();
}

SmallVector<Operation *> QKNormOps::ops() const {
  SmallVector<Operation *> ops = {sums};
  if (reduce)
    ops.push_back(reduce);
  ops.append({scaleQ, scaleK, ropeQ, ropeK, append});
  if (query)
    ops.append({cacheK, cacheV, query});
  llvm::sort(ops,
             [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
  return ops;
}

ArrayRef<Fusion::Part> QKNormOps::pattern() {
  static const Fusion::Part parts[] = {
      Fusion::part<model::SumOfSquaresOp>(),
      Fusion::optionalPart<dist::AllReduceOp>(),
      Fusion::part<model::RMSScaleOp>(),
      Fusion::part<model::RMSScaleOp>(),
      Fusion::part<model::RopeOp>(),
      Fusion::part<model::RopeOp>(),
      Fusion::optionalPart<model::ScaleOp>(),
      Fusion::optionalPart<model::ScaleOp>(),
      Fusion::optionalPart<model::ScaleOp>(),
      Fusion::part<model::KVAppendOp>()};
  return parts;
}

std::string QKNormOps::signature(ArrayRef<Operation *> ops) {
  std::string signature = "qk_norm";
  if (llvm::any_of(ops, llvm::IsaPred<dist::AllReduceOp>))
    signature += "_all_reduce";
  signature += "_rope";
  if (llvm::any_of(ops, llvm::IsaPred<model::ScaleOp>))
    signature += "_scale";
  return signature + "_kv_append";
}

/// The scales of a cache between rotation and append, one behind the other as
/// they are built; false for anything else that stands there.
static bool matchScales(QKNormOps &ops) {
  ops.cacheK = soleUser<model::ScaleOp>(ops.ropeK.getResult());
  if (!ops.cacheK)
    return true;
  ops.append = soleUser<model::KVAppendOp>(ops.cacheK.getResult());
  if (!ops.append)
    return false;
  ops.cacheV = ops.append.getV().getDefiningOp<model::ScaleOp>();
  ops.query = soleUser<model::ScaleOp>(ops.ropeQ.getResult());
  return ops.cacheV && ops.cacheV->hasOneUse() && ops.query &&
         ops.cacheK.getInverse() == 1 && ops.cacheV.getInverse() == 1 &&
         ops.query.getInverse() == 0 &&
         ops.query.getWeight() == ops.cacheK.getWeight() &&
         ops.ropeK->isBeforeInBlock(ops.cacheK) &&
         ops.cacheK->isBeforeInBlock(ops.cacheV) &&
         ops.cacheV->isBeforeInBlock(ops.query) &&
         ops.query->isBeforeInBlock(ops.append);
}

std::optional<QKNormOps> saddle::matchQKNorm(Operation *anchor) {
  QKNormOps found;
  found.sums = dyn_cast<model::SumOfSquaresOp>(anchor);
  if (!found.sums || found.sums.getInputs().size() != 2)
    return std::nullopt;
  Value sums = found.sums.getResult();
  if ((found.reduce = soleUser<dist::AllReduceOp>(sums)))
    sums = found.reduce.getResult();
  model::RMSScaleOp scales[2];
  for (Operation *user : sums.getUsers())
    if (auto scale = dyn_cast<model::RMSScaleOp>(user);
        scale && scale.getColumn() < 2) {
      if (scales[scale.getColumn()])
        return std::nullopt; // not clear which one the norm means
      scales[scale.getColumn()] = scale;
    }
  for (auto [scale, input] : llvm::zip_equal(scales, found.sums.getInputs()))
    if (!scale || scale.getInput() != input)
      return std::nullopt;
  found.scaleQ = scales[0];
  found.scaleK = scales[1];
  found.ropeQ = soleUser<model::RopeOp>(found.scaleQ.getResult());
  found.ropeK = soleUser<model::RopeOp>(found.scaleK.getResult());
  if (!found.ropeQ || !found.ropeK)
    return std::nullopt;
  if (!matchScales(found))
    return std::nullopt;
  Value keys =
      found.cacheK ? found.cacheK.getResult() : found.ropeK.getResult();
  found.append = soleUser<model::KVAppendOp>(keys);
  if (!found.append || found.append.getK() != keys)
    return std::nullopt;
  return found;
}

SmallVector<Operation *> NormGateOps::ops() const {
  SmallVector<Operation *> ops = {squares};
  if (reduce)
    ops.push_back(reduce);
  ops.append({scale, gate});
  return ops;
}

ArrayRef<Fusion::Part> NormGateOps::pattern() {
  static const Fusion::Part parts[] = {
      Fusion::part<model::SumOfSquaresOp>(),
      Fusion::optionalPart<dist::AllReduceOp>(),
      Fusion::part<model::RMSScaleOp>(), Fusion::part<model::SigmoidGateOp>()};
  return parts;
}

std::string NormGateOps::signature(ArrayRef<Operation *> ops) {
  return llvm::any_of(ops, llvm::IsaPred<dist::AllReduceOp>)
             ? "norm_all_reduce_gate"
             : "norm_gate";
}

std::optional<NormGateOps> saddle::matchNormGate(Operation *anchor) {
  NormGateOps found;
  found.squares = dyn_cast<model::SumOfSquaresOp>(anchor);
  if (!found.squares || found.squares.getInputs().size() != 1)
    return std::nullopt;
  Value sums = found.squares.getResult();
  if ((found.reduce = soleUser<dist::AllReduceOp>(sums)))
    sums = found.reduce.getResult();
  found.scale = soleUser<model::RMSScaleOp>(sums);
  if (!found.scale ||
      found.scale.getInput() != found.squares.getInputs().front())
    return std::nullopt;
  found.gate = soleUser<model::SigmoidGateOp>(found.scale.getResult());
  if (!found.gate || found.gate.getInput() != found.scale.getResult())
    return std::nullopt;
  return found;
}
