// What the rank threads of a transport share, and the reasoning over who waits
// for whom.

#ifndef SADDLE_RUNTIME_COMM_STATE_H
#define SADDLE_RUNTIME_COMM_STATE_H

#include "runtime/src/comm/Lapses.h"
#include "runtime/src/comm/ThreadTransport.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>

namespace saddle::comm {

/// One rank group. Everything but `generation` is guarded by State::mutex.
struct Group {
  const Partition *partition;
  std::vector<uint32_t> ranks;

  std::condition_variable changed;
  /// Counts finished collectives; waiters spin on it before they sleep.
  std::atomic<uint64_t> generation{0};
  uint32_t arrived = 0;
  bool executing = false; // the last to arrive works, without the mutex
  // By member; valid for those that arrived.
  std::vector<bool> present;
  std::vector<Call> calls;
  std::vector<std::vector<uint64_t>> counts;
  // Working memory of exchange().
  std::vector<Buffers> buffers;
  std::vector<float> scratch;
};

/// Messages from one rank to another: a ring of which the sender fills a cell
/// before it counts it as sent, and the receiver empties it before it counts
/// it as taken. The counters are guarded by State::mutex.
struct Mailbox {
  struct Cell {
    View view; // of the sender
    const char *place;
    uint64_t rows, tag;
    std::vector<uint8_t> bytes; // dense
  };
  std::vector<Cell> cells;
  uint64_t sent = 0, taken = 0;
  std::condition_variable changed;
};

/// What a rank waits for; nothing when there is neither group nor mailbox.
struct Wait {
  Group *group = nullptr;
  Mailbox *mailbox = nullptr;
  uint32_t peer = 0; // at the mailbox's other end
};

/// Written by its own rank, read by all.
struct alignas(64) Heartbeat {
  std::atomic<Clock::rep> time{0};
  std::atomic<const char *> place{nullptr};
};

struct ThreadTransport::State {
  State(uint32_t world, std::vector<Partition> partitions,
        const ThreadTransportOptions &options);

  ThreadTransportOptions options;
  unsigned spins;
  std::vector<Partition> partitions;
  std::vector<std::unique_ptr<Group>> groups;
  std::vector<std::vector<Group *>> groupOf;   // [partition][rank]
  std::vector<std::vector<uint32_t>> memberOf; // [partition][rank]
  std::unique_ptr<Heartbeat[]> heartbeats;     // [rank]

  std::mutex mutex;
  std::atomic<bool> failed{false};
  Status firstFailure;
  std::vector<Wait> waits;                                    // [rank]
  std::map<std::pair<uint32_t, uint32_t>, Mailbox> mailboxes; // by from, to

  uint32_t memberIndex(const Group &group, uint32_t rank) const {
    return memberOf[size_t(group.partition - partitions.data())][rank];
  }
  bool has(const Group &group, uint32_t rank) const {
    return groupOf[size_t(group.partition - partitions.data())][rank] == &group;
  }

  // All below need the mutex.

  Mailbox &mailbox(uint32_t from, uint32_t to);

  /// Records the first failure and wakes everybody; returns `error`.
  Status fail(const Status &error);
  Status aborted(uint32_t rank, const char *place) const;

  /// An error when `rank` cannot be meant to meet its peers here: a member
  /// waits for it with another call, in this group or in another one.
  Status checkMeeting(uint32_t rank, const Group &group, const Call &call,
                      Counts counts) const;

  /// Waits until ready(), for ever while busy(). `here` says where the rank is
  /// for the error when some rank stalls or fails meanwhile.
  template <typename Ready, typename Busy, typename Describe>
  Status wait(std::unique_lock<std::mutex> &lock, uint32_t rank,
              const Wait &what, const char *place, Ready ready, Busy busy,
              Describe here);

  /// The rank that a waiting rank waits for longest, through the waits of
  /// others, and since when it has made no progress.
  struct Stall {
    uint32_t rank;
    Clock::time_point since;
  };
  Stall stallOf(uint32_t rank, std::vector<bool> &visited) const;
  Stall stallOf(uint32_t rank) const;
  std::vector<uint32_t> awaitedBy(uint32_t rank) const;
  Status timedOut(uint32_t rank, const Stall &stall, double seconds,
                  const std::string &here) const;
  /// "rank 2, last seen at "layers.0","
  std::string lastSeen(uint32_t rank) const;
};

/// "f32[4, 8]"
std::string describe(const View &view);
/// "3 + 0 rows"
std::string describe(Counts counts);
/// "LOCATION" (all_reduce_sum over tp, f32[4, 8], 3 rows)
std::string describe(const Call &call, const Partition &partition,
                     Counts counts);

template <typename Ready, typename Busy, typename Describe>
Status ThreadTransport::State::wait(std::unique_lock<std::mutex> &lock,
                                    uint32_t rank, const Wait &what,
                                    const char *place, Ready ready, Busy busy,
                                    Describe here) {
  std::condition_variable &changed =
      what.group ? what.group->changed : what.mailbox->changed;
  Clock::time_point start = Clock::now();
  Lapses lapses(start);
  waits[rank] = what;
  Status result;
  while (!ready()) {
    if (busy()) {
      changed.wait(lock);
      lapses.skip(Clock::now());
      continue;
    }
    if (failed.load(std::memory_order_relaxed)) {
      result = aborted(rank, place);
      break;
    }
    Stall stall = stallOf(rank);
    Clock::time_point now = Clock::now();
    lapses.look(now);
    Clock::time_point deadline =
        std::max(start, stall.since) + options.timeout + lapses.total();
    if (now < deadline) {
      changed.wait_until(lock, std::min(deadline, now + Lapses::kLook));
      continue;
    }
    std::chrono::duration<double> waited = now - start;
    result = fail(timedOut(rank, stall, waited.count(), here()));
    break;
  }
  waits[rank] = {};
  return result;
}

} // namespace saddle::comm

#endif // SADDLE_RUNTIME_COMM_STATE_H
