// Which copies of sequences' state exist, and which still say the truth. The
// copies themselves are the ranks'.

#ifndef SADDLE_RUNTIME_SESSION_SNAPSHOTS_H
#define SADDLE_RUNTIME_SESSION_SNAPSHOTS_H

#include "runtime/src/base/Status.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace saddle::session {

/// A sequence as it was: the first `length` of its tokens.
struct Snapshot {
  uint32_t sequence;
  uint64_t length;
  /// Its sequence was cut to so many tokens since, fewer than `length`: the
  /// pages of the others have been given away or overwritten.
  std::optional<uint64_t> cutTo;
};

/// Not thread-safe.
class Snapshots {
public:
  /// The lowest number that is not in use.
  uint32_t add(uint32_t sequence, uint64_t length);
  void remove(uint32_t number) { all[number].reset(); }

  /// InvalidArgument for a number that is not in use.
  StatusOr<Snapshot> find(uint32_t number) const;
  /// As find(), for bringing `sequence` back to it: also refuses one of another
  /// sequence, and one whose tokens are gone.
  StatusOr<Snapshot> findFor(uint32_t sequence, uint32_t number) const;
  /// One of `sequence` at `length` tokens that can be brought back.
  std::optional<uint32_t> at(uint32_t sequence, uint64_t length) const;

  /// The sequence keeps its first `length` tokens only.
  void cut(uint32_t sequence, uint64_t length);
  /// Numbers of all snapshots of a sequence.
  std::vector<uint32_t> of(uint32_t sequence) const;

private:
  std::vector<std::optional<Snapshot>> all; // by number
};

} // namespace saddle::session

#endif // SADDLE_RUNTIME_SESSION_SNAPSHOTS_H
