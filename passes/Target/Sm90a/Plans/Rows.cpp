// Ops that copy rows.

#include "passes/Target/Sm90a/Plans/Literals.h"
#include "passes/Target/Sm90a/Plans/Plans.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace saddle::cuda;

/// A kernel of impls/rows.cuh with one of `vectors` vectors per thread;
/// `types` are the function's template arguments behind the extent.
static KernelPlan planCopies(const LaunchDesc &launch, StringRef function,
                             const Twine &types, int64_t vectors) {
  constexpr int64_t kThreads = 256, kMostBlocks = kMultiprocessors * 8;
  FunctionPlan only;
  only.body = llvm::formatv("{0}<{1}, {2}>(p);", function,
                            static_cast<int>(launch.extent), types.str());
  only.block = kThreads;
  only.grid[0] = static_cast<uint32_t>(
      std::clamp<int64_t>(vectors / kThreads, 1, kMostBlocks));
  KernelPlan plan;
  plan.headers = {"impls/rows.cuh"};
  plan.functions.push_back(std::move(only));
  return plan;
}

/// From rows of `source` to those of the output.
static KernelPlan planRows(const LaunchDesc &launch, StringRef function,
                           const Operand &source) {
  const Operand &out = launch.operands.back();
  return planCopies(launch, function,
                    matrixType(source) + ", " + matrixType(out),
                    out.elements() / commonVector({&source, &out}));
}

FailureOr<KernelPlan> saddle::cuda::planEmbedding(const LaunchDesc &launch,
                                                  std::string &) {
  return planRows(launch, "embedding", launch.operands[1]);
}

FailureOr<KernelPlan> saddle::cuda::planSelectRows(const LaunchDesc &launch,
                                                   std::string &) {
  return planRows(launch, "selectRows", launch.operands[0]);
}

FailureOr<KernelPlan> saddle::cuda::planConcat(const LaunchDesc &launch,
                                               std::string &) {
  const Operand &out = launch.operands.back();
  std::string types = matrixType(out);
  for (const Operand &input : llvm::drop_end(launch.operands))
    types += ", " + matrixType(input);
  return planCopies(launch, "concat", types, out.elements() / 4);
}

/// Rows in pages as one row for each slot. Without one, an error.
static std::string keptType(const LaunchDesc &launch, const Operand &kept,
                            std::string &error) {
  if (kept.isContiguous())
    return rowsType(kept, kept.shape.back());
  error = launch.op + " needs dense rows, but \"" + kept.name +
          "\" has gaps between pages or slots";
  return "";
}

FailureOr<KernelPlan> saddle::cuda::planKeepRows(const LaunchDesc &launch,
                                                 std::string &error) {
  const Operand &x = launch.operands[0];
  std::string kept = keptType(launch, launch.operands[2], error);
  if (kept.empty())
    return failure();
  return planCopies(launch, "keepRows", matrixType(x) + ", " + kept,
                    x.elements() / commonVector({&x}));
}

FailureOr<KernelPlan> saddle::cuda::planKeepNextRows(const LaunchDesc &launch,
                                                     std::string &error) {
  const Operand &x = launch.operands[0], &positions = launch.operands[2],
                &table = launch.operands[4], &rows = launch.operands[5];
  std::string kept = keptType(launch, rows, error);
  if (kept.empty())
    return failure();
  std::string sizes =
      llvm::formatv(", {0}, {1}, {2}, {3}", positions.shape[0], table.shape[0],
                    table.shape[1], rows.shape[1]);
  return planCopies(launch, "keepNextRows", matrixType(x) + ", " + kept + sizes,
                    x.elements() / commonVector({&x}));
}

FailureOr<KernelPlan> saddle::cuda::planKeptRows(const LaunchDesc &launch,
                                                 std::string &error) {
  const Operand &out = launch.operands[2];
  std::string kept = keptType(launch, launch.operands[1], error);
  if (kept.empty())
    return failure();
  return planCopies(launch, "keptRows", kept + ", " + matrixType(out),
                    out.elements() / commonVector({&out}));
}

FailureOr<KernelPlan> saddle::cuda::planMapTokens(const LaunchDesc &launch,
                                                  std::string &) {
  const Operand &tokens = launch.operands[0], &table = launch.operands[1],
                &out = launch.operands[2];
  return planCopies(launch, "mapTokens",
                    matrixType(tokens) + ", " +
                        std::to_string(table.elements()) + ", " +
                        matrixType(out),
                    out.elements());
}
