#include "dialects/Model/IR/ModelDialect.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace saddle::model;

#include "dialects/Model/IR/ModelDialect.cpp.inc"
#include "dialects/Model/Interfaces/LaunchOpInterface.cpp.inc"
#include "dialects/Model/Interfaces/StateOpInterface.cpp.inc"
#include "dialects/Model/Interfaces/SymbolUserInterfaces.cpp.inc"
#include "dialects/Model/Interfaces/WeightOpInterface.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/Model/IR/ModelTypes.cpp.inc"

/// Everything in the dialect is a symbol or says what it launches.
template <typename... Ops>
static constexpr bool symbolsOrLaunches() {
  return ((Ops::template hasTrait<SymbolOpInterface::Trait>() ||
           (Ops::template hasTrait<LaunchOpInterface::Trait>() &&
            Ops::template hasTrait<DeclaresSymbols>())) &&
          ...);
}
static_assert(symbolsOrLaunches<
#define GET_OP_LIST
#include "dialects/Model/IR/ModelOps.cpp.inc"
                  >(),
              "an op of a step is a Model_StepOp");

void ModelDialect::initialize() {
  registerAttributes();
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/Model/IR/ModelTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/Model/IR/ModelOps.cpp.inc"
      >();
}

static constexpr llvm::StringLiteral kLimitNames[] = {
    "max_batch", "max_seq_len", "prefill_chunk", "page_size"};

LogicalResult ModelDialect::verifyOperationAttribute(Operation *op,
                                                     NamedAttribute attr) {
  if (attr.getName() == kPhaseAttrName) {
    auto phase = dyn_cast<StringAttr>(attr.getValue());
    if (!phase || (phase != "decode" && phase != "prefill"))
      return op->emitOpError("'model.phase' must be \"decode\" or \"prefill\", "
                             "but got ")
             << attr.getValue();
    return success();
  }
  if (attr.getName() == kProgramAttrName) {
    if (!isa<StringAttr>(attr.getValue()))
      return op->emitOpError("'model.program' must be a name, but got ")
             << attr.getValue();
    return success();
  }
  if (attr.getName() == kOutputsAttrName) {
    auto names = dyn_cast<ArrayAttr>(attr.getValue());
    if (!names || !llvm::all_of(names, llvm::IsaPred<StringAttr>))
      return op->emitOpError("'model.outputs' must be a list of names, but "
                             "got ")
             << attr.getValue();
    return success();
  }
  if (!isa<ModuleOp>(op))
    return op->emitOpError("attribute ")
           << attr.getName() << " is not known on this op";
  if (attr.getName() == kLimitsAttrName) {
    auto limits = dyn_cast<DictionaryAttr>(attr.getValue());
    if (!limits)
      return op->emitOpError("'model.limits' must be a dictionary");
    for (StringRef name : kLimitNames) {
      auto value = limits.getAs<IntegerAttr>(name);
      if (!value || value.getInt() <= 0)
        return op->emitOpError("'model.limits' needs a positive integer '")
               << name << "'";
    }
    return success();
  }
  if (attr.getName() == kConfigAttrName) {
    if (!isa<DictionaryAttr>(attr.getValue()))
      return op->emitOpError("'model.config' must be a dictionary");
    return success();
  }
  if (attr.getName() == kCheckpointsAttrName) {
    auto names = dyn_cast<DictionaryAttr>(attr.getValue());
    if (!names || !llvm::all_of(names, [](NamedAttribute name) {
          return isa<StringAttr>(name.getValue());
        }))
      return op->emitOpError("'model.checkpoints' must map names to "
                             "fingerprints");
    return success();
  }
  if (attr.getName() == kIgnoredSourcesAttrName) {
    auto sources = dyn_cast<DictionaryAttr>(attr.getValue());
    if (!sources || !llvm::all_of(sources, [](NamedAttribute source) {
          auto info = dyn_cast<DictionaryAttr>(source.getValue());
          auto type = info ? info.getAs<TypeAttr>("type") : TypeAttr();
          return type && isa<RankedTensorType>(type.getValue()) &&
                 info.getAs<StringAttr>("reason") &&
                 info.getAs<IntegerAttr>("stack");
        }))
      return op->emitOpError("'model.ignored_sources' must map tensor names to "
                             "a reason, a stack and a type");
    return success();
  }
  if (attr.getName() == kStoredPartsAttrName) {
    auto parts = dyn_cast<ArrayAttr>(attr.getValue());
    if (!parts || !llvm::all_of(parts, [](Attribute each) {
          auto part = dyn_cast<DictionaryAttr>(each);
          return part && part.getAs<StringAttr>("name") &&
                 part.getAs<StringAttr>("tensor") &&
                 part.getAs<BoolAttr>("columns") &&
                 llvm::all_of(
                     ArrayRef<StringRef>{"stack", "first", "count", "of"},
                     [&](StringRef number) {
                       return bool(part.getAs<IntegerAttr>(number));
                     });
        }))
      return op->emitOpError("'model.stored_parts' must be a list of "
                             "dictionaries with name, tensor, stack, columns, "
                             "first, count and of");
    return success();
  }
  return op->emitOpError("attribute ")
         << attr.getName() << " is not known on this op";
}

StringRef ModelDialect::getProgram(Operation *function) {
  auto name = function->getAttrOfType<StringAttr>(kProgramAttrName);
  return name ? name.getValue() : StringRef(kMainProgram);
}

FailureOr<Limits> Limits::get(ModuleOp module) {
  auto dict =
      module->getAttrOfType<DictionaryAttr>(ModelDialect::kLimitsAttrName);
  if (!dict)
    return module.emitError("module has no 'model.limits' attribute");
  auto value = [&](StringRef name) {
    return dict.getAs<IntegerAttr>(name).getInt();
  };
  return Limits{value(kLimitNames[0]), value(kLimitNames[1]),
                value(kLimitNames[2]), value(kLimitNames[3])};
}

void Limits::set(ModuleOp module) const {
  Builder builder(module.getContext());
  int64_t values[] = {maxBatch, maxSeqLen, prefillChunk, pageSize};
  SmallVector<NamedAttribute> attrs;
  for (auto [name, value] : llvm::zip_equal(kLimitNames, values))
    attrs.push_back(
        builder.getNamedAttr(name, builder.getI64IntegerAttr(value)));
  module->setAttr(ModelDialect::kLimitsAttrName,
                  builder.getDictionaryAttr(attrs));
}
