// Warpgroups multiply tiles of many tokens and 128 rows of weights.
//
// Tokens are the 64-row operand of wgmma, one warpgroup for each 64, and rows
// of weights its 128 columns, in two halves of 64 that may lie anywhere. Both
// come through a ring of stages in shared memory (cp.async by all threads, 128
// bytes of every row), swizzled as wgmma wants them.

#pragma once

#include "runtime/kernels/ptx/copy_async.cuh"
#include "runtime/kernels/ptx/wgmma.cuh"
#include "runtime/kernels/shared/tile.h"
#include "runtime/kernels/tile/types.cuh"

namespace saddle::device {

/// X and W are matrices of e4m3 or of bf16. With scaleColumns > 0, the product
/// of each that many columns (64 or 128 codes) is multiplied by one factor for
/// a token, for `tokenGroup` columns, and one for a half, for `weightGroup`.
template <typename X, typename W, int groups, int depth, int scaleColumns = 0,
          int tokenGroup = 1, int weightGroup = 1>
struct TileProduct {
  using T = typename W::Element;
  static_assert(sizeof(T) == sizeof(typename X::Element) && sizeof(T) <= 2,
                "both operands are e4m3 or both are bf16");
  static constexpr bool kScaled = scaleColumns > 0;
  static constexpr TileLayout kLayout = {groups, depth};
  static constexpr int kTokens = kLayout.tokens(), kRows = kLayout.kRows;
  static constexpr int kThreads = kLayout.threads();
  static constexpr int kStageColumns = kLayout.kLineBytes / sizeof(T);
  static constexpr int kStages = (W::kCols + kStageColumns - 1) / kStageColumns;
  static constexpr int kTokenBytes = kTokens * kLayout.kLineBytes;
  static constexpr int kStageBytes = kLayout.stageBytes();
  static constexpr int kTokenCopies = kTokens * 8 / kThreads;
  static constexpr int kRowCopies = kRows * 8 / kThreads;
  static_assert(!kScaled || kStageColumns % (kScaled ? scaleColumns : 1) == 0,
                "a stage has whole groups of scales");

  struct Source {
    const void *tokens;
    /// The row of X that each copy of this thread is about, -1 for none; of
    /// token tokenOf(i).
    int tokenRow[kTokenCopies];
    /// The first row of each half, and how many rows it has. Missing rows and
    /// tokens have undefined products.
    const T *rows[2];
    int rowCount[2];
    /// Factors of this thread's two tokens (row() and row() + 8). Unused unless
    /// kScaled, as the next ones, of the halves, which run() sets.
    const float *tokenFactors[2];
    const float *rowFactors[2];
  };

  static __device__ __forceinline__ int tokenOf(int i) {
    return (i * kThreads + threadIdx.x) / 8;
  }
  /// The first token of this thread's sums.
  static __device__ __forceinline__ int row() {
    return threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4;
  }

  /// See ptx/wgmma.cuh: columns 0 .. 63 are the first half of rows.
  float sums[64];

  /// Products with `passes` times kRows rows that follow each other in each
  /// half: calls emit(pass) when sums has those of a pass. `ring` is the CTA's;
  /// all threads call. factorsOf(pass, half) is the rowFactors of a pass.
  template <typename Factors, typename Emit>
  __device__ __forceinline__ void run(Source &source, uint8_t *ring, int passes,
                                      Factors factorsOf, Emit emit) {
    uint32_t base = sharedAddress(ring);
    int fetched = 0, fetchStage = 0, ahead = 0;
    auto fetchNext = [&] {
      if (fetched < passes) {
        fetch(source, base + ahead * kStageBytes, fetchStage);
        ahead = ahead + 1 == depth ? 0 : ahead + 1;
        if (++fetchStage == kStages) {
          fetchStage = 0;
          ++fetched;
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            source.rows[half] += kRows * W::kStride;
            source.rowCount[half] -= kRows;
          }
        }
      }
      commitCopies();
    };
#pragma unroll 1
    for (int i = 0; i < depth - 1; ++i)
      fetchNext();
    int slot = 0;
#pragma unroll 1
    for (int pass = 0; pass < passes; ++pass) {
#pragma unroll
      for (int i = 0; i < 64; ++i)
        sums[i] = 0;
      if constexpr (kScaled) {
#pragma unroll
        for (int half = 0; half < 2; ++half)
          source.rowFactors[half] = factorsOf(pass, half);
      }
#pragma unroll 1
      for (int stage = 0; stage < kStages; ++stage) {
        waitCopies<depth - 2>();
        fenceForTensorCores();
        __syncthreads(); // all copies are there, and slot `ahead` is read
        uint32_t at = base + slot * kStageBytes;
        if constexpr (kScaled) {
          multiplyPart<0>(source, at, stage, fetchNext);
        } else {
          multiply<0, 4>(sums, at, true);
          fetchNext();
          wgmmaWait(sums);
        }
        slot = slot + 1 == depth ? 0 : slot + 1;
      }
      emit(pass);
    }
    waitCopies<0>();
    __syncthreads(); // the ring may be used again
  }

private:
  static __device__ __forceinline__ uint32_t place(int row, int piece) {
    return row * 128 + (piece ^ row % 8) * 16;
  }

  static __device__ __forceinline__ uint32_t bytesAt(int column) {
    if constexpr (W::kCols % kStageColumns == 0)
      return 16;
    int left =
        (static_cast<int>(W::kCols) - column) * static_cast<int>(sizeof(T));
    return left < 0 ? 0 : left < 16 ? left : 16;
  }

  __device__ __forceinline__ void fetch(const Source &source, uint32_t slot,
                                        int stage) {
    int piece = threadIdx.x % 8; // of every copy
    int column =
        stage * kStageColumns + piece * static_cast<int>(16 / sizeof(T));
    uint32_t bytes = bytesAt(column);
    int at = bytes ? column : 0;
#pragma unroll
    for (int i = 0; i < kTokenCopies; ++i)
      if (source.tokenRow[i] >= 0)
        copyAsync16(slot + place(tokenOf(i), piece),
                    X::row(source.tokens, source.tokenRow[i]) + at, bytes);
#pragma unroll
    for (int i = 0; i < kRowCopies; ++i) {
      int row = (i * kThreads + threadIdx.x) / 8;
      int half = i * kThreads / 8 / 64; // a half is whole copies
      if (row % 64 < source.rowCount[half])
        copyAsync16(slot + kTokenBytes + place(row, piece),
                    source.rows[half] + row % 64 * W::kStride + at, bytes);
    }
  }

  /// d (+)= steps first .. last - 1 of a stage, 32 bytes of k each.
  template <int first, int last>
  __device__ __forceinline__ void multiply(float (&d)[64], uint32_t slot,
                                           bool add) {
    uint64_t tokens = swizzledTile(slot + threadIdx.x / 128 * 64 * 128);
    uint64_t rows = swizzledTile(slot + kTokenBytes);
    wgmmaFence();
#pragma unroll
    for (int step = first; step < last; ++step) {
      if constexpr (sizeof(T) == 1)
        wgmmaE4m3(d, tokens + 2 * step, rows + 2 * step, add || step > first);
      else
        wgmmaBf16(d, tokens + 2 * step, rows + 2 * step, add || step > first);
    }
    wgmmaCommit();
  }

  /// The product of each scaleColumns of a stage; `then` runs while the first
  /// is under way.
  template <int part, typename Then>
  __device__ __forceinline__ void
  multiplyPart(const Source &source, uint32_t slot, int stage, Then then) {
    constexpr int kSteps = scaleColumns / 32;
    float products[64];
    multiply<part * kSteps, (part + 1) * kSteps>(products, slot, false);
    int column = stage * kStageColumns + part * scaleColumns;
    bool inside = column < W::kCols; // products are zero behind the last column
    float token[2], half[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      token[i] = inside && source.tokenFactors[i]
                     ? source.tokenFactors[i][column / tokenGroup]
                     : 0;
      half[i] = inside && source.rowFactors[i]
                    ? source.rowFactors[i][column / weightGroup]
                    : 0;
    }
    then();
    wgmmaWait(products);
#pragma unroll
    for (int j = 0; j < 16; ++j)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float factor = token[i] * half[j / 8];
        sums[4 * j + 2 * i] += products[4 * j + 2 * i] * factor;
        sums[4 * j + 2 * i + 1] += products[4 * j + 2 * i + 1] * factor;
      }
    if constexpr ((part + 1) * scaleColumns < kStageColumns)
      multiplyPart<part + 1>(source, slot, stage, [] {});
  }
};

} // namespace saddle::device
