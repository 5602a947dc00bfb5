// experts for few tokens per expert, whose weights flow
// (impls/experts_flow.cuh).

#include "passes/Target/Sm90a/Plans/ExpertsLaunch.h"
#include "runtime/kernels/shared/flow.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using llvm::formatv;
using namespace saddle;
using namespace saddle::cuda;

/// Of a multiprocessor, so that one CTA's rings are full while the other adds
/// sums or makes codes.
static constexpr int64_t kResident = 2;
/// Shared memory of each, besides what the hardware takes.
static constexpr int64_t kMostShared = kH200.sharedBytes / kResident - 1024;

/// Warps that share rows of that many columns: as few as can keep the tokens'
/// codes in registers. 0 where columns do not divide.
static int64_t columnWarpsFor(int64_t columns) {
  constexpr int64_t kMostStages = 3;
  int64_t groups = columns / device::kFlowColumns;
  for (int64_t warps = 1; warps <= device::kFlowWarps; warps *= 2)
    if (groups % warps == 0 && groups / warps <= kMostStages)
      return warps;
  return 0;
}

/// Stages of a ring; 0 where a CTA cannot have two.
static int64_t depthFor(const ExpertsLaunch &op) {
  constexpr int64_t kMostDepth = 8;
  for (int64_t depth = kMostDepth; depth >= 2; --depth)
    if (device::FlowLayout{op.held(), op.pairs(), depth}.fits(kMostShared))
      return depth;
  return 0;
}

std::optional<Division> saddle::cuda::flowWay(const ExpertsLaunch &op) {
  std::optional<StreamTypes> types = streamTypes(op);
  // What comes twice from memory costs more than what a block of more tokens
  // would.
  constexpr int64_t kMostOfExpert = 6;
  if (!types || !types->codes || op.tokensPerExpert() > kMostOfExpert ||
      op.group != device::kFlowColumns ||
      op.hidden() % device::kFlowColumns != 0 ||
      op.inner() % device::kFlowColumns != 0 ||
      types->blockCols13 % device::kFlowColumns != 0 ||
      types->blockCols2 % device::kFlowColumns != 0 ||
      op.x.element.getIntOrFloatBitWidth() != 16 || op.x.strides[0] % 8 != 0 ||
      op.x.alignment < 16 || depthFor(op) == 0)
    return std::nullopt;
  int64_t up = columnWarpsFor(op.hidden()), down = columnWarpsFor(op.inner());
  if (up == 0 || down == 0 || op.inner() % (8 * device::kFlowWarps / up) != 0 ||
      op.hidden() % (device::kFlowRows * device::kFlowWarps / down) != 0)
    return std::nullopt;
  return Division::flow(up, down);
}

static FunctionPlan flowFunction(const ExpertsLaunch &op, StringRef suffix,
                                 std::string body) {
  FunctionPlan function;
  function.suffix = suffix.str();
  function.body = std::move(body);
  function.block = device::kFlowWarps * 32;
  function.residentBlocks = kResident;
  function.sharedBytes =
      device::FlowLayout{op.held(), op.pairs(), depthFor(op)}.bytes();
  function.grid[0] = kResident * kMultiprocessors;
  function.waitsItself = true;
  return function;
}

KernelPlan saddle::cuda::planExpertsFlow(const ExpertsLaunch &op,
                                         const Division &way) {
  StreamTypes types = *streamTypes(op);
  ExpertsWorkspace workspace;
  std::string inner = workspace.add("float", op.pairs() * op.inner() * 4);
  std::string products = workspace.add("float", op.pairs() * op.hidden() * 4);
  int extent = extentNumber(op.launch);
  std::string experts = matrixType(op.experts);
  int64_t depth = depthFor(op);
  KernelPlan plan;
  plan.headers = {"impls/experts_flow.cuh"};
  plan.functions.push_back(flowFunction(
      op, "up",
      formatv("expertsUpFlow<{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}>(p, {8});",
              extent, matrixType(op.x), experts, matrixType(op.w13), op.held(),
              streamScale13(op, types), way.upParts, depth, inner)));
  plan.functions.push_back(flowFunction(
      op, "down",
      formatv("expertsDownFlow<{0}, {1}, {2}, {3}, {4}, {5}, {6}>(p, {7}, "
              "{8});",
              extent, experts, matrixType(op.w2), op.held(),
              streamScale2(op, types), way.downParts, depth, inner, products)));
  plan.functions.push_back(combineFunction(op, products));
  plan.workspaceBytes = workspace.bytes;
  return plan;
}
