// rms_norm, and its two halves for norms over a vector that several ranks hold:
// sum_of_squares before the all-reduce, rms_scale after it; or scale_columns
// and divide_by_rms with a product between them.

#include "runtime/src/cpu/Binding.h"
#include "runtime/src/cpu/Vector.h"

#include <cmath>

namespace saddle::cpu {

/// dest = x * factor * weight, rounded once. May work in place.
static void scaleRow(const float *x, float factor, const float *weight,
                     float *scratch, schema::DType dtype, uint8_t *dest,
                     uint64_t count) {
  for (uint64_t i = 0; i < count; ++i)
    scratch[i] = x[i] * factor * weight[i];
  storeRow(scratch, dtype, dest, count);
}

/// out = x * factorOf(token, row of x) * weight, of operands x, `weight` and
/// `out`.
template <typename FactorOf>
static std::unique_ptr<BoundKernel>
makeScaling(const BindContext &context, uint32_t weightAt, uint32_t outAt,
            FactorOf factorOf) {
  View x = context.operand(0), weight = context.operand(weightAt),
       out = context.operand(outAt);
  uint64_t width = x.shape[1];
  context.scratch.require(double(2 * width));
  return makeKernel([=, scratch = &context.scratch](uint64_t count) {
    float *values = scratch->data(), *result = values + width;
    auto *gamma = reinterpret_cast<const float *>(weight.data);
    for (uint64_t t = 0; t < count; ++t) {
      const float *row = asFloats(x.row(t), x.dtype, values, width);
      scaleRow(row, factorOf(t, row), gamma, result, out.dtype, out.row(t),
               width);
    }
  });
}

std::unique_ptr<BoundKernel> bindRmsNorm(const BindContext &context) {
  float eps = context.real("eps");
  uint64_t width = context.operand(0).shape[1];
  return makeScaling(context, 1, 2, [=](uint64_t, const float *row) {
    float meanSquare = dot(row, row, width) / float(width);
    return 1.0f / std::sqrt(meanSquare + eps);
  });
}

std::unique_ptr<BoundKernel> bindSumOfSquares(const BindContext &context) {
  std::vector<View> inputs(context.operands.begin(),
                           context.operands.end() - 1);
  View out = context.operands.back();
  for (const View &input : inputs)
    context.scratch.require(double(input.shape[1]));
  return makeKernel([=, scratch = &context.scratch](uint64_t count) {
    for (uint64_t t = 0; t < count; ++t) {
      auto *sums = reinterpret_cast<float *>(out.row(t));
      for (size_t i = 0; i < inputs.size(); ++i) {
        uint64_t width = inputs[i].shape[1];
        const float *row =
            asFloats(inputs[i].row(t), inputs[i].dtype, scratch->data(), width);
        sums[i] = dot(row, row, width);
      }
    }
  });
}

namespace {
/// One over root mean squares of rows, from their sums of squares, operand 1.
struct RootMeanSquares {
  explicit RootMeanSquares(const BindContext &context)
      : sums(context.operand(1)), column(context.integer("column")),
        divisor(float(context.integer("divisor"))), eps(context.real("eps")) {}

  float factor(uint64_t row) const {
    float sum = reinterpret_cast<const float *>(sums.row(row))[column];
    return 1.0f / std::sqrt(sum / divisor + eps);
  }

  View sums;
  uint64_t column;
  float divisor, eps;
};
} // namespace

std::unique_ptr<BoundKernel> bindRmsScale(const BindContext &context) {
  RootMeanSquares rms(context);
  return makeScaling(context, 2, 3, [=](uint64_t token, const float *) {
    return rms.factor(token);
  });
}

std::unique_ptr<BoundKernel> bindScaleColumns(const BindContext &context) {
  return makeScaling(context, 1, 2,
                     [](uint64_t, const float *) { return 1.0f; });
}

std::unique_ptr<BoundKernel> bindDivideByRms(const BindContext &context) {
  View x = context.operand(0), out = context.operand(2);
  RootMeanSquares rms(context);
  uint64_t width = x.shape[1];
  context.scratch.require(double(width));
  return makeKernel([=, scratch = &context.scratch](uint64_t count) {
    float *values = scratch->data();
    for (uint64_t t = 0; t < count; ++t) {
      loadRow(x.row(t), x.dtype, values, width);
      float factor = rms.factor(t);
      for (uint64_t i = 0; i < width; ++i)
        values[i] *= factor;
      storeRow(values, out.dtype, out.row(t), width);
    }
  });
}

} // namespace saddle::cpu
