// The byte alphabet of byte-level BPE: vocabularies spell every byte as one
// printable character.

#ifndef SADDLE_RUNTIME_TEXT_BYTELEVEL_H
#define SADDLE_RUNTIME_TEXT_BYTELEVEL_H

#include <optional>
#include <string>
#include <string_view>

namespace saddle::text {

/// The characters, as UTF-8, that stand for `bytes`.
std::string spellBytes(std::string_view bytes);

/// The bytes that `spelling` stands for; nothing when some character of it is
/// outside the alphabet.
std::optional<std::string> unspellBytes(std::string_view spelling);

} // namespace saddle::text

#endif // SADDLE_RUNTIME_TEXT_BYTELEVEL_H
