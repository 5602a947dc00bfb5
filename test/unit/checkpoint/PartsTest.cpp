// Renaming and cutting tensors of a folder.

#include "runtime/src/checkpoint/Parts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace saddle;
using testing::HasSubstr;

namespace {

Checkpoint withTensor(const std::string &name, std::vector<uint64_t> shape) {
  uint64_t bytes = 2;
  for (uint64_t dim : shape)
    bytes *= dim;
  Checkpoint checkpoint;
  checkpoint.directory = "d";
  TensorInfo info = {
      TensorDType::BF16, "BF16", std::move(shape), 0, 100, bytes};
  checkpoint.tensors[name] = info;
  return checkpoint;
}

TEST(Parts, RowsOfMembers) {
  Checkpoint checkpoint = withTensor("all", {3, 6, 8});
  ASSERT_TRUE(applyParts({{"e.{}.a", "all", 3, false, 0, 2, 6},
                          {"e.{}.b", "all", 3, false, 2, 4, 6}},
                         checkpoint)
                  .ok());
  EXPECT_EQ(checkpoint.tensors.size(), 6u);
  const TensorInfo &b = checkpoint.tensors.at("e.2.b");
  EXPECT_EQ(b.shape, (std::vector<uint64_t>{4, 8}));
  EXPECT_EQ(b.offset, 100 + 2 * 96 + 32u);
  EXPECT_EQ(b.bytes, 64u);
  EXPECT_EQ(b.pitch, 0u);
  EXPECT_EQ(b.partOf, "all");
}

TEST(Parts, ColumnsKeepThePitch) {
  Checkpoint checkpoint = withTensor("x.qweight", {4, 6});
  ASSERT_TRUE(
      applyParts({{"b.qweight", "x.qweight", 0, true, 2, 3, 6}}, checkpoint)
          .ok());
  const TensorInfo &b = checkpoint.tensors.at("b.qweight");
  EXPECT_EQ(b.shape, (std::vector<uint64_t>{4, 3}));
  EXPECT_EQ(b.offset, 104u);
  EXPECT_EQ(b.pitch, 12u);
  EXPECT_EQ(b.bytes, 3 * 12 + 6u);
}

TEST(Parts, BeginningsOfNamesAndThenParts) {
  Checkpoint checkpoint = withTensor("outer.model.w", {2, 2});
  ASSERT_TRUE(applyParts({{"model.*", "outer.model.*"},
                          {"model.v", "model.w", 0, false, 1, 1, 2}},
                         checkpoint)
                  .ok());
  ASSERT_EQ(checkpoint.tensors.count("model.v"), 1u);
  EXPECT_EQ(checkpoint.tensors.at("model.v").offset, 104u);
}

TEST(Parts, AbsentTensorsAreSkipped) {
  Checkpoint checkpoint = withTensor("a", {2, 2});
  ASSERT_TRUE(applyParts({{"b", "c"}}, checkpoint).ok());
  EXPECT_EQ(checkpoint.tensors.count("a"), 1u);
}

TEST(Parts, WhatDoesNotFit) {
  auto error = [](const StoredPart &part, std::vector<uint64_t> shape) {
    Checkpoint checkpoint = withTensor("all", std::move(shape));
    checkpoint.tensors["taken"] = checkpoint.tensors["all"];
    return applyParts({part}, checkpoint).message();
  };
  EXPECT_THAT(
      error({"e.{}.a", "all", 3}, {2, 4}),
      HasSubstr("d: tensor \"all\" has shape [2, 4], expected 3 members "
                "along dimension 0"));
  EXPECT_THAT(error({"a", "all", 0, false, 0, 2, 6}, {5, 4}),
              HasSubstr("expected 6 rows, of which \"a\" is a part"));
  EXPECT_THAT(error({"a", "all", 0, true, 0, 2, 6}, {5}),
              HasSubstr("expected 6 columns"));
  EXPECT_THAT(error({"taken", "all"}, {5}),
              HasSubstr("tensors \"taken\" and \"all\" both hold one weight"));
}

} // namespace
