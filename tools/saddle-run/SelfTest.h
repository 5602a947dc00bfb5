// Golden logits: what a run that is trusted computed, and whether another one
// computes the same.

#ifndef SADDLE_TOOLS_SADDLE_RUN_SELFTEST_H
#define SADDLE_TOOLS_SADDLE_RUN_SELFTEST_H

#include "tools/saddle-run/Generate.h"

namespace saddle::tools {

/// A prompt for any model: 16 ids (fewer if max_seq_len is) spread over the
/// vocabulary, the same for every engine of it.
std::vector<int32_t> fixedPrompt(const saddle_engine_info_t &info);

/// Feeds `tokens` as one prompt: their continuation by a token, with logits.
StatusOr<Continuation> runWithLogits(saddle_session_t *session,
                                     const saddle_engine_info_t &info,
                                     const std::vector<int32_t> &tokens);

/// Feeds the same again and taps what experts of each layer multiply: `hidden`
/// and `layers` of the continuation. Models without experts have none.
Status tapLayers(saddle_session_t *session, const saddle_engine_info_t &info,
                 const std::vector<int32_t> &tokens, Continuation &to);

/// What `--golden-out` wrote (writeLogits of one continuation).
struct Golden {
  std::string path;
  std::vector<int32_t> tokens; // as many as rows of logits, or one more
  std::vector<float> logits;   // [positions, vocab]
  /// Of the last of these tokens, [layers, columns]; empty in older files.
  std::vector<float> hidden;
  uint64_t layers = 0;
};

/// Errors: not such a file, of another vocabulary or too long for the engine,
/// ids outside the vocabulary, logits that are no numbers.
StatusOr<Golden> readGolden(const std::string &path,
                            const saddle_engine_info_t &info);

/// What counts as equal.
struct Tolerance {
  /// The largest difference in a row of logits, as a share of the largest
  /// golden logit.
  double bound;
  /// Positions that may be above it, as a share of all.
  double exempt;
};

/// For engines that compute in fp32: 1e-4 everywhere, which is what orders of
/// sums make. For others 8e-2, which is what bf16 with activations in fp8 makes
/// (README of test/e2e/goldens), and a third of the positions exempt: where two
/// experts are nearly as good, rounding chooses another one.
Tolerance goldenTolerance(const saddle_engine_info_t &info);

/// Feeds the golden tokens as one prompt and compares all rows of logits.
/// Returns the largest error of those that are not exempt. Mismatch when that
/// is above the bound: names the worst of them, position and token, and, where
/// the golden has taps, the first layer whose experts read something else. A
/// logit that is no number is never exempt.
StatusOr<double> selfTest(saddle_session_t *session,
                          const saddle_engine_info_t &info,
                          const Golden &golden, Tolerance tolerance);

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SADDLE_RUN_SELFTEST_H
