// Rows of narrow floats to and from fp32, vectorised.

#ifndef SADDLE_RUNTIME_BASE_CONVERT_H
#define SADDLE_RUNTIME_BASE_CONVERT_H

#include "runtime/src/base/DType.h"

#include <cstdint>

namespace saddle {

/// Widens `count` elements at `source`; any of f32, bf16, f16, f8e4m3,
/// f8e8m0, i8, u8.
void loadRow(const uint8_t *source, schema::DType dtype, float *dest,
             uint64_t count);
/// `rows` such rows, whose values become dest[0 .. count), dest[count ..), ...
void loadRows(const uint8_t *const *sources, uint64_t rows, schema::DType dtype,
              float *dest, uint64_t count);
/// Rounds `count` values to `dtype` (nearest even; f8e4m3 saturates).
void storeRow(const float *source, schema::DType dtype, uint8_t *dest,
              uint64_t count);

} // namespace saddle

#endif // SADDLE_RUNTIME_BASE_CONVERT_H
