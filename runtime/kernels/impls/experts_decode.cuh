// experts for a handful of tokens, in two functions:
//
//   up    per (token, choice) pair and rows of w13: encodes the token, streams
//         the rows, silu(gate) * up, fp32
//   down  per token and rows of w2: a warp per choice encodes its activations
//         and streams the rows; the CTA adds the choices in ascending order
//
// Pairs that share an expert read its weights twice, the second time from L2
// mostly. Floor: the bytes of the chosen experts over the memory bandwidth.
// Limits: as linear_stream.cuh, e4m3 weights.

#pragma once

#include "runtime/kernels/impls/experts_gated.cuh"
#include "runtime/kernels/ptx/launch.cuh"

namespace saddle::device {

/// inner[pair] = silu(gate) * up. The grid: blocks of columns, choices, tokens.
template <int extent, int group, typename X, typename Experts, typename W13,
          int64_t held, typename Shape, typename Scale>
__device__ void expertsUpDecode(const LaunchParams &p, float *inner) {
  using At = ExpertOperands<Scale::kIsThere>;
  using Resident = ResidentTokens<group, 1, W13, Shape>;
  using Stream = typename Resident::Stream;
  using Gated = GatedRows<W13, held, Shape, Stream, Scale>;
  extern __shared__ __align__(16) uint8_t shared[];
  int token = blockIdx.z, slot = blockIdx.y;
  // Both loads at once: rows behind the count have choices of nobody.
  int32_t chosen = Experts::row(p.operands[At::kExperts], token)[slot];
  bool isToken = token < p.step->counts[extent];
  int64_t expert = heldExpert<held>(p, chosen);
  if (!isToken || expert < 0)
    return;
  WarpShare<Shape, Stream> share(shared);
  int ctaColumn = blockIdx.x * Gated::kCtaColumns;
  typename Stream::Source source;
  Gated::set(source, p, expert, ctaColumn, share);
  Stream stream;
  stream.clear();
  // The token is asked for before the weights, behind which it would wait.
  uint8_t *codes = shared + Resident::kOffset;
  Resident::Encoder::encode(
      codes, 1, threadIdx.x / 32, Shape::kRowWarps * Shape::kColumnWarps,
      [&](int) { return X::row(p.operands[0], token); },
      [&] {
        stream.template begin<Resident::kGroup, Scale::kBlockCols>(
            source, share.ring, share.first, share.last, [] {});
      });
  Resident::attach(source, codes);
  __syncthreads();
  stream.template finish<Resident::kGroup, Scale::kBlockCols>(
      source, share.ring, share.first, share.last);
  float *sums = reinterpret_cast<float *>(shared);
  Gated::Sums::collect(stream, sums);
  for (int c = threadIdx.x; c < Gated::kCtaColumns; c += blockDim.x) {
    if (ctaColumn + c >= Gated::kInner)
      continue;
    inner[(static_cast<int64_t>(token) * Experts::kCols + slot) *
              Gated::kInner +
          ctaColumn + c] = Gated::activation(sums, 0, c);
  }
}

/// out[token] = the sum over its experts held here of weight * w2 inner[pair].
/// The grid: blocks of Shape::kRows rows, tokens. Every warp has choices of its
/// own; shared memory has a ring and a resident token for each. Waits itself:
/// fetches weights while `up` still runs.
template <int extent, int group, typename Weights, typename Experts,
          typename W2, typename Out, int64_t held, typename Shape,
          typename Scale>
__device__ void expertsDownDecode(const LaunchParams &p, const float *inner) {
  using At = ExpertOperands<Scale::kIsThere>;
  constexpr int kSlots = Experts::kCols;
  constexpr int kHidden = W2::kRows / held;
  using Resident = ResidentTokens<group, 1, W2, Shape>;
  using Stream = typename Resident::Stream;
  static_assert(Shape::kRowWarps == 1 && Shape::kColumnWarps == 1,
                "a warp has all rows and columns");
  extern __shared__ __align__(16) uint8_t shared[];
  __shared__ SortedChoices<kSlots> choices;
  __shared__ float products[kSlots][Shape::kTiles * 16];
  allowNext();
  int token = blockIdx.y;
  if (token >= p.step->counts[extent])
    return waitForPrevious(); // a kernel is complete after those before it
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  int firstRow = blockIdx.x * Shape::kRows;
  uint8_t *ring = shared + warp * Resident::kWarpBytes;
  uint8_t *codes = ring + Stream::kRingBytes;
  // The choices were there before the first function began; its results are
  // not yet.
  const int32_t *chosen = Experts::row(p.operands[At::kExperts], token);
  int ofLane = lane < kSlots ? chosen[lane] : 0;
  float factor = lane < kSlots ? Weights::row(p.operands[1], token)[lane] : 0;
  for (int slot = warp; slot < kSlots; slot += blockDim.x / 32) {
    int64_t expert = heldExpert<held>(p, chosen[slot]);
    if (expert < 0)
      continue;
    typename Stream::Source source;
    Shape::template setRows<W2>(
        source, W2::row(p.operands[At::kW2], expert * kHidden + firstRow),
        kHidden - firstRow);
    int row = firstRow + lane * 8;
    source.rowFactors = row < kHidden
                            ? Scale::row(p.operands[At::kScale2], expert, row)
                            : nullptr;
    Stream stream;
    stream.clear();
    stream.template begin<Resident::kGroup, Scale::kBlockCols>(
        source, ring, 0, Stream::kStages, waitForPrevious);
    // All that registers hold at once: the loads of a second round would follow
    // the codes of the first. Where there are more rounds, these cost
    // registers.
    constexpr int kAtOnce = Resident::kGroups <= 12 ? Resident::kGroups : 8;
    Resident::Encoder::template encode<kAtOnce>(codes, 1, 0, 1, [&](int) {
      return inner + (static_cast<int64_t>(token) * kSlots + slot) * W2::kCols;
    });
    Resident::attach(source, codes);
    __syncwarp();
    stream.template finish<Resident::kGroup, Scale::kBlockCols>(
        source, ring, 0, Stream::kStages);
    if (lane % 4 == 0) // the first token's column
#pragma unroll
      for (int i = 0; i < Shape::kTiles; ++i) {
        products[slot][i * 16 + lane / 4] = stream.sums[i][0][0];
        products[slot][i * 16 + 8 + lane / 4] = stream.sums[i][0][2];
      }
  }
  if (warp == 0)
    choices.template sort<held>(p, ofLane, factor);
  waitForPrevious();
  __syncthreads();
  int row = threadIdx.x;
  if (row >= Shape::kRows || firstRow + row >= kHidden)
    return;
  float sum = 0;
  for (int i = 0; i < kSlots && choices.slots[i] >= 0; ++i)
    sum += choices.weights[i] * products[choices.slots[i]][row];
  Out::row(p.operands[At::kOut], token)[firstRow + row] =
      fromFloat<typename Out::Element>(sum);
}

} // namespace saddle::device
