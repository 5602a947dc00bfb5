// Values that share words, as the matrix that recipes read: words written by
// hand, one case for each way of lying in a checkpoint.

#include "runtime/src/weights/Unpack.h"
#include "runtime/src/base/DType.h"

#include <gtest/gtest.h>

#include <cstring>

using namespace saddle;
using namespace saddle::weights;
using schema::DType;

namespace {

/// `count` elements of row `row` of the matrix from column `col` on.
std::vector<int> unpacked(const schema::UnpackingT &how, DType dtype,
                          uint64_t wordCols, const std::vector<uint32_t> &words,
                          uint64_t row, uint64_t col, uint64_t count) {
  schema::SourceT tree;
  tree.name = "w";
  tree.dtype = dtype;
  tree.unpacking = std::make_unique<schema::UnpackingT>(how);
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(schema::Source::Pack(builder, &tree));
  const auto &source =
      *flatbuffers::GetRoot<schema::Source>(builder.GetBufferPointer());
  uint64_t unit = elementBytes(dtype);
  std::vector<uint8_t> bytes;
  for (uint32_t word : words)
    for (uint64_t i = 0; i < unit; ++i)
      bytes.push_back(uint8_t(word >> (8 * i)));
  ReadWords read = [&](const CellRange &range, uint8_t *to) {
    std::memcpy(to, bytes.data() + (range.row * wordCols + range.col) * unit,
                range.count * unit);
  };
  uint64_t element = how.bits ? 1 : unit;
  std::vector<uint8_t> out(count * element, 0xee), scratch;
  unpackCells(read, source, {0, 0, row, col, count}, out.data(), scratch);
  std::vector<int> values;
  for (uint64_t i = 0; i < count; ++i)
    values.push_back(element == 1 ? out[i] : out[2 * i] | out[2 * i + 1] << 8);
  return values;
}

schema::UnpackingT unpacking(uint32_t bits, std::vector<uint32_t> order,
                             bool alongRows, bool transposed, uint32_t per,
                             uint32_t add = 0) {
  schema::UnpackingT how;
  how.bits = bits;
  how.order = std::move(order);
  how.along_rows = alongRows;
  how.transposed = transposed;
  how.per_element = per;
  how.add = add;
  return how;
}

const std::vector<uint32_t> kInOrder = {0, 1, 2, 3, 4, 5, 6, 7};
using Bytes = std::vector<int>;

TEST(Unpack, PairsOfAWordAlongColumns) {
  // Two rows of 16 values.
  std::vector<uint32_t> words = {0x76543210, 0xfedcba98, 0x11111111,
                                 0x22222222};
  auto how = unpacking(4, kInOrder, false, false, 2);
  EXPECT_EQ(unpacked(how, DType::I32, 2, words, 0, 0, 8),
            Bytes({0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe}));
  EXPECT_EQ(unpacked(how, DType::I32, 2, words, 0, 3, 2), Bytes({0x76, 0x98}));
  EXPECT_EQ(unpacked(how, DType::I32, 2, words, 1, 3, 2), Bytes({0x11, 0x22}));
}

TEST(Unpack, ColumnsFirstAndAlongThem) {
  // Two rows of 8 values each: a row of words holds one word for each row.
  std::vector<uint32_t> words = {0x76543210, 0xfedcba98};
  auto how = unpacking(4, kInOrder, true, true, 2);
  EXPECT_EQ(unpacked(how, DType::I32, 2, words, 1, 0, 4),
            Bytes({0x98, 0xba, 0xdc, 0xfe}));
}

TEST(Unpack, ColumnsFirstAndAlongRowsInAnOrder) {
  // Eight rows of 2 values; the place of row r is order[r].
  std::vector<uint32_t> words = {0x76543210, 0xfedcba98};
  auto how = unpacking(4, {0, 4, 1, 5, 2, 6, 3, 7}, false, true, 2);
  EXPECT_EQ(unpacked(how, DType::I32, 1, words, 0, 0, 1), Bytes({0x80}));
  EXPECT_EQ(unpacked(how, DType::I32, 1, words, 1, 0, 1), Bytes({0xc4}));
  EXPECT_EQ(unpacked(how, DType::I32, 1, words, 6, 0, 1), Bytes({0xb3}));
}

TEST(Unpack, AlongRowsWithoutTransposition) {
  // A word is 8 rows of a column.
  std::vector<uint32_t> words = {0x76543210, 0xfedcba98};
  auto how = unpacking(4, kInOrder, true, false, 1);
  EXPECT_EQ(unpacked(how, DType::I32, 2, words, 5, 0, 2), Bytes({5, 13}));
}

TEST(Unpack, AddsModuloTheNumberOfCodes) {
  auto how = unpacking(4, kInOrder, false, false, 1, 1);
  EXPECT_EQ(unpacked(how, DType::I32, 1, {0xf6543210}, 0, 0, 8),
            Bytes({1, 2, 3, 4, 5, 6, 7, 0}));
  auto wide = unpacking(8, {0, 1, 2, 3}, false, false, 1, 1);
  EXPECT_EQ(unpacked(wide, DType::I32, 1, {0xff7f0100}, 0, 0, 4),
            Bytes({1, 2, 128, 0}));
}

TEST(Unpack, BytesOfTwoCodesAndPlainTranspositions) {
  auto bytes = unpacking(4, {0, 1}, false, false, 2);
  EXPECT_EQ(unpacked(bytes, DType::U8, 2, {0x21, 0x43}, 0, 0, 2),
            Bytes({0x21, 0x43}));
  // [3, 2] seen as [2, 3].
  auto plain = unpacking(0, {}, false, true, 1);
  EXPECT_EQ(unpacked(plain, DType::F16, 2, {1, 2, 3, 4, 5, 6}, 1, 1, 2),
            Bytes({4, 6}));
}

} // namespace
