// The rows of a matrix cut into units that move as one access where the rows
// allow it, and element by element where they do not: any width and stride.

#pragma once

#include "runtime/kernels/tile/matrix.cuh"

#include <cstring>

namespace saddle::device {

/// Units of up to `bytes` bytes of rows of `M`, or of `cols` columns of them
/// that begin at a multiple of `cols`; a row's last unit may be short.
template <typename M, int bytes, int64_t cols = M::kCols>
struct Units {
  using Element = typename M::Element;
  static constexpr int kCount = bytes / sizeof(Element);
  using Values = Vector<Element, kCount>;
  static constexpr uint32_t kPerRow = (cols + kCount - 1) / kCount;
  static constexpr bool kIsDense =
      M::isVectorizable(kCount) && cols % kCount == 0;
  /// Of all rows.
  static constexpr int64_t kTotal = M::kRows * kPerRow;
  static_assert(kTotal < (int64_t(1) << 31), "units are counted in 32 bits");

  /// Columns of the unit that starts at `column`.
  static __device__ __forceinline__ int width(uint32_t column) {
    int left = static_cast<int>(cols) - static_cast<int>(column);
    return kIsDense || left > kCount ? kCount : left;
  }

  /// `width` elements, then zeros.
  static __device__ __forceinline__ Values load(const Element *at, int width) {
    if constexpr (kIsDense) {
      return *reinterpret_cast<const Values *>(at);
    } else {
      Values values;
      memset(&values, 0, sizeof(values));
#pragma unroll
      for (int i = 0; i < kCount; ++i)
        if (i < width)
          values[i] = at[i];
      return values;
    }
  }
  static __device__ __forceinline__ void store(Element *at, Values values,
                                               int width) {
    if constexpr (kIsDense) {
      *reinterpret_cast<Values *>(at) = values;
    } else {
#pragma unroll
      for (int i = 0; i < kCount; ++i)
        if (i < width)
          at[i] = values[i];
    }
  }
};

} // namespace saddle::device
