// experts and experts_of_codes: the gated MLPs that a token's router chose.
//
// Experts are visited in ascending order and each expert's rows are widened
// once for all tokens that chose it. A token adds its experts in that order
// too, whatever else is in the batch.

#include "runtime/src/cpu/Binding.h"

namespace saddle::cpu {

namespace {
/// A token and the weight that its router gave to the current expert.
struct Choice {
  uint64_t token;
  float weight;
};
} // namespace

/// Weights and numbers of experts are operands `choices` and the next one.
static std::unique_ptr<BoundKernel>
bindGated(const BindContext &context, const ProductRows &x, unsigned choices) {
  StoredWeight w13 = context.weight(0), w2 = context.weight(1);
  View weights = context.operand(choices),
       experts = context.operand(choices + 1), out = context.operands.back();
  auto expertStart = int64_t(context.rankValue("expert_start"));
  uint64_t group = x.group;
  uint64_t tokens = x.tokens(), hidden = x.width(), k = experts.shape[1];
  uint64_t held = w13.members(), inner = w2.columns();
  uint64_t working = std::max(multiplyScratch(hidden), multiplyScratch(inner));
  context.scratch.require(double(tokens) *
                              (3 * double(hidden) + 2 * double(inner)) +
                          double(working));

  auto run = [=, scratch = &context.scratch,
              rows = std::vector<const float *>(tokens),
              results = std::vector<float *>(tokens),
              choices = std::vector<Choice>(tokens)](uint64_t count) mutable {
    float *inputs = scratch->data(), *sums = inputs + tokens * hidden,
          *products = sums + tokens * hidden,
          *gates = products + tokens * hidden,
          *widened = gates + tokens * 2 * inner;
    for (uint64_t t = 0; t < count; ++t) {
      float *input = inputs + t * hidden;
      if (const float *row = x.row(t, input); row != input)
        std::copy_n(row, hidden, input);
    }
    std::fill_n(sums, count * hidden, 0.0f);

    // Adds what expert `e` makes of the first `m` choices.
    auto runExpert = [&](uint64_t e, uint64_t m) {
      for (uint64_t i = 0; i < m; ++i) {
        rows[i] = inputs + choices[i].token * hidden;
        results[i] = gates + i * 2 * inner;
      }
      multiply(w13.matrix(e), rows.data(), m, widened, results.data());
      for (uint64_t i = 0; i < m; ++i) {
        float *gated = gates + i * 2 * inner;
        gate(gated, gated + inner, inner);
        if (group)
          quantizeGroups(gated, inner, group);
        rows[i] = gated;
        results[i] = products + i * hidden;
      }
      multiply(w2.matrix(e), rows.data(), m, widened, results.data());
      for (uint64_t i = 0; i < m; ++i)
        addScaled(choices[i].weight, results[i],
                  sums + choices[i].token * hidden, hidden);
    };

    for (uint64_t e = 0; e < held; ++e) {
      uint64_t m = 0;
      for (uint64_t t = 0; t < count; ++t) {
        auto *chosen = reinterpret_cast<const int32_t *>(experts.row(t));
        for (uint64_t j = 0; j < k; ++j) {
          if (chosen[j] - expertStart != int64_t(e))
            continue;
          if (m == tokens) { // only when a token names an expert twice
            runExpert(e, m);
            m = 0;
          }
          choices[m++] = {t, reinterpret_cast<float *>(weights.row(t))[j]};
        }
      }
      runExpert(e, m);
    }
    for (uint64_t t = 0; t < count; ++t)
      storeRow(sums + t * hidden, out.dtype, out.row(t), hidden);
  };
  return makeKernel(std::move(run));
}

std::unique_ptr<BoundKernel> bindExperts(const BindContext &context) {
  return bindGated(context, ProductRows::values(context), 1);
}

std::unique_ptr<BoundKernel> bindExpertsOfCodes(const BindContext &context) {
  return bindGated(context, ProductRows::codes(context), 2);
}

} // namespace saddle::cpu
