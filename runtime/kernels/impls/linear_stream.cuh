// linear and linear_scaled for few tokens: weights stream once through the
// tensor cores (tile/stream.cuh). Rows of the weight are divided over the grid
// and the warps of a CTA, columns over the other warps of a CTA, whose sums are
// added in order. Quantised activations are encoded once, by a function before.
// Floor: the bytes of w over the memory bandwidth. Limits: rows begin at
// multiples of 16 bytes, and scales belong to multiples of a stage's columns.

#pragma once

#include "runtime/kernels/abi.h"
#include "runtime/kernels/ptx/launch.cuh"
#include "runtime/kernels/tile/quantize.cuh"
#include "runtime/kernels/tile/stream.cuh"
#include "runtime/kernels/tile/weights.cuh"

namespace saddle::device {

/// Writes the codes of x and the scales of its groups of `group` columns. A
/// warp takes a group. CTAs before `firstBlock` take none.
template <int extent, int group, typename X, typename Codes, typename Factors>
__device__ void encodeRows(const LaunchParams &p, const void *x, void *codes,
                           void *factors, int firstBlock = 0) {
  constexpr int64_t kGroups = Factors::kCols;
  int64_t total = static_cast<int64_t>(p.step->counts[extent]) * kGroups;
  int64_t warps =
      static_cast<int64_t>(gridDim.x - firstBlock) * (blockDim.x / 32);
  int64_t block = static_cast<int64_t>(blockIdx.x) - firstBlock;
  for (int64_t i = (block * blockDim.x + threadIdx.x) / 32; i < total;
       i += warps) {
    int64_t row = i / kGroups, first = i % kGroups * group;
    const typename X::Element *from = X::row(x, row) + first;
    e4m3 *to = Codes::row(codes, row) + first;
    int64_t left = X::kCols - first;
    GroupEncoder<group> encoder;
    int here = static_cast<int>(left < group ? left : group);
    encoder.load(from, here);
    float scale = groupScale(warpMax(encoder.largest()));
    encoder.store(here, scale, [&](int k, e4m3 code) { to[k] = code; });
    if (threadIdx.x % 32 == 0)
      Factors::row(factors, row)[i % kGroups] = scale;
  }
}

/// Tokens that are what they say.
struct PlainTokens {
  static constexpr bool kScaled = false;
  static constexpr int kGroup = 1;
};
/// Codes with one factor per `group` columns.
template <typename Factors, int group>
struct ScaledTokens {
  static constexpr bool kScaled = true;
  static constexpr int kGroup = group;
  static __device__ __forceinline__ const float *row(const void *base,
                                                     int64_t index) {
    return Factors::row(base, index);
  }
};

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

  /// The warp's rows: `left` of them from `first` on.
  template <typename W, typename Source>
  static __device__ __forceinline__ void
  setRows(Source &source, const typename W::Element *first, int left) {
#pragma unroll
    for (int i = 0; i < kTiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        int row = i * 16 + half * 8;
        source.rows[i][half] = first + row * W::kStride;
        source.rowCount[i][half] = (left < rows ? left : rows) - row;
      }
  }
};

/// Sums of all warps of a CTA, in shared memory behind the rings: a row for
/// each part and token, kPitch floats apart.
template <typename Shape>
struct StreamSums {
  static constexpr int kPitch = Shape::kCtaRows + 4;

  /// Call by all warps when their products are complete. Afterwards, every
  /// thread may read at(); nobody may write to the rings before a barrier.
  template <typename Stream>
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
  static constexpr int kCodeBytes = most * Stream::kResidentBytes;
  static constexpr int kBytes = kCodeBytes + kGroups * Shape::kTokens * 4;
  /// Behind the rings and sums of a CTA.
  static constexpr int kRings =
      Shape::kRowWarps * Shape::kColumnWarps * Stream::kRingBytes;
  static constexpr int kSums =
      Shape::kColumnWarps * Shape::kTokens * (Shape::kCtaRows + 4) * 4;
  static constexpr int kOffset =
      ((kRings > kSums ? kRings : kSums) + 15) / 16 * 16;

  /// Warps 0 .. warps - 1 encode tokens 0 .. count - 1, rowOf(token).
  template <typename T, typename RowOf>
  static __device__ __forceinline__ void
  encode(uint8_t *codes, int count, int warp, int warps, RowOf rowOf) {
    int lane = threadIdx.x % 32;
    auto *factors = reinterpret_cast<float *>(codes + kCodeBytes);
    count = count < most ? count : most;
    // Four groups at a time, so that their loads and shuffles overlap.
    constexpr int kBatch = 4;
    int total = count * kGroups;
    for (int i = warp; i < total; i += kBatch * warps) {
      GroupEncoder<group> encoders[kBatch];
      float largest[kBatch];
#pragma unroll
      for (int j = 0; j < kBatch; ++j) {
        int task = i + j * warps < total ? i + j * warps : i;
        encoders[j].load(rowOf(task / kGroups) + task % kGroups * group,
                         W::kCols - task % kGroups * group);
      }
#pragma unroll
      for (int j = 0; j < kBatch; ++j)
        largest[j] = encoders[j].largest();
#pragma unroll
      for (int distance = 16; distance > 0; distance /= 2)
#pragma unroll
        for (int j = 0; j < kBatch; ++j)
          largest[j] = fmaxf(largest[j],
                             __shfl_xor_sync(kFullWarp, largest[j], distance));
#pragma unroll
      for (int j = 0; j < kBatch; ++j) {
        int task = i + j * warps;
        if (task >= total)
          continue;
        int token = task / kGroups, part = task % kGroups;
        uint8_t *to = codes + token * Stream::kResidentBytes + part * group;
        float scale = groupScale(largest[j]);
        encoders[j].store(W::kCols - part * group, scale,
                          [&](int k, e4m3 code) { to[k] = code.__x; });
        if (lane == 0)
          factors[part * Shape::kTokens + token] = scale;
        // Columns behind the last one are zeros.
        if (part == kGroups - 1)
          for (int k = W::kCols - part * group + lane;
               k < Stream::kStages * Stream::kStageColumns - part * group;
               k += 32)
            to[k] = 0;
      }
    }
  }

  static __device__ __forceinline__ void attach(typename Stream::Source &source,
                                                const uint8_t *codes) {
#pragma unroll
    for (int i = 0; i < Shape::kTokenTiles; ++i) {
      int token = i * 8 + threadIdx.x % 32 / 4;
      source.residents[i] =
          codes + (token < most ? token : 0) * Stream::kResidentBytes;
    }
    source.residentFactors =
        reinterpret_cast<const float *>(codes + kCodeBytes);
  }
};

/// Adds the parts of a CTA, in order, and turns rows of weights into columns of
/// out.
template <typename Shape, typename Out, int64_t rows, typename Stream>
__device__ __forceinline__ void storeLinear(const Stream &stream, float *sums,
                                            void *out, int firstToken,
                                            int count, int ctaRow) {
  using Sums = StreamSums<Shape>;
  Sums::collect(stream, sums);
  for (int i = threadIdx.x; i < Shape::kTokens * Shape::kCtaRows;
       i += blockDim.x) {
    int token = i / Shape::kCtaRows, row = i % Shape::kCtaRows;
    if (firstToken + token >= count || ctaRow + row >= rows)
      continue;
    float sum = 0;
#pragma unroll
    for (int j = 0; j < Shape::kColumnWarps; ++j)
      sum += *Sums::at(sums, j, token, row);
    Out::row(out, firstToken + token)[ctaRow + row] =
        fromFloat<typename Out::Element>(sum);
  }
}

/// out = x w^T. The grid: blocks of rows, then blocks of tokens. Waits for what
/// is before it itself, after it has begun to fetch weights.
template <int extent, typename X, typename W, typename Out, typename Shape,
          typename Scale = Unscaled, typename Tokens = PlainTokens>
__device__ void linearStream(const LaunchParams &p, const void *x,
                             const void *factors) {
  static_assert(Tokens::kScaled || !Scale::kScaled,
                "scaled weights go with encoded tokens");
  using Stream = typename Shape::template Stream<W, X>;
  extern __shared__ __align__(16) uint8_t shared[];
  allowNext();
  int count = p.step->counts[extent];
  int firstToken = blockIdx.y * Shape::kTokens;
  if (firstToken >= count)
    return waitForPrevious(); // a kernel is complete after those before it
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  int rowWarp = warp % Shape::kRowWarps, part = warp / Shape::kRowWarps;
  int ctaRow = blockIdx.x * Shape::kCtaRows;
  int firstRow = ctaRow + rowWarp * Shape::kRows;

  typename Stream::Source source;
  Shape::template setRows<W>(source, W::row(p.operands[1], firstRow),
                             W::kRows - firstRow);
  source.tokens = x;
#pragma unroll
  for (int i = 0; i < Stream::kTokenCopies; ++i) {
    int token = Stream::tokenOf(i);
    source.tokenRow[i] = token < Shape::kTokens && firstToken + token < count
                             ? firstToken + token
                             : -1;
  }
  if constexpr (Tokens::kScaled) {
#pragma unroll
    for (int i = 0; i < (Shape::kTokens + 31) / 32; ++i) {
      int token = firstToken + i * 32 + lane;
      source.tokenFactors[i] =
          token < count ? Tokens::row(factors, token) : nullptr;
    }
    int row = firstRow + lane * 8;
    source.rowFactors =
        row < W::kRows ? Scale::row(p.operands[2], 0, row) : nullptr;
  }
  Stream stream;
  stream.clear();
  uint8_t *ring = shared + warp * Stream::kRingBytes;
  int first = part * Stream::kStages / Shape::kColumnWarps;
  int last = (part + 1) * Stream::kStages / Shape::kColumnWarps;
  stream.template begin<Tokens::kGroup, Scale::kBlockCols>(
      source, ring, first, last, [] { waitForPrevious(); });
  stream.template finish<Tokens::kGroup, Scale::kBlockCols>(source, ring, first,
                                                            last);

  storeLinear<Shape, Out, W::kRows>(stream, reinterpret_cast<float *>(shared),
                                    p.operands[Scale::kScaled ? 3 : 2],
                                    firstToken, count, ctaRow);
}

/// The same with x encoded by every CTA on the fly, for few tokens. Behind the
/// rings, shared memory has the codes and then the factors. Waits itself.
template <int extent, int group, typename X, typename W, typename Out,
          typename Shape, typename Scale>
__device__ void linearEncodeStream(const LaunchParams &p) {
  constexpr int kMost = X::kRows < Shape::kTokens ? X::kRows : Shape::kTokens;
  using Resident = ResidentTokens<group, kMost, W, Shape>;
  using Stream = typename Resident::Stream;
  extern __shared__ __align__(16) uint8_t shared[];
  allowNext();
  int count = p.step->counts[extent];
  int firstToken = blockIdx.y * Shape::kTokens;
  if (firstToken >= count)
    return waitForPrevious(); // a kernel is complete after those before it
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  int rowWarp = warp % Shape::kRowWarps, part = warp / Shape::kRowWarps;
  int ctaRow = blockIdx.x * Shape::kCtaRows;
  int firstRow = ctaRow + rowWarp * Shape::kRows;

  typename Stream::Source source;
  Shape::template setRows<W>(source, W::row(p.operands[1], firstRow),
                             W::kRows - firstRow);
  int row = firstRow + lane * 8;
  source.rowFactors =
      row < W::kRows ? Scale::row(p.operands[2], 0, row) : nullptr;
  uint8_t *ring = shared + warp * Stream::kRingBytes;
  int first = part * Stream::kStages / Shape::kColumnWarps;
  int last = (part + 1) * Stream::kStages / Shape::kColumnWarps;
  Stream stream;
  stream.clear();
  stream.template begin<Resident::kGroup, Scale::kBlockCols>(
      source, ring, first, last, [] { waitForPrevious(); });
  uint8_t *codes = shared + Resident::kOffset;
  Resident::template encode<typename X::Element>(
      codes, count - firstToken, warp, Shape::kRowWarps * Shape::kColumnWarps,
      [&](int token) { return X::row(p.operands[0], firstToken + token); });
  Resident::attach(source, codes);
  __syncthreads();
  stream.template finish<Resident::kGroup, Scale::kBlockCols>(source, ring,
                                                              first, last);
  storeLinear<Shape, Out, W::kRows>(stream, reinterpret_cast<float *>(shared),
                                    p.operands[Scale::kScaled ? 3 : 2],
                                    firstToken, count, ctaRow);
}

} // namespace saddle::device
