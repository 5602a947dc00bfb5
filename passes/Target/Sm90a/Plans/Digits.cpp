#include "passes/Target/Sm90a/Plans/Digits.h"

#include "passes/Target/Sm90a/Plans/Decoded.h"
#include "passes/Target/Sm90a/Plans/Packed.h"

#include "llvm/Support/FormatVariadic.h"

#include <limits>
#include <tuple>

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

/// Whether tokens are as they are, or quantised by whole rows of at most `cols`
/// columns, as they are for such weights.
static bool canQuantiseRows(const Operand &weight, int64_t group,
                            int64_t cols) {
  return group == 0 || (group >= cols && isa<Float8E4M3FNType>(weight.element));
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
    return rows % companion.blockRows == 0 && companion.alignment >= 16;
  };
  auto isOfStretches = [&](const Operand &companion) {
    int64_t block = companion.blockCols, unit = shape.unitColumns();
    return block >= cols ||
           (block % stretch == 0 && (block % unit == 0 || unit % block == 0));
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
  // Four units have whole lines of codes, and whole pieces of companions.
  int64_t units = ceilDiv(cols, shape.unitColumns());
  shape.units = ceilDiv(units, mostWarps);
  for (int64_t each : {4, 8, 2, 6, 12})
    if (units % each == 0 && units / each <= mostWarps) {
      shape.units = each;
      break;
    }
  shape.warps = ceilDiv(units, shape.units);
  shape.depth = 1;
  auto takeIn = [&](const Operand &companion) {
    bool isOfUnits = companion.blockCols >= cols ||
                     companion.blockCols % shape.unitColumns() == 0;
    int64_t bytes = companion.element.getIntOrFloatBitWidth() / 8;
    int64_t piece = device::digitPiece(
        shape.units, shape.unitColumns(), companion.blockCols, bytes,
        companion.strides[companion.strides.size() - 2] * bytes);
    bool isOfRow = &companion == scale && companion.blockCols >= cols;
    if (piece > 0 && !isOfRow)
      shape.pieces += piece;
    else
      shape.held += 2 * (isOfUnits ? ceilDiv(shape.units, 4) : shape.units);
  };
  takeIn(*scale);
  if (zero)
    takeIn(*zero);
  return shape.units <= 16 && shape.held <= 32 ? std::optional(shape)
                                               : std::nullopt;
}

/// That divide rows of a linear, or of the first product of experts, at most:
/// rows of bytes are twice as long.
static int64_t warpsOf(const Operand &elements) {
  return bitsOf(elements) == 8 ? 16 : 8;
}

/// A function whose CTAs walk `items` of `shape` with `tokens` tokens, of which
/// as many share a multiprocessor as leave the fewest idle in the last round;
/// then as many as fit; then with codes fetched as far ahead as fits. Sets the
/// shape's depth. None when there is no room. Each warp of the kernel has
/// `beside` bytes of shared memory besides.
static std::optional<FunctionPlan>
walkingFunction(StringRef suffix, DigitShape &shape, int64_t items,
                int64_t tokens, int64_t beside) {
  std::optional<FunctionPlan> best;
  std::tuple<int64_t, int64_t, int64_t> bestOf;
  int64_t bestDepth = 0;
  for (int64_t depth : {2, 3}) {
    shape.depth = depth;
    // Registers: about a hundred for each thread, or twice as many.
    int64_t warpsOfAll = depth * shape.held <= 36 ? 20 : 10;
    int64_t most = std::max<int64_t>(warpsOfAll / shape.warps, 1);
    for (int64_t resident = 1; resident <= most; ++resident) {
      int64_t ctas = std::min(items, kMultiprocessors * resident);
      int64_t rounds = ceilDiv(items, ctas);
      int64_t bytes = shape.sharedBytes(tokens);
      // The machine takes a kilobyte for each CTA; of the first it is not
      // counted.
      int64_t all = bytes + shape.warps * (rounds * 64 + beside) + 1024;
      if (resident * all > kH200.sharedBytes + 1024)
        break;
      int64_t busy = 40 * items / (rounds * kMultiprocessors * resident);
      std::tuple<int64_t, int64_t, int64_t> of = {busy, resident, depth};
      if (best && of <= bestOf)
        continue;
      bestOf = of;
      bestDepth = depth;
      best.emplace();
      best->suffix = suffix.str();
      best->block = shape.warps * 32;
      best->sharedBytes = bytes;
      best->residentBlocks = resident;
      best->grid[0] = ctas;
    }
  }
  shape.depth = bestDepth;
  return best;
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
  int64_t items = rows / 16 * tokens;
  std::optional<DigitShape> shape =
      DigitShape::of(w, rows, warpsOf(w.elements));
  if (!shape)
    return std::nullopt;
  std::optional<FunctionPlan> walking =
      walkingFunction("", *shape, items, tokens, 4 * tokens);
  if (!walking)
    return std::nullopt;
  KernelPlan plan;
  plan.headers = {"impls/linear_digits.cuh"};
  FunctionPlan &product = *walking;
  product.body =
      formatv("linearDigits<{0}, {1}, {2}, {3}, {4}, {5}>(p);",
              extentNumber(launch), group > 0, matrixType(x), w.type(),
              matrixType(out), walkingArguments(product, *shape, items));
  product.waitsItself = true;
  plan.functions.push_back(std::move(product));
  return plan;
}

namespace {

/// How `down` divides a token's work: CTAs of clusters have `choices` each, and
/// `tiles` tiles of 16 rows.
struct DownShape {
  DigitShape shape; // of a choice
  int64_t choices, cluster, tiles, resident;

  int64_t warps() const { return choices * shape.warps; }
  int64_t ctas(int64_t hidden) const { return cluster * hidden / (16 * tiles); }
};

} // namespace

/// The division whose CTAs leave the fewest multiprocessors idle, with warps
/// enough for each; then one whose CTAs cannot share a multiprocessor, so that
/// each gets its own, and are at most pairs, which find room everywhere; then
/// the one in which the fewest CTAs encode the same activations.
static std::optional<DownShape> chooseDown(const ExpertsLaunch &op) {
  constexpr int64_t kWarpsEnough = 12;
  std::optional<DownShape> best;
  std::tuple<int64_t, int64_t, bool, int64_t, int64_t, int64_t> bestOf;
  int64_t hidden = op.hidden();
  const Operand *global = op.stored2.globalScale;
  for (int64_t choices : {8, 4, 2, 1}) {
    int64_t cluster = ceilDiv(op.slots(), choices);
    if (cluster > 8 || choices >= 2 * op.slots()) // of what a cluster can have
      continue;
    std::optional<DigitShape> shape =
        DigitShape::of(op.stored2, hidden, kWarpsEnough / choices);
    if (!shape) // longer rows
      shape = DigitShape::of(op.stored2, hidden, 16 / choices);
    if (!shape)
      continue;
    for (int64_t tiles : {1, 2, 3, 4, 6}) {
      if (hidden % (16 * tiles) != 0 ||
          (global && global->blockRows % (16 * tiles) != 0))
        continue;
      DownShape down = {*shape, choices, cluster, tiles, 1};
      for (int64_t depth = tiles; depth >= std::min<int64_t>(tiles, 2);
           --depth) {
        down.shape.depth = depth;
        if (depth * down.shape.held > 36)
          continue;
        int64_t sums = op.slots() * down.shape.warps * tiles * 64;
        int64_t bytes = down.shape.sharedBytes(1, choices) + sums + 2048;
        int64_t fits = kSharedMemory / bytes;
        int64_t registers = 20 / down.warps();
        down.resident = std::min({fits, registers, int64_t(4)});
        if (down.resident < 1)
          continue;
        int64_t ctas = down.ctas(hidden);
        int64_t each = ceilDiv(ctas, kMultiprocessors);
        int64_t busy = 40 * ctas / (each * kMultiprocessors);
        int64_t warps = std::min(each, down.resident) * down.warps();
        // One that takes two thirds at most begins while a CTA of `up` is
        // still there.
        bool isAlone = fits == 1 && ctas * op.tokens() <= kMultiprocessors &&
                       bytes * 3 <= kSharedMemory * 2 && cluster <= 2;
        // As many choices as leave room for two CTAs; and what fits is asked
        // for at a time, but as little as makes a CTA alone.
        std::tuple<int64_t, int64_t, bool, int64_t, int64_t, int64_t> of = {
            busy,
            std::min(warps, kWarpsEnough),
            isAlone,
            -ctas * choices,
            std::min<int64_t>(down.resident, 2),
            isAlone ? -depth : depth};
        if (best && of <= bestOf)
          continue;
        best = down;
        bestOf = of;
      }
    }
  }
  return best;
}

/// Workspace: the activations of all pairs, in fp32.
std::optional<KernelPlan>
saddle::cuda::planExpertsDigits(const ExpertsLaunch &op) {
  constexpr int64_t kLargest = std::numeric_limits<int32_t>::max() / 2;
  if (op.tokens() > 2 || op.slots() > 32 || !canPlaceTokens(op.x) ||
      !canQuantiseRows(op.w13, op.group, std::max(op.hidden(), op.inner())) ||
      op.inner() % 8 != 0 || op.hidden() % 16 != 0 ||
      op.held() * 2 * op.inner() > kLargest ||
      op.held() * op.hidden() > kLargest)
    return std::nullopt;
  int64_t items = op.inner() / 8 * op.pairs();
  std::optional<DigitShape> up =
      DigitShape::of(op.stored13, 2 * op.inner(), warpsOf(op.w13));
  std::optional<DownShape> down = chooseDown(op);
  if (!up || !down)
    return std::nullopt;
  std::optional<FunctionPlan> walking = walkingFunction(
      "up", *up, items, op.tokens(), 4 * op.tokens() + 8 * op.pairs() + 8);
  if (!walking)
    return std::nullopt;

  KernelPlan plan;
  plan.headers = {"impls/experts_digits.cuh"};
  plan.workspaceBytes = uint64_t(op.pairs() * op.inner()) * sizeof(float);
  std::string experts = matrixType(op.experts);
  FunctionPlan &first = *walking;
  first.body = formatv("expertsUpDigits<{0}, {1}, {2}, {3}, {4}, {5}, {6}>(p, "
                       "static_cast<float *>(p.workspace));",
                       extentNumber(op.launch), op.group > 0, matrixType(op.x),
                       experts, op.stored13.type(), op.held(),
                       walkingArguments(first, *up, items));
  first.next = Next::WhenWaited; // `down` reads the choices
  plan.functions.push_back(std::move(first));
  FunctionPlan second;
  second.suffix = "down";
  second.body = formatv(
      "expertsDownDigits<{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}, {8}, {9}, "
      "{10}, {11}, {12}, {13}>(p, static_cast<const float *>(p.workspace));",
      extentNumber(op.launch), op.group > 0, matrixType(op.weights), experts,
      op.stored2.number, op.stored2.type(), matrixType(op.out), op.held(),
      down->cluster, down->choices, down->shape.warps, down->shape.units,
      down->shape.depth, down->tiles);
  second.block = down->warps() * 32;
  second.sharedBytes = down->shape.sharedBytes(1, down->choices);
  second.residentBlocks = down->resident;
  second.cluster = down->cluster;
  second.grid[0] = down->ctas(op.hidden());
  second.grid[1] = op.tokens();
  second.waitsItself = true;
  plan.functions.push_back(std::move(second));
  return plan;
}
