// --prompts-file and --tokens: prompts that are taken hold tokens of the
// vocabulary only, as many as the engine takes, and no byte of a line end or
// byte order mark.

#include "test/fuzz/TemporaryFile.h"
#include "tools/saddle-run/Prompts.h"

using namespace saddle;
using namespace saddle::tools;

/// Of byte-level BPE: token i is the i-th byte in the order of the table that
/// GPT-2 made, so all bytes have one.
static TokenizerOwner openBytes() {
  StatusOr<TokenizerOwner> tokenizer = loadTokenizer(SADDLE_FUZZ_TOKENIZER);
  if (!tokenizer.ok())
    std::abort();
  return std::move(*tokenizer);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const TokenizerOwner tokenizer = openBytes();
  if (size == 0)
    return 0;
  saddle_engine_info_t info = {};
  info.vocab_size = 500;
  info.max_seq_len = 64;
  PromptSources sources;
  sources.parseSpecial = data[0] & 1;
  bool isTokens = data[0] & 2;
  if (isTokens)
    sources.tokens = {
        std::string(reinterpret_cast<const char *>(data) + 1, size - 1)};
  else
    sources.file = writeFuzzFile("prompts.txt", data + 1, size - 1);
  auto prompts = readPrompts(sources, tokenizer.get(), info);
  if (!prompts.ok()) {
    if (prompts.status().message().empty())
      __builtin_trap();
    return 0;
  }
  for (const std::vector<int32_t> &prompt : *prompts) {
    if (prompt.empty() || prompt.size() > info.max_seq_len)
      __builtin_trap();
    for (int32_t token : prompt)
      if (token < 0 || uint64_t(token) >= info.vocab_size)
        __builtin_trap();
    std::string text = decode(tokenizer.get(), prompt);
    if (!isTokens && text.find('\n') != std::string::npos)
      __builtin_trap();
  }
  return 0;
}
