// Which bytes are copied for a step, and what stands in them.

#include "runtime/src/cuda/StepStaging.h"
#include "test/unit/cuda/DeviceEngine.h"

#include <gtest/gtest.h>

#include <cstring>

namespace saddle::cuda {
namespace {

constexpr uint64_t kHeader = sizeof(device::Step);

/// One entry with the given bindings in an io arena, all i32.
class StagingTest : public testing::Test {
protected:
  void bind(const char *name, uint64_t offset, std::vector<uint64_t> shape) {
    auto slice = std::make_unique<schema::SliceT>();
    slice->arena = 0;
    slice->offset = offset;
    slice->dtype = schema::DType::I32;
    slice->strides.assign(shape.size(), 1);
    for (size_t i = shape.size(); i-- > 1;)
      slice->strides[i - 1] = slice->strides[i] * shape[i];
    slice->shape = std::move(shape);
    auto binding = std::make_unique<schema::BindingT>();
    binding->name = name;
    binding->slice = uint32_t(tree.slices.size());
    tree.slices.push_back(std::move(slice));
    tree.bindings.push_back(std::move(binding));
  }
  StagingLayout layout() {
    tree.name = "decode";
    builder.Finish(schema::CreateEntry(builder, &tree));
    entry = flatbuffers::GetRoot<schema::Entry>(builder.GetBufferPointer());
    auto engine = load(*deviceEngine({}));
    plan = std::make_unique<MemoryPlan>(engine->root(), 4096);
    // The slices above lie in arena 0.
    plan->heapOffsets = {kHeader};
    plan->stepOffset = 0;
    return StagingLayout(*entry, *plan);
  }

  schema::EntryT tree;
  flatbuffers::FlatBufferBuilder builder;
  const schema::Entry *entry = nullptr;
  std::unique_ptr<MemoryPlan> plan;
};

void expectRange(const CopyRange &range, uint64_t from, uint64_t to,
                 uint64_t bytes) {
  EXPECT_EQ(range.from, from);
  EXPECT_EQ(range.to, to);
  EXPECT_EQ(range.bytes, bytes);
}

TEST_F(StagingTest, NeighboursAreOneRange) {
  bind("tokens", 0, {4});
  bind("positions", 256, {4});
  bind("block_table", 512, {2, 8});
  bind("logits", 1024, {4, 100000});
  StagingLayout found = layout();
  ASSERT_EQ(found.ranges.size(), 1u);
  // The last input ends at 512 + 64.
  expectRange(found.ranges[0], 0, 0, kHeader + 512 + 64);
  EXPECT_EQ(found.header, 0u);
  EXPECT_FALSE(found.table);
  EXPECT_EQ(found.slices,
            (std::vector<uint64_t>{kHeader, kHeader + 256, kHeader + 512,
                                   StagingLayout::kNotStaged}));
  EXPECT_EQ(found.bytes, 1536u); // 768 + 576 = 1344, and up to 256
}

TEST_F(StagingTest, LogitsBetweenAreNotCopied) {
  bind("logits", 0, {4, 100000}); // 1,600,000 bytes
  bind("tokens", 1600000, {4});
  bind("positions", 1600256, {4});
  StagingLayout found = layout();
  ASSERT_EQ(found.ranges.size(), 2u);
  expectRange(found.ranges[0], 0, 0, kHeader);
  expectRange(found.ranges[1], kHeader, kHeader + 1600000, 256 + 16);
  EXPECT_EQ(found.slices[1], kHeader);
  EXPECT_EQ(found.slices[2], kHeader + 256);
}

TEST_F(StagingTest, ALargeTableIsNoPartOfARange) {
  bind("tokens", 0, {4});
  bind("block_table", 256, {4, 5000}); // 80,000 bytes
  bind("rows", 80384, {4});
  StagingLayout found = layout();
  // A gap of 80,000 bytes is more than is copied along.
  ASSERT_EQ(found.ranges.size(), 2u);
  expectRange(found.ranges[0], 0, 0, kHeader + 16);
  expectRange(found.ranges[1], 1024, kHeader + 80384, 16);
  ASSERT_TRUE(found.table);
  expectRange(*found.table, 1280, kHeader + 256, 80000);
}

TEST_F(StagingTest, ASmallGapNeverRunsOverALargeTable) {
  // The table's rows are few bytes apart from its neighbours, and it lies where
  // a gap of 4096 would be copied along.
  bind("block_table", 0, {4, 5000});
  bind("tokens", 80128, {4});
  StagingLayout found = layout();
  ASSERT_EQ(found.ranges.size(), 2u);
  expectRange(found.ranges[0], 0, 0, kHeader);
  expectRange(found.ranges[1], kHeader, kHeader + 80128, 16);
}

} // namespace
} // namespace saddle::cuda
