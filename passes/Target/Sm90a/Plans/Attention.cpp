// attention: which of three kernels, and into how many ranges the positions of
// a token are cut.

#include "runtime/kernels/shared/attention.h"
#include "passes/Target/Sm90a/Plans/Literals.h"
#include "passes/Target/Sm90a/Plans/Products.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

#include <limits>

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;

namespace {

/// What the planners below read out of a launch.
struct Shape {
  explicit Shape(const LaunchDesc &launch)
      : q(launch.operands[0]), kCache(launch.operands[1]),
        vCache(launch.operands[2]), table(launch.operands[5]),
        out(launch.operands[6]), tokens(q.shape[0]),
        scale(launch.real("scale")), headDim(launch.integer("head_dim")),
        heads(q.shape[1] / headDim), pageSize(kCache.shape[1]),
        kvHeads(kCache.shape[2]), perKvHead(heads / kvHeads),
        maxContext(table.shape[1] * pageSize) {}

  const Operand &q, &kCache, &vCache, &table, &out;
  int64_t tokens;
  double scale;
  int64_t headDim, heads, pageSize, kvHeads, perKvHead, maxContext;
  /// What combined rows leave as; null: as they are.
  const EncodedTokens *encoded = nullptr;

  /// Ranges that fill the machine: `target` CTAs when there are `others` for
  /// each, but none shorter than a unit.
  int64_t splits(int64_t target, int64_t others) const {
    int64_t most = llvm::divideCeil(maxContext, device::kRangeUnit);
    return std::clamp<int64_t>(target / others, 1, most);
  }

  /// Partial results of so many ranges, which end at a multiple of 128, as the
  /// tensor maps behind them need.
  int64_t partialBytes(int64_t splits) const {
    return llvm::alignTo(
        device::partialResultBytes(tokens * heads * splits, headDim), 128);
  }

  /// Ranges for `blocks` CTAs that take a multiprocessor each: as few rounds of
  /// the machine per range as possible. Rounds are half as uneven as whole
  /// numbers say, because blocks differ. Each further range costs the traffic
  /// of its partial results, as much as 240 positions.
  int64_t balancedSplits(int64_t blocks) const {
    constexpr int64_t kMost = 16, kTypicalContext = 6000;
    double cost = 240.0 / double(std::clamp<int64_t>(maxContext / 2, 64,
                                                     kTypicalContext));
    int64_t most = std::min<int64_t>(
        kMost, llvm::divideCeil(maxContext, device::kRangeUnit));
    int64_t best = 1;
    double least = std::numeric_limits<double>::infinity();
    for (int64_t count = 1; count <= most; ++count) {
      double whole = llvm::divideCeil(blocks * count, kMultiprocessors);
      double even =
          std::max(1.0, double(blocks * count) / double(kMultiprocessors));
      double time = (whole + even) / 2 / double(count);
      if (count > 1)
        time += cost * double(count * blocks) / double(kMultiprocessors);
      if (time < least) {
        least = time;
        best = count;
      }
    }
    return best;
  }

  /// Whether the tensor core kernels can take this launch.
  bool isFast() const {
    bool e4m3 = isa<Float8E4M3FNType>(kCache.element);
    if (!q.element.isBF16() || !out.element.isBF16() ||
        !(e4m3 || kCache.element.isBF16()))
      return false;
    // Rows and heads in pieces of 16 bytes, fragments in registers, and maxima
    // of scores before they are scaled.
    return (headDim == 128 || (headDim == 64 && !e4m3)) &&
           commonVector({&q, &out}) == 8 && scale > 0;
  }

  /// Whether no sequence has several tokens, and pages are whole tiles.
  bool isDecode() const {
    return tokens <= table.shape[0] && pageSize % device::kDecodeTile == 0;
  }

  std::string type(const LaunchDesc &launch, int64_t splits) const {
    return llvm::formatv("Attention<{0}, {1}, {2}, {3}, {4},\n"
                         "                    {5},\n"
                         "                    {6},\n"
                         "                    {7}>",
                         static_cast<int>(launch.extent), headDim, pageSize,
                         splits, matrixType(q),
                         rowsType(kCache, kvHeads * headDim), matrixType(table),
                         matrixType(out));
  }
};

} // namespace

/// The attention function, and combineSplits when there are several ranges.
static KernelPlan assemble(const LaunchDesc &launch, const Shape &shape,
                           int64_t splits, std::string header,
                           FunctionPlan attend, bool everySplit, bool binary) {
  std::string alias = "using A = " + shape.type(launch, splits) + ";\n";
  attend.body = alias + attend.body;
  KernelPlan plan;
  plan.headers = {std::move(header)};
  if (splits > 1) {
    plan.workspaceBytes = uint64_t(shape.partialBytes(splits));
    int64_t warps =
        std::clamp<int64_t>(llvm::bit_ceil(uint64_t(splits)) / 8, 4, 32);
    FunctionPlan combine;
    combine.suffix = "combine";
    std::string arguments =
        llvm::formatv("A, {0}, /*everySplit=*/{1}, /*binary=*/{2}", warps,
                      everySplit ? "true" : "false", binary ? "true" : "false");
    combine.body = alias;
    if (const EncodedTokens *encoded = shape.encoded)
      combine.body +=
          llvm::formatv("combineSplitsEncode<{0}, {1}, {2}>(p, {3}, {4});",
                        arguments, encoded->codes, encoded->factors,
                        encoded->codesAt, encoded->factorsAt);
    else
      combine.body += llvm::formatv("combineSplits<{0}>(p);", arguments);
    combine.block = static_cast<uint32_t>(warps * 32);
    combine.grid[0] = static_cast<uint32_t>(shape.heads);
    combine.grid[1] = static_cast<uint32_t>(shape.tokens);
    attend.suffix = "ranges";
    plan.functions = {std::move(attend), std::move(combine)};
  } else {
    plan.functions = {std::move(attend)};
  }
  return plan;
}

static KernelPlan planAny(const LaunchDesc &launch, const Shape &shape) {
  constexpr int64_t kWarps = 4;
  int64_t splits =
      shape.splits(kMultiprocessors * 8, shape.tokens * shape.heads);
  FunctionPlan attend;
  attend.body = llvm::formatv("attentionAny<A, {0}>(p, {1});", kWarps,
                              floatLiteral(shape.scale));
  attend.block = kWarps * 32;
  attend.grid[0] = static_cast<uint32_t>(splits);
  attend.grid[1] = static_cast<uint32_t>(shape.heads);
  attend.grid[2] = static_cast<uint32_t>(shape.tokens);
  return assemble(launch, shape, splits, "impls/attention.cuh",
                  std::move(attend), false, false);
}

/// Groups of query heads that share a CTA of a decode.
static int64_t decodeGroups(const Shape &shape) {
  return shape.kvHeads *
         llvm::divideCeil(shape.perKvHead, device::kDecodeHeads);
}

/// Registers allow two CTAs of four warps on a multiprocessor, and three when
/// keys and values are half as wide.
static constexpr int64_t kLeastDecodeWarps = 8;
static int64_t residentDecodeWarps(const Shape &shape) {
  return shape.kCache.element.isBF16() ? kLeastDecodeWarps : 12;
}

/// Tiles that a warp has in registers or on their way. A third CTA is worth
/// more than a second narrow tile as long as ranges are cut for it. Measured:
/// 64 tokens take 27.2 us with one and 25.0 with two at context 1024, 24 us
/// less of a layer at 8192; a step of one token at 8192 takes 2 % longer with
/// two.
static int64_t decodeTiles(const Shape &shape, int64_t splits) {
  return splits == 1 && !shape.kCache.element.isBF16() ? 2 : 1;
}

/// Ways to cut the positions of a decode: ranges and warps that fill the
/// machine, then half and twice as many of either.
static DividedProduct divideDecode(const LaunchDesc &launch,
                                   const Shape &shape) {
  constexpr int64_t kWarps = 4;
  int64_t others = shape.tokens * decodeGroups(shape);
  // One place less: the kernel before may still have a CTA, for which the last
  // range would wait.
  int64_t target = kMultiprocessors * residentDecodeWarps(shape) / kWarps - 1;
  int64_t planned = shape.splits(target, others);
  SmallVector<Division> ways;
  auto offer = [&](int64_t ranges, int64_t warps) {
    Division way = Division::cut(shape.splits(ranges, 1), warps);
    if (!llvm::is_contained(ways, way))
      ways.push_back(way);
  };
  offer(planned, kWarps);
  offer(planned / 2, kWarps);
  offer(planned * 2, kWarps);
  offer(planned / 2, kWarps * 2);
  offer(planned * 2, kWarps / 2);
  std::string name =
      llvm::formatv("attention {0} {1}/{2} heads of {3} tokens {4}",
                    deviceType(shape.kCache.element), shape.heads,
                    shape.kvHeads, shape.headDim, shape.tokens);
  return launch.tuning->choose(std::move(name), ways, launch.waysBefore);
}

static KernelPlan planDecode(const LaunchDesc &launch, const Shape &shape) {
  DividedProduct divided = divideDecode(launch, shape);
  int64_t splits = divided.division.ranges, warps = divided.division.rangeWarps;
  int64_t tiles = decodeTiles(shape, splits);
  FunctionPlan attend;
  attend.body = llvm::formatv("attentionDecode<A, {0}, {1}>(p, {2});", warps,
                              tiles, floatLiteral(shape.scale));
  attend.block = static_cast<uint32_t>(warps * 32);
  attend.grid[0] = static_cast<uint32_t>(splits);
  attend.grid[1] = static_cast<uint32_t>(decodeGroups(shape));
  attend.grid[2] = static_cast<uint32_t>(shape.tokens);
  int64_t resident = tiles > 1 ? kLeastDecodeWarps : residentDecodeWarps(shape);
  attend.residentBlocks = static_cast<uint32_t>(resident / warps);
  KernelPlan plan =
      assemble(launch, shape, splits, "impls/attention_decode.cuh",
               std::move(attend), false, true);
  plan.products = {std::move(divided)};
  return plan;
}

static KernelPlan planPrefill(const LaunchDesc &launch, const Shape &shape) {
  int64_t pairs =
      llvm::divideCeil(shape.tokens, device::kPrefillTokens) * shape.perKvHead;
  int64_t blocks =
      llvm::divideCeil(pairs, device::kPrefillWarps) * shape.kvHeads;
  int64_t splits = shape.balancedSplits(blocks);
  int64_t shared = device::prefillSharedBytes(
      shape.headDim, shape.kCache.element.getIntOrFloatBitWidth() / 8);
  int64_t ctas = std::min(blocks * splits, kMultiprocessors);
  // Tensor maps lie behind partial results.
  int64_t mapsAt = splits > 1 ? shape.partialBytes(splits) : 0;
  FunctionPlan attend;
  attend.body =
      llvm::formatv("attentionPrefill<A, /*sharedBytes=*/{0}>(p, {1}, "
                    "static_cast<uint8_t *>(p.workspace) + {2});",
                    shared, floatLiteral(shape.scale), mapsAt);
  attend.block = device::kPrefillThreads;
  attend.grid[0] = static_cast<uint32_t>(ctas);
  attend.sharedBytes = static_cast<uint32_t>(shared);
  attend.residentBlocks = 1; // else ptxas may spill
  KernelPlan plan =
      assemble(launch, shape, splits, "impls/attention_prefill.cuh",
               std::move(attend), true, true);
  plan.workspaceBytes = uint64_t(mapsAt + ctas * device::kPrefillMapBytes);
  return plan;
}

static FailureOr<KernelPlan> planShape(const LaunchDesc &launch,
                                       const Shape &shape, std::string &error) {
  for (const Operand *cache : {&shape.kCache, &shape.vCache})
    if (!cache->isContiguous()) {
      error = "attention needs dense caches, but \"" + cache->name +
              "\" has gaps between pages, slots or heads";
      return failure();
    }
  if (shape.tokens > 65535) {
    error = llvm::formatv("attention has {0} tokens in a step, expected 65535 "
                          "at most",
                          shape.tokens);
    return failure();
  }
  if (!shape.isFast())
    return planAny(launch, shape);
  // More tokens than sequences: some sequence has several.
  if (shape.tokens > shape.table.shape[0])
    return planPrefill(launch, shape);
  return shape.isDecode() ? planDecode(launch, shape) : planAny(launch, shape);
}

std::optional<std::string> saddle::cuda::decodeType(const LaunchDesc &launch) {
  Shape shape(launch);
  if (!shape.isFast() || !shape.isDecode())
    return std::nullopt;
  return shape.type(launch, 1);
}

FailureOr<KernelPlan> saddle::cuda::planAttention(const LaunchDesc &launch,
                                                  std::string &error) {
  return planShape(launch, Shape(launch), error);
}

std::optional<KernelPlan>
saddle::cuda::planAttentionEncoded(const LaunchDesc &launch,
                                   const EncodedTokens &encoded) {
  Shape shape(launch);
  shape.encoded = &encoded;
  std::string error;
  FailureOr<KernelPlan> plan = planShape(launch, shape, error);
  // Rows that no function combines leave as they are.
  if (failed(plan) || plan->functions.size() < 2 ||
      shape.headDim != encoded.group)
    return std::nullopt;
  return std::move(*plan);
}
