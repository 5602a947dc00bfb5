#include "runtime/src/text/ByteLevel.h"

#include "runtime/src/text/Utf8.h"

#include <array>

namespace saddle::text {

namespace {
/// Printable bytes of Latin-1 stand for themselves, the others for U+0100 and
/// up, in order.
struct Alphabet {
  std::array<uint32_t, 256> codePointOf;
  std::array<int16_t, 0x200> byteOf;

  Alphabet() {
    byteOf.fill(-1);
    uint32_t next = 0x100;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      bool printable = (byte >= 0x21 && byte <= 0x7e) ||
                       (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
      codePointOf[byte] = printable ? byte : next++;
      byteOf[codePointOf[byte]] = int16_t(byte);
    }
  }
};
} // namespace

static const Alphabet &alphabet() {
  static const Alphabet instance;
  return instance;
}

std::string spellBytes(std::string_view bytes) {
  std::string spelling;
  for (char byte : bytes)
    appendUtf8(alphabet().codePointOf[uint8_t(byte)], spelling);
  return spelling;
}

std::optional<std::string> unspellBytes(std::string_view spelling) {
  std::string bytes;
  while (!spelling.empty()) {
    Character character = firstCharacter(spelling);
    if (character.kind != Character::Valid ||
        character.codePoint >= alphabet().byteOf.size() ||
        alphabet().byteOf[character.codePoint] < 0)
      return std::nullopt;
    bytes += char(alphabet().byteOf[character.codePoint]);
    spelling.remove_prefix(character.length);
  }
  return bytes;
}

} // namespace saddle::text
