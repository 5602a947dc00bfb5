#include "dialects/Model/IR/ModelDialect.h"

using namespace mlir;
using namespace saddle::model;

LaunchBuilder &LaunchBuilder::calls(StringRef name) {
  callee = name;
  return *this;
}

LaunchBuilder &LaunchBuilder::operands() {
  for (Value value : op->getOperands())
    if (isa<RankedTensorType>(value.getType()))
      operand(value);
  return *this;
}

LaunchBuilder &LaunchBuilder::operand(Value value) {
  inputs.push_back({LaunchOperand::Kind::Value, value});
  return *this;
}

LaunchBuilder &LaunchBuilder::weights() {
  if (auto user = dyn_cast<WeightUserOpInterface>(op))
    for (const WeightUse &use : user.getWeightUses())
      weight(use.symbol);
  return *this;
}

LaunchBuilder &LaunchBuilder::weight(FlatSymbolRefAttr symbol) {
  inputs.push_back({LaunchOperand::Kind::Weight, {}, symbol});
  return *this;
}

LaunchBuilder &LaunchBuilder::stored(FlatSymbolRefAttr symbol) {
  inputs.push_back({LaunchOperand::Kind::Stored, {}, symbol});
  return *this;
}

LaunchBuilder &LaunchBuilder::state(FlatSymbolRefAttr symbol, StringRef part) {
  inputs.push_back({LaunchOperand::Kind::State, {}, symbol, part});
  return *this;
}

LaunchBuilder &LaunchBuilder::stepInput(StringRef name) {
  inputs.push_back({LaunchOperand::Kind::StepInput, {}, {}, name});
  return *this;
}

LaunchBuilder &LaunchBuilder::writesState(FlatSymbolRefAttr symbol,
                                          StringRef part) {
  written.push_back({LaunchOperand::Kind::State, {}, symbol, part});
  return *this;
}

LaunchBuilder &LaunchBuilder::constant(StringRef name, int64_t value) {
  Builder builder(op->getContext());
  constants.push_back(
      builder.getNamedAttr(name, builder.getI64IntegerAttr(value)));
  return *this;
}

LaunchBuilder &LaunchBuilder::constant(StringRef name, FloatAttr value) {
  constants.emplace_back(StringAttr::get(op->getContext(), name), value);
  return *this;
}

LaunchBuilder &LaunchBuilder::attributes(ArrayRef<StringRef> names) {
  for (StringRef name : names)
    constants.emplace_back(StringAttr::get(op->getContext(), name),
                           op->getAttr(name));
  return *this;
}

LaunchBuilder &LaunchBuilder::rankConstant(StringRef name) {
  rankConstants.push_back(name);
  return *this;
}

WeightOpInterface LaunchBuilder::lookupWeight(FlatSymbolRefAttr symbol) const {
  return lookup<WeightOpInterface>(symbol);
}

BlockArgument saddle::model::countedBy(Value value) {
  while (auto op = value.getDefiningOp<LaunchOpInterface>())
    value = op.getRowOperand();
  return dyn_cast<BlockArgument>(value);
}
