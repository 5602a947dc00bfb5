// decay_scan token by token: a CTA has some columns of the state of one head
// and sequence in registers, for as long as the launch has tokens of the
// sequence. The state is read and written once. With silu_decay_scan q, k and v
// come before their SiLU, which they get on the way. Floor: 8 bytes for each
// value of the states that are touched over the memory bandwidth; a head of 128
// x 128 is 128 KiB, one sequence of 64 heads 8 MiB or 1.9 us. Measured: 86 % of
// the bandwidth for 64 sequences of 64 heads, 6 us for one. Any size up to
// 4096 rows, any element types; a microsecond or so for each further token of
// a sequence. Prompts are better off with scan_tiles.cuh.

#pragma once

#include "runtime/kernels/impls/elementwise.cuh"
#include "runtime/kernels/ptx/barrier.cuh"
#include "runtime/kernels/ptx/fragments.cuh"
#include "runtime/kernels/shared/scan.h"
#include "runtime/kernels/tile/matrix.cuh"
#include "runtime/kernels/tile/reduce.cuh"

namespace saddle::device {

/// A launch: `heads` states of `rows` x `cols` in each of `slots` slots, of
/// sequences. Operands qkv, positions, sequences, state, out; `activates`:
/// state and out change places, and q, k and v are the SiLU of what is there,
/// rounded as the op does. Rank value 0 is the number of the first head, and
/// real 0 the rate of the layer.
template <int extent, int64_t slots, int heads, int rows, int cols,
          typename QKV, typename Out, bool activates = false>
struct Scan {
  using Value = typename QKV::Element;
  using Result = typename Out::Element;
  static constexpr int kHeads = heads, kRows = rows, kCols = cols;
  static constexpr int kWidth = 2 * rows + cols;   // q, k and v of a head
  static constexpr int64_t kStride = QKV::kStride; // of tokens
  static constexpr bool kActivates = activates;
  static constexpr int kState = activates ? 4 : 3, kOut = activates ? 3 : 4;
  static_assert(QKV::kCols == heads * kWidth && Out::kCols == heads * cols,
                "rows are q, k and v of each head, and one output of each");

  static __device__ __forceinline__ float widen(Value value) {
    float x = toFloat(value);
    return activates ? toFloat(fromFloat<Value>(gated<Value>(x, x))) : x;
  }
  /// Eight bf16 of q, k or v.
  static __device__ __forceinline__ uint4 activate(uint4 values) {
    if constexpr (!activates)
      return values;
    return {activatePair(values.x), activatePair(values.y),
            activatePair(values.z), activatePair(values.w)};
  }
  static __device__ __forceinline__ uint32_t activatePair(uint32_t pair) {
    float2 x = bf16Values(pair);
    return bf16Pair(gated<bf16>(x.x, x.x), gated<bf16>(x.y, x.y));
  }
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
    return static_cast<float *>(p.operands[kState]) +
           (static_cast<int64_t>(sequence) * heads + head) * rows * cols;
  }
  static __device__ __forceinline__ Result *outOf(const LaunchParams &p,
                                                  uint32_t token, int head) {
    return Out::row(p.operands[kOut], token) + head * cols;
  }
};

/// All threads of a CTA.
template <int threads>
struct WholeCta {
  static constexpr int kThreads = threads;
  static __device__ __forceinline__ int thread() {
    return static_cast<int>(threadIdx.x);
  }
  static __device__ __forceinline__ void meet() { __syncthreads(); }
  static __device__ __forceinline__ bool meetAny(bool mine) {
    return __syncthreads_or(mine);
  }
  static __device__ __forceinline__ int meetCount(bool mine) {
    return __syncthreads_count(mine);
  }
};

/// The threads of a CTA from `first` on; they meet at barrier `id`.
template <int id, int first, int threads>
struct LastWarps {
  static constexpr int kThreads = threads;
  static __device__ __forceinline__ int thread() {
    return static_cast<int>(threadIdx.x) - first;
  }
  static __device__ __forceinline__ void meet() { device::meet<id, threads>(); }
  static __device__ __forceinline__ bool meetAny(bool mine) {
    return device::meetAny<id, threads>(mine);
  }
  static __device__ __forceinline__ int meetCount(bool mine) {
    return device::meetCount<id, threads>(mine);
  }
};

/// Finds tokens of sequences, by all threads of a team at once. Tokens of a
/// sequence may lie anywhere; mostly they follow one another.
template <typename Team>
struct SequenceSearch {
  static constexpr int kThreads = Team::kThreads, kWarps = kThreads / 32;
  const i32 *sequences;
  uint32_t tokens;
  uint32_t *masks; // shared, one of each warp

  /// The first token in from .. to - 1 that passes, or `to`.
  template <typename Test>
  __device__ __forceinline__ uint32_t find(uint32_t from, uint32_t to,
                                           Test test) const {
    // Many loads on their way at a time: a prompt may be long.
    constexpr uint32_t kAtOnce = 8;
    for (uint32_t base = from; base < to; base += kAtOnce * kThreads) {
      uint32_t first = to;
#pragma unroll
      for (uint32_t i = 0; i < kAtOnce; ++i) {
        uint32_t token = base + i * kThreads + Team::thread();
        if (token < to && test(token))
          first = min(first, token);
      }
      first = __reduce_min_sync(kFullWarp, first);
      if (Team::thread() % 32 == 0)
        masks[Team::thread() / 32] = first;
      Team::meet();
      for (int warp = 0; warp < kWarps; ++warp)
        first = min(first, masks[warp]);
      Team::meet();
      if (first < to)
        return first;
    }
    return to;
  }

  /// The first token of `sequence` from `from` on, or `tokens`.
  __device__ __forceinline__ uint32_t next(i32 sequence, uint32_t from) const {
    if (from < tokens && sequences[from] == sequence)
      return from;
    return find(from, tokens,
                [&](uint32_t token) { return sequences[token] == sequence; });
  }

  /// Where the run ends that `token` is in, but not behind `to`.
  __device__ __forceinline__ uint32_t endOf(uint32_t token, uint32_t to) const {
    i32 sequence = sequences[token];
    return find(token, to,
                [&](uint32_t each) { return sequences[each] != sequence; });
  }

  /// Whether a run begins with `token`.
  __device__ __forceinline__ bool begins(uint32_t token) const {
    return token == 0 || sequences[token] != sequences[token - 1];
  }

  /// Whether all tokens of `sequence`, which has some, are one run.
  __device__ __forceinline__ bool isOneRun(i32 sequence) const {
    int runs = 0;
#pragma unroll 8
    for (uint32_t token = Team::thread(); token < tokens; token += kThreads)
      runs += sequences[token] == sequence && begins(token);
    bool several = Team::meetAny(runs > 1);
    return Team::meetCount(runs > 0) == 1 && !several;
  }

  struct Others {
    bool earlier, later;
  };
  /// Whether tokens before and behind `token` are of its sequence.
  __device__ __forceinline__ Others others(uint32_t token, i32 sequence) const {
    bool earlier = false, later = false;
    for (uint32_t i = Team::thread(); i < tokens; i += kThreads) {
      bool same = sequences[i] == sequence;
      earlier |= same && i < token;
      later |= same && i > token;
    }
    bool hasEarlier = Team::meetAny(earlier);
    return {hasEarlier, Team::meetAny(later)};
  }

  /// Whether no token before `token` is of its sequence.
  __device__ __forceinline__ bool isFirst(uint32_t token, i32 sequence) const {
    if (token > 0 && sequences[token - 1] == sequence)
      return false;
    bool found = false;
    for (uint32_t i = Team::thread(); i < token; i += kThreads)
      found |= sequences[i] == sequence;
    return !Team::meetAny(found);
  }

  /// Where the `number`-th run of tokens of one sequence begins, or `tokens`.
  __device__ __forceinline__ uint32_t run(uint32_t number) const {
    uint32_t found = tokens;
    for (uint32_t base = 0; base < tokens && found == tokens;
         base += kThreads) {
      uint32_t token = base + Team::thread();
      uint32_t first =
          __ballot_sync(kFullWarp, token < tokens && begins(token));
      if (Team::thread() % 32 == 0)
        masks[Team::thread() / 32] = first;
      Team::meet();
      for (int warp = 0; warp < kWarps && found == tokens; ++warp) {
        uint32_t mask = masks[warp], count = __popc(mask);
        if (number >= count) {
          number -= count;
          continue;
        }
        for (; number > 0; --number)
          mask &= mask - 1;
        found = base + warp * 32 + __ffs(static_cast<int>(mask)) - 1;
      }
      Team::meet();
    }
    return found;
  }

  /// Calls visit(token, its sequence) for tokens that may be the first of their
  /// sequence: the launch has one row of CTAs for each token, or for some runs.
  template <bool everyToken, typename Visit>
  __device__ __forceinline__ void forEach(Visit visit) const {
    if constexpr (everyToken) {
      // Asked for together with the count: there is room for all.
      uint32_t token = blockIdx.y;
      i32 sequence = const_cast<const volatile i32 *>(sequences)[token];
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

/// q, k and a thread's values of v of a token, on their way to a CTA.
template <typename S, int count>
struct TokenValues {
  static constexpr int kPieces =
      (2 * S::kRows + kScanThreads - 1) / kScanThreads;
  typename S::Value shared[kPieces], own[count];

  /// `column`: of v; not below 0 unless there is none.
  __device__ __forceinline__ void load(const typename S::Value *row,
                                       int column) {
#pragma unroll
    for (int i = 0; i < kPieces; ++i)
      if (int at = i * kScanThreads + static_cast<int>(threadIdx.x);
          at < 2 * S::kRows)
        shared[i] = row[at];
#pragma unroll
    for (int j = 0; j < count; ++j)
      own[j] = column < 0 ? fromFloat<typename S::Value>(0)
                          : row[2 * S::kRows + column + j];
  }
  /// q, then k.
  __device__ __forceinline__ void share(float *values) const {
#pragma unroll
    for (int i = 0; i < kPieces; ++i)
      if (int at = i * kScanThreads + static_cast<int>(threadIdx.x);
          at < 2 * S::kRows)
        values[at] = S::widen(shared[i]);
  }
  __device__ __forceinline__ void widen(float (&values)[count]) const {
#pragma unroll
    for (int j = 0; j < count; ++j)
      values[j] = S::widen(own[j]);
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
  /// Known without looking where the CTA has whole rows and columns.
  __device__ __forceinline__ bool hasRow(int i) const {
    return S::kRows % kGroups == 0 || rowOf(i) < S::kRows;
  }
  __device__ __forceinline__ bool hasColumn() const {
    return S::kCols % columns == 0 || column < S::kCols;
  }
  __device__ __forceinline__ bool isMine(int i) const {
    return hasRow(i) && hasColumn();
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
    for (int i = 0; i < kRowsOfThread; ++i) {
      if (!isMine(i))
        continue;
      float *to = state + rowOf(i) * S::kCols + column;
      if constexpr (count == 4)
        storeFour(to, held[i][0], held[i][1], held[i][2], held[i][3]);
      else
        *reinterpret_cast<Values *>(to) = held[i];
    }
  }
};

/// Grid: parts of `columns` columns of each head, then rows of CTAs as
/// SequenceSearch::forEach has them. `slopes`: S::rateOf.
template <typename S, int columns, int count, bool everyToken>
__device__ void scanTokens(const LaunchParams &p, const double *slopes) {
  using State = StateColumns<S, columns, count>;
  constexpr int kWarps = kScanThreads / 32;
  __shared__ float asksAndAdds[2 * S::kRows]; // q and k
  __shared__ float sums[kWarps][columns];
  __shared__ uint32_t masks[kWarps];
  __shared__ float loss; // the decay minus one
  int thread = static_cast<int>(threadIdx.x);
  int head = static_cast<int>(blockIdx.x) / State::kParts;
  SequenceSearch<WholeCta<kScanThreads>> search{S::sequences(p), S::tokens(p),
                                                masks};

  search.template forEach<everyToken>([&](uint32_t token, i32 sequence) {
    State state;
    TokenValues<S, count> values;
    i32 position = S::position(p, token);
    bool isSlot = S::isSlot(sequence), changed = false;
    int column = state.hasColumn() ? state.column : -1;
    // All that is read is on its way before anything waits. What a sequence
    // before left in the slot does not matter.
    values.load(S::headOf(p, token, head), column);
    if (isSlot && position != 0)
      state.load(S::stateOf(p, sequence, head));
    else
      state.clear();
    if (thread == 0)
      loss = static_cast<float>(expm1(-S::rateOf(p, slopes, head)));
    auto [hasEarlier, hasLater] = search.others(token, sequence);
    if (hasEarlier)
      return;
    for (;;) {
      bool real = isSlot && position >= 0;
      values.share(asksAndAdds);
      float own[count];
      values.widen(own);
      if (position == 0)
        state.clear();
      changed |= real;
      __syncthreads();
      float results[count] = {};
      if (real)
#pragma unroll
        for (int i = 0; i < State::kRowsOfThread; ++i) {
          if (!state.hasRow(i))
            continue;
          float ask = asksAndAdds[state.rowOf(i)];
          float add = asksAndAdds[S::kRows + state.rowOf(i)];
#pragma unroll
          for (int j = 0; j < count; ++j) {
            float &held = state.held[i][j];
            held += fmaf(loss, held, add * own[j]);
            results[j] = fmaf(ask, held, results[j]);
          }
        }
      if (!hasLater && changed)
        state.store(S::stateOf(p, sequence, head));
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
      if (!hasLater)
        return;
      uint32_t next = search.next(sequence, token + 1);
      if (next >= search.tokens)
        break;
      token = next;
      position = S::position(p, token);
      values.load(S::headOf(p, token, head), column);
    }
    if (changed)
      state.store(S::stateOf(p, sequence, head));
  });
}

} // namespace saddle::device
