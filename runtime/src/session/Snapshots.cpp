#include "runtime/src/session/Snapshots.h"

#include <cinttypes>

namespace saddle::session {

uint32_t Snapshots::add(uint32_t sequence, uint64_t length) {
  uint32_t number = 0;
  while (number < all.size() && all[number])
    ++number;
  if (number == all.size())
    all.emplace_back();
  all[number] = Snapshot{sequence, length, std::nullopt};
  return number;
}

StatusOr<Snapshot> Snapshots::find(uint32_t number) const {
  if (number < all.size() && all[number])
    return *all[number];
  return makeError(StatusCode::InvalidArgument, "snapshot %u does not exist",
                   number);
}

StatusOr<Snapshot> Snapshots::findFor(uint32_t sequence,
                                      uint32_t number) const {
  SADDLE_ASSIGN_OR_RETURN(Snapshot snapshot, find(number));
  if (snapshot.sequence != sequence)
    return makeError(StatusCode::InvalidArgument,
                     "snapshot %u is of sequence %u, not of %u", number,
                     snapshot.sequence, sequence);
  if (snapshot.cutTo)
    return makeError(StatusCode::InvalidArgument,
                     "snapshot %u holds %" PRIu64
                     " tokens, but sequence %u was cut to %" PRIu64
                     " since, so that the others are gone; feed them again",
                     number, snapshot.length, sequence, *snapshot.cutTo);
  return snapshot;
}

std::optional<uint32_t> Snapshots::at(uint32_t sequence,
                                      uint64_t length) const {
  for (uint32_t number = 0; number < all.size(); ++number)
    if (const auto &each = all[number]; each && each->sequence == sequence &&
                                        each->length == length && !each->cutTo)
      return number;
  return std::nullopt;
}

void Snapshots::cut(uint32_t sequence, uint64_t length) {
  for (std::optional<Snapshot> &each : all)
    if (each && each->sequence == sequence && each->length > length &&
        !each->cutTo)
      each->cutTo = length;
}

std::vector<uint32_t> Snapshots::of(uint32_t sequence) const {
  std::vector<uint32_t> numbers;
  for (uint32_t number = 0; number < all.size(); ++number)
    if (all[number] && all[number]->sequence == sequence)
      numbers.push_back(number);
  return numbers;
}

} // namespace saddle::session
