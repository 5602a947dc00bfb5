#include "runtime/src/cpu/Vector.h"

#include "runtime/src/base/Float.h"
#include "runtime/src/cpu/Lanes.h"
#include "runtime/src/cpu/Products.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace saddle::cpu {

using schema::DType;

const float *asFloats(const uint8_t *source, DType dtype, float *scratch,
                      uint64_t count) {
  if (dtype == DType::F32)
    return reinterpret_cast<const float *>(source);
  loadRow(source, dtype, scratch, count);
  return scratch;
}

float dot(const float *a, const float *b, uint64_t count) {
  float product, *out = &product;
  multiplyRows({reinterpret_cast<const uint8_t *>(b), 0, DType::F32, 1, count},
               &a, 1, &out, 0);
  return product;
}

void addScaled(float factor, const float *source, float *dest, uint64_t count) {
  const float *factors = &factor;
  const uint64_t seen = 1;
  addScaledRows(
      {reinterpret_cast<const uint8_t *>(source), 0, DType::F32, 1, count},
      &factors, 0, &seen, 1, &dest);
}

/// e^x for x <= 0: 2^n times a polynomial of the rest, whose coefficients are
/// those of Cephes' expf. The C library's takes one number at a time.
SADDLE_PART Lanes expOfNegative(Lanes x) {
  // Adding it leaves a whole number in the last bits.
  constexpr float kRound = 12582912.0f; // 1.5 * 2^23
  Lanes rounded = x * 1.44269504f + kRound;
  Lanes n = rounded - kRound;
  // ln 2 in two parts, the first of few bits.
  Lanes r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  Lanes p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  Lanes y = (p * r) * r + r + 1.0f;
  Integers scale = (((Integers)rounded - (Integers)(Lanes{} + kRound)) + 127)
                   << 23;
  Lanes result = y * (Lanes)scale;
  result = x < -87.0f ? Lanes{} : result;
  return x != x ? x : result;
}

SADDLE_PART Lanes siluOf(Lanes x) {
  // The smaller one of e^x and e^-x, so that nothing overflows.
  Lanes e = expOfNegative(x < 0 ? x : -x);
  return (x < 0 ? x * e : x) / (e + 1.0f);
}

SADDLE_PART void gateOf(float *gate, const float *up, uint64_t count) {
  uint64_t at = 0;
  for (; at + kLanes <= count; at += kLanes)
    storeLanes(gate + at, siluOf(lanesAt(gate + at)) * lanesAt(up + at));
  if (at == count)
    return;
  Lanes x = {}, y = {};
  std::memcpy(&x, gate + at, (count - at) * sizeof(float));
  std::memcpy(&y, up + at, (count - at) * sizeof(float));
  x = siluOf(x) * y;
  std::memcpy(gate + at, &x, (count - at) * sizeof(float));
}

SADDLE_HOT void gate(float *values, const float *up, uint64_t count) {
  gateOf(values, up, count);
}

SADDLE_PART void softmaxOf(float *values, uint64_t count, float scale) {
  uint64_t whole = count / kLanes * kLanes;
  // Lanes behind the last value count as nothing.
  Lanes rest = Lanes{} - INFINITY;
  for (uint64_t i = whole; i < count; ++i)
    rest[i - whole] = values[i] * scale;
  Lanes most = rest, sums = {};
  for (uint64_t at = 0; at < whole; at += kLanes) {
    Lanes lanes = lanesAt(values + at) * scale;
    storeLanes(values + at, lanes);
    most = lanes > most ? lanes : most;
  }
  float largest = __builtin_reduce_max(most);
  for (uint64_t at = 0; at < whole; at += kLanes) {
    Lanes lanes = expOfNegative(lanesAt(values + at) - largest);
    storeLanes(values + at, lanes);
    sums += lanes;
  }
  rest = expOfNegative(rest - largest);
  sums += rest;
  Lanes all[16] = {sums};
  // One division: those of lanes take longer than all else here.
  float share = 1 / foldSixteen(all)[0];
  for (uint64_t at = 0; at < whole; at += kLanes)
    storeLanes(values + at, lanesAt(values + at) * share);
  rest *= share;
  for (uint64_t i = whole; i < count; ++i)
    values[i] = rest[i - whole];
}

SADDLE_HOT void softmax(float *values, uint64_t count, float scale) {
  softmaxOf(values, count, scale);
}

namespace {
using Doubles = double __attribute__((vector_size(8 * sizeof(double))));
using Longs = int64_t __attribute__((vector_size(8 * sizeof(double))));
} // namespace

/// Of eight angles, whose first `count` results are stored.
SADDLE_PART void rotationsOf(const float *angles, uint64_t count,
                             float *cosines, float *sines) {
  Doubles x;
  for (unsigned i = 0; i < 8; ++i)
    x[i] = i < count ? double(angles[i]) : 0;
  // Quarter turns; adding it leaves a whole number in the last bits.
  constexpr double kRound = 6755399441055744.0; // 1.5 * 2^52
  Doubles rounded = x * 0.63661977236758134308 + kRound;
  Doubles n = rounded - kRound;
  // pi / 2 in two parts: products with the first one's 33 bits are exact.
  Doubles r = (x - n * 1.57079632673412561417) - n * 6.07710050650619224932e-11;
  Doubles z = r * r;
  // Taylor's series: what follows is below 2^-45 up to an eighth of a turn.
  Doubles sine =
      r * (1 + z * (-1 / 6.0 +
                    z * (1 / 120.0 +
                         z * (-1 / 5040.0 +
                              z * (1 / 362880.0 + z * (-1 / 39916800.0 +
                                                       z / 6227020800.0))))));
  Doubles cosine =
      1 +
      z * (-0.5 + z * (1 / 24.0 +
                       z * (-1 / 720.0 + z * (1 / 40320.0 +
                                              z * (-1 / 3628800.0 +
                                                   z * (1 / 479001600.0 -
                                                        z / 87178291200.0))))));
  Longs quarter = (Longs)rounded & 3;
  Doubles first = (quarter & 1) != 0 ? sine : cosine,
          second = (quarter & 1) != 0 ? cosine : sine;
  first = ((quarter + 1) & 2) != 0 ? -first : first;
  second = (quarter & 2) != 0 ? -second : second;
  for (uint64_t i = 0; i < count; ++i) {
    cosines[i] = float(first[i]);
    sines[i] = float(second[i]);
  }
}

SADDLE_HOT void rotations(float position, const float *frequencies,
                          uint64_t count, float *cosines, float *sines) {
  for (uint64_t at = 0; at < count; at += 8) {
    uint64_t some = std::min<uint64_t>(8, count - at);
    float angles[8];
    for (uint64_t i = 0; i < some; ++i)
      angles[i] = position * frequencies[at + i];
    rotationsOf(angles, some, cosines + at, sines + at);
  }
}

SADDLE_PART uint64_t largestOf(const float *values, uint64_t count) {
  // Of what lies behind the whole registers a lane stands for the last value.
  auto load = [&](uint64_t at) __attribute__((always_inline)) {
    return lanesAt(values + std::min(at, count - kLanes));
  };
  Lanes most = load(0);
  Integers numbers = most == most;
  for (uint64_t at = kLanes; at < count; at += kLanes) {
    Lanes lanes = load(at);
    numbers &= lanes == lanes;
    most = lanes > most ? lanes : most;
  }
  bool areNumbers = __builtin_reduce_and(numbers) != 0;
  float value = __builtin_reduce_max(most);
  for (uint64_t at = 0; at < count; at += kLanes) {
    Lanes lanes = load(at);
    Integers found = areNumbers ? lanes == value : lanes != lanes;
    if (__builtin_reduce_or(found) == 0)
      continue;
    at = std::min(at, count - kLanes);
    while (areNumbers ? values[at] != value : values[at] == values[at])
      ++at;
    return at;
  }
  return 0;
}

SADDLE_HOT uint64_t largest(const float *values, uint64_t count) {
  if (count >= kLanes)
    return largestOf(values, count);
  uint64_t best = 0;
  for (uint64_t i = 1; i < count && values[best] == values[best]; ++i)
    if (values[i] > values[best] || values[i] != values[i])
      best = i;
  return best;
}

/// What values are divided by before they become codes.
static float factorOf(const float *values, uint64_t count) {
  float amax = 0;
  for (uint64_t i = 0; i < count; ++i)
    amax = std::max(amax, std::fabs(values[i]));
  float factor = amax / 448.0f;
  // All zero, or so small that the factor underflows.
  return factor == 0 ? 1 : factor;
}

void quantizeGroups(float *values, uint64_t count, uint64_t group) {
  for (uint64_t start = 0; start < count; start += group) {
    uint64_t end = std::min(start + group, count);
    float factor = factorOf(values + start, end - start);
    for (uint64_t i = start; i < end; ++i)
      values[i] = e4m3ToFloat(floatToE4m3(values[i] / factor)) * factor;
  }
}

void encodeGroups(const float *values, uint64_t count, uint64_t group,
                  uint8_t *codes, float *factors) {
  for (uint64_t start = 0; start < count; start += group) {
    uint64_t end = std::min(start + group, count);
    float factor = factorOf(values + start, end - start);
    factors[start / group] = factor;
    for (uint64_t i = start; i < end; ++i)
      codes[i] = floatToE4m3(values[i] / factor);
  }
}

void decodeGroups(const uint8_t *codes, const float *factors, uint64_t count,
                  uint64_t group, float *values) {
  for (uint64_t i = 0; i < count; ++i)
    values[i] = e4m3ToFloat(codes[i]) * factors[i / group];
}

} // namespace saddle::cpu
