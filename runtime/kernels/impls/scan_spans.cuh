// decay_scan of a prompt by CTAs that have some of its tokens each: the tokens
// of a launch are cut into spans, and no more than one sequence crosses the
// edge of two. First, what its tokens in a span add to its state, for all spans
// at once; then each span begins with the sum of what those before it added,
// decayed, and goes on as scan_blocks.cuh has it. For as many spans as fill the
// machine. Floor: that of scan_blocks.cuh for the blocks of a span, and half of
// the products once more. Measured, before products of a block were ordered
// anew: 268 us for 2048 tokens of 64 heads in two spans. A sequence whose
// tokens do not follow one another goes to the CTAs of its first span alone.

#pragma once

#include "runtime/kernels/impls/scan_blocks.cuh"

namespace saddle::device {

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

/// Grid: parts of each head, then spans but the last.
template <typename S, int warps, int sharedBytes, int span, int spans>
__device__ void scanSpanSums(const LaunchParams &p, const double *slopes) {
  using Tiles = ScanTiles<S, warps>;
  static_assert(Tiles::kBytes == sharedBytes,
                "the launch reserves what the tiles need");
  extern __shared__ __align__(16) uint8_t shared[];
  __shared__ uint32_t masks[warps];
  uint32_t begin = blockIdx.y * span, end = begin + span;
  SequenceSearch<Tiles::kThreads> search{S::sequences(p), S::tokens(p), masks};
  if (end >= search.tokens || search.begins(end) ||
      !S::isSlot(search.sequences[end]) ||
      !search.isOneRun(search.sequences[end]))
    return;
  i32 sequence = search.sequences[end];
  while (search.sequences[begin] != sequence)
    begin = search.endOf(begin, end);
  bool starts = search.begins(begin);
  Tiles tiles(shared);
  ScanWarp<S, warps> warp(p, tiles, slopes);
  SpanStates<S, spans> states{p, warp.head};
  int number = static_cast<int>(blockIdx.y);
  search.tokens = end;
  int decayed = warp.template walk<false>(search, sequence, begin, [&] {
    if (!starts)
      return warp.clear();
    // The slot's will have changed when this span comes to it.
    warp.load(S::stateOf(p, sequence, warp.head));
    warp.store(states.first(number));
  });
  warp.store(states.carried(number + 1));
  states.decayed(number + 1) = starts ? -1 : decayed;
}

/// Grid: parts of each head, then spans.
template <typename S, int warps, int sharedBytes, int span, int spans>
__device__ void scanSpans(const LaunchParams &p, const double *slopes) {
  using Tiles = ScanTiles<S, warps>;
  static_assert(Tiles::kBytes == sharedBytes,
                "the launch reserves what the tiles need");
  extern __shared__ __align__(16) uint8_t shared[];
  __shared__ uint32_t masks[warps];
  SequenceSearch<Tiles::kThreads> search{S::sequences(p), S::tokens(p), masks};
  int number = static_cast<int>(blockIdx.y);
  uint32_t token = blockIdx.y * span;
  uint32_t end = min(token + span, search.tokens);
  if (token >= end)
    return;
  Tiles tiles(shared);
  ScanWarp<S, warps> warp(p, tiles, slopes);
  SpanStates<S, spans> states{p, warp.head};
  for (uint32_t next; token < end; token = next) {
    next = search.endOf(token, end);
    i32 sequence = search.sequences[token];
    if (!S::isSlot(sequence)) {
      warp.zero(token, next);
    } else if (search.isOneRun(sequence)) {
      bool starts = search.begins(token);
      bool ends = next == search.tokens || search.begins(next);
      float *slot = S::stateOf(p, sequence, warp.head);
      SequenceSearch<Tiles::kThreads> inSpan = search;
      inSpan.tokens = next;
      warp.template walk<true>(inSpan, sequence, token, [&] {
        if (starts)
          return warp.load(ends ? slot : states.first(number));
        int known = number;
        while (states.decayed(known) >= 0)
          --known;
        warp.load(states.carried(known));
        while (known < number) {
          ++known;
          warp.addAfter(states.decayed(known), states.carried(known));
        }
      });
      if (ends)
        warp.store(slot);
    } else if (search.isFirst(token, sequence)) {
      warp.walkAll(search, sequence, token);
    }
  }
}

} // namespace saddle::device
