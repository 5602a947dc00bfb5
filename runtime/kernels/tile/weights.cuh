// Weights of any storage as fp32 values: what their elements hold, and the
// companions that turn codes into values (runtime/ops/Storage.h). The reference
// is runtime/src/cpu/Matrix.h.

#pragma once

#include "runtime/kernels/tile/matrix.cuh"
#include "runtime/kernels/tile/reduce.cuh"

namespace saddle::device {

//===--- Companions -------------------------------------------------------===//

/// A companion that a weight does not have.
struct NoCompanion {
  static constexpr int64_t kBlockCols = 1;
  static constexpr bool kIsThere = false;
  static __device__ __forceinline__ const float *row(const void *, int64_t,
                                                     int64_t) {
    return nullptr;
  }
};

/// One number of M for each blockRows x blockCols values. Of a stack, M has the
/// rows of all members below each other, `memberRows` for each.
template <typename M, int64_t blockRows, int64_t blockCols,
          int64_t memberRows = M::kRows>
struct Companion {
  static constexpr bool kIsThere = true;
  static constexpr int64_t kBlockRows = blockRows;
  static constexpr int64_t kBlockCols = blockCols;
  static constexpr int64_t kRowBytes = M::kStride * sizeof(typename M::Element);
  using Element = typename M::Element;

  /// The numbers of a row of the weight, one per blockCols columns. The row is
  /// divided in its own type: 64 bits take many instructions.
  template <typename Index>
  static __device__ __forceinline__ const Element *
  row(const void *base, int64_t member, Index index) {
    return M::row(base,
                  member * memberRows + index / static_cast<Index>(blockRows));
  }
};

//===--- What elements hold -----------------------------------------------===//

/// Values, or with companions what is turned into them.
struct Numbers {
  static constexpr int kPerElement = 1;
  template <typename T>
  static __device__ __forceinline__ float value(const T *row, int64_t k) {
    return toFloat(row[k]);
  }
};

/// Unsigned bytes from which `zero` is taken.
template <int zero>
struct Bytes {
  static constexpr int kPerElement = 1;
  static __device__ __forceinline__ float value(const uint8_t *row, int64_t k) {
    return static_cast<float>(static_cast<int>(row[k]) - zero);
  }
};

/// Two codes to a byte, the first in the low half.
__device__ __forceinline__ int nibbleAt(const uint8_t *row, int64_t k) {
  return row[k / 2] >> k % 2 * 4 & 15;
}

/// Unsigned numbers of four bits from which `zero` is taken.
template <int zero>
struct Nibbles {
  static constexpr int kPerElement = 2, kZero = zero;
  static __device__ __forceinline__ float value(const uint8_t *row, int64_t k) {
    return static_cast<float>(nibbleAt(row, k) - zero);
  }
};

/// Floats of four bits: sign, two of exponent, one of mantissa.
struct E2M1 {
  static constexpr int kPerElement = 2;
  static __device__ __forceinline__ float value(const uint8_t *row, int64_t k) {
    int code = nibbleAt(row, k);
    // The magnitude at the top of an fp32 mantissa, with exponents 126 too low.
    float magnitude = __uint_as_float((code & 7) << 22) * 0x1p126f;
    return code & 8 ? -magnitude : magnitude;
  }
};

//===--- Stored weights ---------------------------------------------------===//

/// W with its companions, which stand behind it in this order: value = (code -
/// zero) * scale, and a scale is one of Scale, multiplied or divided by the
/// global one.
template <typename W, typename CodesOf = Numbers,
          typename ScaleOf = NoCompanion, typename ZeroOf = NoCompanion,
          typename GlobalOf = NoCompanion, bool globalDivides = false>
struct StoredWeights {
  using Elements = W;
  using Codes = CodesOf;
  using Scale = ScaleOf;
  using Zero = ZeroOf;
  using Global = GlobalOf;
  static constexpr bool kGlobalDivides = globalDivides;
  static constexpr int64_t kRows = W::kRows,
                           kCols = W::kCols * Codes::kPerElement;
  /// The weight and its companions.
  static constexpr int kOperands =
      1 + Scale::kIsThere + Zero::kIsThere + Global::kIsThere;

  /// A row of a member; `operands` points to the weight.
  struct Row {
    const typename W::Element *elements;
    decltype(Scale::row(nullptr, 0, 0)) scales;
    decltype(Zero::row(nullptr, 0, 0)) zeros;
    decltype(Global::row(nullptr, 0, 0)) globals;

    __device__ __forceinline__ Row(void *const *operands, int64_t member,
                                   int64_t memberRows, int64_t index)
        : elements(W::row(operands[0], member * memberRows + index)) {
      if constexpr (Scale::kIsThere)
        scales = Scale::row(operands[1], member, index);
      if constexpr (Zero::kIsThere)
        zeros = Zero::row(operands[1 + Scale::kIsThere], member, index);
      if constexpr (Global::kIsThere)
        globals = Global::row(operands[kOperands - 1], member, index);
    }

    __device__ __forceinline__ float operator[](int64_t k) const {
      float value = Codes::value(elements, k);
      if constexpr (Zero::kIsThere)
        value -= toFloat(zeros[k / Zero::kBlockCols]);
      if constexpr (Scale::kIsThere) {
        float scale = toFloat(scales[k / Scale::kBlockCols]);
        if constexpr (Global::kIsThere) {
          float global = toFloat(globals[k / Global::kBlockCols]);
          scale = globalDivides ? __fdiv_rn(scale, global) : scale * global;
        }
        value *= scale;
      }
      return value;
    }
  };
};

/// sums[i] = the sum over k of row i of x times the weight at k, by the lanes
/// of a warp; every lane gets all sums. `x(i, k)` is called for i < count <=
/// most; `weights[k]` is a value.
template <int most, typename ReadX, typename Row>
__device__ __forceinline__ void dotRows(float (&sums)[most], int count, ReadX x,
                                        const Row &weights, int64_t cols) {
#pragma unroll
  for (int i = 0; i < most; ++i)
    sums[i] = 0;
  for (int64_t k = threadIdx.x % 32; k < cols; k += 32) {
    float weight = weights[k];
#pragma unroll
    for (int i = 0; i < most; ++i)
      if (i < count)
        sums[i] += x(i, k) * weight;
  }
#pragma unroll
  for (int i = 0; i < most; ++i)
    sums[i] = warpSum(sums[i]);
}

} // namespace saddle::device
