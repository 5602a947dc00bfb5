// Ops element by element, and copy: every thread takes vectors of up to 16
// bytes of the output, the grid strides over the rows that are real. Floor: the
// bytes of all operands over the memory bandwidth. Any shape; scalar where rows
// do not allow vectors.

#pragma once

#include "runtime/kernels/abi.h"
#include "runtime/kernels/ptx/fragments.cuh"
#include "runtime/kernels/tile/vectors.cuh"

namespace saddle::device {

/// out = combine(a, b) element by element, in fp32; may work in place.
template <int extent, typename A, typename B, typename Out, typename Combine>
__device__ void zip(const LaunchParams &p, Combine combine) {
  static_assert(A::kCols == Out::kCols && B::kCols == Out::kCols,
                "the operands have one width");
  constexpr int kCount = commonVector<A, B, Out>();
  forEachVector<Out::kCols, kCount>(
      p.step->counts[extent], [&](int64_t row, int64_t column) {
        auto a = *reinterpret_cast<const Vector<typename A::Element, kCount> *>(
            A::row(p.operands[0], row) + column);
        auto b = *reinterpret_cast<const Vector<typename B::Element, kCount> *>(
            B::row(p.operands[1], row) + column);
        Vector<typename Out::Element, kCount> result;
#pragma unroll
        for (int i = 0; i < kCount; ++i)
          result[i] = fromFloat<typename Out::Element>(
              combine(toFloat(a[i]), toFloat(b[i])));
        *reinterpret_cast<Vector<typename Out::Element, kCount> *>(
            Out::row(p.operands[2], row) + column) = result;
      });
}

template <int extent, typename A, typename B, typename Out>
__device__ void add(const LaunchParams &p) {
  zip<extent, A, B, Out>(p, [](float a, float b) { return a + b; });
}

/// alpha * a + beta * b.
template <int extent, typename A, typename B, typename Out>
__device__ void scaledAdd(const LaunchParams &p, float alpha, float beta) {
  zip<extent, A, B, Out>(
      p, [=](float a, float b) { return alpha * a + beta * b; });
}

/// x * sigmoid(gate). For results of 16 bits the exponential and the quotient
/// are those of the special function unit, which err by a few units of fp32's
/// last place; a gate below -87 gives 0. With fp32's own, many rows would take
/// longer to compute than to load.
template <typename Result>
__device__ __forceinline__ float gated(float x, float gate) {
  if constexpr (sizeof(Result) == 2)
    return __fdividef(x, 1.0f + exp2Fast(gate * -1.44269504f));
  else
    return x / (1.0f + expf(-gate));
}

template <int extent, typename X, typename Gate, typename Out>
__device__ void sigmoidGate(const LaunchParams &p) {
  zip<extent, X, Gate, Out>(p, gated<typename Out::Element>);
}

/// out = f(x) element by element, in fp32; x is the first operand and out the
/// one of that number.
template <int extent, int result, typename X, typename Out, typename Function>
__device__ void map(const LaunchParams &p, Function f) {
  static_assert(X::kCols == Out::kCols, "the operands have one width");
  constexpr int kCount = commonVector<X, Out>();
  forEachVector<Out::kCols, kCount>(
      p.step->counts[extent], [&](int64_t row, int64_t column) {
        auto x = loadVector<X, kCount>(p.operands[0], row, column);
        float values[kCount];
#pragma unroll
        for (int i = 0; i < kCount; ++i)
          values[i] = f(toFloat(x[i]));
        storeVector<Out, kCount>(p.operands[result], row, column, values);
      });
}

/// out = x * sigmoid(x); may work in place.
template <int extent, typename X, typename Out>
__device__ void silu(const LaunchParams &p) {
  map<extent, 1, X, Out>(
      p, [](float x) { return gated<typename Out::Element>(x, x); });
}

/// out = x * scale and x / scale, of one number that all share.
template <int extent, typename X, typename Out>
__device__ void multiplyBy(const LaunchParams &p) {
  const float scale = *static_cast<const float *>(p.operands[1]);
  map<extent, 2, X, Out>(p, [=](float x) { return x * scale; });
}
template <int extent, typename X, typename Out>
__device__ void divideBy(const LaunchParams &p) {
  const float scale = *static_cast<const float *>(p.operands[1]);
  map<extent, 2, X, Out>(p, [=](float x) { return __fdiv_rn(x, scale); });
}

/// gate * sigmoid(gate) * up.
template <int extent, typename Gate, typename Up, typename Out>
__device__ void swiglu(const LaunchParams &p) {
  zip<extent, Gate, Up, Out>(p, [](float gate, float up) {
    return gated<typename Out::Element>(gate, gate) * up;
  });
}

/// g * sigmoid(alpha * g) * (u + 1), g = min(gate, limit), u = up clamped.
template <int extent, typename Gate, typename Up, typename Out>
__device__ void swigluOAI(const LaunchParams &p, float alpha, float limit) {
  zip<extent, Gate, Up, Out>(p, [=](float gate, float up) {
    float g = fminf(gate, limit);
    float u = fmaxf(-limit, fminf(up, limit));
    return g / (1.0f + expf(-alpha * g)) * (u + 1.0f);
  });
}

template <int extent, typename In, typename Out>
__device__ void copy(const LaunchParams &p) {
  static_assert(In::kCols == Out::kCols && sizeof(typename In::Element) ==
                                               sizeof(typename Out::Element),
                "a copy changes neither shape nor type");
  constexpr int kCount = commonVector<In, Out>();
  using Values = Vector<typename In::Element, kCount>;
  forEachVector<Out::kCols, kCount>(
      p.step->counts[extent], [&](int64_t row, int64_t column) {
        *reinterpret_cast<Values *>(Out::row(p.operands[1], row) + column) =
            *reinterpret_cast<const Values *>(In::row(p.operands[0], row) +
                                              column);
      });
}

} // namespace saddle::device
