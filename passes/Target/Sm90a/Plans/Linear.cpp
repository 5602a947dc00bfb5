// linear, linear_of_codes and encode_rows.

#include "passes/Target/Sm90a/Plans/Decoded.h"
#include "passes/Target/Sm90a/Plans/Digits.h"
#include "passes/Target/Sm90a/Plans/Packed.h"

#include "llvm/Support/FormatVariadic.h"

#include <optional>

using namespace mlir;
using llvm::formatv;
using namespace saddle::cuda;

/// Kernels of impls/linear.cuh: for every shape, type and stride.
static KernelPlan planAnyShape(const LaunchDesc &launch, const StoredWeight &w,
                               const LaunchOfCodes *codes = nullptr) {
  const Operand &x = launch.operands[0], &out = launch.operands.back();
  KernelPlan plan;
  plan.headers = {"impls/linear.cuh"};
  int64_t group = launch.integer("act_group"), rows = x.shape[0],
          cols = x.shape[1];
  std::string xType = matrixType(x), from = "p.operands[0]";
  auto replaceX = [&](StringRef suffix, StringRef called, int64_t columns) {
    FunctionPlan function;
    function.suffix = suffix.str();
    function.body = formatv("{0}<{1}, {2}, {3}>(p, {4}, p.workspace);", called,
                            extentNumber(launch), columns, xType, from);
    function.block = kWarpsOfAnyShape * 32;
    function.grid[0] = blocksOfWarps(rows * ceilDiv(cols, columns));
    plan.functions.push_back(std::move(function));
    plan.workspaceBytes = uint64_t(rows * cols) * sizeof(float);
    xType = formatv("Matrix<f32, {0}, {1}, {1}>", rows, cols);
    from = "p.workspace";
  };
  if (codes) {
    plan.functions.push_back(codes->decodeFunction());
    plan.workspaceBytes = uint64_t(rows * cols) * sizeof(float);
    xType = formatv("Matrix<f32, {0}, {1}, {1}>", rows, cols);
    from = "p.workspace";
  } else if (group > 0) {
    replaceX("round", "roundToGroups", group);
  }
  if (int64_t columns = w.elements.encoding.rotated)
    replaceX("rotate", "rotateRows", columns);
  FunctionPlan product;
  product.suffix = plan.functions.empty() ? "" : "product";
  product.body =
      formatv("linearAnyShape<{0}, {1}, {2}, {3}>(p, {4});",
              extentNumber(launch), xType, w.type(), matrixType(out), from);
  product.block = kWarpsOfAnyShape * 32;
  product.residentBlocks = 1; // else ptxas may spill
  product.grid[0] = blocksOfWarps(ceilDiv(rows, 4) * w.elements.shape[0]);
  plan.functions.push_back(std::move(product));
  return plan;
}

/// Encodes tokens.
static FunctionPlan encodeFunction(const LaunchDesc &launch,
                                   const EncodedTokens &encoded) {
  const Operand &x = launch.operands[0];
  FunctionPlan encode;
  encode.suffix = "encode";
  encode.body =
      formatv("encodeRows<{0}, {1}, {2}, {3}, {4}>(p, "
              "p.operands[0], {5}, {6});",
              extentNumber(launch), encoded.group, matrixType(x), encoded.codes,
              encoded.factors, encoded.codesAt, encoded.factorsAt);
  encode.block = kWarpsOfAnyShape * 32;
  encode.grid[0] =
      blocksOfWarps(x.shape[0] * ceilDiv(x.shape[1], encoded.group));
  return encode;
}

static constexpr int64_t kStreamWarps = 8;

/// Divides the rows of the weight over enough CTAs to fill the machine. Fewer
/// than 16 rows or 8 tokens for a warp waste products, which cost less than
/// idle multiprocessors.
static Division planStream(StreamShape shape, int64_t tokens,
                           const Operand &w) {
  shape.tokenTiles = tokens <= 8 ? 1 : tokens <= 16 ? 2 : 4;
  shape.rows = 16;
  shape.rowWarps = kStreamWarps;
  auto ctas = [&] {
    return ceilDiv(w.shape[0], shape.ctaRows()) *
           ceilDiv(tokens, shape.tokens());
  };
  while (shape.rowWarps > 1 && ctas() < 8 * kMultiprocessors)
    shape.rowWarps /= 2;
  if (ctas() < kMultiprocessors)
    shape.rows = 8;
  // A few idle multiprocessors cost less than fetching weights for half the
  // tokens.
  while (shape.tokenTiles > 1 && ctas() < kMultiprocessors * 15 / 16)
    shape.tokenTiles /= 2;
  while (shape.rows > 2 && ctas() < kMultiprocessors * 3 / 4)
    shape.rows /= 2;
  return Division::stream(shape.rows, shape.rowWarps, shape.tokenTiles);
}

/// Makes the shape of a division: columns go over the warps that rows leave.
/// False when it does not fit.
static bool divide(StreamShape &shape, const Division &division,
                   const Operand &w) {
  constexpr int64_t kWarps = kStreamWarps;
  int64_t unit = streamUnitColumns(w.element);
  shape.rows = division.rows;
  shape.rowWarps = division.rowWarps;
  shape.tokenTiles = division.tokenTiles;
  // A line of 16 rows in a stage, or as many bytes of fewer rows, but no more
  // than a warp's share of the columns.
  int64_t share = ceilDiv(w.shape[1], kWarps / shape.rowWarps * unit);
  int64_t wanted = std::min(2 * ceilDiv(16, shape.rows), ceilDiv(share, 2));
  shape.units = streamUnits(w.shape[1], unit, shape.scaleUnits,
                            std::max<int64_t>(wanted, 2));
  int64_t stages = ceilDiv(w.shape[1], shape.units * unit);
  shape.columnWarps = std::min(kWarps / shape.rowWarps, stages);
  return shape.chooseDepth(ceilDiv(stages, shape.columnWarps));
}

/// Other ways to stream than `planned`, each one step away from it, which fit.
static std::vector<Division> streamsBeside(const Division &planned,
                                           const StreamShape &shape,
                                           int64_t tokens, const Operand &w) {
  int64_t rows = planned.rows, warps = planned.rowWarps,
          tiles = planned.tokenTiles;
  std::vector<Division> ways;
  for (const Division &way : {Division::stream(rows, warps / 2, tiles),
                              Division::stream(rows, warps * 2, tiles),
                              Division::stream(rows / 2, warps, tiles),
                              Division::stream(rows * 2, warps, tiles),
                              Division::stream(rows, warps, tiles / 2),
                              Division::stream(rows, warps, tiles * 2)}) {
    StreamShape divided = shape;
    if (way.rows >= 2 && way.rows <= 16 && way.rowWarps >= 1 &&
        way.rowWarps <= kStreamWarps && way.tokenTiles >= 1 &&
        way.tokenTiles <= 4 && (way.tokenTiles - 1) * 8 < tokens &&
        divide(divided, way, w))
      ways.push_back(way);
  }
  return ways;
}

static FunctionPlan productFunction(std::string body, const StreamShape &shape,
                                    int64_t rows, int64_t tokens) {
  FunctionPlan product;
  product.body = std::move(body);
  product.block = shape.warps() * 32;
  product.sharedBytes = shape.sharedBytes();
  // More tiles of tokens need more registers than two CTAs can have.
  bool two = product.sharedBytes <= kSharedMemory / 2 && shape.tokenTiles == 1;
  product.residentBlocks = two ? 2 : 1;
  product.waitsItself = true;
  product.grid[0] = ceilDiv(rows, shape.ctaRows());
  product.grid[1] = ceilDiv(tokens, shape.tokens());
  return product;
}

/// The tile for many tokens, where there are enough of them to be worth it.
static std::optional<Division> planTile(int64_t tokens, const Operand &out) {
  int64_t rows = out.shape[1];
  if (tokens <= 64 && ceilDiv(tokens, 64) * ceilDiv(rows, 128) < 48)
    return std::nullopt;
  TileShape tile = tileFor(tokens, rows);
  return Division::tile(tile.groups, tile.waves);
}

/// Panels of rows, of which there is nearly one for each multiprocessor; none
/// where they do not fit. The ring takes all of the shared memory or half of
/// it.
static std::vector<Division> panelsOf(const StreamShape &shape,
                                      const Operand &w, const Operand &out) {
  int64_t columns = PanelShape::kLineBytes / shape.weightBytes;
  bool scaled = shape.scaleUnits != 0;
  if (shape.weightBytes > 2 || w.shape[1] % columns != 0 ||
      w.shape[0] % 8 != 0 || out.strides[0] % 2 != 0 || out.alignment < 8 ||
      scaled != (shape.weightBytes == 1) ||
      (scaled && shape.scaleUnits * streamUnitColumns(w.element) != columns))
    return {};
  for (int64_t rows : {8, 16, 24, 32, 48, 64}) {
    if (ceilDiv(w.shape[0], rows) > kMultiprocessors)
      continue;
    std::vector<Division> ways;
    for (int64_t most : {kSharedMemory, kSharedMemory / 2}) {
      PanelShape panel(rows, ceilDiv(w.shape[1], columns), scaled, most);
      if (panel.sharedBytes() > most) // factors of all stages are there
        continue;
      Division way = Division::panel(rows, panel.depth);
      if (!llvm::is_contained(ways, way))
        ways.push_back(way);
    }
    return ways;
  }
  return {};
}

/// How the launch's product is divided. `shape` says how scales lie; tiles and
/// panels come into question where `tiles` and `panels` say so. Nothing when no
/// way fits.
static std::optional<DividedProduct> divideProduct(const LaunchDesc &launch,
                                                   const StreamShape &shape,
                                                   bool tiles, bool panels,
                                                   StringRef form) {
  const Operand &x = launch.operands[0], &w = launch.operands[1],
                &out = launch.operands.back();
  int64_t tokens = x.shape[0];
  tiles = tiles && canWriteTiles(out) && tokens > 16;
  std::vector<Division> ways;
  if (tiles)
    if (std::optional<Division> tile = planTile(tokens, out))
      ways.push_back(*tile);
  // Fewer rows than 16 cost less than the tokens that each CTA reads.
  std::vector<Division> others;
  if (panels && tokens > 8 && tokens <= PanelShape::kTokens && ways.empty()) {
    std::vector<Division> panel = panelsOf(shape, w, out);
    bool first = tokens > 16 && !panel.empty() && panel[0].panelRows >= 16;
    llvm::append_range(first ? ways : others, panel);
  }
  Division stream = planStream(shape, tokens, w);
  StreamShape fits = shape;
  if (divide(fits, stream, w)) {
    ways.push_back(stream);
    // Beside a tile or a panel one is enough.
    if (ways.size() == 1)
      llvm::append_range(ways, streamsBeside(stream, shape, tokens, w));
  }
  llvm::append_range(ways, others);
  if (tiles)
    for (const Division &tile :
         {Division::tile(1, 1), Division::tile(1, 2), Division::tile(2, 2)})
      if (!llvm::is_contained(ways, tile))
        ways.push_back(tile);
  if (ways.empty())
    return std::nullopt;
  std::string name =
      formatv("linear {0} {1}x{2} {3}tokens {4}{5}", deviceType(w.element),
              w.shape[0], w.shape[1],
              launch.integer("act_group") > 0
                  ? formatv("group {0} ", launch.integer("act_group")).str()
                  : "",
              tokens, form);
  return launch.tuning->choose(std::move(name), ways, launch.waysBefore);
}

/// Codes of rows with scales of their own, of tokens quantised by whole rows:
/// tiles of codes, whose rows are scaled when they are written.
static std::optional<KernelPlan> planLinearOfRows(const LaunchDesc &launch,
                                                  const StoredWeight &w) {
  const Operand &x = launch.operands[0], &out = launch.operands.back();
  int64_t tokens = x.shape[0], rows = w.elements.shape[0], cols = w.cols();
  int64_t group = launch.integer("act_group");
  if (!w.isOfScaledRows(group) || rows % 8 != 0 || !canWriteTiles(out) ||
      tokens < leastDecodedTokens(8))
    return std::nullopt;
  TileShape tile = tileFor(tokens, rows, 128);
  tile.takeInOrder(tokens);
  tile.tokenGroup = streamGroup(cols, group);
  tile.weightGroup = 0;
  EncodedTokens encoded(tokens, cols, group);
  uint64_t mapsAt = roundUp(encoded.bytes, 256);
  std::string weights = matrixType(w.elements);
  FunctionPlan product = tile.function(
      "product",
      formatv("linearTile<{0}, {1}, {2}, {3}, {4}, Companion<{5}, {6}, {7}>, "
              "ScaledTokens<{8}, {9}>>(p, p.workspace, {10}, "
              "static_cast<uint8_t *>(p.workspace) + {11});",
              extentNumber(launch), encoded.codes, weights, matrixType(out),
              tile.text(encoded.codes, weights), matrixType(*w.scale),
              w.scale->blockRows, cols, encoded.factors, tile.tokenGroup,
              encoded.factorsAt, mapsAt),
      ceilDiv(rows, tile.rows()) * ceilDiv(tokens, tile.tokens()));
  KernelPlan plan;
  plan.headers = {"impls/linear_tile.cuh"};
  plan.functions = {encodeFunction(launch, encoded), std::move(product)};
  plan.workspaceBytes = mapsAt + TileShape::mapBytes();
  return plan;
}

static TileShape tileOf(const Division &division, int64_t tokens,
                        int64_t scaleColumns = 0) {
  TileShape tile(division.groups, division.waves, scaleColumns);
  tile.takeInOrder(tokens);
  return tile;
}

static FunctionPlan tileFunction(std::string body, const TileShape &tile,
                                 int64_t rows, int64_t tokens) {
  return tile.function("", std::move(body),
                       ceilDiv(rows, tile.rows()) *
                           ceilDiv(tokens, tile.tokens()));
}

/// The product of plain weights on impls/linear_tile.cuh.
static FunctionPlan tileProduct(const LaunchDesc &launch, const TileShape &tile,
                                llvm::StringRef weights, int64_t rows,
                                llvm::StringRef arguments) {
  const Operand &x = launch.operands[0];
  std::string xType = matrixType(x);
  return tileFunction(
      formatv("linearTile<{0}, {1}, {2}, {3}, {4}>(p, p.operands[0], nullptr, "
              "{5});",
              extentNumber(launch), xType, weights,
              matrixType(launch.operands[2]), tile.text(xType, weights),
              arguments),
      tile, rows, x.shape[0]);
}

/// Adds to the streaming product of weights in fp32 what takes its place where
/// a step has many tokens: the first function splits the weights into three
/// parts in bf16, which are three times as many rows of one product, and a last
/// one adds the products of a row.
static void addParts(const LaunchDesc &launch, KernelPlan &plan) {
  const Operand &x = launch.operands[0], &w = launch.operands[1],
                &out = launch.operands[2];
  constexpr int64_t kStageColumns = 64;
  int64_t tokens = x.shape[0], rows = w.shape[0], cols = w.shape[1];
  // Items have 64 tokens, so that a prompt of 2048 has enough of them, and half
  // as many rows where that leaves fewer multiprocessors without one. Where the
  // parts are as fast as a stream. Both measured with 256 rows of 3072 columns
  // (docs/benchmarks.md).
  int64_t waves = tokens * rows <= 1'048'576 ? 1 : 2;
  int64_t least = ceilDiv(waves == 1 ? 212'992 : 327'680, rows);
  if (!canWriteTiles(out) || cols % kStageColumns != 0 || rows % 4 != 0 ||
      tokens < least)
    return;
  std::string count = formatv("p.step->counts[{0}]", extentNumber(launch));
  std::string xType = matrixType(x);
  std::string parts = formatv("Matrix<bf16, {0}, {1}, {1}>", 3 * rows, cols);
  std::string sums = formatv("Matrix<f32, {0}, {1}, {1}>", tokens, 3 * rows);
  uint64_t sumsAt = roundUp(3 * rows * cols * 2, 256),
           mapsAt = roundUp(sumsAt + tokens * 3 * rows * 4, 256);
  auto workspaceAt = [](uint64_t bytes) -> std::string {
    return formatv("static_cast<uint8_t *>(p.workspace) + {0}", bytes);
  };
  FunctionPlan &stream = plan.functions.front();
  stream.suffix = "few";
  // Nobody may come before those that were before.
  stream.body =
      formatv("if ({0} >= {1}) {{\n  waitForPrevious();\n  allowNext();\n  "
              "splitWeights<{2}, {3}>(p, p.workspace);\n  return;\n}\n{4}",
              count, least, matrixType(w), parts, stream.body);

  std::string few = formatv("if ({0} < {1})\n  return;\n", count, least);
  TileShape tile(1, waves);
  tile.takeInOrder(tokens);
  FunctionPlan product = tileFunction(
      formatv("{0}LaunchParams many = p;\nmany.operands[2] = {1};\n"
              "linearTile<{2}, {3}, {4}, {5}, {6}>(many, p.operands[0], "
              "nullptr, {7}, p.workspace);",
              few, workspaceAt(sumsAt), extentNumber(launch), xType, parts,
              sums, tile.text(xType, parts), workspaceAt(mapsAt)),
      tile, 3 * rows, tokens);
  product.suffix = "product";
  FunctionPlan sum;
  sum.suffix = "sum";
  sum.body =
      formatv("{0}sumParts<{1}, 2, {2}, {3}>(p, {4});", few,
              extentNumber(launch), sums, matrixType(out), workspaceAt(sumsAt));
  sum.block = kWarpsOfAnyShape * 32;
  sum.grid[0] = blocksOfWarps(ceilDiv(tokens * rows, 4 * 32));
  plan.headers.push_back("impls/linear_tile.cuh");
  plan.functions.push_back(std::move(product));
  plan.functions.push_back(std::move(sum));
  plan.workspaceBytes = mapsAt + TileShape::mapBytes();
}

/// Kernels of impls/linear_stream.cuh or linear_tile.cuh for plain weights,
/// where the operands allow it.
static std::optional<KernelPlan> planPlainStream(const LaunchDesc &launch) {
  const Operand &x = launch.operands[0], &w = launch.operands[1];
  if (!canStreamWeights(w) || !canStreamTokens(x, w.element) ||
      launch.integer("act_group") > 0)
    return std::nullopt;
  StreamShape shape(w.element);
  std::optional<DividedProduct> product =
      divideProduct(launch, shape, /*tiles=*/w.element.isBF16(),
                    /*panels=*/w.element.isBF16(), "");
  if (!product)
    return std::nullopt;
  KernelPlan plan;
  plan.products = {*product};
  if (product->division.isTile()) {
    plan.headers = {"impls/linear_tile.cuh"};
    plan.functions.push_back(
        tileProduct(launch, tileOf(product->division, x.shape[0]),
                    matrixType(w), w.shape[0], "p.workspace"));
    plan.workspaceBytes = TileShape::mapBytes();
    return plan;
  }
  if (product->division.isPanel()) {
    PanelShape panel(product->division, w.shape[1], shape);
    plan.headers = {"impls/linear_panel.cuh"};
    plan.functions.push_back(panel.function(
        formatv("linearPanel<{0}, {1}, {2}, {3}, {4}>(p, p.operands[0], "
                "nullptr);",
                extentNumber(launch), matrixType(x), matrixType(w),
                matrixType(launch.operands[2]), panel.text()),
        w.shape[0], x.shape[0]));
    return plan;
  }
  divide(shape, product->division, w);
  plan.headers = {"impls/linear_stream.cuh"};
  plan.functions.push_back(productFunction(
      formatv("linearStream<{0}, {1}, {2}, {3}, {4}>(p, p.operands[0], "
              "nullptr);",
              extentNumber(launch), matrixType(x), matrixType(w),
              matrixType(launch.operands[2]), shape.text()),
      shape, w.shape[0], x.shape[0]));
  if (w.element.isF32())
    addParts(launch, plan);
  return plan;
}

namespace {

/// What a product of encoded tokens and scaled weights is about.
struct ScaledLinear {
  explicit ScaledLinear(const LaunchDesc &launch)
      : launch(launch), x(launch.operands[0]), w(launch.operands[1]),
        scale(*launch.find("w_scale")), out(launch.operands.back()),
        group(launch.integer("act_group")), tokens(x.shape[0]),
        cols(x.shape[1]) {}

  /// Whether rows can stream; sets how scales lie in the shape.
  bool canStream(StreamShape &shape) const {
    if (!isa<Float8E4M3FNType>(w.element) || !canStreamWeights(w) ||
        group == 0 || group > 512 ||
        (scale.blockRows % 8 != 0 && scale.blockRows < w.shape[0]))
      return false;
    shape.scaleUnits = streamScaleUnits(cols, group, scale.blockCols);
    return shape.scaleUnits != 0;
  }

  std::string scales() const {
    return formatv("Companion<{0}, {1}, {2}>", matrixType(scale),
                   scale.blockRows, streamGroup(cols, scale.blockCols));
  }

  const LaunchDesc &launch;
  const Operand &x, &w, &scale, &out;
  int64_t group, tokens, cols;
};

} // namespace

std::optional<KernelPlan>
saddle::cuda::planLinearOfEncoded(const LaunchDesc &launch,
                                  const EncodedTokens *given) {
  ScaledLinear op(launch);
  StreamShape shape(op.w.element);
  if (!op.canStream(shape))
    return std::nullopt;
  bool tiles =
      op.scale.blockRows % 64 == 0 || op.scale.blockRows >= op.w.shape[0];
  std::optional<DividedProduct> divided =
      divideProduct(launch, shape, tiles, /*panels=*/true, "");
  if (!divided)
    return std::nullopt;
  std::optional<TileShape> tile;
  std::optional<PanelShape> panel;
  if (divided->division.isTile())
    tile = tileOf(divided->division, op.tokens, shape.scaleUnits * 64);
  else if (divided->division.isPanel())
    panel.emplace(divided->division, op.cols, shape);
  else
    divide(shape, divided->division, op.w);
  EncodedTokens encoded =
      given ? *given : EncodedTokens(op.tokens, op.cols, op.group);
  KernelPlan plan;
  plan.products = {*divided};
  plan.headers = {"impls/linear_stream.cuh"};
  plan.workspaceBytes = encoded.bytes;
  std::string shapeText = shape.text(), maps;
  if (tile) {
    plan.headers = {"impls/linear_tile.cuh"};
    tile->tokenGroup = streamGroup(op.cols, op.group);
    tile->weightGroup = streamGroup(op.cols, op.scale.blockCols);
    shapeText = tile->text(encoded.codes, matrixType(op.w));
    uint64_t mapsAt = roundUp(encoded.bytes, 256);
    maps = formatv(", static_cast<uint8_t *>(p.workspace) + {0}", mapsAt);
    plan.workspaceBytes = mapsAt + TileShape::mapBytes();
  } else if (panel) {
    plan.headers = {"impls/linear_panel.cuh"};
    shapeText = panel->text();
  }
  std::string body = formatv(
      "{0}<{1}, {2}, {3}, {4}, {5}, {6}, ScaledTokens<{7}, {8}>>(p, "
      "{11}, {9}{10});",
      tile    ? "linearTile"
      : panel ? "linearPanel"
              : "linearStream",
      extentNumber(launch), encoded.codes, matrixType(op.w), matrixType(op.out),
      shapeText, op.scales(), encoded.factors, streamGroup(op.cols, op.group),
      encoded.factorsAt, maps, encoded.codesAt);
  FunctionPlan product =
      tile    ? tileFunction(body, *tile, op.w.shape[0], op.tokens)
      : panel ? panel->function(body, op.w.shape[0], op.tokens)
              : productFunction(body, shape, op.w.shape[0], op.tokens);
  product.suffix = "product";
  plan.functions.push_back(std::move(product));
  return plan;
}

std::optional<ResidentProduct>
saddle::cuda::planResidentProduct(const LaunchDesc &launch, StringRef how) {
  ScaledLinear op(launch);
  StreamShape shape(op.w.element);
  if (!op.canStream(shape))
    return std::nullopt;
  shape.keepTokens(op.tokens, op.cols, op.group);
  std::optional<DividedProduct> divided =
      divideProduct(launch, shape, /*tiles=*/false, /*panels=*/false, how);
  if (!divided)
    return std::nullopt;
  divide(shape, divided->division, op.w);
  return ResidentProduct{*divided, shape.text(), op.scales(),
                         productFunction("", shape, op.w.shape[0], op.tokens)};
}

/// The same for scaled weights: CTAs encode tokens for themselves, or a
/// function before does.
static std::optional<KernelPlan> planScaledStream(const LaunchDesc &launch) {
  ScaledLinear op(launch);
  StreamShape shape(op.w.element);
  if (!op.canStream(shape))
    return std::nullopt;
  // Encoding a group for each warp again in every CTA is cheaper than a launch.
  if (op.tokens * ceilDiv(op.cols, op.group) <= 8)
    if (std::optional<ResidentProduct> product =
            planResidentProduct(launch, " encoded where they are used")) {
      KernelPlan plan;
      plan.products = {product->divided};
      plan.headers = {"impls/linear_stream.cuh"};
      plan.functions = {std::move(product->function)};
      plan.functions.front().body = formatv(
          "linearEncodeStream<{0}, {1}, {2}, {3}, {4}, {5}, {6}>(p);",
          extentNumber(launch), op.group, matrixType(op.x), matrixType(op.w),
          matrixType(op.out), product->shape, product->scales);
      return plan;
    }
  std::optional<KernelPlan> plan = planLinearOfEncoded(launch);
  if (!plan)
    return std::nullopt;
  EncodedTokens encoded(op.tokens, op.cols, op.group);
  plan->functions.insert(plan->functions.begin(),
                         encodeFunction(launch, encoded));
  return plan;
}

FailureOr<KernelPlan> saddle::cuda::planLinear(const LaunchDesc &launch,
                                               std::string &error) {
  StoredWeight w(launch, "w");
  if (!w.check(error))
    return failure();
  std::optional<KernelPlan> plan;
  if (w.isPlain())
    plan = planPlainStream(launch);
  else if (w.isScaled())
    plan = planScaledStream(launch);
  if (!plan)
    plan = planLinearDigits(launch, w);
  if (!plan)
    plan = planLinearOfRows(launch, w);
  if (!plan)
    plan = planLinearDecoded(launch, w);
  if (!plan)
    plan = planLinearPacked(launch, w);
  return plan ? std::move(*plan) : planAnyShape(launch, w);
}

FailureOr<KernelPlan> saddle::cuda::planLinearOfCodes(const LaunchDesc &launch,
                                                      std::string &error) {
  LaunchOfCodes codes(launch, "linear");
  StoredWeight w(codes.product, "w");
  if (!w.check(error))
    return failure();
  std::optional<KernelPlan> plan;
  if (codes.fits && w.isScaled())
    plan = planLinearOfEncoded(codes.product, &codes.encoded);
  return codes.place(plan ? *plan : planAnyShape(codes.product, w, &codes));
}

FailureOr<KernelPlan> saddle::cuda::planEncodeRows(const LaunchDesc &launch,
                                                   std::string &) {
  EncodedTokens encoded(launch.operands[1], launch.operands[2],
                        launch.integer("group"), "p.operands[1]",
                        "p.operands[2]");
  KernelPlan plan;
  plan.headers = {"impls/linear_stream.cuh"};
  plan.functions = {encodeFunction(launch, encoded)};
  plan.functions.front().suffix = "";
  return plan;
}
