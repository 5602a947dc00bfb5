// Text of others on its way to people: names of tensors, keys of config files,
// strings of engines. It may hold anything.

#ifndef SADDLE_RUNTIME_BASE_PRINTABLE_H
#define SADDLE_RUNTIME_BASE_PRINTABLE_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace saddle {

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

/// `text` as valid UTF-8 that does nothing to a terminal: other bytes become
/// \xNN, controls and marks that hide or turn text \u{N}. Lines and tabs stay;
/// lines behind the first begin with `indent`, so that none passes for a
/// message of its own.
std::string printable(std::string_view text, std::string_view indent = "  ");

} // namespace saddle

#endif // SADDLE_RUNTIME_BASE_PRINTABLE_H
