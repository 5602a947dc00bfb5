#include "runtime/src/text/Utf8.h"

#include <cstdlib>
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

StatusOr<std::string> toNfc(std::string_view text) {
  utf8proc_uint8_t *composed = nullptr;
  utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t *>(text.data()),
                   utf8proc_ssize_t(text.size()), &composed,
                   utf8proc_option_t(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  if (length < 0)
    return makeError(StatusCode::InvalidArgument, "NFC of %zu bytes: %s",
                     text.size(), utf8proc_errmsg(length));
  std::string result(reinterpret_cast<const char *>(composed), size_t(length));
  std::free(composed);
  return result;
}

bool isWhiteSpace(uint32_t codePoint) {
  if (codePoint < 0x80)
    return codePoint == ' ' || (codePoint >= '\t' && codePoint <= '\r');
  if (codePoint == 0x85)
    return true;
  utf8proc_category_t category = utf8proc_category(int32_t(codePoint));
  return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
         category == UTF8PROC_CATEGORY_ZP;
}

} // namespace saddle::text
