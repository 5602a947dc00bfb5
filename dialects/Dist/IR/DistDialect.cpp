#include "dialects/Dist/IR/DistDialect.h"

#include "dialects/Dist/Interfaces/Sharding.h"

#include "mlir/IR/BuiltinOps.h"

using namespace mlir;
using namespace saddle::dist;

#include "dialects/Dist/IR/DistDialect.cpp.inc"
#include "dialects/Dist/Interfaces/CollectiveOpInterface.cpp.inc"

void DistDialect::initialize() {
  registerAttributes();
  addOperations<
#define GET_OP_LIST
#include "dialects/Dist/IR/DistOps.cpp.inc"
      >();
  attachModelRules(getContext());
}

LogicalResult DistDialect::verifyOperationAttribute(Operation *op,
                                                    NamedAttribute attr) {
  StringRef name = attr.getName();
  Attribute value = attr.getValue();
  if (name == kShardingAttrName) {
    if (isa<ShardingAttr>(value))
      return success();
    return op->emitOpError("'dist.sharding' must be a #dist.sharding");
  }
  if (name == kShardingsAttrName) {
    auto array = dyn_cast<ArrayAttr>(value);
    if (!array || !llvm::all_of(array, llvm::IsaPred<ShardingAttr>))
      return op->emitOpError(
          "'dist.shardings' must be an array of #dist.sharding");
    if (array.size() != op->getNumResults())
      return op->emitOpError(
                 "'dist.shardings' must have one entry for each of ")
             << op->getNumResults() << " results, but has " << array.size();
    return success();
  }
  if (name == kVocabStartAttrName || name == kExpertStartAttrName ||
      name == kHeadStartAttrName) {
    if (isa<RankValueAttr>(value))
      return success();
    return op->emitOpError("'") << name << "' must be a #dist.rank_value";
  }
  if (name == kTopologyAttrName) {
    if (isa<DictionaryAttr>(value) && isa<ModuleOp>(op))
      return success();
    return op->emitOpError(
        "'dist.topology' must be a dictionary on the module");
  }
  if (name == kStageAttrName) {
    if (auto stage = dyn_cast<IntegerAttr>(value); stage && stage.getInt() >= 0)
      return success();
    return op->emitOpError("'dist.stage' must be an integer of at least 0");
  }
  if (name == kEntryAttrName) {
    if (isa<StringAttr>(value))
      return success();
    return op->emitOpError("'dist.entry' must be a string");
  }
  if (name == kTokenAxisAttrName) {
    if (isa<AxesAttr>(value))
      return success();
    return op->emitOpError("'dist.token_axis' must be a #dist.axes");
  }
  if (name == kChoicesAttrName) {
    auto choices = dyn_cast<DictionaryAttr>(value);
    if (choices && llvm::all_of(choices, [](NamedAttribute choice) {
          return isa<StringAttr>(choice.getValue());
        }))
      return success();
    return op->emitOpError("'dist.choices' must be a dictionary of strings");
  }
  return op->emitOpError("attribute '") << name << "' is not known";
}
