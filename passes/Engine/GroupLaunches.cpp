// Groups of the kernel level: opened op by op, or one launch that computes the
// whole body.

#include "passes/Engine/EntryConverter.h"

#include "llvm/ADT/StringMap.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::engine;

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
  for (Operation &op : body.without_terminator())
    if (failed(checkWeights(&op)))
      return failure();
  std::optional<StringRef> implementation = group.getImplementation();
  if (!implementation)
    return group.emitError("group \"")
           << group.getSignature()
           << "\" has no implementation; run kernel-form-groups";
  const Fusion *fusion = target.fusion(*implementation);
  auto fused = fusion ? fusion->launch(group) : std::nullopt;
  if (!fused)
    return group.emitError("target ")
           << target.name() << " has no launch \"" << *implementation
           << "\" for the ops of group \"" << group.getSignature()
           << "\"; run kernel-form-groups for this target";
  return launchFused(*fused);
}

LogicalResult EntryConverter::launchFused(const FusedLaunch &fused) {
  llvm::StringMap<std::pair<Value, Value>> caches;
  auto cacheOf = [&](StringRef symbol) {
    auto [entry, isNew] = caches.try_emplace(symbol);
    if (isNew)
      entry->second = cache(fused.place, symbol);
    return entry->second;
  };
  auto operand = [&](const LaunchOperand &operand) -> Value {
    switch (operand.kind) {
    case LaunchOperand::Kind::Value:
      return buffers.lookup(operand.tensor);
    case LaunchOperand::Kind::Weight:
      return weight(fused.place, operand.symbol);
    case LaunchOperand::Kind::Keys:
      return cacheOf(operand.symbol).first;
    case LaunchOperand::Kind::Values:
      return cacheOf(operand.symbol).second;
    case LaunchOperand::Kind::Slots:
      return slots;
    }
    llvm_unreachable("all kinds are listed");
  };
  for (const LaunchOperand &output : fused.outputs)
    if (output.kind == LaunchOperand::Kind::Value)
      results(output.tensor.getDefiningOp());
  auto outputs = llvm::map_to_vector(fused.outputs, operand);
  auto inputs = llvm::map_to_vector(fused.inputs, operand);
  return launch(fused.place, fused.op, fused.constants, inputs, outputs,
                fused.exchange ? shared.rankGroups(fused.exchange)
                               : FlatSymbolRefAttr());
}
