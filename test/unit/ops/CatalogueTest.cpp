// The table of ops: what every line of it must be, and that no target forgets
// one.

#include "runtime/ops/Op.h"
#include "runtime/src/cpu/Binding.h"

#include <gtest/gtest.h>

#include <cstring>

namespace saddle::ops {
namespace {

TEST(CatalogueTest, NamesAreInOrderSoThatTheyAreFound) {
  std::string last;
  for (const Op &op : allOps()) {
    EXPECT_LT(last, op.name);
    last = op.name;
    EXPECT_EQ(findOp(op.name), &op);
  }
  EXPECT_EQ(findOp("softmax"), nullptr);
  EXPECT_EQ(findOp(""), nullptr);
}

TEST(CatalogueTest, OutputsAreTheLastOperands) {
  for (const Op &op : allOps()) {
    bool written = false;
    for (const Operand &operand : op.operands) {
      EXPECT_GE(operand.isWritten(), written) << op.name << " " << operand.name;
      written = operand.isWritten();
    }
    EXPECT_TRUE(written) << op.name;
  }
}

TEST(CatalogueTest, EveryOpHasRows) {
  for (const Op &op : allOps()) {
    bool counted = false;
    for (const Operand &operand : op.operands) {
      counted |= operand.isCounted();
      EXPECT_LE(std::strlen(operand.shape), kMaxRank) << op.name;
    }
    EXPECT_TRUE(counted) << op.name;
  }
}

TEST(CatalogueTest, TheCpuTargetRunsEveryOpThatMeetsNobody) {
  for (const Op &op : allOps())
    EXPECT_EQ(cpu::findFactory(op.name) != nullptr, !op.exchanges) << op.name;
  EXPECT_EQ(cpu::findFactory("softmax"), nullptr);
}

TEST(CatalogueTest, TheFirstOperandOfAVariadicOpIsExpanded) {
  const Op &op = *findOp("sum_of_squares");
  auto three = op.operandsOf(4);
  ASSERT_TRUE(three.ok());
  EXPECT_EQ((*three)[0].name, "x1");
  EXPECT_EQ((*three)[2].name, "x3");
  EXPECT_STREQ((*three)[2].shape, "nC");
  EXPECT_EQ((*three)[3].name, "out");
  EXPECT_FALSE(op.operandsOf(1).ok());
  EXPECT_TRUE(op.operandsOf(9).ok());
  EXPECT_FALSE(op.operandsOf(10).ok());
}

TEST(CatalogueTest, CompanionsStandBehindTheirWeights) {
  Storage scaled{{{schema::CompanionKind::SCALE, 1, 48}}, {}};
  auto operands = findOp("experts")->operandsOf(7, {Storage(), scaled});
  ASSERT_TRUE(operands.ok()) << operands.status().message();
  EXPECT_EQ((*operands)[3].name, "w13");
  EXPECT_EQ((*operands)[4].name, "w2");
  EXPECT_FALSE((*operands)[4].companion);
  EXPECT_EQ((*operands)[5].name, "w2_scale");
  EXPECT_EQ((*operands)[5].traffic, Traffic::Chosen);
  EXPECT_EQ((*operands)[5].companion->blockCols, 48u);
  EXPECT_EQ((*operands)[6].name, "out");
  EXPECT_FALSE(findOp("experts")->operandsOf(6, {Storage(), scaled}).ok());
}

} // namespace
} // namespace saddle::ops
