// What a collective does to memory once every member of the group has arrived.

#ifndef SADDLE_RUNTIME_COMM_EXCHANGE_H
#define SADDLE_RUNTIME_COMM_EXCHANGE_H

#include "runtime/src/base/View.h"

#include <vector>

namespace saddle::comm {

/// One member's memory in a collective.
struct Buffers {
  View input;
  View output;
};

/// Runs the collective for all members, in rank order, single-threaded: a sum
/// accumulates in fp32 and rounds once. The engine validator has checked the
/// shapes: equal on all members; input and output equal for all_reduce_sum,
/// else one as many times as long as the other in `dim`, which is not 0.
/// `count` bounds dimension 0. An output may be its own member's input, or its
/// own block of it. `scratch` is grown as needed.
void exchange(schema::CollectiveKind kind, uint32_t dim, uint64_t count,
              const std::vector<Buffers> &members, std::vector<float> &scratch);

} // namespace saddle::comm

#endif // SADDLE_RUNTIME_COMM_EXCHANGE_H
