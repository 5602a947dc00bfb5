#include "passes/Target/Sm90a/Plans/Products.h"

#include "passes/Target/Sm90a/Fusions/Steps.h"

#include "llvm/Support/FormatVariadic.h"

#include <algorithm>

using namespace saddle;
using namespace saddle::cuda;

uint32_t saddle::cuda::blocksOfWarps(int64_t warps) {
  return static_cast<uint32_t>(std::clamp<int64_t>(
      ceilDiv(warps, kWarpsOfAnyShape), 1, kMultiprocessors * 8));
}

//===--- Stored weights ---------------------------------------------------===//

saddle::cuda::StoredWeight::StoredWeight(const LaunchDesc &launch,
                                         llvm::StringRef name)
    : elements(*launch.find(name)), number(&elements - launch.operands.data()) {
  for (size_t i = number + 1;
       i < launch.operands.size() && launch.operands[i].companion; ++i) {
    const Operand &companion = launch.operands[i];
    ++companions;
    switch (*companion.companion) {
    case schema::CompanionKind::SCALE:
      scale = &companion;
      break;
    case schema::CompanionKind::ZERO:
      zero = &companion;
      break;
    case schema::CompanionKind::GLOBAL_SCALE:
      globalScale = &companion;
      break;
    case schema::CompanionKind::UNKNOWN:
      llvm_unreachable("storages of a launch are known");
    }
  }
}

bool saddle::cuda::StoredWeight::isPlain() const {
  return companions == 0 && elements.encoding.perElement == 1 &&
         elements.encoding.zero == 0 && elements.encoding.rotated == 0;
}

bool saddle::cuda::StoredWeight::isScaled() const {
  return companions == 1 && scale && scale->element.isF32() &&
         elements.encoding.perElement == 1 && elements.encoding.zero == 0 &&
         elements.encoding.rotated == 0;
}

bool saddle::cuda::StoredWeight::isOfScaledRows(int64_t actGroup) const {
  return isScaled() && llvm::isa<mlir::Float8E4M3FNType>(elements.element) &&
         canStreamWeights(elements) && scale->blockCols >= cols() &&
         actGroup >= cols();
}

bool saddle::cuda::StoredWeight::check(std::string &error) const {
  size_t next = number;
  for (const Operand *companion : {scale, zero, globalScale})
    if (companion && companion != &elements + (++next - number)) {
      error = llvm::formatv("companions of \"{0}\" stand in another order than "
                            "scale, zero, global scale",
                            elements.name);
      return false;
    }
  return true;
}

static std::string codesType(const Operand &weight) {
  const ops::Encoding &encoding = weight.encoding;
  if (encoding.codes == schema::Codes::E2M1)
    return "E2M1";
  if (encoding.perElement == 2)
    return llvm::formatv("Nibbles<{0}>", encoding.zero);
  if (weight.element.isUnsignedInteger())
    return llvm::formatv("Bytes<{0}>", encoding.zero);
  return "Numbers";
}

static std::string companionType(const Operand *companion) {
  if (!companion)
    return "NoCompanion";
  std::string member;
  if (companion->shape.size() == 3)
    member = ", " + std::to_string(companion->shape[1]);
  return llvm::formatv("Companion<{0}, {1}, {2}{3}>", matrixType(*companion),
                       companion->blockRows, companion->blockCols, member);
}

std::string saddle::cuda::StoredWeight::type() const {
  std::string text = "StoredWeights<" + matrixType(elements);
  // Those that are there, and what stands before them.
  std::string parts[] = {codesType(elements), companionType(scale),
                         companionType(zero), companionType(globalScale),
                         globalScale && globalScale->divides ? "true" : ""};
  const char *usual[] = {"Numbers", "NoCompanion", "NoCompanion", "NoCompanion",
                         ""};
  size_t count = std::size(parts);
  while (count > 0 && parts[count - 1] == usual[count - 1])
    --count;
  for (size_t i = 0; i < count; ++i)
    text += ", " + parts[i];
  return text + ">";
}

EncodedTokens::EncodedTokens(int64_t tokens, int64_t cols, int64_t group,
                             uint64_t offset)
    : group(group) {
  int64_t stride = roundUp(cols, 16), codeBytes = roundUp(tokens * stride, 256),
          groups = ceilDiv(cols, group);
  auto at = [](uint64_t bytes) -> std::string {
    return bytes == 0 ? "p.workspace"
                      : llvm::formatv(
                            "static_cast<uint8_t *>(p.workspace) + {0}", bytes)
                            .str();
  };
  codes =
      llvm::formatv("Matrix<e4m3, {0}, {1}, {2}>", tokens, cols, stride).str();
  factors = llvm::formatv("Matrix<f32, {0}, {1}, {1}>", tokens, groups).str();
  codesAt = at(offset);
  factorsAt = at(offset + codeBytes);
  bytes = codeBytes + tokens * groups * sizeof(float);
}

saddle::cuda::EncodedTokens::EncodedTokens(const Operand &codes,
                                           const Operand &factors,
                                           int64_t group, std::string codesAt,
                                           std::string factorsAt)
    : group(group), codes(matrixType(codes)), factors(matrixType(factors)),
      codesAt(std::move(codesAt)), factorsAt(std::move(factorsAt)), bytes(0) {}

static LaunchDesc withoutFactors(LaunchDesc launch, llvm::StringRef op) {
  launch.op = op.str();
  launch.operands.erase(launch.operands.begin() + 1);
  return launch;
}

saddle::cuda::LaunchOfCodes::LaunchOfCodes(const LaunchDesc &launch,
                                           llvm::StringRef op)
    : product(withoutFactors(launch, op)),
      encoded(launch.operands[0], launch.operands[1],
              launch.integer("act_group"), "p.operands[0]",
              llvm::formatv("p.operands[{0}]", product.operands.size()).str()) {
  const Operand &codes = launch.operands[0];
  fits = codes.alignment >= 16 && codes.strides[0] % 16 == 0;
}

KernelPlan saddle::cuda::LaunchOfCodes::place(const KernelPlan &plan) const {
  StepPlace place;
  place.operands = {0};
  for (size_t i = 1; i < product.operands.size(); ++i)
    place.operands.push_back(static_cast<int64_t>(i) + 1);
  place.operands.push_back(1);
  KernelPlan placed;
  appendStep(placed, plan, place, "");
  placed.workspaceBytes = plan.workspaceBytes;
  return placed;
}

FunctionPlan saddle::cuda::LaunchOfCodes::decodeFunction() const {
  const Operand &codes = product.operands[0];
  FunctionPlan decode;
  decode.suffix = "decode";
  decode.body =
      llvm::formatv("decodeRows<{0}, {1}, {2}, {3}>(p, {4}, {5}, p.workspace);",
                    extentNumber(product), encoded.group, encoded.codes,
                    encoded.factors, encoded.codesAt, encoded.factorsAt);
  decode.block = kWarpsOfAnyShape * 32;
  decode.grid[0] = blocksOfWarps(ceilDiv(codes.elements(), 32));
  return decode;
}

//===--- Streaming products -----------------------------------------------===//

static int64_t elementBytes(mlir::Type type) {
  return type.getIntOrFloatBitWidth() / 8;
}

bool saddle::cuda::canStreamWeights(const Operand &w) {
  if (!w.element.isF32() && !w.element.isBF16() &&
      !llvm::isa<mlir::Float8E4M3FNType>(w.element))
    return false;
  int64_t stride = w.strides[w.strides.size() - 2];
  return w.alignment >= 16 && stride * elementBytes(w.element) % 16 == 0;
}

bool saddle::cuda::canStreamTokens(const Operand &x, mlir::Type weight) {
  return x.element.isBF16() && !llvm::isa<mlir::Float8E4M3FNType>(weight) &&
         x.alignment >= 16 && x.strides[0] * 2 % 16 == 0;
}

int64_t saddle::cuda::streamUnitColumns(mlir::Type weight) {
  return device::streamUnitColumns(elementBytes(weight));
}

int64_t saddle::cuda::streamGroup(int64_t cols, int64_t group) {
  return cols <= group ? roundUp(cols, 128) : group;
}

int64_t saddle::cuda::streamScaleUnits(int64_t cols, int64_t group,
                                       int64_t blockCols) {
  for (int64_t units : {2, 1})
    if (streamGroup(cols, group) % (units * 64) == 0 &&
        streamGroup(cols, blockCols) % (units * 64) == 0)
      return units;
  return 0;
}

int64_t saddle::cuda::streamUnits(int64_t cols, int64_t unitColumns,
                                  int64_t scaleUnits, int64_t wanted) {
  if (scaleUnits == 0)
    return std::min(wanted, ceilDiv(cols, unitColumns));
  int64_t parts = ceilDiv(cols, scaleUnits * unitColumns);
  int64_t best = 1;
  for (int64_t each = 1; each * scaleUnits <= wanted; ++each)
    if (parts % each == 0)
      best = each;
  return best * scaleUnits;
}

saddle::cuda::StreamShape::StreamShape(mlir::Type weight)
    : device::StreamCtaLayout{} {
  weightBytes = elementBytes(weight);
}

void saddle::cuda::StreamShape::keepTokens(int64_t count, int64_t cols,
                                           int64_t group) {
  resident = true;
  residents = {count, cols, ceilDiv(cols, group)};
}

int64_t saddle::cuda::StreamShape::sharedBytes() const {
  return resident ? residentOffset() + residents.bytes(*this) : productBytes();
}

bool saddle::cuda::StreamShape::chooseDepth(int64_t stages, int64_t most) {
  depth = std::clamp<int64_t>(stages, 2, 8);
  while (depth > 2 && sharedBytes() > most)
    --depth;
  return sharedBytes() <= kSharedMemory;
}

std::string saddle::cuda::StreamShape::text() const {
  return llvm::formatv("StreamShape<{0}, {1}, {2}, {3}, {4}, {5}, {6}>", rows,
                       tokenTiles, units, scaleUnits, depth, rowWarps,
                       columnWarps);
}

//===--- Panels of rows ---------------------------------------------------===//

saddle::cuda::PanelShape::PanelShape(int64_t rows, int64_t stages, bool scaled,
                                     int64_t most)
    : device::PanelLayout{rows, stages, stages, scaled} {
  while (depth > 2 && sharedBytes() > most)
    --depth;
}

saddle::cuda::PanelShape::PanelShape(const Division &division, int64_t cols,
                                     const StreamShape &stream)
    : device::PanelLayout{division.panelRows, division.panelDepth,
                          ceilDiv(cols * stream.weightBytes, kLineBytes),
                          stream.scaleUnits != 0} {}

std::string saddle::cuda::PanelShape::text() const {
  return llvm::formatv("PanelShape<{0}, {1}>", rows, depth);
}

FunctionPlan saddle::cuda::PanelShape::function(std::string body,
                                                int64_t weightRows,
                                                int64_t tokens) const {
  FunctionPlan function;
  function.body = std::move(body);
  function.block = kThreads;
  function.sharedBytes = sharedBytes();
  function.residentBlocks = 1;
  function.waitsItself = true;
  function.grid[0] = ceilDiv(weightRows, rows);
  function.grid[1] = ceilDiv(tokens, kTokens);
  return function;
}

//===--- Tiles of many tokens ---------------------------------------------===//

saddle::cuda::TileShape::TileShape(int64_t groups, int64_t waves,
                                   int64_t scaleColumns, int64_t codeBits)
    : device::TileLayout{groups, waves, 8,
                         scaleColumns ? kLineBytes / scaleColumns : 0,
                         codeBits},
      scaleColumns(scaleColumns) {
  while (depth > 3 && sharedBytes() > kSharedMemory)
    --depth;
}

void saddle::cuda::TileShape::takeInOrder(int64_t tokens) {
  if (tokens <= 64)
    return;
  bool pairs = groups == 2 && tokens > this->tokens();
  order = pairs ? device::TokenOrder::InPairs : device::TokenOrder::InOrder;
}

static llvm::StringRef orderText(device::TokenOrder order) {
  switch (order) {
  case device::TokenOrder::Anywhere:
    return "TokenOrder::Anywhere";
  case device::TokenOrder::InOrder:
    return "TokenOrder::InOrder";
  case device::TokenOrder::InPairs:
    return "TokenOrder::InPairs";
  }
  llvm_unreachable("an order of tokens");
}

std::string saddle::cuda::TileShape::text(llvm::StringRef x,
                                          llvm::StringRef w) const {
  std::string scaled;
  if (scaleColumns)
    scaled =
        llvm::formatv(", {0}, {1}, {2}", scaleColumns, tokenGroup, weightGroup);
  return llvm::formatv("TileProduct<{0}, {1}, {2}, {3}, {4}, {5}{6}>", x, w,
                       orderText(order), groups, waves, depth, scaled);
}

int64_t saddle::cuda::TileShape::mapBytes() {
  return kMultiprocessors * kMaps * kMapBytes;
}

FunctionPlan saddle::cuda::TileShape::function(llvm::StringRef suffix,
                                               std::string body,
                                               int64_t items) const {
  FunctionPlan function;
  function.suffix = suffix.str();
  function.body = std::move(body);
  function.block = threads();
  function.sharedBytes = sharedBytes();
  function.residentBlocks = 1;
  function.cluster = order == device::TokenOrder::InPairs ? 2 : 1;
  function.grid[0] =
      std::min(roundUp(items, function.cluster), kMultiprocessors);
  return function;
}

bool saddle::cuda::canWriteTiles(const Operand &out) {
  return out.alignment >= 16 &&
         out.strides[0] * out.element.getIntOrFloatBitWidth() % 128 == 0;
}

TileShape saddle::cuda::tileFor(int64_t tokens, int64_t rows,
                                int64_t scaleColumns, int64_t codeBits) {
  bool full = tokens > 64 &&
              ceilDiv(tokens, 128) * ceilDiv(rows, 256) >= kMultiprocessors;
  int64_t each = full ? 2 : 1;
  return TileShape(each, each, scaleColumns, codeBits);
}
