// Which experts a token gets: router_topk (sigmoid scores, selection with a
// bias) and softmax_topk; and how much a shared expert gets (shared_gate).

#include "runtime/src/cpu/Binding.h"

#include <algorithm>
#include <cmath>

namespace saddle::cpu {

/// Writes the `k` largest of `count` keys to `chosen`, in descending order.
/// `taken` has a place for each key.
static void chooseLargest(const float *keys, uint64_t count, uint64_t k,
                          std::vector<char> &taken, int32_t *chosen) {
  std::fill(taken.begin(), taken.end(), false);
  for (uint64_t j = 0; j < k; ++j) {
    // Strictly greater: ties, and NaN, leave the lower index.
    uint64_t best = count;
    for (uint64_t e = 0; e < count; ++e)
      if (!taken[e] && (best == count || keys[e] > keys[best]))
        best = e;
    taken[best] = true;
    chosen[j] = int32_t(best);
  }
}

std::unique_ptr<BoundKernel> bindRouterTopk(const BindContext &context) {
  View logits = context.operand(0), bias = context.operand(1),
       weights = context.operand(2), experts = context.operand(3);
  float routedScale = context.real("routed_scale");
  uint64_t numExperts = logits.shape[1], k = weights.shape[1];
  context.scratch.require(2 * double(numExperts));
  auto run = [=, scratch = &context.scratch,
              taken = std::vector<char>(numExperts)](uint64_t count) mutable {
    auto *shift = reinterpret_cast<const float *>(bias.data);
    float *scores = scratch->data(), *keys = scores + numExperts;
    for (uint64_t t = 0; t < count; ++t) {
      auto *row = reinterpret_cast<const float *>(logits.row(t));
      auto *rowWeights = reinterpret_cast<float *>(weights.row(t));
      auto *rowExperts = reinterpret_cast<int32_t *>(experts.row(t));
      for (uint64_t e = 0; e < numExperts; ++e) {
        scores[e] = 1.0f / (1.0f + std::exp(-row[e]));
        keys[e] = scores[e] + shift[e];
      }
      chooseLargest(keys, numExperts, k, taken, rowExperts);
      float sum = 0;
      for (uint64_t j = 0; j < k; ++j)
        sum += rowWeights[j] = scores[rowExperts[j]];
      for (uint64_t j = 0; j < k; ++j)
        rowWeights[j] = rowWeights[j] / sum * routedScale;
    }
  };
  return makeKernel(std::move(run));
}

std::unique_ptr<BoundKernel> bindSoftmaxTopk(const BindContext &context) {
  View logits = context.operand(0), weights = context.operand(1),
       experts = context.operand(2);
  uint64_t numExperts = logits.shape[1], k = weights.shape[1];
  auto run = [=,
              taken = std::vector<char>(numExperts)](uint64_t count) mutable {
    for (uint64_t t = 0; t < count; ++t) {
      auto *row = reinterpret_cast<const float *>(logits.row(t));
      auto *rowWeights = reinterpret_cast<float *>(weights.row(t));
      auto *rowExperts = reinterpret_cast<int32_t *>(experts.row(t));
      chooseLargest(row, numExperts, k, taken, rowExperts);
      // What the softmax divides by cancels, so only chosen ones count.
      float sum = 0;
      for (uint64_t j = 0; j < k; ++j)
        sum += rowWeights[j] =
            std::exp(row[rowExperts[j]] - row[rowExperts[0]]);
      for (uint64_t j = 0; j < k; ++j)
        rowWeights[j] /= sum;
    }
  };
  return makeKernel(std::move(run));
}

std::unique_ptr<BoundKernel> bindSharedGate(const BindContext &context) {
  View weights = context.operand(0), logit = context.operand(1),
       routed = context.operand(2), shared = context.operand(3),
       experts = context.operand(4);
  uint64_t k = weights.shape[1];
  auto run = [=](uint64_t count) {
    for (uint64_t t = 0; t < count; ++t) {
      float from = *reinterpret_cast<const float *>(logit.row(t));
      auto *given = reinterpret_cast<const float *>(weights.row(t));
      auto *left = reinterpret_cast<float *>(routed.row(t));
      // 1 - sigmoid(x) is sigmoid(-x), which loses no digits.
      float rest = 1.0f / (1.0f + std::exp(from));
      for (uint64_t j = 0; j < k; ++j)
        left[j] = rest * given[j];
      *reinterpret_cast<float *>(shared.row(t)) =
          1.0f / (1.0f + std::exp(-from));
      *reinterpret_cast<int32_t *>(experts.row(t)) = 0;
    }
  };
  return makeKernel(std::move(run));
}

} // namespace saddle::cpu
