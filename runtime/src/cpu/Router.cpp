// router_topk: sigmoid scores, selection with a bias, normalised weights.

#include "runtime/src/cpu/Binding.h"

#include <cmath>

namespace saddle::cpu {

std::unique_ptr<BoundKernel> bindRouterTopk(const BindContext &context) {
  View logits = context.operand(0), bias = context.operand(1),
       weights = context.operand(2), experts = context.operand(3);
  float routedScale = context.real("routed_scale");
  uint64_t numExperts = logits.shape[1], k = weights.shape[1];
  context.scratch.require(double(numExperts));
  auto run = [=, scratch = &context.scratch,
              taken = std::vector<char>(numExperts)](uint64_t count) mutable {
    auto *shift = reinterpret_cast<const float *>(bias.data);
    float *scores = scratch->data();
    for (uint64_t t = 0; t < count; ++t) {
      auto *row = reinterpret_cast<const float *>(logits.row(t));
      auto *rowWeights = reinterpret_cast<float *>(weights.row(t));
      auto *rowExperts = reinterpret_cast<int32_t *>(experts.row(t));
      for (uint64_t e = 0; e < numExperts; ++e) {
        scores[e] = 1.0f / (1.0f + std::exp(-row[e]));
        taken[e] = false;
      }
      float sum = 0;
      for (uint64_t j = 0; j < k; ++j) {
        // Strictly greater: ties, and NaN, leave the lower index.
        uint64_t best = numExperts;
        for (uint64_t e = 0; e < numExperts; ++e)
          if (!taken[e] && (best == numExperts ||
                            scores[e] + shift[e] > scores[best] + shift[best]))
            best = e;
        taken[best] = true;
        rowExperts[j] = int32_t(best);
        rowWeights[j] = scores[best];
        sum += scores[best];
      }
      for (uint64_t j = 0; j < k; ++j)
        rowWeights[j] = rowWeights[j] / sum * routedScale;
    }
  };
  return makeKernel(std::move(run));
}

} // namespace saddle::cpu
