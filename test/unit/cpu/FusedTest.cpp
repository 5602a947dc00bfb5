// Kernels of several ops give the bits of their ops run one after the other.

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
  fused.step("add", {0, 1, 3}).step("rms_norm", {3, 2, 4}).real("eps", 1e-3);
  launch(fused, {&x, &y, &weight, &sum, &out}, 3, {a});
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
  auto scaled = [&](const char *op, int64_t column, int64_t divisor,
                    const std::vector<uint32_t> &operands) {
    fused.step(op, operands).integer("column", column);
    fused.integer("divisor", divisor).real("eps", 1e-2);
  };
  auto turned = [&](const std::vector<uint32_t> &operands) {
    fused.step("rope", operands).integer("head_dim", 8);
    fused.integer("rotary_dim", 6).real("theta", 1e4);
  };
  // q, k, their weights, positions, v, slots; out and the caches; sums, q and
  // k scaled, k turned.
  fused.step("sum_of_squares", {0, 1, 10});
  scaled("rms_scale", 0, 48, {0, 10, 2, 11});
  scaled("rms_scale", 1, 32, {1, 10, 3, 12});
  turned({11, 4, 7});
  turned({12, 4, 13});
  fused.step("kv_append", {13, 5, 6, 8, 9});
  fused.temporary(DType::F32, {2}).temporary(a, {24});
  fused.temporary(a, {16}).temporary(a, {16});
  launch(fused,
         {&q, &k, &qWeight, &kWeight, &positions, &v, &slots, &out, &keys,
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

TEST(FusedSignatureTest, AStepNamesWhatDoesNotFit) {
  auto message = [](int64_t divisor, int64_t headDim, int64_t rotaryDim) {
    Tensor x(DType::F32, {1, 24}), weight(DType::F32, {24});
    Tensor index(DType::I32, {1});
    KernelBuilder kernel("norm_rope");
    kernel.step("sum_of_squares", {0, 4});
    kernel.step("rms_scale", {0, 4, 1, 5}).integer("column", 0);
    kernel.integer("divisor", divisor).real("eps", 1e-6);
    kernel.step("rope", {5, 2, 3}).integer("head_dim", headDim);
    kernel.integer("rotary_dim", rotaryDim).real("theta", 1e4);
    kernel.temporary(DType::F32, {1}).temporary(DType::F32, {24});
    return ops::checkLaunch(kernel.build(), DType::F32, DType::F32,
                            viewsOf({&x, &weight, &index, &x}))
        .message();
  };
  EXPECT_EQ(message(1, 8, 8), "");
  EXPECT_EQ(message(0, 8, 8),
            "rms_scale: attribute \"divisor\" is 0, expected 1 or more");
  EXPECT_EQ(message(1, 7, 4), "rope: the width of x is 24, expected a multiple "
                              "of head_dim = 7");
  EXPECT_EQ(message(1, 8, 10),
            "rope: attribute \"rotary_dim\" is 10, expected an even number up "
            "to head_dim = 8");
}

} // namespace
} // namespace saddle::cpu
