#include "runtime/src/sample/Sampler.h"
#include "runtime/src/api/Handles.h"

#include <saddle/sampler.h>

using namespace saddle;
using namespace saddle::api;

struct saddle_sampler_t {
  sample::Sampler sampler;
};

void saddle_sampler_options_init(saddle_sampler_options_t *options) {
  if (!options)
    return;
  sample::SamplerOptions defaults;
  *options = {defaults.temperature, defaults.topK, defaults.topP,
              defaults.seed};
}

sample::SamplerOptions
api::samplingOf(const saddle_sampler_options_t &options) {
  sample::SamplerOptions converted;
  converted.temperature = options.temperature;
  converted.topK = options.top_k;
  converted.topP = options.top_p;
  converted.seed = options.seed;
  return converted;
}

saddle_status_t saddle_sampler_create(const saddle_sampler_options_t *options,
                                      saddle_sampler_t **sampler) {
  return answer([&] {
    if (!options || !sampler)
      return nullArgument(options ? "sampler" : "options");
    *sampler = nullptr;
    auto made = sample::Sampler::create(samplingOf(*options));
    if (made.ok())
      *sampler = new saddle_sampler_t{std::move(*made)};
    return toC(made.status());
  });
}

void saddle_sampler_destroy(saddle_sampler_t *sampler) { delete sampler; }

saddle_status_t saddle_sampler_sample(saddle_sampler_t *sampler,
                                      const float *logits, size_t count,
                                      int32_t *token) {
  return answer([&] {
    SADDLE_REQUIRE(sampler);
    if (!logits || !token)
      return nullArgument(logits ? "token" : "logits");
    auto chosen = sampler->sampler.sample(logits, count);
    if (chosen.ok())
      *token = *chosen;
    return toC(chosen.status());
  });
}

int saddle_sampler_needs_only(const saddle_sampler_options_t *options,
                              size_t count) {
  return options && sample::needsOnly(samplingOf(*options), count);
}

saddle_status_t saddle_sampler_sample_candidates(saddle_sampler_t *sampler,
                                                 const float *values,
                                                 const int32_t *tokens,
                                                 size_t count, int32_t *token) {
  return answer([&] {
    SADDLE_REQUIRE(sampler);
    if (!values || !tokens || !token)
      return nullArgument(!values ? "values" : !tokens ? "tokens" : "token");
    auto chosen = sampler->sampler.sampleCandidates(values, tokens, count);
    if (chosen.ok())
      *token = *chosen;
    return toC(chosen.status());
  });
}
