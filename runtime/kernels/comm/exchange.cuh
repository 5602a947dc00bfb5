// What every exchange of a group does, whatever it moves.
//
// The group's memory is the same block at the same place on every member, used
// by all exchanges of the group one after the other:
//
//   ExchangeState | packets                             (shared/exchange.h)
//
// An exchange has an epoch, one more than the one before it, counted by each
// member for itself: read by every CTA at its start, advanced by the last CTA
// to finish. Nothing of it comes from the host, so a graph can be replayed.
//
// In each exchange, even one without rows, a member sends a header to all
// others, and does not finish before it has theirs. Hence, when a member works
// on epoch e + 1, every other one has finished e - 1 (its header of epoch e is
// sent by a kernel that began when that of e - 1 was over) and has read all
// that was sent to it in e - 1. So two buffers, taken in turn, are enough, and
// nothing has to be cleared: what is read is checked against the epoch.
//
// That argument needs that a kernel sees all writes of the one before it and
// starts nothing earlier: waitForPrevious() comes first. The next kernel may
// become resident before that (allowNext()), since it waits, too.
//
// A rank that runs alone has all its peers at distance 0: it is looped back.
// What it sends to anyone arrives in its own slot of its own memory, and there
// it looks for what others would have sent (slotOf). So every exchange takes
// the steps and the epochs that it always takes, and every member seems to have
// sent what this rank did.

#pragma once

#include "runtime/kernels/comm/patience.cuh"
#include "runtime/kernels/ptx/launch.cuh"

namespace saddle::device {

/// Data and the epoch that it belongs to, which is how a receiver knows that it
/// has come.
__device__ __forceinline__ uint64_t stamped(uint32_t data, uint32_t epoch) {
  return static_cast<uint64_t>(epoch) << 32 | data;
}
__device__ __forceinline__ bool isStamped(WordPair pair, uint32_t epoch) {
  return pair.first >> 32 == epoch && pair.second >> 32 == epoch;
}

/// Which kernel an exchange belongs to.
enum class ExchangeKind : uint32_t {
  AllReduceOneShot = 1,
  AllReduceTwoShots = 2,
  AllReduceBulk = 3,
  AllGatherPackets = 4,
  AllGatherBulk = 5,
  ReduceScatterPackets = 6,
  ReduceScatterBulk = 7,
  Transfer = 8,
  QKNorm = 32,
  NormGate = 33,
  AllReduceDivide = 34,
};
/// Tells apart what cannot be exchanged with one another: kind, and shape and
/// type of a member's part, in 16 bits.
constexpr uint32_t signatureOf(ExchangeKind kind, int64_t rows, int64_t cols,
                               uint64_t elementBytes) {
  uint64_t value = 1469598103934665603ull;
  const uint64_t parts[] = {static_cast<uint64_t>(kind),
                            static_cast<uint64_t>(rows),
                            static_cast<uint64_t>(cols), elementBytes};
  for (uint64_t part : parts)
    value = (value ^ part) * 1099511628211ull;
  return static_cast<uint32_t>(value >> 40) & 0xffff;
}
template <ExchangeKind kind, typename M>
constexpr uint32_t kSignature =
    signatureOf(kind, M::kRows, M::kCols, sizeof(typename M::Element));

/// One exchange among `size` members, as one thread sees it. All threads of all
/// CTAs construct it and call finish(), in uniform control flow.
template <int size>
class Exchange {
  static_assert(size >= 2 && size <= kMaxGroup, "a group has 2 to 64 members");

public:
  /// `signature` tells exchanges apart that do not fit together; `count` is
  /// what the members must agree on besides.
  __device__ __forceinline__ Exchange(const LaunchParams &p, uint32_t signature,
                                      uint32_t count)
      : p(p), state(static_cast<ExchangeState *>(p.exchange)),
        me(p.group->index), count(count),
        command((signature << 16) | (p.command & 0xffff)) {
    // All that has to be fetched before the first packet, at once: nothing
    // that waits for one of these loads stands between them.
    __shared__ int64_t ofMembers[size];
    __shared__ uint32_t last;
    // By one thread: those of a hundred CTAs would queue for one line of L2.
    uint32_t ofThisRank = 0;
    if (threadIdx.x == 0)
      ofThisRank = loadRelaxed(&state->epoch);
    for (uint32_t i = threadIdx.x; i < size; i += blockDim.x)
      ofMembers[i] = p.group->peers[i];
    distances = ofMembers;
    if (threadIdx.x == 0)
      last = ofThisRank;
    __syncthreads();
    // 0 would be what untouched memory holds, and 1 has the parity of the last.
    epoch = last == 0xffffffff ? 2 : last + 1;
    isLooped = ofMembers[me == 0 ? 1 : 0] == 0;
    // This CTA knows the epoch; when all do, it may be advanced (finish(),
    // where the number is looked at first: a hundred CTAs count for a
    // microsecond).
    if (threadIdx.x == 0)
      begunBefore = countRelaxed(&state->begun);
    if (blockIdx.x != 0)
      return;
    if ((epoch & 0x7fffffff) / 2 == 1)
      clearStale();
    for (uint32_t i = threadIdx.x; i < size; i += blockDim.x)
      if (i != me)
        storeRelaxed(at(i, &state->headers[epoch % 2][me]),
                     {stamped(command, epoch), stamped(count, epoch)});
  }

  /// The same place on a member.
  template <typename T>
  __device__ __forceinline__ T *at(uint32_t member, T *mine) const {
    return reinterpret_cast<T *>(reinterpret_cast<char *>(mine) +
                                 distances[member]);
  }
  template <typename T>
  __device__ __forceinline__ const T *at(uint32_t member, const T *mine) const {
    return reinterpret_cast<const T *>(reinterpret_cast<const char *>(mine) +
                                       distances[member]);
  }

  /// The slot of this rank's memory that a member writes to.
  __device__ __forceinline__ uint32_t slotOf(uint32_t member) const {
    return isLooped ? me : member;
  }

  /// Polls until `isReady()`; false when that is hopeless. `member` is who is
  /// waited for, as of the last poll.
  template <typename IsReady>
  __device__ __forceinline__ bool waitFor(const uint32_t &member,
                                          IsReady isReady) {
    Patience patience;
    while (!isReady()) {
      if (!patience.runsOut())
        continue;
      WordPair header = loadRelaxed(&state->headers[epoch % 2][slotOf(member)]);
      if (isStamped(header, epoch) && !agrees(member, header))
        return false;
      if (!patience.lasts(p, &state->mark, p.group->ranks[member], epoch,
                          header.first >> 32))
        return false;
    }
    return true;
  }

  /// Returns when this CTA's counterparts on all members have come to the same
  /// call: all that happened before it on one member is visible behind it on
  /// the others. Round 0 or 1, each once in an exchange. False when a member
  /// does not come; the same for all threads of the CTA.
  __device__ __forceinline__ bool meet(int round) {
    __syncthreads();
    bool came = true;
    uint32_t *flags = state->flags[epoch % 2][round][blockIdx.x];
    for (uint32_t i = threadIdx.x; i < size; i += blockDim.x) {
      if (i == me)
        continue;
      // The barrier above put the other threads' accesses in front of this.
      storeRelease(at(i, &flags[me]), epoch);
      came &=
          waitFor(i, [&] { return loadAcquire(&flags[slotOf(i)]) == epoch; });
    }
    return __syncthreads_and(came);
  }

  /// The end: all members were at this exchange. `packets` is how many of them
  /// the exchange can use. CTA `looking` looks for the members' headers, which
  /// takes it a round trip.
  __device__ __forceinline__ void finish(uint32_t packets = 0,
                                         uint32_t looking = 0) {
    if (blockIdx.x == looking)
      for (uint32_t i = threadIdx.x; i < size; i += blockDim.x) {
        if (i == me)
          continue;
        WordPair header;
        if (waitFor(i, [&] {
              header = loadRelaxed(&state->headers[epoch % 2][slotOf(i)]);
              return isStamped(header, epoch);
            }))
          agrees(i, header);
      }
    if (threadIdx.x != 0 || begunBefore != gridDim.x - 1)
      return;
    state->begun = 0;
    if (state->packets < packets)
      state->packets = packets;
    state->epoch = epoch;
  }

  const LaunchParams &p;
  ExchangeState *const state;
  const uint32_t me;
  uint32_t epoch;
  const int64_t *distances; // of all members, in shared memory
  bool isLooped;            // peers are this rank itself

private:
  /// Whether the member is at the same exchange as this rank; raises a fault if
  /// not.
  __device__ __forceinline__ bool agrees(uint32_t member, WordPair header) {
    uint32_t theirCommand = static_cast<uint32_t>(header.first),
             theirCount = static_cast<uint32_t>(header.second);
    if (theirCommand == command && theirCount == count)
      return true;
    if (theirCommand != command)
      raiseFault(p, &state->mark, p.group->ranks[member], kFaultElsewhere,
                 command & 0xffff, theirCommand & 0xffff);
    else
      raiseFault(p, &state->mark, p.group->ranks[member], kFaultMismatch, count,
                 theirCount);
    return false;
  }

  /// Epochs come back after 2^32 exchanges (hours), and a packet that only a
  /// rare kernel uses may be as old. So every 2^31 exchanges everything stamped
  /// is cleared, one buffer in each of two epochs that follow one another: the
  /// one that is not in use now. What was sent to this rank in it has been
  /// read, and members write to it again when they have this epoch's header,
  /// which is sent after this.
  __device__ __forceinline__ void clearStale() {
    uint32_t unused = (epoch + 1) % 2;
    WordPair *packets = reinterpret_cast<WordPair *>(state + 1);
    constexpr uint32_t kEach = kPacketInterleave;
    uint32_t count = state->packets;
    for (uint32_t i = threadIdx.x; i < count; i += blockDim.x)
      packets[(i / kEach * kPacketBuffers + unused) * kEach + i % kEach] = {0,
                                                                            0};
    uint32_t *flags = &state->flags[unused][0][0][0];
    for (uint32_t i = threadIdx.x; i < sizeof(state->flags[0]) / 4;
         i += blockDim.x)
      flags[i] = 0;
    __threadfence_system();
    __syncthreads();
  }

  const uint32_t count, command;
  uint32_t begunBefore = 0; // CTAs, in the first thread
};

/// Distances to all members, `first` before the others, for loops over much
/// data. When `inRegisters`, indices must be constants once loops are unrolled
/// (by kUnroll).
template <int size, bool inRegisters>
class Distances {
public:
  static constexpr bool kIsHeld = inRegisters && size <= 8;
  static constexpr int kUnroll = kIsHeld ? size : 1;

  __device__ __forceinline__ Distances(const Exchange<size> &exchange,
                                       uint32_t first)
      : all(exchange.distances), first(first) {
    if constexpr (kIsHeld)
#pragma unroll
      for (uint32_t i = 0; i < size; ++i)
        held[i] = all[(first + i) % size];
  }
  template <typename T>
  __device__ __forceinline__ T *apply(uint32_t i, T *mine) const {
    int64_t bytes;
    if constexpr (kIsHeld)
      bytes = held[i];
    else
      bytes = all[(first + i) % size];
    return reinterpret_cast<T *>(reinterpret_cast<uint64_t>(mine) + bytes);
  }

private:
  int64_t held[kIsHeld ? size : 1];
  const int64_t *all;
  uint32_t first;
};

/// Calls f(unit) for each unit below `count` that is this thread's.
template <typename Function>
__device__ __forceinline__ void forEachUnit(uint32_t count, Function f) {
  uint32_t step = gridDim.x * blockDim.x;
  for (uint32_t unit = blockIdx.x * blockDim.x + threadIdx.x; unit < count;
       unit += step)
    f(unit);
}

/// The same for `size` units at a time, to have as many accesses under way.
template <int size>
struct Batch {
  uint32_t first, step, count;
  __device__ __forceinline__ uint32_t unit(int k) const {
    return first + k * step;
  }
  __device__ __forceinline__ bool has(int k) const { return unit(k) < count; }
};
template <int size, typename Function>
__device__ __forceinline__ void forEachBatch(uint32_t count, Function f) {
  uint32_t step = gridDim.x * blockDim.x;
  for (uint32_t unit = blockIdx.x * blockDim.x + threadIdx.x; unit < count;
       unit += size * step)
    f(Batch<size>{unit, step, count});
}

} // namespace saddle::device
