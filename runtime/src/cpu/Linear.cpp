// linear: x times a transposed weight matrix.

#include "runtime/src/cpu/Binding.h"

namespace saddle::cpu {

std::unique_ptr<BoundKernel> bindLinear(const BindContext &context) {
  View x = context.operand(0), out = context.operands.back();
  Matrix matrix = context.weight(0).matrix();
  uint64_t group = context.integer("act_group");
  uint64_t tokens = x.shape[0], width = x.shape[1];
  context.scratch.require(double(tokens) * double(width) +
                          double(multiplyScratch(width)));
  auto run = [=, scratch = &context.scratch,
              rows =
                  std::vector<const float *>(tokens)](uint64_t count) mutable {
    float *values = scratch->data(), *working = values + tokens * width;
    for (uint64_t t = 0; t < count; ++t) {
      float *copy = values + t * width;
      if (group == 0) {
        rows[t] = asFloats(x.row(t), x.dtype, copy, width);
        continue;
      }
      loadRow(x.row(t), x.dtype, copy, width);
      quantizeGroups(copy, width, group);
      rows[t] = copy;
    }
    uint64_t bytes = elementBytes(out.dtype);
    multiply(matrix, rows.data(), count, working,
             [&](uint64_t t, uint64_t row, const float *results, uint64_t m) {
               storeRow(results, out.dtype, out.row(t) + row * bytes, m);
             });
  };
  return makeKernel(std::move(run));
}

} // namespace saddle::cpu
