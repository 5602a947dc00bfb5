// Counting which members of a stack the rows of a launch choose.

#include "runtime/src/backend/Choices.h"

#include <gtest/gtest.h>

namespace saddle::backend {
namespace {

TEST(ChoicesTest, EachMemberHereCountsOnce) {
  // Rows of two numbers, three apart. Members 4 to 7 are here.
  int32_t numbers[] = {4, 5, 7, /**/ 5, 9, 6, /**/ 3, -1, 6, /**/ 7, 6, 0};
  View view;
  view.data = reinterpret_cast<uint8_t *>(numbers);
  view.dtype = schema::DType::I32;
  view.rank = 2;
  view.shape = {4, 2};
  view.strides = {3, 1};
  Choices choices = {};
  choices.held = 4;
  choices.first = 4;
  choices.each = 2;
  EXPECT_EQ(choices.count(view, 0), 0u);
  EXPECT_EQ(choices.count(view, 1), 2u); // 4, 5
  EXPECT_EQ(choices.count(view, 3), 2u); // 5 again, 9, 3 and -1 are elsewhere
  EXPECT_EQ(choices.count(view, 4), 4u); // 7, 6
  choices.first = 0;
  EXPECT_EQ(choices.count(view, 4), 1u); // 3
}

TEST(ChoicesTest, TheLastOfTheRowsInFp32) {
  uint16_t numbers[] = {0x3f80, 0x4000, 0, /**/ 0xbf00, 0x4040, 0}; // bf16
  View view;
  view.data = reinterpret_cast<uint8_t *>(numbers);
  view.dtype = schema::DType::BF16;
  view.rank = 2;
  view.shape = {2, 2};
  view.strides = {3, 1};
  EXPECT_EQ(lastRow(view, 1), (std::vector<float>{1, 2}));
  EXPECT_EQ(lastRow(view, 2), (std::vector<float>{-0.5f, 3}));
  EXPECT_TRUE(lastRow(view, 0).empty());
}

} // namespace
} // namespace saddle::backend
