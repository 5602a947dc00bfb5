// UTF-8: validation, lossy repair, NFC.

#ifndef SADDLE_RUNTIME_TEXT_UTF8_H
#define SADDLE_RUNTIME_TEXT_UTF8_H

#include "runtime/src/base/Printable.h"
#include "runtime/src/base/Status.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace saddle::text {

/// Offset of the first byte that is not UTF-8; npos when all is.
size_t findInvalidUtf8(std::string_view bytes);

/// Appends `bytes` to `out`, with U+FFFD for each invalid run, and returns how
/// many bytes were taken. An incomplete character at the end is left, unless
/// `final`.
size_t appendRepaired(std::string_view bytes, bool final, std::string &out);

/// Appends `codePoint` as UTF-8.
void appendUtf8(uint32_t codePoint, std::string &out);

/// Canonical composition of valid UTF-8, of characters that isNormalised().
StatusOr<std::string> toNfc(std::string_view text);

} // namespace saddle::text

#endif // SADDLE_RUNTIME_TEXT_UTF8_H
