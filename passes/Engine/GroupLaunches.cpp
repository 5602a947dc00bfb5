// Groups of the kernel level: opened op by op, or one launch of a kernel that
// computes the whole body.

#include "passes/Engine/EntryConverter.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::engine;

/// The only op of that kind in a group; kernel-select has seen that there is
/// one.
template <typename OpTy>
static OpTy soleOp(kernel::GroupOp group) {
  return *group.getBody().front().getOps<OpTy>().begin();
}

LogicalResult EntryConverter::convertOp(kernel::GroupOp group) {
  Block &body = group.getBody().front();
  for (auto [argument, input] :
       llvm::zip_equal(body.getArguments(), group.getInputs())) {
    if (Value known = buffers.lookup(input))
      buffers[argument] = known;
    if (auto known = extents.find(input); known != extents.end())
      extents[argument] = Extent(known->second);
  }
  // The buffer of a yielded value is made when its op is converted, so the
  // outputs must be known by their inner names.
  Operation *yield = body.getTerminator();
  for (auto [inner, outer] :
       llvm::zip_equal(yield->getOperands(), group.getResults()))
    if (outputs.contains(outer))
      outputs.insert(inner);
  fusion = shared.fusion(group);
  LogicalResult converted = convertBody(group);
  fusion = {};
  for (auto [inner, outer] :
       llvm::zip_equal(yield->getOperands(), group.getResults())) {
    buffers[outer] = Value(buffers.lookup(inner));
    extents[outer] = Extent(extents.lookup(inner));
  }
  return converted;
}

LogicalResult EntryConverter::convertBody(kernel::GroupOp group) {
  Block &body = group.getBody().front();
  if (group.getImplementation() == kernel::kInlineImplementation) {
    for (Operation &op : body.without_terminator())
      if (failed(convertAny(&op)))
        return failure();
    return success();
  }
  if (group.getImplementation() != kernel::kKernelImplementation)
    return group.emitError("expected implementation \"")
           << kernel::kInlineImplementation << "\" or \""
           << kernel::kKernelImplementation << "\"; run kernel-select";
  for (Operation &op : body.without_terminator())
    if (failed(checkWeights(&op)))
      return failure();
  if (group.getSignature() == "add_rms_norm")
    return launchAddRMSNorm(group);
  if (group.getSignature() == "qk_norm_rope_kv_append" ||
      group.getSignature() == "qk_norm_all_reduce_rope_kv_append")
    return launchQKNorm(group);
  return group.emitError("signature \"")
         << group.getSignature() << "\" has no kernel";
}

LogicalResult EntryConverter::launchAddRMSNorm(kernel::GroupOp group) {
  auto add = soleOp<model::AddOp>(group);
  auto norm = soleOp<model::RMSNormOp>(group);
  Value sum = results(add).front(), out = results(norm).front();
  return launch(norm, "add_rms_norm", {constant("eps", norm.getEpsAttr())},
                {buffers.lookup(add->getOperand(0)),
                 buffers.lookup(add->getOperand(1)),
                 weight(norm, norm.getWeight())},
                {sum, out});
}

LogicalResult EntryConverter::launchQKNorm(kernel::GroupOp group) {
  auto sums = soleOp<model::SumOfSquaresOp>(group);
  auto append = soleOp<model::KVAppendOp>(group);
  model::RMSScaleOp scales[2]; // of q and of k
  for (auto scale : group.getBody().front().getOps<model::RMSScaleOp>())
    scales[scale.getColumn()] = scale;
  auto ropeQ = cast<model::RopeOp>(*scales[0]->user_begin());
  SmallVector<Value> kv = state(append, append.getCache());
  Value q = buffers.lookup(sums.getInputs()[0]);
  Value k = buffers.lookup(sums.getInputs()[1]);
  Value v = buffers.lookup(append.getV());
  Value out = results(ropeQ).front();
  // The sums over all ranks of the norm, exchanged inside the kernel.
  FlatSymbolRefAttr groups;
  for (auto reduce : group.getBody().front().getOps<dist::AllReduceOp>())
    groups = shared.rankGroups(reduce.getAxesAttr());
  return launch(sums, group.getSignature(),
                {constant("q_divisor", scales[0].getDivisor()),
                 constant("k_divisor", scales[1].getDivisor()),
                 constant("eps", scales[0].getEpsAttr()),
                 constant("head_dim", ropeQ.getHeadDim()),
                 constant("rotary_dim", ropeQ.getRotaryDim()),
                 constant("theta", ropeQ.getThetaAttr())},
                {q, k, v, weight(scales[0], scales[0].getWeight()),
                 weight(scales[1], scales[1].getWeight()),
                 buffers.lookup(ropeQ.getPositions()), slots},
                {out, kv[0], kv[1]}, groups);
}
