// norm_gate and norm_all_reduce_gate: the norm behind a recurrence and the gate
// of its output, out = (x / rms(x) * weight) * sigmoid(gate), where columns of
// a row may lie on several ranks (rows_across_ranks.cuh). squares_gate: the
// same but for rms(x), whose sum of squares is a result. norm_gate_linear: the
// rows leave as codes for the product that alone reads them. One CTA per row
// keeps it in registers; the scaled row is rounded as rms_scale and
// scale_columns do. Floor: the bytes of the rows; for few tokens a load, a
// reduction and a store, about 2 us.

#pragma once

#include "runtime/kernels/impls/elementwise.cuh"
#include "runtime/kernels/impls/norm.cuh"
#include "runtime/kernels/impls/rows_across_ranks.cuh"

namespace saddle::device {

/// Operands, in the order in which the ops of the body name them first
/// (passes/Target/Sm90a/Fusions/NormGate.cpp); squares_gate has its sums before
/// its rows.
namespace norm_gate {
enum Operand { kX, kWeight, kGate, kOut, kSums = kOut, kOutBehindSums };
} // namespace norm_gate

/// A thread's part of a row.
template <int threads, typename X, typename Gate, typename Out>
class NormGateRow {
  static_assert(X::kCols == Out::kCols && Gate::kCols == Out::kCols,
                "the operands have one width");
  static constexpr int kCount = commonVector<X, Gate, Out>();
  using Element = typename Out::Element;

public:
  using Share = RowShare<X::kCols, kCount, threads>;

  __device__ __forceinline__ NormGateRow(const LaunchParams &p, uint32_t row)
      : p(p), row(row) {
    Share::forEach([&](int i, int column) {
      xs[i] = loadVector<X, kCount>(p.operands[norm_gate::kX], row, column);
      // On its way while the row is summed.
      gates[i] =
          loadVector<Gate, kCount>(p.operands[norm_gate::kGate], row, column);
    });
  }
  /// The sum of squares of the columns at hand, in every thread, and a zero.
  __device__ __forceinline__ void sums(float (&sums)[2], float *scratch) const {
    float sum = 0;
    Share::forEach([&](int i, int) {
#pragma unroll
      for (int j = 0; j < kCount; ++j)
        sum += toFloat(xs[i][j]) * toFloat(xs[i][j]);
    });
    sums[0] = blockSum<threads>(sum, scratch);
    sums[1] = 0;
  }
  /// This thread's values of the result.
  __device__ __forceinline__ Vector<float, kCount> result(float factor, int i,
                                                          int column) const {
    auto values = *reinterpret_cast<const Vector<float, kCount> *>(
        static_cast<const float *>(p.operands[norm_gate::kWeight]) + column);
#pragma unroll
    for (int j = 0; j < kCount; ++j) {
      float scaled = rounded<Element>(toFloat(xs[i][j]) * factor * values[j]);
      values[j] = gated<Element>(scaled, toFloat(gates[i][j]));
    }
    return values;
  }
  __device__ __forceinline__ void finish(float factor, void *out) const {
    Share::forEach([&](int i, int column) {
      storeVector<Out>(out, row, column, result(factor, i, column).values);
    });
  }
  __device__ __forceinline__ void finish(float factor) const {
    finish(factor, p.operands[norm_gate::kOut]);
  }

private:
  const LaunchParams &p;
  uint32_t row;
  // Not widened: twice as many rows are on their way.
  Vector<typename X::Element, kCount> xs[Share::kVectors];
  Vector<typename Gate::Element, kCount> gates[Share::kVectors];
};

/// Whole rows; out may be exactly x or gate.
template <int extent, int threads, typename X, typename Gate, typename Out>
__device__ void normGate(const LaunchParams &p, float divisor, float eps) {
  __shared__ float scratch[threads / 32];
  for (uint32_t row = blockIdx.x; row < p.step->counts[extent];
       row += gridDim.x) {
    NormGateRow<threads, X, Gate, Out> mine(p, row);
    float sums[2];
    mine.sums(sums, scratch);
    mine.finish(rmsFactor(sums[0], divisor, eps));
  }
}

/// Whole rows, which leave as codes and the factors of groups of `group`
/// columns, rounded as elements of X before.
template <int extent, int threads, int group, typename X, typename Gate,
          typename Codes, typename Factors>
__device__ void normGateEncode(const LaunchParams &p, float divisor, float eps,
                               void *codes, void *factors) {
  using Row = Matrix<typename X::Element, 1, X::kCols, X::kCols>;
  using Part = NormGateRow<threads, X, Gate, Row>;
  __shared__ float scratch[threads / 32];
  for (uint32_t row = blockIdx.x; row < p.step->counts[extent];
       row += gridDim.x) {
    Part mine(p, row);
    float sums[2];
    mine.sums(sums, scratch);
    float factor = rmsFactor(sums[0], divisor, eps);
    encodeRow<typename Part::Share, threads, group, Row>(
        [&](int i, int column) { return mine.result(factor, i, column); },
        Codes::row(codes, row), Factors::row(factors, row));
  }
}

/// The rows at hand, whole or not, not divided; out may be exactly x or gate.
template <int extent, int threads, typename X, typename Gate, typename Sums,
          typename Out>
__device__ void squaresGate(const LaunchParams &p) {
  __shared__ float scratch[threads / 32];
  for (uint32_t row = blockIdx.x; row < p.step->counts[extent];
       row += gridDim.x) {
    NormGateRow<threads, X, Gate, Out> mine(p, row);
    float sums[2];
    mine.sums(sums, scratch);
    if (threadIdx.x == 0)
      *Sums::row(p.operands[norm_gate::kSums], row) = sums[0];
    mine.finish(1.0f, p.operands[norm_gate::kOutBehindSums]);
  }
}

/// Tells this exchange from those of other kernels.
template <typename X>
constexpr uint32_t kNormGateSignature =
    signatureOf(ExchangeKind::NormGate, X::kRows, 1, sizeof(float));

/// One launch of at most `blocks` CTAs, all resident. `memory` bytes of
/// exchange memory.
template <int size, uint64_t memory, int blocks, int extent, int threads,
          typename X, typename Gate, typename Out>
__device__ void normAllReduceGate(const LaunchParams &p, float divisor,
                                  float eps) {
  using Row = NormGateRow<threads, X, Gate, Out>;
  __shared__ float scratch[threads / 32];
  rowsAcrossRanks<size, memory, blocks, X::kRows>(
      p, kNormGateSignature<X>, rowsOf<extent, X>(p),
      [&](uint32_t row) { return Row(p, row); },
      [&](const Row &mine, float (&sums)[2]) { mine.sums(sums, scratch); },
      [](Row &, uint32_t) {},
      [&](const Row &mine, float2 total) {
        mine.finish(rmsFactor(total.x, divisor, eps));
      });
}

/// First of three launches.
template <int extent, typename X>
__device__ void normGateSums(const LaunchParams &p) {
  rowSumsToWorkspace<extent, X>(p);
}

/// Second.
template <int size, uint64_t memory, int extent, typename X>
__device__ void normGateExchange(const LaunchParams &p) {
  exchangeRowSums<size, memory, X::kRows, 1>(p, kNormGateSignature<X>,
                                             rowsOf<extent, X>(p));
}

/// Third: everything behind the sums.
template <int extent, int threads, typename X, typename Gate, typename Out>
__device__ void normGateFinish(const LaunchParams &p, float divisor,
                               float eps) {
  for (uint32_t row = blockIdx.x; row < p.step->counts[extent];
       row += gridDim.x)
    NormGateRow<threads, X, Gate, Out>(p, row).finish(
        rmsFactor(static_cast<const float *>(p.workspace)[row], divisor, eps));
}

} // namespace saddle::device
