// Compares what two implementations of a launch left in its operands.

#ifndef SADDLE_TEST_GPU_KERNELCHECK_COMPARE_H
#define SADDLE_TEST_GPU_KERNELCHECK_COMPARE_H

#include "runtime/src/base/Status.h"
#include "test/gpu/KernelCheck/Operands.h"

namespace saddle::check {

/// Largest difference that is allowed in an output of the launch, relative to
/// the largest value of its row. Compare.cpp derives the numbers.
double boundOf(const LaunchCase &launch, size_t output);

/// Compares the first `count` entries of an output with what is expected of
/// them, and returns the largest relative error. `expected` has the entries of
/// `sample` (ascending) only, one after the other; the other ones need to be
/// written and, where the op makes no NaN of its own, finite. Integers must be
/// equal, and entries that are expected as they were `before` too. What is not
/// an element of those entries (guards, gaps of views, rows beyond the count)
/// must have the same bytes as `before`. Destroys `found`. Errors (Internal)
/// say what differs where.
StatusOr<double>
compareOutput(const LaunchCase &launch, size_t output, uint64_t count,
              const std::vector<uint64_t> &sample, const View &expected,
              const OperandBuffer &before, OperandBuffer &found,
              const std::vector<std::vector<float>> &slack);

/// An operand, guards included, must have the bytes that it had.
Status compareBytes(const LaunchCase &launch, size_t operand,
                    const OperandBuffer &before, const OperandBuffer &after);

} // namespace saddle::check

#endif // SADDLE_TEST_GPU_KERNELCHECK_COMPARE_H
