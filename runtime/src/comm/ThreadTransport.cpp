#include "runtime/src/base/Guard.h"
#include "runtime/src/comm/State.h"

#include <cstring>
#include <thread>

namespace saddle::comm {

ThreadTransport::ThreadTransport(uint32_t world,
                                 std::vector<Partition> partitions,
                                 const ThreadTransportOptions &options)
    : state(std::make_unique<State>(world, std::move(partitions), options)) {}

ThreadTransport::~ThreadTransport() = default;

uint32_t ThreadTransport::worldSize() const {
  return uint32_t(state->waits.size());
}

Status ThreadTransport::run(uint32_t rank, const Call &call, Counts counts) {
  Group &group = *state->groupOf[call.partition][rank];
  uint32_t member = state->memberOf[call.partition][rank];
  progress(rank, call.place);
  std::unique_lock<std::mutex> lock(state->mutex);
  if (state->failed)
    return state->aborted(rank, call.place);
  Status meeting = state->checkMeeting(rank, group, call, counts);
  if (!meeting.ok())
    return state->fail(meeting);
  group.present[member] = true;
  group.calls[member] = call;
  group.counts[member].assign(counts.begin(), counts.end());

  if (++group.arrived == group.ranks.size()) {
    group.executing = true;
    lock.unlock();
    Status status = guard([&] {
      for (uint32_t i = 0; i < group.ranks.size(); ++i)
        group.buffers[i] = group.calls[i].buffers;
      comm::exchange(call.operation, counts, group.buffers, group.scratch);
      return Status();
    });
    lock.lock();
    group.executing = false;
    if (!status.ok())
      return state->fail(status);
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
      lock, rank, wait, call.place,
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

static std::string describe(const char *action, const Message &message,
                            uint64_t rows) {
  return "\"" + std::string(message.place) + "\" (" + action + " rank " +
         std::to_string(message.peer) + ", " + describe(message.buffer) + ", " +
         std::to_string(rows) + " rows)";
}

Status ThreadTransport::send(uint32_t rank, const Message &message,
                             uint64_t rows, uint64_t tag) {
  progress(rank, message.place);
  std::unique_lock<std::mutex> lock(state->mutex);
  if (state->failed)
    return state->aborted(rank, message.place);
  Mailbox &box = state->mailbox(rank, message.peer);
  Wait wait;
  wait.mailbox = &box;
  wait.peer = message.peer;
  SADDLE_RETURN_IF_ERROR(state->wait(
      lock, rank, wait, message.place,
      [&] { return box.sent - box.taken < box.cells.size(); },
      [] { return false; },
      [&] { return describe("send to", message, rows); }));
  Mailbox::Cell &cell = box.cells[box.sent % box.cells.size()];
  lock.unlock();
  cell.view = message.buffer;
  cell.place = message.place;
  cell.rows = rows;
  cell.tag = tag;
  cell.bytes.clear();
  forEachRow(message.buffer, rows, [&](const uint8_t *row, uint64_t bytes) {
    cell.bytes.insert(cell.bytes.end(), row, row + bytes);
  });
  lock.lock();
  ++box.sent;
  lock.unlock();
  box.changed.notify_all();
  return {};
}

/// An error unless the message in `cell` is the one that the receiver expects.
static Status checkMessage(uint32_t rank, const Message &message, uint64_t rows,
                           uint64_t tag, const Mailbox::Cell &cell) {
  bool same = cell.tag == tag && cell.rows == rows &&
              cell.view.dtype == message.buffer.dtype &&
              cell.view.rank == message.buffer.rank &&
              cell.view.shape == message.buffer.shape;
  if (same)
    return {};
  return makeError(StatusCode::Internal,
                   "rank %u is at %s, message %llu, but rank %u sent message "
                   "%llu at \"%s\", "
                   "%s, %llu rows",
                   rank, describe("receive from", message, rows).c_str(),
                   (unsigned long long)tag, message.peer,
                   (unsigned long long)cell.tag, cell.place,
                   describe(cell.view).c_str(), (unsigned long long)cell.rows);
}

Status ThreadTransport::receive(uint32_t rank, const Message &message,
                                uint64_t rows, uint64_t tag) {
  progress(rank, message.place);
  std::unique_lock<std::mutex> lock(state->mutex);
  if (state->failed)
    return state->aborted(rank, message.place);
  Mailbox &box = state->mailbox(message.peer, rank);
  Wait wait;
  wait.mailbox = &box;
  wait.peer = message.peer;
  SADDLE_RETURN_IF_ERROR(state->wait(
      lock, rank, wait, message.place, [&] { return box.sent != box.taken; },
      [] { return false; },
      [&] { return describe("receive from", message, rows); }));
  const Mailbox::Cell &cell = box.cells[box.taken % box.cells.size()];
  if (Status status = checkMessage(rank, message, rows, tag, cell);
      !status.ok())
    return state->fail(status);
  lock.unlock();
  const uint8_t *next = cell.bytes.data();
  forEachRow(message.buffer, rows, [&](uint8_t *row, uint64_t bytes) {
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

Status ThreadTransport::checkDelivered() {
  std::lock_guard<std::mutex> lock(state->mutex);
  for (const auto &[ends, box] : state->mailboxes)
    if (box.sent != box.taken)
      return state->fail(makeError(
          StatusCode::Internal,
          "rank %u did not receive what rank %u sent at \"%s\"", ends.second,
          ends.first, box.cells[box.taken % box.cells.size()].place));
  return {};
}

void ThreadTransport::progress(uint32_t rank, const char *place) {
  Heartbeat &heartbeat = state->heartbeats[rank];
  heartbeat.place.store(place, std::memory_order_relaxed);
  heartbeat.time.store(Clock::now().time_since_epoch().count(),
                       std::memory_order_relaxed);
}

Clock::time_point ThreadTransport::lastProgress(uint32_t rank) const {
  return Clock::time_point(Clock::duration(
      state->heartbeats[rank].time.load(std::memory_order_relaxed)));
}

void ThreadTransport::abort(uint32_t rank, const Status &error) {
  std::lock_guard<std::mutex> lock(state->mutex);
  const char *place =
      state->heartbeats[rank].place.load(std::memory_order_relaxed);
  // It may be a shortage of memory that is told.
  (void)state->fail(place
                        ? retellError(error, "rank %u failed at \"%s\": %s",
                                      rank, place, error.message().c_str())
                        : retellError(error, "rank %u failed at its start: %s",
                                      rank, error.message().c_str()));
}

void ThreadTransport::fail(const Status &error) {
  std::lock_guard<std::mutex> lock(state->mutex);
  (void)state->fail(error);
}

bool ThreadTransport::hasFailed() const {
  return state->failed.load(std::memory_order_acquire);
}

const char *ThreadTransport::lastPlace(uint32_t rank) const {
  return state->heartbeats[rank].place.load(std::memory_order_relaxed);
}

Status ThreadTransport::failure() const {
  std::lock_guard<std::mutex> lock(state->mutex);
  return state->firstFailure;
}

} // namespace saddle::comm
