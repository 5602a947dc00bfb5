// Fused ops give the bits of the single ops run one after the other.

#include "test/unit/cpu/KernelFixture.h"

namespace saddle::cpu {
namespace {

class FusedTest : public testing::TestWithParam<DType> {};

TEST_P(FusedTest, AddRmsNormIsAddThenNormOfTheRoundedSum) {
  DType a = GetParam();
  Tensor x = Tensor(a, {4, 37}, 3).random(1), y = Tensor(a, {4, 37}).random(2);
  Tensor weight = Tensor(DType::F32, {37}).random(3);
  Tensor sum(a, {4, 37}), out(a, {4, 37}, 5);
  Tensor expectedSum(a, {4, 37}), expected(a, {4, 37}, 5);
  KernelBuilder fused("add_rms_norm"), add("add"), norm("rms_norm");
  launch(fused.real("eps", 1e-3), {&x, &y, &weight, &sum, &out}, 3, {a});
  launch(add, {&x, &y, &expectedSum}, 3, {a});
  launch(norm.real("eps", 1e-3), {&expectedSum, &weight, &expected}, 3, {a});
  EXPECT_EQ(sum.bytes, expectedSum.bytes);
  EXPECT_EQ(out.bytes, expected.bytes);
}

TEST_P(FusedTest, QkNormRopeKvAppendIsItsSteps) {
  DType a = GetParam();
  constexpr DType kKv = DType::F8E4M3;
  // Three q heads and two kv heads of 8, of which 6 dims are rotated.
  Tensor q = Tensor(a, {4, 24}, 2).random(1), k = Tensor(a, {4, 16}).random(2),
         v = Tensor(a, {4, 16}, 1).random(3);
  Tensor qWeight = Tensor(DType::F32, {24}).random(4),
         kWeight = Tensor(DType::F32, {16}).random(5);
  Tensor positions = Tensor(DType::I32, {4}).fill({0, 7, 100000, 3});
  Tensor slots = Tensor(DType::I32, {4}).fill({5, -1, 2, 0});
  auto cache = [&] { return Tensor(kKv, {3, 2, 2, 8}).random(6); };
  Tensor out(a, {4, 24}), keys = cache(), values = cache();
  KernelBuilder fused("qk_norm_rope_kv_append");
  fused.integer("q_divisor", 48).integer("k_divisor", 32).real("eps", 1e-2);
  fused.integer("head_dim", 8).integer("rotary_dim", 6).real("theta", 1e4);
  launch(fused,
         {&q, &k, &v, &qWeight, &kWeight, &positions, &slots, &out, &keys,
          &values},
         3, {a, kKv});

  Tensor sums(DType::F32, {4, 2}), scaledQ(a, {4, 24}), scaledK(a, {4, 16}),
      turnedQ(a, {4, 24}), turnedK(a, {4, 16}), expectedKeys = cache(),
                                                expectedValues = cache();
  KernelBuilder square("sum_of_squares"), scaleQ("rms_scale"),
      scaleK("rms_scale"), turn("rope"), append("kv_append");
  scaleQ.integer("column", 0).integer("divisor", 48).real("eps", 1e-2);
  scaleK.integer("column", 1).integer("divisor", 32).real("eps", 1e-2);
  turn.integer("head_dim", 8).integer("rotary_dim", 6).real("theta", 1e4);
  launch(square, {&q, &k, &sums}, 3, {a});
  launch(scaleQ, {&q, &sums, &qWeight, &scaledQ}, 3, {a});
  launch(scaleK, {&k, &sums, &kWeight, &scaledK}, 3, {a});
  launch(turn, {&scaledQ, &positions, &turnedQ}, 3, {a});
  launch(turn, {&scaledK, &positions, &turnedK}, 3, {a});
  launch(append, {&turnedK, &v, &slots, &expectedKeys, &expectedValues}, 3,
         {a, kKv});
  EXPECT_EQ(out.bytes, turnedQ.bytes);
  EXPECT_EQ(keys.bytes, expectedKeys.bytes);
  EXPECT_EQ(values.bytes, expectedValues.bytes);
}

INSTANTIATE_TEST_SUITE_P(ComputeDType, FusedTest,
                         testing::Values(DType::F32, DType::BF16));

TEST(FusedSignatureTest, QkNormNamesWhatDoesNotFit) {
  auto message = [](int64_t qDivisor, int64_t headDim, int64_t rotaryDim) {
    Tensor q(DType::F32, {1, 24}), kv(DType::F32, {1, 16});
    Tensor qWeight(DType::F32, {24}), kWeight(DType::F32, {16});
    Tensor index(DType::I32, {1}), cache(DType::F32, {3, 2, 2, 8});
    KernelBuilder kernel("qk_norm_rope_kv_append");
    kernel.integer("q_divisor", qDivisor).integer("k_divisor", 1);
    kernel.integer("head_dim", headDim).integer("rotary_dim", rotaryDim);
    kernel.real("eps", 1e-6).real("theta", 1e4);
    return ops::checkLaunch(kernel.build(), DType::F32, DType::F32,
                            viewsOf({&q, &kv, &kv, &qWeight, &kWeight, &index,
                                     &index, &q, &cache, &cache}))
        .message();
  };
  EXPECT_EQ(message(1, 8, 8), "");
  EXPECT_EQ(message(0, 8, 8), "qk_norm_rope_kv_append: attribute \"q_divisor\" "
                              "is 0, expected 1 or more");
  EXPECT_EQ(message(1, 4, 4),
            "qk_norm_rope_kv_append: attribute \"head_dim\" is 4, expected the "
            "caches' last dimension = 8");
  EXPECT_EQ(message(1, 8, 10),
            "qk_norm_rope_kv_append: attribute \"rotary_dim\" is 10, expected "
            "an even number up to head_dim = 8");
}

} // namespace
} // namespace saddle::cpu
