// UTF-8: validation, lossy repair, NFC.

#ifndef SADDLE_RUNTIME_TEXT_UTF8_H
#define SADDLE_RUNTIME_TEXT_UTF8_H

#include "runtime/src/base/Status.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace saddle::text {

/// The first character of a byte string.
struct Character {
  enum Kind {
    Valid,      // `length` bytes are `codePoint`
    Invalid,    // `length` bytes can begin no valid text
    Incomplete, // all `length` bytes that are there begin a valid character
  } kind;
  size_t length;
  uint32_t codePoint;
};
/// `bytes` is not empty. Surrogates, overlong forms and values beyond U+10FFFF
/// are invalid; an invalid run is as long as the Unicode standard's "maximal
/// subpart", so that each becomes one U+FFFD.
Character firstCharacter(std::string_view bytes);

/// Offset of the first byte that is not UTF-8; npos when all is.
size_t findInvalidUtf8(std::string_view bytes);

/// Appends `bytes` to `out`, with U+FFFD for each invalid run, and returns how
/// many bytes were taken. An incomplete character at the end is left, unless
/// `final`.
size_t appendRepaired(std::string_view bytes, bool final, std::string &out);

/// Appends `codePoint` as UTF-8.
void appendUtf8(uint32_t codePoint, std::string &out);

/// Canonical composition of valid UTF-8.
StatusOr<std::string> toNfc(std::string_view text);

/// White_Space of Unicode.
bool isWhiteSpace(uint32_t codePoint);

} // namespace saddle::text

#endif // SADDLE_RUNTIME_TEXT_UTF8_H
