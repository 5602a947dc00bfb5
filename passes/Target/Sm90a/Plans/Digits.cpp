#include "passes/Target/Sm90a/Plans/Digits.h"

#include "passes/Target/Sm90a/Plans/Decoded.h"
#include "passes/Target/Sm90a/Plans/Packed.h"

#include "llvm/Support/FormatVariadic.h"

#include <limits>

using namespace mlir;
using llvm::formatv;
using namespace saddle;
using namespace saddle::cuda;

/// Bits of a code; 0 for what is neither an integer, or half of one, nor e4m3.
static int64_t bitsOf(const Operand &elements) {
  const ops::Encoding &encoding = elements.encoding;
  if (encoding.rotated != 0)
    return 0;
  if (encoding.perElement == 2)
    return 4;
  bool isByte =
      elements.element.isUnsignedInteger(8) ||
      (encoding.zero == 0 && (elements.element.isSignedInteger(8) ||
                              isa<Float8E4M3FNType>(elements.element)));
  return isByte ? 8 : 0;
}

std::optional<DigitShape>
saddle::cuda::DigitShape::of(const StoredWeight &weight, int64_t rows,
                             int64_t mostWarps) {
  const Operand &elements = weight.elements, *scale = weight.scale,
                *zero = weight.zero, *global = weight.globalScale;
  DigitShape shape = {};
  shape.bits = bitsOf(elements);
  shape.partBytes = isa<Float8E4M3FNType>(elements.element) ? 2 : 1;
  int64_t stride = elements.strides[elements.strides.size() - 2];
  if (shape.bits == 0 || !scale || elements.alignment < 16 || stride % 16 != 0)
    return std::nullopt;
  int64_t cols = weight.cols(), stretch = shape.stretchColumns();
  // A row's numbers, one for all columns or for whole stretches.
  auto isOfRows = [&](const Operand &companion) {
    return rows % companion.blockRows == 0 && companion.alignment >= 4;
  };
  auto isOfStretches = [&](const Operand &companion) {
    return companion.blockCols >= cols || companion.blockCols % stretch == 0;
  };
  bool isHalved = scale->blockCols * 2 == stretch && !scale->element.isF32() &&
                  scale->strides[scale->strides.size() - 2] % 2 == 0;
  if (cols % stretch != 0 || !isOfRows(*scale) ||
      (!isOfStretches(*scale) && !isHalved) ||
      !(scale->element.isF32() ||
        isa<Float8E4M3FNType, Float8E8M0FNUType>(scale->element)))
    return std::nullopt;
  if (zero && (elements.encoding.codes == schema::Codes::E2M1 ||
               elements.encoding.zero != 0 || !isOfRows(*zero) ||
               !isOfStretches(*zero) || !zero->element.isUnsignedInteger(8)))
    return std::nullopt;
  if (global && (!global->element.isF32() || global->blockCols < cols ||
                 rows % global->blockRows != 0))
    return std::nullopt;
  int64_t units = ceilDiv(cols, shape.unitColumns());
  shape.units = ceilDiv(units, mostWarps);
  shape.warps = ceilDiv(units, shape.units);
  shape.depth = 1;
  auto heldOf = [&](const Operand &companion) {
    bool isOfUnits = companion.blockCols >= cols ||
                     companion.blockCols % shape.unitColumns() == 0;
    return 2 * (isOfUnits ? ceilDiv(shape.units, 4) : shape.units);
  };
  shape.held = heldOf(*scale) + (zero ? heldOf(*zero) : 0);
  // Registers have the companions of some units, but one scale for each row.
  int64_t most = scale->blockCols >= cols && !zero ? 16 : 8;
  return shape.units <= most ? std::optional(shape) : std::nullopt;
}

bool saddle::cuda::DigitShape::chooseDepth(int64_t tokens) {
  constexpr int64_t kMost = kSharedMemory - 4096; // sums have the rest
  for (depth = 3; depth > 2 && sharedBytes(tokens) > kMost;)
    --depth;
  return sharedBytes(tokens) <= kMost;
}

static constexpr int64_t kWarps = 8;

/// A function whose CTAs walk `items` of `shape` with `tokens` tokens: two CTAs
/// of eight warps for a multiprocessor, or as many warps, where there is room.
static FunctionPlan walkingFunction(StringRef suffix, const DigitShape &shape,
                                    int64_t items, int64_t tokens) {
  FunctionPlan function;
  function.suffix = suffix.str();
  function.block = shape.warps * 32;
  function.sharedBytes = shape.sharedBytes(tokens);
  // Two of eight warps have 128 registers a thread.
  int64_t warpsOfAll = shape.depth * shape.held <= 36 ? 2 * kWarps : kWarps;
  function.residentBlocks =
      std::clamp<int64_t>(kSharedMemory / (function.sharedBytes + 4096), 1,
                          std::max<int64_t>(warpsOfAll / shape.warps, 1));
  function.grid[0] =
      std::min<int64_t>(items, kMultiprocessors * function.residentBlocks);
  return function;
}
/// "warps, units, depth, most": the last arguments of such a function.
static std::string walkingArguments(const FunctionPlan &function,
                                    const DigitShape &shape, int64_t items) {
  return formatv("{0}, {1}, {2}, {3}", shape.warps, shape.units, shape.depth,
                 ceilDiv(items, function.grid[0]));
}

std::optional<KernelPlan>
saddle::cuda::planLinearDigits(const LaunchDesc &launch,
                               const StoredWeight &w) {
  const Operand &x = launch.operands[0], &out = launch.operands.back();
  int64_t tokens = x.shape[0], rows = w.elements.shape[0],
          group = launch.integer("act_group");
  if (tokens > 2 || !canPlaceTokens(x) ||
      !canQuantiseRows(w.elements, group, w.cols()) || rows % 16 != 0)
    return std::nullopt;
  std::optional<DigitShape> shape = DigitShape::of(w, rows, kWarps);
  if (!shape || !shape->chooseDepth(tokens))
    return std::nullopt;
  int64_t items = rows / 16 * tokens;
  KernelPlan plan;
  plan.headers = {"impls/linear_digits.cuh"};
  FunctionPlan product = walkingFunction("", *shape, items, tokens);
  product.body =
      formatv("linearDigits<{0}, {1}, {2}, {3}, {4}, {5}>(p);",
              extentNumber(launch), group > 0, matrixType(x), w.type(),
              matrixType(out), walkingArguments(product, *shape, items));
  product.waitsItself = true;
  plan.functions.push_back(std::move(product));
  return plan;
}

/// Workspace: the activations of all pairs, in fp32.
std::optional<KernelPlan>
saddle::cuda::planExpertsDigits(const ExpertsLaunch &op) {
  constexpr int64_t kLargest = std::numeric_limits<int32_t>::max() / 2;
  constexpr int64_t kChoicesOfCta = 4;
  if (op.tokens() > 2 || op.slots() > 32 || !canPlaceTokens(op.x) ||
      !canQuantiseRows(op.w13, op.group, std::max(op.hidden(), op.inner())) ||
      op.inner() % 8 != 0 || op.hidden() % 16 != 0 ||
      op.held() * 2 * op.inner() > kLargest ||
      op.held() * op.hidden() > kLargest)
    return std::nullopt;
  // Clusters have at most eight CTAs.
  int64_t cluster = ceilDiv(op.slots(), kChoicesOfCta);
  int64_t choices = ceilDiv(op.slots(), cluster);
  std::optional<DigitShape> up =
      DigitShape::of(op.stored13, 2 * op.inner(), kWarps);
  std::optional<DigitShape> down =
      DigitShape::of(op.stored2, op.hidden(), kWarps / choices);
  if (!down) // longer rows
    down = DigitShape::of(op.stored2, op.hidden(), 2 * kWarps / choices);
  if (!up || !down || !up->chooseDepth(op.tokens()))
    return std::nullopt;

  KernelPlan plan;
  plan.headers = {"impls/experts_digits.cuh"};
  plan.workspaceBytes = uint64_t(op.pairs() * op.inner()) * sizeof(float);
  std::string experts = matrixType(op.experts);
  int64_t items = op.inner() / 8 * op.pairs();
  FunctionPlan first = walkingFunction("up", *up, items, op.tokens());
  first.body = formatv("expertsUpDigits<{0}, {1}, {2}, {3}, {4}, {5}, {6}>(p, "
                       "static_cast<float *>(p.workspace));",
                       extentNumber(op.launch), op.group > 0, matrixType(op.x),
                       experts, op.stored13.type(), op.held(),
                       walkingArguments(first, *up, items));
  first.holdsNext = true; // `down` reads the choices
  plan.functions.push_back(std::move(first));
  FunctionPlan second;
  second.suffix = "down";
  second.body = formatv(
      "expertsDownDigits<{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}, {8}, {9}, "
      "{10}>(p, static_cast<const float *>(p.workspace));",
      extentNumber(op.launch), op.group > 0, matrixType(op.weights), experts,
      op.stored2.number, op.stored2.type(), matrixType(op.out), op.held(),
      cluster, down->warps, down->units);
  second.block = choices * down->warps * 32;
  second.sharedBytes = down->sharedBytes(1, choices);
  // Three CTAs have 85 registers a thread, and zeros need theirs for long.
  int64_t most = op.stored2.zero ? 8 : 12;
  second.residentBlocks =
      std::clamp<int64_t>(kSharedMemory / (second.sharedBytes + 4096), 1,
                          down->bits == 4 && down->held <= most ? 3 : 2);
  second.cluster = cluster;
  second.grid[0] = cluster * (op.hidden() / 16);
  second.grid[1] = op.tokens();
  second.waitsItself = true;
  plan.functions.push_back(std::move(second));
  return plan;
}
