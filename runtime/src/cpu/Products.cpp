#include "runtime/src/cpu/Products.h"

#include "runtime/src/cpu/Lanes.h"
#include "runtime/src/cpu/Vector.h"

#include <algorithm>
#include <type_traits>

namespace saddle::cpu {

using schema::DType;

namespace {
// What versions of a function may count on: how many sums of lanes its
// registers hold, and how to multiply and add with one rounding. All have the
// same bits.
struct Wide { // x86-64-v4: 32 registers of 16 lanes
  static constexpr unsigned kSums = 16;
  static constexpr bool hasMultiplyAdd = true;
};
struct Narrow { // x86-64-v3: 16 of 8; others
  static constexpr unsigned kSums = 6;
  static constexpr bool hasMultiplyAdd = true;
};
struct Plain { // any x86-64
  static constexpr unsigned kSums = 2;
  static constexpr bool hasMultiplyAdd = false;
};

// How the elements of rows become lanes.
struct Floats {
  static constexpr uint64_t kBytes = sizeof(float);
};
struct Bf16s {
  static constexpr uint64_t kBytes = sizeof(uint16_t);
};
} // namespace

SADDLE_PART Lanes widened(Floats, const uint8_t *address) {
  Lanes lanes;
  std::memcpy(&lanes, address, sizeof lanes);
  return lanes;
}

SADDLE_PART Lanes widened(Bf16s, const uint8_t *address) {
  using Halves = uint16_t __attribute__((vector_size(kLanes * 2)));
  using Words = uint32_t __attribute__((vector_size(kLanes * 4)));
  Halves halves;
  std::memcpy(&halves, address, sizeof halves);
  return (Lanes)(__builtin_convertvector(halves, Words) << 16);
}

/// The first `count` < kLanes elements; zero behind them.
template <typename Element>
SADDLE_PART Lanes widenedFirst(Element element, const uint8_t *address,
                               uint64_t count) {
  uint8_t padded[kLanes * Element::kBytes] = {};
  std::memcpy(padded, address, count * Element::kBytes);
  return widened(element, padded);
}

//===--- One rounding ----------------------------------------------------===//

namespace {
using Doubles = double __attribute__((vector_size(kLanes / 2 * 8)));
using Longs = int64_t __attribute__((vector_size(kLanes / 2 * 8)));
using HalfLanes = float __attribute__((vector_size(kLanes / 2 * 4)));
} // namespace

/// a * b + c as a float rounded once, of doubles: the product is exact. The sum
/// is rounded to odd, so that rounding it again is rounding the exact one:
/// where it is inexact, its last bit becomes one, towards the side of the
/// error.
SADDLE_PART Doubles roundToOdd(Doubles a, Doubles b, Doubles c) {
  Doubles product = a * b, sum = product + c;
  Doubles back = sum - product;
  Doubles error = (product - (sum - back)) + (c - back);
  Longs isInexact = (error < 0) | (error > 0);
  Longs isLess = (error < 0) ^ (sum < 0); // than the sum, in magnitude
  Longs isEven = ((Longs)sum & 1) - 1;
  return (Doubles)((Longs)sum + ((isInexact & isEven) & (isLess | 1)));
}

/// a * b + c, rounded once.
template <typename Machine>
SADDLE_PART Lanes multiplyAdd(Lanes a, Lanes b, Lanes c) {
  if constexpr (Machine::hasMultiplyAdd) {
    return __builtin_elementwise_fma(a, b, c);
  } else {
    auto half = [&](auto first) __attribute__((always_inline)) {
      auto widen = [](Lanes x) __attribute__((always_inline)) {
        constexpr int at = decltype(first)::value;
        return __builtin_convertvector(
            __builtin_shufflevector(x, x, at, at + 1, at + 2, at + 3, at + 4,
                                    at + 5, at + 6, at + 7),
            Doubles);
      };
      return __builtin_convertvector(roundToOdd(widen(a), widen(b), widen(c)),
                                     HalfLanes);
    };
    return __builtin_shufflevector(
        half(std::integral_constant<int, 0>()),
        half(std::integral_constant<int, kLanes / 2>()), 0, 1, 2, 3, 4, 5, 6, 7,
        8, 9, 10, 11, 12, 13, 14, 15);
  }
}

#if defined(__x86_64__)
static Instructions mostOfMachine() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("x86-64-v4")   ? Instructions::V4
         : __builtin_cpu_supports("x86-64-v3") ? Instructions::V3
                                               : Instructions::Any;
}

Instructions instructionsOfMachine() {
  static const Instructions most = mostOfMachine();
  return most;
}

// A function `name` for each kind of machine; `body` knows which one as
// `Machine`. They are no clones, because their blocks differ.
#define SADDLE_VERSIONS(name, parameters, arguments, body)                     \
  __attribute__((target("arch=x86-64-v4"))) static void name##V4 parameters {  \
    using Machine = Wide;                                                      \
    body;                                                                      \
  }                                                                            \
  __attribute__((target("arch=x86-64-v3"))) static void name##V3 parameters {  \
    using Machine = Narrow;                                                    \
    body;                                                                      \
  }                                                                            \
  static void name##Plain parameters {                                         \
    using Machine = Plain;                                                     \
    body;                                                                      \
  }                                                                            \
  static void name parameters {                                                \
    if (with == Instructions::V4)                                              \
      return name##V4 arguments;                                               \
    return with == Instructions::V3 ? name##V3 arguments                       \
                                    : name##Plain arguments;                   \
  }
#else
Instructions instructionsOfMachine() { return Instructions::Any; }

#define SADDLE_VERSIONS(name, parameters, arguments, body)                     \
  static void name parameters {                                                \
    using Machine = Narrow;                                                    \
    body;                                                                      \
  }
#endif

//===--- Products --------------------------------------------------------===//

// The order of one product: element k goes to lane k % 16, then halves are
// added.

/// A vector's products with `Rows` rows from `row` on go to out[.][to ..).
/// `hasRest`: columns are no multiple of 16. Without, nothing leaves registers.
template <typename Machine, typename Element, unsigned Vectors, unsigned Rows,
          bool hasRest>
SADDLE_PART void multiplyBlock(Element element, const float *const *x,
                               const uint8_t *row, uint64_t stride,
                               uint64_t columns, float *const *out,
                               uint64_t to) {
  static_assert(Vectors * Rows <= 16);
  Lanes sums[16] = {};
  auto add = [&](uint64_t k, bool isFirst) __attribute__((always_inline)) {
    SADDLE_UNROLL for (unsigned r = 0; r < Rows; ++r) {
      Lanes values = widened(element, row + r * stride + k * Element::kBytes);
      SADDLE_UNROLL for (unsigned i = 0; i < Vectors; ++i) {
        Lanes &sum = sums[i * Rows + r];
        sum = isFirst ? lanesAt(x[i] + k) * values
                      : multiplyAdd<Machine>(lanesAt(x[i] + k), values, sum);
      }
    }
  };
  uint64_t k = 0;
  if (kLanes <= columns) {
    add(0, true);
    for (k = kLanes; k + kLanes <= columns; k += kLanes)
      add(k, false);
  }
  if (hasRest && k < columns) {
    uint64_t rest = columns - k;
    SADDLE_UNROLL for (unsigned r = 0; r < Rows; ++r) {
      Lanes values =
          widenedFirst(element, row + r * stride + k * Element::kBytes, rest);
      SADDLE_UNROLL for (unsigned i = 0; i < Vectors; ++i) {
        Lanes &sum = sums[i * Rows + r];
        auto *last = reinterpret_cast<const uint8_t *>(x[i] + k);
        sum = multiplyAdd<Machine>(widenedFirst(Floats(), last, rest), values,
                                   sum);
      }
    }
  }
  float folded[16];
  storeLanes(folded, foldSixteen(sums));
  SADDLE_UNROLL for (unsigned i = 0; i < Vectors; ++i)
      std::memcpy(out[i] + to, folded + i * Rows, Rows * sizeof(float));
}

/// `Rows` rows at a time, as long as there are as many.
template <typename Machine, typename Element, unsigned Vectors, unsigned Rows,
          bool hasRest>
SADDLE_PART void multiplyRowsOf(Element element, const StoredRows &rows,
                                const float *const *x, float *const *out,
                                uint64_t at, uint64_t &row) {
  for (; row + Rows <= rows.count; row += Rows)
    multiplyBlock<Machine, Element, Vectors, Rows, hasRest>(
        element, x, rows.data + row * rows.stride, rows.stride, rows.columns,
        out, at + row);
}

/// So many rows together as leave the sums in registers.
template <typename Machine, typename Element, unsigned Vectors, bool hasRest>
SADDLE_PART void multiplyAll(Element element, const StoredRows &rows,
                             const float *const *x, float *const *out,
                             uint64_t at) {
  constexpr unsigned kMost = Machine::kSums / Vectors;
  uint64_t row = 0;
  if constexpr (kMost >= 8)
    multiplyRowsOf<Machine, Element, Vectors, 8, hasRest>(element, rows, x, out,
                                                          at, row);
  constexpr unsigned kSome = std::min(4u, kMost);
  if constexpr (kSome > 1)
    multiplyRowsOf<Machine, Element, Vectors, kSome, hasRest>(element, rows, x,
                                                              out, at, row);
  multiplyRowsOf<Machine, Element, Vectors, 1, hasRest>(element, rows, x, out,
                                                        at, row);
}

template <typename Machine, bool hasRest, typename Element>
SADDLE_PART void multiplyFor(Element element, const StoredRows &rows,
                             const float *const *x, uint64_t vectors,
                             float *const *out, uint64_t at) {
  // With fewer sums two vectors and three rows load less than four and one.
  constexpr unsigned kMost = Machine::kSums >= 8 ? 4 : 2;
  for (; vectors >= 4; vectors -= kMost, x += kMost, out += kMost)
    multiplyAll<Machine, Element, kMost, hasRest>(element, rows, x, out, at);
  if (vectors == 3)
    multiplyAll<Machine, Element, 3, hasRest>(element, rows, x, out, at);
  else if (vectors == 2)
    multiplyAll<Machine, Element, 2, hasRest>(element, rows, x, out, at);
  else if (vectors == 1)
    multiplyAll<Machine, Element, 1, hasRest>(element, rows, x, out, at);
}

#define SADDLE_MULTIPLY(name, element, hasRest)                                \
  SADDLE_VERSIONS(                                                             \
      name,                                                                    \
      (const StoredRows &rows, const float *const *x, uint64_t vectors,        \
       float *const *out, uint64_t at, Instructions with),                     \
      (rows, x, vectors, out, at, with),                                       \
      (multiplyFor<Machine, hasRest>(element, rows, x, vectors, out, at)))
SADDLE_MULTIPLY(multiplyFloats, Floats(), false)
SADDLE_MULTIPLY(multiplyRaggedFloats, Floats(), true)
SADDLE_MULTIPLY(multiplyBf16s, Bf16s(), false)
SADDLE_MULTIPLY(multiplyRaggedBf16s, Bf16s(), true)
#undef SADDLE_MULTIPLY

void multiplyRows(const StoredRows &rows, const float *const *x,
                  uint64_t vectors, float *const *out, uint64_t at,
                  Instructions with) {
  bool isWhole = rows.columns % kLanes == 0;
  if (rows.dtype == DType::F32)
    return isWhole ? multiplyFloats(rows, x, vectors, out, at, with)
                   : multiplyRaggedFloats(rows, x, vectors, out, at, with);
  return isWhole ? multiplyBf16s(rows, x, vectors, out, at, with)
                 : multiplyRaggedBf16s(rows, x, vectors, out, at, with);
}

//===--- Sums of rows ----------------------------------------------------===//

/// `Width` registers of the columns from `column` on; of the last one `rest`
/// lanes, if that is not zero.
template <typename Machine, typename Element, unsigned Vectors, unsigned Width>
SADDLE_PART void addBlock(Element element, const StoredRows &rows,
                          uint64_t column, uint64_t rest,
                          const float *const *factors, uint64_t at,
                          const uint64_t *seen, float *const *out) {
  Lanes sums[Vectors][Width];
  auto load = [&](const uint8_t *address, auto kind, unsigned w)
                  __attribute__((always_inline)) {
                    address += w * kLanes * decltype(kind)::kBytes;
                    return rest == 0 ? widened(kind, address)
                                     : widenedFirst(kind, address, rest);
                  };
  uint64_t common = seen[0];
  SADDLE_UNROLL for (unsigned i = 0; i < Vectors; ++i) {
    common = std::min(common, seen[i]);
    SADDLE_UNROLL for (unsigned w = 0; w < Width; ++w) sums[i][w] =
        load(reinterpret_cast<const uint8_t *>(out[i] + column), Floats(), w);
  }
  const uint8_t *first = rows.data + column * Element::kBytes;
  for (uint64_t row = 0; row < common; ++row)
    SADDLE_UNROLL for (unsigned w = 0; w < Width; ++w) {
      Lanes values = load(first + row * rows.stride, element, w);
      SADDLE_UNROLL for (unsigned i = 0; i < Vectors; ++i) sums[i][w] =
          multiplyAdd<Machine>(Lanes{} + factors[i][at + row], values,
                               sums[i][w]);
    }
  SADDLE_UNROLL for (unsigned i = 0; i < Vectors; ++i) {
    for (uint64_t row = common; row < seen[i]; ++row)
      SADDLE_UNROLL for (unsigned w = 0; w < Width; ++w) sums[i][w] =
          multiplyAdd<Machine>(Lanes{} + factors[i][at + row],
                               load(first + row * rows.stride, element, w),
                               sums[i][w]);
    SADDLE_UNROLL for (unsigned w = 0; w < Width; ++w)
        std::memcpy(out[i] + column + w * kLanes, &sums[i][w],
                    (rest == 0 ? kLanes : rest) * sizeof(float));
  }
}

template <typename Machine, typename Element, unsigned Vectors>
SADDLE_PART void addAll(Element element, const StoredRows &rows,
                        const float *const *factors, uint64_t at,
                        const uint64_t *seen, float *const *out) {
  uint64_t column = 0;
  if constexpr (2 * Vectors <= Machine::kSums)
    for (; column + 2 * kLanes <= rows.columns; column += 2 * kLanes)
      addBlock<Machine, Element, Vectors, 2>(element, rows, column, 0, factors,
                                             at, seen, out);
  for (; column < rows.columns; column += kLanes) {
    uint64_t left = rows.columns - column;
    addBlock<Machine, Element, Vectors, 1>(element, rows, column,
                                           left < kLanes ? left : 0, factors,
                                           at, seen, out);
  }
}

template <typename Machine, typename Element>
SADDLE_PART void
addFor(Element element, const StoredRows &rows, const float *const *factors,
       uint64_t at, const uint64_t *seen, uint64_t vectors, float *const *out) {
  for (; vectors >= 4; vectors -= 4, factors += 4, seen += 4, out += 4)
    addAll<Machine, Element, 4>(element, rows, factors, at, seen, out);
  for (; vectors >= 2; vectors -= 2, factors += 2, seen += 2, out += 2)
    addAll<Machine, Element, 2>(element, rows, factors, at, seen, out);
  if (vectors == 1)
    addAll<Machine, Element, 1>(element, rows, factors, at, seen, out);
}

#define SADDLE_ADD(name, element)                                              \
  SADDLE_VERSIONS(                                                             \
      name,                                                                    \
      (const StoredRows &rows, const float *const *factors, uint64_t at,       \
       const uint64_t *seen, uint64_t vectors, float *const *out,              \
       Instructions with),                                                     \
      (rows, factors, at, seen, vectors, out, with),                           \
      (addFor<Machine>(element, rows, factors, at, seen, vectors, out)))
SADDLE_ADD(addFloats, Floats())
SADDLE_ADD(addBf16s, Bf16s())
#undef SADDLE_ADD

void addScaledRows(const StoredRows &rows, const float *const *factors,
                   uint64_t at, const uint64_t *seen, uint64_t vectors,
                   float *const *out, Instructions with) {
  if (rows.dtype == DType::F32)
    return addFloats(rows, factors, at, seen, vectors, out, with);
  addBf16s(rows, factors, at, seen, vectors, out, with);
}

} // namespace saddle::cpu
