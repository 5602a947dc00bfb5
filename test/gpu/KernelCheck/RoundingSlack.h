// How far outputs of experts may move when hidden values are rounded to e4m3.

#ifndef SADDLE_TEST_GPU_KERNELCHECK_ROUNDINGSLACK_H
#define SADDLE_TEST_GPU_KERNELCHECK_ROUNDINGSLACK_H

#include "runtime/schema/engine_generated.h"
#include "runtime/src/base/View.h"

#include <vector>

namespace saddle::check {

/// For the first `count` tokens of an experts launch that
/// quantises (act_group > 0): what each element of the output may move by
/// because hidden values lie so near the middle of two e4m3 codes that another
/// order of addition rounds them to the other one. Empty for other kernels.
///
/// Such a value moves by a whole step, up to 1/14 of its group's largest, which
/// moves column c of the output by weight * |w2[c, value]| * step. Where no
/// value is near a middle, nothing moves.
std::vector<std::vector<float>> roundingSlack(const schema::Kernel &kernel,
                                              const std::vector<View> &operands,
                                              uint32_t rank, uint64_t count);

} // namespace saddle::check

#endif // SADDLE_TEST_GPU_KERNELCHECK_ROUNDINGSLACK_H
