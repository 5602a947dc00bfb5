// What Unicode says about characters, in the product's own version: token ids
// must not depend on the libraries of a machine.

#ifndef SADDLE_RUNTIME_TEXT_UNICODEDATA_H
#define SADDLE_RUNTIME_TEXT_UNICODEDATA_H

#include <cstdint>

namespace saddle::text {

/// That of the regexes in Hugging Face tokenizers.
constexpr const char *kUnicodeVersion = "16.0.0";

/// The general categories of Unicode.
enum class Category : uint8_t {
  // clang-format off
  Lu, Ll, Lt, Lm, Lo, Mn, Mc, Me, Nd, Nl, No, Pc, Pd, Ps, Pe, Pi, Pf, Po,
  Sm, Sc, Sk, So, Zs, Zl, Zp, Cc, Cf, Cs, Co, Cn
  // clang-format on
};

/// Of any number below 0x110000.
Category categoryOf(uint32_t codePoint);
/// Whether the script is Han.
bool isHan(uint32_t codePoint);
/// Whether NFC composes and reorders it: Unicode 9, as in tokenizers. Newer
/// characters stay what and where they are.
bool isNormalised(uint32_t codePoint);
/// White_Space.
bool isWhiteSpace(uint32_t codePoint);

} // namespace saddle::text

#endif // SADDLE_RUNTIME_TEXT_UNICODEDATA_H
