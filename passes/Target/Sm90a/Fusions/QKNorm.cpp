// The norm of q and k, their rotation and the append to the cache, with sums
// over the ranks where these hold different heads.

#include "passes/Target/Sm90a/Fusions/QKNorm.h"
#include "passes/Target/Sm90a/Fusions/AcrossRanks.h"
#include "passes/Target/Sm90a/Fusions/Fusions.h"
#include "passes/Target/Sm90a/Plans/Exchange.h"
#include "passes/Target/Sm90a/Plans/Literals.h"
#include "passes/Target/Sm90a/Plans/RowPlan.h"
#include "runtime/kernels/shared/limits.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;

//===----------------------------------------------------------------------===//
// Constraints
//===----------------------------------------------------------------------===//

/// One kernel normalises and rotates q and k alike.
static bool treatsQAndKAlike(QKNormOps &ops) {
  return ops.scaleQ.getEpsAttr() == ops.scaleK.getEpsAttr() &&
         ops.ropeQ.getHeadDim() == ops.ropeK.getHeadDim() &&
         ops.ropeQ.getRotaryDim() == ops.ropeK.getRotaryDim() &&
         ops.ropeQ.getThetaAttr() == ops.ropeK.getThetaAttr() &&
         ops.ropeQ.getPositions() == ops.ropeK.getPositions();
}

/// Only the rotated q, scaled if the cache has scales, and the cache leave the
/// kernel.
static bool keepsTheRest(QKNormOps &ops) {
  SmallVector<Operation *> members = ops.ops();
  return llvm::all_of(members, [&](Operation *op) {
    Operation *last = ops.query ? ops.query.getOperation() : ops.ropeQ;
    return op == last || llvm::all_of(op->getUsers(), [&](Operation *user) {
             return llvm::is_contained(members, user);
           });
  });
}

bool saddle::cuda::isOneNorm(QKNormOps &ops) {
  return treatsQAndKAlike(ops) && keepsTheRest(ops) &&
         (!ops.reduce || fitsAWarp(ops.reduce));
}

//===----------------------------------------------------------------------===//
// Plan
//===----------------------------------------------------------------------===//

namespace {

/// The work of a token as threads share it (impls/qk_norm.cuh, QKNormRow).
struct TokenRow {
  int64_t headDim, half, count, units;
  std::string types; // Q, K, V, Out, Cache

  std::string arguments(uint32_t threads) const {
    return llvm::formatv("{0}, {1}, {2},\n    {3}", threads, headDim, 2 * half,
                         types);
  }
  /// Vectors that the registers of a CTA hold.
  int64_t mostUnits(int64_t threads) const {
    return threads * (saddle::device::kRowValues / count);
  }
};

} // namespace

/// A cache with stored scales: keys, values and queries have a step each.
static bool hasCacheScales(const LaunchDesc &launch) {
  return StringRef(launch.op).contains("_scale_");
}
/// The steps of all bodies end alike: scales of q and k, ropes, those of the
/// cache, append. `back` counts from the append without those.
static const LaunchStep &stepOf(const LaunchDesc &launch, int64_t back) {
  return launch.body.rbegin()[back + (hasCacheScales(launch) ? 3 : 0)];
}
static const LaunchStep &scaleOfQ(const LaunchDesc &launch) {
  return stepOf(launch, 4);
}
static const LaunchStep &scaleOfK(const LaunchDesc &launch) {
  return stepOf(launch, 3);
}
static const LaunchStep &ropeOfQ(const LaunchDesc &launch) {
  return stepOf(launch, 2);
}

static FailureOr<TokenRow> tokenRow(const LaunchDesc &launch,
                                    std::string &error) {
  // As impls/qk_norm.cuh, QKNormOperands: the scale of keys stands before v,
  // that of values behind it.
  int64_t before = hasCacheScales(launch) ? 1 : 0;
  const Operand &q = launch.operands[0], &k = launch.operands[1],
                &v = launch.operands[5 + before],
                &out = launch.operands[7 + 2 * before],
                &kCache = launch.operands[8 + 2 * before],
                &vCache = launch.operands[9 + 2 * before];
  for (const Operand *cache : {&kCache, &vCache})
    if (!cache->isContiguous()) {
      error = launch.op + " needs dense caches, but \"" + cache->name +
              "\" has gaps between pages, slots or heads";
      return failure();
    }
  // Units as in impls/rope.cuh, HeadUnits: vectors of a head, those of the
  // lower half of the rotated part together with their partners.
  TokenRow row;
  row.headDim = ropeOfQ(launch).integer("head_dim");
  row.half = ropeOfQ(launch).integer("rotary_dim") / 2;
  Operand cacheRows = kCache;
  cacheRows.shape = {kCache.shape[0] * kCache.shape[1], k.shape[1]};
  cacheRows.strides = {k.shape[1], 1};
  row.count = commonVector({&q, &k, &v, &out, &cacheRows});
  if (row.headDim % row.count != 0 || row.half % row.count != 0)
    row.count = 1;
  int64_t perHead = (row.headDim - row.half) / row.count;
  row.units = (q.shape[1] + k.shape[1]) / row.headDim * perHead +
              v.shape[1] / row.count;
  for (const Operand *operand : {&q, &k, &v, &out})
    row.types += matrixType(*operand) + ",\n    ";
  row.types += matrixType(cacheRows);
  if (before)
    row.types += ", true";
  return row;
}

static LogicalResult checkFits(const LaunchDesc &launch, const TokenRow &row,
                               int64_t threads, std::string &error) {
  int64_t most = row.mostUnits(threads);
  if (row.units <= most)
    return success();
  error = llvm::formatv("{0} has {1} vectors of {2} elements in a row, "
                        "expected {3} at most",
                        launch.op, row.units, row.count, most);
  return failure();
}

static std::string normArguments(const LaunchDesc &launch) {
  return "p, " + qkNormNumbers(launch);
}

/// A function of a CTA per token.
static FunctionPlan planOfTokens(const LaunchDesc &launch, const TokenRow &row,
                                 StringRef function) {
  constexpr uint32_t kThreads = 512;
  FunctionPlan plan;
  plan.block = threadsOfManyRows(launch, threadsFor(row.units, kThreads),
                                 row.units, row.count);
  plan.body = rotaryFrequencies(2 * row.half, ropeOfQ(launch).real("theta"));
  plan.body += llvm::formatv("{0}<{1}, {2}>(\n    {3});", function,
                             static_cast<int>(launch.extent),
                             row.arguments(plan.block), normArguments(launch));
  plan.grid[0] = blocksOfRows(launch);
  return plan;
}

static FailureOr<KernelPlan> planOnOneRank(const LaunchDesc &launch,
                                           std::string &error) {
  FailureOr<TokenRow> row = tokenRow(launch, error);
  if (failed(row) || failed(checkFits(launch, *row, 512, error)))
    return failure();
  KernelPlan plan;
  plan.headers = {"impls/qk_norm.cuh"};
  plan.functions = {planOfTokens(launch, *row, "qkNormRopeKVAppend")};
  return plan;
}

static FailureOr<KernelPlan> planAcrossRanks(const LaunchDesc &launch,
                                             std::string &error) {
  FailureOr<TokenRow> row = tokenRow(launch, error);
  if (failed(row))
    return failure();
  const Operand *summed[] = {&launch.operands[0], &launch.operands[1]};
  int extent = static_cast<int>(launch.extent);
  bool waitingFits = row->units <= row->mostUnits(kWaitingThreads);
  uint32_t waiting = waitingFits ? threadsFor(row->units, kWaitingThreads) : 0;
  return planRowsAcrossRanks(
      launch,
      {"impls/qk_norm_exchange.cuh", summed[0]->shape[0], summed, waiting,
       [&](uint64_t memory, uint32_t blocks) {
         return rotaryFrequencies(2 * row->half,
                                  ropeOfQ(launch).real("theta")) +
                llvm::formatv("qkNormAllReduceRopeKVAppend<{0}, {1}, {2}, {3}, "
                              "{4}>(\n    {5});",
                              launch.groupSize, memory, blocks, extent,
                              row->arguments(waiting), normArguments(launch))
                    .str();
       },
       "qkNormSums",
       [&](uint64_t memory) -> std::string {
         return llvm::formatv("qkNormExchange<{0}, {1}, {2}, {3}>(p);",
                              launch.groupSize, memory, extent,
                              matrixType(*summed[0]));
       },
       [&]() -> FailureOr<FunctionPlan> {
         if (failed(checkFits(launch, *row, 512, error)))
           return failure();
         return planOfTokens(launch, *row, "qkNormFinish");
       }});
}

FailureOr<KernelPlan> saddle::cuda::planQKNorm(const LaunchDesc &launch,
                                               std::string &error) {
  FailureOr<KernelPlan> plan = launch.groupSize < 2
                                   ? planOnOneRank(launch, error)
                                   : planAcrossRanks(launch, error);
  // Attention has nothing to fetch early, and reads slower where it came
  // beside the kernels before (docs/benchmarks.md, "Who may come early").
  if (succeeded(plan))
    plan->functions.back().next = Next::WhenEnded;
  return plan;
}

std::string saddle::cuda::qkNormNumbers(const LaunchDesc &launch) {
  return llvm::formatv("{0}, {1}, {2}, frequencies",
                       floatLiteral(scaleOfQ(launch).integer("divisor")),
                       floatLiteral(scaleOfK(launch).integer("divisor")),
                       floatLiteral(scaleOfQ(launch).real("eps")));
}

std::string saddle::cuda::qkNormFrequencies(const LaunchDesc &launch) {
  return rotaryFrequencies(ropeOfQ(launch).integer("rotary_dim"),
                           ropeOfQ(launch).real("theta"));
}

int64_t saddle::cuda::qkNormRotaryDim(const LaunchDesc &launch) {
  return ropeOfQ(launch).integer("rotary_dim");
}

//===----------------------------------------------------------------------===//
// Fusion
//===----------------------------------------------------------------------===//

static constexpr llvm::StringLiteral kOnOneRank = "qk_norm_rope_kv_append",
                                     kAcrossRanks =
                                         "qk_norm_all_reduce_rope_kv_append",
                                     kScaledOnOneRank =
                                         "qk_norm_rope_scale_kv_append",
                                     kScaledAcrossRanks =
                                         "qk_norm_all_reduce_rope_scale_kv_"
                                         "append";

namespace {

class QKNormRopeKVAppend : public DeviceFusion {
public:
  QKNormRopeKVAppend() : DeviceFusion(kOnOneRank, QKNormOps::pattern()) {}

  SmallVector<Operation *> match(Operation *anchor) const override {
    auto found = matchQKNorm(anchor);
    if (!found || !isOneNorm(*found))
      return {};
    return found->ops();
  }

  std::string signature(ArrayRef<Operation *> ops) const override {
    return QKNormOps::signature(ops);
  }

  ArrayRef<llvm::StringLiteral> signatures() const override {
    static constexpr llvm::StringLiteral all[] = {
        kOnOneRank, kAcrossRanks, kScaledOnOneRank, kScaledAcrossRanks};
    return all;
  }

  // impls/qk_norm.cuh, QKNormOperands; then the sums (those of all ranks behind
  // this one's), q and k normalised, and k turned.
  std::vector<std::vector<int64_t>> values(StringRef signature) const override {
    if (signature == kOnOneRank)
      return {{0, 1, 10}, {0, 10, 2, 11}, {1, 10, 3, 12},
              {11, 4, 7}, {12, 4, 13},    {13, 5, 6, 8, 9}};
    if (signature == kAcrossRanks)
      return {{0, 1, 10}, {10, 11},    {0, 11, 2, 12},  {1, 11, 3, 13},
              {12, 4, 7}, {13, 4, 14}, {14, 5, 6, 8, 9}};
    // q turned; k turned, divided; v divided; q multiplied.
    if (signature == kScaledOnOneRank)
      return {{0, 1, 12},  {0, 12, 2, 13}, {1, 12, 3, 14},
              {13, 4, 15}, {14, 4, 16},    {16, 5, 17},
              {6, 7, 18},  {15, 5, 9},     {17, 18, 8, 10, 11}};
    return {{0, 1, 12},  {12, 13},           {0, 13, 2, 14}, {1, 13, 3, 15},
            {14, 4, 16}, {15, 4, 17},        {17, 5, 18},    {6, 7, 19},
            {16, 5, 9},  {18, 19, 8, 10, 11}};
  }

  FailureOr<KernelPlan> plan(const LaunchDesc &launch,
                             std::string &error) const override {
    return planQKNorm(launch, error);
  }
};

} // namespace

const DeviceFusion *saddle::cuda::qkNormRopeKVAppend() {
  static const QKNormRopeKVAppend fusion;
  return &fusion;
}
