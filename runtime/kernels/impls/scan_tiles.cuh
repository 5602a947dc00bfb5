// decay_scan of prompts, in blocks of 64 tokens on warpgroups. With p, j < m
// tokens of a block, d the decay and S the state before it:
//
//   out[p] = d^(p + 1) q[p] S + sum over j <= p of d^(p - j) (q[p] k[j]) v[j]
//   S      = d^m S + sum over j of d^(m - 1 - j) k[j] v[j]
//
// A CTA has 64 columns of the state of a head, transposed, in the registers of
// one warpgroup, which hands it to another for each block. That one makes the
// outputs. Two more feed them: they find the tokens of a sequence, apply SiLU
// if that is part of the launch, and decay v. The two CTAs of a head of 128
// columns are a cluster then, of which each activates half of the rows of q and
// k for both.
//
// q, k and v are bf16 and multiply exactly. An fp32 factor (the state that is
// asked, weights, decayed v) is the sum of two bf16, whose products are summed
// least first: 2^-18 of the factor is lost, and what is added to the state is
// rounded as often as the tensor cores round. That sum is added to the state in
// fp32 with d^m - 1. So any division into launches gives the same outputs
// within 2e-5 of their largest before they are rounded.
//
// The tokens of a launch are cut into spans where heads do not fill the
// machine, and no more than one sequence crosses the edge of two. First, what
// its tokens in a span add to its state, for all spans at once; then each span
// begins with the sum of what those before it added, decayed. A sequence whose
// tokens do not follow one another goes to the CTAs of its first span alone.
//
// Floor: the bytes of q, k, v and the outputs; on tensor cores 1,536 cycles of
// a block and 64 columns, of 128 rows. Limits: bf16, up to 128 rows, rows and
// columns multiples of 8, at addresses of 16 bytes.

#pragma once

#include "runtime/kernels/impls/scan.cuh"
#include "runtime/kernels/ptx/copy_async.cuh"
#include "runtime/kernels/ptx/fragments.cuh"
#include "runtime/kernels/ptx/load_matrix.cuh"
#include "runtime/kernels/ptx/wgmma_tiles.cuh"
#include "runtime/kernels/tile/pair_ring.cuh"
#include "runtime/kernels/tile/results.cuh"
#include "runtime/kernels/tile/stream.cuh"

#include <type_traits>

namespace saddle::device {

/// Where a walk through tokens of a sequence finds the state, and leaves it.
enum class ScanSource : int32_t {
  Zero,
  Slot,
  SlotKept, // which becomes SpanStates::first(), too
  First,
  Before, // what earlier spans have added up
};
enum class ScanTarget : int32_t { Nowhere, Slot, Carried };
struct ScanEnds {
  ScanSource source;
  ScanTarget target;
};

/// What those that feed say of a block.
struct ScanBlock {
  int count;
  int first; // token, that the others follow; -1: numbers() has them
  i32 sequence;
  bool begins;          // anew, with its first token
  bool isFirst, isLast; // of a walk
  bool isEnd;           // no block: there are none any more
  ScanEnds ends;
};

/// The launch's workspace (scanSpanBytes): of each span and head the state of
/// the sequence that comes from the span before, so far as that span knows it,
/// and the state before the first token of the one that leaves the span.
template <typename S, int spans>
struct SpanStates {
  static constexpr int64_t kValues =
      static_cast<int64_t>(S::kHeads) * S::kRows * S::kCols;

  const LaunchParams &p;
  int head;

  __device__ __forceinline__ float *at(int64_t index) const {
    return static_cast<float *>(p.workspace) + index * kValues +
           static_cast<int64_t>(head) * S::kRows * S::kCols;
  }
  __device__ __forceinline__ float *carried(int number) const {
    return at(number);
  }
  __device__ __forceinline__ float *first(int number) const {
    return at(spans + number);
  }
  /// By how many tokens of the span before a carried state must have decayed
  /// when it is added; -1: nothing has to be added. Each CTA of a span has one.
  __device__ __forceinline__ int &decayed(int number) const {
    return (reinterpret_cast<int *>(
        static_cast<float *>(p.workspace) +
        2 * spans * kValues))[number * gridDim.x + blockIdx.x];
  }
};

/// The shared memory of a CTA and its place in the launch, whose x counts parts
/// of heads and y spans. `asks`: outputs are wanted, not the state alone.
template <typename S, int spans, bool asks>
struct ScanCta {
  static constexpr ScanLayout kLayout = {S::kRows};
  static constexpr int kTile = ScanLayout::kTileBytes;
  static constexpr int kHalves = kLayout.halves();
  static constexpr int kStageBytes = kLayout.stageBytes(),
                       kStateAt = kLayout.stateAt(),
                       kScratchAt = kLayout.scratchAt(),
                       kPowersAt = kLayout.powersAt(),
                       kNumbersAt = kLayout.numbersAt(),
                       kSaidAt = kLayout.saidAt(),
                       kBarriersAt = kLayout.barriersAt(),
                       kSharedBytes = kLayout.sharedBytes();
  static constexpr int kRows = kHalves * 64; // with those that are zero
  static constexpr int kSteps = kRows / 16;
  static constexpr int kParts = (S::kCols + kScanColumns - 1) / kScanColumns;
  static constexpr bool kShares = scanShares(S::kActivates, S::kCols);
  using TokenRing = std::conditional_t<kShares, PairRing<ScanLayout::kDepth>,
                                       Ring<ScanLayout::kDepth>>;
  // Tiles of a stage: q and k in halves, v, two parts of decayed v.
  static constexpr int kKeys = kHalves * kTile, kValues = 2 * kKeys;
  static constexpr int kDecayed = kValues + kTile;
  static constexpr int kSets = ScanLayout::kSets;
  static_assert(S::kRows % 8 == 0 && S::kRows <= kScanRows && S::kCols % 8 == 0,
                "tokens are copied 16 bytes at a time");

  const LaunchParams &p;
  uint8_t *shared;
  uint32_t base;
  int head, column; // the first of this CTA's in its head
  double rate;
  TokenRing ring;
  Ring<1> handed; // the state before a block
  int set = 0;    // of what is said of the block at hand

  /// By all threads, before anything else. `slopes`: S::rateOf.
  __device__ __forceinline__ ScanCta(const LaunchParams &p, uint8_t *memory,
                                     const double *slopes)
      : p(p), shared(memory + (-sharedAddress(memory) & 1023)),
        base(sharedAddress(shared)),
        head(static_cast<int>(blockIdx.x) / kParts),
        column(static_cast<int>(blockIdx.x) % kParts * kScanColumns),
        rate(S::rateOf(p, slopes, head)), ring{{base + kBarriersAt}},
        handed{ring.barriers + TokenRing::kBarrierBytes} {
    for (int i = static_cast<int>(threadIdx.x); i <= kScanBlock;
         i += ScanLayout::kThreads) {
      double loss = expm1(-rate * i);
      losses()[i] = static_cast<float>(loss);
      powers()[i] = static_cast<float>(loss + 1);
      if (i > 0)
        powers()[-i] = 0;
    }
    if (threadIdx.x == 0) {
      ring.begin(ScanLayout::kFillers, (asks ? 2 : 1) * 4);
      handed.begin(128, 4);
    }
    meetPair();
  }
  /// All threads that share tokens.
  static __device__ __forceinline__ void meetPair() {
    if constexpr (kShares) {
      arriveAtCluster();
      waitForCluster();
    } else {
      __syncthreads();
    }
  }

  /// Decay^i; 0 for i < 0 from -kScanBlock on.
  __device__ __forceinline__ float *powers() const {
    return reinterpret_cast<float *>(shared + kPowersAt) + kScanBlock;
  }
  /// Decay^i - 1.
  __device__ __forceinline__ float *losses() const {
    return powers() + kScanBlock + 1;
  }
  /// Tokens of the block of a set.
  __device__ __forceinline__ uint32_t *numbers(int set) const {
    return reinterpret_cast<uint32_t *>(shared + kNumbersAt) + set * kScanBlock;
  }
  __device__ __forceinline__ ScanBlock &block() const {
    static_assert(sizeof(ScanBlock) == ScanLayout::kSaidBytes, "see there");
    return reinterpret_cast<ScanBlock *>(shared + kSaidAt)[set];
  }
  __device__ __forceinline__ uint32_t stage() const {
    return base + ring.slot * kStageBytes;
  }
  /// A part of the state that is handed: 64 rows, its columns, of each half.
  __device__ __forceinline__ uint32_t statePart(int part) const {
    return base + kStateAt + part * kHalves * kTile;
  }
  static __device__ __forceinline__ int after(int set) {
    return set + 1 == kSets ? 0 : set + 1;
  }
  __device__ __forceinline__ void advance() {
    ring.advance();
    set = after(set);
  }
  /// Calls take(block) for every block that is fed; it releases the slot. What
  /// is said of the block is in shared memory: registers are scarce.
  template <typename Take>
  __device__ __forceinline__ void takeBlocks(Take take) {
#pragma unroll 1
    for (;; advance()) {
      ring.waitFilled();
      const ScanBlock &said = block();
      if (said.isEnd)
        return;
      take(said);
    }
  }
  /// Piece `piece` (8 columns) of a row of a tile.
  static __device__ __forceinline__ uint32_t placeOf(uint32_t row,
                                                     uint32_t piece) {
    return row * 128 + (piece ^ row % 8) * 16;
  }
};

/// Those that feed: two warpgroups that take blocks in turn, so that one waits
/// while the other computes. Both look for the tokens of all blocks.
template <typename Cta, typename S, bool asks>
struct ScanFeeder {
  using Team = LastWarps<1, ScanLayout::kThreads - ScanLayout::kFeeders,
                         ScanLayout::kFeeders>;
  using Search = SequenceSearch<Team>;
  // Eight lanes have 64 columns of a token, as often as a tile has more.
  static constexpr int kLines = ScanLayout::kFillers / 8,
                       kTimes = kScanBlock / kLines;
  // Tiles of q, unless nothing asks, and k; v is behind them.
  static constexpr int kFirst = asks ? 0 : Cta::kHalves,
                       kLast = 2 * Cta::kHalves;
  // How often of them are this CTA's to bring.
  static constexpr int kMine = Cta::kShares ? kTimes / 2 : kTimes;

  struct Tokens {
    int count = 0;
    int first = -1; // as ScanBlock has it
    int begins = 0; // anew: 1
  };
  /// Tokens from `begin` on.
  struct Run {
    uint32_t begin, end;
  };
  /// A token and the one 32 behind it of each lane.
  struct Window {
    i32 sequences[2], positions[2];
  };

  Cta &cta;
  static __device__ __forceinline__ uint32_t thread() { return Team::thread(); }
  uint32_t lane = thread() % 32, piece = thread() % 8,
           line = thread() % ScanLayout::kFillers / 8;
  int group = thread() / ScanLayout::kFillers;
  int turn = 0; // whose block is at hand

  __device__ __forceinline__ explicit ScanFeeder(Cta &cta) : cta(cta) {}
  static __device__ __forceinline__ bool isFirstThread() {
    return Team::thread() == 0;
  }

  /// Feeds tokens of `sequence` from `cursor` on: one block at least, which may
  /// be empty. By how many tokens a state before them has decayed; -1 when some
  /// token began anew.
  __device__ __forceinline__ int walk(const Search &search, i32 sequence,
                                      uint32_t cursor, ScanEnds ends) {
    int decayed = 0;
    const Run plain = plainRun(search, sequence, cursor);
    Tokens tokens =
        gather(search, sequence, cursor, plain, cta.set, turn == group);
    for (bool isFirst = true, isLast = false; !isLast; isFirst = false) {
      bool mine = turn == group;
      if (mine) {
        cta.ring.waitEmptied();
        copy(tokens);
      }
      Tokens next;
      if (tokens.count > 0)
        next =
            gather(search, sequence, cursor, plain, Cta::after(cta.set), !mine);
      isLast = next.count == 0;
      if (tokens.begins != 0)
        decayed = -1;
      else if (decayed >= 0)
        decayed += tokens.count;
      if (mine) {
        say({tokens.count, tokens.first, sequence, tokens.begins != 0, isFirst,
             isLast, /*isEnd=*/false, ends});
        waitCopies<0>();
        // No fence for the tensor cores here: ScanState has it.
        finish(tokens);
        cta.ring.fill();
      }
      advance();
      tokens = next;
    }
    return decayed;
  }

  /// There is nothing any more.
  __device__ __forceinline__ void end() {
    if (turn != group)
      return;
    cta.ring.waitEmptied();
    say({0, -1, 0, false, false, false, /*isEnd=*/true, {}});
    cta.ring.fill();
  }

  /// Zeros in the CTA's columns of tokens from .. to - 1.
  __device__ __forceinline__ void zero(uint32_t from, uint32_t to) const {
    for (uint32_t token = from + thread() / 8; token < to;
         token += ScanLayout::kFeeders / 8)
      zeroPiece(token, piece);
  }

private:
  __device__ __forceinline__ void advance() {
    cta.advance();
    turn = 1 - turn;
  }
  __device__ __forceinline__ void say(const ScanBlock &block) const {
    if (thread() % ScanLayout::kFillers == 0)
      cta.block() = block;
  }
  __device__ __forceinline__ void zeroPiece(uint32_t token,
                                            uint32_t piece) const {
    uint32_t column = cta.column + piece * 8;
    if (column < S::kCols)
      *reinterpret_cast<uint4 *>(S::outOf(cta.p, token, cta.head) +
                                 column) = {};
  }

  /// The tokens behind the first block, as far as they are of `sequence`,
  /// follow one another and none begins anew: mostly all of them.
  __device__ __forceinline__ Run plainRun(const Search &search, i32 sequence,
                                          uint32_t cursor) const {
    Run run = {cursor + 1, cursor + 1};
    if (search.tokens - cursor > 2 * kScanBlock)
      run.end = search.find(run.begin, search.tokens, [&](uint32_t token) {
        return search.sequences[token] != sequence ||
               S::position(cta.p, token) <= 0;
      });
    return run;
  }

  __device__ __forceinline__ Window look(const Search &search,
                                         uint32_t cursor) const {
    Window window;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      uint32_t token = min(cursor + half * 32 + lane, search.tokens - 1);
      window.sequences[half] = search.sequences[token];
      window.positions[half] = S::position(cta.p, token);
    }
    return window;
  }

  /// The next tokens of `sequence` from `cursor` on, which moves behind them.
  /// Where they do not follow one another and it `writes`, their numbers become
  /// those of `set`, by each warp of the rows that it copies. Tokens without a
  /// position get zeros.
  __device__ __forceinline__ Tokens gather(const Search &search, i32 sequence,
                                           uint32_t &cursor, Run plain, int set,
                                           bool writes) const {
    if (cursor >= plain.begin && cursor + kScanBlock <= plain.end) {
      cursor += kScanBlock;
      return {kScanBlock, static_cast<int>(cursor) - kScanBlock, 0};
    }
    if (cursor >= search.tokens)
      return {};
    Window window = look(search, cursor);
    for (;;) {
      uint32_t any = 0;
      uint64_t real = 0, first = 0;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint32_t token = cursor + half * 32 + lane;
        bool mine = token < search.tokens && window.sequences[half] == sequence;
        i32 position = window.positions[half];
        if (asks && mine && position < 0 && Team::thread() < 32)
          for (int i = 0; i < kScanColumns / 8; ++i)
            zeroPiece(token, i);
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
        uint32_t row = __popcll(real & (bit - 1));
        if (writes && (real & bit) != 0 && isMine(row))
          cta.numbers(set)[row] = cursor + half * 32 + lane;
      }
      __syncwarp();
      cursor += end;
      return {__popcll(real), -1, (first & least) != 0 ? 1 : 0};
    }
  }

  /// Whether this warp copies a row.
  __device__ __forceinline__ bool isMine(uint32_t row) const {
    return row % kLines / 4 == line / 4;
  }
  /// Where a tile begins in a head's q, k and v.
  __device__ __forceinline__ int columnOf(int tile) const {
    return tile == kLast
               ? 2 * S::kRows + cta.column
               : tile / Cta::kHalves * S::kRows + tile % Cta::kHalves * 64;
  }
  /// Whether there is something where this lane's piece of a tile lies.
  __device__ __forceinline__ bool isThere(int tile) const {
    int column = static_cast<int>(piece) * 8;
    return tile == kLast ? S::kCols % 64 == 0 || cta.column + column < S::kCols
                         : S::kRows % 64 == 0 ||
                               tile % Cta::kHalves * 64 + column < S::kRows;
  }
  /// This lane's rows of a tile.
  __device__ __forceinline__ int rowOf(int i) const {
    return static_cast<int>(i * kLines + line);
  }

  /// Where this lane's piece of its first row of a tile lies; rowOf(i) is
  /// i * kRowBytes farther.
  __device__ __forceinline__ uint32_t placeOf(int tile) const {
    return cta.stage() + tile * Cta::kTile + Cta::placeOf(line, piece);
  }
  static constexpr int kRowBytes = kLines * 128;
  static __device__ __forceinline__ int firstOfMine() {
    return Cta::kShares ? static_cast<int>(clusterRank()) * kMine : 0;
  }

  /// Begins to copy tokens to the stage; the rest of its rows are zeros.
  __device__ __forceinline__ void copy(Tokens tokens) const {
    if (tokens.first >= 0) {
      const bf16 *from = S::headOf(cta.p, tokens.first + line, cta.head);
      copyRows([=](int i) { return from + i * kLines * S::kStride; },
               [](int) { return true; });
    } else {
      const uint32_t *numbers = cta.numbers(cta.set);
      auto isReal = [=](int i) { return rowOf(i) < tokens.count; };
      copyRows(
          [=](int i) {
            return S::headOf(cta.p, isReal(i) ? numbers[rowOf(i)] : 0,
                             cta.head);
          },
          isReal);
    }
    commitCopies();
  }
  template <typename From, typename IsReal>
  __device__ __forceinline__ void copyRows(From from, IsReal isReal) const {
    uint32_t to = placeOf(0);
    int mine = firstOfMine();
#pragma unroll
    for (int i = 0; i < kTimes; ++i) {
      const bf16 *row = from(i) + piece * 8;
      auto copyTile = [&](int tile) {
        copyAsync16(to + tile * Cta::kTile + i * kRowBytes,
                    row + columnOf(tile), isReal(i) && isThere(tile) ? 16 : 0);
      };
      if (!Cta::kShares || i / kMine * kMine == mine)
#pragma unroll
        for (int tile = kFirst; tile < kLast; ++tile)
          copyTile(tile);
      copyTile(kLast);
    }
  }

  static __device__ __forceinline__ uint4 load(uint32_t at) {
    uint4 values;
    asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(values.x), "=r"(values.y), "=r"(values.z),
                   "=r"(values.w)
                 : "r"(at)
                 : "memory");
    return values;
  }
  static __device__ __forceinline__ void store(uint32_t at, uint4 values) {
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(at),
                 "r"(values.x), "r"(values.y), "r"(values.z), "r"(values.w)
                 : "memory");
  }
  /// Activates what this thread has copied, in place and where q and k are
  /// shared, and decays v. Loops, not unrolled: four kinds of warps share what
  /// a multiprocessor has for code.
  __device__ __forceinline__ void finish(Tokens tokens) const {
    if constexpr (Cta::kShares)
      if (thread() % ScanLayout::kFillers == 0)
        expectBytes(cta.ring.filled(), (kLast - kFirst) * kMine * kLines * 128);
    if constexpr (S::kActivates) {
      uint32_t mine = firstOfMine() * kRowBytes;
#pragma unroll 1
      for (int tile = kFirst; tile < kLast; ++tile)
#pragma unroll 1
        for (int i = 0; i < kMine; i += 2) {
          uint32_t at = placeOf(tile) + mine + i * kRowBytes;
          uint4 values[2];
          activate(values, at);
          if constexpr (Cta::kShares) {
            uint32_t there = cta.ring.there(at),
                     barrier = cta.ring.there(cta.ring.filled());
#pragma unroll
            for (int j = 0; j < 2; ++j)
              sendToCluster(there + j * kRowBytes, values[j], barrier);
          }
        }
    }
#pragma unroll 1
    for (int i = 0; i < kTimes; i += 2) {
      uint32_t at = placeOf(kLast) + i * kRowBytes;
      uint4 values[2];
      activate(values, at);
#pragma unroll
      for (int j = 0; j < 2; ++j)
        storeDecayed(at + Cta::kTile + j * kRowBytes, values[j],
                     cta.powers()[max(tokens.count - 1 - rowOf(i + j), 0)]);
    }
  }
  /// This thread's pieces of two rows of a tile.
  static __device__ __forceinline__ void activate(uint4 (&values)[2],
                                                  uint32_t at) {
#pragma unroll
    for (int j = 0; j < 2; ++j)
      values[j] = load(at + j * kRowBytes);
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      values[j] = S::activate(values[j]);
      if constexpr (S::kActivates)
        store(at + j * kRowBytes, values[j]);
    }
  }
  /// Two parts of v times what is left of it behind the block.
  static __device__ __forceinline__ void storeDecayed(uint32_t at, uint4 values,
                                                      float power) {
    const uint32_t from[4] = {values.x, values.y, values.z, values.w};
    uint32_t parts[4][3];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float2 pair = bf16Values(from[i]);
      splitPair(pair.x * power, pair.y * power, parts[i]);
    }
#pragma unroll
    for (int part = 0; part < 2; ++part)
      store(at + part * Cta::kTile,
            {parts[0][part], parts[1][part], parts[2][part], parts[3][part]});
  }
};

/// Where a thread stands in its warpgroup. Found anew each time: what follows
/// from it shall not be kept in registers.
struct ScanPlace {
  uint32_t warp, lane;

  __device__ __forceinline__ ScanPlace() {
    uint32_t thread;
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
    warp = thread / 32 % 4;
    lane = thread % 32;
  }
};

/// The warpgroup that makes outputs: a warp has 16 tokens of a block.
template <typename Cta, typename S>
struct ScanOutputs {
  static constexpr int kSteps = kScanBlock / 16;
  using Parts = uint32_t[kSteps][4];
  using Sums = float[8][4];

  Cta &cta;

  __device__ __forceinline__ void walk() {
    cta.takeBlocks([&](const ScanBlock &block) {
      if (block.count > 0)
        ask(block.count, block.first);
      else
        cta.ring.release();
    });
  }

private:
  __device__ __forceinline__ void ask(int count, int first) {
    uint32_t stage = cta.stage();
    ScanPlace at;
    uint32_t q[Cta::kSteps][4];
#pragma unroll
    for (int step = 0; step < Cta::kSteps; ++step)
      loadMatrices<false>(q[step],
                          stage + step / 4 * Cta::kTile +
                              Cta::placeOf(at.warp * 16 + at.lane % 16,
                                           step % 4 * 2 + at.lane / 16));
    Sums scores, out;
    // Behind this, what feeders wrote is there for the tensor cores, too.
    cta.handed.waitFilled();
    wgmmaFence();
    multiply<true>(scores, q, stage + Cta::kKeys);
    wgmmaCommit();
    multiply<true>(out, q, cta.statePart(1));
    multiply<false>(out, q, cta.statePart(0));
    wgmmaCommit();
    wgmmaWaitAllBut<1>();
    settle(scores);
    Parts weights[2];
    weigh(scores, weights);
    wgmmaWaitAllBut<0>();
    settle(out);
    cta.handed.release();
    cta.handed.advance();
    const float *powers = cta.powers() + at.warp * 16 + at.lane / 4 + 1;
#pragma unroll
    for (int n = 0; n < 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        out[n][i] *= powers[i / 2 * 8];
    uint64_t values = swizzledColumns(stage + Cta::kValues, 0);
    wgmmaFence();
#pragma unroll
    for (int part = 1; part >= 0; --part)
#pragma unroll
      for (int step = 0; step < kSteps; ++step)
        wgmmaRowsBf16<true>(out, weights[part][step],
                            values + step * 2048 / 16);
    wgmmaCommit();
    wgmmaWaitAllBut<0>();
    settle(out);
    cta.ring.release();
    ScanPlace here;
    int before = static_cast<int>(here.warp) * 16;
    const uint32_t *numbers = cta.numbers(cta.set) + before;
    storeResults(out, cta.shared + Cta::kScratchAt + before * 128,
                 count - before, static_cast<int>(S::kCols) - cta.column,
                 [&](int token) {
                   uint32_t number =
                       first >= 0 ? first + before + token : numbers[token];
                   return S::outOf(cta.p, number, cta.head) + cta.column;
                 });
  }

  /// d += q b^T, or d = q b^T if it `begins`; b has 64 rows in halves.
  template <bool begins>
  static __device__ __forceinline__ void
  multiply(Sums &d, const uint32_t (&q)[Cta::kSteps][4], uint32_t b) {
    wgmmaRowsBf16<false, !begins>(d, q[0], swizzledTile(b));
#pragma unroll
    for (int step = 1; step < Cta::kSteps; ++step)
      wgmmaRowsBf16<false>(d, q[step],
                           swizzledTile(b) +
                               (step / 4 * Cta::kTile + step % 4 * 32) / 16);
  }

  /// decay^(p - j) q[p] k[j], as two parts.
  __device__ __forceinline__ void weigh(const Sums &scores,
                                        Parts (&weights)[2]) const {
    ScanPlace at;
    // Powers of what is not to be seen are 0.
    const float *powers =
        cta.powers() + at.warp * 16 + at.lane / 4 - at.lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < 8; ++n)
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const float *power = powers + r * 8 - n * 8;
        uint32_t parts[3];
        splitPair(scores[n][2 * r] * power[0], scores[n][2 * r + 1] * power[-1],
                  parts);
        weights[0][n / 2][n % 2 * 2 + r] = parts[0];
        weights[1][n / 2][n % 2 * 2 + r] = parts[1];
      }
  }
};

/// The warpgroup that has the state, transposed: a warp has 16 columns of it,
/// in the order of mma.cuh.
template <typename Cta, typename S, int spans, bool asks>
struct ScanState {
  static constexpr int kTiles = Cta::kRows / 8;

  Cta &cta;
  SpanStates<S, spans> states{cta.p, cta.head};
  float state[kTiles][4];

  __device__ __forceinline__ explicit ScanState(Cta &cta) : cta(cta) {}

  __device__ __forceinline__ void walk() {
    cta.takeBlocks([&](const ScanBlock &block) {
      if (block.begins)
        clear();
      else if (block.isFirst)
        begin(block);
      if (block.count > 0)
        add(block.count);
      cta.ring.release();
      if (block.isLast)
        end(block);
    });
  }

private:
  /// Calls visit(value, number) for values of the state and their numbers in
  /// `memory`, which has all of the head.
  template <typename Number, typename Visit>
  __device__ __forceinline__ void zip(Number *memory, Visit visit) {
    ScanPlace at;
    uint32_t firstRow = at.lane % 4 * 2;
    uint32_t firstColumn = cta.column + at.warp * 16 + at.lane / 4;
    memory += firstRow * S::kCols + firstColumn;
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        uint32_t row = tile * 8 + i % 2, column = i / 2 * 8;
        if ((S::kRows % 64 == 0 || firstRow + row < S::kRows) &&
            (S::kCols % 64 == 0 || firstColumn + column < S::kCols))
          visit(state[tile][i], memory[row * S::kCols + column]);
      }
  }
  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        state[tile][i] = 0;
  }
  __device__ __forceinline__ void load(const float *from) {
    clear();
    zip(from, [](float &value, float there) { value = there; });
  }
  __device__ __forceinline__ void store(float *to) {
    zip(to, [](float value, float &there) { there = value; });
  }
  /// The state after so many tokens that add up to `sum`.
  __device__ __forceinline__ void addAfter(int count, const float *sum) {
    float loss = static_cast<float>(expm1(-cta.rate * count));
    zip(sum,
        [=](float &value, float there) { value += fmaf(loss, value, there); });
  }

  __device__ __forceinline__ void begin(const ScanBlock &block) {
    int number = static_cast<int>(blockIdx.y);
    float *slot = S::stateOf(cta.p, block.sequence, cta.head);
    switch (block.ends.source) {
    case ScanSource::Zero:
      return clear();
    case ScanSource::Slot:
      return load(slot);
    case ScanSource::SlotKept:
      load(slot);
      return store(states.first(number));
    case ScanSource::First:
      return load(states.first(number));
    case ScanSource::Before: {
      int known = number;
      while (states.decayed(known) >= 0)
        --known;
      load(states.carried(known));
      while (known < number) {
        ++known;
        addAfter(states.decayed(known), states.carried(known));
      }
    }
    }
  }
  __device__ __forceinline__ void end(const ScanBlock &block) {
    if (block.ends.target == ScanTarget::Slot)
      store(S::stateOf(cta.p, block.sequence, cta.head));
    else if (block.ends.target == ScanTarget::Carried)
      store(states.carried(static_cast<int>(blockIdx.y) + 1));
  }

  /// Hands the state out, and adds a block's tokens to it.
  __device__ __forceinline__ void add(int count) {
    uint32_t stage = cta.stage();
    float sums[kTiles][4];
    uint64_t keys = swizzledColumns(stage + Cta::kKeys, Cta::kTile);
    // For the writes of those that feed, and on behalf of those that ask, who
    // wait for this warpgroup.
    fenceForTensorCores();
    wgmmaFence();
#pragma unroll
    for (int part = 1; part >= 0; --part)
#pragma unroll
      for (int step = 0; step < kScanBlock / 16; ++step) {
        uint64_t decayed =
            swizzledColumns(stage + Cta::kDecayed + part * Cta::kTile, 0) +
            step * 2048 / 16;
        if (part == 1 && step == 0)
          wgmmaTilesBf16<false>(sums, decayed, keys);
        else
          wgmmaTilesBf16<true>(sums, decayed, keys + step * 2048 / 16);
      }
    wgmmaCommit();
    if constexpr (asks)
      hand();
    wgmmaWaitAllBut<0>();
    settle(sums);
    float loss = cta.losses()[count];
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        state[tile][i] += fmaf(loss, state[tile][i], sums[tile][i]);
  }

  /// The state as two parts.
  __device__ __forceinline__ void hand() {
    ScanPlace at;
    uint32_t row = at.warp * 16 + at.lane % 16;
    cta.handed.waitEmptied();
#pragma unroll
    for (int tile = 0; tile < kTiles; tile += 2) {
      uint32_t parts[2][4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        uint32_t all[3];
        splitPair(state[tile + i / 2][i % 2 * 2],
                  state[tile + i / 2][i % 2 * 2 + 1], all);
        parts[0][i] = all[0];
        parts[1][i] = all[1];
      }
#pragma unroll
      for (int part = 0; part < 2; ++part)
        storeMatrices(cta.statePart(part) + tile / 8 * Cta::kTile +
                          Cta::placeOf(row, tile % 8 + at.lane / 16),
                      parts[part]);
    }
    fenceForTensorCores();
    arriveAtBarrier(cta.handed.filled());
    cta.handed.advance();
  }
};

/// Runs feed(feeder, search) by those that feed, and what the others do beside.
template <typename S, int spans, bool asks, int sharedBytes, typename Feed>
__device__ __forceinline__ void runScan(const LaunchParams &p,
                                        const double *slopes, Feed feed) {
  using Cta = ScanCta<S, spans, asks>;
  using Feeder = ScanFeeder<Cta, S, asks>;
  static_assert(Cta::kSharedBytes == sharedBytes,
                "the launch reserves what the tiles need");
  extern __shared__ __align__(16) uint8_t shared[];
  __shared__ uint32_t masks[ScanLayout::kFeeders / 32];
  Cta cta(p, shared, slopes);
  if (threadIdx.x >= ScanLayout::kThreads - ScanLayout::kFeeders) {
    keepRegisters<96>();
    Feeder feeder(cta);
    feed(feeder, SequenceSearch<typename Feeder::Team>{S::sequences(p),
                                                       S::tokens(p), masks});
    feeder.end();
  } else if (threadIdx.x >= 128) {
    takeRegisters<160>();
    if constexpr (asks)
      ScanOutputs<Cta, S>{cta}.walk();
  } else {
    takeRegisters<160>();
    ScanState<Cta, S, spans, asks>(cta).walk();
  }
  if constexpr (Cta::kShares)
    Cta::meetPair(); // who still writes to the other
}

/// Grid: parts of each head, then spans but the last.
template <typename S, int sharedBytes, int span, int spans>
__device__ void scanSpanSums(const LaunchParams &p, const double *slopes) {
  runScan<S, spans, false, sharedBytes>(
      p, slopes, [&](auto &feeder, auto search) {
        uint32_t begin = blockIdx.y * span, end = begin + span;
        if (end >= search.tokens || search.begins(end) ||
            !S::isSlot(search.sequences[end]) ||
            !search.isOneRun(search.sequences[end]))
          return;
        i32 sequence = search.sequences[end];
        while (search.sequences[begin] != sequence)
          begin = search.endOf(begin, end);
        bool starts = search.begins(begin);
        search.tokens = end;
        // The slot's state will have changed when this span comes to it.
        int decayed =
            feeder.walk(search, sequence, begin,
                        {starts ? ScanSource::SlotKept : ScanSource::Zero,
                         ScanTarget::Carried});
        SpanStates<S, spans> states{p, feeder.cta.head};
        if (feeder.isFirstThread())
          states.decayed(static_cast<int>(blockIdx.y) + 1) =
              starts ? -1 : decayed;
      });
}

/// Grid: parts of each head, then spans.
template <typename S, int sharedBytes, int span, int spans>
__device__ void scanSpans(const LaunchParams &p, const double *slopes) {
  runScan<S, spans, true, sharedBytes>(
      p, slopes, [&](auto &feeder, auto search) {
        uint32_t token = blockIdx.y * span;
        uint32_t end = min(token + span, search.tokens);
        for (uint32_t next; token < end; token = next) {
          next = search.endOf(token, end);
          i32 sequence = search.sequences[token];
          auto walked = search;
          ScanEnds ends = {ScanSource::Slot, ScanTarget::Slot};
          if (!S::isSlot(sequence)) {
            feeder.zero(token, next);
            continue;
          }
          if (search.isOneRun(sequence)) {
            bool isLast = next == search.tokens || search.begins(next);
            if (!search.begins(token))
              ends.source = ScanSource::Before;
            else if (!isLast)
              ends.source = ScanSource::First;
            if (!isLast)
              ends.target = ScanTarget::Nowhere;
            walked.tokens = next;
          } else if (!search.isFirst(token, sequence)) {
            continue;
          }
          feeder.walk(walked, sequence, token, ends);
        }
      });
}

} // namespace saddle::device
