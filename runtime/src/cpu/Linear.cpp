// linear and linear_scaled: x times a transposed weight matrix.

#include "runtime/src/cpu/Binding.h"
#include "runtime/src/cpu/Matrix.h"

namespace saddle::cpu {

static std::unique_ptr<BoundKernel>
bindProduct(const BindContext &context, const Matrix &matrix, View out) {
  View x = context.operand(0);
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

static Matrix matrixOf(const View &weight) {
  return {weight.data, weight.dtype, weight.shape[0], weight.shape[1],
          weight.strides[0] * elementBytes(weight.dtype)};
}

std::unique_ptr<BoundKernel> bindLinear(const BindContext &context) {
  return bindProduct(context, matrixOf(context.operand(1)), context.operand(2));
}

std::unique_ptr<BoundKernel> bindLinearScaled(const BindContext &context) {
  Matrix matrix = matrixOf(context.operand(1));
  const View &scale = context.operand(2);
  matrix.scales = reinterpret_cast<const float *>(scale.data);
  matrix.scaleStride = scale.strides[0];
  matrix.blockRows = context.integer("block_rows");
  matrix.blockColumns = context.integer("block_cols");
  return bindProduct(context, matrix, context.operand(3));
}

} // namespace saddle::cpu
