#include "runtime/src/sample/Sampler.h"

#include <algorithm>
#include <cmath>

namespace saddle::sample {

double uniform(uint64_t seed, uint64_t draw) {
  // SplitMix64 (Steele, Lea, Flood 2014): a Weyl sequence through a mixer.
  uint64_t z = seed + (draw + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  z ^= z >> 31;
  return double(z >> 11) * 0x1p-53;
}

StatusOr<Sampler> Sampler::create(const SamplerOptions &options) {
  if (!(options.temperature >= 0) || std::isinf(options.temperature))
    return makeError(StatusCode::InvalidArgument,
                     "temperature %g: expected a finite number of 0 or more",
                     options.temperature);
  if (!(options.topP > 0 && options.topP <= 1))
    return makeError(StatusCode::InvalidArgument,
                     "top-p %g: expected more than 0 and at most 1",
                     options.topP);
  return Sampler(options);
}

StatusOr<int32_t> Sampler::sample(const float *logits, size_t count) {
  size_t best = 0;
  for (size_t i = 0; i < count; ++i) {
    if (std::isnan(logits[i]) || logits[i] == INFINITY)
      return makeError(StatusCode::InvalidArgument,
                       "logit %zu of %zu is %g, expected a finite number", i,
                       count, double(logits[i]));
    if (logits[i] > logits[best])
      best = i;
  }
  if (count == 0 || logits[best] == -INFINITY)
    return makeError(StatusCode::InvalidArgument, "all %zu logits are excluded",
                     count);
  if (options.temperature == 0)
    return int32_t(best);

  double largest = logits[best];
  candidates.clear();
  for (size_t i = 0; i < count; ++i) {
    double weight = std::exp((logits[i] - largest) / options.temperature);
    if (weight > 0)
      candidates.push_back({weight, int32_t(i)});
  }
  auto likelier = [](const Candidate &a, const Candidate &b) {
    return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
  };
  if (options.topK > 0 && options.topK < candidates.size()) {
    std::nth_element(candidates.begin(), candidates.begin() + options.topK,
                     candidates.end(), likelier);
    candidates.resize(options.topK);
  }
  if (options.topP < 1 || options.topK > 0)
    std::sort(candidates.begin(), candidates.end(), likelier);
  double total = 0;
  for (const Candidate &candidate : candidates)
    total += candidate.weight;
  if (options.topP < 1) {
    double kept = 0;
    size_t size = 0;
    while (size < candidates.size() && kept < options.topP * total)
      kept += candidates[size++].weight;
    candidates.resize(size);
    total = kept;
  }
  double target = uniform(options.seed, draws++) * total, sum = 0;
  for (const Candidate &candidate : candidates) {
    sum += candidate.weight;
    if (target < sum)
      return candidate.token;
  }
  return candidates.back().token;
}

} // namespace saddle::sample
