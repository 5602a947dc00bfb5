// linear for up to 64 tokens, or blocks of them: a CTA has a panel of so few
// rows of the weight that there is one for each multiprocessor. Warpgroups
// multiply all tokens with it on wgmma, which takes codes as they are, and
// another one feeds: 128 bytes of every row and token at a time go to a ring in
// shared memory. Rows are fetched before the kernels before are complete.
//
// Every CTA reads all tokens, which costs more than its rows do, so that a
// panel is as wide as the machine allows. Floor: the bytes of w over the
// memory bandwidth, or those of tokens and a panel over what a multiprocessor
// gets from L2, some 50 bytes a cycle. Limits: rows of 16-byte pieces, whole
// lines; scales belong to multiples of 8 rows and of 128 columns.

#pragma once

#include "runtime/kernels/impls/linear_stream.cuh"
#include "runtime/kernels/ptx/wgmma_lines.cuh"
#include "runtime/kernels/ptx/wgmma_rows.cuh"
#include "runtime/kernels/shared/panel.h"
#include "runtime/kernels/tile/ring.cuh"
#include "runtime/kernels/tile/vectors.cuh"

namespace saddle::device {

template <int rows, int depth>
struct PanelShape {
  static constexpr int kRows = rows, kDepth = depth;

  /// PanelLayout of so many stages, whose products are scaled or not.
  template <int stages, bool scaled>
  struct Places {
    static constexpr PanelLayout kLayout = {rows, depth, stages, scaled};
    static constexpr uint32_t kStageBytes = kLayout.stageBytes(),
                              kTokenBytes = kLayout.tokenBytes(),
                              kTokenFactorsAt = kLayout.tokenFactorsAt(),
                              kRowFactorsAt = kLayout.rowFactorsAt(),
                              kBarriersAt = kLayout.barriersAt();
  };
};

/// A warpgroup copies lines of 128 bytes into tiles of the ring, a thread 16
/// bytes of every 16th line.
struct PanelFeeder {
  static constexpr int kStep = PanelLayout::kFeeders / 8;

  __device__ __forceinline__ PanelFeeder()
      : line(static_cast<int>(threadIdx.x) % PanelLayout::kFeeders / 8),
        piece(static_cast<int>(threadIdx.x) % 8) {}

  /// Lines 0 .. lines - 1 of a tile, from `column` bytes on; lineOf(i) is where
  /// a row of the matrix begins, null for one that is not there. `once`: nobody
  /// else reads them.
  template <int lines, bool once, typename LineOf>
  __device__ __forceinline__ void copy(uint32_t tile, int column,
                                       LineOf lineOf) const {
#pragma unroll
    for (int i = 0; i < (lines + kStep - 1) / kStep; ++i) {
      int at = i * kStep + line;
      const uint8_t *from = at < lines ? lineOf(at) : nullptr;
      if (!from)
        continue;
      from += column + piece * 16;
      uint32_t to = tile + at * static_cast<int>(PanelLayout::kLineBytes) +
                    (piece ^ at % 8) * 16;
      if constexpr (once)
        copyAsync16(to, from, 16, evictFirst());
      else
        copyAsync16(to, from);
    }
  }

  int line, piece;
};

/// The grid: panels of rows, then blocks of 64 tokens. `x` and `factors` are
/// tokens as those of linearStream(), of W's type. Waits itself.
template <int extent, typename X, typename W, typename Out, typename Shape,
          typename Scale = NoCompanion, typename Tokens = PlainTokens>
__device__ void linearPanel(const LaunchParams &p, const void *x,
                            const void *factors) {
  using T = typename W::Element;
  static_assert(sizeof(T) == sizeof(typename X::Element) && sizeof(T) <= 2,
                "both are e4m3 or both are bf16");
  static_assert(Tokens::kScaled == Scale::kIsThere &&
                    Scale::kIsThere == (sizeof(T) == 1),
                "codes have scales");
  constexpr int kColumns = PanelLayout::kLineBytes / sizeof(T); // of a stage
  static_assert(W::kCols % kColumns == 0 && X::kCols == W::kCols,
                "stages are whole lines");
  static_assert(!Scale::kIsThere || (Tokens::kGroup % kColumns == 0 &&
                                     Scale::kBlockCols % kColumns == 0),
                "a stage lies within one group");
  constexpr int kRows = Shape::kRows, kEights = kRows / 8;
  constexpr int kStages = W::kCols / kColumns;
  using Places = typename Shape::template Places<kStages, Scale::kIsThere>;
  constexpr int kTokens = PanelLayout::kTokens;
  constexpr int kMultipliers = PanelLayout::kMultipliers;
  constexpr int kTeams = PanelLayout::kTeams;
  extern __shared__ __align__(1024) uint8_t panel[];

  allowNext();
  int count = static_cast<int>(p.step->counts[extent]);
  int firstToken = static_cast<int>(blockIdx.y) * kTokens;
  if (firstToken >= count)
    return waitForPrevious(); // a kernel is complete after those before it
  count = count - firstToken < kTokens ? count - firstToken : kTokens;
  int firstRow = static_cast<int>(blockIdx.x) * kRows;
  uint32_t base = sharedAddress(panel);
  Ring<Shape::kDepth> ring{base + Places::kBarriersAt};
  if (threadIdx.x == 0)
    ring.begin(PanelLayout::kFeeders, 4);
  __syncthreads();
  auto tokensAt = [&](int slot) { return base + slot * Places::kStageBytes; };
  auto rowsAt = [&](int slot) { return tokensAt(slot) + Places::kTokenBytes; };

  if (threadIdx.x >= kMultipliers) {
    PanelFeeder feeder;
    auto feedRows = [&](int slot, int stage) {
      feeder.copy<kRows, /*once=*/true>(
          rowsAt(slot), stage * PanelLayout::kLineBytes, [&](int i) {
            return firstRow + i < W::kRows
                       ? reinterpret_cast<const uint8_t *>(
                             W::row(static_cast<const void *>(p.operands[1]),
                                    firstRow + i))
                       : nullptr;
          });
    };
    auto feedTokens = [&](int slot, int stage) {
      feeder.copy<kTokens, /*once=*/false>(
          tokensAt(slot), stage * PanelLayout::kLineBytes, [&](int i) {
            return i < count ? reinterpret_cast<const uint8_t *>(
                                   X::row(x, firstToken + i))
                             : nullptr;
          });
    };
    constexpr int kAhead = Shape::kDepth < kStages ? Shape::kDepth : kStages;
#pragma unroll 1
    for (int i = 0; i < kAhead; ++i)
      feedRows(i, i);
    waitForPrevious();
#pragma unroll 1
    for (int stage = 0; stage < kStages; ++stage) {
      ring.waitEmptied();
      if (stage >= kAhead)
        feedRows(ring.slot, stage);
      feedTokens(ring.slot, stage);
      arriveWithCopies(ring.filled());
      ring.advance();
    }
    return;
  }

  auto *tokenFactors =
      reinterpret_cast<float *>(panel + Places::kTokenFactorsAt);
  auto *rowFactors = reinterpret_cast<float *>(panel + Places::kRowFactorsAt);
  int thread = static_cast<int>(threadIdx.x), warp = thread / 32,
      lane = thread % 32;
  if constexpr (Scale::kIsThere) {
    for (int i = thread; i < kStages * kEights; i += kMultipliers) {
      int row = firstRow + i % kEights * 8;
      if (row < W::kRows)
        rowFactors[i] = Scale::row(
            p.operands[2], 0, row)[i / kEights * kColumns / Scale::kBlockCols];
    }
  }
  waitForPrevious();
  if constexpr (Scale::kIsThere) {
    for (int i = thread; i < kStages * count; i += kMultipliers) {
      int token = i / kStages, stage = i % kStages;
      tokenFactors[stage * kTokens + token] = Tokens::row(
          factors, firstToken + token)[stage * kColumns / Tokens::kGroup];
    }
    meet<1, kMultipliers>();
  }

  // Teams take stages in turn: what one waits for, others work meanwhile.
  int team = warp / 4, firstOfWarp = warp % 4 * 16;
  float sums[kEights][4] = {};
#pragma unroll 1
  for (int stage = 0; stage < kStages; ++stage, ring.advance()) {
    if (stage % kTeams != team)
      continue;
    ring.waitFilled();
    fenceForTensorCores(); // rows and tokens came by cp.async
    uint64_t tokens = swizzledTile(tokensAt(ring.slot)),
             rows = swizzledTile(rowsAt(ring.slot));
    float products[kEights][4] = {};
    wgmmaFence();
#pragma unroll
    for (int i = 0; i < 4; ++i)
      wgmmaLines<T, true>(products, tokens + 2 * i, rows + 2 * i);
    wgmmaCommit();
    float first = 1, second = 1;
    if constexpr (Scale::kIsThere) {
      const float *of = tokenFactors + stage * kTokens + firstOfWarp + lane / 4;
      first = of[0];
      second = of[8];
    }
    wgmmaWaitAllBut<0>();
    settle(products);
    ring.release();
#pragma unroll
    for (int j = 0; j < kEights; ++j) {
      float row = Scale::kIsThere ? rowFactors[stage * kEights + j] : 1;
      sums[j][0] = fmaf(products[j][0], first * row, sums[j][0]);
      sums[j][1] = fmaf(products[j][1], first * row, sums[j][1]);
      sums[j][2] = fmaf(products[j][2], second * row, sums[j][2]);
      sums[j][3] = fmaf(products[j][3], second * row, sums[j][3]);
    }
  }

  // Sums of the teams, one behind the other, where the ring was.
  meet<1, kMultipliers>();
  auto *ofTeams = reinterpret_cast<float2 *>(panel);
  constexpr int kPairs = kRows / 2;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    int token = firstOfWarp + i * 8 + lane / 4;
#pragma unroll
    for (int j = 0; j < kEights; ++j)
      ofTeams[(team * kTokens + token) * kPairs + j * 4 + lane % 4] = {
          sums[j][2 * i], sums[j][2 * i + 1]};
  }
  meet<1, kMultipliers>();
  void *out = p.operands[Scale::kIsThere ? 3 : 2];
  static_assert(Out::isVectorizable(2) && W::kRows % 2 == 0,
                "results are written in pairs");
  for (int i = thread; i < count * kPairs; i += kMultipliers) {
    int token = i / kPairs, row = firstRow + i % kPairs * 2;
    float values[2] = {};
#pragma unroll
    for (int j = 0; j < kTeams; ++j) {
      float2 each = ofTeams[j * kTokens * kPairs + i];
      values[0] += each.x;
      values[1] += each.y;
    }
    if (row < W::kRows)
      storeVector<Out, 2>(out, firstToken + token, row, values);
  }
}

} // namespace saddle::device
