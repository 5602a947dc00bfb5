// Syntax and checks of the `model` attributes.

#include "dialects/Model/IR/ModelDialect.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace saddle::model;
using llvm::ListSeparator;

#include "dialects/Model/IR/ModelEnums.cpp.inc"

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

//===----------------------------------------------------------------------===//
// Storage of weights
//===----------------------------------------------------------------------===//

/// i32 [0, 1, 2, 3], or i32 rows [0, 1, 2, 3]. Null after an error.
static PackingAttr parseBarePacking(AsmParser &parser) {
  SMLoc loc = parser.getCurrentLocation();
  IntegerType word;
  SmallVector<int64_t> order;
  if (parser.parseType(word))
    return {};
  bool rows = succeeded(parser.parseOptionalKeyword("rows"));
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, [&] {
        return parser.parseInteger(order.emplace_back());
      }))
    return {};
  return PackingAttr::getChecked([&] { return parser.emitError(loc); },
                                 parser.getContext(), word, order, rows);
}

static void printBarePacking(AsmPrinter &printer, PackingAttr packing) {
  printer << packing.getWord() << (packing.getRows() ? " rows [" : " [");
  llvm::interleaveComma(packing.getOrder(), printer);
  printer << ']';
}

Attribute PackingAttr::parse(AsmParser &parser, Type) {
  if (parser.parseLess())
    return {};
  PackingAttr packing = parseBarePacking(parser);
  if (!packing || parser.parseGreater())
    return {};
  return packing;
}

void PackingAttr::print(AsmPrinter &printer) const {
  printer << '<';
  printBarePacking(printer, *this);
  printer << '>';
}

LogicalResult PackingAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                  IntegerType word, ArrayRef<int64_t> order,
                                  bool) {
  SmallVector<int64_t> places(order);
  llvm::sort(places);
  if (places.empty() || word.getWidth() % places.size() != 0 ||
      !llvm::equal(places, llvm::seq<int64_t>(0, places.size())))
    return emitError() << "expected the places 0 .. n-1 in some order, n a "
                          "divisor of the bits of "
                       << word;
  return success();
}

/// 128, or * for the whole dimension.
static ParseResult parseBlock(AsmParser &parser, int64_t &block) {
  if (succeeded(parser.parseOptionalStar())) {
    block = CompanionAttr::kWhole;
    return success();
  }
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseInteger(block))
    return failure();
  if (block == CompanionAttr::kWhole)
    return parser.emitError(loc, "expected a positive block or '*'");
  return success();
}

static void printBlock(AsmPrinter &printer, int64_t block) {
  if (block == CompanionAttr::kWhole)
    printer << '*';
  else
    printer << block;
}

/// scale f32 [128, *] divided from "key". Null after an error.
static CompanionAttr parseBareCompanion(AsmParser &parser) {
  SMLoc loc = parser.getCurrentLocation();
  StringRef word;
  Type type;
  int64_t rows, cols;
  if (parser.parseKeyword(&word))
    return {};
  std::optional<CompanionKind> kind = symbolizeCompanionKind(word);
  if (!kind) {
    parser.emitError(loc, "expected scale, zero or global_scale, but got ")
        << word;
    return {};
  }
  if (parser.parseType(type) || parser.parseLSquare() ||
      parseBlock(parser, rows) || parser.parseComma() ||
      parseBlock(parser, cols) || parser.parseRSquare())
    return {};
  PackingAttr packing;
  if (succeeded(parser.parseOptionalKeyword("packed")) &&
      !(packing = parseBarePacking(parser)))
    return {};
  bool transposed = succeeded(parser.parseOptionalKeyword("transposed"));
  int64_t plus = 0;
  if (succeeded(parser.parseOptionalKeyword("plus")) &&
      parser.parseInteger(plus))
    return {};
  int64_t over = 0;
  if (succeeded(parser.parseOptionalKeyword("over")) &&
      parser.parseInteger(over))
    return {};
  bool divides = succeeded(parser.parseOptionalKeyword("divided"));
  StringAttr source;
  std::string name;
  if (succeeded(parser.parseOptionalKeyword("from"))) {
    if (parser.parseString(&name))
      return {};
    source = parser.getBuilder().getStringAttr(name);
  }
  return CompanionAttr::getChecked(
      [&] { return parser.emitError(loc); }, parser.getContext(), *kind, type,
      rows, cols, packing, transposed, plus, over, divides, source);
}

static void printBareCompanion(AsmPrinter &printer, CompanionAttr companion) {
  printer << stringifyCompanionKind(companion.getKind()) << ' '
          << companion.getType() << " [";
  printBlock(printer, companion.getBlockRows());
  printer << ", ";
  printBlock(printer, companion.getBlockCols());
  printer << ']';
  if (companion.getPacking()) {
    printer << " packed ";
    printBarePacking(printer, companion.getPacking());
  }
  if (companion.getTransposed())
    printer << " transposed";
  if (companion.getPlus())
    printer << " plus " << companion.getPlus();
  if (companion.getOver())
    printer << " over " << companion.getOver();
  if (companion.getDivides())
    printer << " divided";
  if (companion.getSource())
    printer << " from " << companion.getSource();
}

Attribute CompanionAttr::parse(AsmParser &parser, Type) {
  if (parser.parseLess())
    return {};
  CompanionAttr companion = parseBareCompanion(parser);
  if (!companion || parser.parseGreater())
    return {};
  return companion;
}

void CompanionAttr::print(AsmPrinter &printer) const {
  printer << '<';
  printBareCompanion(printer, *this);
  printer << '>';
}

LogicalResult
CompanionAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                      CompanionKind kind, Type type, int64_t blockRows,
                      int64_t blockCols, PackingAttr packing, bool,
                      int64_t plus, int64_t over, bool divides, StringAttr) {
  if (!type.isIntOrFloat())
    return emitError() << "expected elements that are numbers, but got "
                       << type;
  if (blockRows < 0 || blockCols < 0)
    return emitError() << "expected positive blocks or '*', but got "
                       << blockRows << " and " << blockCols;
  if (plus < 0 || (plus != 0 && !packing))
    return emitError() << "expected something positive to add to packed "
                          "integers, but got "
                       << plus;
  if (over < 0 || over > UINT32_MAX ||
      (over != 0 && !isa<Float32Type, BFloat16Type, Float16Type>(type)))
    return emitError() << "expected something positive that floats are divided "
                          "by, but got "
                       << over << " of " << type;
  if (divides && kind == CompanionKind::Zero)
    return emitError() << "nothing is divided by a zero";
  if (packing && packing.getOrder().size() * type.getIntOrFloatBitWidth() !=
                     packing.getWord().getWidth())
    return emitError() << packing.getOrder().size() << " values of " << type
                       << " do not fill a word of " << packing.getWord();
  return success();
}

std::array<int64_t, 2>
CompanionAttr::getBlocks(ArrayRef<int64_t> weight) const {
  auto extent = [](int64_t block, int64_t whole) {
    return block == kWhole ? whole : block;
  };
  return {extent(getBlockRows(), weight[weight.size() - 2]),
          extent(getBlockCols(), weight.back())};
}

SmallVector<int64_t> CompanionAttr::getShape(ArrayRef<int64_t> weight) const {
  SmallVector<int64_t> shape(weight);
  for (auto [extent, block] :
       llvm::zip_equal(MutableArrayRef(shape).take_back(2), getBlocks(weight)))
    extent = llvm::divideCeil(extent, block);
  return shape;
}

CompanionAttr CompanionAttr::withBlocks(std::array<int64_t, 2> blocks) const {
  return get(getContext(), getKind(), getType(), blocks[0], blocks[1],
             getPacking(), getTransposed(), getPlus(), getOver(), getDivides(),
             getSource());
}

CompanionAttr CompanionAttr::withType(Type type) const {
  return get(getContext(), getKind(), type, getBlockRows(), getBlockCols(),
             getPacking(), getTransposed(), getPlus(), getOver(), getDivides(),
             getSource());
}

CompanionAttr CompanionAttr::withoutSource() const {
  return get(getContext(), getKind(), getType(), getBlockRows(), getBlockCols(),
             getPacking(), getTransposed(), getPlus(), getOver(), getDivides(),
             StringAttr());
}

CompanionAttr CompanionAttr::held() const {
  Type type = getType();
  if (isa<BFloat16Type, Float16Type>(type))
    type = Float32Type::get(getContext());
  else if (isa<IntegerType>(type))
    type = IntegerType::get(getContext(), 8, IntegerType::Unsigned);
  return get(getContext(), getKind(), type, getBlockRows(), getBlockCols(),
             PackingAttr(), /*transposed=*/false, /*plus=*/0, /*over=*/0,
             getDivides(), StringAttr());
}

Attribute StorageAttr::parse(AsmParser &parser, Type) {
  if (parser.parseLess())
    return {};
  SMLoc loc = parser.getCurrentLocation();
  PackingAttr packing;
  bool transposed = false;
  int64_t plus = 0, offset = 0, rotated = 0;
  Type codes;
  SmallVector<CompanionAttr> companions;
  // Facts about the elements stand before companions, in this order.
  auto parseItem = [&]() -> ParseResult {
    if (companions.empty()) {
      if (succeeded(parser.parseOptionalKeyword("packed")))
        return success((packing = parseBarePacking(parser)) != nullptr);
      if (succeeded(parser.parseOptionalKeyword("transposed"))) {
        transposed = true;
        return success();
      }
      if (succeeded(parser.parseOptionalKeyword("plus")))
        return parser.parseInteger(plus);
      if (succeeded(parser.parseOptionalKeyword("offset")))
        return parser.parseInteger(offset);
      if (succeeded(parser.parseOptionalKeyword("rotated")))
        return parser.parseInteger(rotated);
      if (succeeded(parser.parseOptionalKeyword("codes")))
        return parser.parseType(codes);
    }
    companions.push_back(parseBareCompanion(parser));
    return success(companions.back() != nullptr);
  };
  if (failed(parser.parseOptionalGreater()) &&
      (parser.parseCommaSeparatedList(parseItem) || parser.parseGreater()))
    return {};
  return getChecked([&] { return parser.emitError(loc); }, parser.getContext(),
                    packing, transposed, plus, offset, rotated, codes,
                    companions);
}

void StorageAttr::print(AsmPrinter &printer) const {
  ListSeparator comma;
  printer << '<';
  if (getPacking()) {
    printer << StringRef(comma) << "packed ";
    printBarePacking(printer, getPacking());
  }
  if (getTransposed())
    printer << StringRef(comma) << "transposed";
  if (getPlus())
    printer << StringRef(comma) << "plus " << getPlus();
  if (getOffset())
    printer << StringRef(comma) << "offset " << getOffset();
  if (getRotated())
    printer << StringRef(comma) << "rotated " << getRotated();
  if (getCodes())
    printer << StringRef(comma) << "codes " << getCodes();
  for (CompanionAttr companion : getCompanions()) {
    printer << StringRef(comma);
    printBareCompanion(printer, companion);
  }
  printer << '>';
}

LogicalResult StorageAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                  PackingAttr packing, bool, int64_t plus,
                                  int64_t offset, int64_t rotated, Type codes,
                                  ArrayRef<CompanionAttr> companions) {
  if (plus < 0 || (plus != 0 && !packing))
    return emitError() << "expected something positive to add to packed "
                          "integers, but got "
                       << plus;
  if (offset < 0)
    return emitError() << "expected an offset of at least 0, but got "
                       << offset;
  if (rotated < 0 || (rotated & (rotated - 1)) != 0)
    return emitError() << "expected a power of two of columns to be rotated "
                          "together, but got "
                       << rotated;
  if (codes && !codes.isIntOrFloat())
    return emitError() << "expected codes that are numbers, but got " << codes;
  for (size_t i = 0; i < companions.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (companions[i].getKind() == companions[j].getKind())
        return emitError() << "expected at most one "
                           << stringifyCompanionKind(companions[i].getKind());
  return success();
}

CompanionAttr StorageAttr::find(CompanionKind kind) const {
  for (CompanionAttr companion : getCompanions())
    if (companion.getKind() == kind)
      return companion;
  return {};
}

bool StorageAttr::isLike(StorageAttr other) const {
  auto withoutPlace = [](CompanionAttr companion) {
    return companion.withBlocks({1, 1}).withoutSource();
  };
  return mapCompanions(withoutPlace) == other.mapCompanions(withoutPlace);
}

StorageAttr StorageAttr::mapCompanions(
    function_ref<CompanionAttr(CompanionAttr)> change) const {
  return get(getContext(), getPacking(), getTransposed(), getPlus(),
             getOffset(), getRotated(), getCodes(),
             llvm::map_to_vector(getCompanions(), change));
}

StorageAttr StorageAttr::held(Type element) const {
  PackingAttr packing;
  if (element.getIntOrFloatBitWidth() == 4)
    packing = PackingAttr::get(getContext(), IntegerType::get(getContext(), 8),
                               {0, 1}, /*rows=*/false);
  return get(getContext(), packing, /*transposed=*/false, /*plus=*/0,
             getOffset(), getRotated(), /*codes=*/Type(),
             llvm::map_to_vector(getCompanions(), [](CompanionAttr companion) {
               return companion.held();
             }));
}

StorageAttr StorageAttr::resolved(RankedTensorType weight) const {
  // Elements that are no numbers of their own are bytes to kernels.
  Type element = weight.getElementType(), codes;
  if (getPacking() || element.isUnsignedInteger())
    codes = element;
  return get(getContext(), getPacking(), getTransposed(), getPlus(),
             getOffset(), getRotated(), codes,
             llvm::map_to_vector(getCompanions(), [&](CompanionAttr companion) {
               return companion
                   .withBlocks(companion.getBlocks(weight.getShape()))
                   .withoutSource();
             }));
}

int64_t StorageAttr::getValuesPerElement() const {
  return getPacking() ? getPacking().getOrder().size() : 1;
}

RankedTensorType StorageAttr::inMemory(RankedTensorType weight) const {
  if (!getPacking())
    return weight;
  SmallVector<int64_t> shape(weight.getShape());
  shape.back() /= getValuesPerElement();
  return RankedTensorType::get(
      shape, IntegerType::get(getContext(), getPacking().getWord().getWidth(),
                              IntegerType::Unsigned));
}
