// rope, and what is done element by element.

#include "runtime/src/cpu/Binding.h"
#include "runtime/src/cpu/Vector.h"

#include <algorithm>
#include <cmath>

namespace saddle::cpu {

/// Kernel of out = function(a, b), in fp32.
template <typename Function>
static std::unique_ptr<BoundKernel> bindBinary(const BindContext &context,
                                               Function function) {
  View a = context.operand(0), b = context.operand(1), out = context.operand(2);
  uint64_t width = a.shape[1];
  context.scratch.require(double(3 * width));
  return makeKernel([=, scratch = &context.scratch](uint64_t count) {
    float *first = scratch->data(), *second = first + width,
          *result = second + width;
    for (uint64_t t = 0; t < count; ++t) {
      const float *left = asFloats(a.row(t), a.dtype, first, width);
      const float *right = asFloats(b.row(t), b.dtype, second, width);
      for (uint64_t i = 0; i < width; ++i)
        result[i] = function(left[i], right[i]);
      storeRow(result, out.dtype, out.row(t), width);
    }
  });
}

/// x * sigmoid(gate)
static float gated(float x, float gate) { return x / (1.0f + std::exp(-gate)); }

std::unique_ptr<BoundKernel> bindAdd(const BindContext &context) {
  return bindBinary(context, [](float a, float b) { return a + b; });
}

std::unique_ptr<BoundKernel> bindScaledAdd(const BindContext &context) {
  float alpha = context.real("alpha"), beta = context.real("beta");
  return bindBinary(context,
                    [=](float a, float b) { return alpha * a + beta * b; });
}

std::unique_ptr<BoundKernel> bindSigmoidGate(const BindContext &context) {
  return bindBinary(context, gated);
}

std::unique_ptr<BoundKernel> bindSiLU(const BindContext &context) {
  View x = context.operand(0), out = context.operand(1);
  uint64_t width = x.shape[1];
  context.scratch.require(double(width));
  return makeKernel([=, scratch = &context.scratch](uint64_t count) {
    float *values = scratch->data();
    for (uint64_t t = 0; t < count; ++t) {
      loadRow(x.row(t), x.dtype, values, width);
      for (uint64_t i = 0; i < width; ++i)
        values[i] = gated(values[i], values[i]);
      storeRow(values, out.dtype, out.row(t), width);
    }
  });
}

std::unique_ptr<BoundKernel> bindRope(const BindContext &context) {
  View x = context.operand(0), positions = context.operand(1),
       out = context.operand(2);
  uint64_t width = x.shape[1];
  uint64_t headDim = context.integer("head_dim");
  uint64_t half = context.integer("rotary_dim") / 2;
  double theta = context.attributes.real("theta");
  // Frequencies and angles are fp32, as in the models' reference code.
  std::vector<float> frequencies(half);
  for (uint64_t j = 0; j < half; ++j)
    frequencies[j] = float(std::pow(theta, -double(j) / double(half)));
  context.scratch.require(double(width + 2 * half));
  return makeKernel([=, scratch = &context.scratch](uint64_t count) {
    float *values = scratch->data(), *cosines = values + width,
          *sines = cosines + half;
    for (uint64_t t = 0; t < count; ++t) {
      auto position =
          float(reinterpret_cast<const int32_t *>(positions.data)[t]);
      rotations(position, frequencies.data(), half, cosines, sines);
      loadRow(x.row(t), x.dtype, values, width);
      for (float *head = values; head < values + width; head += headDim)
        for (uint64_t j = 0; j < half; ++j) {
          float low = head[j], high = head[j + half];
          head[j] = low * cosines[j] - high * sines[j];
          head[j + half] = high * cosines[j] + low * sines[j];
        }
      storeRow(values, out.dtype, out.row(t), width);
    }
  });
}

std::unique_ptr<BoundKernel> bindScale(const BindContext &context) {
  View x = context.operand(0), scale = context.operand(1),
       out = context.operand(2);
  bool divides = context.integer("inverse") != 0;
  uint64_t width = x.shape[1];
  context.scratch.require(double(width));
  return makeKernel([=, scratch = &context.scratch](uint64_t count) {
    float factor = *reinterpret_cast<const float *>(scale.data);
    for (uint64_t t = 0; t < count; ++t) {
      loadRow(x.row(t), x.dtype, scratch->data(), width);
      for (float *value = scratch->data(); value < scratch->data() + width;
           ++value)
        *value = divides ? *value / factor : *value * factor;
      storeRow(scratch->data(), out.dtype, out.row(t), width);
    }
  });
}

std::unique_ptr<BoundKernel> bindSwiGLU(const BindContext &context) {
  View x = context.operand(0), up = context.operand(1),
       out = context.operand(2);
  uint64_t width = x.shape[1];
  context.scratch.require(double(2 * width));
  return makeKernel([=, scratch = &context.scratch](uint64_t count) {
    float *values = scratch->data(), *second = values + width;
    for (uint64_t t = 0; t < count; ++t) {
      loadRow(x.row(t), x.dtype, values, width);
      gate(values, asFloats(up.row(t), up.dtype, second, width), width);
      storeRow(values, out.dtype, out.row(t), width);
    }
  });
}

std::unique_ptr<BoundKernel> bindSwiGLUOAI(const BindContext &context) {
  float alpha = context.real("alpha"), limit = context.real("limit");
  return bindBinary(context, [=](float gate, float up) {
    float g = std::min(gate, limit);
    float u = std::max(-limit, std::min(up, limit));
    return gated(g, alpha * g) * (u + 1.0f);
  });
}

} // namespace saddle::cpu
