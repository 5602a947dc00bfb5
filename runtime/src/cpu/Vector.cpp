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

SADDLE_HOT static void widenBf16(const uint16_t *source, float *dest,
                                 uint64_t count) {
  for (uint64_t i = 0; i < count; ++i)
    dest[i] = bf16ToFloat(source[i]);
}

SADDLE_HOT static void widenF16(const uint16_t *source, float *dest,
                                uint64_t count) {
  for (uint64_t i = 0; i < count; ++i)
    dest[i] = f16ToFloat(source[i]);
}

// Arithmetic instead of the table, so that it vectorises.
SADDLE_HOT static void widenE4m3(const uint8_t *source, float *dest,
                                 uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) {
    uint32_t sign = uint32_t(source[i] & 0x80u) << 24;
    uint32_t magnitude = source[i] & 0x7fu;
    uint32_t normal = (magnitude << 20) + (120u << 23);
    uint32_t subnormal = floatBits(float(int32_t(magnitude)) * 0x1p-9f);
    uint32_t bits = magnitude < 8 ? subnormal : normal;
    bits = magnitude == 0x7f ? 0x7fc00000u : bits;
    dest[i] = floatFromBits(sign | bits);
  }
}

SADDLE_HOT static void narrowBf16(const float *source, uint16_t *dest,
                                  uint64_t count) {
  for (uint64_t i = 0; i < count; ++i)
    dest[i] = floatToBf16(source[i]);
}

void loadRow(const uint8_t *source, DType dtype, float *dest, uint64_t count) {
  switch (dtype) {
  case DType::F32:
    std::memcpy(dest, source, count * sizeof(float));
    return;
  case DType::BF16:
    return widenBf16(reinterpret_cast<const uint16_t *>(source), dest, count);
  case DType::F16:
    return widenF16(reinterpret_cast<const uint16_t *>(source), dest, count);
  case DType::F8E4M3:
    return widenE4m3(source, dest, count);
  default:
    assert(false && "checkLaunch admits float operands only");
  }
}

void storeRow(const float *source, DType dtype, uint8_t *dest, uint64_t count) {
  switch (dtype) {
  case DType::F32:
    std::memmove(dest, source, count * sizeof(float));
    return;
  case DType::BF16:
    return narrowBf16(source, reinterpret_cast<uint16_t *>(dest), count);
  case DType::F16:
    for (uint64_t i = 0; i < count; ++i)
      reinterpret_cast<uint16_t *>(dest)[i] = floatToF16(source[i]);
    return;
  case DType::F8E4M3:
    for (uint64_t i = 0; i < count; ++i)
      dest[i] = floatToE4m3(source[i]);
    return;
  default:
    assert(false && "checkLaunch admits float operands only");
  }
}

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

void dot4(const float *a, const float *const b[4], uint64_t count,
          float out[4]) {
  dotFour(a, b, count, out);
}

SADDLE_HOT void addScaled(float factor, const float *source, float *dest,
                          uint64_t count) {
  for (uint64_t i = 0; i < count; ++i)
    dest[i] += factor * source[i];
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
