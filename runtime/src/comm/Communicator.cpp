#include "runtime/src/comm/Communicator.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace saddle::comm {

using Clock = std::chrono::steady_clock;

namespace {
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
  std::vector<uint64_t> counts;
  // Working memory of exchange().
  std::vector<Buffers> buffers;
  std::vector<float> scratch;

  uint32_t memberOf(uint32_t rank) const {
    for (uint32_t member = 0; member < ranks.size(); ++member)
      if (ranks[member] == rank)
        return member;
    return ranks.size();
  }
};
} // namespace

struct Communicator::State {
  std::chrono::milliseconds timeout;
  unsigned spins;
  std::vector<Partition> partitions;
  std::vector<std::unique_ptr<Group>> groups;
  std::vector<std::vector<Group *>> groupOf; // [partition][rank]

  std::mutex mutex;
  std::atomic<bool> failed{false};
  Status firstFailure;
  std::vector<Group *> waitingIn;           // [rank], null when in none
  std::vector<const char *> lastLocationOf; // [rank], null before the first

  /// Records the first failure and wakes everybody. Needs the mutex.
  void fail(const Status &error) {
    if (!failed.load(std::memory_order_relaxed)) {
      firstFailure = error;
      failed.store(true, std::memory_order_release);
    }
    for (const auto &group : groups)
      group->changed.notify_all();
  }

  Status aborted(uint32_t rank, const char *location) const {
    return makeError(StatusCode::Aborted, "rank %u stopped at \"%s\": %s", rank,
                     location, firstFailure.message().c_str());
  }

  /// An error when `rank` cannot be meant to meet its peers here: a member
  /// waits for it with another call, in this group or in another one.
  Status checkMeeting(uint32_t rank, const Group &group, const Call &call,
                      uint64_t count) const;
  Status timedOut(uint32_t rank, const Group &group) const;
};

static std::string describe(const Call &call, const Partition &partition,
                            uint64_t count) {
  std::string text = "\"";
  text += call.location;
  text += "\" (";
  for (const char *c = schema::EnumNameCollectiveKind(call.kind); *c; ++c)
    text += *c == '_' ? '_' : char(*c - 'A' + 'a');
  text +=
      " over " + partition.axes + ", " + dtypeName(call.buffers.input.dtype);
  text += "[";
  for (unsigned i = 0; i < call.buffers.input.rank; ++i)
    text += (i ? ", " : "") + std::to_string(call.buffers.input.shape[i]);
  return text + "], " + std::to_string(count) + " rows)";
}

static bool sameView(const View &a, const View &b) {
  return a.dtype == b.dtype && a.rank == b.rank && a.shape == b.shape;
}

static bool sameCall(const Call &a, const Call &b) {
  return a.kind == b.kind && a.dim == b.dim &&
         sameView(a.buffers.input, b.buffers.input) &&
         sameView(a.buffers.output, b.buffers.output) &&
         (a.location == b.location ||
          std::string(a.location) == std::string(b.location));
}

Status Communicator::State::checkMeeting(uint32_t rank, const Group &group,
                                         const Call &call,
                                         uint64_t count) const {
  for (uint32_t peer : group.ranks) {
    const Group *other = waitingIn[peer];
    if (!other || other->memberOf(rank) == other->ranks.size())
      continue;
    uint32_t member = other->memberOf(peer);
    const Call &peerCall = other->calls[member];
    uint64_t peerCount = other->counts[member];
    if (other == &group && sameCall(peerCall, call) && peerCount == count)
      continue;
    return makeError(StatusCode::Internal,
                     "rank %u is at %s, but rank %u is at %s", rank,
                     describe(call, *group.partition, count).c_str(), peer,
                     describe(peerCall, *other->partition, peerCount).c_str());
  }
  return {};
}

Status Communicator::State::timedOut(uint32_t rank, const Group &group) const {
  std::string missing;
  for (uint32_t member = 0; member < group.ranks.size(); ++member) {
    if (group.present[member])
      continue;
    uint32_t peer = group.ranks[member];
    if (!missing.empty())
      missing += " and ";
    missing += "rank " + std::to_string(peer);
    if (const char *location = lastLocationOf[peer])
      missing += std::string(", last met at \"") + location + "\",";
    else
      missing += ", not met yet,";
  }
  uint32_t member = group.memberOf(rank);
  return makeError(
      StatusCode::DeadlineExceeded,
      "rank %u waited %.1f s at %s for %s which did not arrive", rank,
      double(timeout.count()) / 1000,
      describe(group.calls[member], *group.partition, group.counts[member])
          .c_str(),
      missing.c_str());
}

Communicator::Communicator(uint32_t world, std::vector<Partition> partitions,
                           std::chrono::milliseconds timeout)
    : state(std::make_unique<State>()) {
  state->timeout = timeout;
  // Spinning helps only where every rank has a core of its own.
  state->spins = world <= std::thread::hardware_concurrency() ? 2000 : 0;
  state->partitions = std::move(partitions);
  state->waitingIn.assign(world, nullptr);
  state->lastLocationOf.assign(world, nullptr);
  for (const Partition &partition : state->partitions) {
    std::vector<Group *> byRank(world, nullptr);
    for (size_t start = 0; start < partition.ranks.size();
         start += partition.size) {
      auto group = std::make_unique<Group>();
      group->partition = &partition;
      group->ranks.assign(partition.ranks.begin() + start,
                          partition.ranks.begin() + start + partition.size);
      group->present.assign(partition.size, false);
      group->calls.resize(partition.size);
      group->counts.resize(partition.size);
      group->buffers.resize(partition.size);
      for (uint32_t rank : group->ranks)
        byRank[rank] = group.get();
      state->groups.push_back(std::move(group));
    }
    state->groupOf.push_back(std::move(byRank));
  }
}

Communicator::~Communicator() = default;

Status Communicator::run(uint32_t rank, const Call &call, uint64_t count) {
  Group &group = *state->groupOf[call.partition][rank];
  uint32_t member = group.memberOf(rank);
  std::unique_lock<std::mutex> lock(state->mutex);
  if (state->failed)
    return state->aborted(rank, call.location);
  Status meeting = state->checkMeeting(rank, group, call, count);
  if (!meeting.ok()) {
    state->fail(meeting);
    return meeting;
  }
  state->lastLocationOf[rank] = call.location;
  group.present[member] = true;
  group.calls[member] = call;
  group.counts[member] = count;

  if (++group.arrived == group.ranks.size()) {
    group.executing = true;
    lock.unlock();
    for (uint32_t i = 0; i < group.ranks.size(); ++i)
      group.buffers[i] = group.calls[i].buffers;
    exchange(call.kind, call.dim, count, group.buffers, group.scratch);
    lock.lock();
    group.executing = false;
    group.arrived = 0;
    for (uint32_t i = 0; i < group.ranks.size(); ++i) {
      group.present[i] = false;
      state->waitingIn[group.ranks[i]] = nullptr;
    }
    group.generation.fetch_add(1, std::memory_order_release);
    lock.unlock();
    group.changed.notify_all();
    return {};
  }

  uint64_t generation = group.generation.load(std::memory_order_relaxed);
  state->waitingIn[rank] = &group;
  lock.unlock();
  for (unsigned i = 0; i < state->spins; ++i) {
    if (group.generation.load(std::memory_order_acquire) != generation)
      return {};
    if (state->failed.load(std::memory_order_acquire))
      break;
    if (i % 64 == 63)
      std::this_thread::yield();
  }
  lock.lock();
  Clock::time_point deadline = Clock::now() + state->timeout;
  // A collective that executes reads our buffers: never leave it then.
  while (group.generation.load(std::memory_order_relaxed) == generation) {
    if (group.executing) {
      group.changed.wait(lock);
      continue;
    }
    if (state->failed)
      return state->aborted(rank, call.location);
    if (group.changed.wait_until(lock, deadline) == std::cv_status::timeout &&
        Clock::now() >= deadline && !group.executing && !state->failed &&
        group.generation.load(std::memory_order_relaxed) == generation) {
      Status error = state->timedOut(rank, group);
      state->fail(error);
      return error;
    }
  }
  return {};
}

void Communicator::abort(uint32_t rank, const Status &error) {
  std::lock_guard<std::mutex> lock(state->mutex);
  const char *location = state->lastLocationOf[rank];
  state->fail(makeError(error.code(), "rank %u failed%s%s%s: %s", rank,
                        location ? " after \"" : " before its first collective",
                        location ? location : "", location ? "\"" : "",
                        error.message().c_str()));
}

Status Communicator::failure() const {
  std::lock_guard<std::mutex> lock(state->mutex);
  return state->firstFailure;
}

} // namespace saddle::comm
