// experts with tokens sorted by expert.

#include "passes/Target/Sm90a/Plans/Decoded.h"
#include "runtime/kernels/shared/experts.h"

#include "llvm/Support/FormatVariadic.h"

#include <limits>

using namespace mlir;
using llvm::formatv;
using namespace saddle;
using namespace saddle::cuda;

std::string ExpertsWorkspace::add(StringRef type, int64_t count) {
  std::string text =
      formatv("reinterpret_cast<{0} *>(static_cast<uint8_t *>(p.workspace) "
              "+ {1})",
              type, bytes);
  bytes = roundUp(bytes + count, 256);
  return text;
}

FunctionPlan saddle::cuda::sortFunction(const ExpertsLaunch &op,
                                        StringRef planAt) {
  constexpr int64_t kPairsOfCta = 8192, kSortingCtas = 8;
  FunctionPlan function;
  function.suffix = "prepare";
  // One CTA sorts all pairs. Many would keep it longer than the others take to
  // encode: then a cluster does (with 65,536 pairs 75 us otherwise, H200).
  int64_t ctas = op.pairs() > kPairsOfCta ? kSortingCtas : 1;
  function.body =
      formatv("planExperts<{0}, {1}, {2}>(p, {3});", extentNumber(op.launch),
              ctas, matrixType(op.experts), planAt);
  function.block = ctas == 1 && op.pairs() > 4096 ? 1024 : 512;
  // Registers that one CTA sorts with would keep others from encoding; choices
  // that are loaded one by one need them.
  if (function.block == 512 && op.slots() % 4 == 0)
    function.residentBlocks = 3;
  function.cluster = ctas;
  function.grid[0] = ctas;
  function.sharedBytes = device::expertSortBytes(op.held());
  return function;
}

FunctionPlan saddle::cuda::combineFunction(const ExpertsLaunch &op,
                                           StringRef products,
                                           int64_t productBytes) {
  // Each lane has 16 bytes at a time. Of many tokens a warp takes three times
  // as many columns, for which it looks at the choices once.
  int64_t parts = ceilDiv(op.hidden() * productBytes, 32 * 16);
  if (op.tokens() * parts > kMultiprocessors * 32)
    parts = ceilDiv(parts, 3);
  FunctionPlan function;
  function.suffix = "combine";
  function.body =
      formatv("combineExperts<{0}, {1}, {2}, {3}, {4}, {5}, {6}>(p, {7});",
              extentNumber(op.launch), op.launch.operands.size() - 1, op.held(),
              parts, matrixType(op.weights), matrixType(op.experts),
              matrixType(op.out), products);
  function.block = kWarpsOfAnyShape * 32;
  function.grid[0] = ceilDiv(op.tokens() * parts, kWarpsOfAnyShape);
  return function;
}

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

/// Tokens of an expert that one pass over its weights takes.
static int64_t tokenTilesFor(const ExpertsLaunch &op) {
  int64_t each = op.tokensPerExpert();
  return each <= 6 ? 1 : each <= 14 ? 2 : 4;
}

bool saddle::cuda::canTileExperts(const ExpertsLaunch &op) {
  if (!op.scale13)
    return false;
  int64_t rows2 = op.scale2->blockRows;
  return op.tokensPerExpert() > 12 && op.inner() % 64 == 0 &&
         op.hidden() % 8 == 0 && op.scale13->blockRows % 64 == 0 &&
         (rows2 % 64 == 0 || rows2 >= op.hidden());
}

namespace {

/// The tokens of a product as its kernel is told of them.
struct TokenRows {
  std::string type; // Matrix<...>
  std::string data, factors = "nullptr";
  std::string factorsType;
  std::string tokens = "PlainTokens"; // or ScaledTokens<...>
};

/// The functions of one launch. Shapes are divided first, then come places in
/// the workspace; the functions refer to both.
class StreamPlanner {
public:
  StreamPlanner(const ExpertsLaunch &op, const StreamTypes &types);

  /// Nothing when no way fits.
  std::optional<Division> planned();
  /// Each one step away from `planned`.
  std::vector<Division> waysBeside(const Division &planned);
  /// False when it does not fit.
  bool divide(const Division &way);
  void tile();
  /// The same where rows are scaled when their sums are complete.
  void tileRows();
  KernelPlan plan();

private:
  int64_t rowWarpsFor(int64_t rows, int64_t stages, int64_t tokens) const;
  bool divide(StreamShape &shape, int64_t rowWarps, int64_t stages) const;
  int64_t blocksOf(int64_t tokens) const {
    return device::mostExpertBlocks(op.held(), op.pairs(), tokens);
  }
  TokenRows encodedRows(int64_t rows, int64_t cols);
  TokenRows givenRows() const;
  void placeData();

  FunctionPlan prepare() const;
  FunctionPlan firstProduct() const;
  FunctionPlan makeInner() const;
  FunctionPlan secondProduct() const;

  static constexpr int64_t kWarps = 8;

  const ExpertsLaunch &op;
  const StreamTypes &types;
  StreamShape up, down;
  /// In place of those where an expert has many tokens.
  std::optional<TileShape> upTile, downTile;
  /// The first product's tiles encode the activations.
  bool upEncodes = false;
  int64_t stages13 = 0, stages2 = 0; // of a row of w13 and w2
  int64_t parts = 1;                 // rows of the activations of a pair
  int64_t blockTokens = 0; // of one expert that are multiplied together
  int64_t blocks = 0;
  int64_t productBytes = 4; // of a result of the second product

  ExpertsWorkspace workspace;
  std::string w13, w2, experts;
  std::string scale13 = "NoCompanion", scale2 = "NoCompanion";
  std::string planAt, values, products, maps;
  TokenRows x, inner;
};

} // namespace

StreamPlanner::StreamPlanner(const ExpertsLaunch &op, const StreamTypes &types)
    : op(op), types(types), up(op.w13.element), down(op.w2.element),
      w13(matrixType(op.w13)), w2(matrixType(op.w2)),
      experts(matrixType(op.experts)) {
  int64_t unit = streamUnitColumns(op.w13.element);
  up.scaleUnits = types.scaleUnits13;
  down.scaleUnits = types.scaleUnits2;
  up.units = streamUnits(op.hidden(), unit, up.scaleUnits, 4);
  down.units = streamUnits(op.inner(), unit, down.scaleUnits, 4);
  up.rows = down.rows = 16;
  up.sumsApart = down.sumsApart = true;
  parts = types.codes ? 1 : 2;
  stages13 = ceilDiv(op.hidden(), up.units * unit);
  stages2 = ceilDiv(op.inner(), down.units * unit);
}

/// Few items: divides columns among warps; many: rows, so that sums need no
/// adding.
int64_t StreamPlanner::rowWarpsFor(int64_t rows, int64_t stages,
                                   int64_t tokens) const {
  int64_t warps = kWarps;
  while (warps > 1 && stages >= 2 * kWarps / warps &&
         blocksOf(tokens) * ceilDiv(rows, 16 * warps) < 12 * kMultiprocessors)
    warps /= 2;
  return warps;
}

std::optional<Division> StreamPlanner::planned() {
  for (int64_t tiles = tokenTilesFor(op); tiles >= 1; tiles /= 2) {
    Division way =
        Division::sorted(rowWarpsFor(2 * op.inner(), stages13, tiles * 8),
                         rowWarpsFor(op.hidden(), stages2, tiles * 8), tiles);
    if (divide(way))
      return way;
  }
  return std::nullopt;
}

std::vector<Division> StreamPlanner::waysBeside(const Division &planned) {
  const auto [up, down, tiles] =
      std::tuple(planned.upWarps, planned.downWarps, planned.blockTiles);
  std::vector<Division> ways;
  for (const Division &way : {Division::sorted(up / 2, down, tiles),
                              Division::sorted(up * 2, down, tiles),
                              Division::sorted(up, down / 2, tiles),
                              Division::sorted(up, down * 2, tiles),
                              Division::sorted(up, down, tiles / 2),
                              Division::sorted(up, down, tiles * 2)})
    if (divide(way))
      ways.push_back(way);
  return ways;
}

bool StreamPlanner::divide(StreamShape &shape, int64_t rowWarps,
                           int64_t stages) const {
  if (rowWarps < 1 || rowWarps > kWarps || kWarps / rowWarps > stages)
    return false;
  shape.rowWarps = rowWarps;
  shape.columnWarps = kWarps / rowWarps;
  return shape.chooseDepth(ceilDiv(stages, shape.columnWarps));
}

bool StreamPlanner::divide(const Division &way) {
  if (way.blockTiles < 1 || way.blockTiles > 4)
    return false;
  up.tokenTiles = way.blockTiles;
  down.tokenTiles = way.blockTiles * parts;
  blockTokens = up.tokens();
  blocks = blocksOf(blockTokens);
  return divide(up, way.upWarps, stages13) &&
         divide(down, way.downWarps, stages2);
}

/// Takes tiles of many tokens in place of streams.
void StreamPlanner::tile() {
  upTile.emplace(2, 2, types.scaleUnits13 * 64);
  upTile->tokenGroup = streamGroup(op.hidden(), op.group);
  upTile->weightGroup = streamGroup(op.hidden(), types.blockCols13);
  downTile.emplace(2, 2, types.scaleUnits2 * 64);
  downTile->tokenGroup = streamGroup(op.inner(), op.group);
  downTile->weightGroup = streamGroup(op.inner(), types.blockCols2);
  upEncodes = op.group == 128;
  if (upEncodes) // in the order of blocks
    downTile->order = device::TokenOrder::InOrder;
  blockTokens = upTile->tokens();
  blocks = blocksOf(blockTokens);
}

void StreamPlanner::tileRows() {
  tile();
  upTile->weightGroup = downTile->weightGroup = 0;
}

/// Codes and factors of `rows` tokens, in the workspace.
TokenRows StreamPlanner::encodedRows(int64_t rows, int64_t cols) {
  EncodedTokens encoded(rows, cols, op.group);
  TokenRows result;
  result.type = encoded.codes;
  result.factorsType = encoded.factors;
  result.data = workspace.add("uint8_t", rows * roundUp(cols, 16));
  result.factors = workspace.add("uint8_t", rows * ceilDiv(cols, op.group) * 4);
  result.tokens = formatv("ScaledTokens<{0}, {1}>", result.factorsType,
                          streamGroup(cols, op.group));
  return result;
}

/// Codes and factors of x that the launch is given.
TokenRows StreamPlanner::givenRows() const {
  const EncodedTokens &encoded = op.codes->encoded;
  return {encoded.codes, encoded.codesAt, encoded.factorsAt, encoded.factors,
          formatv("ScaledTokens<{0}, {1}>", encoded.factors,
                  streamGroup(op.hidden(), op.group))};
}

void StreamPlanner::placeData() {
  int64_t hidden = op.hidden(), width = op.inner(), pairs = op.pairs();
  planAt = workspace.add(
      formatv("ExpertPlan<{0}, {1}, {2}>", op.held(), pairs, blockTokens).str(),
      device::expertPlanBytes(op.held(), pairs, blockTokens));
  if (types.codes) {
    if (op.codes)
      x = givenRows();
    else
      x = encodedRows(op.tokens(), hidden);
    inner = encodedRows(pairs, width);
  } else {
    x.type = matrixType(op.x);
    x.data = "p.operands[0]";
    int64_t stride = roundUp(width, 8);
    inner.type =
        formatv("Matrix<bf16, {0}, {1}, {2}>", 2 * pairs, width, stride);
    inner.data = workspace.add("uint8_t", 2 * pairs * stride * 2);
  }
  if (op.scale13) {
    scale13 = streamScale13(op, types);
    scale2 = streamScale2(op, types);
  }
  if (!upEncodes)
    values = workspace.add("float", pairs * width * 4);
  if (upTile)
    maps = workspace.add("uint8_t", TileShape::mapBytes());
  // Tiles are many: what they write and combine reads is memory's work.
  productBytes = upTile && op.out.element.isBF16() ? 2 : 4;
  products = workspace.add(productBytes == 2 ? "bf16" : "float",
                           pairs * hidden * productBytes);
}

/// Sorts the pairs and, in other CTAs, encodes x, unless it has been.
FunctionPlan StreamPlanner::prepare() const {
  FunctionPlan function = sortFunction(op, planAt);
  if (!types.codes || op.codes)
    return function;
  int64_t ctas = function.grid[0];
  function.body =
      formatv("prepareExperts<{0}, {1}, {2}, {3}, {4}, {5}, {6}>(p, {7}, {8}, "
              "{9});",
              extentNumber(op.launch), ctas, op.group, matrixType(op.x), x.type,
              x.factorsType, experts, planAt, x.data, x.factors);
  function.grid[0] = roundUp(
      ctas + blocksOfWarps(op.tokens() * ceilDiv(op.hidden(), op.group)), ctas);
  return function;
}

/// inner = silu(gate) * up.
FunctionPlan StreamPlanner::firstProduct() const {
  if (upTile) {
    std::string arguments =
        formatv("{0}, {1}, {2}, {3}, {4}", op.slots(), w13,
                upTile->text(x.type, w13), scale13, x.tokens);
    std::string body =
        upEncodes
            ? formatv("expertsUpEncodeTile<{0}, {1}, {2}>(p, {3}, {4}, {5}, "
                      "{6}, {7}, {8});",
                      arguments, inner.type, inner.factorsType, planAt, x.data,
                      x.factors, inner.data, inner.factors, maps)
                  .str()
            : formatv("expertsUpTile<{0}>(p, {1}, {2}, {3}, {4}, {5});",
                      arguments, planAt, x.data, x.factors, values, maps)
                  .str();
    return upTile->function("up", std::move(body),
                            blocks * ceilDiv(op.inner(), 128));
  }
  return productFunction(
      "up",
      formatv("expertsUpStream<{0}, {1}, {2}, {3}, {4}, {5}>(p, {6}, {7}, {8}, "
              "{9});",
              op.slots(), x.type, w13, up.text(), scale13, x.tokens, planAt,
              x.data, x.factors, values),
      up, blocks * ceilDiv(2 * op.inner(), up.ctaRows()));
}

/// Makes tokens of the activations.
FunctionPlan StreamPlanner::makeInner() const {
  int64_t width = op.inner();
  FunctionPlan function;
  function.suffix = "inner";
  function.block = 256;
  if (types.codes) {
    function.body = formatv("encodeInner<{0}, {1}, {2}, {3}>({4}, {5}, {6}, "
                            "{7});",
                            op.group, width, inner.type, inner.factorsType,
                            planAt, values, inner.data, inner.factors);
    function.grid[0] = blocksOfWarps(op.pairs() * ceilDiv(width, op.group));
  } else {
    function.body = formatv("splitInner<{0}, {1}>({2}, {3}, {4});", width,
                            inner.type, planAt, values, inner.data);
    function.grid[0] = blocksOfWarps(ceilDiv(op.pairs() * width, 32));
  }
  return function;
}

/// products = w2 inner.
FunctionPlan StreamPlanner::secondProduct() const {
  if (downTile)
    return downTile->function(
        "down",
        formatv("expertsDownTile<{0}, {1}, {2}, {3}, {4}>(p, {5}, {6}, {7}, "
                "{8}, {9});",
                op.stored2.number, w2, downTile->text(inner.type, w2), scale2,
                inner.tokens, planAt, inner.data, inner.factors, products,
                maps),
        blocks * ceilDiv(op.hidden(), downTile->rows()));
  FunctionPlan function = productFunction(
      "down",
      formatv("expertsDownStream<{0}, {1}, {2}, {3}, {4}, {5}>(p, {6}, {7}, "
              "{8}, {9});",
              parts, inner.type, w2, down.text(), scale2, inner.tokens, planAt,
              inner.data, inner.factors, products),
      down, blocks * ceilDiv(op.hidden(), down.ctaRows()));
  function.waitsItself = true;
  return function;
}

KernelPlan StreamPlanner::plan() {
  placeData();
  KernelPlan plan;
  plan.headers = {upTile ? "impls/experts_tile.cuh"
                         : "impls/experts_stream.cuh"};
  plan.functions = {prepare(), firstProduct()};
  plan.functions.back().next = Next::WhenWaited; // `down` may read the plan
  if (!upEncodes)
    plan.functions.push_back(makeInner());
  plan.functions.push_back(secondProduct());
  plan.functions.push_back(combineFunction(op, products, productBytes));
  plan.workspaceBytes = workspace.bytes;
  return plan;
}

std::vector<Division> saddle::cuda::sortedWays(const ExpertsLaunch &op) {
  std::optional<StreamTypes> types = streamTypes(op);
  if (!types)
    return {};
  StreamPlanner planner(op, *types);
  std::optional<Division> planned = planner.planned();
  if (!planned)
    return {};
  std::vector<Division> ways = {*planned};
  llvm::append_range(ways, planner.waysBeside(*planned));
  return ways;
}

KernelPlan saddle::cuda::planExpertsStream(const ExpertsLaunch &op,
                                           const Division &way) {
  std::optional<StreamTypes> types = streamTypes(op);
  StreamPlanner planner(op, *types);
  planner.divide(way);
  if (canTileExperts(op))
    planner.tile();
  return planner.plan();
}

std::optional<KernelPlan>
saddle::cuda::planExpertsOfRows(const ExpertsLaunch &op) {
  constexpr int64_t kLargest = std::numeric_limits<int32_t>::max() / 2;
  if (!op.stored13.isOfScaledRows(op.group) ||
      !op.stored2.isOfScaledRows(op.group) || op.inner() % 64 != 0 ||
      op.hidden() % 8 != 0 || op.held() > 2048 || op.pairs() > kLargest ||
      op.tokens() < leastDecodedTokens(8))
    return std::nullopt;
  StreamTypes types = {/*codes=*/true, op.hidden(), op.inner(),
                       /*scaleUnits13=*/2, /*scaleUnits2=*/2};
  StreamPlanner planner(op, types);
  planner.tileRows();
  return planner.plan();
}
