// How a kernel's weights are stored, as an engine file says it: what is
// refused.

#include "runtime/ops/Storage.h"

#include <gtest/gtest.h>

namespace saddle::ops {
namespace {

using schema::CompanionKind;

/// What is wrong with one weight's storage; empty for nothing.
std::string messageOf(const schema::StorageT &storage) {
  schema::KernelT kernel;
  kernel.name = kernel.op = "linear";
  kernel.storage.push_back(std::make_unique<schema::StorageT>(storage));
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(schema::Kernel::Pack(builder, &kernel));
  const auto &packed =
      *flatbuffers::GetRoot<schema::Kernel>(builder.GetBufferPointer());
  return Storage::of(packed.storage(), "linear").status().message();
}

std::unique_ptr<schema::CompanionT> scale(uint64_t rows, uint64_t cols) {
  auto companion = std::make_unique<schema::CompanionT>();
  companion->kind = CompanionKind::SCALE;
  companion->block_rows = rows;
  companion->block_cols = cols;
  return companion;
}

TEST(StorageTest, AScaleForEachBlockIsRead) {
  schema::StorageT storage;
  EXPECT_EQ(messageOf(storage), "");
  storage.companions.push_back(scale(1, 8));
  EXPECT_EQ(messageOf(storage), "");
}

TEST(StorageTest, WhatTheRuntimeDoesNotReadIsRefused) {
  schema::StorageT twice;
  twice.companions.push_back(scale(1, 8));
  twice.companions.push_back(scale(128, 128));
  EXPECT_EQ(messageOf(twice), "linear: a weight has two companions of kind 1");

  schema::StorageT empty;
  empty.companions.push_back(scale(0, 8));
  EXPECT_EQ(messageOf(empty),
            "linear: a companion has blocks of 0 x 8, expected 1 or more");

  schema::StorageT divides;
  divides.companions.push_back(scale(1, 8));
  divides.companions[0]->divides = true;
  EXPECT_EQ(messageOf(divides),
            "linear: a weight has a companion of kind 1 that divides; this "
            "runtime reads kinds 1 to 3, of which 3, GLOBAL_SCALE, may divide");

  schema::StorageT packed;
  packed.order = {1, 0};
  EXPECT_EQ(messageOf(packed),
            "linear: a weight has 2 values to an element; this runtime reads "
            "one, or two of which the first is lower");
}

schema::StorageT codes(schema::Codes kind, uint32_t zero,
                       std::vector<uint32_t> order) {
  schema::StorageT storage;
  storage.codes = kind;
  storage.zero = zero;
  storage.order = std::move(order);
  return storage;
}

TEST(StorageTest, CodesAreIntegersOrPairsOfE2M1) {
  using schema::Codes;
  EXPECT_EQ(messageOf(codes(Codes::UINT, 15, {0, 1})), "");
  EXPECT_EQ(messageOf(codes(Codes::UINT, 128, {})), "");
  EXPECT_EQ(messageOf(codes(Codes::E2M1, 0, {0, 1})), "");
  const std::string reads = "; this runtime reads kind 1, UINT, with a zero "
                            "among the codes, and pairs of kind 2, E2M1";
  EXPECT_EQ(messageOf(codes(Codes::UINT, 16, {0, 1})),
            "linear: a weight has codes of kind 1, 2 to an element, with a "
            "zero of 16" +
                reads);
  EXPECT_EQ(messageOf(codes(Codes::E2M1, 0, {})),
            "linear: a weight has codes of kind 2, 1 to an element, with a "
            "zero of 0" +
                reads);
  EXPECT_EQ(messageOf(codes(Codes::ELEMENTS, 0, {0, 1})),
            "linear: a weight has codes of kind 0, 2 to an element, with a "
            "zero of 0" +
                reads);
  EXPECT_EQ(messageOf(codes(Codes(9), 0, {})),
            "linear: a weight has codes of kind 9, 1 to an element, with a "
            "zero of 0" +
                reads);
}

TEST(StorageTest, PowersOfTwoOfColumnsAreRotated) {
  schema::StorageT storage;
  for (uint32_t columns : {0, 32, 128, 1024}) {
    storage.rotated = columns;
    EXPECT_EQ(messageOf(storage), "");
  }
  for (uint32_t columns : {16, 96, 2048}) {
    storage.rotated = columns;
    EXPECT_EQ(messageOf(storage),
              "linear: a weight rotates " + std::to_string(columns) +
                  " columns together; this runtime rotates a power of two "
                  "from 32 to 1024");
  }
}

TEST(StorageTest, CompanionsThatNeedOthers) {
  schema::StorageT zero;
  zero.companions.push_back(scale(1, 8));
  zero.companions[0]->kind = CompanionKind::ZERO;
  EXPECT_EQ(messageOf(zero),
            "linear: a weight has a companion of kind 2, ZERO; expected codes "
            "of kind 1, UINT, without another zero");
  zero.codes = schema::Codes::UINT;
  EXPECT_EQ(messageOf(zero), "");

  schema::StorageT global;
  global.companions.push_back(scale(1, 8));
  global.companions[0]->kind = CompanionKind::GLOBAL_SCALE;
  global.companions[0]->divides = true;
  EXPECT_EQ(messageOf(global), "linear: a weight has a companion of kind 3, "
                               "GLOBAL_SCALE, but no scale");
  global.companions.push_back(scale(1, 8));
  EXPECT_EQ(messageOf(global), "");
}

} // namespace
} // namespace saddle::ops
