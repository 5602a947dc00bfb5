#include "runtime/src/cpu/Vector.h"

#include "runtime/src/base/Float.h"

#include <algorithm>
#include <cmath>
#include <cstring>

// Clones differ in register width only: same operations, same order.
#if defined(__x86_64__)
#define SADDLE_HOT __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define SADDLE_HOT
#endif

namespace saddle::cpu {

using schema::DType;

const float *asFloats(const uint8_t *source, DType dtype, float *scratch,
                      uint64_t count) {
  if (dtype == DType::F32)
    return reinterpret_cast<const float *>(source);
  loadRow(source, dtype, scratch, count);
  return scratch;
}

namespace {
constexpr unsigned kLanes = 16;
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));
} // namespace

// The order of one dot product: element k goes to lane k % 32 (two registers of
// 16), the remainder to the first lanes, then halves are added pairwise.
#define SADDLE_LOAD_LANES(lanes, address)                                      \
  std::memcpy(&lanes, address, sizeof(Lanes))

template <unsigned Rows>
__attribute__((always_inline)) static inline void
dotRows(const float *a, const float *const *b, uint64_t count, float *out) {
  Lanes low[Rows] = {}, high[Rows] = {};
  uint64_t k = 0;
  for (; k + 2 * kLanes <= count; k += 2 * kLanes) {
    Lanes a0, a1;
    SADDLE_LOAD_LANES(a0, a + k);
    SADDLE_LOAD_LANES(a1, a + k + kLanes);
    for (unsigned row = 0; row < Rows; ++row) {
      Lanes b0, b1;
      SADDLE_LOAD_LANES(b0, b[row] + k);
      SADDLE_LOAD_LANES(b1, b[row] + k + kLanes);
      low[row] += a0 * b0;
      high[row] += a1 * b1;
    }
  }
  for (unsigned row = 0; row < Rows; ++row) {
    float lanes[2 * kLanes];
    std::memcpy(lanes, &low[row], sizeof(Lanes));
    std::memcpy(lanes + kLanes, &high[row], sizeof(Lanes));
    for (uint64_t rest = k; rest < count; ++rest)
      lanes[rest - k] += a[rest] * b[row][rest];
    for (unsigned half = kLanes; half > 0; half /= 2)
      for (unsigned lane = 0; lane < half; ++lane)
        lanes[lane] += lanes[lane + half];
    out[row] = lanes[0];
  }
}

SADDLE_HOT static void dotOne(const float *a, const float *const *b,
                              uint64_t count, float *out) {
  dotRows<1>(a, b, count, out);
}

SADDLE_HOT static void dotFour(const float *a, const float *const *b,
                               uint64_t count, float *out) {
  dotRows<4>(a, b, count, out);
}

float dot(const float *a, const float *b, uint64_t count) {
  float out;
  dotOne(a, &b, count, &out);
  return out;
}

void dotMany(const float *a, const float *const *rows, uint64_t m,
             uint64_t count, float *out) {
  if (m == 4)
    return dotFour(a, rows, count, out);
  for (uint64_t i = 0; i < m; ++i)
    out[i] = dot(a, rows[i], count);
}

SADDLE_HOT void addScaled(float factor, const float *source, float *dest,
                          uint64_t count) {
  for (uint64_t i = 0; i < count; ++i)
    dest[i] += factor * source[i];
}

SADDLE_HOT static void addScaledFour(const float *factors,
                                     const float *const *rows, float *dest,
                                     uint64_t count) {
  const float *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
  for (uint64_t i = 0; i < count; ++i)
    dest[i] = (((dest[i] + factors[0] * a[i]) + factors[1] * b[i]) +
               factors[2] * c[i]) +
              factors[3] * d[i];
}

void addScaledMany(const float *factors, const float *const *rows, uint64_t m,
                   float *dest, uint64_t count) {
  if (m == 4)
    return addScaledFour(factors, rows, dest, count);
  for (uint64_t i = 0; i < m; ++i)
    addScaled(factors[i], rows[i], dest, count);
}

void quantizeGroups(float *values, uint64_t count, uint64_t group) {
  for (uint64_t start = 0; start < count; start += group) {
    uint64_t end = std::min(start + group, count);
    float amax = 0;
    for (uint64_t i = start; i < end; ++i)
      amax = std::max(amax, std::fabs(values[i]));
    float scale = amax / 448.0f;
    if (scale == 0) // all zero, or so small that the scale underflows
      scale = 1;
    for (uint64_t i = start; i < end; ++i)
      values[i] = e4m3ToFloat(floatToE4m3(values[i] / scale)) * scale;
  }
}

} // namespace saddle::cpu
