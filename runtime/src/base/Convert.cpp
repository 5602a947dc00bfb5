#include "runtime/src/base/Convert.h"

#include "runtime/src/base/Float.h"

#include <cassert>
#include <cstring>

// Clones differ in register width only.
#if defined(__x86_64__)
#define SADDLE_WIDEST                                                          \
  __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define SADDLE_WIDEST
#endif

namespace saddle {

using schema::DType;

SADDLE_WIDEST static void widenBf16(const uint16_t *source, float *dest,
                                    uint64_t count) {
  for (uint64_t i = 0; i < count; ++i)
    dest[i] = bf16ToFloat(source[i]);
}

/// A call for several short rows.
SADDLE_WIDEST static void widenBf16Rows(const uint8_t *const *sources,
                                        uint64_t rows, float *dest,
                                        uint64_t count) {
  for (uint64_t row = 0; row < rows; ++row) {
    auto *source = reinterpret_cast<const uint16_t *>(sources[row]);
    for (uint64_t i = 0; i < count; ++i)
      dest[row * count + i] = bf16ToFloat(source[i]);
  }
}

SADDLE_WIDEST static void widenF16(const uint16_t *source, float *dest,
                                   uint64_t count) {
  for (uint64_t i = 0; i < count; ++i)
    dest[i] = f16ToFloat(source[i]);
}

// Arithmetic instead of the table, so that it vectorises.
SADDLE_WIDEST static void widenE4m3(const uint8_t *source, float *dest,
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

SADDLE_WIDEST static void widenE8m0(const uint8_t *source, float *dest,
                                    uint64_t count) {
  for (uint64_t i = 0; i < count; ++i)
    dest[i] = e8m0ToFloat(source[i]);
}

template <typename Integer>
static void widenIntegers(const uint8_t *source, float *dest, uint64_t count) {
  for (uint64_t i = 0; i < count; ++i)
    dest[i] = float(Integer(source[i]));
}

SADDLE_WIDEST static void narrowBf16(const float *source, uint16_t *dest,
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
  case DType::F8E8M0:
    return widenE8m0(source, dest, count);
  case DType::I8:
    return widenIntegers<int8_t>(source, dest, count);
  case DType::U8:
    return widenIntegers<uint8_t>(source, dest, count);
  default:
    assert(false && "only float types convert");
  }
}

void loadRows(const uint8_t *const *sources, uint64_t rows, DType dtype,
              float *dest, uint64_t count) {
  if (dtype == DType::BF16)
    return widenBf16Rows(sources, rows, dest, count);
  for (uint64_t row = 0; row < rows; ++row)
    loadRow(sources[row], dtype, dest + row * count, count);
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
    assert(false && "only float types convert");
  }
}

} // namespace saddle
