#include "tools/saddle-run/LogitsFile.h"

#include "runtime/src/base/File.h"

#include <cstring>
#include <nlohmann/json.hpp>

namespace saddle::tools {

Status writeLogits(const std::string &path,
                   const std::vector<Continuation> &continuations,
                   uint64_t vocab) {
  nlohmann::ordered_json header;
  std::vector<uint8_t> data;
  auto add = [&](const std::string &name, const char *dtype,
                 std::vector<uint64_t> shape, const void *bytes, size_t size) {
    header[name] = {{"dtype", dtype},
                    {"shape", shape},
                    {"data_offsets", {data.size(), data.size() + size}}};
    auto *first = static_cast<const uint8_t *>(bytes);
    data.insert(data.end(), first, first + size);
  };
  for (size_t i = 0; i < continuations.size(); ++i) {
    const Continuation &text = continuations[i];
    std::string suffix =
        continuations.size() > 1 ? "." + std::to_string(i) : "";
    add("tokens" + suffix, "I32", {text.tokens.size()}, text.tokens.data(),
        text.tokens.size() * sizeof(int32_t));
    add("logits" + suffix, "F32", {text.logits.size() / vocab, vocab},
        text.logits.data(), text.logits.size() * sizeof(float));
    if (uint64_t layers = text.layers.size())
      add("hidden" + suffix, "F32", {layers, text.hidden.size() / layers},
          text.hidden.data(), text.hidden.size() * sizeof(float));
  }
  std::string json = header.dump();
  json.resize((json.size() + 7) / 8 * 8, ' '); // the data starts 8-aligned
  uint64_t length = json.size();
  std::vector<uint8_t> file(sizeof length + json.size());
  std::memcpy(file.data(), &length, sizeof length);
  std::memcpy(file.data() + sizeof length, json.data(), json.size());
  file.insert(file.end(), data.begin(), data.end());
  return writeFileAtomically(path, Bytes(file.data(), file.size()));
}

} // namespace saddle::tools
