// Chooses the next token from a row of logits.
//
// Random numbers come from a counter-based generator (SplitMix64 of seed and
// draw number), and all arithmetic is in double in a fixed order: the same seed
// gives the same tokens on every machine.

#ifndef SADDLE_RUNTIME_SAMPLE_SAMPLER_H
#define SADDLE_RUNTIME_SAMPLE_SAMPLER_H

#include "runtime/src/base/Status.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace saddle::sample {

struct SamplerOptions {
  double temperature = 0; // 0: greedy
  uint64_t topK = 0;      // keep the k largest; 0: all
  double topP = 1; // keep the smallest set of the likeliest with this mass
  uint64_t seed = 0;
};

/// The `draw`-th number of the stream `seed`, uniform in [0, 1) with 53 bits.
double uniform(uint64_t seed, uint64_t draw);

/// Whether the `count` largest logits of a row say all that the options ask
/// for.
bool needsOnly(const SamplerOptions &options, size_t count);

/// One stream of draws. Not thread-safe.
class Sampler {
public:
  /// Errors: a negative or infinite temperature, topP outside (0, 1].
  static StatusOr<Sampler> create(const SamplerOptions &options);

  /// The index of the chosen token. Ties are in favour of the lower index.
  /// Temperature first, then top-k, then top-p. -infinity excludes a token;
  /// NaN and +infinity, and rows that exclude all, are errors.
  StatusOr<int32_t> sample(const float *logits, size_t count);

  /// The same from the `count` largest logits of a row and their tokens, in
  /// descending order, ties by token, NaN first. Also an error when the options
  /// need more of them.
  StatusOr<int32_t> sampleCandidates(const float *values, const int32_t *tokens,
                                     size_t count);

private:
  explicit Sampler(const SamplerOptions &options) : options(options) {}

  struct Candidate {
    double weight;
    float logit;
    int32_t token;
  };
  /// Adds a token unless its weight beside `largest` is 0.
  void consider(float logit, float largest, int32_t token);
  /// Top-k, top-p and the draw, among `candidates`; there are some.
  int32_t draw();

  SamplerOptions options;
  uint64_t draws = 0;
  std::vector<Candidate> candidates;
};

} // namespace saddle::sample

#endif // SADDLE_RUNTIME_SAMPLE_SAMPLER_H
