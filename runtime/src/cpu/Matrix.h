// Weight matrices of any storage, turned into values one row at a time, and the
// product that linear and the experts share. How elements become values is said
// here and nowhere else on the host.

#ifndef SADDLE_RUNTIME_CPU_MATRIX_H
#define SADDLE_RUNTIME_CPU_MATRIX_H

#include "runtime/ops/Op.h"
#include "runtime/src/base/Convert.h"
#include "runtime/src/cpu/Products.h"
#include "runtime/src/cpu/Vector.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace saddle::cpu {

/// A companion: one number for each blockRows x blockColumns of a matrix.
struct Grid {
  const uint8_t *data = nullptr; // null: there is none
  schema::DType dtype = schema::DType::F32;
  uint64_t rowBytes = 0; // from one row to the next
  uint64_t blockRows = 1, blockColumns = 1;

  float at(uint64_t row, uint64_t column) const {
    float value;
    loadRow(data + row / blockRows * rowBytes +
                column / blockColumns * elementBytes(dtype),
            dtype, &value, 1);
    return value;
  }
};

/// values[0 .. count) times the Hadamard matrix of that size, a power of two,
/// in its natural order, with entries 1 and -1.
inline void rotate(float *values, uint64_t count) {
  for (uint64_t half = 1; half < count; half *= 2)
    for (uint64_t start = 0; start < count; start += 2 * half)
      for (uint64_t k = start; k < start + half; ++k) {
        float a = values[k], b = values[k + half];
        values[k] = a + b;
        values[k + half] = a - b;
      }
}

/// Matrix rows that multiply() turns into values at a time.
constexpr uint64_t kWidenedRows = 16;

/// Rows x columns of weights: value = (code - zero) * scale, and a scale is one
/// of the grid, multiplied or divided by a global one; at last columns may be
/// rotated.
struct Matrix {
  const uint8_t *data;
  schema::DType dtype;
  uint64_t rows, columns;
  uint64_t rowBytes; // from one row to the next
  ops::Encoding encoding;
  Grid scales, zeros, globalScales;
  bool globalDivides = false;

  /// fp32 values of row `index`; in place when nothing has to be computed, else
  /// in `scratch`.
  const float *row(uint64_t index, float *scratch) const {
    const uint8_t *elements = data + index * rowBytes;
    if (isPlain())
      return asFloats(elements, dtype, scratch, columns);
    decode(elements, scratch);
    if (zeros.data)
      forBlocks(zeros, [&](uint64_t start, uint64_t end) {
        float zero = zeros.at(index, start);
        for (uint64_t k = start; k < end; ++k)
          scratch[k] -= zero;
      });
    if (scales.data)
      forBlocks(scales, [&](uint64_t start, uint64_t end) {
        float scale = scaleOf(index, start);
        for (uint64_t k = start; k < end; ++k)
          scratch[k] *= scale;
      });
    if (encoding.rotated != 0)
      for (uint64_t start = 0; start < columns; start += encoding.rotated)
        rotate(scratch + start, encoding.rotated);
    return scratch;
  }

  /// Whether elements are values, one beside the other.
  bool isPlain() const {
    return encoding.codes == schema::Codes::ELEMENTS && !scales.data &&
           encoding.rotated == 0;
  }

  /// fp32 values of `count` <= kWidenedRows rows from `first` on, in `scratch`.
  StoredRows widen(uint64_t first, uint64_t count, float *scratch) const {
    const uint8_t *stored[kWidenedRows];
    for (uint64_t i = 0; i < count; ++i) {
      stored[i] = data + (first + i) * rowBytes;
      float *values = scratch + i * columns;
      if (isPlain())
        continue;
      if (const float *decoded = row(first + i, values); decoded != values)
        std::copy_n(decoded, columns, values);
    }
    if (isPlain())
      loadRows(stored, count, dtype, scratch, columns);
    return {reinterpret_cast<const uint8_t *>(scratch), columns * sizeof(float),
            schema::DType::F32, count, columns};
  }

private:
  /// Codes as numbers; a zero of all of them is taken off.
  void decode(const uint8_t *elements, float *values) const {
    if (encoding.perElement == 1) {
      loadRow(elements, dtype, values, columns);
      if (encoding.zero != 0)
        for (uint64_t k = 0; k < columns; ++k)
          values[k] -= float(encoding.zero);
      return;
    }
    static constexpr float kE2m1[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
    float numbers[16];
    for (int code = 0; code < 16; ++code)
      numbers[code] = encoding.codes == schema::Codes::UINT
                          ? float(code - int(encoding.zero))
                          : (code < 8 ? 1.0f : -1.0f) * kE2m1[code & 7];
    for (uint64_t k = 0; k < columns; k += 2) {
      values[k] = numbers[elements[k / 2] & 15];
      values[k + 1] = numbers[elements[k / 2] >> 4];
    }
  }

  float scaleOf(uint64_t row, uint64_t column) const {
    float scale = scales.at(row, column);
    if (!globalScales.data)
      return scale;
    float global = globalScales.at(row, column);
    return globalDivides ? scale / global : scale * global;
  }

  /// Calls visit(start, end) for each block of columns.
  template <typename Visitor>
  void forBlocks(const Grid &grid, Visitor visit) const {
    for (uint64_t start = 0; start < columns; start += grid.blockColumns)
      visit(start, std::min(start + grid.blockColumns, columns));
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
        if (seen == nth + 1) {
          elements = operands[i];
          encoding = definition.encoding;
        }
      } else if (seen == nth + 1 && definition.companion) {
        companions.push_back({operands[i], *definition.companion});
      }
    }
  }

  /// Of a stack, its members; a matrix is the only one.
  uint64_t members() const {
    return elements.rank == 3 ? elements.shape[0] : 1;
  }
  uint64_t rows() const { return elements.shape[elements.rank - 2]; }
  uint64_t columns() const {
    return elements.shape[elements.rank - 1] * encoding.perElement;
  }

  Matrix matrix(uint64_t member = 0) const {
    Matrix result{memberOf(elements, member),
                  elements.dtype,
                  rows(),
                  columns(),
                  rowBytesOf(elements),
                  encoding,
                  {},
                  {},
                  {}};
    for (const auto &[view, companion] : companions) {
      Grid grid{memberOf(view, member), view.dtype, rowBytesOf(view),
                companion.blockRows, companion.blockCols};
      switch (companion.kind) {
      case schema::CompanionKind::SCALE:
        result.scales = grid;
        break;
      case schema::CompanionKind::ZERO:
        result.zeros = grid;
        break;
      case schema::CompanionKind::GLOBAL_SCALE:
        result.globalScales = grid;
        result.globalDivides = companion.divides;
        break;
      case schema::CompanionKind::UNKNOWN:
        break;
      }
    }
    return result;
  }

private:
  static const uint8_t *memberOf(const View &view, uint64_t member) {
    return view.rank == 3 ? view.row(member) : view.data;
  }
  static uint64_t rowBytesOf(const View &view) {
    return view.strides[view.rank - 2] * elementBytes(view.dtype);
  }

  View elements;
  ops::Encoding encoding;
  std::vector<std::pair<View, ops::Companion>> companions;
};

/// Floats of scratch that multiply() needs.
inline uint64_t multiplyScratch(uint64_t columns) {
  return kWidenedRows * columns;
}

/// out[i][row] = product of x[i] and the matrix' row, for i < count.
inline void multiply(const Matrix &matrix, const float *const *x,
                     uint64_t count, float *scratch, float *const *out) {
  // Few vectors read elements where they lie; for many they become values once.
  constexpr uint64_t kFew = 8;
  if (matrix.isPlain() && (matrix.dtype == schema::DType::F32 ||
                           (isReadInPlace(matrix.dtype) && count <= kFew)))
    return multiplyRows({matrix.data, matrix.rowBytes, matrix.dtype,
                         matrix.rows, matrix.columns},
                        x, count, out, 0);
  for (uint64_t first = 0; count != 0 && first < matrix.rows;
       first += kWidenedRows)
    multiplyRows(matrix.widen(first,
                              std::min(kWidenedRows, matrix.rows - first),
                              scratch),
                 x, count, out, first);
}

} // namespace saddle::cpu

#endif // SADDLE_RUNTIME_CPU_MATRIX_H
