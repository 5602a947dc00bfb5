// How the warps of a CTA share a streaming product (tile/stream.cuh), and
// tokens that a CTA or a warp encodes for itself.

#pragma once

#include "runtime/kernels/tile/matrix.cuh"
#include "runtime/kernels/tile/stream.cuh"
#include "runtime/kernels/tile/token_codes.cuh"

namespace saddle::device {

/// How a CTA divides its work: a warp has `rows` rows (up to 8, or tiles of 16)
/// and 8 tokenTiles tokens; rowWarps x columnWarps warps. The others:
/// WarpStream.
template <int rows, int tokenTiles, int units, int scaleUnits, int depth,
          int rowWarps, int columnWarps>
struct StreamShape {
  static constexpr int kRows = rows, kTokenTiles = tokenTiles,
                       kRowWarps = rowWarps, kColumnWarps = columnWarps;
  static constexpr int kTiles = (rows + 15) / 16;
  static constexpr int kTokens = tokenTiles * 8;
  static constexpr int kCtaRows = rows * rowWarps;

  template <typename W, typename X, bool resident = false>
  using Stream =
      WarpStream<W, X, rows, tokenTiles, units, depth, scaleUnits, resident>;

  /// The warp's rows: as many of the `left` ones from `first` on as it takes.
  template <typename W, typename Source>
  static __device__ __forceinline__ void
  setRows(Source &source, const typename W::Element *first, int left) {
#pragma unroll
    for (int i = 0; i < kTiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        int row = i * 16 + half * 8;
        source.rows[i][half] = first + row * W::kStride;
        source.rowCount[i][half] = left - row;
      }
  }
};

/// What a warp has of a CTA's product: some of its rows, and stages first ..
/// last - 1 of their columns. Rings of all warps lie in `shared`.
template <typename Shape, typename Stream>
struct WarpShare {
  static constexpr CtaLayout<typename Stream::Layout> kLayout = {
      Stream::kLayout, Shape::kRowWarps, Shape::kColumnWarps};
  /// Where tokens that stay may lie in `shared`.
  static constexpr int kResidentAt = kLayout.residentOffset();
  /// Where sums lie that have a place of their own.
  static constexpr int kSumsAt = kLayout.sumsOffset();

  int row; // the first one in the CTA
  int first, last;
  uint8_t *ring;

  __device__ __forceinline__ explicit WarpShare(uint8_t *shared) {
    int warp = threadIdx.x / 32, part = warp / Shape::kRowWarps;
    row = warp % Shape::kRowWarps * Shape::kRows;
    first = part * Stream::kStages / Shape::kColumnWarps;
    last = (part + 1) * Stream::kStages / Shape::kColumnWarps;
    ring = shared + warp * Stream::kRingBytes;
  }
};

/// Sums of all warps of a CTA, in shared memory in the place of the rings: a
/// row for each part and token, kPitch floats apart.
template <typename Shape, typename Stream>
struct StreamSums {
  static constexpr int kPitch = WarpShare<Shape, Stream>::kLayout.sumsPitch();

  /// Call by all warps when their products are complete. Afterwards, every
  /// thread may read at(); nobody may write to the rings before a barrier.
  static __device__ __forceinline__ void collect(const Stream &stream,
                                                 float *sums) {
    int warp = threadIdx.x / 32;
    int rowWarp = warp % Shape::kRowWarps, part = warp / Shape::kRowWarps;
    __syncthreads(); // the rings are done with
    stream.template store<kPitch>(sums + part * Shape::kTokens * kPitch +
                                  rowWarp * Shape::kRows);
    __syncthreads();
  }
  static __device__ __forceinline__ const float *at(const float *sums, int part,
                                                    int token, int row) {
    return sums + (part * Shape::kTokens + token) * kPitch + row;
  }
};

/// Tokens that are encoded where they are used: in shared memory, codes of
/// `most` <= Shape::kTokens tokens, then their factors.
template <int group, int most, typename W, typename Shape>
struct ResidentTokens {
  static_assert(most <= Shape::kTokens, "a warp multiplies all tokens");
  using Codes = Matrix<e4m3, Shape::kTokens, W::kCols, W::kCols>;
  using Stream = typename Shape::template Stream<W, Codes, true>;
  // As wide as the columns, a single group may be cut by a stage.
  static constexpr int kGroup =
      W::kCols <= group ? Stream::kStages * Stream::kStageColumns : group;
  static constexpr int kGroups = (W::kCols + group - 1) / group;
  static constexpr ResidentLayout kLayout = {most, W::kCols, kGroups};
  static constexpr int kTokenBytes = kLayout.tokenBytes(Stream::kLayout);
  using Encoder =
      TokenCodes<group, most, W::kCols, Stream::kStages * Stream::kStageColumns,
                 kTokenBytes, Shape::kTokens>;
  static_assert(Encoder::kBytes == kLayout.bytes(Stream::kLayout),
                "the planner reserves what the kernel uses");
  /// Behind the rings and sums of a CTA; or, when each warp has tokens of its
  /// own, behind its ring, kWarpBytes in all.
  static constexpr int kOffset =
      WarpShare<Shape, Stream>::kLayout.residentOffset();
  static constexpr int kWarpBytes = kLayout.warpBytes(Stream::kLayout);

  static __device__ __forceinline__ void attach(typename Stream::Source &source,
                                                const uint8_t *codes) {
#pragma unroll
    for (int i = 0; i < Shape::kTokenTiles; ++i) {
      int token = i * 8 + threadIdx.x % 32 / 4;
      source.residents[i] = codes + (token < most ? token : 0) * kTokenBytes;
    }
    source.residentFactors =
        reinterpret_cast<const float *>(codes + Encoder::kCodeBytes);
  }
};

} // namespace saddle::device
