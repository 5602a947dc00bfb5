#include "tools/saddle-run/Prompts.h"

#include "runtime/src/base/File.h"
#include "tools/support/Lists.h"

#include <cinttypes>
#include <cstdio>

namespace saddle::tools {

static StatusOr<std::string> readText(const std::string &path) {
  SADDLE_ASSIGN_OR_RETURN(OwnedBytes text,
                          path == "-" ? readStandardInput() : readFile(path));
  return std::string(text.bytes().begin(), text.bytes().end());
}

static StatusOr<std::vector<std::string>> readLines(const std::string &path) {
  SADDLE_ASSIGN_OR_RETURN(std::string text, readText(path));
  std::vector<std::string> lines;
  // A byte order mark and the CR of a line end are not the prompts'; both would
  // become tokens.
  const std::string mark = "\xef\xbb\xbf";
  size_t first = text.compare(0, mark.size(), mark) == 0 ? mark.size() : 0;
  for (size_t start = first; start < text.size();) {
    size_t end = std::min(text.find('\n', start), text.size());
    size_t behind = end > start && text[end - 1] == '\r' ? end - 1 : end;
    lines.push_back(text.substr(start, behind - start));
    if (lines.back().empty())
      return makeError(StatusCode::InvalidArgument,
                       "%s: line %zu is empty, expected a prompt", path.c_str(),
                       lines.size());
    start = end + 1;
  }
  if (lines.empty())
    return makeError(StatusCode::InvalidArgument,
                     "%s: empty, expected one prompt per line", path.c_str());
  return lines;
}

static Status checkPrompt(size_t index, const std::vector<int32_t> &ids,
                          const saddle_engine_info_t &info) {
  if (ids.empty())
    return makeError(StatusCode::InvalidArgument,
                     "prompt %zu is empty, expected at least one token", index);
  if (ids.size() > info.max_seq_len)
    return makeError(StatusCode::InvalidArgument,
                     "prompt %zu has %zu tokens, but the engine's max_seq_len "
                     "is %" PRIu64 "; compile with a larger --max-seq-len",
                     index, ids.size(), info.max_seq_len);
  for (size_t i = 0; i < ids.size(); ++i)
    if (uint64_t(ids[i]) >= info.vocab_size)
      return makeError(StatusCode::InvalidArgument,
                       "prompt %zu: token %zu is %d, expected 0 to %" PRIu64
                       "; does the tokenizer belong to this engine?",
                       index, i, ids[i], info.vocab_size - 1);
  return {};
}

/// --tokens; range-checked here because ids may not fit 32 bits.
static StatusOr<std::vector<int32_t>>
parseTokens(size_t index, const std::string &text,
            const saddle_engine_info_t &info) {
  std::vector<int32_t> ids;
  if (text.empty())
    return ids;
  SADDLE_ASSIGN_OR_RETURN(std::vector<int64_t> numbers,
                          parseList("--tokens", text));
  for (int64_t number : numbers) {
    if (number < 0 || uint64_t(number) >= info.vocab_size)
      return makeError(StatusCode::InvalidArgument,
                       "prompt %zu: token %zu is %" PRId64
                       ", expected 0 to %" PRIu64,
                       index, ids.size(), number, info.vocab_size - 1);
    ids.push_back(int32_t(number));
  }
  return ids;
}

StatusOr<std::vector<std::vector<int32_t>>>
readPrompts(const PromptSources &sources, const saddle_tokenizer_t *tokenizer,
            const saddle_engine_info_t &info) {
  std::vector<std::vector<int32_t>> prompts;
  for (const std::string &text : sources.tokens) {
    SADDLE_ASSIGN_OR_RETURN(std::vector<int32_t> ids,
                            parseTokens(prompts.size(), text, info));
    prompts.push_back(std::move(ids));
  }
  std::vector<std::string> texts = sources.texts;
  if (!sources.file.empty()) {
    SADDLE_ASSIGN_OR_RETURN(texts, readLines(sources.file));
  }
  for (const std::string &text : texts) {
    StatusOr<std::vector<int32_t>> ids =
        encode(tokenizer, text, sources.parseSpecial);
    if (!ids.ok())
      return ids.status().within("prompt " + std::to_string(prompts.size()));
    if (!sources.parseSpecial) {
      SADDLE_ASSIGN_OR_RETURN(std::vector<int32_t> parsed,
                              encode(tokenizer, text, /*parseSpecial=*/true));
      if (parsed != *ids)
        std::fprintf(stderr,
                     "prompt %zu: content of special tokens stays text; "
                     "--parse-special makes it tokens\n",
                     prompts.size());
    }
    prompts.push_back(std::move(*ids));
  }
  for (size_t i = 0; i < prompts.size(); ++i)
    SADDLE_RETURN_IF_ERROR(checkPrompt(i, prompts[i], info));
  return prompts;
}

} // namespace saddle::tools
