#include "runtime/src/base/Printable.h"

#include <algorithm>
#include <cstdio>
#include <iterator>

namespace saddle {

Character firstCharacter(std::string_view bytes) {
  auto byte = [&](size_t i) { return uint8_t(bytes[i]); };
  uint8_t lead = byte(0);
  if (lead < 0x80)
    return {Character::Valid, 1, lead};
  if (lead < 0xc2 || lead > 0xf4)
    return {Character::Invalid, 1, 0};
  size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  // The second byte excludes overlong forms, surrogates and what is too large.
  uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  uint32_t codePoint = lead & (0x7fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if (i == bytes.size())
      return {Character::Incomplete, i, 0};
    if (byte(i) < low || byte(i) > high)
      return {Character::Invalid, i, 0};
    low = 0x80;
    high = 0xbf;
    codePoint = codePoint << 6 | (byte(i) & 0x3fu);
  }
  return {Character::Valid, length, codePoint};
}

namespace {

/// Code points that act on a terminal or on how text is shown, and that no name
/// needs: controls, soft hyphen, marks of direction, zero-width characters,
/// separators of lines, the byte order mark, tags, noncharacters.
bool acts(uint32_t codePoint) {
  static constexpr struct {
    uint32_t first, last;
  } kRanges[] = {{0x00, 0x08},       {0x0b, 0x1f},        {0x7f, 0x9f},
                 {0xad, 0xad},       {0x61c, 0x61c},      {0x180e, 0x180e},
                 {0x200b, 0x200f},   {0x2028, 0x202e},    {0x2060, 0x206f},
                 {0xfeff, 0xfeff},   {0xfff9, 0xfffb},    {0xfffe, 0xffff},
                 {0xe0000, 0xe007f}, {0x10fffe, 0x10ffff}};
  return std::any_of(std::begin(kRanges), std::end(kRanges), [&](auto range) {
    return codePoint >= range.first && codePoint <= range.last;
  });
}

} // namespace

std::string printable(std::string_view text, std::string_view indent) {
  std::string out;
  char escape[16];
  for (size_t at = 0; at < text.size();) {
    Character character = firstCharacter(text.substr(at));
    std::string_view bytes = text.substr(at, character.length);
    at += character.length;
    if (character.kind != Character::Valid) {
      for (char byte : bytes) {
        std::snprintf(escape, sizeof escape, "\\x%02x", uint8_t(byte));
        out += escape;
      }
      continue;
    }
    if (acts(character.codePoint)) {
      std::snprintf(escape, sizeof escape, "\\u{%x}",
                    unsigned(character.codePoint));
      out += escape;
      continue;
    }
    out += bytes;
    if (character.codePoint == '\n' && at < text.size())
      out += indent;
  }
  return out;
}

} // namespace saddle
