// embedding and select_rows: rows chosen by an index at run time. Every thread
// takes vectors of up to 16 bytes of the output. Floor: the bytes of the rows
// that are read and written. Any shape; scalar where rows do not allow vectors.

#pragma once

#include "runtime/kernels/abi.h"
#include "runtime/kernels/tile/vectors.cuh"

namespace saddle::device {

/// Operands tokens, table, out; rank value 0 is the table's first token. A
/// token outside the table gives zeros.
template <int extent, typename Table, typename Out>
__device__ void embedding(const LaunchParams &p) {
  static_assert(Table::kCols == Out::kCols,
                "the table is as wide as the output");
  constexpr int kCount = commonVector<Table, Out>();
  auto first = static_cast<int64_t>(p.rankValues[0]);
  forEachVector<Out::kCols, kCount>(
      p.step->counts[extent], [&](int64_t row, int64_t column) {
        int64_t token = static_cast<const i32 *>(p.operands[0])[row] - first;
        float values[kCount] = {};
        if (token >= 0 && token < Table::kRows) {
          auto found = loadVector<Table, kCount>(p.operands[1], token, column);
#pragma unroll
          for (int i = 0; i < kCount; ++i)
            values[i] = toFloat(found[i]);
        }
        storeVector<Out, kCount>(p.operands[2], row, column, values);
      });
}

/// Operands x, rows, out. An index outside x leaves its row of the output.
template <int extent, typename X, typename Out>
__device__ void selectRows(const LaunchParams &p) {
  static_assert(X::kCols == Out::kCols && sizeof(typename X::Element) ==
                                              sizeof(typename Out::Element),
                "selected rows keep width and type");
  constexpr int kCount = commonVector<X, Out>();
  using Values = Vector<typename X::Element, kCount>;
  forEachVector<Out::kCols, kCount>(
      p.step->counts[extent], [&](int64_t row, int64_t column) {
        int64_t source = static_cast<const i32 *>(p.operands[1])[row];
        if (source >= 0 && source < X::kRows)
          *reinterpret_cast<Values *>(Out::row(p.operands[2], row) + column) =
              loadVector<X, kCount>(p.operands[0], source, column);
      });
}

} // namespace saddle::device
