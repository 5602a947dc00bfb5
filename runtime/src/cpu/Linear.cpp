// linear: x times a transposed weight matrix.

#include "runtime/src/cpu/Binding.h"

namespace saddle::cpu {

std::unique_ptr<BoundKernel> bindLinear(const BindContext &context) {
  View x = context.operand(0), out = context.operands.back();
  Matrix matrix = context.weight(0).matrix();
  uint64_t group = context.integer("act_group");
  uint64_t tokens = x.shape[0], width = x.shape[1];
  uint64_t columns = matrix.rows;
  context.scratch.require(double(tokens) * double(width + columns) +
                          double(multiplyScratch(width)));
  auto run = [=, scratch = &context.scratch,
              rows = std::vector<const float *>(tokens),
              sums = std::vector<float *>(tokens)](uint64_t count) mutable {
    float *values = scratch->data(), *results = values + tokens * width,
          *working = results + tokens * columns;
    bool isStored = out.dtype == schema::DType::F32;
    for (uint64_t t = 0; t < count; ++t) {
      sums[t] = isStored ? reinterpret_cast<float *>(out.row(t))
                         : results + t * columns;
      float *copy = values + t * width;
      if (group == 0) {
        rows[t] = asFloats(x.row(t), x.dtype, copy, width);
        continue;
      }
      loadRow(x.row(t), x.dtype, copy, width);
      quantizeGroups(copy, width, group);
      rows[t] = copy;
    }
    multiply(matrix, rows.data(), count, working, sums.data());
    for (uint64_t t = 0; t < count && !isStored; ++t)
      storeRow(sums[t], out.dtype, out.row(t), columns);
  };
  return makeKernel(std::move(run));
}

} // namespace saddle::cpu
