// tokenizer.json, and a text that what it makes encodes and decodes. The text
// stands behind the first NUL; JSON has none.

#include "runtime/src/text/Tokenizer.h"
#include "runtime/src/text/Utf8.h"

#include <cstring>

using namespace saddle;
using namespace saddle::text;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const void *nul = std::memchr(data, 0, size);
  size_t json = nul ? size_t(static_cast<const uint8_t *>(nul) - data) : size;
  auto tokenizer = Tokenizer::fromJson(Bytes(data, json), "t.json");
  if (!tokenizer.ok()) {
    if (tokenizer.status().message().empty())
      __builtin_trap();
    return 0;
  }
  std::string text =
      nul ? std::string(reinterpret_cast<const char *>(data) + json + 1,
                        size - json - 1)
          : "Hello, w\xc3\xb6rld 123 \n\xe4\xb8\xad";
  for (bool special : {false, true}) {
    auto tokens = (*tokenizer)->encode(text, special, special);
    if (tokens.ok())
      (void)(*tokenizer)->decode(*tokens, /*skipSpecial=*/special);
    else if (findInvalidUtf8(text) == std::string::npos &&
             tokens.status().message().empty())
      __builtin_trap();
  }
  return 0;
}
