// Weight matrices of any storage, turned into values one row at a time, and the
// product that linear and the experts share. How elements become values is said
// here and nowhere else on the host.

#ifndef SADDLE_RUNTIME_CPU_MATRIX_H
#define SADDLE_RUNTIME_CPU_MATRIX_H

#include "runtime/ops/Op.h"
#include "runtime/src/cpu/Vector.h"

#include <algorithm>
#include <vector>

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
    if (values != scratch)
      std::copy_n(values, columns, scratch);
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

/// A weight operand and its companions, which stand behind it.
struct StoredWeight {
  /// The `nth` weight of any storage of a call that has at least so many.
  StoredWeight(const std::vector<ops::Operand> &definitions,
               const std::vector<View> &operands, size_t nth) {
    size_t seen = 0;
    for (size_t i = 0; i < definitions.size(); ++i) {
      const ops::Operand &definition = definitions[i];
      if (definition.type == ops::Type::W) {
        ++seen;
        if (seen == nth + 1)
          elements = operands[i];
      } else if (seen == nth + 1 && definition.companion &&
                 definition.companion->kind == schema::CompanionKind::SCALE) {
        scales = operands[i];
        scale = *definition.companion;
      }
    }
  }

  /// Of a stack, its members; a matrix is the only one.
  uint64_t members() const {
    return elements.rank == 3 ? elements.shape[0] : 1;
  }
  uint64_t rows() const { return elements.shape[elements.rank - 2]; }
  uint64_t columns() const { return elements.shape[elements.rank - 1]; }

  Matrix matrix(uint64_t member = 0) const {
    bool stack = elements.rank == 3;
    Matrix result{stack ? elements.row(member) : elements.data, elements.dtype,
                  rows(), columns(),
                  elements.strides[elements.rank - 2] *
                      elementBytes(elements.dtype)};
    if (scales.rank != 0) {
      result.scales = reinterpret_cast<const float *>(stack ? scales.row(member)
                                                            : scales.data);
      result.scaleStride = scales.strides[scales.rank - 2];
      result.blockRows = scale.blockRows;
      result.blockColumns = scale.blockCols;
    }
    return result;
  }

  View elements;
  View scales; // of rank 0 when there are none
  ops::Companion scale = {};
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
