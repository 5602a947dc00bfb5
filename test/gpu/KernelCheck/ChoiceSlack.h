// How far weights of chosen experts may move when a fused kernel rounds the row
// in front of its router to other bf16 values.

#ifndef SADDLE_TEST_GPU_KERNELCHECK_CHOICESLACK_H
#define SADDLE_TEST_GPU_KERNELCHECK_CHOICESLACK_H

#include "runtime/schema/engine_generated.h"
#include "runtime/src/base/View.h"

#include <optional>
#include <vector>

namespace saddle::check {

struct ChoiceSlack {
  size_t weights; // the operand they are about
  /// Of each row of the sample, for each of its choices.
  std::vector<std::vector<float>> slack;
};

/// For a kernel whose body has a router's product of one of its own outputs and
/// the choice behind it. `expected` are its operands with the reference's
/// outputs, in which row i stands for row sample[i] of `found`. The rows in
/// front of the product may differ by a bf16 step, which has a bound of its
/// own; what they differ by moves logits by known amounts, and the weight of a
/// choice, w = s / sum of s, by no more than w times twice the largest of them:
/// d ln s / d logit is at most 1 for sigmoid and softmax. Empty for other
/// kernels; zero where the rows are equal.
std::optional<ChoiceSlack> choiceSlack(const schema::Kernel &kernel,
                                       const std::vector<View> &expected,
                                       const std::vector<View> &found,
                                       const std::vector<uint64_t> &sample);

} // namespace saddle::check

#endif // SADDLE_TEST_GPU_KERNELCHECK_CHOICESLACK_H
