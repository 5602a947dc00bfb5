// What collectives compute, without threads.

#include "runtime/src/comm/Exchange.h"

#include "runtime/src/base/Float.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace saddle::comm {
namespace {

using schema::CollectiveKind;
using schema::DType;
using testing::ElementsAre;

/// A view over `data`; `rowStride` 0 means dense.
template <typename Element>
View viewOf(std::vector<Element> &data, DType dtype, uint64_t rows,
            uint64_t columns, uint64_t rowStride = 0) {
  View view;
  view.data = reinterpret_cast<uint8_t *>(data.data());
  view.dtype = dtype;
  view.rank = 2;
  view.shape = {rows, columns};
  view.strides = {rowStride ? rowStride : columns, 1};
  return view;
}

View floats(std::vector<float> &data, uint64_t rows, uint64_t columns,
            uint64_t rowStride = 0) {
  return viewOf(data, DType::F32, rows, columns, rowStride);
}

TEST(ExchangeTest, AllReduceAddsTheFirstRowsOnly) {
  std::vector<float> a = {1, 2, 3, 4}, b = {10, 20, 30, 40};
  std::vector<float> outA(4, -1), outB(4, -1), scratch;
  exchange(CollectiveKind::ALL_REDUCE_SUM, 0, 1,
           {{floats(a, 2, 2), floats(outA, 2, 2)},
            {floats(b, 2, 2), floats(outB, 2, 2)}},
           scratch);
  EXPECT_THAT(outA, ElementsAre(11, 22, -1, -1));
  EXPECT_THAT(outB, ElementsAre(11, 22, -1, -1));
}

TEST(ExchangeTest, NoRowsMoveNothing) {
  std::vector<float> a = {1, 2}, out = {7, 7}, scratch;
  for (CollectiveKind kind :
       {CollectiveKind::ALL_REDUCE_SUM, CollectiveKind::ALL_GATHER,
        CollectiveKind::REDUCE_SCATTER_SUM})
    exchange(kind, 1, 0, {{floats(a, 1, 2), floats(out, 1, 2)}}, scratch);
  EXPECT_THAT(out, ElementsAre(7, 7));
}

TEST(ExchangeTest, AllReduceRoundsOnceAndInRankOrder) {
  // bf16 holds 8 bits: 256 + 1 is 256 after a rounding, but 1 + 1 + 256 = 258
  // in fp32 rounds to itself.
  std::vector<uint16_t> values = {floatToBf16(1), floatToBf16(1),
                                  floatToBf16(256)};
  std::vector<std::vector<uint16_t>> out(3, std::vector<uint16_t>(1));
  std::vector<std::vector<uint16_t>> in;
  std::vector<Buffers> members;
  for (uint16_t value : values)
    in.push_back({value});
  for (int i = 0; i < 3; ++i)
    members.push_back(
        {viewOf(in[i], DType::BF16, 1, 1), viewOf(out[i], DType::BF16, 1, 1)});
  std::vector<float> scratch;
  exchange(CollectiveKind::ALL_REDUCE_SUM, 0, 1, members, scratch);
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(bf16ToFloat(out[i][0]), 258);
  // fp32: (1e8 + 1) - 1e8 is 0, because 1e8 + 1 rounds to 1e8; any other order
  // gives 1.
  std::vector<float> a = {1e8f}, b = {1}, c = {-1e8f}, sum = {5};
  exchange(CollectiveKind::ALL_REDUCE_SUM, 0, 1,
           {{floats(a, 1, 1), floats(sum, 1, 1)},
            {floats(b, 1, 1), floats(sum, 1, 1)},
            {floats(c, 1, 1), floats(sum, 1, 1)}},
           scratch);
  EXPECT_EQ(sum[0], 0);
}

TEST(ExchangeTest, AllReduceWorksInPlaceAndStrided) {
  std::vector<float> a = {1, 2, 99, 3, 4, 99}, b = {5, 6, 98, 7, 8, 98};
  std::vector<float> scratch;
  exchange(CollectiveKind::ALL_REDUCE_SUM, 0, 2,
           {{floats(a, 2, 2, 3), floats(a, 2, 2, 3)},
            {floats(b, 2, 2, 3), floats(b, 2, 2, 3)}},
           scratch);
  EXPECT_THAT(a, ElementsAre(6, 8, 99, 10, 12, 99));
  EXPECT_THAT(b, ElementsAre(6, 8, 98, 10, 12, 98));
}

TEST(ExchangeTest, AllGatherJoinsColumns) {
  std::vector<float> a = {1, 2, 3}, b = {4, 5, 6}, scratch;
  std::vector<float> outA(6, -1), outB(6, -1);
  exchange(CollectiveKind::ALL_GATHER, 1, 2,
           {{floats(a, 3, 1), floats(outA, 3, 2)},
            {floats(b, 3, 1), floats(outB, 3, 2)}},
           scratch);
  EXPECT_THAT(outA, ElementsAre(1, 4, 2, 5, -1, -1));
  EXPECT_THAT(outB, ElementsAre(1, 4, 2, 5, -1, -1));
}

TEST(ExchangeTest, AllGatherMovesAnyTypeAlongAnyDimension) {
  // [1, 2, 2] twice makes [1, 4, 2].
  std::vector<int32_t> a = {1, 2, 3, 4}, b = {5, 6, 7, 8}, outA(8), outB(8);
  auto cube = [](std::vector<int32_t> &data, uint64_t middle) {
    View view = viewOf(data, DType::I32, 1, middle);
    view.rank = 3;
    view.shape = {1, middle, 2};
    view.strides = {2 * middle, 2, 1};
    return view;
  };
  std::vector<float> scratch;
  exchange(CollectiveKind::ALL_GATHER, 1, 1,
           {{cube(a, 2), cube(outA, 4)}, {cube(b, 2), cube(outB, 4)}}, scratch);
  EXPECT_THAT(outA, ElementsAre(1, 2, 3, 4, 5, 6, 7, 8));
  EXPECT_EQ(outA, outB);
}

TEST(ExchangeTest, ReduceScatterGivesEachMemberItsBlock) {
  std::vector<float> a = {1, 2, 3, 4}, b = {10, 20, 30, 40}, scratch;
  std::vector<float> outA(2), outB(2);
  exchange(CollectiveKind::REDUCE_SCATTER_SUM, 1, 1,
           {{floats(a, 1, 4), floats(outA, 1, 2)},
            {floats(b, 1, 4), floats(outB, 1, 2)}},
           scratch);
  EXPECT_THAT(outA, ElementsAre(11, 22));
  EXPECT_THAT(outB, ElementsAre(33, 44));
  // Into the members' own blocks.
  View blockA = floats(a, 1, 2), blockB = floats(b, 1, 2);
  blockB.data += 2 * sizeof(float);
  exchange(CollectiveKind::REDUCE_SCATTER_SUM, 1, 1,
           {{floats(a, 1, 4), blockA}, {floats(b, 1, 4), blockB}}, scratch);
  EXPECT_THAT(a, ElementsAre(11, 22, 3, 4));
  EXPECT_THAT(b, ElementsAre(10, 20, 33, 44));
}

} // namespace
} // namespace saddle::comm
