#include "runtime/src/cpu/Products.h"

#include "runtime/src/cpu/Lanes.h"
#include "runtime/src/cpu/Vector.h"

#include <algorithm>

namespace saddle::cpu {

using schema::DType;

namespace {
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

//===--- Products --------------------------------------------------------===//

// The order of one product: element k goes to lane k % 16, then halves are
// added.

/// A vector's products with `Rows` rows from `row` on go to out[.][to ..).
/// `hasRest`: columns are no multiple of 16. Without, nothing leaves registers.
template <typename Element, unsigned Vectors, unsigned Rows, bool hasRest>
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
                      : multiplyAdd(lanesAt(x[i] + k), values, sum);
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
        sum = multiplyAdd(widenedFirst(Floats(), last, rest), values, sum);
      }
    }
  }
  float folded[16];
  storeLanes(folded, foldSixteen(sums));
  SADDLE_UNROLL for (unsigned i = 0; i < Vectors; ++i)
      std::memcpy(out[i] + to, folded + i * Rows, Rows * sizeof(float));
}

/// `Rows` rows at a time, as long as there are as many.
template <typename Element, unsigned Vectors, unsigned Rows, bool hasRest>
SADDLE_PART void multiplyRowsOf(Element element, const StoredRows &rows,
                                const float *const *x, float *const *out,
                                uint64_t at, uint64_t &row) {
  for (; row + Rows <= rows.count; row += Rows)
    multiplyBlock<Element, Vectors, Rows, hasRest>(
        element, x, rows.data + row * rows.stride, rows.stride, rows.columns,
        out, at + row);
}

/// So many rows together as leave the sums in registers.
template <typename Element, unsigned Vectors, bool hasRest>
SADDLE_PART void multiplyAll(Element element, const StoredRows &rows,
                             const float *const *x, float *const *out,
                             uint64_t at) {
  uint64_t row = 0;
  if constexpr (Vectors <= 2)
    multiplyRowsOf<Element, Vectors, 8, hasRest>(element, rows, x, out, at,
                                                 row);
  multiplyRowsOf<Element, Vectors, 4, hasRest>(element, rows, x, out, at, row);
  multiplyRowsOf<Element, Vectors, 1, hasRest>(element, rows, x, out, at, row);
}

template <typename Element, bool hasRest>
SADDLE_PART void multiplyFor(Element element, const StoredRows &rows,
                             const float *const *x, uint64_t vectors,
                             float *const *out, uint64_t at) {
  for (; vectors >= 4; vectors -= 4, x += 4, out += 4)
    multiplyAll<Element, 4, hasRest>(element, rows, x, out, at);
  if (vectors == 3)
    multiplyAll<Element, 3, hasRest>(element, rows, x, out, at);
  else if (vectors == 2)
    multiplyAll<Element, 2, hasRest>(element, rows, x, out, at);
  else if (vectors == 1)
    multiplyAll<Element, 1, hasRest>(element, rows, x, out, at);
}

#define SADDLE_MULTIPLY(name, Element, hasRest)                                \
  SADDLE_HOT static void name(const StoredRows &rows, const float *const *x,   \
                              uint64_t vectors, float *const *out,             \
                              uint64_t at) {                                   \
    multiplyFor<Element, hasRest>(Element(), rows, x, vectors, out, at);       \
  }
SADDLE_MULTIPLY(multiplyFloats, Floats, false)
SADDLE_MULTIPLY(multiplyRaggedFloats, Floats, true)
SADDLE_MULTIPLY(multiplyBf16s, Bf16s, false)
SADDLE_MULTIPLY(multiplyRaggedBf16s, Bf16s, true)
#undef SADDLE_MULTIPLY

void multiplyRows(const StoredRows &rows, const float *const *x,
                  uint64_t vectors, float *const *out, uint64_t at) {
  bool isFloat = rows.dtype == DType::F32;
  auto *multiply = rows.columns % kLanes == 0
                       ? (isFloat ? multiplyFloats : multiplyBf16s)
                       : (isFloat ? multiplyRaggedFloats : multiplyRaggedBf16s);
  multiply(rows, x, vectors, out, at);
}

//===--- Sums of rows ----------------------------------------------------===//

/// `Width` registers of the columns from `column` on; of the last one `rest`
/// lanes, if that is not zero.
template <typename Element, unsigned Vectors, unsigned Width>
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
          multiplyAdd(Lanes{} + factors[i][at + row], values, sums[i][w]);
    }
  SADDLE_UNROLL for (unsigned i = 0; i < Vectors; ++i) {
    for (uint64_t row = common; row < seen[i]; ++row)
      SADDLE_UNROLL for (unsigned w = 0; w < Width; ++w) sums[i][w] =
          multiplyAdd(Lanes{} + factors[i][at + row],
                      load(first + row * rows.stride, element, w), sums[i][w]);
    SADDLE_UNROLL for (unsigned w = 0; w < Width; ++w)
        std::memcpy(out[i] + column + w * kLanes, &sums[i][w],
                    (rest == 0 ? kLanes : rest) * sizeof(float));
  }
}

template <typename Element, unsigned Vectors>
SADDLE_PART void addAll(Element element, const StoredRows &rows,
                        const float *const *factors, uint64_t at,
                        const uint64_t *seen, float *const *out) {
  uint64_t column = 0;
  for (; column + 2 * kLanes <= rows.columns; column += 2 * kLanes)
    addBlock<Element, Vectors, 2>(element, rows, column, 0, factors, at, seen,
                                  out);
  for (; column < rows.columns; column += kLanes) {
    uint64_t left = rows.columns - column;
    addBlock<Element, Vectors, 1>(element, rows, column,
                                  left < kLanes ? left : 0, factors, at, seen,
                                  out);
  }
}

template <typename Element>
SADDLE_PART void
addFor(Element element, const StoredRows &rows, const float *const *factors,
       uint64_t at, const uint64_t *seen, uint64_t vectors, float *const *out) {
  for (; vectors >= 4; vectors -= 4, factors += 4, seen += 4, out += 4)
    addAll<Element, 4>(element, rows, factors, at, seen, out);
  for (; vectors >= 2; vectors -= 2, factors += 2, seen += 2, out += 2)
    addAll<Element, 2>(element, rows, factors, at, seen, out);
  if (vectors == 1)
    addAll<Element, 1>(element, rows, factors, at, seen, out);
}

SADDLE_HOT static void addFloats(const StoredRows &rows,
                                 const float *const *factors, uint64_t at,
                                 const uint64_t *seen, uint64_t vectors,
                                 float *const *out) {
  addFor(Floats(), rows, factors, at, seen, vectors, out);
}

SADDLE_HOT static void addBf16s(const StoredRows &rows,
                                const float *const *factors, uint64_t at,
                                const uint64_t *seen, uint64_t vectors,
                                float *const *out) {
  addFor(Bf16s(), rows, factors, at, seen, vectors, out);
}

void addScaledRows(const StoredRows &rows, const float *const *factors,
                   uint64_t at, const uint64_t *seen, uint64_t vectors,
                   float *const *out) {
  if (rows.dtype == DType::F32)
    return addFloats(rows, factors, at, seen, vectors, out);
  addBf16s(rows, factors, at, seen, vectors, out);
}

} // namespace saddle::cpu
