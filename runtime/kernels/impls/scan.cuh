// decay_scan token by token: a CTA has some columns of the state of one head
// and sequence in registers, for as long as the launch has tokens of the
// sequence. The state is read and written once. Floor: 8 bytes for each value
// of the states that are touched over the memory bandwidth; a head of 128 x 128
// is 128 KiB, one sequence of 64 heads 8 MiB or 1.9 us. Any size up to 512
// rows, any element types; some 300 ns for each further token of a sequence.
// Prompts are better off with scan_blocks.cuh.

#pragma once

#include "runtime/kernels/abi.h"
#include "runtime/kernels/shared/scan.h"
#include "runtime/kernels/tile/matrix.cuh"
#include "runtime/kernels/tile/reduce.cuh"

namespace saddle::device {

/// A launch: `heads` states of `rows` x `cols` in each of `slots` slots, of
/// sequences. Operands qkv, positions, sequences, state, out; rank value 0 is
/// the number of the first head, and real 0 the rate of the layer.
template <int extent, int64_t slots, int heads, int rows, int cols,
          typename QKV, typename Out>
struct Scan {
  using Value = typename QKV::Element;
  using Result = typename Out::Element;
  static constexpr int kHeads = heads, kRows = rows, kCols = cols;
  static constexpr int kWidth = 2 * rows + cols; // q, k and v of a head
  static_assert(QKV::kCols == heads * kWidth && Out::kCols == heads * cols,
                "rows are q, k and v of each head, and one output of each");

  /// What a head forgets in a token: minus the logarithm of its decay. `slopes`
  /// are those of all heads of the model.
  static __device__ __forceinline__ double
  rateOf(const LaunchParams &p, const double *slopes, int head) {
    return p.reals[0] * slopes[p.rankValues[0] + head];
  }
  static __device__ __forceinline__ uint32_t tokens(const LaunchParams &p) {
    return p.step->counts[extent];
  }
  static __device__ __forceinline__ const i32 *
  sequences(const LaunchParams &p) {
    return static_cast<const i32 *>(p.operands[2]);
  }
  static __device__ __forceinline__ i32 position(const LaunchParams &p,
                                                 uint32_t token) {
    return static_cast<const i32 *>(p.operands[1])[token];
  }
  static __device__ __forceinline__ bool isSlot(i32 sequence) {
    return sequence >= 0 && sequence < slots;
  }
  static __device__ __forceinline__ const Value *
  headOf(const LaunchParams &p, uint32_t token, int head) {
    return QKV::row(p.operands[0], token) + head * kWidth;
  }
  static __device__ __forceinline__ float *stateOf(const LaunchParams &p,
                                                   i32 sequence, int head) {
    return static_cast<float *>(p.operands[3]) +
           (static_cast<int64_t>(sequence) * heads + head) * rows * cols;
  }
  static __device__ __forceinline__ Result *outOf(const LaunchParams &p,
                                                  uint32_t token, int head) {
    return Out::row(p.operands[4], token) + head * cols;
  }
};

/// Finds tokens of sequences, by all `threads` threads of a CTA at once. Tokens
/// of a sequence may lie anywhere; mostly they follow one another.
template <int threads>
struct SequenceSearch {
  static constexpr int kWarps = threads / 32;
  const i32 *sequences;
  uint32_t tokens;
  uint32_t *masks; // shared, one of each warp

  /// Calls visit(first token, mask) for each 32 tokens of `threads` from `base`
  /// on, in order, until it returns true; false when it never does.
  template <typename Test, typename Visit>
  __device__ __forceinline__ bool among(uint32_t base, Test test,
                                        Visit visit) const {
    uint32_t token = base + threadIdx.x;
    uint32_t mask = __ballot_sync(kFullWarp, token < tokens && test(token));
    if (threadIdx.x % 32 == 0)
      masks[threadIdx.x / 32] = mask;
    __syncthreads();
    bool done = false;
    for (int warp = 0; warp < kWarps && !done; ++warp)
      done = visit(base + warp * 32, masks[warp]);
    __syncthreads();
    return done;
  }

  /// The first token of `sequence` from `from` on, or `tokens`.
  __device__ __forceinline__ uint32_t next(i32 sequence, uint32_t from) const {
    if (from < tokens && sequences[from] == sequence)
      return from;
    uint32_t found = tokens;
    for (uint32_t base = from; base < tokens; base += threads)
      if (among(
              base,
              [&](uint32_t token) { return sequences[token] == sequence; },
              [&](uint32_t first, uint32_t mask) {
                if (mask != 0)
                  found = first + __ffs(static_cast<int>(mask)) - 1;
                return mask != 0;
              }))
        break;
    return found;
  }

  /// Whether no token before `token` is of its sequence.
  __device__ __forceinline__ bool isFirst(uint32_t token, i32 sequence) const {
    if (token > 0 && sequences[token - 1] == sequence)
      return false;
    bool found = false;
    for (uint32_t i = threadIdx.x; i < token; i += threads)
      found |= sequences[i] == sequence;
    return !__syncthreads_or(found);
  }

  /// Where the `number`-th run of tokens of one sequence begins, or `tokens`.
  __device__ __forceinline__ uint32_t run(uint32_t number) const {
    uint32_t found = tokens;
    for (uint32_t base = 0; base < tokens; base += threads)
      if (among(
              base,
              [&](uint32_t token) {
                return token == 0 || sequences[token] != sequences[token - 1];
              },
              [&](uint32_t first, uint32_t mask) {
                uint32_t count = __popc(mask);
                if (number >= count) {
                  number -= count;
                  return false;
                }
                for (; number > 0; --number)
                  mask &= mask - 1;
                found = first + __ffs(static_cast<int>(mask)) - 1;
                return true;
              }))
        break;
    return found;
  }

  /// Calls visit(token, its sequence) for tokens that may be the first of their
  /// sequence: the launch has one row of CTAs for each token, or for some runs.
  template <bool everyToken, typename Visit>
  __device__ __forceinline__ void forEach(Visit visit) const {
    if constexpr (everyToken) {
      // Asked for together with the count: there is room for all.
      uint32_t token = blockIdx.y;
      i32 sequence = sequences[token];
      if (token < tokens)
        visit(token, sequence);
    } else {
      for (uint32_t number = blockIdx.y;; number += gridDim.y) {
        uint32_t token = run(number);
        if (token >= tokens)
          return;
        visit(token, sequences[token]);
      }
    }
  }
};

/// `columns` columns of the state of a head, from `begin` on: a thread has
/// `count` of them in some rows.
template <typename S, int columns, int count>
struct StateColumns {
  static constexpr int kLanes = columns / count;
  static_assert(kLanes * count == columns && kLanes <= 32 && 32 % kLanes == 0,
                "a warp has whole rows of the CTA's columns");
  static constexpr int kGroups = kScanThreads / kLanes;
  static constexpr int kRowsOfThread = (S::kRows + kGroups - 1) / kGroups;
  static_assert(kRowsOfThread * count <= kScanValues,
                "a thread has its values in registers");
  using Values = Vector<float, count>;

  int begin = static_cast<int>(blockIdx.x) % kParts * columns;
  int group = static_cast<int>(threadIdx.x) / kLanes;
  int column = begin + static_cast<int>(threadIdx.x) % kLanes * count;
  Values held[kRowsOfThread];

  static constexpr int kParts = (S::kCols + columns - 1) / columns;

  __device__ __forceinline__ int rowOf(int i) const {
    return i * kGroups + group;
  }
  __device__ __forceinline__ bool isMine(int i) const {
    return rowOf(i) < S::kRows && column < S::kCols;
  }
  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < kRowsOfThread; ++i)
      held[i] = {};
  }
  __device__ __forceinline__ void load(const float *state) {
#pragma unroll
    for (int i = 0; i < kRowsOfThread; ++i)
      held[i] = isMine(i) ? *reinterpret_cast<const Values *>(
                                state + rowOf(i) * S::kCols + column)
                          : Values{};
  }
  __device__ __forceinline__ void store(float *state) const {
#pragma unroll
    for (int i = 0; i < kRowsOfThread; ++i)
      if (isMine(i))
        *reinterpret_cast<Values *>(state + rowOf(i) * S::kCols + column) =
            held[i];
  }
};

/// Grid: parts of `columns` columns of each head, then rows of CTAs as
/// SequenceSearch::forEach has them. `slopes`: S::rateOf.
template <typename S, int columns, int count, bool everyToken>
__device__ void scanTokens(const LaunchParams &p, const double *slopes) {
  using State = StateColumns<S, columns, count>;
  constexpr int kWarps = kScanThreads / 32;
  __shared__ float asks[S::kRows], adds[S::kRows]; // q and k
  __shared__ float sums[kWarps][columns];
  __shared__ uint32_t masks[kWarps];
  __shared__ float loss; // the decay minus one
  int thread = static_cast<int>(threadIdx.x);
  int head = static_cast<int>(blockIdx.x) / State::kParts;
  SequenceSearch<kScanThreads> search{S::sequences(p), S::tokens(p), masks};

  search.template forEach<everyToken>([&](uint32_t token, i32 sequence) {
    State state;
    bool isSlot = S::isSlot(sequence), changed = false;
    // What a sequence before left in the slot does not matter.
    if (isSlot && S::position(p, token) != 0)
      state.load(S::stateOf(p, sequence, head));
    else
      state.clear();
    // While that is on its way.
    if (thread == 0)
      loss = static_cast<float>(expm1(-S::rateOf(p, slopes, head)));
    if (!search.isFirst(token, sequence))
      return;
    while (token < search.tokens) {
      i32 position = S::position(p, token);
      bool real = isSlot && position >= 0;
      float values[count] = {};
      if (real) {
        const typename S::Value *row = S::headOf(p, token, head);
        for (int i = thread; i < S::kRows; i += kScanThreads) {
          asks[i] = toFloat(row[i]);
          adds[i] = toFloat(row[S::kRows + i]);
        }
#pragma unroll
        for (int j = 0; j < count; ++j)
          if (state.column < S::kCols)
            values[j] = toFloat(row[2 * S::kRows + state.column + j]);
        if (position == 0)
          state.clear();
        changed = true;
      }
      __syncthreads();
      float results[count] = {};
      if (real)
#pragma unroll
        for (int i = 0; i < State::kRowsOfThread; ++i) {
          if (state.rowOf(i) >= S::kRows)
            continue;
          float ask = asks[state.rowOf(i)], add = adds[state.rowOf(i)];
#pragma unroll
          for (int j = 0; j < count; ++j) {
            float &held = state.held[i][j];
            held += fmaf(loss, held, add * values[j]);
            results[j] = fmaf(ask, held, results[j]);
          }
        }
#pragma unroll
      for (int j = 0; j < count; ++j) {
#pragma unroll
        for (int distance = 16; distance >= State::kLanes; distance /= 2)
          results[j] += __shfl_xor_sync(kFullWarp, results[j], distance);
        if (thread % 32 < State::kLanes)
          sums[thread / 32][state.column - state.begin + j] = results[j];
      }
      __syncthreads();
      if (thread < columns && state.begin + thread < S::kCols) {
        float sum = 0;
#pragma unroll
        for (int warp = 0; warp < kWarps; ++warp)
          sum += sums[warp][thread];
        S::outOf(p, token, head)[state.begin + thread] =
            fromFloat<typename S::Result>(sum);
      }
      token = search.next(sequence, token + 1);
    }
    if (changed)
      state.store(S::stateOf(p, sequence, head));
  });
}

} // namespace saddle::device
