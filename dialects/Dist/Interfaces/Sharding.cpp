#include "dialects/Dist/Interfaces/Sharding.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::dist;

#include "dialects/Dist/Interfaces/ShardingRuleOpInterface.cpp.inc"

//===----------------------------------------------------------------------===//
// ShardingState
//===----------------------------------------------------------------------===//

ShardingState::ShardingState(ModuleOp module) : symbols(module) {
  name = FlatSymbolRefAttr::get(module.getContext(), kMeshName);
  if (auto mesh = symbols.lookup<MeshOp>(kMeshName)) {
    value = toMesh(mesh);
    found = true;
  }
}

Operation *ShardingState::symbol(StringRef name) const {
  return symbols.lookup(name);
}

ShardingAttr ShardingState::ofSymbol(FlatSymbolRefAttr symbol) const {
  Operation *op = symbols.lookup(symbol.getValue());
  return op ? op->getAttrOfType<ShardingAttr>(DistDialect::kShardingAttrName)
            : ShardingAttr();
}

AxisRef ShardingState::axisOf(FlatSymbolRefAttr symbol, unsigned dim) const {
  ShardingAttr sharding = ofSymbol(symbol);
  return sharding && dim < sharding.getDims().size() ? sharding.getDims()[dim]
                                                     : AxisRef();
}

ShardingAttr ShardingState::ofValue(Value value) const {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type)
    return {};
  auto result = dyn_cast<OpResult>(value);
  if (!result) {
    auto argument = cast<BlockArgument>(value);
    auto function = cast<func::FuncOp>(argument.getOwner()->getParentOp());
    auto sharding = function.getArgAttrOfType<ShardingAttr>(
        argument.getArgNumber(), DistDialect::kShardingAttrName);
    return sharding ? sharding : replicated(type.getRank());
  }
  if (auto reshard = dyn_cast<ReshardOp>(result.getOwner()))
    return reshard.getTo();
  auto shardings = result.getOwner()->getAttrOfType<ArrayAttr>(
      DistDialect::kShardingsAttrName);
  return shardings ? cast<ShardingAttr>(shardings[result.getResultNumber()])
                   : ShardingAttr();
}

ShardingAttr ShardingState::matrix(AxisRef rows, AxisRef columns,
                                   ArrayRef<AxisRef> unreduced) const {
  return ShardingAttr::get(name.getContext(), name, {rows, columns}, unreduced);
}

RankedTensorType ShardingState::shareOf(RankedTensorType type,
                                        ShardingAttr sharding) const {
  if (static_cast<int64_t>(sharding.getDims().size()) != type.getRank() ||
      !llvm::all_of(sharding.getDims(),
                    [&](AxisRef axis) { return !axis || value.has(axis); }))
    return {};
  return localType(type, sharding, value);
}

//===----------------------------------------------------------------------===//
// RuleBuilder
//===----------------------------------------------------------------------===//

FailureOr<ShardingAttr> RuleBuilder::weight(FlatSymbolRefAttr symbol) {
  if (ShardingAttr sharding = state.ofSymbol(symbol)) {
    auto weight = dyn_cast<model::WeightOp>(state.symbol(symbol.getValue()));
    size_t rank = weight ? weight.getWeightType().getRank() : 1;
    if (sharding.getDims().size() == rank)
      return sharding;
    return op->emitError() << symbol << " has sharding " << sharding
                           << " of another rank";
  }
  return op->emitError() << symbol
                         << " has no sharding; run dist-seed-shardings first";
}

AxisRef RuleBuilder::axisOf(Value value, unsigned dim) const {
  ShardingAttr sharding = state.ofValue(value);
  return sharding ? sharding.getDims()[dim] : AxisRef();
}

AxisRef RuleBuilder::replicaAxis() const {
  return rowsOf(op->getParentOfType<func::FuncOp>().getArgument(0));
}

void RuleBuilder::operandsWhole() {
  for (Value operand : op->getOperands()) {
    auto type = dyn_cast<RankedTensorType>(operand.getType());
    rule.operands.push_back(type ? state.replicated(type.getRank())
                                 : ShardingAttr());
  }
}

void RuleBuilder::resultsWhole() {
  for (Value result : op->getResults())
    rule.results.push_back(
        state.replicated(cast<RankedTensorType>(result.getType()).getRank()));
}

void RuleBuilder::rowByRow() {
  AxisRef rows;
  if (auto chosen =
          op->getAttrOfType<AxesAttr>(DistDialect::kTokenAxisAttrName)) {
    if (!chosen.getAxes().empty())
      rows = chosen.getAxes().front();
  } else {
    for (Value operand : op->getOperands())
      if (AxisRef axis = rowsOf(operand))
        rows = axis;
  }
  for (size_t i = 0; i < op->getNumOperands(); ++i)
    operand(rows, AxisRef());
  for (size_t i = 0; i < op->getNumResults(); ++i)
    result(rows, AxisRef());
}

void RuleBuilder::pointwise() {
  AxisRef rows = rowsOf(op->getOperand(0)),
          columns = columnsOf(op->getOperand(0));
  for (size_t i = 0; i < op->getNumOperands(); ++i)
    operand(rows, columns);
  for (size_t i = 0; i < op->getNumResults(); ++i)
    result(rows, columns);
}

LogicalResult RuleBuilder::verifyOperands() const {
  for (auto [index, operand] : llvm::enumerate(op->getOperands())) {
    auto type = dyn_cast<RankedTensorType>(operand.getType());
    if (!type)
      continue;
    ShardingAttr sharding = state.ofValue(operand);
    if (!sharding)
      return op->emitError("operand ")
             << index << " has no sharding; run dist-propagate first";
    if (static_cast<int64_t>(sharding.getDims().size()) != type.getRank())
      return op->emitError("operand ")
             << index << " of type " << type << " has sharding " << sharding
             << " of another rank";
  }
  return success();
}

FailureOr<ShardingRule>
saddle::dist::getShardingRule(Operation *op, const ShardingState &state) {
  RuleBuilder builder(op, state);
  if (failed(builder.verifyOperands()))
    return failure();
  if (op->hasTrait<OpTrait::IsTerminator>()) {
    // What a function returns, every rank has.
    builder.operandsWhole();
    return std::move(builder.rule);
  }
  auto ruled = dyn_cast<ShardingRuleOpInterface>(op);
  if (!ruled)
    return op->emitError("op '") << op->getName() << "' has no sharding rule";
  if (failed(ruled.buildRule(builder)))
    return failure();
  assert(builder.rule.operands.size() == op->getNumOperands() &&
         builder.rule.results.size() == op->getNumResults() &&
         "a rule names every operand and every result");
  return std::move(builder.rule);
}

//===----------------------------------------------------------------------===//
// Localizer
//===----------------------------------------------------------------------===//

void Localizer::setStart(StringRef attrName, int64_t extent, AxisRef axis) {
  RankIndex index = state.mesh().rankIndex(axis);
  int64_t step = axis ? extent / state.mesh().factor(axis) : 0;
  op->setAttr(attrName, RankValueAttr::get(op->getContext(), 0, index.divisor,
                                           index.modulus, step));
}
