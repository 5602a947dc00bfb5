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
            "runtime reads kind 1, SCALE, that multiplies");

  schema::StorageT packed;
  packed.order = {0, 1};
  EXPECT_EQ(messageOf(packed), "linear: a weight has 2 values to an element; "
                               "this runtime reads one");
}

} // namespace
} // namespace saddle::ops
