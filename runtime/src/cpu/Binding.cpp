#include "runtime/src/cpu/Binding.h"

#include <cassert>
#include <new>

namespace saddle::cpu {

Status Scratch::allocate() {
  constexpr double kMost = 0x1p40; // floats; no machine of today has more
  if (needed > 0 && needed <= kMost)
    storage.reset(new (std::nothrow) float[size_t(needed)]);
  if (needed == 0 || storage)
    return {};
  return makeError(StatusCode::ResourceExhausted,
                   "the kernels' working memory needs %.0f bytes, which this "
                   "machine does not give",
                   needed * sizeof(float));
}

Factory findFactory(std::string_view op) {
  static constexpr struct {
    std::string_view op;
    Factory factory;
  } kFactories[] = {
#define SADDLE_ENTRY(op, factory) {#op, factory},
      SADDLE_CPU_KERNELS(SADDLE_ENTRY)
#undef SADDLE_ENTRY
  };
  for (const auto &entry : kFactories)
    if (entry.op == op)
      return entry.factory;
  return nullptr;
}

namespace {
/// The steps of a body, one after the other, and the rows between them.
struct Steps {
  std::vector<std::unique_ptr<BoundKernel>> kernels;
  std::vector<std::vector<uint8_t>> temporaries;
};
} // namespace

std::unique_ptr<BoundKernel> bindLaunch(const schema::Kernel &kernel,
                                        const std::vector<View> &operands,
                                        uint32_t rank, Scratch &scratch) {
  StatusOr<ops::Body> body = ops::Body::of(kernel, operands.size());
  assert(body.ok() && "checkLaunch refuses such bodies");
  Steps steps;
  std::vector<View> values = operands;
  for (size_t i = 0; i < body->temporaries(); ++i) {
    View view = body->temporary(i, operands[body->counted()].shape[0]);
    steps.temporaries.emplace_back(view.shape[0] * view.strides[0] *
                                   elementBytes(view.dtype));
    view.data = steps.temporaries.back().data();
    values.push_back(view);
  }
  for (const ops::Step &step : body->steps()) {
    std::vector<View> own;
    for (uint32_t operand : step.operands)
      own.push_back(values[operand]);
    Factory factory = findFactory(step.op->name);
    if (!factory)
      return nullptr;
    steps.kernels.push_back(
        factory({step.attributes, step.definitions, own, rank, scratch}));
  }
  if (steps.kernels.size() == 1)
    return std::move(steps.kernels.front());
  return makeKernel([steps = std::move(steps)](uint64_t count) {
    for (const auto &each : steps.kernels)
      each->run(count);
  });
}

} // namespace saddle::cpu
