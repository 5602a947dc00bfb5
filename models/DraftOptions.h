// What the user decides about the import of a draft.

#ifndef SADDLE_MODELS_DRAFTOPTIONS_H
#define SADDLE_MODELS_DRAFTOPTIONS_H

#include <cstdint>
#include <vector>

namespace saddle {

/// What layer numbers in a draft's configuration name: engines disagree (docs/
/// decisions/0012-speculation.md).
enum class TapConvention {
  Entering, // the residual stream that enters the layer, as vLLM and ATOM do
  Leaving,  // the one that leaves it, as SGLang takes explicit numbers
};

struct DraftOptions {
  /// Layers whose entering residual stream the draft sees, ascending; empty:
  /// what its configuration says.
  std::vector<int64_t> taps;
  TapConvention convention = TapConvention::Entering;
  /// Every rank holds the draft's whole embedding: memory for an exchange less
  /// in each of its steps.
  bool wholeEmbedding = false;
};

/// The name of a draft's program, of its checkpoint, and the prefix of its
/// symbols and dimensions.
inline constexpr const char *kDraftName = "draft";

} // namespace saddle

#endif // SADDLE_MODELS_DRAFTOPTIONS_H
