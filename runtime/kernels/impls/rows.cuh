// Copies of rows: chosen by an index at run time (embedding, select_rows), kept
// in pages between steps (keep_rows, keep_next_rows, kept_rows), or one behind
// the other (concat); and map_tokens, which looks tokens up. Every thread takes
// vectors of up to 16 bytes. Floor: the bytes of the rows that are read and
// written. Any shape; scalar where rows do not allow vectors.

#pragma once

#include "runtime/kernels/abi.h"
#include "runtime/kernels/tile/vectors.cuh"

namespace saddle::device {

/// Operands tokens, table, out; rank value 0 is the table's first token. A
/// token outside the table gives zeros.
template <int extent, typename Table, typename Out>
__device__ void embedding(const LaunchParams &p) {
  static_assert(Table::kCols == Out::kCols,
                "the table is as wide as the output");
  constexpr int kCount = commonVector<Table, Out>();
  auto first = static_cast<int64_t>(p.rankValues[0]);
  forEachVector<Out::kCols, kCount>(
      p.step->counts[extent], [&](int64_t row, int64_t column) {
        int64_t token = static_cast<const i32 *>(p.operands[0])[row] - first;
        float values[kCount] = {};
        if (token >= 0 && token < Table::kRows) {
          auto found = loadVector<Table, kCount>(p.operands[1], token, column);
#pragma unroll
          for (int i = 0; i < kCount; ++i)
            values[i] = toFloat(found[i]);
        }
        storeVector<Out, kCount>(p.operands[2], row, column, values);
      });
}

/// Operands x, rows, out. An index outside x leaves its row of the output.
template <int extent, typename X, typename Out>
__device__ void selectRows(const LaunchParams &p) {
  static_assert(X::kCols == Out::kCols && sizeof(typename X::Element) ==
                                              sizeof(typename Out::Element),
                "selected rows keep width and type");
  constexpr int kCount = commonVector<X, Out>();
  using Values = Vector<typename X::Element, kCount>;
  forEachVector<Out::kCols, kCount>(
      p.step->counts[extent], [&](int64_t row, int64_t column) {
        int64_t source = static_cast<const i32 *>(p.operands[1])[row];
        if (source >= 0 && source < X::kRows)
          *reinterpret_cast<Values *>(Out::row(p.operands[2], row) + column) =
              loadVector<X, kCount>(p.operands[0], source, column);
      });
}

/// Copies a vector of `count` elements of a row.
template <typename From, typename To, int count>
__device__ __forceinline__ void copyVector(const void *from, int64_t row,
                                           void *to, int64_t target,
                                           int64_t column, int64_t shift = 0) {
  static_assert(sizeof(typename From::Element) == sizeof(typename To::Element),
                "rows keep their type");
  *reinterpret_cast<Vector<typename To::Element, count> *>(To::row(to, target) +
                                                           column + shift) =
      *reinterpret_cast<const Vector<typename To::Element, count> *>(
          From::row(from, row) + column);
}

/// Operands: inputs, then out. Input `index` begins at column `start` of out.
template <int extent, typename Out, int index, int start, typename X,
          typename... Others>
__device__ __forceinline__ void concatFrom(const LaunchParams &p, void *out) {
  constexpr int kWidest = commonVector<X, Out>();
  constexpr int kCount = start % kWidest == 0 ? kWidest : 1;
  forEachVector<X::kCols, kCount>(p.step->counts[extent], [&](int64_t row,
                                                              int64_t column) {
    copyVector<X, Out, kCount>(p.operands[index], row, out, row, column, start);
  });
  if constexpr (sizeof...(Others) > 0)
    concatFrom<extent, Out, index + 1, start + X::kCols, Others...>(p, out);
}

template <int extent, typename Out, typename... Inputs>
__device__ void concat(const LaunchParams &p) {
  static_assert((Inputs::kCols + ...) == Out::kCols,
                "the inputs' columns are the output's");
  concatFrom<extent, Out, 0, 0, Inputs...>(p, p.operands[sizeof...(Inputs)]);
}

/// Operands x, slots, kept; kept as one row for each slot. Tokens whose slot
/// lies outside are skipped.
template <int extent, typename X, typename Kept>
__device__ void keepRows(const LaunchParams &p) {
  static_assert(X::kCols == Kept::kCols, "a slot holds a row");
  constexpr int kCount = commonVector<X, Kept>();
  forEachVector<X::kCols, kCount>(
      p.step->counts[extent], [&](int64_t row, int64_t column) {
        i32 slot = static_cast<const i32 *>(p.operands[1])[row];
        if (static_cast<uint32_t>(slot) < p.step->slots)
          copyVector<X, Kept, kCount>(p.operands[0], row, p.operands[2], slot,
                                      column);
      });
}

/// Operands x, rows, positions, sequences, block table, kept. Row i goes to the
/// slot of the token behind token rows[i]; nothing is written where there is
/// none.
template <int extent, typename X, typename Kept, int tokens, int sequences,
          int blocks, int pageSize>
__device__ void keepNextRows(const LaunchParams &p) {
  static_assert(X::kCols == Kept::kCols, "a slot holds a row");
  constexpr int kCount = commonVector<X, Kept>();
  forEachVector<X::kCols, kCount>(
      p.step->counts[extent], [&](int64_t row, int64_t column) {
        i32 token = static_cast<const i32 *>(p.operands[1])[row];
        if (static_cast<uint32_t>(token) >= tokens)
          return;
        i32 position = static_cast<const i32 *>(p.operands[2])[token] + 1;
        i32 sequence = static_cast<const i32 *>(p.operands[3])[token];
        if (static_cast<uint32_t>(sequence) >= sequences || position < 1 ||
            position / pageSize >= blocks)
          return;
        int64_t page = static_cast<const i32 *>(
            p.operands[4])[sequence * blocks + position / pageSize];
        int64_t slot = page * pageSize + position % pageSize;
        if (slot >= 0 && slot < p.step->slots)
          copyVector<X, Kept, kCount>(p.operands[0], row, p.operands[5], slot,
                                      column);
      });
}

/// Operands slots, kept, out. A slot outside gives zeros.
template <int extent, typename Kept, typename Out>
__device__ void keptRows(const LaunchParams &p) {
  static_assert(Kept::kCols == Out::kCols, "a slot holds a row");
  constexpr int kCount = commonVector<Kept, Out>();
  forEachVector<Out::kCols, kCount>(
      p.step->counts[extent], [&](int64_t row, int64_t column) {
        i32 slot = static_cast<const i32 *>(p.operands[0])[row];
        if (static_cast<uint32_t>(slot) < p.step->slots) {
          copyVector<Kept, Out, kCount>(p.operands[1], slot, p.operands[2], row,
                                        column);
        } else {
          const float zeros[kCount] = {};
          storeVector<Out, kCount>(p.operands[2], row, column, zeros);
        }
      });
}

/// Operands tokens, table of offsets, out. Tokens outside the table stay.
template <int extent, typename Tokens, int size, typename Out>
__device__ void mapTokens(const LaunchParams &p) {
  static_assert(Tokens::kCols == Out::kCols, "as many tokens come out");
  forEachVector<Out::kCols, 1>(p.step->counts[extent], [&](int64_t row,
                                                           int64_t column) {
    i32 token = Tokens::row(p.operands[0], row)[column];
    if (static_cast<uint32_t>(token) < size)
      token +=
          static_cast<i32>(static_cast<const int64_t *>(p.operands[1])[token]);
    Out::row(p.operands[2], row)[column] = token;
  });
}

} // namespace saddle::device
