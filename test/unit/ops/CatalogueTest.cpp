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
  EXPECT_STREQ((*three)[0].name, "x1");
  EXPECT_STREQ((*three)[2].name, "x3");
  EXPECT_STREQ((*three)[2].shape, "nC");
  EXPECT_STREQ((*three)[3].name, "out");
  EXPECT_FALSE(op.operandsOf(1).ok());
  EXPECT_TRUE(op.operandsOf(9).ok());
  EXPECT_FALSE(op.operandsOf(10).ok());
}

} // namespace
} // namespace saddle::ops
