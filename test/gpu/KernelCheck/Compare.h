// Compares what two implementations of a launch left in its operands.

#ifndef SADDLE_TEST_GPU_KERNELCHECK_COMPARE_H
#define SADDLE_TEST_GPU_KERNELCHECK_COMPARE_H

#include "runtime/src/base/Status.h"
#include "test/gpu/KernelCheck/Operands.h"

namespace saddle::check {

/// Largest difference that is allowed in an output of the launch, relative to
/// the largest value of its row. Compare.cpp derives the numbers.
double boundOf(const LaunchCase &launch, size_t output);

/// Compares `found` with `expected` for `count` real rows and returns the
/// largest relative error. Everything that is not an element of a real row of
/// an output (guards, gaps of views, rows beyond the count, inputs) must have
/// the same bytes. Integers must be equal. Destroys both contents. Errors
/// (Internal) say what differs where.
StatusOr<double> compareOperands(const LaunchCase &launch, uint64_t count,
                                 std::vector<OperandBuffer> &expected,
                                 std::vector<OperandBuffer> &found);

} // namespace saddle::check

#endif // SADDLE_TEST_GPU_KERNELCHECK_COMPARE_H
