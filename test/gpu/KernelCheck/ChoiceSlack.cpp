#include "test/gpu/KernelCheck/ChoiceSlack.h"

#include "runtime/src/base/Convert.h"
#include "runtime/src/cpu/Binding.h"
#include "runtime/src/cpu/Matrix.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace saddle::check {

namespace {

/// The operand that a step calls `name`, if it has one.
std::optional<uint32_t> operandOf(const ops::Step &step, const char *name) {
  for (size_t i = 0; i < step.definitions.size(); ++i)
    if (step.definitions[i].name == name)
      return step.operands[i];
  return std::nullopt;
}

} // namespace

std::optional<ChoiceSlack> choiceSlack(const schema::Kernel &kernel,
                                       const std::vector<View> &expected,
                                       const std::vector<View> &found,
                                       const std::vector<uint64_t> &sample) {
  // The engine has been validated.
  ops::Body body = *ops::Body::of(kernel, expected.size());
  const ops::Step *product = nullptr, *choice = nullptr;
  for (const ops::Step &step : body.steps()) {
    std::string op = step.op->name;
    if (op == "linear")
      product = &step;
    if ((op == "router_topk" || op == "softmax_topk") && product &&
        operandOf(step, "logits") == operandOf(*product, "out"))
      choice = &step;
  }
  size_t firstOutput = body.operands() - body.outputs();
  if (!choice)
    return std::nullopt;
  uint32_t row = *operandOf(*product, "x");
  if (row < firstOutput || row >= body.operands())
    return std::nullopt;

  std::vector<View> operands;
  for (uint32_t index : product->operands)
    operands.push_back(index < expected.size() ? expected[index] : View{});
  cpu::StoredWeight router(product->definitions, operands, 0);
  cpu::Matrix matrix = router.matrix();
  uint32_t weights = *operandOf(*choice, "weights"),
           experts = *operandOf(*choice, "experts");
  uint64_t width = matrix.columns, count = expected[experts].shape[1];
  ChoiceSlack result = {weights, {}};
  std::vector<float> wanted(width), got(width), widened(width), factors(count);
  for (size_t i = 0; i < sample.size(); ++i) {
    loadRow(expected[row].row(i), expected[row].dtype, wanted.data(), width);
    loadRow(found[row].row(sample[i]), found[row].dtype, got.data(), width);
    loadRow(expected[weights].row(i), expected[weights].dtype, factors.data(),
            count);
    auto *chosen = reinterpret_cast<const int32_t *>(expected[experts].row(i));
    double most = 0;
    for (uint64_t j = 0; j < count; ++j) {
      const float *values = matrix.row(uint64_t(chosen[j]), widened.data());
      double moved = 0;
      for (uint64_t k = 0; k < width; ++k)
        moved += double(values[k]) * (double(got[k]) - double(wanted[k]));
      most = std::max(most, std::fabs(moved));
    }
    std::vector<float> &slack = result.slack.emplace_back();
    for (float factor : factors)
      slack.push_back(float(2 * most * std::fabs(factor)));
  }
  return result;
}

} // namespace saddle::check
