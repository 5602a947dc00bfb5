// What a collective does to memory once every member of the group has arrived.

#ifndef SADDLE_RUNTIME_COMM_EXCHANGE_H
#define SADDLE_RUNTIME_COMM_EXCHANGE_H

#include "runtime/src/base/Status.h"
#include "runtime/src/base/View.h"

#include <vector>

namespace saddle::comm {

/// One member's memory in a collective.
struct Buffers {
  View input;
  View output;
};

/// Checks shapes and dtypes of one member's operands in a group of `size`:
/// all_reduce_sum: equal shapes; all_gather: the output is `size` times as long
/// in `dim`; reduce_scatter_sum: the input is. Sums are of floats.
Status checkBuffers(schema::CollectiveKind kind, uint32_t dim, uint32_t size,
                    const Buffers &buffers);

/// Runs the collective for all members, in rank order, single-threaded.
/// `members` passed checkBuffers and have equal shapes and dtypes. `count`
/// bounds dimension 0, except where `dim` is 0: gathering or scattering rows
/// moves whole operands. An output may be its own member's input, or for
/// all_gather and reduce_scatter_sum its own block of it. `scratch` is grown as
/// needed.
void exchange(schema::CollectiveKind kind, uint32_t dim, uint64_t count,
              const std::vector<Buffers> &members, std::vector<float> &scratch);

} // namespace saddle::comm

#endif // SADDLE_RUNTIME_COMM_EXCHANGE_H
