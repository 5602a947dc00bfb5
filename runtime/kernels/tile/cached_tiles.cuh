// Tiles of a paged cache in shared memory, for kernels of which a warpgroup
// feeds the others: a ring through which keys and values pass in turn.
//
// A tile has prefillTile() positions in 16-bit elements, 64 dims after 64 dims
// in rows of 128 bytes, swizzled as wgmma wants them. Positions that are not to
// be seen are zeros, since what stands in a cache behind them may be no number,
// and so is what pages outside the cache should have held.

#pragma once

#include "runtime/kernels/abi.h"
#include "runtime/kernels/ptx/copy_async.cuh"
#include "runtime/kernels/ptx/fragments.cuh"
#include "runtime/kernels/ptx/tensor_map.cuh"
#include "runtime/kernels/ptx/wgmma.cuh"
#include "runtime/kernels/shared/attention.h"
#include "runtime/kernels/tile/reduce.cuh"
#include "runtime/kernels/tile/ring.cuh"
#include "runtime/kernels/tile/types.cuh"

namespace saddle::device {

/// The ring as a thread sees it.
template <typename A>
struct TileRing : Ring<prefillRing(sizeof(typename A::Keys::Element))> {
  static constexpr int kElementBytes = sizeof(typename A::Keys::Element);
  static constexpr int kSlots = prefillRing(kElementBytes);
  static constexpr int kTile = prefillTile(kElementBytes);
  static constexpr int kHalfBytes = kTile * 128; // 64 dims of all positions
  static constexpr int kTileBytes =
      static_cast<int>(prefillTileBytes(A::kHeadDim, kElementBytes));
  static constexpr int kBarriersAt = kSlots * kTileBytes;
  static constexpr int kBadAt = kBarriersAt + Ring<kSlots>::kBarrierBytes;
  static constexpr int kSharedBytes =
      prefillSharedBytes(A::kHeadDim, kElementBytes);
  static_assert(A::kHeadDim % 64 == 0, "rows are swizzled in 64 elements");
  static_assert(kBadAt + kSlots * 16 + 1024 == kSharedBytes,
                "the launch reserves what the ring needs");

  /// `base` is a multiple of 1024.
  __device__ __forceinline__ explicit TileRing(uint32_t base)
      : Ring<kSlots>{base + kBarriersAt} {}

  __device__ __forceinline__ uint32_t tile() const {
    return this->barriers - kBarriersAt + this->slot * kTileBytes;
  }
  /// The first position of the tile whose page is outside the cache, one for
  /// each warp that feeds; the largest integer for none.
  __device__ __forceinline__ int4 *firstBad() const {
    return static_cast<int4 *>(__cvta_shared_to_generic(this->barriers +
                                                        kBadAt - kBarriersAt)) +
           this->slot;
  }
};

/// What feeds a ring: kPrefillFeeders threads. A warp has a quarter of a tile's
/// positions, a thread one of them.
template <typename A>
struct TileFeeder {
  using T = typename A::Keys::Element;
  using Ring = TileRing<A>;
  static constexpr bool kWidens = sizeof(T) == 1;
  static constexpr int kFeeders = kPrefillFeeders;
  static constexpr int kRows = Ring::kTile / (kFeeders / 32); // of a warp
  static_assert(32 % kRows == 0, "a thread has a position");
  /// Of a thread that feeds, and of one of two other warpgroups.
  static constexpr int kRegisters = kWidens ? 120 : 56;
  static constexpr int kOthersRegisters = kWidens ? 192 : 224;
  /// Positions of one bulk copy: a warp's, or as many as surely lie in one
  /// page, as tiles begin at multiples of them. Short ones are not worth while.
  static constexpr int kBox = (A::kPageSize | kRows) & -(A::kPageSize | kRows);
  static constexpr bool kBulk = !kWidens && kBox >= 16;
  static_assert(kRangeUnit % kRows == 0, "where tiles begin");

  /// By the threads that feed; `maps` is this CTA's, `scratch` 256 bytes of
  /// shared memory at a multiple of 128.
  __device__ __forceinline__ TileFeeder(const LaunchParams &p, int feeder,
                                        Ring &ring, uint8_t *maps,
                                        uint8_t *scratch)
      : p(p), ring(ring), maps(maps), warp(feeder / 32), lane(feeder % 32),
        pageCount(A::pageCount(p)) {
    if constexpr (kBulk) {
      if (warp < 2)
        makeMatrixMap(maps + warp * 128, scratch + warp * 128, cache(warp == 1),
                      p.step->slots, A::Keys::kStride * sizeof(T),
                      A::Keys::kStride * sizeof(T), kBox);
      meet<3, kFeeders>();
      fenceMap(maps);
      fenceMap(maps + 128);
    }
  }

  /// Feeds the positions from `begin` to `end` of a sequence: the keys of the
  /// first tile; keys of a tile and values of the one before, and so on; the
  /// values of the last.
  __device__ __forceinline__ void feed(const i32 *pages, int kvHead, int begin,
                                       int end) {
    Walk walk = {pages, kvHead * A::kHeadDim, begin, end};
    int count = (end - begin + Ring::kTile - 1) / Ring::kTile * 2;
    if constexpr (kWidens) {
      // Codes of two pieces are under way while others are written.
      Piece first, second, third;
      fetch(walk, first, count);
      fetch(walk, second, count - 1);
#pragma unroll 1
      for (int left = count; left > 0; --left) {
        fetch(walk, third, left - 2);
        write(walk, first);
        first = second;
        second = third;
      }
    } else {
      Piece piece;
#pragma unroll 1
      for (int left = count; left > 0; --left) {
        fetch(walk, piece, left);
        write(walk, piece);
      }
    }
  }

private:
  static constexpr int kNone = 0x7fffffff, kUnseen = -1, kBad = -2;
  /// Pieces of 16 codes in a row, rows that a warp reads at once, and how
  /// often.
  static constexpr int kCodePieces = A::kHeadDim / 16,
                       kCodeRows = 32 / kCodePieces,
                       kCodes = kWidens ? kRows / kCodeRows : 1;

  /// Where a sequence's positions are walked through.
  struct Walk {
    const i32 *pages;
    int column, begin, end;
    int tiles = 0;    // whose keys have been met
    int position = 0; // of the thread in the last of them
    int slot = kUnseen, slotBefore = kUnseen;
    bool valuesNext = false;
  };
  /// Keys or values of a tile: what a thread has of them.
  struct Piece {
    bool values;
    int slot; // of the thread's position; less than 0 when there is none
    int position;
    uint4 codes[kCodes];
  };

  /// The next of `left` pieces.
  __device__ __forceinline__ void fetch(Walk &walk, Piece &piece,
                                        int left) const {
    if (left <= 0)
      return;
    if (!walk.valuesNext) {
      walk.position = walk.begin + walk.tiles * Ring::kTile + row();
      walk.slotBefore = walk.slot;
      walk.slot = slotOf(walk);
      ++walk.tiles;
    } else if (left == 1) {
      walk.slotBefore = walk.slot;
    }
    piece.values = walk.valuesNext;
    piece.slot = piece.values ? walk.slotBefore : walk.slot;
    piece.position = walk.position;
    // Behind the first keys and the last ones they do not alternate.
    walk.valuesNext = left == 2 || (walk.tiles > 1 && !walk.valuesNext);
    if constexpr (kWidens)
      readCodes(walk, piece);
  }

  /// The cache slot of the thread's position.
  __device__ __forceinline__ int slotOf(const Walk &walk) const {
    if (walk.position >= walk.end)
      return kUnseen;
    i32 page = walk.pages[walk.position / A::kPageSize];
    if (static_cast<uint32_t>(page) >= pageCount)
      return kBad;
    return page * A::kPageSize + walk.position % A::kPageSize;
  }

  __device__ __forceinline__ void write(const Walk &walk, const Piece &piece) {
    ring.waitEmptied();
    if (!piece.values)
      tell(piece);
    if constexpr (kWidens) {
      writeCodes(piece);
    } else if (kBulk && __all_sync(kFullWarp, piece.slot >= 0)) {
      copyBoxes(maps + (piece.values ? 128 : 0), walk.column, piece.slot);
    } else {
      copyRows(rowsOf(walk, piece), piece.slot);
    }
    arriveAtBarrier(ring.filled());
    ring.advance();
  }

  /// Says which of a tile's pages are bad.
  __device__ __forceinline__ void tell(const Piece &piece) const {
    uint32_t bad = __ballot_sync(kFullWarp, piece.slot == kBad);
    int first =
        __shfl_sync(kFullWarp, piece.position, bad ? __ffs(bad) - 1 : 0);
    if (lane == 0)
      reinterpret_cast<int *>(ring.firstBad())[warp] = bad ? first : kNone;
  }

  /// A warp's positions in boxes.
  __device__ __forceinline__ void copyBoxes(const uint8_t *map, int column,
                                            int slot) const {
    if (lane == 0)
      expectBytes(ring.filled(), kRows * A::kHeadDim * 2);
    __syncwarp();
    if (lane % kBox == 0)
#pragma unroll
      for (int half = 0; half < A::kHeadDim / 64; ++half)
        copyBox(ring.tile() + half * Ring::kHalfBytes + row() * 128, map, slot,
                (column + half * 64) * 2, ring.filled());
  }

  /// A warp's positions 16 bytes by 16.
  __device__ __forceinline__ void copyRows(const T *rows, int slot) const {
    constexpr int kPieces = A::kHeadDim / 8, kAtOnce = 32 / kPieces;
    int piece = lane % kPieces;
#pragma unroll(kBulk ? 1 : 4)
    for (int at = lane / kPieces; at < kRows; at += kAtOnce) {
      int from = __shfl_sync(kFullWarp, slot, at);
      copyAsync16(placeOf(warp * kRows + at, piece),
                  rows + static_cast<int64_t>(max(from, 0)) * A::Keys::kStride +
                      piece * 8,
                  from >= 0 ? 16 : 0);
    }
    commitCopies();
    waitCopies<0>();
    fenceForTensorCores();
  }

  __device__ __forceinline__ void readCodes(const Walk &walk,
                                            Piece &piece) const {
    const T *rows = rowsOf(walk, piece) + lane % kCodePieces * 16;
#pragma unroll
    for (int i = 0; i < kCodes; ++i) {
      int from = __shfl_sync(kFullWarp, piece.slot,
                             i * kCodeRows + lane / kCodePieces);
      piece.codes[i] = {};
      if (from >= 0)
        piece.codes[i] = *reinterpret_cast<const uint4 *>(
            rows + static_cast<int64_t>(from) * A::Keys::kStride);
    }
  }
  /// From e4m3 to f16.
  __device__ __forceinline__ void writeCodes(const Piece &piece) const {
    int at = lane % kCodePieces;
#pragma unroll
    for (int i = 0; i < kCodes; ++i) {
      int row = warp * kRows + i * kCodeRows + lane / kCodePieces;
      // Lanes of a row would meet in the banks if all began with the first.
      bool later = at >= 4;
      uint4 codes = piece.codes[i];
      writeEight(placeOf(row, at * 2 + later), later ? codes.z : codes.x,
                 later ? codes.w : codes.y);
      writeEight(placeOf(row, at * 2 + !later), later ? codes.x : codes.z,
                 later ? codes.y : codes.w);
    }
    fenceForTensorCores();
  }
  static __device__ __forceinline__ void writeEight(uint32_t shared, uint32_t a,
                                                    uint32_t b) {
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(shared),
                 "r"(e4m3PairToF16(a)), "r"(e4m3PairToF16(a >> 16)),
                 "r"(e4m3PairToF16(b)), "r"(e4m3PairToF16(b >> 16))
                 : "memory");
  }

  /// Keys or values. An index that is no constant would put a copy of the
  /// launch's parameters, as fused kernels have one, into local memory.
  __device__ __forceinline__ const void *cache(bool values) const {
    return values ? p.operands[2] : p.operands[1];
  }
  __device__ __forceinline__ const T *rowsOf(const Walk &walk,
                                             const Piece &piece) const {
    return static_cast<const T *>(cache(piece.values)) + walk.column;
  }
  /// The thread's row of a tile.
  __device__ __forceinline__ int row() const {
    return warp * kRows + lane % kRows;
  }
  /// Piece `piece` (8 dims) of a row of the tile.
  __device__ __forceinline__ uint32_t placeOf(int row, int piece) const {
    return ring.tile() + piece / 8 * Ring::kHalfBytes + row * 128 +
           (piece % 8 ^ row % 8) * 16;
  }

  const LaunchParams &p;
  Ring &ring;
  uint8_t *maps;
  int warp, lane;
  uint32_t pageCount;
};

} // namespace saddle::device
