// Which ids the tokenizer beside a model gives its own begin and end tokens.

#ifndef SADDLE_MODELS_COMMON_TOKENIZERIDS_H
#define SADDLE_MODELS_COMMON_TOKENIZERIDS_H

#include "models/Common/Fields.h"

namespace saddle {

/// Ids that `config`, at its path, gives and `generation`, if there is one,
/// does not: where the tokenizer in the same folder says otherwise
/// (`bos_token` and `eos_token` of tokenizer_config.json), it is right, since
/// it made the text that the model was trained on, and a warning tells of the
/// contradiction. Without a tokenizer, or a token of it that has no id, ids
/// stay as they are. Tokenizers that are no JSON are for their readers to
/// refuse.
void settleTokenIds(const ConfigReader &config,
                    std::optional<ConfigReader> generation, int64_t vocab,
                    TokenIds &ids, std::vector<std::string> &warnings);

} // namespace saddle

#endif // SADDLE_MODELS_COMMON_TOKENIZERIDS_H
