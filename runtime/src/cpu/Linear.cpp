// linear and linear_of_codes: x times a transposed weight matrix.

#include "runtime/src/cpu/Binding.h"

namespace saddle::cpu {

static std::unique_ptr<BoundKernel> bindProduct(const BindContext &context,
                                                const ProductRows &x) {
  View out = context.operands.back();
  Matrix matrix = context.weight(0).matrix();
  uint64_t tokens = x.tokens(), width = x.width();
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
      rows[t] = x.row(t, values + t * width);
    }
    multiply(matrix, rows.data(), count, working, sums.data());
    for (uint64_t t = 0; t < count && !isStored; ++t)
      storeRow(sums[t], out.dtype, out.row(t), columns);
  };
  return makeKernel(std::move(run));
}

std::unique_ptr<BoundKernel> bindLinear(const BindContext &context) {
  return bindProduct(context, ProductRows::values(context));
}

std::unique_ptr<BoundKernel> bindLinearOfCodes(const BindContext &context) {
  return bindProduct(context, ProductRows::codes(context));
}

} // namespace saddle::cpu
