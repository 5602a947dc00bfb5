#include "runtime/src/comm/State.h"

#include <algorithm>
#include <thread>

namespace saddle::comm {

ThreadTransport::State::State(uint32_t world, std::vector<Partition> given,
                              const ThreadTransportOptions &options)
    : options(options),
      // Spinning helps only where every rank has a core of its own.
      spins(world <= std::thread::hardware_concurrency() ? 2000 : 0),
      partitions(std::move(given)), heartbeats(new Heartbeat[world]),
      waits(world) {
  for (const Partition &partition : partitions) {
    std::vector<Group *> byRank(world, nullptr);
    std::vector<uint32_t> members(world);
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
      for (uint32_t member = 0; member < partition.size; ++member) {
        byRank[group->ranks[member]] = group.get();
        members[group->ranks[member]] = member;
      }
      groups.push_back(std::move(group));
    }
    groupOf.push_back(std::move(byRank));
    memberOf.push_back(std::move(members));
  }
}

Mailbox &ThreadTransport::State::mailbox(uint32_t from, uint32_t to) {
  Mailbox &found = mailboxes[{from, to}];
  if (found.cells.empty())
    found.cells.resize(options.room);
  return found;
}

Status ThreadTransport::State::fail(const Status &error) {
  if (!failed.load(std::memory_order_relaxed)) {
    firstFailure = error;
    failed.store(true, std::memory_order_release);
  }
  for (const auto &group : groups)
    group->changed.notify_all();
  for (auto &entry : mailboxes)
    entry.second.changed.notify_all();
  return error;
}

Status ThreadTransport::State::aborted(uint32_t rank, const char *place) const {
  return makeError(StatusCode::Aborted, "rank %u stopped at \"%s\": %s", rank,
                   place, firstFailure.message().c_str());
}

std::string describe(const View &view) {
  std::string text = dtypeName(view.dtype);
  for (unsigned i = 0; i < view.rank; ++i)
    text += (i ? ", " : "[") + std::to_string(view.shape[i]);
  return text + "]";
}

std::string describe(Counts counts) {
  std::string text;
  for (uint64_t count : counts)
    text += (text.empty() ? "" : " + ") + std::to_string(count);
  return text + " rows";
}

static std::string lowerCase(std::string name) {
  for (char &c : name)
    c = c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
  return name;
}

std::string describe(const Call &call, const Partition &partition,
                     Counts counts) {
  const Operation &operation = call.operation;
  std::string text = "\"" + std::string(call.place) + "\" (";
  text += lowerCase(schema::EnumNameCollectiveKind(operation.kind));
  text += " over " + partition.axes + ", " + describe(call.buffers.input);
  if (operation.layout != schema::RowLayout::UNKNOWN)
    text += " " + lowerCase(schema::EnumNameRowLayout(operation.layout));
  return text + ", " + describe(counts) + ")";
}

static bool sameView(const View &a, const View &b) {
  return a.dtype == b.dtype && a.rank == b.rank && a.shape == b.shape;
}

static bool sameCall(const Call &a, const Call &b) {
  return a.operation.kind == b.operation.kind &&
         a.operation.dim == b.operation.dim &&
         a.operation.layout == b.operation.layout &&
         sameView(a.buffers.input, b.buffers.input) &&
         sameView(a.buffers.output, b.buffers.output) &&
         (a.place == b.place || std::string(a.place) == std::string(b.place));
}

Status ThreadTransport::State::checkMeeting(uint32_t rank, const Group &group,
                                            const Call &call,
                                            Counts counts) const {
  for (uint32_t peer : group.ranks) {
    const Group *other = waits[peer].group;
    if (!other || !has(*other, rank))
      continue;
    uint32_t member = memberIndex(*other, peer);
    const Call &peerCall = other->calls[member];
    const std::vector<uint64_t> &peerCounts = other->counts[member];
    if (other == &group && sameCall(peerCall, call) &&
        std::equal(counts.begin(), counts.end(), peerCounts.begin(),
                   peerCounts.end()))
      continue;
    return makeError(StatusCode::Internal,
                     "rank %u is at %s, but rank %u is at %s", rank,
                     describe(call, *group.partition, counts).c_str(), peer,
                     describe(peerCall, *other->partition, peerCounts).c_str());
  }
  return {};
}

std::vector<uint32_t> ThreadTransport::State::awaitedBy(uint32_t rank) const {
  const Wait &wait = waits[rank];
  if (wait.mailbox)
    return {wait.peer};
  std::vector<uint32_t> awaited;
  for (uint32_t member = 0; wait.group && member < wait.group->ranks.size();
       ++member)
    if (!wait.group->present[member])
      awaited.push_back(wait.group->ranks[member]);
  return awaited;
}

ThreadTransport::State::Stall
ThreadTransport::State::stallOf(uint32_t rank,
                                std::vector<bool> &visited) const {
  visited[rank] = true;
  Clock::time_point own{
      Clock::duration(heartbeats[rank].time.load(std::memory_order_relaxed))};
  Stall oldest{rank, Clock::time_point::max()};
  for (uint32_t peer : awaitedBy(rank)) {
    if (visited[peer])
      continue;
    Stall stall = stallOf(peer, visited);
    if (stall.since < oldest.since)
      oldest = stall;
  }
  if (oldest.since == Clock::time_point::max())
    oldest.since = own; // waits for nobody, so it works, or stalls itself
  // A rank that waits since a moment ago is not stalled by an older stall.
  oldest.since = std::max(oldest.since, own);
  return oldest;
}

ThreadTransport::State::Stall
ThreadTransport::State::stallOf(uint32_t rank) const {
  std::vector<bool> visited(waits.size());
  return stallOf(rank, visited);
}

std::string ThreadTransport::State::lastSeen(uint32_t rank) const {
  const char *place = heartbeats[rank].place.load(std::memory_order_relaxed);
  std::string text = "rank " + std::to_string(rank);
  if (!place)
    return text + ", not seen yet,";
  return text + ", last seen at \"" + place + "\",";
}

Status ThreadTransport::State::timedOut(uint32_t rank, const Stall &stall,
                                        double seconds,
                                        const std::string &here) const {
  std::string awaited, reason;
  bool direct = false;
  for (uint32_t peer : awaitedBy(rank)) {
    awaited += (awaited.empty() ? "" : " and ") + lastSeen(peer);
    direct |= peer == stall.rank;
  }
  if (!direct)
    reason = " because " + lastSeen(stall.rank) + " makes no progress";
  return makeError(StatusCode::DeadlineExceeded,
                   "rank %u waited %.1f s at %s for %s which did not arrive%s",
                   rank, seconds, here.c_str(), awaited.c_str(),
                   reason.c_str());
}

} // namespace saddle::comm
