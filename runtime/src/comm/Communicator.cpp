#include "runtime/src/comm/State.h"

#include <cstring>
#include <thread>

namespace saddle::comm {

Communicator::Communicator(uint32_t world, std::vector<Partition> partitions,
                           const CommunicatorOptions &options)
    : state(std::make_unique<State>(world, std::move(partitions), options)) {}

Communicator::~Communicator() = default;

Status Communicator::run(uint32_t rank, const Call &call, Counts counts) {
  Group &group = *state->groupOf[call.partition][rank];
  uint32_t member = state->memberOf[call.partition][rank];
  progress(rank, call.location);
  std::unique_lock<std::mutex> lock(state->mutex);
  if (state->failed)
    return state->aborted(rank, call.location);
  Status meeting = state->checkMeeting(rank, group, call, counts);
  if (!meeting.ok())
    return state->fail(meeting);
  group.present[member] = true;
  group.calls[member] = call;
  group.counts[member].assign(counts.begin(), counts.end());

  if (++group.arrived == group.ranks.size()) {
    group.executing = true;
    lock.unlock();
    for (uint32_t i = 0; i < group.ranks.size(); ++i)
      group.buffers[i] = group.calls[i].buffers;
    exchange(call.operation, counts, group.buffers, group.scratch);
    lock.lock();
    group.executing = false;
    group.arrived = 0;
    for (uint32_t i = 0; i < group.ranks.size(); ++i) {
      group.present[i] = false;
      state->waits[group.ranks[i]] = {};
    }
    group.generation.fetch_add(1, std::memory_order_release);
    lock.unlock();
    group.changed.notify_all();
    return {};
  }

  uint64_t generation = group.generation.load(std::memory_order_relaxed);
  Wait wait;
  wait.group = &group;
  state->waits[rank] = wait;
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
  return state->wait(
      lock, rank, wait, call.location,
      [&] {
        return group.generation.load(std::memory_order_relaxed) != generation;
      },
      // A collective that executes reads our buffers: never leave it then.
      [&] { return group.executing; },
      [&] { return describe(call, *group.partition, counts); });
}

/// Calls f(row of `view`, its bytes) for each dense innermost row of the first
/// `rows` entries of dimension 0.
template <typename Function>
static void forEachRow(View view, uint64_t rows, Function f,
                       unsigned dimension = 0) {
  uint64_t count = dimension == 0 ? rows : view.shape[dimension];
  uint64_t unit = elementBytes(view.dtype);
  if (dimension + 1 == view.rank) {
    f(view.data, count * unit);
    return;
  }
  for (uint64_t i = 0; i < count; ++i) {
    forEachRow(view, rows, f, dimension + 1);
    view.data += view.strides[dimension] * unit;
  }
}

static std::string describe(const char *action, const Parcel &parcel,
                            uint64_t rows) {
  return "\"" + std::string(parcel.location) + "\" (" + action + " rank " +
         std::to_string(parcel.peer) + ", " + describe(parcel.buffer) + ", " +
         std::to_string(rows) + " rows)";
}

Status Communicator::send(uint32_t rank, const Parcel &parcel, uint64_t rows,
                          uint64_t tag) {
  progress(rank, parcel.location);
  std::unique_lock<std::mutex> lock(state->mutex);
  if (state->failed)
    return state->aborted(rank, parcel.location);
  Mailbox &box = state->mailbox(rank, parcel.peer);
  Wait wait;
  wait.mailbox = &box;
  wait.peer = parcel.peer;
  SADDLE_RETURN_IF_ERROR(state->wait(
      lock, rank, wait, parcel.location,
      [&] { return box.sent - box.taken < box.cells.size(); },
      [] { return false; }, [&] { return describe("send to", parcel, rows); }));
  Mailbox::Cell &cell = box.cells[box.sent % box.cells.size()];
  lock.unlock();
  cell.view = parcel.buffer;
  cell.location = parcel.location;
  cell.rows = rows;
  cell.tag = tag;
  cell.bytes.clear();
  forEachRow(parcel.buffer, rows, [&](const uint8_t *row, uint64_t bytes) {
    cell.bytes.insert(cell.bytes.end(), row, row + bytes);
  });
  lock.lock();
  ++box.sent;
  lock.unlock();
  box.changed.notify_all();
  return {};
}

/// An error unless the parcel in `cell` is the one that the receiver expects.
static Status checkParcel(uint32_t rank, const Parcel &parcel, uint64_t rows,
                          uint64_t tag, const Mailbox::Cell &cell) {
  bool same = cell.tag == tag && cell.rows == rows &&
              cell.view.dtype == parcel.buffer.dtype &&
              cell.view.rank == parcel.buffer.rank &&
              cell.view.shape == parcel.buffer.shape;
  if (same)
    return {};
  return makeError(
      StatusCode::Internal,
      "rank %u is at %s, parcel %llu, but rank %u sent parcel %llu at \"%s\", "
      "%s, %llu rows",
      rank, describe("receive from", parcel, rows).c_str(),
      (unsigned long long)tag, parcel.peer, (unsigned long long)cell.tag,
      cell.location, describe(cell.view).c_str(),
      (unsigned long long)cell.rows);
}

Status Communicator::receive(uint32_t rank, const Parcel &parcel, uint64_t rows,
                             uint64_t tag) {
  progress(rank, parcel.location);
  std::unique_lock<std::mutex> lock(state->mutex);
  if (state->failed)
    return state->aborted(rank, parcel.location);
  Mailbox &box = state->mailbox(parcel.peer, rank);
  Wait wait;
  wait.mailbox = &box;
  wait.peer = parcel.peer;
  SADDLE_RETURN_IF_ERROR(state->wait(
      lock, rank, wait, parcel.location, [&] { return box.sent != box.taken; },
      [] { return false; },
      [&] { return describe("receive from", parcel, rows); }));
  const Mailbox::Cell &cell = box.cells[box.taken % box.cells.size()];
  if (Status status = checkParcel(rank, parcel, rows, tag, cell); !status.ok())
    return state->fail(status);
  lock.unlock();
  const uint8_t *next = cell.bytes.data();
  forEachRow(parcel.buffer, rows, [&](uint8_t *row, uint64_t bytes) {
    if (bytes != 0)
      std::memcpy(row, next, bytes);
    next += bytes;
  });
  lock.lock();
  ++box.taken;
  lock.unlock();
  box.changed.notify_all();
  return {};
}

Status Communicator::checkDelivered() {
  std::lock_guard<std::mutex> lock(state->mutex);
  for (const auto &[ends, box] : state->mailboxes)
    if (box.sent != box.taken)
      return state->fail(makeError(
          StatusCode::Internal,
          "rank %u did not receive what rank %u sent at \"%s\"", ends.second,
          ends.first, box.cells[box.taken % box.cells.size()].location));
  return {};
}

void Communicator::progress(uint32_t rank, const char *location) {
  Sign &sign = state->signs[rank];
  sign.location.store(location, std::memory_order_relaxed);
  sign.time.store(Clock::now().time_since_epoch().count(),
                  std::memory_order_relaxed);
}

Clock::time_point Communicator::lastProgress(uint32_t rank) const {
  return Clock::time_point(
      Clock::duration(state->signs[rank].time.load(std::memory_order_relaxed)));
}

void Communicator::abort(uint32_t rank, const Status &error) {
  std::lock_guard<std::mutex> lock(state->mutex);
  const char *location =
      state->signs[rank].location.load(std::memory_order_relaxed);
  std::string where =
      location ? std::string("at \"") + location + "\"" : "at its start";
  (void)state->fail(makeError(error.code(), "rank %u failed %s: %s", rank,
                              where.c_str(), error.message().c_str()));
}

void Communicator::fail(const Status &error) {
  std::lock_guard<std::mutex> lock(state->mutex);
  (void)state->fail(error);
}

bool Communicator::hasFailed() const {
  return state->failed.load(std::memory_order_acquire);
}

const char *Communicator::lastLocation(uint32_t rank) const {
  return state->signs[rank].location.load(std::memory_order_relaxed);
}

Status Communicator::failure() const {
  std::lock_guard<std::mutex> lock(state->mutex);
  return state->firstFailure;
}

} // namespace saddle::comm
