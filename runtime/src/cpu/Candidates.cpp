// top_candidates and merge_candidates: the largest values of a row, in order.

#include "runtime/src/cpu/Binding.h"
#include "runtime/src/cpu/Vector.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace saddle::cpu {

namespace {
/// Columns of a row by falling value, NaN first; equal ones as they stand.
class Ranking {
public:
  explicit Ranking(uint64_t columns) : order(columns) {}

  /// The first `count` columns.
  const std::vector<uint32_t> &best(const float *values, uint64_t count) {
    if (count == 1) {
      order[0] = uint32_t(largest(values, order.size()));
      return order;
    }
    std::iota(order.begin(), order.end(), 0u);
    auto isBefore = [values](uint32_t a, uint32_t b) {
      float x = values[a], y = values[b];
      if (std::isnan(x) != std::isnan(y))
        return std::isnan(x);
      return x > y || (!(x < y) && a < b);
    };
    std::partial_sort(order.begin(), order.begin() + int64_t(count),
                      order.end(), isBefore);
    return order;
  }

private:
  std::vector<uint32_t> order;
};
} // namespace

std::unique_ptr<BoundKernel> bindTopCandidates(const BindContext &context) {
  View logits = context.operand(0), values = context.operand(1),
       tokens = context.operand(2);
  auto vocabStart = int64_t(context.rankValue("vocab_start"));
  uint64_t kept = values.shape[1];
  auto run = [=, ranking = Ranking(logits.shape[1])](uint64_t count) mutable {
    for (uint64_t i = 0; i < count; ++i) {
      auto *row = reinterpret_cast<const float *>(logits.row(i));
      auto *rowValues = reinterpret_cast<float *>(values.row(i));
      auto *rowTokens = reinterpret_cast<int32_t *>(tokens.row(i));
      const std::vector<uint32_t> &best = ranking.best(row, kept);
      for (uint64_t j = 0; j < kept; ++j) {
        rowValues[j] = row[best[j]];
        rowTokens[j] = int32_t(vocabStart + best[j]);
      }
    }
  };
  return makeKernel(std::move(run));
}

std::unique_ptr<BoundKernel> bindMergeCandidates(const BindContext &context) {
  View values = context.operand(0), tokens = context.operand(1),
       mergedValues = context.operand(2), mergedTokens = context.operand(3);
  uint64_t kept = mergedValues.shape[1];
  auto run = [=, ranking = Ranking(values.shape[1])](uint64_t count) mutable {
    for (uint64_t i = 0; i < count; ++i) {
      auto *row = reinterpret_cast<const float *>(values.row(i));
      auto *rowTokens = reinterpret_cast<const int32_t *>(tokens.row(i));
      auto *outValues = reinterpret_cast<float *>(mergedValues.row(i));
      auto *outTokens = reinterpret_cast<int32_t *>(mergedTokens.row(i));
      const std::vector<uint32_t> &best = ranking.best(row, kept);
      for (uint64_t j = 0; j < kept; ++j) {
        outValues[j] = row[best[j]];
        outTokens[j] = rowTokens[best[j]];
      }
    }
  };
  return makeKernel(std::move(run));
}

std::unique_ptr<BoundKernel> bindMapTokens(const BindContext &context) {
  View tokens = context.operand(0), table = context.operand(1),
       out = context.operand(2);
  return makeKernel([=](uint64_t count) {
    auto *offsets = reinterpret_cast<const int64_t *>(table.data);
    for (uint64_t t = 0; t < count; ++t) {
      auto *from = reinterpret_cast<const int32_t *>(tokens.row(t));
      auto *to = reinterpret_cast<int32_t *>(out.row(t));
      for (uint64_t i = 0; i < tokens.shape[1]; ++i) {
        int32_t token = from[i];
        bool known = token >= 0 && uint64_t(token) < table.shape[0];
        to[i] = known ? int32_t(token + offsets[token]) : token;
      }
    }
  });
}

} // namespace saddle::cpu
