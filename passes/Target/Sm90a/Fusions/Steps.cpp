#include "passes/Target/Sm90a/Fusions/Steps.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace saddle::cuda;
using llvm::formatv;

/// The statements of a step's function for the fused launch.
static std::string placeStep(StringRef body, const StepPlace &place) {
  auto inWorkspace = [](uint64_t offset) {
    return formatv("static_cast<uint8_t *>(launch.workspace) + {0}", offset)
        .str();
  };
  std::string text = "const LaunchParams &launch = p;\n{\n"
                     "LaunchParams p = launch;\n";
  for (auto [index, operand] : llvm::enumerate(place.operands))
    text += formatv("p.operands[{0}] = {1};\n", index,
                    operand == StepPlace::kBetween
                        ? inWorkspace(place.between)
                        : formatv("launch.operands[{0}]", operand).str());
  if (place.workspace > 0)
    text += formatv("p.workspace = {0};\n", inWorkspace(place.workspace));
  return text + body.str() + "\n}";
}

void saddle::cuda::appendStep(KernelPlan &plan, const KernelPlan &step,
                              const StepPlace &place, StringRef name) {
  llvm::append_range(plan.headers, step.headers);
  llvm::append_range(plan.products, step.products);
  for (FunctionPlan function : step.functions) {
    function.body = placeStep(function.body, place);
    if (function.suffix.empty())
      function.suffix = name.str();
    plan.functions.push_back(std::move(function));
  }
}

LaunchDesc saddle::cuda::stepOf(const LaunchDesc &launch, size_t index,
                                std::vector<Operand> operands) {
  LaunchDesc step = launch;
  step.op = launch.body[index].op;
  step.constants = launch.body[index].constants;
  step.body.clear();
  step.operands = std::move(operands);
  return step;
}

Operand saddle::cuda::valueBetween(const Operand &operand, StringRef name) {
  Operand value = operand;
  value.name = name.str();
  value.alignment = 256;
  int64_t stride = 1;
  for (size_t i = value.shape.size(); i-- > 0;) {
    value.strides[i] = stride;
    stride *= value.shape[i];
  }
  return value;
}
