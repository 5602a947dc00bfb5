// What every exchange of a group does, whatever it moves.
//
// The group's memory is the same block at the same place on every member, used
// by all exchanges of the group one after the other:
//
//   ExchangeState | packets
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
// starts nothing earlier: waitForPrevious() comes first.

#pragma once

#include "runtime/kernels/comm/patience.cuh"
#include "runtime/kernels/ptx/launch.cuh"

namespace saddle::device {

/// CTAs that may wait for their counterparts on other members.
constexpr int kMaxWaitingBlocks = 32;

/// The part that all exchanges of a group have in common; zero at first.
struct alignas(256) ExchangeState {
  uint32_t epoch;    // of the last exchange
  uint32_t finished; // CTAs of the exchange in progress
  uint32_t broken;   // this rank has given up: waits end at once
  uint32_t packets;  // the most that an exchange has used
  uint32_t reserved[60];
  // Written by the members; [epoch % 2].
  WordPair headers[2][kMaxGroup];
  uint32_t flags[2][2][kMaxWaitingBlocks][kMaxGroup]; // [..][round][CTA]
};
static_assert(sizeof(ExchangeState) == 35072,
              "passes/Cuda/Plans/Exchange.cpp counts on it");

/// Data and the epoch that it belongs to, which is how a receiver knows that it
/// has come.
__device__ __forceinline__ uint64_t stamped(uint32_t data, uint32_t epoch) {
  return static_cast<uint64_t>(epoch) << 32 | data;
}
__device__ __forceinline__ bool isStamped(WordPair pair, uint32_t epoch) {
  return pair.first >> 32 == epoch && pair.second >> 32 == epoch;
}

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
    uint32_t last = loadRelaxed(&state->epoch);
    // 0 would be what untouched memory holds, and 1 has the parity of the last.
    epoch = last == 0xffffffff ? 2 : last + 1;
    allowNext();
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
                                 p.group->peers[member]);
  }
  template <typename T>
  __device__ __forceinline__ const T *at(uint32_t member, const T *mine) const {
    return reinterpret_cast<const T *>(reinterpret_cast<const char *>(mine) +
                                       p.group->peers[member]);
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
      WordPair header = loadRelaxed(&state->headers[epoch % 2][member]);
      if (isStamped(header, epoch) && !agrees(member, header))
        return false;
      if (!patience.lasts(p, &state->broken, p.group->ranks[member], epoch,
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
      came &= waitFor(i, [&] { return loadAcquire(&flags[i]) == epoch; });
    }
    return __syncthreads_and(came);
  }

  /// The end: all members were at this exchange. `packets` is how many of them
  /// the exchange can use.
  __device__ __forceinline__ void finish(uint32_t packets = 0) {
    if (blockIdx.x == 0)
      for (uint32_t i = threadIdx.x; i < size; i += blockDim.x) {
        if (i == me)
          continue;
        WordPair header;
        if (waitFor(i, [&] {
              header = loadRelaxed(&state->headers[epoch % 2][i]);
              return isStamped(header, epoch);
            }))
          agrees(i, header);
      }
    __syncthreads();
    if (threadIdx.x != 0 || atomicAdd(&state->finished, 1) != gridDim.x - 1)
      return;
    state->finished = 0;
    if (state->packets < packets)
      state->packets = packets;
    state->epoch = epoch;
  }

  const LaunchParams &p;
  ExchangeState *const state;
  const uint32_t me;
  uint32_t epoch;

private:
  /// Whether the member is at the same exchange as this rank; raises a fault if
  /// not.
  __device__ __forceinline__ bool agrees(uint32_t member, WordPair header) {
    uint32_t theirCommand = static_cast<uint32_t>(header.first),
             theirCount = static_cast<uint32_t>(header.second);
    if (theirCommand == command && theirCount == count)
      return true;
    if (theirCommand != command)
      raiseFault(p, &state->broken, p.group->ranks[member], kFaultElsewhere,
                 command & 0xffff, theirCommand & 0xffff);
    else
      raiseFault(p, &state->broken, p.group->ranks[member], kFaultMismatch,
                 count, theirCount);
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
    uint32_t count = state->packets;
    for (uint32_t i = threadIdx.x; i < count; i += blockDim.x)
      packets[i / 32 * 64 + unused * 32 + i % 32] = {0, 0};
    uint32_t *flags = &state->flags[unused][0][0][0];
    for (uint32_t i = threadIdx.x; i < sizeof(state->flags[0]) / 4;
         i += blockDim.x)
      flags[i] = 0;
    __threadfence_system();
    __syncthreads();
  }

  const uint32_t count, command;
};

/// Distances to all members in registers, `first` before the others; for loops
/// that would otherwise read them from memory again and again. Indices must be
/// constants once loops are unrolled.
template <int size>
class Distances {
public:
  __device__ __forceinline__ Distances(const LaunchParams &p, uint32_t first) {
#pragma unroll
    for (uint32_t i = 0; i < kHeld; ++i)
      held[i] = p.group->peers[(first + i) % size];
    group = p.group;
    this->first = first;
  }
  template <typename T>
  __device__ __forceinline__ T *apply(uint32_t i, T *mine) const {
    int64_t bytes = i < kHeld ? held[i] : group->peers[(first + i) % size];
    return reinterpret_cast<T *>(reinterpret_cast<uint64_t>(mine) + bytes);
  }

private:
  static constexpr uint32_t kHeld = size < 8 ? size : 8;
  int64_t held[kHeld];
  const Group *group;
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

} // namespace saddle::device
