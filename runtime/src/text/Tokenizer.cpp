#include "runtime/src/text/Tokenizer.h"

#include "runtime/src/text/Utf8.h"

namespace saddle::text {

Status Tokenizer::encodeText(std::string_view text,
                             std::vector<int32_t> &ids) const {
  std::vector<std::string> words;
  SADDLE_RETURN_IF_ERROR(preTokenize(stages, text, words));
  for (const std::string &word : words)
    SADDLE_RETURN_IF_ERROR(bpe.encode(word, ids));
  return {};
}

StatusOr<std::vector<int32_t>> Tokenizer::encode(std::string_view text,
                                                 bool addSpecial,
                                                 bool parseSpecial) const {
  if (size_t bad = findInvalidUtf8(text); bad != std::string_view::npos)
    return makeError(StatusCode::InvalidArgument,
                     "the text is not UTF-8: byte %zu is 0x%02x", bad,
                     uint8_t(text[bad]));
  std::vector<int32_t> ids;
  if (addSpecial)
    ids = prefix;
  for (const Segment &raw : rawTokens.split(text, parseSpecial)) {
    if (raw.id >= 0) {
      ids.push_back(raw.id);
      continue;
    }
    std::string normalized(raw.text);
    if (nfc) {
      SADDLE_ASSIGN_OR_RETURN(normalized, toNfc(raw.text));
    }
    for (const Segment &segment :
         normalizedTokens.split(normalized, parseSpecial)) {
      if (segment.id >= 0)
        ids.push_back(segment.id);
      else
        SADDLE_RETURN_IF_ERROR(encodeText(segment.text, ids));
    }
  }
  if (addSpecial)
    ids.insert(ids.end(), suffix.begin(), suffix.end());
  return ids;
}

std::string_view Tokenizer::bytesOf(int32_t id) const {
  if (id < 0 || id >= vocabSize())
    return {};
  return pieces[id].bytes;
}

bool Tokenizer::isSpecial(int32_t id) const {
  return id >= 0 && id < vocabSize() && pieces[id].special;
}

int32_t Tokenizer::addedTokenId(std::string_view content) const {
  auto found = addedIds.find(std::string(content));
  return found == addedIds.end() ? -1 : found->second;
}

std::string Tokenizer::decode(Span<const int32_t> ids, bool skipSpecial) const {
  StreamDecoder decoder(*this, skipSpecial);
  std::string text;
  for (int32_t id : ids)
    text += decoder.push(id);
  return text + decoder.finish();
}

std::string StreamDecoder::push(int32_t id) {
  if (skipSpecial && tokenizer.isSpecial(id))
    return {};
  held += tokenizer.bytesOf(id);
  std::string text;
  held.erase(0, appendRepaired(held, false, text));
  return text;
}

std::string StreamDecoder::finish() {
  std::string text;
  appendRepaired(held, true, text);
  held.clear();
  return text;
}

} // namespace saddle::text
