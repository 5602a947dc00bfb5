// Weights cut into parts: every element in exactly one, and the same bytes.

#include "runtime/src/engine/Engine.h"
#include "runtime/src/engine/Programs.h"
#include "runtime/src/weights/WeightLoader.h"
#include "test/unit/engine/TinyEngine.h"

#include <gtest/gtest.h>

namespace saddle {
namespace {

/// A slice of an f32 weight.
class SliceOf {
public:
  SliceOf(std::vector<uint64_t> shape, std::vector<uint64_t> strides) {
    schema::SliceT tree;
    tree.dtype = schema::DType::F32;
    tree.shape = std::move(shape);
    tree.strides = std::move(strides);
    builder.Finish(schema::CreateSlice(builder, &tree));
  }
  const schema::Slice &operator*() const {
    return *flatbuffers::GetRoot<schema::Slice>(builder.GetBufferPointer());
  }

private:
  flatbuffers::FlatBufferBuilder builder;
};

void expectPart(const WeightPart &part, uint64_t firstMember, uint64_t members,
                uint64_t firstRow, uint64_t rows) {
  EXPECT_EQ(part.firstMember, firstMember);
  EXPECT_EQ(part.members, members);
  EXPECT_EQ(part.firstRow, firstRow);
  EXPECT_EQ(part.rows, rows);
}

TEST(PartsTest, MembersThatFitTravelTogether) {
  // Five members of 4 x 8 x 4 = 128 bytes.
  SliceOf slice({5, 4, 8}, {32, 8, 1});
  auto parts = splitWeight(*slice, 300);
  ASSERT_EQ(parts.size(), 3u);
  expectPart(parts[0], 0, 2, 0, 4);
  expectPart(parts[1], 2, 2, 0, 4);
  expectPart(parts[2], 4, 1, 0, 4);
  EXPECT_EQ(partOffset(*slice, parts[2]), 512u);
  EXPECT_EQ(partBytes(*slice, parts[0]), 256u);
}

TEST(PartsTest, AMemberThatDoesNotFitIsCutInRows) {
  // Rows of 8 values are 12 apart: 48 bytes each; two fit 100 bytes.
  SliceOf slice({2, 3, 8}, {36, 12, 1});
  auto parts = splitWeight(*slice, 100);
  ASSERT_EQ(parts.size(), 4u);
  expectPart(parts[0], 0, 1, 0, 2);
  expectPart(parts[1], 0, 1, 2, 1);
  expectPart(parts[3], 1, 1, 2, 1);
  EXPECT_EQ(partOffset(*slice, parts[3]), 4u * (36 + 24));
  EXPECT_EQ(partBytes(*slice, parts[0]), 4u * (12 + 8));
}

TEST(PartsTest, ARowIsNeverCut) {
  SliceOf matrix({3, 100}, {100, 1});
  EXPECT_EQ(splitWeight(*matrix, 16).size(), 3u);
  SliceOf vector({100}, {1});
  auto parts = splitWeight(*vector, 16);
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(partBytes(*vector, parts[0]), 400u);
}

TEST(PartsTest, PartsOfAnySizeGiveTheSameBytes) {
  TinyOptions tiny;
  tiny.tp = 2;
  tiny.layers = 2;
  auto file = engineFileOf(*tinyEngine(tiny));
  auto engine = Engine::fromBytes(file.data(), file.size(), "t");
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  std::vector<const schema::Weight *> weights =
      engine::weightsOf((*engine)->root(), 0);
  auto source = WeightSource::open((*engine)->root(), "synthetic:3");
  ASSERT_TRUE(source.ok());
  constexpr uint32_t kRank = 1;
  uint64_t bytes = (*engine)->root().arenas()->Get(0)->bytes();
  std::vector<uint8_t> whole(bytes);
  std::vector<uint8_t *> arenas = {whole.data(), nullptr, nullptr, nullptr};
  ASSERT_TRUE((*source)->load(weights, kRank, arenas).ok());
  std::vector<uint8_t> scratch;
  for (uint64_t most : {1, 50, 200, 1 << 20}) {
    std::vector<uint8_t> parts(bytes);
    for (const schema::Weight *weight : weights) {
      const schema::Slice &slice = *weight->slice();
      for (const WeightPart &part : splitWeight(slice, most))
        (*source)->loadPart(
            *weight, part, kRank,
            parts.data() + slice.offset() + partOffset(slice, part), scratch);
    }
    EXPECT_EQ(parts, whole) << most;
  }
}

} // namespace
} // namespace saddle
