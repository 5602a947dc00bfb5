// qk_norm_rope_kv_append, and the same with sums over the ranks of a group.

#include "passes/Target/Sm90a/Plans/Exchange.h"
#include "passes/Target/Sm90a/Plans/Literals.h"
#include "passes/Target/Sm90a/Plans/Plans.h"
#include "runtime/kernels/shared/exchange.h"
#include "runtime/kernels/shared/limits.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace saddle::cuda;

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

static FailureOr<TokenRow> tokenRow(const LaunchDesc &launch,
                                    std::string &error) {
  const Operand &q = launch.operands[0], &k = launch.operands[1],
                &v = launch.operands[2], &out = launch.operands[7],
                &kCache = launch.operands[8], &vCache = launch.operands[9];
  for (const Operand *cache : {&kCache, &vCache})
    if (!cache->isContiguous()) {
      error = launch.op + " needs dense caches, but \"" + cache->name +
              "\" has gaps between pages, slots or heads";
      return failure();
    }
  // Units as in impls/rope.cuh, HeadUnits: vectors of a head, those of the
  // lower half of the rotated part together with their partners.
  TokenRow row;
  row.headDim = launch.integer("head_dim");
  row.half = launch.integer("rotary_dim") / 2;
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

/// "p, 6144.0f, 1024.0f, 1e-06f, frequencies".
static std::string normArguments(const LaunchDesc &launch) {
  return llvm::formatv("p, {0}, {1}, {2}, frequencies",
                       floatLiteral(launch.integer("q_divisor")),
                       floatLiteral(launch.integer("k_divisor")),
                       floatLiteral(launch.real("eps")));
}

/// CTAs that take tokens in turn.
static uint32_t blocksOfTokens(const LaunchDesc &launch) {
  return static_cast<uint32_t>(
      std::clamp<int64_t>(launch.capacity, 1, 132 * 16));
}

/// A function of a CTA per token.
static FunctionPlan planOfTokens(const LaunchDesc &launch, const TokenRow &row,
                                 StringRef function) {
  constexpr uint32_t kThreads = 512;
  FunctionPlan plan;
  plan.block = threadsFor(row.units, kThreads);
  plan.body = rotaryFrequencies(2 * row.half, launch.real("theta"));
  plan.body += llvm::formatv("{0}<{1}, {2}>(\n    {3});", function,
                             static_cast<int>(launch.extent),
                             row.arguments(plan.block), normArguments(launch));
  plan.grid[0] = blocksOfTokens(launch);
  return plan;
}

FailureOr<KernelPlan>
saddle::cuda::planQKNormRopeKVAppend(const LaunchDesc &launch,
                                     std::string &error) {
  FailureOr<TokenRow> row = tokenRow(launch, error);
  if (failed(row) || failed(checkFits(launch, *row, 512, error)))
    return failure();
  KernelPlan plan;
  plan.headers = {"impls/qk_norm.cuh"};
  plan.functions = {planOfTokens(launch, *row, "qkNormRopeKVAppend")};
  return plan;
}

FailureOr<KernelPlan>
saddle::cuda::planQKNormAllReduceRopeKVAppend(const LaunchDesc &launch,
                                              std::string &error) {
  // Up to how many tokens for each CTA that waits one launch is quicker than
  // three.
  constexpr int64_t kTokensOfBlock = 4;
  FailureOr<TokenRow> row = tokenRow(launch, error);
  if (failed(row))
    return failure();
  if (launch.groupSize < 2)
    return planQKNormRopeKVAppend(launch, error);
  int64_t size = launch.groupSize, tokens = launch.operands[0].shape[0];
  // A member sends a packet for each token.
  KernelPlan plan;
  plan.headers = {"impls/qk_norm_exchange.cuh"};
  plan.exchangeBytes = device::packetMemory(size * tokens);
  FunctionPlan waits;
  waits.residentBlocks = kWaitingResidentBlocks;
  if (tokens <= kWaitingBlocks * kTokensOfBlock &&
      row->units <= row->mostUnits(kWaitingThreads)) {
    waits.grid[0] = static_cast<uint32_t>(std::min(tokens, kWaitingBlocks));
    waits.block = threadsFor(row->units, kWaitingThreads);
    waits.body = rotaryFrequencies(2 * row->half, launch.real("theta"));
    waits.body += llvm::formatv(
        "qkNormAllReduceRopeKVAppend<{0}, {1}, {2}, {3}, {4}>(\n    {5});",
        size, plan.exchangeBytes, waits.grid[0],
        static_cast<int>(launch.extent), row->arguments(waits.block),
        normArguments(launch));
    plan.functions.push_back(std::move(waits));
    return plan;
  }
  if (failed(checkFits(launch, *row, 512, error)))
    return failure();
  const Operand &q = launch.operands[0], &k = launch.operands[1];
  FunctionPlan sums;
  sums.suffix = "sums";
  sums.block = threadsFor(q.shape[1] / commonVector({&q}), 512);
  sums.grid[0] = blocksOfTokens(launch);
  sums.body = llvm::formatv(
      "sumOfSquares<{0}, {1}, Matrix<f32, {2}, 2, 2>, {3}, {4}>(p, "
      "p.workspace);",
      static_cast<int>(launch.extent), sums.block, tokens, matrixType(q),
      matrixType(k));
  waits.suffix = "exchange";
  waits.block = kWaitingThreads;
  waits.grid[0] = static_cast<uint32_t>(std::clamp<int64_t>(
      llvm::divideCeil(tokens, kWaitingThreads / 32), 1, kWaitingBlocks));
  waits.body = llvm::formatv(
      "qkNormExchange<{0}, {1}, {2}, {3}>(p);", size, plan.exchangeBytes,
      static_cast<int>(launch.extent), matrixType(launch.operands[0]));
  FunctionPlan finish = planOfTokens(launch, *row, "qkNormFinish");
  finish.suffix = "finish";
  plan.functions = {std::move(sums), std::move(waits), std::move(finish)};
  plan.workspaceBytes = uint64_t(tokens) * 2 * sizeof(float);
  return plan;
}
