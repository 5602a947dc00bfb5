#include "runtime/src/text/StandIns.h"

#include "runtime/src/text/UnicodeData.h"
#include "runtime/src/text/Utf8.h"

#include <algorithm>
#include <cstdlib>

namespace saddle::text {

namespace {

/// Characters of each category, in Unicode since version 4 or longer, none
/// white space but the separators, none with a case that ASCII has, and none
/// but those of Han that are used with Han: PCRE2 takes these for Han.
struct Candidates {
  Category category;
  bool han;
  uint32_t characters[4];
};
constexpr Candidates kCandidates[] = {
    {Category::Lu, false, {0xc0, 0x391, 0x410, 0x10400}},
    {Category::Ll, false, {0xe0, 0x3b1, 0x430, 0x10428}},
    {Category::Lt, false, {0x1c5, 0x1f88, 0x1f98, 0x1fa8}},
    {Category::Lm, false, {0x2b0, 0xe46, 0x3031, 0xff70}},
    {Category::Lo, false, {0x5d0, 0x905, 0x3042, 0xac00}},
    {Category::Mn, false, {0x300, 0x5b0, 0x20d0, 0x1d167}},
    {Category::Mc, false, {0x903, 0xb3e, 0x17b6, 0x1d165}},
    {Category::Me, false, {0x488, 0x489, 0x20dd, 0x20e4}},
    {Category::Nd, false, {0x660, 0x966, 0xff10, 0x1d7ce}},
    {Category::Nl, false, {0x16ee, 0x2180, 0x2181, 0x1034a}},
    {Category::No, false, {0xb2, 0x9f4, 0x2070, 0x10107}},
    {Category::Pc, false, {0x203f, 0x2040, 0xfe33, 0xff3f}},
    {Category::Pd, false, {0x58a, 0x2010, 0xfe58, 0xff0d}},
    {Category::Ps, false, {0xf3a, 0x201a, 0x2045, 0xff08}},
    {Category::Pe, false, {0xf3b, 0x207e, 0x2046, 0xff09}},
    {Category::Pi, false, {0xab, 0x2018, 0x201c, 0x2039}},
    {Category::Pf, false, {0xbb, 0x2019, 0x201d, 0x203a}},
    {Category::Po, false, {0xa1, 0x589, 0x2020, 0xff01}},
    {Category::Sm, false, {0xb1, 0x2044, 0x2200, 0xff0b}},
    {Category::Sc, false, {0xa2, 0xe3f, 0x20ac, 0xffe5}},
    {Category::Sk, false, {0xa8, 0x2c2, 0x1fbd, 0xff3e}},
    {Category::So, false, {0xa6, 0x482, 0x2100, 0x1d000}},
    {Category::Zs, false, {0xa0, 0x2003, 0x3000, 0x3000}},
    {Category::Cc, false, {0x80, 0x81, 0x9e, 0x9f}},
    {Category::Cf, false, {0xad, 0x200c, 0xfeff, 0xe0001}},
    {Category::Co, false, {0xe000, 0xf8ff, 0xf0000, 0x100000}},
    {Category::Cn, false, {0xfdd0, 0xfdef, 0x1ffff, 0x10ffff}},
    {Category::Lo, true, {0x3400, 0x4e8c, 0xf901, 0x20001}},
    {Category::Nl, true, {0x3022, 0x3022, 0x3007, 0x3038}},
    {Category::So, true, {0x2e81, 0x2f01, 0x2e81, 0x2f01}},
};

constexpr const char *kCategories[] = {
    "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl",
    "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc",
    "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn",
    "L",  "M",  "N",  "P",  "S",  "Z",  "C",  "Han"};

/// The property that begins behind the backslash at `at`, without braces.
std::string_view propertyAt(std::string_view pattern, size_t at) {
  std::string_view rest = pattern.substr(at + 2);
  if (rest.empty() || rest[0] != '{')
    return rest.substr(0, 1);
  std::string_view inside = rest.substr(1, rest.find('}') - 1);
  if (!inside.empty() && inside[0] == '^')
    inside.remove_prefix(1);
  return inside;
}

/// The number of \xHH or \x{H...}, the backslash at `at`.
uint32_t hexAt(const std::string &pattern, size_t at) {
  size_t from = at + 2;
  size_t digits = 2;
  if (from < pattern.size() && pattern[from] == '{') {
    ++from;
    digits = 8;
  }
  return uint32_t(
      std::strtoul(pattern.substr(from, digits).c_str(), nullptr, 16));
}

/// Whether "(?" at `at` begins a group that ignores case.
bool ignoresCaseAt(std::string_view pattern, size_t at) {
  for (size_t i = at + 2; i < pattern.size(); ++i) {
    if (pattern[i] == 'i')
      return true;
    if (pattern[i] < 'a' || pattern[i] > 'z')
      return false;
  }
  return false;
}

} // namespace

StatusOr<StandIns> StandIns::of(const std::string &pattern) {
  StandIns result;
  for (size_t at = 0; at < pattern.size();) {
    std::string_view rest = std::string_view(pattern).substr(at);
    Character character = firstCharacter(rest);
    if (character.codePoint >= 0x80)
      result.named.push_back(character.codePoint);
    if (rest.substr(0, 2) == "(?")
      result.ignoresCase |= ignoresCaseAt(pattern, at);
    if (rest[0] != '\\' || rest.size() < 2) {
      at += character.length;
      continue;
    }
    if (rest[1] == 'x') {
      if (uint32_t number = hexAt(pattern, at); number >= 0x80)
        result.named.push_back(number);
    } else if (rest[1] == 'p' || rest[1] == 'P') {
      std::string property(propertyAt(pattern, at));
      if (std::find(std::begin(kCategories), std::end(kCategories), property) ==
          std::end(kCategories))
        return makeError(StatusCode::Unsupported,
                         "regex \"%s\" uses the property \"%s\", expected a "
                         "general category of Unicode or Han",
                         pattern.c_str(), property.c_str());
    }
    // An escaped character beyond ASCII is met in the next turn.
    at += uint8_t(rest[1]) < 0x80 ? 2 : 1;
  }
  std::sort(result.named.begin(), result.named.end());
  return result;
}

uint32_t StandIns::standInFor(uint32_t codePoint) const {
  // These are small letters of ASCII in another case.
  if (ignoresCase && (codePoint == 0x17f || codePoint == 0x212a))
    return codePoint;
  if (codePoint == 0x85) // white space, unlike its category
    return codePoint;
  auto first = std::lower_bound(named.begin(), named.end(), codePoint);
  if (first != named.end() && *first == codePoint)
    return codePoint;
  Category category = categoryOf(codePoint);
  // Other cases of what the pattern names are left to the library.
  bool isLetter = category == Category::Lu || category == Category::Ll ||
                  category == Category::Lt;
  if (ignoresCase && isLetter && !named.empty())
    return codePoint;
  bool han = isHan(codePoint);
  for (const Candidates &each : kCandidates) {
    if (each.category != category || each.han != han)
      continue;
    // Between the same two that are named.
    for (uint32_t candidate : each.characters)
      if (std::lower_bound(named.begin(), named.end(), candidate) == first &&
          !std::binary_search(named.begin(), named.end(), candidate))
        return candidate;
  }
  return codePoint;
}

StandIns::Text StandIns::replace(std::string_view text) const {
  Text result;
  result.text.reserve(text.size());
  result.places.reserve(text.size() + 1);
  uint32_t before = 0, standIn = 0; // the last look-up
  for (size_t at = 0; at < text.size();) {
    uint32_t codePoint = uint8_t(text[at]);
    size_t length = 1;
    if (codePoint < 0x80) {
      result.text += text[at];
    } else {
      Character character = firstCharacter(text.substr(at));
      length = character.length;
      if (character.codePoint != before) {
        before = character.codePoint;
        standIn = standInFor(before);
      }
      appendUtf8(standIn, result.text);
    }
    result.places.resize(result.text.size(), at);
    at += length;
  }
  result.places.push_back(text.size());
  return result;
}

} // namespace saddle::text
