// What a collective does to memory once every member of the group has arrived.

#ifndef SADDLE_RUNTIME_COMM_EXCHANGE_H
#define SADDLE_RUNTIME_COMM_EXCHANGE_H

#include "runtime/src/base/Span.h"
#include "runtime/src/base/View.h"

#include <vector>

namespace saddle::comm {

/// One member's memory in a collective.
struct Buffers {
  View input;
  View output;
};

/// What a group does together.
struct Operation {
  schema::CollectiveKind kind;
  /// Gathered or scattered; all_reduce_sum has none.
  uint32_t dim = 0;
  /// How the members' rows lie when dim is 0, else UNKNOWN.
  schema::RowLayout layout = schema::RowLayout::UNKNOWN;
};

/// Real rows: of each member, or one number that holds for all. With a layout
/// they are a member's own rows, the small side of the operation.
using Counts = Span<const uint64_t>;

/// Runs `operation` for all members, in rank order, single-threaded: a sum
/// accumulates in fp32 and rounds once. The engine validator has checked the
/// shapes: equal on all members; input and output equal for all_reduce_sum,
/// else one as many times as long as the other in `dim`. Rows beyond the counts
/// are neither read nor written, but for the zeros of layout PADDED. Input and
/// output of a member are disjoint, or the same for all_reduce_sum. `scratch`
/// is grown as needed.
void exchange(const Operation &operation, Counts counts,
              const std::vector<Buffers> &members, std::vector<float> &scratch);

} // namespace saddle::comm

#endif // SADDLE_RUNTIME_COMM_EXCHANGE_H
