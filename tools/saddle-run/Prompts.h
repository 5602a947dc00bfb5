// What the user wants continued, checked before anything expensive starts.

#ifndef SADDLE_TOOLS_SADDLE_RUN_PROMPTS_H
#define SADDLE_TOOLS_SADDLE_RUN_PROMPTS_H

#include "tools/support/Runtime.h"

namespace saddle::tools {

/// The command line's inputs; exactly one of them is given.
struct PromptSources {
  std::vector<std::string> texts;  // --prompt
  std::vector<std::string> tokens; // --tokens
  std::string file;                // --prompts-file; "-" is standard input
  /// The content of a special token in a text is that token.
  bool parseSpecial = false;
  bool given() const {
    return !texts.empty() || !tokens.empty() || !file.empty();
  }
  bool needTokenizer() const { return given() && tokens.empty(); }
};

/// Token ids of each prompt. `tokenizer` may be null when none is needed.
/// Errors: a prompt without tokens, or with more than max_seq_len; ids outside
/// the vocabulary; text that is not UTF-8; an unreadable file.
/// A note about content of special tokens that stays text goes to standard
/// error.
StatusOr<std::vector<std::vector<int32_t>>>
readPrompts(const PromptSources &sources, const saddle_tokenizer_t *tokenizer,
            const saddle_engine_info_t &info);

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SADDLE_RUN_PROMPTS_H
