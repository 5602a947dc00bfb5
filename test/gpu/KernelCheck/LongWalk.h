// A sequence of many tokens through the launches of one layer of linear
// attention, beside a loop in fp64: errors that add up from token to token.

#ifndef SADDLE_TEST_GPU_KERNELCHECK_LONGWALK_H
#define SADDLE_TEST_GPU_KERNELCHECK_LONGWALK_H

#include "test/gpu/KernelCheck/CheckRun.h"

namespace saddle::check {

/// How many tokens each launch takes.
enum class Gait {
  Chunks,  // as many as the largest launch has room for
  Odd,     // chunks of all sizes, and decodes between them
  Decodes, // one
};

struct LongWalk {
  Gait gait = Gait::Chunks;
  uint64_t tokens = 20000;
  uint64_t seed = 1;
  unsigned threads = 1; // of the loop
};

struct LongWalkErrors {
  /// Of the state behind the last token, relative to the largest value of its
  /// head; and of outputs, to the largest of the head's row.
  double state = 0, outputs = 0;
  uint64_t launches = 0;
};

/// The launches with decay_scan, alone or behind SiLU, of the layer that
/// forgets most slowly, one for each entry of the engine that differs in room;
/// empty when there are none. Names the place.
std::vector<LaunchCase> slowestScan(const schema::Engine &engine, uint32_t rank,
                                    std::string &place);

/// Which operand of such a launch is the scan's output.
size_t outputOf(const LaunchCase &launch);

/// Walks through `launches` (slowestScan's), which must share their state's
/// shape. The last slot is the sequence's, and it holds NaN before. Errors: the
/// executor's; Internal when another slot has changed.
StatusOr<LongWalkErrors> walk(const std::vector<LaunchCase> &launches,
                              const LongWalk &way, const Executor &execute);

} // namespace saddle::check

#endif // SADDLE_TEST_GPU_KERNELCHECK_LONGWALK_H
