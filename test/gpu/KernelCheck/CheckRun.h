// One run of a launch: what an implementation leaves in the operands against
// what the reference kernel of the op does.

#ifndef SADDLE_TEST_GPU_KERNELCHECK_CHECKRUN_H
#define SADDLE_TEST_GPU_KERNELCHECK_CHECKRUN_H

#include "runtime/src/base/Status.h"
#include "test/gpu/KernelCheck/Operands.h"

#include <functional>

namespace saddle::check {

struct RunCase {
  uint64_t count; // real rows
  Pattern pattern;
  uint64_t seed;
  /// The reference computes at most so many of the rows; 0: all. Ops that
  /// update caches always have all.
  uint64_t sampleRows = 0;
};

/// The implementation under test: runs `launch` with `count` rows on operands
/// of its own (read-only ones may be shared).
using Executor = std::function<Status(const LaunchCase &launch, uint64_t count,
                                      const Operands &operands)>;

/// `wanted` of the rows below `count`, ascending: the first and the last, those
/// on both sides of multiples of 128, 64, 32, .. (tiles of kernels), and then
/// evenly spread ones. All of them when `wanted` is 0 or `count` or more.
std::vector<uint64_t> sampleOf(uint64_t count, uint64_t wanted);

/// Bytes of the launch's operands.
uint64_t operandBytes(const LaunchCase &launch);

/// Runs both and compares: the largest relative error, or an error (Internal)
/// that says what differs where. Read-only operands of `shared` are the
/// caller's to check.
StatusOr<double> checkRun(const LaunchCase &launch, const Operands &shared,
                          const RunCase &run, const Executor &execute);

} // namespace saddle::check

#endif // SADDLE_TEST_GPU_KERNELCHECK_CHECKRUN_H
