#include "runtime/src/weights/Unpack.h"

#include "runtime/src/base/DType.h"

#include <algorithm>
#include <cstring>

namespace saddle::weights {

namespace {

/// Words are at most four bytes, lowest first, as safetensors has them.
uint32_t loadWord(const uint8_t *bytes, uint64_t unit) {
  uint32_t word = 0;
  for (uint64_t i = 0; i < unit; ++i)
    word |= uint32_t(bytes[i]) << (8 * i);
  return word;
}

class Unpacker {
public:
  Unpacker(const ReadWords &readWords, const schema::Source &tensor,
           const CellRange &range, std::vector<uint8_t> &words)
      : readWords(readWords), how(*tensor.unpacking()), range(range),
        words(words), unit(elementBytes(tensor.dtype())) {}

  void run(uint8_t *out) {
    if (how.bits() == 0)
      return transpose(out);
    mask = (1u << how.bits()) - 1;
    perWord = how.order()->size();
    uint64_t per = how.per_element();
    std::fill_n(out, range.count, uint8_t(0));
    // A matrix row that lies along the words of one tensor row comes at once.
    bool together = !how.transposed() && !how.along_rows();
    uint64_t first = range.col * per, count = range.count * per;
    if (together) {
      uint64_t begin = first / perWord, end = (first + count - 1) / perWord + 1;
      read(range.row, begin, end - begin);
      // Words of values in order are bytes in order.
      if (isInOrder() && per * how.bits() == 8 && how.add() == 0) {
        std::memcpy(out, words.data() + range.col - begin * unit, range.count);
        return;
      }
      for (uint64_t i = 0; i < count; ++i)
        put(out, i, per, valueOf(first + i, (first + i) / perWord - begin));
      return;
    }
    uint64_t held = UINT64_MAX; // the word that was read last
    for (uint64_t i = 0; i < count; ++i) {
      uint64_t row = how.transposed() ? first + i : range.row;
      uint64_t col = how.transposed() ? range.row : first + i;
      uint64_t along = how.along_rows() ? row : col;
      uint64_t wordRow = how.along_rows() ? row / perWord : row;
      uint64_t wordCol = how.along_rows() ? col : col / perWord;
      // Within a row of the matrix one of the two is fixed.
      uint64_t key = how.transposed() ? wordRow : wordCol;
      if (key != held)
        read(wordRow, wordCol, 1);
      held = key;
      put(out, i, per, valueOf(along, 0));
    }
  }

private:
  void transpose(uint8_t *out) {
    for (uint64_t i = 0; i < range.count; ++i) {
      read(range.col + i, range.row, 1);
      std::memcpy(out + i * unit, words.data(), unit);
    }
  }

  bool isInOrder() const {
    for (uint32_t i = 0; i < how.order()->size(); ++i)
      if (how.order()->Get(i) != i)
        return false;
    return true;
  }

  void read(uint64_t row, uint64_t col, uint64_t count) {
    words.resize(count * unit);
    readWords({range.source, range.member, row, col, count}, words.data());
  }

  /// Value `index` along the words, which is in the `word`th of those read.
  uint32_t valueOf(uint64_t index, uint64_t word) const {
    uint32_t place = how.order()->Get(uint32_t(index % perWord));
    uint32_t code =
        loadWord(words.data() + word * unit, unit) >> (place * how.bits());
    return (code + how.add()) & mask;
  }

  void put(uint8_t *out, uint64_t index, uint64_t per, uint32_t value) const {
    out[index / per] |= uint8_t(value << (index % per * how.bits()));
  }

  const ReadWords &readWords;
  const schema::Unpacking &how;
  const CellRange &range;
  std::vector<uint8_t> &words;
  const uint64_t unit;
  uint32_t mask = 0;
  uint64_t perWord = 1;
};

} // namespace

void unpackCells(const ReadWords &read, const schema::Source &tensor,
                 const CellRange &range, uint8_t *out,
                 std::vector<uint8_t> &words) {
  Unpacker(read, tensor, range, words).run(out);
}

} // namespace saddle::weights
