// Conversions between f32 and the narrower floats of checkpoints and caches.
//
// Widening is exact. Narrowing rounds to nearest, ties to even. All functions
// are pure bit work and inline, because kernels call them per element.

#ifndef SADDLE_RUNTIME_BASE_FLOAT_H
#define SADDLE_RUNTIME_BASE_FLOAT_H

#include <array>
#include <cstdint>
#include <cstring>
#include <limits>

namespace saddle {

inline uint32_t floatBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float floatFromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline float bf16ToFloat(uint16_t value) {
  return floatFromBits(uint32_t(value) << 16);
}

/// Values beyond the largest bf16 become infinite; NaN stays NaN (quiet).
inline uint16_t floatToBf16(float value) {
  uint32_t bits = floatBits(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return uint16_t(bits >> 16) | 0x40u;
  return uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

inline float f16ToFloat(uint16_t value) {
  uint32_t sign = uint32_t(value & 0x8000u) << 16;
  uint32_t magnitude = value & 0x7fffu;
  if (magnitude >= 0x7c00u) // infinity, NaN
    return floatFromBits(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  if (magnitude >= 0x400u)
    return floatFromBits(sign | ((magnitude << 13) + (112u << 23)));
  float subnormal = float(magnitude) * 0x1p-24f;
  return floatFromBits(sign | floatBits(subnormal));
}

/// Values that round beyond 65504 become infinite; NaN stays NaN (quiet).
inline uint16_t floatToF16(float value) {
  uint32_t bits = floatBits(value);
  uint16_t sign = uint16_t((bits >> 16) & 0x8000u);
  bits &= 0x7fffffffu;
  if (bits > 0x7f800000u)
    return sign | 0x7e00u;
  if (bits >= 0x47800000u) // 65536
    return sign | 0x7c00u;
  if (bits < 0x38800000u) { // below the smallest normal, 2^-14
    // One unit of 0.5f's last place is the subnormal quantum, so the
    // hardware's addition does the rounding.
    float shifted = floatFromBits(bits) + 0.5f;
    return sign | uint16_t(floatBits(shifted) - floatBits(0.5f));
  }
  bits += 0xfffu + ((bits >> 13) & 1u);
  return sign | uint16_t((bits >> 13) - (112u << 10));
}

namespace detail {
constexpr std::array<float, 256> makeE4m3Table() {
  std::array<float, 256> table{};
  for (unsigned code = 0; code < 128; ++code) {
    unsigned exponent = code >> 3, mantissa = code & 7;
    float value = exponent ? float(8 + mantissa) : float(mantissa);
    // The leading bit weighs 2^(exponent - 7), so one unit 2^(exponent - 10).
    for (unsigned step = exponent ? exponent : 1; step < 10; ++step)
      value /= 2;
    for (unsigned step = 10; step < exponent; ++step)
      value *= 2;
    if (code == 0x7f)
      value = std::numeric_limits<float>::quiet_NaN();
    table[code] = value;
    table[code + 128] = -value;
  }
  return table;
}
inline constexpr std::array<float, 256> kE4m3Table = makeE4m3Table();
} // namespace detail

/// OCP e4m3fn: bias 7, no infinities, 0x7f and 0xff are NaN, largest 448.
inline float e4m3ToFloat(uint8_t value) { return detail::kE4m3Table[value]; }

/// OCP e8m0: a power of two, 2^(x - 127); 0xff is NaN.
inline float e8m0ToFloat(uint8_t value) {
  if (value == 0xffu)
    return floatFromBits(0x7fc00000u);
  // 2^-127 is a subnormal float.
  return floatFromBits(value ? uint32_t(value) << 23 : 0x00400000u);
}

/// Saturates to +-448, infinities too; NaN stays NaN.
inline uint8_t floatToE4m3(float value) {
  uint32_t bits = floatBits(value);
  uint8_t sign = uint8_t((bits >> 24) & 0x80u);
  bits &= 0x7fffffffu;
  if (bits > 0x7f800000u)
    return sign | 0x7fu;
  if (bits >= 0x43e00000u) // 448
    return sign | 0x7eu;
  if (bits < 0x3c800000u) { // below the smallest normal, 2^-6
    // As in floatToF16: one unit of 2^14's last place is the quantum 2^-9.
    float shifted = floatFromBits(bits) + 0x1p14f;
    return sign | uint8_t(floatBits(shifted) - floatBits(0x1p14f));
  }
  bits += 0x7ffffu + ((bits >> 20) & 1u);
  return sign | uint8_t((bits >> 20) - (120u << 3));
}

} // namespace saddle

#endif // SADDLE_RUNTIME_BASE_FLOAT_H
