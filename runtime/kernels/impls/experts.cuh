// experts for any shape, type and stride, and the sum over a
// token's experts that all versions share. Three functions: `up` makes the
// gated activations of each (token, choice) pair, roundToGroups quantises them
// when the op says so, `down` multiplies them and adds a token's experts. What
// rotated weights are multiplied by is rotated before.
//
// Operands: x, weights, experts, w13 and w2 with their companions behind them,
// out. rankValues: expert_start.

#pragma once

#include "runtime/kernels/impls/linear.cuh"

namespace saddle::device {

/// Which operand is where. Both weights have as many companions.
template <int companions>
struct ExpertOperands {
  static constexpr int kX = 0, kWeights = 1, kExperts = 2, kW13 = 3,
                       kScale13 = 4, kW2 = kW13 + 1 + companions,
                       kScale2 = kW2 + 1, kOut = kW2 + 1 + companions;
};

/// The place here of the expert that a token chose, or -1 when this rank does
/// not hold it.
template <int64_t held>
__device__ __forceinline__ int64_t heldExpert(const LaunchParams &p,
                                              int32_t chosen) {
  int64_t expert =
      static_cast<int64_t>(chosen) - static_cast<int64_t>(p.rankValues[0]);
  return expert >= 0 && expert < held ? expert : -1;
}

/// Calls visit(slot, expert) for a token's choices that are held here, in
/// ascending order of experts and then of slots.
template <typename Experts, int64_t held, typename Visit>
__device__ __forceinline__ void forEachChoice(const LaunchParams &p,
                                              int64_t token, Visit visit) {
  const int32_t *chosen = Experts::row(p.operands[2], token);
  int64_t last = -1; // visited: expert * slots + slot
  while (true) {
    int64_t next = INT64_MAX;
    for (int slot = 0; slot < Experts::kCols; ++slot) {
      int64_t expert = heldExpert<held>(p, chosen[slot]);
      int64_t key = expert * Experts::kCols + slot;
      if (expert >= 0 && key > last && key < next)
        next = key;
    }
    if (next == INT64_MAX)
      return;
    visit(static_cast<int>(next % Experts::kCols), next / Experts::kCols);
    last = next;
  }
}

/// A token's choices that are held here, sorted as forEachChoice() visits them,
/// by the threads of a CTA.
template <int count>
struct SortedChoices {
  int slots[count]; // -1 from the first one on that is not held here
  float weights[count];

  /// By a warp, of which each lane has read what the token chose for its slot,
  /// and the factor. Choices of other ranks come last, in any case. Everything
  /// is there after the next barrier.
  template <int64_t held>
  __device__ __forceinline__ void sort(const LaunchParams &p, int chosen,
                                       float factor) {
    static_assert(count <= 32, "a lane has a choice");
    int lane = threadIdx.x % 32, place = 0;
    int64_t mine = heldExpert<held>(p, chosen);
    mine = mine < 0 ? held : mine;
    for (int other = 0; other < count; ++other) {
      int it = __shfl_sync(kFullWarp, static_cast<int>(mine), other);
      place += it < mine || (it == mine && other < lane);
    }
    if (lane < count) {
      slots[place] = mine < held ? lane : -1;
      weights[place] = factor;
    }
  }
};

__device__ __forceinline__ float silu(float x) { return x / (1.0f + expf(-x)); }

/// inner[t * slots + s] = silu(gate) * up of the expert that token t chose in
/// slot s; undefined where it is not held here. A warp takes one column.
/// `held` experts of StoredWeights; `x` is where to read x, `inner` dense fp32.
template <int extent, typename X, typename Experts, typename W13, int64_t held>
__device__ void expertsUpAnyShape(const LaunchParams &p, const void *x,
                                  void *inner) {
  using At = ExpertOperands<0>;
  constexpr int64_t kInner = W13::kRows / held / 2;
  int64_t total =
      static_cast<int64_t>(p.step->counts[extent]) * Experts::kCols * kInner;
  int64_t warps = static_cast<int64_t>(gridDim.x) * (blockDim.x / 32);
  for (int64_t i =
           (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
       i < total; i += warps) {
    int64_t pair = i / kInner, column = i % kInner;
    int64_t token = pair / Experts::kCols;
    int64_t expert =
        heldExpert<held>(p, Experts::row(p.operands[At::kExperts],
                                         token)[pair % Experts::kCols]);
    if (expert < 0)
      continue;
    float gate[1], up[1];
    auto read = [&](int, int64_t k) { return toFloat(X::row(x, token)[k]); };
    auto row = [&](int64_t index) {
      return
          typename W13::Row(p.operands + At::kW13, expert, 2 * kInner, index);
    };
    dotRows(gate, 1, read, row(column), W13::kCols);
    dotRows(up, 1, read, row(kInner + column), W13::kCols);
    if (threadIdx.x % 32 == 0)
      static_cast<float *>(inner)[pair * kInner + column] =
          silu(gate[0]) * up[0];
  }
}

/// Calls visit(pair, part) for `parts` parts of each pair that is held here, a
/// warp for each.
template <int extent, int64_t parts, typename Experts, int64_t held,
          typename Visit>
__device__ __forceinline__ void forEachHeldPart(const LaunchParams &p,
                                                Visit visit) {
  int64_t total =
      static_cast<int64_t>(p.step->counts[extent]) * Experts::kCols * parts;
  int64_t warps = static_cast<int64_t>(gridDim.x) * (blockDim.x / 32);
  for (int64_t i =
           (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
       i < total; i += warps) {
    int64_t pair = i / parts;
    if (heldExpert<held>(
            p, Experts::row(p.operands[2],
                            pair / Experts::kCols)[pair % Experts::kCols]) >= 0)
      visit(pair, i % parts);
  }
}

/// Rounds the rows of held pairs in place, as roundToGroups does.
template <int extent, int64_t group, int64_t inner, typename Experts,
          int64_t held>
__device__ void roundInner(const LaunchParams &p, void *values) {
  constexpr int64_t kGroups = (inner + group - 1) / group;
  forEachHeldPart<extent, kGroups, Experts, held>(p, [&](int64_t pair,
                                                         int64_t part) {
    int64_t first = part * group;
    float *row = static_cast<float *>(values) + pair * inner + first;
    int count = static_cast<int>(inner - first < group ? inner - first : group);
    float scale = encodeLongGroup(
        count, [&](int64_t k) { return row[k]; },
        [&](int64_t k, e4m3 code) { row[k] = toFloat(code); });
    for (int k = threadIdx.x % 32; k < count; k += 32)
      row[k] *= scale;
  });
}

/// Rotates the rows of held pairs in place, as rotateRows does.
template <int extent, int columns, int64_t inner, typename Experts,
          int64_t held>
__device__ void rotateInner(const LaunchParams &p, void *values) {
  constexpr int64_t kGroups = inner / columns;
  static_assert(kGroups * columns == inner, "rows are whole groups");
  forEachHeldPart<extent, kGroups, Experts, held>(p, [&](int64_t pair,
                                                         int64_t part) {
    float *group = static_cast<float *>(values) + pair * inner + part * columns;
    rotateTo<columns>(group, group);
  });
}

/// out = the sum over a token's experts held here of weight * w2(inner). A warp
/// takes one element of out. The w2 is operand `w2At`.
template <int extent, typename Weights, typename Experts, int w2At, typename W2,
          typename Out, int64_t held>
__device__ void expertsDownAnyShape(const LaunchParams &p, const void *inner) {
  using At = ExpertOperands<0>;
  int64_t total = static_cast<int64_t>(p.step->counts[extent]) * Out::kCols;
  int64_t warps = static_cast<int64_t>(gridDim.x) * (blockDim.x / 32);
  for (int64_t i =
           (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
       i < total; i += warps) {
    int64_t token = i / Out::kCols, column = i % Out::kCols;
    float sum = 0;
    forEachChoice<Experts, held>(p, token, [&](int slot, int64_t expert) {
      const float *row = static_cast<const float *>(inner) +
                         (token * Experts::kCols + slot) * W2::kCols;
      float value[1];
      dotRows(
          value, 1, [&](int, int64_t k) { return row[k]; },
          typename W2::Row(p.operands + w2At, expert, Out::kCols, column),
          W2::kCols);
      sum += Weights::row(p.operands[At::kWeights], token)[slot] * value[0];
    });
    if (threadIdx.x % 32 == 0)
      Out::row(p.operands[w2At + W2::kOperands], token)[column] =
          fromFloat<typename Out::Element>(sum);
  }
}

} // namespace saddle::device
