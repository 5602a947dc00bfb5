#include "passes/Target/Sm90a/Plans/Packed.h"

#include "runtime/kernels/shared/experts.h"

#include "llvm/Support/FormatVariadic.h"

#include <limits>

using namespace mlir;
using llvm::formatv;
using namespace saddle;
using namespace saddle::cuda;

static int64_t elementBytes(const Operand &operand) {
  return operand.element.getIntOrFloatBitWidth() / 8;
}
static int64_t rowStride(const Operand &operand) {
  return operand.strides[operand.strides.size() - 2];
}

/// Whether blocks of columns can be those of units or of parts of them.
static bool liesWithin(const Operand *companion, int64_t unit, int64_t cols) {
  return !companion || companion->blockCols >= cols ||
         companion->blockCols % unit == 0;
}

/// A row's numbers, which a warp copies in words of four bytes.
static bool isOfRows(const Operand &companion) {
  return companion.blockRows == 1 && companion.alignment >= 4;
}

std::optional<saddle::cuda::PackedShape>
saddle::cuda::PackedShape::of(const StoredWeight &weight, int64_t rows) {
  const Operand &elements = weight.elements, *scale = weight.scale;
  if (elements.encoding.perElement != 2 || elements.encoding.rotated != 0 ||
      !scale || !isOfRows(*scale) || elements.alignment < 16 ||
      rowStride(elements) % 16 != 0)
    return std::nullopt;
  bool floats = elements.encoding.codes == schema::Codes::E2M1;
  if (const Operand *zero = weight.zero)
    if (floats || !isOfRows(*zero) || !zero->element.isUnsignedInteger(8))
      return std::nullopt;
  if (elements.encoding.zero >= 128)
    return std::nullopt;
  PackedShape shape;
  shape.cols = weight.cols();
  if (const Operand *global = weight.globalScale)
    if (!global->element.isF32() || global->blockCols < shape.cols ||
        rows % global->blockRows != 0)
      return std::nullopt;
  shape.scales = scale;
  shape.zeros = weight.zero;
  bool scalesCodes = isa<Float8E4M3FNType, Float8E8M0FNUType>(scale->element);
  if (scalesCodes && (!floats || scale->blockCols < 16 ||
                      !llvm::isPowerOf2_64(scale->blockCols)))
    return std::nullopt;
  if (!scalesCodes && !scale->element.isF32())
    return std::nullopt;
  for (int64_t unit : {128, 64, 32})
    if (shape.cols % unit == 0 &&
        (scalesCodes || liesWithin(scale, unit, shape.cols)) &&
        liesWithin(weight.zero, unit, shape.cols)) {
      shape.unit = unit;
      shape.rowWarps = 1;
      shape.tokenTiles = 1;
      shape.divideColumns(1);
      return shape;
    }
  return std::nullopt;
}

bool saddle::cuda::PackedShape::setPieces(int64_t count) {
  int64_t columns = count * 32;
  auto fits = [&](const Operand *companion) {
    return !companion || companion->blockCols >= cols ||
           companion->blockCols % columns == 0 ||
           columns % companion->blockCols == 0;
  };
  if (columns % unit != 0 || cols % columns != 0 || !fits(scales) ||
      !fits(zeros))
    return false;
  pieces = count;
  auto part = [&](const Operand *companion) {
    return companion
               ? device::CompanionPart(
                     columns, companion->blockCols, elementBytes(*companion),
                     rowStride(*companion) * elementBytes(*companion))
               : device::CompanionPart();
  };
  scale = part(scales);
  zero = part(zeros);
  return true;
}

void saddle::cuda::PackedShape::divideColumns(int64_t warps) {
  // Enough stages for all warps, evenly; then enough; then as many as there
  // are.
  for (int64_t least : {2 * warps, warps, int64_t(1)})
    for (int64_t count : {8, 4, 2, 1})
      if (setPieces(count) && stages() >= least &&
          (least < 2 * warps || stages() % warps == 0)) {
        columnWarps = std::min(warps, stages());
        return;
      }
  llvm_unreachable("a stage can be one unit");
}

bool saddle::cuda::PackedShape::chooseDepth(int64_t kept, int64_t most) {
  depth = std::clamp<int64_t>(device::ceilDiv(stages(), columnWarps) + 1, 2, 8);
  while (depth > 2 && sharedBytes(kept) > most)
    --depth;
  return sharedBytes(kept) <= kSharedMemory;
}

std::string saddle::cuda::PackedShape::text() const {
  return formatv("PackedShape<{0}, {1}, {2}, {3}, {4}, {5}>", unit, pieces,
                 tokenTiles, depth, rowWarps, columnWarps);
}

bool saddle::cuda::canPlaceTokens(const Operand &x) {
  return x.element.isBF16() && x.alignment >= 16 && x.strides[0] % 8 == 0;
}

static constexpr int64_t kWarps = 8;

/// CTAs that share a multiprocessor, as shared memory allows.
static uint32_t residentOf(int64_t sharedBytes, int64_t most) {
  return static_cast<uint32_t>(
      std::clamp<int64_t>(kSharedMemory / (sharedBytes + 1024), 1, most));
}

/// How many tiles of rows a warp takes, one after the other, where `items` of
/// one tile for each warp of a CTA are there: a few items for each CTA are
/// left, so that none waits long for the last.
static int64_t passesFor(int64_t items, int64_t most) {
  return std::clamp<int64_t>(items / (4 * 2 * kMultiprocessors), 1, most);
}

/// Warps have all columns of their rows, so that sums need no adding; a CTA
/// keeps `kept` tokens. Two CTAs on a multiprocessor where they fit, else one
/// of as many warps. False when there is no room.
static bool divideRows(PackedShape &shape, int64_t kept) {
  shape.rowWarps = kWarps;
  shape.divideColumns(1);
  if (shape.chooseDepth(kept, kSharedMemory / 2 - 1024) && shape.depth > 2)
    return true;
  // More tiles of tokens need more registers than 16 warps can have.
  shape.rowWarps = shape.tokenTiles > 2 ? 12 : 16;
  return shape.chooseDepth(kept, kSharedMemory - 1024);
}

/// Of a shape of divideRows(). More tiles of tokens need more registers than
/// two CTAs can have, and so do short rows, of which much is known when they
/// are compiled.
static uint32_t residentOf(const PackedShape &shape, int64_t kept) {
  bool two = shape.tokenTiles <= 2 && shape.stages() > 2;
  return residentOf(shape.sharedBytes(kept), two ? 2 : 1);
}

//===--- linear -----------------------------------------------------------===//

std::optional<KernelPlan>
saddle::cuda::planLinearPacked(const LaunchDesc &launch,
                               const StoredWeight &w) {
  const Operand &x = launch.operands[0], &out = launch.operands.back();
  int64_t tokens = x.shape[0], rows = w.elements.shape[0];
  std::optional<PackedShape> shape = PackedShape::of(w, rows);
  if (!shape || !canPlaceTokens(x) || launch.integer("act_group") > 0 ||
      rows % 16 != 0)
    return std::nullopt;
  for (shape->tokenTiles = tokens <= 8 ? 1 : 2;; --shape->tokenTiles) {
    if (shape->tokenTiles == 0)
      return std::nullopt;
    auto ctas = [&] {
      return ceilDiv(rows, shape->ctaRows()) * ceilDiv(tokens, shape->tokens());
    };
    shape->rowWarps = kWarps;
    if (tokens > shape->tokens() && ctas() >= 4 * kMultiprocessors) {
      if (divideRows(*shape, shape->tokens()))
        break;
      continue;
    }
    while (shape->rowWarps > 1 && ctas() < 2 * kMultiprocessors)
      shape->rowWarps /= 2;
    shape->divideColumns(kWarps / shape->rowWarps);
    if (shape->chooseDepth(std::min(tokens, shape->tokens()),
                           kSharedMemory / 2 - 1024))
      break;
  }
  int64_t tokenBlocks = ceilDiv(tokens, shape->tokens());
  int64_t rowBlocks = ceilDiv(rows, shape->ctaRows());
  int64_t passes = shape->columnWarps == 1
                       ? passesFor(rowBlocks * tokenBlocks, rowBlocks)
                       : 1;
  KernelPlan plan;
  plan.headers = {"impls/linear_packed.cuh"};
  std::string ordered = "nullptr";
  if (tokenBlocks > 1) {
    // Once, not by each CTA.
    FunctionPlan order;
    order.suffix = "order";
    order.body =
        formatv("orderRows<{0}, {1}, {2}>(p, p.operands[0], "
                "p.workspace);",
                extentNumber(launch), shape->unitColumns(), matrixType(x));
    order.block = 256;
    order.grid[0] = blocksOfWarps(ceilDiv(tokens * x.shape[1], 32 * 8));
    plan.functions.push_back(std::move(order));
    plan.workspaceBytes = uint64_t(tokens * x.shape[1]) * 2;
    ordered = "p.workspace";
  }
  FunctionPlan product;
  product.suffix = tokenBlocks > 1 ? "product" : "";
  product.body = formatv("linearPacked<{0}, {1}, {2}, {3}, {4}, {5}>(p, {6});",
                         extentNumber(launch), matrixType(x), w.type(),
                         matrixType(out), passes, shape->text(), ordered);
  product.block = shape->warps() * 32;
  product.sharedBytes = shape->sharedBytes(std::min(tokens, shape->tokens()));
  product.residentBlocks =
      shape->columnWarps == 1
          ? residentOf(*shape, std::min(tokens, shape->tokens()))
          : residentOf(product.sharedBytes, 2);
  product.waitsItself = true;
  product.grid[0] = ceilDiv(rowBlocks, passes);
  product.grid[1] = tokenBlocks;
  plan.functions.push_back(std::move(product));
  return plan;
}

//===--- experts ----------------------------------------------------------===//

namespace {

/// One of the two products of a launch with sorted pairs.
struct SortedProduct {
  /// False when no shape fits. `rows` of each member, `tokens` of a block.
  bool choose(int64_t rows, int64_t tokens, int64_t blocks);
  FunctionPlan function(StringRef suffix, std::string body) const;
  /// "passes, buffers, PackedShape<...>".
  std::string text() const {
    return formatv("{0}, {1}, {2}", passes, buffers, shape.text());
  }

  PackedShape shape;
  /// Two: the tokens of the next item come while one is multiplied.
  int64_t buffers = 2, passes = 1;
  int64_t kept = 0, items = 0;
};

/// The functions of one launch with sorted pairs.
class SortedPlanner {
public:
  SortedPlanner(const ExpertsLaunch &op, PackedShape up, PackedShape down)
      : op(op), up{up}, down{down} {}

  /// False when no shape fits.
  bool chooseShapes();
  KernelPlan plan() const;

private:
  const ExpertsLaunch &op;
  SortedProduct up, down;
  int64_t tokens = 0; // of a block
};

} // namespace

bool SortedProduct::choose(int64_t rows, int64_t tokens, int64_t blocks) {
  kept = tokens;
  shape.tokenTiles = ceilDiv(tokens, 8);
  for (buffers = 2; buffers > 0; --buffers)
    if (divideRows(shape, buffers * kept) && (shape.depth > 2 || buffers == 1))
      break;
  if (buffers == 0)
    return false;
  int64_t each = ceilDiv(rows, shape.ctaRows());
  passes = passesFor(blocks * each, each);
  items = blocks * ceilDiv(each, passes);
  return true;
}

bool SortedPlanner::chooseShapes() {
  // Most experts fill one block, if there is room for so many tokens.
  int64_t each = op.tokensPerExpert();
  for (tokens = each <= 2 ? 4 : each <= 8 ? 8 : 16; tokens >= 4; tokens /= 2) {
    int64_t blocks = device::mostExpertBlocks(op.held(), op.pairs(), tokens);
    if (up.choose(2 * op.inner(), tokens, blocks) &&
        down.choose(op.hidden(), 2 * tokens, blocks))
      return true;
  }
  return false;
}

FunctionPlan SortedProduct::function(StringRef suffix, std::string body) const {
  FunctionPlan function;
  function.suffix = suffix.str();
  function.body = std::move(body);
  function.block = shape.warps() * 32;
  function.sharedBytes = shape.sharedBytes(buffers * kept);
  function.residentBlocks = residentOf(shape, buffers * kept);
  // As many as fit at a time walk the items.
  function.grid[0] =
      std::min<int64_t>(items, kMultiprocessors * function.residentBlocks);
  return function;
}

KernelPlan SortedPlanner::plan() const {
  ExpertsWorkspace workspace;
  int64_t held = op.held(), pairs = op.pairs();
  std::string planAt = workspace.add(
      formatv("ExpertPlan<{0}, {1}, {2}>", held, pairs, tokens).str(),
      device::expertPlanBytes(held, pairs, tokens));
  std::string x = workspace.add("bf16", op.tokens() * op.hidden() * 2);
  std::string inner = workspace.add("bf16", 2 * pairs * op.inner() * 2);
  std::string products = workspace.add("float", pairs * op.hidden() * 4);
  int extent = extentNumber(op.launch);
  std::string experts = matrixType(op.experts);

  KernelPlan plan;
  plan.headers = {"impls/experts_packed.cuh"};
  FunctionPlan prepare;
  prepare.suffix = "prepare";
  prepare.block = 512;
  prepare.grid[0] =
      1 + blocksOfWarps(ceilDiv(op.tokens() * op.hidden(), 32 * 8 * 2));
  prepare.sharedBytes = device::expertSortBytes(held);
  prepare.body =
      formatv("prepareExpertsPacked<{0}, {1}, {2}, {3}>(p, {4}, {5});", extent,
              up.shape.unitColumns(), matrixType(op.x), experts, planAt, x);
  plan.functions.push_back(std::move(prepare));
  plan.functions.push_back(up.function(
      "up", formatv("expertsUpPacked<{0}, {1}, {2}, {3}>(p, {4}, {5}, {6});",
                    op.slots(), op.stored13.type(), up.text(),
                    down.shape.unitColumns(), planAt, x, inner)));
  plan.functions.push_back(down.function(
      "down", formatv("expertsDownPacked<{0}, {1}, {2}>(p, {3}, {4}, {5});",
                      op.stored2.number, op.stored2.type(), down.text(), planAt,
                      inner, products)));
  plan.functions.push_back(combineFunction(op, products));
  plan.workspaceBytes = workspace.bytes;
  return plan;
}

std::optional<KernelPlan>
saddle::cuda::planExpertsPacked(const ExpertsLaunch &op) {
  constexpr int64_t kLargest = std::numeric_limits<int32_t>::max() / 2;
  std::optional<PackedShape> up = PackedShape::of(op.stored13, 2 * op.inner()),
                             down = PackedShape::of(op.stored2, op.hidden());
  // A warp has eight rows of w1 and of w3.
  if (!up || !down || !canPlaceTokens(op.x) || op.group > 0 ||
      op.inner() % 8 != 0 || op.hidden() % 16 != 0 || op.pairs() > kLargest ||
      op.held() > 2048 || op.held() * 2 * op.inner() > kLargest ||
      op.held() * op.hidden() > kLargest)
    return std::nullopt;
  SortedPlanner planner(op, *up, *down);
  if (!planner.chooseShapes())
    return std::nullopt;
  return planner.plan();
}
