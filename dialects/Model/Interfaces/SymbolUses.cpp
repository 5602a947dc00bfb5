#include "dialects/Model/IR/ModelDialect.h"

#include "llvm/ADT/DenseMap.h"

using namespace mlir;
using namespace saddle::model;

/// Discardable attributes are not the op's own.
static bool isOwn(NamedAttribute attr) {
  return !attr.getName().getValue().contains('.');
}

LogicalResult saddle::model::verifySymbolsDeclared(Operation *op) {
  SmallVector<Attribute, 4> declared;
  if (auto user = dyn_cast<WeightUserOpInterface>(op))
    for (const WeightUse &use : user.getWeightUses())
      declared.push_back(use.symbol);
  if (auto user = dyn_cast<StateUserOpInterface>(op))
    for (const StateUse &use : user.getStateUses())
      declared.push_back(use.symbol);
  Attribute stray;
  auto check = [&](Attribute attr) {
    if (isa<SymbolRefAttr>(attr) && !llvm::is_contained(declared, attr))
      stray = attr;
    else if (auto array = dyn_cast<ArrayAttr>(attr))
      for (Attribute element : array)
        if (isa<SymbolRefAttr>(element) &&
            !llvm::is_contained(declared, element))
          stray = element;
  };
  // Every verification comes here, so no dictionary is made of properties.
  if (op->isRegistered()) {
    for (StringAttr name : op->getName().getAttributeNames())
      if (auto attr = op->getInherentAttr(name); attr && *attr)
        check(*attr);
  } else {
    for (NamedAttribute attr : op->getAttrs())
      check(attr.getValue());
  }
  if (!stray)
    return success();
  return op->emitOpError()
         << "names " << stray << ", which it declares neither as a weight "
         << "(WeightUserOpInterface) nor as state (StateUserOpInterface)";
}

void saddle::model::replaceWeights(
    WeightUserOpInterface op,
    llvm::function_ref<FlatSymbolRefAttr(const WeightUse &)> change) {
  llvm::DenseMap<Attribute, Attribute> changed;
  for (const WeightUse &use : op.getWeightUses())
    changed[use.symbol] = change(use);
  auto replace = [&](Attribute attr) {
    Attribute other = changed.lookup(attr);
    return other ? other : attr;
  };
  for (NamedAttribute attr : SmallVector<NamedAttribute>(op->getAttrs())) {
    if (!isOwn(attr))
      continue;
    Attribute value = replace(attr.getValue());
    if (auto array = dyn_cast<ArrayAttr>(value))
      value =
          ArrayAttr::get(op->getContext(), llvm::map_to_vector(array, replace));
    if (value != attr.getValue())
      op->setAttr(attr.getName(), value);
  }
}
