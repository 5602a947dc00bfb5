// experts: for any shape, and for a handful of tokens.

#include "passes/Target/Sm90a/Plans/Decoded.h"
#include "passes/Target/Sm90a/Plans/Digits.h"
#include "passes/Target/Sm90a/Plans/Packed.h"

#include "llvm/Support/FormatVariadic.h"

#include <limits>

using namespace mlir;
using llvm::formatv;
using namespace saddle::cuda;

FunctionPlan saddle::cuda::anyShapeFunction(StringRef suffix, std::string body,
                                            int64_t warps) {
  FunctionPlan function;
  function.suffix = suffix.str();
  function.body = std::move(body);
  function.block = kWarpsOfAnyShape * 32;
  function.residentBlocks = 1; // else ptxas may spill
  function.grid[0] = blocksOfWarps(warps);
  return function;
}

/// Kernels of impls/experts.cuh: for every shape, type and stride. Workspace:
/// the rounded or rotated x (when there is one), then the activations of all
/// pairs, in fp32.
static KernelPlan planAnyShape(const ExpertsLaunch &op) {
  KernelPlan plan;
  plan.headers = {"impls/experts.cuh"};
  int extent = extentNumber(op.launch);
  std::string xType = matrixType(op.x), from = "p.operands[0]";
  std::string experts = matrixType(op.experts);
  std::string inner = "p.workspace";
  // In place of x, those at the beginning of the workspace.
  auto useRows = [&] {
    plan.workspaceBytes = uint64_t(op.tokens() * op.hidden()) * sizeof(float);
    xType = formatv("Matrix<f32, {0}, {1}, {1}>", op.tokens(), op.hidden());
    from = "p.workspace";
    inner = formatv("static_cast<float *>(p.workspace) + {0}",
                    op.tokens() * op.hidden());
  };
  auto replaceX = [&](StringRef suffix, StringRef function, int64_t columns) {
    plan.functions.push_back(
        anyShapeFunction(suffix,
                         formatv("{0}<{1}, {2}, {3}>(p, {4}, p.workspace);",
                                 function, extent, columns, xType, from),
                         op.tokens() * ceilDiv(op.hidden(), columns)));
    useRows();
  };
  if (op.codes) {
    plan.functions.push_back(op.codes->decodeFunction());
    useRows();
  } else if (op.group > 0) {
    replaceX("round", "roundToGroups", op.group);
  }
  if (int64_t columns = op.w13.encoding.rotated)
    replaceX("rotate", "rotateRows", columns);
  plan.workspaceBytes += uint64_t(op.pairs() * op.inner()) * sizeof(float);
  plan.functions.push_back(anyShapeFunction(
      "up",
      formatv("expertsUpAnyShape<{0}, {1}, {2}, {3}, {4}>(p, {5}, {6});",
              extent, xType, experts, op.stored13.type(), op.held(), from,
              inner),
      op.pairs() * op.inner()));
  if (op.group > 0)
    plan.functions.push_back(anyShapeFunction(
        "inner",
        formatv("roundInner<{0}, {1}, {2}, {3}, {4}>(p, {5});", extent,
                op.group, op.inner(), experts, op.held(), inner),
        op.pairs() * ceilDiv(op.inner(), op.group)));
  if (int64_t columns = op.w2.encoding.rotated)
    plan.functions.push_back(anyShapeFunction(
        "rotate_inner",
        formatv("rotateInner<{0}, {1}, {2}, {3}, {4}>(p, {5});", extent,
                columns, op.inner(), experts, op.held(), inner),
        op.pairs() * (op.inner() / columns)));
  plan.functions.push_back(anyShapeFunction(
      "down",
      formatv("expertsDownAnyShape<{0}, {1}, {2}, {3}, {4}, {5}, {6}>(p, {7});",
              extent, matrixType(op.weights), experts, op.stored2.number,
              op.stored2.type(), matrixType(op.out), op.held(), inner),
      op.tokens() * op.hidden()));
  return plan;
}

//===--- Decode -----------------------------------------------------------===//

std::optional<StreamTypes> saddle::cuda::streamTypes(const ExpertsLaunch &op) {
  int64_t hidden = op.hidden(), inner = op.inner();
  StreamTypes types = {isa<Float8E4M3FNType>(op.w13.element), hidden, inner};
  constexpr int64_t kLargest = std::numeric_limits<int32_t>::max() / 2;
  if (op.w13.element != op.w2.element || op.w13.element.isF32() ||
      !canStreamWeights(op.w13) || !canStreamWeights(op.w2) ||
      types.codes != (op.group > 0) ||
      !(types.codes ? op.stored13.isScaled() && op.stored2.isScaled()
                    : op.stored13.isPlain() && op.stored2.isPlain()) ||
      op.group > 512 || hidden > kLargest || inner > kLargest ||
      op.pairs() > kLargest || op.held() > 2048)
    return std::nullopt;
  if (!types.codes)
    return canStreamTokens(op.x, op.w13.element) ? std::optional(types)
                                                 : std::nullopt;
  types.blockCols13 = op.scale13->blockCols;
  types.blockCols2 = op.scale2->blockCols;
  // Eight rows from a multiple of eight on have one factor; the rows of w3
  // begin at `inner`.
  int64_t rows2 = op.scale2->blockRows;
  if (op.scale13->blockRows % 8 != 0 || inner % 8 != 0 ||
      (rows2 % 8 != 0 && rows2 < hidden))
    return std::nullopt;
  types.scaleUnits13 = streamScaleUnits(hidden, op.group, types.blockCols13);
  types.scaleUnits2 = streamScaleUnits(inner, op.group, types.blockCols2);
  if (types.scaleUnits13 == 0 || types.scaleUnits2 == 0)
    return std::nullopt;
  return types;
}

/// Blocks of `blockCols` of the `columns` that a weight has.
static std::string streamScale(const Operand &scale, int64_t columns,
                               int64_t blockCols) {
  return formatv("Companion<{0}, {1}, {2}, {3}>", matrixType(scale),
                 scale.blockRows, streamGroup(columns, blockCols),
                 scale.shape[1]);
}
std::string saddle::cuda::streamScale13(const ExpertsLaunch &op,
                                        const StreamTypes &types) {
  return streamScale(*op.scale13, op.hidden(), types.blockCols13);
}
std::string saddle::cuda::streamScale2(const ExpertsLaunch &op,
                                       const StreamTypes &types) {
  return streamScale(*op.scale2, op.inner(), types.blockCols2);
}

/// Rows of w13 that a CTA of expertsUpDecode takes. A CTA has costs of its own
/// (it encodes its token), and the last round of CTAs leaves multiprocessors
/// idle: the widest of which there are nearly two for each multiprocessor. M2.5
/// at tp=2, one token, one H200: 27.1, 25.5, 23.6 and 23.0 us for 16 rows in
/// three and in four CTAs, 32 and 48.
static int64_t chooseUpRows(const ExpertsLaunch &op) {
  for (int64_t rows : {48, 32}) {
    int64_t columns = rows / 2;
    int64_t ctas = op.inner() / columns * op.slots() * op.tokens();
    if (op.inner() % columns == 0 && ctas * 10 >= kMultiprocessors * 19)
      return rows;
  }
  return 16;
}

namespace {

/// The products of a handful of tokens, divided.
struct DecodeShapes {
  StreamShape up, down;
  int64_t warps; // of a CTA of the second product

  DecodeShapes(const ExpertsLaunch &op, const StreamTypes &types)
      : up(op.w13.element), down(op.w2.element),
        warps(std::min<int64_t>(op.slots(), 8)) {
    up.scaleUnits = types.scaleUnits13;
    down.scaleUnits = types.scaleUnits2;
    up.tokenTiles = down.tokenTiles = 1;
    up.rowWarps = 1;
    down.rowWarps = down.columnWarps = 1; // of each choice's warp
    up.keepTokens(1, op.hidden(), op.group);
    down.keepTokens(1, op.inner(), op.group);
  }

  /// False when it does not fit.
  bool divide(const ExpertsLaunch &op, const Division &way) {
    int64_t unit = streamUnitColumns(op.w13.element);
    up.rows = way.upRows;
    down.rows = way.downRows;
    up.units = streamUnits(op.hidden(), unit, up.scaleUnits, 2);
    // As many bytes of fewer rows, but eight units of a row would spill.
    down.units = streamUnits(op.inner(), unit, down.scaleUnits,
                             std::min<int64_t>(64 / way.downRows, 6));
    int64_t stages13 = ceilDiv(op.hidden(), up.units * unit);
    up.columnWarps = std::min<int64_t>(8, stages13);
    // CTAs that a multiprocessor holds.
    int64_t resident = way.upRows == 48 ? 2 : way.upRows == 32 ? 3 : 4;
    return up.chooseDepth(ceilDiv(stages13, up.columnWarps),
                          kSharedMemory / resident) &&
           down.chooseDepth(ceilDiv(op.inner(), down.units * unit),
                            110 * 1024 / warps);
  }
};

} // namespace

/// Ways to divide kernels of impls/experts_decode.cuh, the planner's first;
/// none where the operands do not allow them or tokens are many.
static std::vector<Division> decodeWays(const ExpertsLaunch &op) {
  constexpr int64_t kMostTokens = 16;
  std::optional<StreamTypes> types = streamTypes(op);
  if (!types || !types->codes || op.tokens() > kMostTokens || op.slots() > 32)
    return {};
  int64_t upRows = chooseUpRows(op), downRows = 16;
  std::vector<Division> ways;
  for (const Division &way :
       {Division::decode(upRows, downRows),
        Division::decode(upRows, downRows / 2),
        Division::decode(upRows, downRows * 2), Division::decode(48, downRows),
        Division::decode(32, downRows), Division::decode(16, downRows)})
    if (!llvm::is_contained(ways, way) && op.inner() % (way.upRows / 2) == 0 &&
        DecodeShapes(op, *types).divide(op, way))
      ways.push_back(way);
  return ways;
}

/// Kernels of impls/experts_decode.cuh for a handful of tokens. Workspace: the
/// activations of all pairs, in fp32.
static KernelPlan planDecode(const ExpertsLaunch &op, const Division &way) {
  std::optional<StreamTypes> types = streamTypes(op);
  DecodeShapes shapes(op, *types);
  shapes.divide(op, way);
  const StreamShape &up = shapes.up, &down = shapes.down;
  int64_t warps = shapes.warps;
  KernelPlan plan;
  plan.headers = {"impls/experts_decode.cuh"};
  plan.workspaceBytes = uint64_t(op.pairs() * op.inner()) * sizeof(float);
  std::string experts = matrixType(op.experts);
  FunctionPlan first;
  first.suffix = "up";
  first.body = formatv(
      "expertsUpDecode<{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}>(p, "
      "static_cast<float *>(p.workspace));",
      extentNumber(op.launch), op.group, matrixType(op.x), experts,
      matrixType(op.w13), op.held(), up.text(), streamScale13(op, *types));
  first.block = up.warps() * 32;
  first.sharedBytes = up.sharedBytes();
  first.grid[0] = ceilDiv(op.inner(), up.rows / 2);
  first.grid[1] = op.slots();
  first.grid[2] = op.tokens();
  first.next = Next::WhenWaited; // `down` reads the choices
  plan.functions.push_back(std::move(first));
  FunctionPlan second;
  second.suffix = "down";
  second.body = formatv(
      "expertsDownDecode<{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}, {8}>(p, "
      "static_cast<const float *>(p.workspace));",
      extentNumber(op.launch), op.group, matrixType(op.weights), experts,
      matrixType(op.w2), matrixType(op.out), op.held(), down.text(),
      streamScale2(op, *types));
  second.block = warps * 32;
  second.sharedBytes = warps * down.warpSharedBytes();
  second.grid[0] = ceilDiv(op.hidden(), down.rows);
  second.grid[1] = op.tokens();
  second.waitsItself = true;
  plan.functions.push_back(std::move(second));
  return plan;
}

/// Whether each pair is streamed for itself. Sorting costs three functions, but
/// pairs that share an expert read its weights again. M2.5's experts, one H200,
/// us sorted and in pairs: tp=8, 4 tokens 29.3, 22.6, 8 tokens 41.7, 36.9, 16
/// tokens 60.7, 64.3; tp=4 47.4, 37.5, then 66.4, 64.8, then 110.5, 116.5; tp=2
/// 73.2, 72.2, then 117, 131. Where ranks hold experts of their own most warps
/// would have none (tp=8,ep=8, 4 tokens: 26.4, 36.4).
static bool isForPairs(const ExpertsLaunch &op) {
  constexpr int64_t kFew = 2, kMostTokens = 8, kMostColumns = 24 * 1024;
  return op.tokens() <= kFew ||
         (op.held() == op.allExperts() && op.tokens() <= kMostTokens &&
          op.pairs() * op.inner() <= kMostColumns);
}

/// Kernels that stream weights as they are, each pair for itself or sorted.
static std::optional<KernelPlan> planStreamed(const ExpertsLaunch &op) {
  std::vector<Division> ways = sortedWays(op), decode = decodeWays(op);
  bool few = isForPairs(op) && !decode.empty();
  if (canTileExperts(op)) {
    if (!few && !ways.empty())
      return planExpertsStream(op, ways[0]);
    ways.clear();
  }
  // The form that the planner would not take has one way, the second.
  if (few)
    std::swap(ways, decode);
  if (!decode.empty())
    ways.insert(ways.begin() + std::min<size_t>(ways.size(), 1), decode[0]);
  if (std::optional<Division> flow = flowWay(op))
    ways.insert(few ? ways.end() : ways.begin(), *flow);
  if (ways.empty())
    return std::nullopt;
  std::string name = formatv(
      "experts {0} {1} of {2} held {3} {4}x{5} {6}tokens {7}",
      deviceType(op.w13.element), op.slots(), op.allExperts(), op.held(),
      2 * op.inner(), op.hidden(),
      op.group > 0 ? formatv("group {0} ", op.group).str() : "", op.tokens());
  DividedProduct divided =
      op.launch.tuning->choose(std::move(name), ways, op.launch.waysBefore);
  KernelPlan plan =
      divided.division.isDecode() ? planDecode(op, divided.division)
      : divided.division.isFlow() ? planExpertsFlow(op, divided.division)
                                  : planExpertsStream(op, divided.division);
  plan.products = {std::move(divided)};
  return plan;
}

/// Stacks of matrices are addressed as one matrix with all rows below each
/// other.
static bool isStack(const Operand &operand) {
  return operand.strides[0] == operand.shape[1] * operand.strides[1] ||
         operand.shape[0] == 1;
}

static bool checkStacks(const LaunchDesc &launch, std::string &error) {
  for (const Operand &operand : launch.operands) {
    if (operand.shape.size() != 3 || isStack(operand))
      continue;
    error = formatv(
        "operand \"{0}\" of {1}: one expert begins {2} elements after the "
        "last, expected its {3} rows of {4}; experts must follow each other "
        "without a gap",
        operand.name, launch.op, operand.strides[0], operand.shape[1],
        operand.strides[1]);
    return false;
  }
  return true;
}

FailureOr<KernelPlan> saddle::cuda::planExpertsOfCodes(const LaunchDesc &launch,
                                                       std::string &error) {
  if (!checkStacks(launch, error))
    return failure();
  LaunchOfCodes codes(launch, "experts");
  ExpertsLaunch op(codes.product);
  if (!op.stored13.check(error) || !op.stored2.check(error))
    return failure();
  op.codes = &codes;
  std::vector<Division> ways =
      codes.fits ? sortedWays(op) : std::vector<Division>();
  return codes.place(ways.empty() ? planAnyShape(op)
                                  : planExpertsStream(op, ways[0]));
}

FailureOr<KernelPlan> saddle::cuda::planExperts(const LaunchDesc &launch,
                                                std::string &error) {
  if (!checkStacks(launch, error))
    return failure();
  ExpertsLaunch op(launch);
  if (!op.stored13.check(error) || !op.stored2.check(error))
    return failure();
  if (std::optional<KernelPlan> plan = planStreamed(op))
    return std::move(*plan);
  if (std::optional<KernelPlan> plan = planExpertsDigits(op))
    return std::move(*plan);
  if (std::optional<KernelPlan> plan = planExpertsOfRows(op))
    return std::move(*plan);
  if (std::optional<KernelPlan> plan = planExpertsDecoded(op))
    return std::move(*plan);
  if (std::optional<KernelPlan> plan = planExpertsPacked(op))
    return std::move(*plan);
  return planAnyShape(op);
}
