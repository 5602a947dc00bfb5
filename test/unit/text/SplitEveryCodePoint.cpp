// Reads a pattern from standard input and prints, for each 4096 code points, a
// hash of how it cuts texts that hold each of them; without a pattern, of the
// NFC of such texts. every_code_point.py compares it with Hugging Face
// tokenizers.

#include "runtime/src/text/PreTokenizer.h"
#include "runtime/src/text/Utf8.h"

#include <cstdio>
#include <functional>
#include <iostream>
#include <iterator>

using namespace saddle;
using namespace saddle::text;

/// What becomes of a text.
using Words = std::vector<std::string>;

static Status
print(const std::function<std::vector<std::string>(const std::string &c)>
          &textsWith,
      const std::function<Status(const std::string &text, Words &words)> &cut) {
  constexpr uint32_t kBlock = 4096;
  for (uint32_t first = 0; first < 0x110000; first += kBlock) {
    uint64_t hash = 0xcbf29ce484222325; // FNV-1a, of words that end in 0xff
    auto add = [&](uint8_t byte) { hash = (hash ^ byte) * 0x100000001b3; };
    for (uint32_t code = first; code < first + kBlock; ++code) {
      if (code >= 0xd800 && code < 0xe000)
        continue;
      std::string c;
      appendUtf8(code, c);
      for (const std::string &text : textsWith(c)) {
        Words words;
        SADDLE_RETURN_IF_ERROR(cut(text, words));
        for (const std::string &word : words) {
          for (char byte : word)
            add(uint8_t(byte));
          add(0xff);
        }
      }
    }
    std::printf("%llx\n", (unsigned long long)hash);
  }
  return {};
}

static Status run(const std::string &pattern) {
  if (pattern.empty())
    return print(
        [](const std::string &c) -> std::vector<std::string> {
          return {c,
                  "x\u0300" + c,
                  "x" + c + "\u0334",
                  "a" + c + "\u0301",
                  "e\u0301" + c + "\u0323",
                  "\u1100" + c,
                  c + "\u11a8"};
        },
        [](const std::string &text, Words &words) -> Status {
          SADDLE_ASSIGN_OR_RETURN(std::string composed, toNfc(text));
          words.push_back(std::move(composed));
          return {};
        });
  SADDLE_ASSIGN_OR_RETURN(Regex regex, Regex::compile(pattern, false));
  std::vector<SplitStage> stages(1);
  stages[0].pattern.emplace(std::move(regex));
  return print(
      [](const std::string &c) -> std::vector<std::string> {
        return {c,
                "a" + c + "b",
                "A " + c + "1 2" + c,
                c + c + "'s " + c + "\n",
                " " + c + "'" + c + "S",
                "!" + c + "?\u4e2d" + c};
      },
      [&](const std::string &text, Words &words) {
        return preTokenize(stages, text, words);
      });
}

int main() {
  std::string pattern(std::istreambuf_iterator<char>(std::cin), {});
  Status status = run(pattern);
  if (!status.ok())
    std::fprintf(stderr, "%s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}
