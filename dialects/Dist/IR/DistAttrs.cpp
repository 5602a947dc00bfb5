// Syntax and helpers of the `dist` attributes.

#include "dialects/Dist/IR/DistDialect.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace saddle::dist;

#include "dialects/Dist/IR/DistEnums.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/Dist/IR/DistAttrs.cpp.inc"

void DistDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/Dist/IR/DistAttrs.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// Axis references
//===----------------------------------------------------------------------===//

static void printAxis(llvm::raw_ostream &os, AxisRef axis) {
  os << '"' << axis.name.getValue() << '"';
  if (!axis.isWhole())
    os << ":(" << axis.pre << ')' << axis.size;
}

void saddle::dist::printAxes(llvm::raw_ostream &os, ArrayRef<AxisRef> axes) {
  os << '[';
  llvm::interleaveComma(axes, os, [&](AxisRef axis) { printAxis(os, axis); });
  os << ']';
}

/// "tp" or "tp":(2)4.
static ParseResult parseAxis(AsmParser &parser, AxisRef &axis) {
  std::string name;
  if (parser.parseString(&name))
    return failure();
  axis.name = parser.getBuilder().getStringAttr(name);
  if (failed(parser.parseOptionalColon()))
    return success();
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLParen() || parser.parseInteger(axis.pre) ||
      parser.parseRParen() || parser.parseInteger(axis.size))
    return failure();
  if (axis.pre <= 0 || axis.size <= 0)
    return parser.emitError(loc, "expected a positive axis factor");
  return success();
}

static ParseResult parseAxes(AsmParser &parser,
                             SmallVectorImpl<AxisRef> &axes) {
  return parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, [&] {
    return parseAxis(parser, axes.emplace_back());
  });
}

//===----------------------------------------------------------------------===//
// ShardingAttr
//===----------------------------------------------------------------------===//

void ShardingAttr::print(AsmPrinter &printer) const {
  printer << '<' << getMesh() << ", [";
  llvm::interleaveComma(getDims(), printer, [&](AxisRef axis) {
    if (axis)
      printAxis(printer.getStream(), axis);
    else
      printer << '_';
  });
  printer << ']';
  if (!getUnreduced().empty()) {
    printer << " unreduced ";
    printAxes(printer.getStream(), getUnreduced());
  }
  printer << '>';
}

Attribute ShardingAttr::parse(AsmParser &parser, Type) {
  FlatSymbolRefAttr mesh;
  SmallVector<AxisRef> dims, unreduced;
  auto parseDim = [&]() -> ParseResult {
    AxisRef &axis = dims.emplace_back();
    if (succeeded(parser.parseOptionalKeyword("_")))
      return success();
    return parseAxis(parser, axis);
  };
  if (parser.parseLess() || parser.parseAttribute(mesh) ||
      parser.parseComma() ||
      parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseDim))
    return {};
  if (succeeded(parser.parseOptionalKeyword("unreduced")) &&
      parseAxes(parser, unreduced))
    return {};
  if (parser.parseGreater())
    return {};
  return get(parser.getContext(), mesh, dims, unreduced);
}

bool ShardingAttr::isUnsplit() const {
  return llvm::none_of(getDims(), [](AxisRef axis) { return bool(axis); });
}

bool ShardingAttr::isReplicated() const {
  return isUnsplit() && getUnreduced().empty();
}

ShardingAttr ShardingAttr::getReplicated(FlatSymbolRefAttr mesh, int64_t rank) {
  return get(mesh.getContext(), mesh, SmallVector<AxisRef>(rank), {});
}

//===----------------------------------------------------------------------===//
// AxesAttr, RankValueAttr
//===----------------------------------------------------------------------===//

void AxesAttr::print(AsmPrinter &printer) const {
  printer << '<' << getMesh() << ", ";
  printAxes(printer.getStream(), getAxes());
  printer << '>';
}

Attribute AxesAttr::parse(AsmParser &parser, Type) {
  FlatSymbolRefAttr mesh;
  SmallVector<AxisRef> axes;
  if (parser.parseLess() || parser.parseAttribute(mesh) ||
      parser.parseComma() || parseAxes(parser, axes) || parser.parseGreater())
    return {};
  return get(parser.getContext(), mesh, axes);
}

LogicalResult
RankValueAttr::verify(llvm::function_ref<InFlightDiagnostic()> emitError,
                      int64_t base, int64_t divisor, int64_t modulus,
                      int64_t step) {
  if (base >= 0 && divisor > 0 && modulus > 0 && step >= 0)
    return success();
  return emitError() << "expected base and step of at least 0, divisor and "
                        "modulus of at least 1, but got base "
                     << base << ", divisor " << divisor << ", modulus "
                     << modulus << ", step " << step;
}
