// Reads texts from standard input, each behind its length in 4 bytes, and
// prints the ids that a tokenizer.json gives for each, a line for each, with -1
// and the ids' text behind them when that is another than the reference's.
// every_token.py compares the lines with Hugging Face tokenizers.

#include "runtime/src/text/Tokenizer.h"

#include <cstdio>
#include <iostream>

using namespace saddle;
using namespace saddle::text;

int main(int argc, char **argv) {
  if (argc != 2)
    return 2;
  auto tokenizer = Tokenizer::load(argv[1]);
  if (!tokenizer.ok()) {
    std::fprintf(stderr, "%s\n", tokenizer.status().message().c_str());
    return 1;
  }
  unsigned char size[4];
  while (std::cin.read(reinterpret_cast<char *>(size), sizeof size)) {
    std::string text(size_t(size[0]) | size_t(size[1]) << 8 |
                         size_t(size[2]) << 16 | size_t(size[3]) << 24,
                     '\0');
    std::cin.read(text.data(), std::streamsize(text.size()));
    auto ids = (*tokenizer)
                   ->encode(text, /*addSpecial=*/false, /*parseSpecial=*/false);
    if (!ids.ok()) {
      std::fprintf(stderr, "%s\n", ids.status().message().c_str());
      return 1;
    }
    for (int32_t id : *ids)
      std::printf("%d ", id);
    std::printf(
        "%s\n",
        (*tokenizer)->decode(*ids, /*skipSpecial=*/false) == text ? "" : "-1");
  }
  return 0;
}
