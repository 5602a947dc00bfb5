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
using Four = float __attribute__((vector_size(4 * sizeof(float))));
using Integers = int32_t __attribute__((vector_size(kLanes * sizeof(float))));
} // namespace

// The order of one dot product: element k goes to lane k % 32 (two registers of
// 16), the remainder to the first lanes, then halves are added pairwise.
#define SADDLE_LOAD_LANES(lanes, address)                                      \
  std::memcpy(&lanes, address, sizeof(Lanes))

/// The sums of halves, from 32 lanes down to 4.
__attribute__((always_inline)) static inline Four foldToFour(Lanes low,
                                                             Lanes high) {
  Lanes all = low + high;
  auto eight = __builtin_shufflevector(all, all, 0, 1, 2, 3, 4, 5, 6, 7) +
               __builtin_shufflevector(all, all, 8, 9, 10, 11, 12, 13, 14, 15);
  return __builtin_shufflevector(eight, eight, 0, 1, 2, 3) +
         __builtin_shufflevector(eight, eight, 4, 5, 6, 7);
}

/// out[i] = (v[i][0] + v[i][2]) + (v[i][1] + v[i][3]).
template <unsigned Rows>
__attribute__((always_inline)) static inline void foldRows(const Four *v,
                                                           float *out) {
  if constexpr (Rows == 4) {
    Four a = __builtin_shufflevector(v[0], v[1], 0, 1, 4, 5) +
             __builtin_shufflevector(v[0], v[1], 2, 3, 6, 7);
    Four b = __builtin_shufflevector(v[2], v[3], 0, 1, 4, 5) +
             __builtin_shufflevector(v[2], v[3], 2, 3, 6, 7);
    Four sums = __builtin_shufflevector(a, b, 0, 2, 4, 6) +
                __builtin_shufflevector(a, b, 1, 3, 5, 7);
    std::memcpy(out, &sums, sizeof sums);
  } else {
    for (unsigned i = 0; i < Rows; ++i)
      out[i] = (v[i][0] + v[i][2]) + (v[i][1] + v[i][3]);
  }
}

// Loops over vectors and rows are unrolled, so that sums stay in registers.
#define SADDLE_UNROLL _Pragma("unroll")

/// The sums of eight dot products, in the same order as the two above, whose
/// halves are added side by side.
__attribute__((always_inline)) static inline void
foldEight(const Lanes (&low)[2][4], const Lanes (&high)[2][4],
          float *const *out) {
  Lanes pairs[2][2], fours[2];
  SADDLE_UNROLL for (unsigned i = 0; i < 2; ++i) {
    SADDLE_UNROLL for (unsigned row = 0; row < 4; row += 2) {
      Lanes a = low[i][row] + high[i][row],
            b = low[i][row + 1] + high[i][row + 1];
      pairs[i][row / 2] =
          __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19,
                                  20, 21, 22, 23) +
          __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25,
                                  26, 27, 28, 29, 30, 31);
    }
    Lanes a = pairs[i][0], b = pairs[i][1];
    fours[i] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17,
                                       18, 19, 24, 25, 26, 27) +
               __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21,
                                       22, 23, 28, 29, 30, 31);
  }
  Lanes a = fours[0], b = fours[1];
  Lanes twos = __builtin_shufflevector(a, b, 0, 1, 4, 5, 8, 9, 12, 13, 16, 17,
                                       20, 21, 24, 25, 28, 29) +
               __builtin_shufflevector(a, b, 2, 3, 6, 7, 10, 11, 14, 15, 18, 19,
                                       22, 23, 26, 27, 30, 31);
  auto sums = __builtin_shufflevector(twos, twos, 0, 2, 4, 6, 8, 10, 12, 14) +
              __builtin_shufflevector(twos, twos, 1, 3, 5, 7, 9, 11, 13, 15);
  std::memcpy(out[0], &sums, sizeof sums / 2);
  std::memcpy(out[1], reinterpret_cast<const char *>(&sums) + sizeof sums / 2,
              sizeof sums / 2);
}

/// `rest`: there are elements behind the last whole 32.
template <unsigned Vectors, unsigned Rows, bool rest>
__attribute__((always_inline)) static inline void
dotRows(const float *const *a, const float *const *b, uint64_t count,
        float *const *out) {
  Lanes low[Vectors][Rows] = {}, high[Vectors][Rows] = {};
  uint64_t k = 0;
  for (; k + 2 * kLanes <= count; k += 2 * kLanes) {
    Lanes a0[Vectors], a1[Vectors];
    SADDLE_UNROLL for (unsigned i = 0; i < Vectors; ++i) {
      SADDLE_LOAD_LANES(a0[i], a[i] + k);
      SADDLE_LOAD_LANES(a1[i], a[i] + k + kLanes);
    }
    SADDLE_UNROLL for (unsigned row = 0; row < Rows; ++row) {
      Lanes b0, b1;
      SADDLE_LOAD_LANES(b0, b[row] + k);
      SADDLE_LOAD_LANES(b1, b[row] + k + kLanes);
      SADDLE_UNROLL for (unsigned i = 0; i < Vectors; ++i) {
        low[i][row] += a0[i] * b0;
        high[i][row] += a1[i] * b1;
      }
    }
  }
  if constexpr (Vectors == 2 && Rows == 4 && !rest)
    return foldEight(low, high, out);
  SADDLE_UNROLL for (unsigned i = 0; i < Vectors; ++i) {
    Four folded[Rows];
    SADDLE_UNROLL for (unsigned row = 0; row < Rows; ++row) {
      if constexpr (rest) {
        float lanes[2 * kLanes];
        std::memcpy(lanes, &low[i][row], sizeof(Lanes));
        std::memcpy(lanes + kLanes, &high[i][row], sizeof(Lanes));
        for (uint64_t at = k; at < count; ++at)
          lanes[at - k] += a[i][at] * b[row][at];
        SADDLE_LOAD_LANES(low[i][row], lanes);
        SADDLE_LOAD_LANES(high[i][row], lanes + kLanes);
      }
      folded[row] = foldToFour(low[i][row], high[i][row]);
    }
    foldRows<Rows>(folded, out[i]);
  }
}

/// Lengths that are no multiple of 32 take one vector at a time.
template <unsigned Vectors, unsigned Rows>
__attribute__((always_inline)) static inline void
dotRows(const float *const *a, const float *const *b, uint64_t count,
        float *const *out) {
  if (count % (2 * kLanes) == 0)
    return dotRows<Vectors, Rows, false>(a, b, count, out);
  for (unsigned i = 0; i < Vectors; ++i)
    dotRows<1, Rows, true>(a + i, b, count, out + i);
}

SADDLE_HOT static void dotOne(const float *a, const float *const *b,
                              uint64_t count, float *out) {
  dotRows<1, 1>(&a, b, count, &out);
}

SADDLE_HOT static void dotFour(const float *a, const float *const *b,
                               uint64_t count, float *out) {
  dotRows<1, 4>(&a, b, count, &out);
}

SADDLE_HOT static void dotTwiceFour(const float *const *a,
                                    const float *const *b, uint64_t count,
                                    float *const *out) {
  dotRows<2, 4>(a, b, count, out);
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

void dotMany(const float *const (&a)[2], const float *const *rows, uint64_t m,
             uint64_t count, float *const (&out)[2]) {
  if (m == 4)
    return dotTwiceFour(a, rows, count, out);
  for (uint64_t i = 0; i < 2; ++i)
    dotMany(a[i], rows, m, count, out[i]);
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

/// e^x for x <= 0: 2^n times a polynomial of the rest, whose coefficients are
/// those of Cephes' expf. The C library's takes one number at a time.
__attribute__((always_inline)) static inline Lanes expOfNegative(Lanes x) {
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

__attribute__((always_inline)) static inline void softmaxOf(float *values,
                                                            uint64_t count) {
  // Lanes behind the last value count as nothing.
  Lanes none = Lanes{} - INFINITY;
  auto load = [&](uint64_t at) __attribute__((always_inline)) {
    Lanes lanes = none;
    if (at + kLanes <= count)
      SADDLE_LOAD_LANES(lanes, values + at);
    else
      std::memcpy(&lanes, values + at, (count - at) * sizeof(float));
    return lanes;
  };
  auto store = [&](uint64_t at, Lanes lanes) __attribute__((always_inline)) {
    std::memcpy(values + at, &lanes,
                std::min<uint64_t>(kLanes, count - at) * sizeof(float));
  };
  Lanes most = none, sums = {};
  for (uint64_t at = 0; at < count; at += kLanes) {
    Lanes lanes = load(at);
    most = lanes > most ? lanes : most;
  }
  float largest = -INFINITY;
  for (unsigned lane = 0; lane < kLanes; ++lane)
    largest = std::max(largest, most[lane]);
  for (uint64_t at = 0; at < count; at += kLanes) {
    Lanes lanes = expOfNegative(load(at) - largest);
    sums += lanes;
    store(at, lanes);
  }
  Four folded = foldToFour(sums, Lanes{});
  float sum = 0;
  foldRows<1>(&folded, &sum);
  for (uint64_t at = 0; at < count; at += kLanes)
    store(at, load(at) / sum);
}

SADDLE_HOT void softmax(float *values, uint64_t count) {
  softmaxOf(values, count);
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
