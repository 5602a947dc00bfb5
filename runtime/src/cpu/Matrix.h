// Weight matrices of any storage, widened one row at a time, and the product
// that linear and the experts share.

#ifndef SADDLE_RUNTIME_CPU_MATRIX_H
#define SADDLE_RUNTIME_CPU_MATRIX_H

#include "runtime/src/cpu/Vector.h"

#include <algorithm>

namespace saddle::cpu {

/// Rows x columns of weights, optionally with one f32 multiplier per block.
struct Matrix {
  const uint8_t *data;
  schema::DType dtype;
  uint64_t rows, columns;
  uint64_t rowBytes; // from one row to the next
  // Multipliers: null, or one per blockRows x blockColumns.
  const float *scales = nullptr;
  uint64_t scaleStride = 0;
  uint64_t blockRows = 1, blockColumns = 1;

  /// fp32 values of row `index`; in place when nothing has to be computed, else
  /// in `scratch`.
  const float *row(uint64_t index, float *scratch) const {
    const float *values =
        asFloats(data + index * rowBytes, dtype, scratch, columns);
    if (!scales)
      return values;
    const float *rowScales = scales + index / blockRows * scaleStride;
    for (uint64_t start = 0; start < columns; start += blockColumns) {
      float scale = *rowScales++;
      uint64_t end = std::min(start + blockColumns, columns);
      for (uint64_t k = start; k < end; ++k)
        scratch[k] *= scale;
    }
    return scratch;
  }
};

/// Floats of scratch that multiply() needs.
inline uint64_t multiplyScratch(uint64_t columns) { return 4 * columns; }

/// Calls emit(i, row, values, m) for each i in 0..count and each run of m <= 4
/// matrix rows: values[0..m) are the products of x[i] and rows row..row+m.
template <typename Emit>
void multiply(const Matrix &matrix, const float *const *x, uint64_t count,
              float *scratch, Emit emit) {
  if (count == 0)
    return;
  for (uint64_t first = 0; first < matrix.rows; first += 4) {
    uint64_t held = std::min<uint64_t>(4, matrix.rows - first);
    const float *rows[4];
    for (uint64_t i = 0; i < held; ++i)
      rows[i] = matrix.row(first + i, scratch + i * matrix.columns);
    for (uint64_t i = 0; i < count; ++i) {
      float values[4];
      dotMany(x[i], rows, held, matrix.columns, values);
      emit(i, first, values, held);
    }
  }
}

} // namespace saddle::cpu

#endif // SADDLE_RUNTIME_CPU_MATRIX_H
