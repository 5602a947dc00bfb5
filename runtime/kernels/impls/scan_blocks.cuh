// decay_scan in blocks of 64 tokens, on tensor cores. A warp has 16 columns of
// the state of one head and sequence in registers, transposed, for as long as
// the launch has tokens of the sequence. With p, j < m tokens of a block, d the
// decay and S the state before it:
//
//   out[p] = d^(p + 1) q[p] S + sum over j <= p of d^(p - j) (q[p] k[j]) v[j]
//   S      = d^m S + sum over j of d^(m - 1 - j) k[j] v[j]
//
// q, k and v are bf16 and multiply exactly. An fp32 factor is the sum of bf16
// values: weights of tokens and states that are asked of two (2^-17 of the
// factor is lost, which rounding an output to bf16 hides), what is added to the
// state of three, and that sum is added to the state in fp32 with d^m - 1. So
// the state is that of scan.cuh up to a few units in the last place, and any
// division into launches gives the same outputs within 2e-5 of their largest
// before they are rounded.
//
// Floor: a warp has some 400 products of m16n8k16 for a block of 128 x 128, 2
// us at full rate; blocks follow one another. Limits: bf16, up to 128 rows,
// rows and columns whole multiples of 16, at addresses of 16 bytes.

#pragma once

#include "runtime/kernels/impls/scan.cuh"
#include "runtime/kernels/ptx/copy_async.cuh"
#include "runtime/kernels/ptx/fragments.cuh"
#include "runtime/kernels/ptx/load_matrix.cuh"
#include "runtime/kernels/ptx/mma.cuh"
#include "runtime/kernels/tile/stream.cuh"

namespace saddle::device {

/// Tokens of one sequence that follow one another; it may begin with the first.
struct TokenBlock {
  int count = 0;
  bool begins = false;
  __device__ __forceinline__ int tiles() const { return (count + 15) / 16; }
};

/// The shared memory of a CTA of so many warps: shared/scan.h.
template <typename S, int warps>
struct ScanTiles {
  static constexpr int kThreads = warps * 32;
  static constexpr int kColumns = warps * kScanColumns;
  static constexpr int kParts = S::kCols / kColumns;
  static_assert(S::kRows % 16 == 0 && S::kRows <= kScanRows &&
                    S::kCols % kColumns == 0,
                "states are whole tiles");
  // Bytes between rows, of tiles, and of a stage: q, k, v.
  static constexpr int kRowBytes = 2 * (S::kRows + kScanPad);
  static constexpr int kValueRowBytes = 2 * (kColumns + kScanPad);
  static constexpr int kWeightRowBytes = 2 * (kScanBlock + kScanPad);
  static constexpr int kKeys = kScanBlock * kRowBytes, kValues = 2 * kKeys;
  static constexpr int kStage = kValues + kScanBlock * kValueRowBytes;
  static constexpr int kWeights = 2 * kStage;
  static constexpr int kWeightPart = kScanBlock * kWeightRowBytes;
  static constexpr int kPowers = kWeights + 2 * kWeightPart;
  static constexpr int kBytes =
      kPowers + 4 * (2 * (kScanBlock + 1) + 2 * kScanBlock);

  uint8_t *shared;
  uint32_t base;
  float *powers, *losses; // decay^i, decay^i - 1
  uint32_t *numbers;      // of tokens, by stage and place in the block

  __device__ __forceinline__ explicit ScanTiles(uint8_t *shared)
      : shared(shared), base(sharedAddress(shared)),
        powers(reinterpret_cast<float *>(shared + kPowers)),
        losses(powers + kScanBlock + 1),
        numbers(reinterpret_cast<uint32_t *>(losses + kScanBlock + 1)) {}

  /// The 16 x 16 values of q or k, v, or a part of the weights, as first or
  /// second operands: `across` says which of lanes 8 .. 15 and 16 .. 23 are
  /// farther right than lanes 0 .. 7.
  template <bool transposed, bool across>
  static __device__ __forceinline__ void
  load(uint32_t (&d)[4], uint32_t tile, int rowBytes, int row, int column) {
    int lane = static_cast<int>(threadIdx.x) % 32;
    int low = lane / 8 % 2 * 8, high = lane / 16 * 8;
    row += lane % 8 + (across ? high : low);
    column += across ? low : high;
    loadMatrices<transposed>(d, tile + row * rowBytes + column * 2);
  }
};

/// What a warp does.
template <typename S, int warps>
struct ScanWarp {
  using Tiles = ScanTiles<S, warps>;
  static constexpr int kTiles = S::kRows / 8;

  const LaunchParams &p;
  const Tiles &tiles;
  int head, column; // of the warp in its head
  double rate;
  int warp = static_cast<int>(threadIdx.x) / 32;
  int g = static_cast<int>(threadIdx.x) % 32 / 4;
  int t = static_cast<int>(threadIdx.x) % 4;
  /// The state's columns g and g + 8 (rows of this) at rows 2 t and 2 t + 1 of
  /// eight.
  float state[kTiles][4];

  __device__ __forceinline__ int64_t place(int tile, int i) const {
    return static_cast<int64_t>(tile * 8 + 2 * t + i % 2) * S::kCols + column +
           g + i / 2 * 8;
  }
  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        state[tile][i] = 0;
  }
  __device__ __forceinline__ void load(const float *from) {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        state[tile][i] = from[place(tile, i)];
  }
  __device__ __forceinline__ void store(float *to) const {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        to[place(tile, i)] = state[tile][i];
  }
  /// The state after so many tokens that add up to `sum`.
  __device__ __forceinline__ void addAfter(int count, const float *sum) {
    float loss = static_cast<float>(expm1(-rate * count));
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        state[tile][i] += fmaf(loss, state[tile][i], sum[place(tile, i)]);
  }
  /// Zeros in the warp's columns of tokens from .. to - 1.
  __device__ __forceinline__ void zero(uint32_t from, uint32_t to) const {
    for (uint32_t token = from + threadIdx.x % 32; token < to; token += 32)
      zero(token);
  }
  /// Of one token, by one lane.
  __device__ __forceinline__ void zero(uint32_t token) const {
    auto *out = S::outOf(p, token, head) + column;
    for (int i = 0; i < kScanColumns; ++i)
      out[i] = fromFloat<bf16>(0);
  }

  /// A token and the one 32 behind it of each lane, from `cursor` on.
  struct Window {
    i32 sequences[2], positions[2];
  };
  __device__ __forceinline__ Window
  look(const SequenceSearch<Tiles::kThreads> &search, uint32_t cursor) const {
    Window window;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      uint32_t token =
          min(cursor + half * 32 + threadIdx.x % 32, search.tokens - 1);
      window.sequences[half] = search.sequences[token];
      window.positions[half] = S::position(p, token);
    }
    return window;
  }

  /// The next tokens of `sequence` from `cursor` on, which moves behind them;
  /// their numbers to `numbers`, by every warp the same. `window` is what lies
  /// there. Tokens without a position get zeros.
  __device__ __forceinline__ TokenBlock
  gather(const SequenceSearch<Tiles::kThreads> &search, i32 sequence,
         uint32_t &cursor, Window window, uint32_t *numbers) const {
    int lane = static_cast<int>(threadIdx.x) % 32;
    for (;;) {
      uint32_t any = 0;
      uint64_t real = 0, first = 0;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint32_t token = cursor + half * 32 + lane;
        bool mine = token < search.tokens && window.sequences[half] == sequence;
        i32 position = window.positions[half];
        if (mine && position < 0)
          zero(token);
        bool isReal = mine && position >= 0;
        any |= __ballot_sync(kFullWarp, mine);
        real |= static_cast<uint64_t>(__ballot_sync(kFullWarp, isReal))
                << half * 32;
        first |= static_cast<uint64_t>(
                     __ballot_sync(kFullWarp, isReal && position == 0))
                 << half * 32;
      }
      if (real == 0) {
        cursor = search.next(sequence, any ? cursor + kScanBlock : cursor);
        if (cursor >= search.tokens)
          return {};
        window = look(search, cursor);
        continue;
      }
      // Who begins anew begins a block.
      uint64_t least = real & -real, later = first & ~least;
      uint32_t end = kScanBlock;
      if (later != 0) {
        end = __ffsll(static_cast<long long>(later)) - 1;
        real &= (later & -later) - 1;
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint64_t bit = 1ull << (half * 32 + lane);
        if (real & bit)
          numbers[__popcll(real & (bit - 1))] = cursor + half * 32 + lane;
      }
      __syncwarp();
      cursor += end;
      return {__popcll(real), (first & least) != 0};
    }
  }

  /// Begins to copy q (if `asks`), k and the CTA's columns of v; rows behind
  /// the block are zero.
  template <bool asks>
  __device__ __forceinline__ void copy(TokenBlock block, int stage) const {
    constexpr int kPieces = S::kRows / 8, kValuePieces = Tiles::kColumns / 8;
    constexpr int kFirst = asks ? 0 : kPieces;
    constexpr int kOfRow = 2 * kPieces + kValuePieces - kFirst;
    const uint32_t *numbers = tiles.numbers + stage * kScanBlock;
    uint32_t to = tiles.base + stage * Tiles::kStage;
    int begin = column - warp * kScanColumns;
    int rows = block.tiles() * 16;
    for (int i = static_cast<int>(threadIdx.x); i < rows * kOfRow;
         i += Tiles::kThreads) {
      int row = i / kOfRow, piece = i % kOfRow + kFirst;
      bool real = row < block.count;
      const bf16 *from = S::headOf(p, numbers[real ? row : 0], head);
      uint32_t at;
      if (piece < 2 * kPieces) {
        from += piece * 8; // k follows q
        at = piece / kPieces * Tiles::kKeys + row * Tiles::kRowBytes +
             piece % kPieces * 16;
      } else {
        piece -= 2 * kPieces;
        from += 2 * S::kRows + begin + piece * 8;
        at = Tiles::kValues + row * Tiles::kValueRowBytes + piece * 16;
      }
      copyAsync16(to + at, from, real ? 16 : 0);
    }
  }

  /// decay^(p - j) q[p] k[j] of the block's tokens, by all warps, 16 x 16 at a
  /// time, as two parts.
  __device__ __forceinline__ void weigh(TokenBlock block, int stage) const {
    uint32_t queries = tiles.base + stage * Tiles::kStage;
    uint32_t keys = queries + Tiles::kKeys;
    int count = block.tiles() * (block.tiles() + 1) / 2;
    for (int i = warp; i < count; i += warps) {
      int down = i < 1 ? 0 : i < 3 ? 1 : i < 6 ? 2 : 3;
      int right = i - down * (down + 1) / 2;
      // Two sums of each, and operands of some steps ahead: products that wait
      // for neither memory nor each other.
      constexpr int kSteps = S::kRows / 16, kAhead = kSteps % 4 == 0 ? 4 : 1;
      float sums[2][2][4] = {};
#pragma unroll
      for (int step = 0; step < kSteps; step += kAhead) {
        uint32_t a[kAhead][4], b[kAhead][4];
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
          Tiles::template load<false, false>(a[i], queries, Tiles::kRowBytes,
                                             down * 16, (step + i) * 16);
          Tiles::template load<false, true>(b[i], keys, Tiles::kRowBytes,
                                            right * 16, (step + i) * 16);
        }
#pragma unroll
        for (int i = 0; i < kAhead; ++i)
#pragma unroll
          for (int n = 0; n < 2; ++n)
            mmaBf16(sums[i % 2][n], a[i][0], a[i][1], a[i][2], a[i][3],
                    b[i][2 * n], b[i][2 * n + 1]);
      }
#pragma unroll
      for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          int row = down * 16 + r * 8 + g, from = right * 16 + n * 8 + 2 * t;
          float first = row >= from ? (sums[0][n][2 * r] + sums[1][n][2 * r]) *
                                          tiles.powers[row - from]
                                    : 0.0f;
          float second = row >= from + 1
                             ? (sums[0][n][2 * r + 1] + sums[1][n][2 * r + 1]) *
                                   tiles.powers[row - from - 1]
                             : 0.0f;
          uint32_t parts[3];
          splitPair(first, second, parts);
          uint8_t *to = tiles.shared + Tiles::kWeights +
                        row * Tiles::kWeightRowBytes + from * 2;
#pragma unroll
          for (int part = 0; part < 2; ++part)
            *reinterpret_cast<uint32_t *>(to + part * Tiles::kWeightPart) =
                parts[part];
        }
    }
  }

  /// Tokens 16 step .. 16 step + 15 of the warp's columns of v, transposed.
  __device__ __forceinline__ void loadValues(uint32_t (&v)[4], int stage,
                                             int step) const {
    Tiles::template load<true, true>(
        v, tiles.base + stage * Tiles::kStage + Tiles::kValues,
        Tiles::kValueRowBytes, step * 16, warp * kScanColumns);
  }

  /// Outputs of the block's tokens.
  __device__ __forceinline__ void ask(TokenBlock block, int stage) const {
    constexpr int kMost = kScanBlock / 16;
    uint32_t queries = tiles.base + stage * Tiles::kStage;
    float sums[kMost][2][4] = {};
#pragma unroll
    for (int step = 0; step < S::kRows / 16; ++step) {
      uint32_t parts[2][2][3]; // columns g and g + 8, rows 0 .. 7 and 8 .. 15
#pragma unroll
      for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          splitPair(state[2 * step + half][2 * n],
                    state[2 * step + half][2 * n + 1], parts[n][half]);
      uint32_t a[kMost][4];
#pragma unroll
      for (int down = 0; down < kMost; ++down)
        if (down < block.tiles())
          Tiles::template load<false, false>(a[down], queries, Tiles::kRowBytes,
                                             down * 16, step * 16);
#pragma unroll
      for (int part = 1; part >= 0; --part)
#pragma unroll
        for (int down = 0; down < kMost; ++down)
          if (down < block.tiles())
#pragma unroll
            for (int n = 0; n < 2; ++n)
              mmaBf16(sums[down][n], a[down][0], a[down][1], a[down][2],
                      a[down][3], parts[n][0][part], parts[n][1][part]);
    }
#pragma unroll
    for (int down = 0; down < kMost; ++down)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float power = tiles.powers[down * 16 + i / 2 * 8 + g + 1];
        sums[down][0][i] *= power;
        sums[down][1][i] *= power;
      }
#pragma unroll
    for (int step = 0; step < kMost; ++step) {
      if (step >= block.tiles())
        break;
      uint32_t v[4];
      loadValues(v, stage, step);
#pragma unroll
      for (int part = 1; part >= 0; --part) {
        uint32_t a[kMost][4];
#pragma unroll
        for (int down = step; down < kMost; ++down)
          if (down < block.tiles())
            Tiles::template load<false, false>(
                a[down],
                tiles.base + Tiles::kWeights + part * Tiles::kWeightPart,
                Tiles::kWeightRowBytes, down * 16, step * 16);
#pragma unroll
        for (int down = step; down < kMost; ++down)
          if (down < block.tiles())
#pragma unroll
            for (int n = 0; n < 2; ++n)
              mmaBf16(sums[down][n], a[down][0], a[down][1], a[down][2],
                      a[down][3], v[n], v[n + 2]);
      }
    }
#pragma unroll
    for (int down = 0; down < kMost; ++down)
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        int row = down * 16 + r * 8 + g;
        if (row >= block.count)
          continue;
        auto *out =
            S::outOf(p, tiles.numbers[stage * kScanBlock + row], head) + column;
#pragma unroll
        for (int n = 0; n < 2; ++n)
          *reinterpret_cast<uint32_t *>(out + n * 8 + 2 * t) =
              bf16Pair(sums[down][n][2 * r], sums[down][n][2 * r + 1]);
      }
  }

  /// The state behind the block.
  __device__ __forceinline__ void add(TokenBlock block, int stage) {
    constexpr int kMost = kScanBlock / 16;
    // Tiles of eight rows, so many that sums do not wait for each other.
    constexpr int kAtOnce = kTiles % 8 == 0 ? 8 : 2;
    uint32_t keys = tiles.base + stage * Tiles::kStage + Tiles::kKeys;
    float loss = tiles.losses[block.count];
    uint32_t decayed[kMost][4][3];
#pragma unroll
    for (int step = 0; step < kMost; ++step) {
      if (step >= block.tiles())
        break;
      uint32_t v[4];
      loadValues(v, stage, step);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        // How many tokens of the block follow; v is zero where none is.
        int after = block.count - 1 - (step * 16 + i / 2 * 8 + 2 * t);
        float2 pair = bf16Values(v[i]);
        splitPair(pair.x * tiles.powers[max(after, 0)],
                  pair.y * tiles.powers[max(after - 1, 0)], decayed[step][i]);
      }
    }
#pragma unroll
    for (int first = 0; first < kTiles; first += kAtOnce) {
      float sums[kAtOnce][4] = {};
#pragma unroll
      for (int step = 0; step < kMost; ++step) {
        if (step >= block.tiles())
          break;
        uint32_t k[kAtOnce / 2][4];
#pragma unroll
        for (int i = 0; i < kAtOnce / 2; ++i)
          Tiles::template load<true, false>(k[i], keys, Tiles::kRowBytes,
                                            step * 16, first * 8 + i * 16);
#pragma unroll
        for (int part = 2; part >= 0; --part)
#pragma unroll
          for (int i = 0; i < kAtOnce; ++i)
            mmaBf16(sums[i], decayed[step][0][part], decayed[step][1][part],
                    decayed[step][2][part], decayed[step][3][part],
                    k[i / 2][i % 2 * 2], k[i / 2][i % 2 * 2 + 1]);
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          float &held = state[first + i][j];
          held += fmaf(loss, held, sums[i][j]);
        }
    }
  }

  /// Tokens of `sequence` from `cursor` on, with their outputs if `asks`;
  /// begin() fills the state, unless the first of them begins anew. By how many
  /// tokens that state has decayed; -1 when some token began anew.
  template <bool asks, typename Begin>
  __device__ __forceinline__ int
  walk(const SequenceSearch<Tiles::kThreads> &search, i32 sequence,
       uint32_t cursor, Begin begin) {
    int stage = 0, decayed = 0;
    TokenBlock block =
        gather(search, sequence, cursor, look(search, cursor), tiles.numbers);
    copy<asks>(block, stage);
    commitCopies();
    if (!block.begins)
      begin();
    while (block.count != 0) {
      Window window = look(search, cursor);
      if (block.begins) {
        clear();
        decayed = -1;
      }
      if (decayed >= 0)
        decayed += block.count;
      waitCopies<0>();
      __syncthreads();
      if constexpr (asks)
        weigh(block, stage);
      TokenBlock next = gather(search, sequence, cursor, window,
                               tiles.numbers + (1 - stage) * kScanBlock);
      copy<asks>(next, 1 - stage);
      commitCopies();
      if constexpr (asks) {
        __syncthreads();
        ask(block, stage);
      }
      add(block, stage);
      // Before the stage and the weights are overwritten.
      __syncthreads();
      block = next;
      stage = 1 - stage;
    }
    waitCopies<0>();
    return decayed;
  }

  /// All tokens of a sequence that begins at `token`, with its slot's state.
  __device__ __forceinline__ void
  walkAll(const SequenceSearch<Tiles::kThreads> &search, i32 sequence,
          uint32_t token) {
    // What a sequence before left in the slot does not matter.
    float *slot = S::stateOf(p, sequence, head);
    if (walk<true>(search, sequence, token, [&] { load(slot); }) != 0)
      store(slot);
  }

  /// The warp of a CTA whose x counts parts of heads. `slopes`: S::rateOf.
  __device__ __forceinline__ ScanWarp(const LaunchParams &p, const Tiles &tiles,
                                      const double *slopes)
      : p(p), tiles(tiles), head(static_cast<int>(blockIdx.x) / Tiles::kParts),
        column(static_cast<int>(blockIdx.x) % Tiles::kParts * Tiles::kColumns +
               static_cast<int>(threadIdx.x) / 32 * kScanColumns),
        rate(S::rateOf(p, slopes, head)) {
    for (int i = static_cast<int>(threadIdx.x); i <= kScanBlock;
         i += Tiles::kThreads) {
      double loss = expm1(-rate * i);
      tiles.losses[i] = static_cast<float>(loss);
      tiles.powers[i] = static_cast<float>(loss + 1);
    }
    __syncthreads();
  }
};

/// Grid: parts of each head, then runs of tokens in turn. `slopes`: S::rateOf.
template <typename S, int warps, int sharedBytes>
__device__ void scanBlocks(const LaunchParams &p, const double *slopes) {
  using Tiles = ScanTiles<S, warps>;
  static_assert(Tiles::kBytes == sharedBytes,
                "the launch reserves what the tiles need");
  extern __shared__ __align__(16) uint8_t shared[];
  __shared__ uint32_t masks[warps];
  Tiles tiles(shared);
  ScanWarp<S, warps> warp(p, tiles, slopes);
  SequenceSearch<Tiles::kThreads> search{S::sequences(p), S::tokens(p), masks};

  search.template forEach<false>([&](uint32_t token, i32 sequence) {
    if (!S::isSlot(sequence))
      return warp.zero(token, search.endOf(token, search.tokens));
    if (search.isFirst(token, sequence))
      warp.walkAll(search, sequence, token);
  });
}

} // namespace saddle::device
