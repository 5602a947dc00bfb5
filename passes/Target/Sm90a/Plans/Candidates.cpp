// top_candidates and merge_candidates: into how many ranges a row is cut, and
// how many threads take one.

#include "runtime/kernels/shared/candidates.h"
#include "passes/Target/Sm90a/Plans/Plans.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;

using device::kMostCandidates, device::kMostCandidateValues;

/// Enough for the values, some 8 each, and two for each candidate, so that few
/// values reach the bound that the largest of each thread give.
static int64_t threadsFor(int64_t values, int64_t kept) {
  int64_t wanted = llvm::divideCeil(values, 8);
  return std::clamp<int64_t>(llvm::alignTo(wanted, 32),
                             llvm::alignTo(2 * kept, 32), device::kMostThreads);
}

static bool fits(const LaunchDesc &launch, int64_t kept, int64_t values,
                 std::string &error) {
  if (kept > kMostCandidates)
    error = llvm::formatv("{0} keeps {1} candidates of a row, expected {2} at "
                          "most",
                          launch.op, kept, kMostCandidates);
  else if (values > kMostCandidateValues)
    error = llvm::formatv("{0} has {1} values in a row or range, expected {2} "
                          "at most",
                          launch.op, values, kMostCandidateValues);
  return error.empty();
}

FailureOr<KernelPlan>
saddle::cuda::planMergeCandidates(const LaunchDesc &launch,
                                  std::string &error) {
  const Operand &given = launch.operands[0], &values = launch.operands[2];
  if (!fits(launch, values.shape[1], given.shape[1], error))
    return failure();
  FunctionPlan only;
  only.block =
      static_cast<uint32_t>(threadsFor(given.shape[1], values.shape[1]));
  only.grid[0] = static_cast<uint32_t>(values.shape[0]);
  only.body = llvm::formatv("mergeCandidates<{0}, {1}, {2}, {3}, {4}, {5}>(p);",
                            static_cast<int>(launch.extent), only.block,
                            matrixType(given), matrixType(launch.operands[1]),
                            matrixType(values), matrixType(launch.operands[3]));
  KernelPlan plan;
  plan.headers = {"impls/candidates.cuh"};
  plan.functions.push_back(std::move(only));
  return plan;
}

FailureOr<KernelPlan> saddle::cuda::planTopCandidates(const LaunchDesc &launch,
                                                      std::string &error) {
  const Operand &logits = launch.operands[0], &values = launch.operands[1],
                &tokens = launch.operands[2];
  int64_t rows = logits.shape[0], cols = logits.shape[1];
  int64_t kept = values.shape[1];
  // Ranges that fill the machine, neither short nor more than registers of a
  // CTA of 256 threads hold.
  constexpr int64_t kShortRange = 1024, kLongRange = 4096;
  int64_t most =
      std::min(std::max<int64_t>(cols / kShortRange, 1),
               kMostCandidateValues / std::min(kept, kMostCandidates));
  int64_t ranges =
      std::clamp<int64_t>(std::max(llvm::divideCeil(kMultiprocessors, rows),
                                   llvm::divideCeil(cols, kLongRange)),
                          1, most);
  int64_t longest = llvm::divideCeil(cols, ranges);
  if (!fits(launch, kept, longest, error))
    return failure();
  if (rows > 65535) {
    error = llvm::formatv("top_candidates has {0} rows in a step, expected "
                          "65535 at most",
                          rows);
    return failure();
  }
  int extent = static_cast<int>(launch.extent);
  FunctionPlan first;
  first.block = static_cast<uint32_t>(threadsFor(longest, kept));
  first.grid[0] = static_cast<uint32_t>(ranges);
  first.grid[1] = static_cast<uint32_t>(rows);
  KernelPlan plan;
  plan.headers = {"impls/candidates.cuh"};
  if (ranges == 1) {
    first.body = llvm::formatv("topCandidates<{0}, {1}, {2}, {3}, {4}>(p);",
                               extent, first.block, matrixType(logits),
                               matrixType(values), matrixType(tokens));
    plan.functions.push_back(std::move(first));
    return plan;
  }
  first.suffix = "ranges";
  first.body = llvm::formatv(
      "topCandidatesOfRanges<{0}, {1}, {2}, {3}, {4}>(p);", extent, first.block,
      ranges, matrixType(logits), matrixType(values));
  FunctionPlan merge;
  merge.suffix = "merge";
  merge.block = static_cast<uint32_t>(threadsFor(ranges * kept, kept));
  merge.grid[0] = static_cast<uint32_t>(rows);
  merge.body = llvm::formatv("mergeRanges<{0}, {1}, {2}, {3}, {4}>(p);", extent,
                             merge.block, ranges, matrixType(values),
                             matrixType(tokens));
  plan.workspaceBytes =
      uint64_t(device::rangeCandidateBytes(rows * ranges * kept));
  plan.functions = {std::move(first), std::move(merge)};
  return plan;
}
