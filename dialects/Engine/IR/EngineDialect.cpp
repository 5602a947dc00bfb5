#include "dialects/Engine/IR/EngineDialect.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace saddle::engine;

#include "dialects/Engine/IR/EngineDialect.cpp.inc"
#include "dialects/Engine/IR/EngineEnums.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/Engine/IR/EngineAttrs.cpp.inc"

void EngineDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/Engine/IR/EngineAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/Engine/IR/EngineOps.cpp.inc"
      >();
}

Attribute UnpackingAttr::parse(AsmParser &parser, Type) {
  model::PackingAttr packing;
  int64_t per = 1, plus = 0, rows = 0, cols = 0;
  if (parser.parseLess())
    return {};
  if (succeeded(parser.parseOptionalKeyword("packed"))) {
    packing = dyn_cast_or_null<model::PackingAttr>(
        model::PackingAttr::parse(parser, Type()));
    if (!packing)
      return {};
  }
  bool transposed = succeeded(parser.parseOptionalKeyword("transposed"));
  if ((succeeded(parser.parseOptionalKeyword("per")) &&
       parser.parseInteger(per)) ||
      (succeeded(parser.parseOptionalKeyword("plus")) &&
       parser.parseInteger(plus)) ||
      parser.parseKeyword("to") || parser.parseInteger(rows) ||
      parser.parseKeyword("x") || parser.parseInteger(cols) ||
      parser.parseGreater())
    return {};
  return get(parser.getContext(), packing, transposed, per, plus, rows, cols);
}

void UnpackingAttr::print(AsmPrinter &printer) const {
  printer << '<';
  if (getPacking()) {
    printer << "packed ";
    getPacking().print(printer);
    printer << ' ';
  }
  if (getTransposed())
    printer << "transposed ";
  if (getPer() != 1)
    printer << "per " << getPer() << ' ';
  if (getPlus() != 0)
    printer << "plus " << getPlus() << ' ';
  printer << "to " << getRows() << " x " << getCols() << '>';
}

LogicalResult
PieceAttr::verify(llvm::function_ref<InFlightDiagnostic()> emitError,
                  FlatSymbolRefAttr source, dist::RankValueAttr member,
                  int64_t count, dist::RankValueAttr row, int64_t rows,
                  dist::RankValueAttr col, int64_t cols, int64_t destRow,
                  int64_t destCol, ArrayRef<int64_t> blocks) {
  if (count <= 0 || rows <= 0 || cols <= 0 || destRow < 0 || destCol < 0)
    return emitError() << "expected positive count, rows and cols and "
                          "destinations of at least 0";
  if (blocks.size() != 4 ||
      llvm::any_of(blocks, [](int64_t block) { return block <= 0; }))
    return emitError() << "expected four positive block sizes";
  return success();
}

LogicalResult
FunctionAttr::verify(llvm::function_ref<InFlightDiagnostic()> emitError,
                     FlatSymbolRefAttr module, StringAttr name,
                     ArrayRef<int64_t> grid, int64_t block, int64_t shared,
                     int64_t exclusive) {
  // What sm_90 can launch.
  constexpr int64_t kMostGrid[] = {INT32_MAX, 65535, 65535};
  constexpr int64_t kMostThreads = 1024, kMostShared = 232448;
  bool fits = grid.size() == 3;
  for (size_t i = 0; fits && i < 3; ++i)
    fits = grid[i] >= 1 && grid[i] <= kMostGrid[i];
  if (!fits)
    return emitError() << "expected a grid of three numbers from 1 to "
                       << kMostGrid[0] << ", " << kMostGrid[1] << " and "
                       << kMostGrid[2];
  if (block < 1 || block > kMostThreads || shared < 0 || shared > kMostShared)
    return emitError() << "expected 1 to " << kMostThreads
                       << " threads and at most " << kMostShared
                       << " bytes of shared memory, but got " << block
                       << " and " << shared;
  // What exchange memory has room for (runtime/kernels/comm/exchange.cuh).
  constexpr int64_t kMostExclusive = 128;
  if (exclusive != 0 && (exclusive < grid[0] || exclusive > kMostExclusive))
    return emitError() << "expected exclusive blocks from the grid's "
                       << grid[0] << " to " << kMostExclusive << ", but got "
                       << exclusive;
  return success();
}

int64_t saddle::engine::denseBytes(MemRefType type) {
  return type.getNumElements() * ((type.getElementTypeBitWidth() + 7) / 8);
}
