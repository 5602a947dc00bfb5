// Syntax and checks of the `model` attributes.

#include "dialects/Model/IR/ModelDialect.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace saddle::model;

#define GET_ATTRDEF_CLASSES
#include "dialects/Model/IR/ModelAttrs.cpp.inc"

void ModelDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/Model/IR/ModelAttrs.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// Dimensions
//===----------------------------------------------------------------------===//

/// "q_heads" x 128, or "hidden". Null after an error.
static DimAttr parseBareDim(AsmParser &parser) {
  SMLoc loc = parser.getCurrentLocation();
  std::string name;
  int64_t unit = 1;
  if (parser.parseString(&name) ||
      (succeeded(parser.parseOptionalKeyword("x")) &&
       parser.parseInteger(unit)))
    return {};
  return DimAttr::getChecked([&] { return parser.emitError(loc); },
                             parser.getContext(),
                             parser.getBuilder().getStringAttr(name), unit);
}

static void printBareDim(AsmPrinter &printer, DimAttr dim) {
  printer << dim.getName();
  if (dim.getUnit() != 1)
    printer << " x " << dim.getUnit();
}

Attribute DimAttr::parse(AsmParser &parser, Type) {
  if (parser.parseLess())
    return {};
  DimAttr dim = parseBareDim(parser);
  if (!dim || parser.parseGreater())
    return {};
  return dim;
}

void DimAttr::print(AsmPrinter &printer) const {
  printer << '<';
  printBareDim(printer, *this);
  printer << '>';
}

LogicalResult DimAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                              StringAttr name, int64_t unit) {
  if (unit > 0)
    return success();
  return emitError() << "expected a positive unit of dimension " << name
                     << ", but got " << unit;
}

ParseResult saddle::model::parseDims(OpAsmParser &parser, ArrayAttr &dims) {
  SmallVector<Attribute> list;
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, [&] {
        list.push_back(parseBareDim(parser));
        return success(list.back() != nullptr);
      }))
    return failure();
  dims = parser.getBuilder().getArrayAttr(list);
  return success();
}

void saddle::model::printDims(OpAsmPrinter &printer, Operation *,
                              ArrayAttr dims) {
  printer << '[';
  llvm::interleaveComma(dims.getAsRange<DimAttr>(), printer,
                        [&](DimAttr dim) { printBareDim(printer, dim); });
  printer << ']';
}
