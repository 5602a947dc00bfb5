#include "runtime/src/backend/Choices.h"

#include "runtime/ops/Body.h"
#include "runtime/src/base/Convert.h"

#include <cstring>
#include <vector>

namespace saddle::backend {

uint64_t Choices::count(const View &numbers, uint64_t rows) const {
  std::vector<bool> isChosen(held);
  uint64_t chosen = 0;
  for (uint64_t row = 0; row < rows; ++row)
    for (uint64_t i = 0; i < each; ++i) {
      int32_t number;
      std::memcpy(&number, numbers.row(row) + i * sizeof number, sizeof number);
      uint64_t member = uint64_t(int64_t(number)) - first;
      if (member >= held || isChosen[member])
        continue;
      isChosen[member] = true;
      ++chosen;
    }
  return chosen;
}

std::vector<float> lastRow(const View &tokens, uint64_t rows) {
  std::vector<float> values(rows == 0 ? 0 : tokens.shape[1]);
  if (rows != 0)
    loadRow(tokens.row(rows - 1), tokens.dtype, values.data(), values.size());
  return values;
}

/// The launch's operand that step operand `index` is, if it is one.
static const schema::Slice *sliceOf(const schema::Entry &entry,
                                    const schema::Launch &launch,
                                    uint32_t operand) {
  return operand < launch.operands()->size()
             ? entry.slices()->Get(launch.operands()->Get(operand))
             : nullptr;
}

/// The RANK attribute that says which members a rank holds.
static uint64_t firstMember(const ops::Step &step, uint32_t rank) {
  for (const ops::Attribute &attribute : step.op->attributes)
    if (attribute.kind == schema::AttributeKind::RANK)
      return step.attributes.rankValue(attribute.name, rank);
  return 0;
}

std::optional<Choices> choicesOf(const schema::Engine &engine,
                                 const schema::Entry &entry,
                                 const schema::Command &command,
                                 uint32_t rank) {
  const schema::Launch *launch = command.action_as_Launch();
  if (!launch)
    return std::nullopt;
  const ops::Body body = *ops::Body::of(
      *engine.kernels()->Get(launch->kernel()), launch->operands()->size());
  for (const ops::Step &step : body.steps()) {
    const schema::Slice *stack = nullptr, *numbers = nullptr;
    Choices choices = {};
    for (size_t i = 0; i < step.operands.size(); ++i) {
      const ops::Operand &definition = step.definitions[i];
      const schema::Slice *slice = sliceOf(entry, *launch, step.operands[i]);
      if (definition.traffic == ops::Traffic::Chosen && !definition.companion)
        stack = slice;
      if (definition.type != ops::Type::I32 ||
          std::strcmp(definition.shape, "nk") != 0)
        continue;
      numbers = slice;
      if (slice)
        choices.slice = launch->operands()->Get(step.operands[i]);
    }
    if (!stack || !numbers)
      continue;
    // What is multiplied is the first operand.
    if (sliceOf(entry, *launch, step.operands[0]))
      choices.tokens = launch->operands()->Get(step.operands[0]);
    choices.held = stack->shape()->Get(0);
    choices.first = firstMember(step, rank);
    choices.each = numbers->shape()->Get(1);
    choices.extent = launch->extent();
    return choices;
  }
  return std::nullopt;
}

} // namespace saddle::backend
