// What collectives compute, without threads.

#include "runtime/src/comm/Exchange.h"

#include "runtime/src/base/Float.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace saddle::comm {
namespace {

using schema::CollectiveKind;
using schema::DType;
using schema::RowLayout;
using testing::ElementsAre;
using Rows = std::vector<uint64_t>;

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
  exchange({CollectiveKind::ALL_REDUCE_SUM, 0}, Rows{1},
           {{floats(a, 2, 2), floats(outA, 2, 2)},
            {floats(b, 2, 2), floats(outB, 2, 2)}},
           scratch);
  EXPECT_THAT(outA, ElementsAre(11, 22, -1, -1));
  EXPECT_THAT(outB, ElementsAre(11, 22, -1, -1));
}

// One scratch serves all collectives of a group: two rows of the widest.
TEST(ExchangeTest, ScratchGrowsWithTheWidth) {
  std::vector<float> scratch;
  for (uint64_t width : {8, 12, 3}) {
    std::vector<float> a(width, 1), out(width);
    exchange({CollectiveKind::ALL_REDUCE_SUM, 0}, Rows{1},
             {{floats(a, 1, width), floats(out, 1, width)}}, scratch);
    EXPECT_EQ(out, a);
    EXPECT_GE(scratch.size(), 2 * width);
  }
}

TEST(ExchangeTest, NoRowsMoveNothing) {
  std::vector<float> a = {1, 2}, out = {7, 7}, scratch;
  for (CollectiveKind kind :
       {CollectiveKind::ALL_REDUCE_SUM, CollectiveKind::ALL_GATHER,
        CollectiveKind::REDUCE_SCATTER_SUM})
    exchange({kind, 1}, Rows{0}, {{floats(a, 1, 2), floats(out, 1, 2)}},
             scratch);
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
  exchange({CollectiveKind::ALL_REDUCE_SUM, 0}, Rows{1}, members, scratch);
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(bf16ToFloat(out[i][0]), 258);
  // fp32: (1e8 + 1) - 1e8 is 0, because 1e8 + 1 rounds to 1e8; any other order
  // gives 1.
  std::vector<float> a = {1e8f}, b = {1}, c = {-1e8f}, sum = {5};
  exchange({CollectiveKind::ALL_REDUCE_SUM, 0}, Rows{1},
           {{floats(a, 1, 1), floats(sum, 1, 1)},
            {floats(b, 1, 1), floats(sum, 1, 1)},
            {floats(c, 1, 1), floats(sum, 1, 1)}},
           scratch);
  EXPECT_EQ(sum[0], 0);
}

TEST(ExchangeTest, AllReduceWorksInPlaceAndStrided) {
  std::vector<float> a = {1, 2, 99, 3, 4, 99}, b = {5, 6, 98, 7, 8, 98};
  std::vector<float> scratch;
  exchange({CollectiveKind::ALL_REDUCE_SUM, 0}, Rows{2},
           {{floats(a, 2, 2, 3), floats(a, 2, 2, 3)},
            {floats(b, 2, 2, 3), floats(b, 2, 2, 3)}},
           scratch);
  EXPECT_THAT(a, ElementsAre(6, 8, 99, 10, 12, 99));
  EXPECT_THAT(b, ElementsAre(6, 8, 98, 10, 12, 98));
}

TEST(ExchangeTest, AllGatherJoinsColumns) {
  std::vector<float> a = {1, 2, 3}, b = {4, 5, 6}, scratch;
  std::vector<float> outA(6, -1), outB(6, -1);
  exchange({CollectiveKind::ALL_GATHER, 1}, Rows{2},
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
  exchange({CollectiveKind::ALL_GATHER, 1}, Rows{1},
           {{cube(a, 2), cube(outA, 4)}, {cube(b, 2), cube(outB, 4)}}, scratch);
  EXPECT_THAT(outA, ElementsAre(1, 2, 3, 4, 5, 6, 7, 8));
  EXPECT_EQ(outA, outB);
}

TEST(ExchangeTest, ReduceScatterGivesEachMemberItsBlock) {
  std::vector<float> a = {1, 2, 3, 4}, b = {10, 20, 30, 40}, scratch;
  std::vector<float> outA(2), outB(2);
  exchange({CollectiveKind::REDUCE_SCATTER_SUM, 1}, Rows{1},
           {{floats(a, 1, 4), floats(outA, 1, 2)},
            {floats(b, 1, 4), floats(outB, 1, 2)}},
           scratch);
  EXPECT_THAT(outA, ElementsAre(11, 22));
  EXPECT_THAT(outB, ElementsAre(33, 44));
}

//===--- Along rows ------------------------------------------------------===//

/// Gathers `inputs` (two columns each) over members with room for 3 rows and
/// returns what every member got: 3 rows for each member, -1 where nothing was
/// written.
std::vector<float> gathered(RowLayout layout,
                            std::vector<std::vector<float>> inputs) {
  size_t members = inputs.size();
  std::vector<std::vector<float>> outputs(members,
                                          std::vector<float>(members * 6, -1));
  Rows counts;
  std::vector<Buffers> buffers;
  for (size_t m = 0; m < members; ++m) {
    counts.push_back(inputs[m].size() / 2);
    inputs[m].resize(6, 99); // must not travel
    buffers.push_back(
        {floats(inputs[m], 3, 2), floats(outputs[m], 3 * members, 2)});
  }
  std::vector<float> scratch;
  exchange({CollectiveKind::ALL_GATHER, 0, layout}, counts, buffers, scratch);
  for (const auto &output : outputs)
    EXPECT_EQ(output, outputs[0]);
  return outputs[0];
}

TEST(ExchangeTest, PackedGatherLeavesNoGaps) {
  EXPECT_THAT(gathered(RowLayout::PACKED, {{1, 2}, {3, 4, 5, 6}}),
              ElementsAre(1, 2, 3, 4, 5, 6, -1, -1, -1, -1, -1, -1));
  EXPECT_THAT(gathered(RowLayout::PACKED, {{}, {3, 4, 5, 6}}),
              ElementsAre(3, 4, 5, 6, -1, -1, -1, -1, -1, -1, -1, -1));
  EXPECT_THAT(gathered(RowLayout::PACKED, {{1, 2}, {}}),
              ElementsAre(1, 2, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1));
  EXPECT_EQ(gathered(RowLayout::PACKED, {{}, {}}), std::vector<float>(12, -1));
}

TEST(ExchangeTest, PaddedGatherFillsUpToTheLargest) {
  EXPECT_THAT(gathered(RowLayout::PADDED, {{1, 2}, {3, 4, 5, 6}}),
              ElementsAre(1, 2, 0, 0, 3, 4, 5, 6, -1, -1, -1, -1));
  EXPECT_THAT(gathered(RowLayout::PADDED, {{}, {3, 4}}),
              ElementsAre(0, 0, 3, 4, -1, -1, -1, -1, -1, -1, -1, -1));
  EXPECT_EQ(gathered(RowLayout::PADDED, {{}, {}}), std::vector<float>(12, -1));
}

TEST(ExchangeTest, BlockGatherKeepsStaticPlaces) {
  EXPECT_THAT(gathered(RowLayout::BLOCKS, {{1, 2, 3, 4, 5, 6}, {7, 8}}),
              ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, -1, -1, -1, -1));
}

TEST(ExchangeTest, SharesFollowOneAnother) {
  // Three tokens: two of the first member, one of the second, behind them.
  EXPECT_THAT(gathered(RowLayout::SHARES, {{1, 2, 3, 4}, {5, 6}}),
              ElementsAre(1, 2, 3, 4, 5, 6, -1, -1, -1, -1, -1, -1));
  EXPECT_THAT(gathered(RowLayout::SHARES, {{1, 2}, {}}),
              ElementsAre(1, 2, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1));
}

TEST(ExchangeTest, VectorsAreRowsOfOneElement) {
  std::vector<int32_t> a = {1, 2}, b = {3, 99}, outA(4, -1), outB(4, -1);
  auto vector = [](std::vector<int32_t> &data) {
    View view = viewOf(data, DType::I32, data.size(), 1);
    view.rank = 1;
    return view;
  };
  std::vector<float> scratch;
  exchange({CollectiveKind::ALL_GATHER, 0, RowLayout::PADDED}, Rows{2, 1},
           {{vector(a), vector(outA)}, {vector(b), vector(outB)}}, scratch);
  EXPECT_THAT(outA, ElementsAre(1, 2, 3, 0));
  EXPECT_EQ(outA, outB);
}

/// Scatters two members' 4 rows of one column, distinct digits, to counts of at
/// most 2, and returns both outputs, -1 where nothing was written.
std::vector<std::vector<float>> scattered(RowLayout layout,
                                          const Rows &counts) {
  std::vector<float> a = {1, 2, 3, 4}, b = {10, 20, 30, 40}, scratch;
  std::vector<std::vector<float>> outputs(2, std::vector<float>(2, -1));
  exchange({CollectiveKind::REDUCE_SCATTER_SUM, 0, layout}, counts,
           {{floats(a, 4, 1), floats(outputs[0], 2, 1)},
            {floats(b, 4, 1), floats(outputs[1], 2, 1)}},
           scratch);
  return outputs;
}

TEST(ExchangeTest, ScatterReturnsEachMemberItsRows) {
  using Both = std::vector<std::vector<float>>;
  EXPECT_EQ(scattered(RowLayout::PACKED, {1, 2}), (Both{{11, -1}, {22, 33}}));
  EXPECT_EQ(scattered(RowLayout::PACKED, {2, 1}), (Both{{11, 22}, {33, -1}}));
  EXPECT_EQ(scattered(RowLayout::PACKED, {0, 1}), (Both{{-1, -1}, {11, -1}}));
  EXPECT_EQ(scattered(RowLayout::PADDED, {1, 2}), (Both{{11, -1}, {33, 44}}));
  EXPECT_EQ(scattered(RowLayout::PADDED, {0, 1}), (Both{{-1, -1}, {22, -1}}));
  EXPECT_EQ(scattered(RowLayout::BLOCKS, {2, 1}), (Both{{11, 22}, {33, -1}}));
  EXPECT_EQ(scattered(RowLayout::SHARES, {1, 1}), (Both{{11, -1}, {22, -1}}));
  EXPECT_EQ(scattered(RowLayout::SHARES, {2, 1}), (Both{{11, 22}, {33, -1}}));
  for (RowLayout layout : {RowLayout::PACKED, RowLayout::PADDED,
                           RowLayout::BLOCKS, RowLayout::SHARES})
    EXPECT_EQ(scattered(layout, {0, 0}), (Both{{-1, -1}, {-1, -1}}));
}

TEST(ExchangeTest, GatherThenScatterAddsOncePerMember) {
  // What replicas do around experts: with partials that are the gathered rows
  // times a digit of the member, a row comes back times the sum of digits.
  for (RowLayout layout : {RowLayout::PACKED, RowLayout::PADDED}) {
    const Rows counts = {2, 0, 1};
    std::vector<std::vector<float>> own = {{3, 5}, {0, 0}, {7, 0}};
    std::vector<std::vector<float>> all(3, std::vector<float>(6));
    std::vector<Buffers> gather, scatter;
    for (int m = 0; m < 3; ++m) {
      gather.push_back({floats(own[m], 2, 1), floats(all[m], 6, 1)});
      scatter.push_back({floats(all[m], 6, 1), floats(own[m], 2, 1)});
    }
    std::vector<float> scratch;
    exchange({CollectiveKind::ALL_GATHER, 0, layout}, counts, gather, scratch);
    const float digits[] = {1, 10, 100};
    for (int m = 0; m < 3; ++m)
      for (float &value : all[m])
        value *= digits[m];
    exchange({CollectiveKind::REDUCE_SCATTER_SUM, 0, layout}, counts, scatter,
             scratch);
    EXPECT_THAT(own[0], ElementsAre(333, 555));
    EXPECT_THAT(own[2], ElementsAre(777, 0));
  }
}

} // namespace
} // namespace saddle::comm
