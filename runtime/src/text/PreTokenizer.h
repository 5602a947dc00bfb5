// Cuts normalised text into the words that BPE may not merge across.

#ifndef SADDLE_RUNTIME_TEXT_PRETOKENIZER_H
#define SADDLE_RUNTIME_TEXT_PRETOKENIZER_H

#include "runtime/src/text/Regex.h"

#include <optional>

namespace saddle::text {

/// What becomes of a match of a Split.
enum class SplitBehavior {
  Removed,
  Isolated,
  MergedWithPrevious,
  MergedWithNext,
  Contiguous, // neighbouring matches are one word
};

/// One stage: cuts each word that earlier stages left into smaller ones.
struct SplitStage {
  std::optional<Regex> pattern; // none: words stay whole
  SplitBehavior behavior = SplitBehavior::Isolated;
  bool invert = false; // what lies between matches counts as matched
  /// A space is put in front of words that do not begin with one.
  bool addPrefixSpace = false;
};

/// The pattern of ByteLevel's own splitting.
extern const char *const kByteLevelPattern;

/// Runs the stages over `text` and appends the words to `words`.
Status preTokenize(const std::vector<SplitStage> &stages, std::string_view text,
                   std::vector<std::string> &words);

} // namespace saddle::text

#endif // SADDLE_RUNTIME_TEXT_PRETOKENIZER_H
