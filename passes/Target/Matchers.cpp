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
      Fusion::part<model::KVAppendOp>()};
  return parts;
}

std::string QKNormOps::signature(ArrayRef<Operation *> ops) {
  return llvm::any_of(ops, llvm::IsaPred<dist::AllReduceOp>)
             ? "qk_norm_all_reduce_rope_kv_append"
             : "qk_norm_rope_kv_append";
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
  found.append = soleUser<model::KVAppendOp>(found.ropeK.getResult());
  if (!found.append || found.append.getK() != found.ropeK.getResult())
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
