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

bool needsOnly(const SamplerOptions &options, size_t count) {
  if (options.temperature == 0)
    return count >= 1;
  return options.topK >= 1 && options.topK <= count;
}

void Sampler::consider(float logit, float largest, int32_t token) {
  double weight =
      std::exp((double(logit) - double(largest)) / options.temperature);
  if (weight > 0)
    candidates.push_back({weight, logit, token});
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
  candidates.clear();
  for (size_t i = 0; i < count; ++i)
    consider(logits[i], logits[best], int32_t(i));
  return draw();
}

StatusOr<int32_t> Sampler::sampleCandidates(const float *values,
                                            const int32_t *tokens,
                                            size_t count) {
  if (!needsOnly(options, count))
    return makeError(StatusCode::InvalidArgument,
                     "temperature %g and top-k %llu need whole rows of logits, "
                     "or a top-k of 1 to %zu for %zu candidates",
                     options.temperature, (unsigned long long)options.topK,
                     count, count);
  if (std::isnan(values[0]) || values[0] == INFINITY)
    return makeError(StatusCode::InvalidArgument,
                     "the logit of token %d is %g, expected a finite number",
                     tokens[0], double(values[0]));
  if (values[0] == -INFINITY)
    return makeError(StatusCode::InvalidArgument,
                     "all %zu candidates are excluded", count);
  if (options.temperature == 0)
    return tokens[0];
  candidates.clear();
  for (size_t i = 0; i < count; ++i)
    consider(values[i], values[0], tokens[i]);
  return draw();
}

int32_t Sampler::draw() {
  // By logits: weights of different logits can be equal.
  auto likelier = [](const Candidate &a, const Candidate &b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
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
