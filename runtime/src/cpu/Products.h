// Several vectors times rows of numbers as they lie in memory: what linear,
// experts and attention spend their time with. A row is read and widened once
// for up to four vectors.

#ifndef SADDLE_RUNTIME_CPU_PRODUCTS_H
#define SADDLE_RUNTIME_CPU_PRODUCTS_H

#include "runtime/src/base/DType.h"

#include <cstdint>

namespace saddle::cpu {

/// Whether StoredRows may hold such numbers; others are widened before.
constexpr bool isReadInPlace(schema::DType dtype) {
  return dtype == schema::DType::F32 || dtype == schema::DType::BF16;
}

/// Rows of a matrix, or of a page of a cache, `stride` bytes from one to the
/// next.
struct StoredRows {
  const uint8_t *data;
  uint64_t stride;
  schema::DType dtype;
  uint64_t count, columns;
};

/// Instructions that products may use: x86-64-v4, x86-64-v3, or any x86-64's,
/// slowly. Bits are the same with all. Elsewhere there is one kind.
enum class Instructions { Any, V3, V4 };

/// The most that this machine has.
Instructions instructionsOfMachine();

/// out[i][at + row] = dot(x[i], row), bit for bit, for i < vectors.
void multiplyRows(const StoredRows &rows, const float *const *x,
                  uint64_t vectors, float *const *out, uint64_t at,
                  Instructions with = instructionsOfMachine());

/// out[i] += factors[i][at + row] * row for i < vectors and the first seen[i]
/// rows, one after the other.
void addScaledRows(const StoredRows &rows, const float *const *factors,
                   uint64_t at, const uint64_t *seen, uint64_t vectors,
                   float *const *out,
                   Instructions with = instructionsOfMachine());

} // namespace saddle::cpu

#endif // SADDLE_RUNTIME_CPU_PRODUCTS_H
