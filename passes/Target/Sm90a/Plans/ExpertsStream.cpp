// experts and experts_scaled with tokens sorted by expert.

#include "passes/Target/Sm90a/Plans/ExpertsLaunch.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using llvm::formatv;
using namespace saddle::cuda;

namespace {
/// Where the functions of impls/experts_stream.cuh keep things in the
/// workspace.
class Workspace {
public:
  /// "reinterpret_cast<TYPE *>(...)" of `count` new bytes.
  std::string add(StringRef type, int64_t count) {
    std::string text =
        formatv("reinterpret_cast<{0} *>(static_cast<uint8_t *>(p.workspace) "
                "+ {1})",
                type, bytes);
    bytes = roundUp(bytes + count, 256);
    return text;
  }
  int64_t bytes = 0;
};
} // namespace

static FunctionPlan productFunction(StringRef suffix, std::string body,
                                    const StreamShape &shape, int64_t items) {
  FunctionPlan function;
  function.suffix = suffix.str();
  function.body = std::move(body);
  function.block = shape.warps() * 32;
  function.sharedBytes = shape.sharedBytes();
  // As many as fit at a time walk the items.
  int64_t resident = std::clamp<int64_t>(
      (kSharedMemory - 1024) / (shape.sharedBytes() + 1024), 1, 4);
  // More tiles of tokens need more registers than two CTAs can have.
  function.residentBlocks = resident > 1 && shape.tokenTiles == 1 ? 2 : 1;
  function.grid[0] = std::min(items, kMultiprocessors * resident);
  return function;
}

static FunctionPlan tileFunction(StringRef suffix, std::string body,
                                 const TileShape &tile, int64_t items) {
  FunctionPlan function;
  function.suffix = suffix.str();
  function.body = std::move(body);
  function.block = tile.threads();
  function.sharedBytes = tile.sharedBytes();
  function.residentBlocks = tile.resident();
  function.grid[0] = std::min(items, kMultiprocessors * tile.resident());
  return function;
}

/// Tokens of an expert that one pass over its weights takes.
static int64_t tokenTilesFor(const ExpertsLaunch &op) {
  int64_t each = op.tokensPerExpert();
  return each <= 6 ? 1 : each <= 14 ? 2 : 4;
}

/// Whether tiles of 64 tokens are worth it, and fit: impls/experts_tile.cuh.
static bool canTile(const ExpertsLaunch &op) {
  int64_t rows2 = op.launch.integer("block_rows2");
  return op.tokensPerExpert() > 12 && op.inner() % 64 == 0 &&
         op.launch.integer("block_rows13") % 64 == 0 &&
         (rows2 % 64 == 0 || rows2 >= op.hidden());
}

/// Kernels of impls/experts_stream.cuh or experts_tile.cuh, where the operands
/// allow it.
std::optional<KernelPlan>
saddle::cuda::planExpertsStream(const ExpertsLaunch &op) {
  std::optional<StreamTypes> types = streamTypes(op);
  if (!types)
    return std::nullopt;
  bool codes = types->codes;
  int64_t tokens = op.tokens(), hidden = op.hidden(), inner = op.inner(),
          pairs = op.pairs(), held = op.held();
  StreamShape up = {}, down = {};
  up.weightBytes = down.weightBytes =
      op.w13.element.getIntOrFloatBitWidth() / 8;
  int64_t unit = streamUnitColumns(op.w13.element);
  up.scaleUnits = types->scaleUnits13;
  down.scaleUnits = types->scaleUnits2;
  up.units = streamUnits(hidden, unit, up.scaleUnits, 2);
  down.units = streamUnits(inner, unit, down.scaleUnits, 3);
  int64_t parts = codes ? 1 : 2;
  up.tokenTiles = tokenTilesFor(op);
  down.tokenTiles = up.tokenTiles * parts;
  up.rows = down.rows = 16;
  constexpr int64_t kWarps = 8;
  int64_t stages13 = ceilDiv(hidden, up.units * unit),
          stages2 = ceilDiv(inner, down.units * unit);
  // Few items: divide columns; many: rows, so that sums need no adding.
  int64_t blocks = std::min(held, pairs) + pairs / up.tokens();
  auto divide = [&](StreamShape &shape, int64_t rows, int64_t stages) {
    shape.rowWarps = kWarps;
    while (shape.rowWarps > 1 && stages >= 2 * kWarps / shape.rowWarps &&
           blocks * ceilDiv(rows, shape.ctaRows()) < 12 * kMultiprocessors)
      shape.rowWarps /= 2;
    shape.columnWarps = kWarps / shape.rowWarps;
    return shape.chooseDepth(ceilDiv(stages, shape.columnWarps));
  };
  while (!divide(up, 2 * inner, stages13) || !divide(down, hidden, stages2)) {
    if (up.tokenTiles == 1)
      return std::nullopt;
    up.tokenTiles /= 2;
    down.tokenTiles /= 2;
    blocks = std::min(held, pairs) + pairs / up.tokens();
  }
  // Many tokens for each expert: tiles of 64.
  TileShape upTile = {1, 4, types->scaleUnits13 * 64,
                      streamGroup(hidden, op.group),
                      streamGroup(hidden, types->blockCols13)};
  TileShape downTile = {1, 4, types->scaleUnits2 * 64,
                        streamGroup(inner, op.group),
                        streamGroup(inner, types->blockCols2)};
  bool tiles = codes && canTile(op);
  int64_t blockTokens = tiles ? upTile.tokens() : up.tokens();
  blocks = std::min(held, pairs) + pairs / blockTokens;

  KernelPlan plan;
  plan.headers = {"impls/experts_stream.cuh"};
  Workspace workspace;
  int extent = extentNumber(op.launch);
  std::string planType =
      formatv("ExpertPlan<{0}, {1}, {2}>", held, pairs, blockTokens);
  std::string planAt = workspace.add(planType, 16 + 16 * blocks + 4 * pairs);
  std::string xType = matrixType(op.x), experts = matrixType(op.experts);
  std::string from = "p.operands[0]", factors = "nullptr", tokenType,
              innerTokenType;
  tokenType = innerTokenType = "PlainTokens";
  std::string innerType, innerFrom, innerFactors = "nullptr", innerFactorsType;
  std::string scale13 = "Unscaled", scale2 = "Unscaled";

  FunctionPlan prepare;
  prepare.suffix = "prepare";
  prepare.block = 512;
  prepare.sharedBytes = 2 * 4 * held;
  if (codes) {
    int64_t groups = ceilDiv(hidden, op.group), stride = roundUp(hidden, 16);
    std::string codesType =
        formatv("Matrix<e4m3, {0}, {1}, {2}>", tokens, hidden, stride);
    std::string factorsType =
        formatv("Matrix<f32, {0}, {1}, {1}>", tokens, groups);
    from = workspace.add("uint8_t", tokens * stride);
    factors = workspace.add("uint8_t", tokens * groups * 4);
    prepare.body =
        formatv("prepareExperts<{0}, {1}, {2}, {3}, {4}, {5}>(p, {6}, {7}, "
                "{8});",
                extent, op.group, xType, codesType, factorsType, experts,
                planAt, from, factors);
    prepare.grid[0] = 1 + blocksOfWarps(tokens * groups);
    xType = codesType;
    tokenType = formatv("ScaledTokens<{0}, {1}>", factorsType,
                        streamGroup(hidden, op.group));
    int64_t innerGroups = ceilDiv(inner, op.group),
            innerStride = roundUp(inner, 16);
    innerType =
        formatv("Matrix<e4m3, {0}, {1}, {2}>", pairs, inner, innerStride);
    innerFactorsType =
        formatv("Matrix<f32, {0}, {1}, {1}>", pairs, innerGroups);
    innerFrom = workspace.add("uint8_t", pairs * innerStride);
    innerFactors = workspace.add("uint8_t", pairs * innerGroups * 4);
    innerTokenType = formatv("ScaledTokens<{0}, {1}>", innerFactorsType,
                             streamGroup(inner, op.group));
  } else {
    prepare.body =
        formatv("planExperts<{0}, {1}>(p, {2});", extent, experts, planAt);
    int64_t stride = roundUp(inner, 8);
    innerType =
        formatv("Matrix<bf16, {0}, {1}, {2}>", 2 * pairs, inner, stride);
    innerFrom = workspace.add("uint8_t", 2 * pairs * stride * 2);
  }
  if (op.scaled) {
    scale13 = streamScale13(op, *types);
    scale2 = streamScale2(op, *types);
  }
  std::string values = workspace.add("float", pairs * inner * 4);
  std::string products = workspace.add("float", pairs * hidden * 4);
  plan.functions.push_back(std::move(prepare));
  std::string w13Type = matrixType(op.w13), w2Type = matrixType(op.w2);
  if (tiles) {
    plan.headers = {"impls/experts_tile.cuh"};
    plan.functions.push_back(tileFunction(
        "up",
        formatv("expertsUpTile<{0}, {1}, {2}, {3}, {4}, {5}>(p, {6}, {7}, "
                "{8}, {9});",
                op.slots(), xType, w13Type, upTile.text(xType, w13Type),
                scale13, tokenType, planAt, from, factors, values),
        upTile, blocks * (inner / 64)));
  } else {
    plan.functions.push_back(productFunction(
        "up",
        formatv("expertsUpStream<{0}, {1}, {2}, {3}, {4}, {5}>(p, {6}, {7}, "
                "{8}, {9});",
                op.slots(), xType, w13Type, up.text(), scale13, tokenType,
                planAt, from, factors, values),
        up, blocks * ceilDiv(2 * inner, up.ctaRows())));
  }
  // A short row of w2 is a stage: its activations are encoded by those who need
  // them, and warps go through many rows without a pause.
  constexpr int64_t kPasses = 8;
  StreamShape inPasses = down;
  inPasses.rowWarps = kWarps;
  inPasses.columnWarps = 1;
  inPasses.depth = 4;
  inPasses.residentTokens = blockTokens;
  inPasses.residentCols = inner;
  inPasses.residentGroups = ceilDiv(inner, op.group ? op.group : 1);
  int64_t passesBytes =
      roundUp(inPasses.ringBytes() + kWarps * inPasses.residentBytes(), 16) +
      kWarps * 16;
  if (codes && !tiles && stages2 == 1 && up.tokenTiles <= 2 &&
      passesBytes <= kSharedMemory) {
    FunctionPlan function = productFunction(
        "down",
        formatv("expertsDownPasses<{0}, {1}, {2}, {3}, {4}>(p, {5}, {6}, "
                "{7});",
                op.group, kPasses, w2Type, inPasses.text(), scale2, planAt,
                values, products),
        inPasses, blocks * ceilDiv(hidden, kPasses * inPasses.ctaRows()));
    function.sharedBytes = passesBytes;
    plan.functions.push_back(std::move(function));
  } else {
    FunctionPlan encode;
    encode.suffix = "inner";
    encode.block = 256;
    if (codes) {
      encode.body = formatv("encodeInner<{0}, {1}, {2}, {3}>({4}, {5}, {6}, "
                            "{7});",
                            op.group, inner, innerType, innerFactorsType,
                            planAt, values, innerFrom, innerFactors);
      encode.grid[0] = blocksOfWarps(pairs * ceilDiv(inner, op.group));
    } else {
      encode.body = formatv("splitInner<{0}, {1}>({2}, {3}, {4});", inner,
                            innerType, planAt, values, innerFrom);
      encode.grid[0] = blocksOfWarps(ceilDiv(pairs * inner, 32));
    }
    plan.functions.push_back(std::move(encode));
    std::string body;
    if (tiles) {
      // The more passes, the fewer pauses; items must be enough for all CTAs.
      int64_t passes =
          std::clamp<int64_t>(blocks * ceilDiv(hidden, 128) /
                                  (kMultiprocessors * downTile.resident() * 4),
                              1, 8);
      plan.functions.push_back(tileFunction(
          "down",
          formatv("expertsDownTile<{0}, {1}, {2}, {3}, {4}, {5}>(p, {6}, {7}, "
                  "{8}, {9});",
                  passes, innerType, w2Type, downTile.text(innerType, w2Type),
                  scale2, innerTokenType, planAt, innerFrom, innerFactors,
                  products),
          downTile, blocks * ceilDiv(hidden, 128 * passes)));
    } else {
      plan.functions.push_back(productFunction(
          "down",
          formatv("expertsDownStream<{0}, {1}, {2}, {3}, {4}, {5}>(p, {6}, "
                  "{7}, {8}, {9});",
                  parts, innerType, w2Type, down.text(), scale2, innerTokenType,
                  planAt, innerFrom, innerFactors, products),
          down, blocks * ceilDiv(hidden, down.ctaRows())));
    }
  }
  FunctionPlan combine;
  combine.suffix = "combine";
  combine.body =
      formatv("combineExperts<{0}, {1}, {2}, {3}, {4}, {5}>(p, "
              "{6});",
              extent, op.launch.operands.size() - 1, held,
              matrixType(op.weights), experts, matrixType(op.out), products);
  combine.block = 256;
  combine.grid[0] = tokens;
  combine.grid[1] = ceilDiv(hidden, 1024);
  plan.functions.push_back(std::move(combine));
  plan.workspaceBytes = workspace.bytes;
  return plan;
}
