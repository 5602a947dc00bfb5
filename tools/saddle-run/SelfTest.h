// Golden logits: what a run that is trusted computed, and whether another one
// computes the same.

#ifndef SADDLE_TOOLS_SADDLE_RUN_SELFTEST_H
#define SADDLE_TOOLS_SADDLE_RUN_SELFTEST_H

#include "tools/saddle-run/Generate.h"

namespace saddle::tools {

/// A prompt for any model: 16 ids (fewer if max_seq_len is) spread over the
/// vocabulary, the same for every engine of it.
std::vector<int32_t> fixedPrompt(const saddle_engine_info_t &info);

/// What `--golden-out` wrote (writeLogits of one continuation).
struct Golden {
  std::string path;
  std::vector<int32_t> tokens; // as many as rows of logits, or one more
  std::vector<float> logits;   // [positions, vocab]
};

/// Errors: not such a file, of another vocabulary or too long for the engine,
/// ids outside the vocabulary, logits that are no numbers.
StatusOr<Golden> readGolden(const std::string &path,
                            const saddle_engine_info_t &info);

/// The largest difference of logits that counts as equal, as a share of the
/// largest golden logit: 1e-4 where both are fp32 (`compute_dtype`), which is
/// what orders of sums make; 8e-2 for bf16, with activations in fp8 (README of
/// test/e2e/goldens has the derivation).
double goldenBound(const saddle_engine_info_t &info);

/// Feeds the golden tokens as one prompt and compares all rows of logits.
/// Returns the error, as a share of the largest golden logit. Mismatch when it
/// is above `bound`: names position and token.
StatusOr<double> selfTest(saddle_session_t *session,
                          const saddle_engine_info_t &info,
                          const Golden &golden, double bound);

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SADDLE_RUN_SELFTEST_H
