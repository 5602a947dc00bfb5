#include "runtime/src/text/Utf8.h"

#include "runtime/src/text/UnicodeData.h"

#include <cstdlib>
#include <memory>
#include <utf8proc.h>

namespace saddle::text {

size_t findInvalidUtf8(std::string_view bytes) {
  for (size_t at = 0; at < bytes.size();) {
    Character character = firstCharacter(bytes.substr(at));
    if (character.kind != Character::Valid)
      return at;
    at += character.length;
  }
  return std::string_view::npos;
}

size_t appendRepaired(std::string_view bytes, bool final, std::string &out) {
  size_t at = 0;
  while (at < bytes.size()) {
    Character character = firstCharacter(bytes.substr(at));
    if (character.kind == Character::Incomplete && !final)
      return at;
    if (character.kind == Character::Valid)
      out += bytes.substr(at, character.length);
    else
      out += "\xef\xbf\xbd";
    at += character.length;
  }
  return at;
}

void appendUtf8(uint32_t codePoint, std::string &out) {
  utf8proc_uint8_t bytes[4];
  utf8proc_ssize_t count = utf8proc_encode_char(int32_t(codePoint), bytes);
  out.append(reinterpret_cast<const char *>(bytes), size_t(count));
}

/// As the library's own Unicode has it.
static Status appendNfc(std::string_view text, std::string &out) {
  utf8proc_uint8_t *composed = nullptr;
  utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t *>(text.data()),
                   utf8proc_ssize_t(text.size()), &composed,
                   utf8proc_option_t(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  if (length < 0)
    return makeError(StatusCode::InvalidArgument, "NFC of %zu bytes: %s",
                     text.size(), utf8proc_errmsg(length));
  std::unique_ptr<utf8proc_uint8_t, void (*)(void *)> owned(composed,
                                                            std::free);
  out.append(reinterpret_cast<const char *>(composed), size_t(length));
  return {};
}

StatusOr<std::string> toNfc(std::string_view text) {
  std::string result;
  size_t begin = 0; // of what has not been appended
  for (size_t at = 0; at < text.size();) {
    if (uint8_t(text[at]) < 0x80) {
      ++at;
      continue;
    }
    Character character = firstCharacter(text.substr(at));
    if (!isNormalised(character.codePoint)) {
      SADDLE_RETURN_IF_ERROR(appendNfc(text.substr(begin, at - begin), result));
      result += text.substr(at, character.length);
      begin = at + character.length;
    }
    at += character.length;
  }
  SADDLE_RETURN_IF_ERROR(appendNfc(text.substr(begin), result));
  return result;
}

} // namespace saddle::text
