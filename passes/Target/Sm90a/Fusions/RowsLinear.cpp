#include "passes/Target/Sm90a/Fusions/RowsLinear.h"

#include "passes/Target/Sm90a/Fusions/Steps.h"
#include "passes/Target/Sm90a/Plans/Products.h"
#include "passes/Target/Sm90a/Plans/RowPlan.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace saddle::cuda;
using llvm::formatv;

FailureOr<KernelPlan> saddle::cuda::planRowsLinear(const LaunchDesc &launch,
                                                   const RowsFunction &function,
                                                   const Operand &rows,
                                                   ArrayRef<int64_t> linear,
                                                   std::string &error) {
  constexpr int64_t kBetween = StepPlace::kBetween;
  constexpr int64_t kMostRowBytes = 32 * 1024; // static shared memory
  std::vector<Operand> operands = {valueBetween(rows, "x")};
  for (int64_t number : linear)
    operands.push_back(launch.operands[number]);
  LaunchDesc last = stepOf(launch, launch.body.size() - 1, operands);

  StepPlace first, second;
  first.operands = function.operands;
  first.operands.push_back(kBetween);
  second.operands = {kBetween};
  llvm::append_range(second.operands, linear);
  auto join = [&](std::string body, const KernelPlan &product, uint64_t between,
                  uint64_t bytes) {
    first.between = second.between = between;
    KernelPlan made = planOfRows(launch, std::move(body), function.threads);
    made.headers = {function.header.str()};
    KernelPlan plan;
    appendStep(plan, made, first, function.suffix);
    appendStep(plan, product, second, "product");
    plan.workspaceBytes = bytes;
    return plan;
  };

  int64_t rowBytes = rows.shape[1] * (rows.element.getIntOrFloatBitWidth() / 8);
  std::optional<KernelPlan> product = planLinearOfEncoded(last);
  if (product && rowBytes <= kMostRowBytes) {
    int64_t group = last.integer("act_group");
    EncodedTokens encoded(rows.shape[0], rows.shape[1], group);
    return join(formatv("{0}Encode<{1}, {2}, {3}, {4}, {5}, {6}>(p, {7}, "
                        "p.workspace, {8});",
                        function.name, extentNumber(launch), function.threads,
                        group, function.types, encoded.codes, encoded.factors,
                        function.numbers, encoded.factorsAt),
                *product, 0, product->workspaceBytes);
  }
  // Other layouts: the rows themselves are in the workspace, behind what the
  // product needs there.
  FailureOr<KernelPlan> any = planLinear(last, error);
  if (failed(any))
    return failure();
  uint64_t between = roundUp(any->workspaceBytes, 256);
  return join(formatv("{0}<{1}, {2}, {3}, {4}>(p, {5});", function.name,
                      extentNumber(launch), function.threads, function.types,
                      matrixType(last.operands[0]), function.numbers),
              *any, between, between + rows.shape[0] * rowBytes);
}
