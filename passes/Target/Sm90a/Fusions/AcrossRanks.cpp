#include "passes/Target/Sm90a/Fusions/AcrossRanks.h"

#include "passes/Target/Sm90a/Plans/Exchange.h"
#include "passes/Target/Sm90a/Plans/Literals.h"
#include "passes/Target/Sm90a/Plans/Products.h"
#include "passes/Target/Sm90a/Plans/RowPlan.h"
#include "runtime/kernels/shared/exchange.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;

bool saddle::cuda::fitsAWarp(dist::AllReduceOp reduce) {
  dist::AxesAttr axes = reduce.getAxesAttr();
  auto mesh = SymbolTable::lookupNearestSymbolFrom<dist::MeshOp>(
      reduce, axes.getMesh());
  return dist::toMesh(mesh).groups(axes.getAxes()).front().size() <= 32;
}

FailureOr<KernelPlan>
saddle::cuda::planRowsAcrossRanks(const LaunchDesc &launch,
                                  const RowsAcrossRanks &rows) {
  // Up to how many tokens for each CTA that waits one launch is quicker than
  // three.
  constexpr int64_t kTokensOfBlock = 4;
  // A member sends a packet for each token.
  KernelPlan plan;
  plan.headers = {rows.header.str()};
  plan.exchangeBytes = device::packetMemory(launch.groupSize * rows.tokens);
  FunctionPlan waits;
  waits.residentBlocks = kWaitingResidentBlocks;
  if (rows.tokens <= kWaitingBlocks * kTokensOfBlock &&
      rows.waitingThreads != 0) {
    waits.grid[0] =
        static_cast<uint32_t>(std::min(rows.tokens, kWaitingBlocks));
    waits.block = rows.waitingThreads;
    waits.body = rows.together(plan.exchangeBytes, waits.grid[0]);
    int64_t exclusive = std::min(rows.tokens, kExclusiveBlocks);
    if (exclusive > waits.grid[0])
      waits.exclusiveGrid = static_cast<uint32_t>(exclusive);
    plan.functions.push_back(std::move(waits));
    return plan;
  }
  FailureOr<FunctionPlan> finish = rows.finish();
  if (failed(finish))
    return failure();
  size_t columns = rows.summed.size();
  FunctionPlan sums;
  sums.suffix = "sums";
  sums.block = kWarpsOfAnyShape * 32;
  sums.grid[0] = blocksOfWarps(rows.tokens);
  sums.body =
      llvm::formatv("{0}<{1}", rows.sums, static_cast<int>(launch.extent));
  for (const Operand *operand : rows.summed)
    sums.body += ", " + matrixType(*operand);
  sums.body += ">(p);";
  waits.suffix = "exchange";
  waits.block = kWaitingThreads;
  waits.grid[0] = static_cast<uint32_t>(std::clamp<int64_t>(
      llvm::divideCeil(rows.tokens, kWaitingThreads / 32), 1, kWaitingBlocks));
  waits.body = rows.exchange(plan.exchangeBytes);
  finish->suffix = "finish";
  plan.functions = {std::move(sums), std::move(waits), std::move(*finish)};
  plan.workspaceBytes = uint64_t(rows.tokens) * columns * sizeof(float);
  return plan;
}
