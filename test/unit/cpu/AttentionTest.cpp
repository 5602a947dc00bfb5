#include "test/unit/cpu/KernelFixture.h"

namespace saddle::cpu {
namespace {

struct Shape {
  int heads, kvHeads, headDim, pageSize;
};

using AttentionParameters = std::tuple<Shape, DType, DType>;
class AttentionTest : public testing::TestWithParam<AttentionParameters> {};

TEST_P(AttentionTest, SeesItsSequenceUpToItsPosition) {
  auto [shape, a, kv] = GetParam();
  const uint64_t d = shape.headDim, g = shape.kvHeads, pages = 9;
  const uint64_t pageSize = shape.pageSize;
  Tensor kCache = Tensor(kv, {pages, pageSize, g, d}, 2).random(1);
  Tensor vCache = Tensor(kv, {pages, pageSize, g, d}, 1).random(2);
  // Pages in no order; slot 1 is unused.
  Tensor blocks =
      Tensor(DType::I32, {3, 3}).fill({7, 2, 5, -1, -1, -1, 8, 0, 4});
  // First and last position of a page, and a whole table.
  std::vector<double> positions = {0.0, double(pageSize - 1), double(pageSize),
                                   double(3 * pageSize - 1)};
  Tensor at = Tensor(DType::I32, {4}).fill(positions);
  Tensor sequences = Tensor(DType::I32, {4}).fill({0, 2, 2, 0});
  Tensor q = Tensor(a, {4, shape.heads * d}, 5).random(3);
  Tensor out(a, {4, shape.heads * d}, 3);
  KernelBuilder kernel("attention");
  kernel.integer("head_dim", d).real("scale", 0.3);
  launch(kernel, {&q, &kCache, &vCache, &at, &sequences, &blocks, &out}, 4,
         {a, kv});
  for (int t = 0; t < 4; ++t)
    for (int head = 0; head < shape.heads; ++head) {
      int kvHead = head / (shape.heads / shape.kvHeads);
      std::vector<double> weights;
      double sum = 0;
      auto cached = [&](const Tensor &cache, int p, uint64_t i) {
        int page = blocks.at(sequences.at(t), p / pageSize);
        return cache.at(page, p % pageSize, kvHead, i);
      };
      for (int p = 0; p <= positions[t]; ++p) {
        double score = 0;
        for (uint64_t i = 0; i < d; ++i)
          score += q.at(t, head * d + i) * cached(kCache, p, i);
        weights.push_back(std::exp(0.3 * score));
        sum += weights.back();
      }
      for (uint64_t i = 0; i < d; ++i) {
        double expected = 0;
        for (size_t p = 0; p < weights.size(); ++p)
          expected += weights[p] / sum * cached(vCache, p, i);
        ASSERT_NEAR(out.at(t, head * d + i), expected,
                    tolerance(a, expected, 10))
            << "token " << t << " head " << head << " dim " << i;
      }
    }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, AttentionTest,
    testing::Combine(testing::Values(Shape{1, 1, 8, 4}, Shape{6, 2, 10, 3},
                                     Shape{4, 4, 33, 1}, Shape{6, 1, 16, 16}),
                     testing::Values(DType::F32, DType::BF16),
                     testing::Values(DType::F32, DType::BF16, DType::F8E4M3)));

TEST(AttentionTest, OnePositionReturnsItsValueExactly) {
  Tensor kCache = Tensor(DType::F32, {1, 2, 1, 4}).random(1);
  Tensor vCache = Tensor(DType::F32, {1, 2, 1, 4}).random(2);
  Tensor blocks = Tensor(DType::I32, {1, 1}).fill({0});
  Tensor zero = Tensor(DType::I32, {1}).fill({0});
  Tensor q = Tensor(DType::F32, {1, 4}).random(3), out(DType::F32, {1, 4});
  KernelBuilder kernel("attention");
  kernel.integer("head_dim", 4).real("scale", 1);
  launch(kernel, {&q, &kCache, &vCache, &zero, &zero, &blocks, &out}, 1);
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(out.at(0, i), vCache.at(0, 0, 0, i));
}

TEST(AttentionTest, LargeScoresDoNotOverflow) {
  Tensor kCache = Tensor(DType::F32, {1, 2, 1, 1}).fill({1000, -1000});
  Tensor vCache = Tensor(DType::F32, {1, 2, 1, 1}).fill({3, 5});
  Tensor blocks = Tensor(DType::I32, {1, 1}).fill({0});
  Tensor one = Tensor(DType::I32, {1}).fill({1});
  Tensor zero = Tensor(DType::I32, {1}).fill({0});
  Tensor q = Tensor(DType::F32, {1, 1}).fill({1000}), out(DType::F32, {1, 1});
  KernelBuilder kernel("attention");
  kernel.integer("head_dim", 1).real("scale", 1);
  launch(kernel, {&q, &kCache, &vCache, &one, &zero, &blocks, &out}, 1);
  EXPECT_EQ(out.at(0, 0), 3);
}

TEST(AttentionTest, IndicesOutsideAreNeverFollowed) {
  Tensor kCache = Tensor(DType::F32, {2, 2, 1, 4}).random(1);
  Tensor vCache = Tensor(DType::F32, {2, 2, 1, 4}).random(2);
  Tensor blocks = Tensor(DType::I32, {1, 2}).fill({99, -7});
  Tensor positions = Tensor(DType::I32, {4}).fill({1, 1 << 30, -1, 0});
  Tensor sequences = Tensor(DType::I32, {4}).fill({0, 0, 0, 1 << 30});
  Tensor q = Tensor(DType::F32, {4, 4}).random(3);
  Tensor out = Tensor(DType::F32, {4, 4}).random(4);
  KernelBuilder kernel("attention");
  kernel.integer("head_dim", 4).real("scale", 1);
  launch(kernel, {&q, &kCache, &vCache, &positions, &sequences, &blocks, &out},
         4);
  for (int t = 0; t < 4; ++t)
    EXPECT_EQ(out.at(t, 0), 0);
}

class KvAppendTest : public testing::TestWithParam<DType> {};

TEST_P(KvAppendTest, WritesItsSlotsAndNothingElse) {
  DType kv = GetParam();
  Tensor k = Tensor(DType::F32, {4, 6}, 2).random(1, 100);
  Tensor v = Tensor(DType::F32, {4, 6}, 1).random(2, 100);
  // Page 2 offset 2, page 0 offset 0, two slots outside.
  Tensor slots = Tensor(DType::I32, {4}).fill({8, 0, 9, -1});
  Tensor kCache = Tensor(kv, {3, 3, 2, 3}, 1).random(3);
  Tensor vCache = Tensor(kv, {3, 3, 2, 3}, 2).random(4);
  Tensor kBefore = Tensor(kv, {3, 3, 2, 3}, 1).random(3);
  KernelBuilder kernel("kv_append");
  launch(kernel, {&k, &v, &slots, &kCache, &vCache}, 4, {DType::F32, kv});
  for (int slot = 0; slot < 9; ++slot)
    for (int head = 0; head < 2; ++head)
      for (int i = 0; i < 3; ++i) {
        if (slot != 0 && slot != 8) {
          EXPECT_EQ(kCache.at(slot / 3, slot % 3, head, i),
                    kBefore.at(slot / 3, slot % 3, head, i));
          continue;
        }
        int token = slot == 8 ? 0 : 1;
        Tensor rounded(kv, {2});
        rounded.set(k.at(token, head * 3 + i), 0);
        rounded.set(v.at(token, head * 3 + i), 1);
        EXPECT_EQ(kCache.at(slot / 3, slot % 3, head, i), rounded.at(0));
        EXPECT_EQ(vCache.at(slot / 3, slot % 3, head, i), rounded.at(1));
      }
}

INSTANTIATE_TEST_SUITE_P(KvDType, KvAppendTest,
                         testing::Values(DType::F32, DType::BF16,
                                         DType::F8E4M3));

} // namespace
} // namespace saddle::cpu
