// The first product of the streaming experts: rows of w1 and w3 side by side,
// so that a warp has both factors of silu(gate) * up.

#pragma once

#include "runtime/kernels/impls/experts.cuh"
#include "runtime/kernels/tile/stream_cta.cuh"

namespace saddle::device {

/// A tile has 8 rows of w1 and the same 8 of w3: 8 columns of the activations.
template <typename W13, int64_t held, typename Shape, typename Stream,
          typename Scale>
struct GatedRows {
  using At = ExpertOperands<Scale::kIsThere>;
  using Share = WarpShare<Shape, Stream>;
  using Sums = StreamSums<Shape, Stream>;
  static constexpr int kInner = W13::kRows / held / 2;
  static constexpr int kCtaColumns = Shape::kTiles * 8 * Shape::kRowWarps;

  /// A warp's rows, and their factors, of a CTA whose columns begin at
  /// `ctaColumn`.
  template <typename Source>
  static __device__ __forceinline__ void
  set(Source &source, const LaunchParams &p, int64_t expert, int ctaColumn,
      const Share &share) {
    int column = ctaColumn + share.row / 2;
#pragma unroll
    for (int i = 0; i < Shape::kTiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        int row = column + i * 8;
        source.rows[i][half] =
            W13::row(p.operands[At::kW13], (expert * 2 + half) * kInner + row);
        source.rowCount[i][half] = kInner - row;
      }
    if constexpr (Scale::kIsThere) {
      int lane = threadIdx.x % 32, row = column + lane / 2 * 8;
      source.rowFactors = row < kInner
                              ? Scale::row(p.operands[At::kScale13], expert,
                                           lane % 2 * kInner + row)
                              : nullptr;
    }
  }

  /// silu(gate) * up of a column of the CTA, once sums are collected.
  static __device__ __forceinline__ float activation(const float *sums,
                                                     int token, int column) {
    float gate = 0, up = 0;
#pragma unroll
    for (int j = 0; j < Shape::kColumnWarps; ++j) {
      const float *row = Sums::at(sums, j, token, column / 8 * 16 + column % 8);
      gate += row[0];
      up += row[8];
    }
    return silu(gate) * up;
  }
};

} // namespace saddle::device
