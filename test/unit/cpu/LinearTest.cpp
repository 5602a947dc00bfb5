#include "test/unit/cpu/KernelFixture.h"
#include "test/unit/cpu/Quantization.h"

namespace saddle::cpu {
namespace {

std::vector<double> rowOf(const Tensor &x, int row) {
  std::vector<double> values(x.view.shape[1]);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = x.at(row, i);
  return values;
}

/// x * w^T in double; `weight(n, k)` is the full-precision weight.
template <typename Weight>
void expectProduct(const Tensor &x, const Tensor &out, int count, size_t group,
                   Weight weight) {
  for (int t = 0; t < count; ++t) {
    std::vector<double> row = quantized(rowOf(x, t), group);
    for (size_t n = 0; n < out.view.shape[1]; ++n) {
      double expected = 0, magnitude = 0;
      for (size_t k = 0; k < row.size(); ++k) {
        expected += row[k] * weight(n, k);
        magnitude += std::fabs(row[k] * weight(n, k));
      }
      ASSERT_NEAR(out.at(t, n), expected,
                  tolerance(out.view.dtype, expected, magnitude))
          << "token " << t << " column " << n;
    }
  }
}

using LinearParameters = std::tuple<DType, DType, int, int, int>;
class LinearTest : public testing::TestWithParam<LinearParameters> {};

TEST_P(LinearTest, MultipliesByTheTransposedWeight) {
  auto [a, w, k, n, group] = GetParam();
  constexpr int tokens = 4, count = 3;
  Tensor x = Tensor(a, {tokens, uint64_t(k)}, 3).random(1);
  Tensor weight = Tensor(w, {uint64_t(n), uint64_t(k)}, 5).random(2);
  for (DType result : {a, DType::F32}) {
    Tensor out = Tensor(result, {tokens, uint64_t(n)}, 2).random(3);
    double last = out.at(count, 0);
    KernelBuilder kernel("linear");
    launch(kernel.integer("act_group", group), {&x, &weight, &out}, count, {a});
    expectProduct(x, out, count, group,
                  [&](int row, int column) { return weight.at(row, column); });
    EXPECT_EQ(out.at(count, 0), last) << "a row beyond the count was written";
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, LinearTest,
    testing::Combine(testing::Values(DType::F32, DType::BF16),
                     testing::Values(DType::F32, DType::BF16, DType::F16,
                                     DType::F8E4M3),
                     testing::Values(1, 31, 64, 100), // K
                     testing::Values(1, 4, 7),        // N
                     testing::Values(0, 32)));        // act_group

TEST(LinearTest, EveryE4m3CodeWidensExactly) {
  // One-hot rows pick single weights: all 256 codes pass through.
  Tensor x(DType::F32, {16, 16});
  x.forEach([&](uint8_t *address) { writeElement(address, DType::F32, 0); });
  for (int i = 0; i < 16; ++i)
    x.set(1, i, i);
  Tensor weight(DType::F8E4M3, {16, 16}), out(DType::F32, {16, 16});
  for (int code = 0; code < 256; ++code)
    weight.view.data[code] = code == 0x7f || code == 0xff ? 0 : code;
  KernelBuilder kernel("linear");
  launch(kernel.integer("act_group", 0), {&x, &weight, &out}, 16);
  for (int n = 0; n < 16; ++n)
    for (int k = 0; k < 16; ++k)
      EXPECT_EQ(out.at(k, n), weight.at(n, k));
  weight.view.data[17] = 0x7f;
  launch(kernel, {&x, &weight, &out}, 16);
  EXPECT_TRUE(std::isnan(out.at(1, 1)));
}

struct Block {
  int rows, columns;
};
class LinearScaledTest : public testing::TestWithParam<Block> {};

TEST_P(LinearScaledTest, ScalesAreMultipliersOfTheirBlocks) {
  const int blockRows = GetParam().rows, blockColumns = GetParam().columns;
  constexpr int n = 13, k = 70;
  uint64_t scaleRows = (n + blockRows - 1) / blockRows;
  uint64_t scaleColumns = (k + blockColumns - 1) / blockColumns;
  for (DType a : {DType::F32, DType::BF16})
    for (int group : {0, 32}) {
      Tensor x = Tensor(a, {3, k}, 1).random(1);
      Tensor weight = Tensor(DType::F8E4M3, {n, k}, 3).random(2);
      Tensor scale = Tensor(DType::F32, {scaleRows, scaleColumns}, 2).random(3);
      Tensor out(a, {3, n}, 1);
      KernelBuilder kernel("linear");
      kernel.integer("act_group", group).scale(blockRows, blockColumns);
      launch(kernel, {&x, &weight, &scale, &out}, 3, {a});
      expectProduct(x, out, 3, group, [&](int row, int column) {
        return weight.at(row, column) *
               scale.at(row / blockRows, column / blockColumns);
      });
    }
}

INSTANTIATE_TEST_SUITE_P(Blocks, LinearScaledTest,
                         testing::Values(Block{1, 1}, Block{3, 7},
                                         Block{13, 70}, Block{128, 128},
                                         Block{4, 64}, Block{1, 70}));

/// What is encoded before is what a product rounds for itself, bit for bit;
/// rows of codes and factors may lie apart.
TEST(LinearTest, OfCodesIsWhatItMakesOfItsInput) {
  for (DType a : {DType::F32, DType::BF16})
    for (int k : {1, 64, 100}) {
      uint64_t groups = (uint64_t(k) + 31) / 32;
      Tensor x = Tensor(a, {4, uint64_t(k)}, 3).random(1);
      for (int i = 0; i < k; ++i)
        x.set(0, 1, i); // a row whose factors would be 0
      Tensor weight = Tensor(DType::F8E4M3, {13, uint64_t(k)}, 3).random(2);
      Tensor codes = Tensor(DType::F8E4M3, {4, uint64_t(k)}, 5);
      Tensor factors = Tensor(DType::F32, {4, groups}, 2);
      Tensor expected(a, {4, 13}, 1), found(a, {4, 13}, 2);
      KernelBuilder encode("encode_rows"), of("linear_of_codes"),
          plain("linear");
      launch(encode.integer("group", 32), {&x, &codes, &factors}, 3, {a});
      launch(of.integer("act_group", 32), {&codes, &factors, &weight, &found},
             3, {a});
      launch(plain.integer("act_group", 32), {&x, &weight, &expected}, 3, {a});
      for (int t = 0; t < 3; ++t) {
        std::vector<double> row = quantized(rowOf(x, t), 32);
        for (int i = 0; i < k; ++i)
          EXPECT_NEAR(codes.at(t, i) * factors.at(t, i / 32), row[i],
                      1e-6 * std::fabs(row[i]))
              << "token " << t << " column " << i;
        for (int n = 0; n < 13; ++n)
          EXPECT_EQ(found.at(t, n), expected.at(t, n));
      }
      EXPECT_EQ(factors.at(1, 0), 1);
    }
}

TEST(LinearTest, AnyElementsMayHaveScales) {
  for (DType stored : {DType::F32, DType::BF16, DType::F16}) {
    Tensor x = Tensor(DType::F32, {3, 70}, 1).random(1);
    Tensor weight = Tensor(stored, {13, 70}, 3).random(2);
    Tensor scale = Tensor(DType::F32, {13, 1}, 2).random(3);
    Tensor out(DType::F32, {3, 13}, 1);
    KernelBuilder kernel("linear");
    launch(kernel.integer("act_group", 0).scale(1, 70),
           {&x, &weight, &scale, &out}, 3);
    expectProduct(x, out, 3, 0, [&](int row, int column) {
      return weight.at(row, column) * scale.at(row, 0);
    });
  }
}

schema::CompanionT companion(schema::CompanionKind kind, uint64_t rows,
                             uint64_t columns, bool divides = false) {
  schema::CompanionT made;
  made.kind = kind;
  made.block_rows = rows;
  made.block_cols = columns;
  made.divides = divides;
  return made;
}

/// Random bytes.
Tensor bytesOf(std::vector<uint64_t> shape, unsigned seed, int below = 256) {
  Tensor tensor(DType::U8, std::move(shape), 1);
  std::mt19937 generator(seed);
  tensor.forEach([&](uint8_t *address) {
    *address = uint8_t(generator() % unsigned(below));
  });
  return tensor;
}

int nibble(const Tensor &pairs, int row, int column) {
  int byte = *pairs.address(row, column / 2);
  return column % 2 ? byte >> 4 : byte & 15;
}

using schema::Codes;
using schema::CompanionKind;
constexpr int kPackedRows = 13, kPackedColumns = 70;

TEST(LinearTest, PairsOfIntegersLessAConstant) {
  Tensor x = Tensor(DType::F32, {3, kPackedColumns}, 1).random(1);
  Tensor weight = bytesOf({kPackedRows, kPackedColumns / 2}, 2);
  Tensor scale = Tensor(DType::F32, {kPackedRows, 5}, 2).random(3);
  Tensor out(DType::F32, {3, kPackedRows}, 1);
  KernelBuilder kernel("linear");
  kernel.integer("act_group", 0)
      .codes(Codes::UINT, true, 8, {companion(CompanionKind::SCALE, 1, 16)});
  launch(kernel, {&x, &weight, &scale, &out}, 3);
  expectProduct(x, out, 3, 0, [&](int row, int column) {
    return (nibble(weight, row, column) - 8) * scale.at(row, column / 16);
  });
}

// Value i of 32 is the sum over j of (-1)^(bits that i and j share) times
// element j.
TEST(LinearTest, RotatedColumnsAreMultipliedByAHadamardMatrix) {
  Tensor x = Tensor(DType::F32, {3, 96}, 1).random(1);
  Tensor weight = Tensor(DType::BF16, {5, 96}, 2).random(2);
  Tensor out(DType::F32, {3, 5}, 1);
  KernelBuilder kernel("linear");
  launch(kernel.integer("act_group", 0).rotated(32), {&x, &weight, &out}, 3);
  expectProduct(x, out, 3, 0, [&](int row, int column) {
    double value = 0;
    int start = column / 32 * 32;
    for (int j = 0; j < 32; ++j)
      value += (__builtin_popcount(unsigned(column - start) & unsigned(j)) % 2
                    ? -1.0
                    : 1.0) *
               weight.at(row, start + j);
    return value;
  });
}

TEST(LinearTest, IntegersLessZerosOfTheirGroups) {
  for (bool inPairs : {true, false}) {
    Tensor x = Tensor(DType::BF16, {3, kPackedColumns}, 1).random(1);
    Tensor weight =
        bytesOf({kPackedRows, uint64_t(kPackedColumns / (inPairs ? 2 : 1))}, 2);
    Tensor scale = Tensor(DType::F32, {kPackedRows, 5}, 2).random(3);
    Tensor zero = bytesOf({kPackedRows, 5}, 4, inPairs ? 16 : 256);
    Tensor out(DType::F32, {3, kPackedRows}, 1);
    KernelBuilder kernel("linear");
    kernel.integer("act_group", 0)
        .codes(Codes::UINT, inPairs, 0,
               {companion(CompanionKind::SCALE, 1, 16),
                companion(CompanionKind::ZERO, 1, 16)});
    launch(kernel, {&x, &weight, &scale, &zero, &out}, 3, {DType::BF16});
    expectProduct(x, out, 3, 0, [&](int row, int column) {
      int code =
          inPairs ? nibble(weight, row, column) : int(weight.at(row, column));
      return (code - zero.at(row, column / 16)) * scale.at(row, column / 16);
    });
  }
}

TEST(LinearTest, PairsOfE2M1WithAGlobalScale) {
  const double magnitudes[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  for (bool divides : {false, true}) {
    Tensor x = Tensor(DType::F32, {3, kPackedColumns}, 1).random(1);
    Tensor weight = bytesOf({kPackedRows, kPackedColumns / 2}, 2);
    Tensor scale = Tensor(DType::F8E4M3, {kPackedRows, 5}, 2).random(3);
    Tensor global = Tensor(DType::F32, {1, 1}).fill({0.37});
    Tensor out(DType::F32, {3, kPackedRows}, 1);
    KernelBuilder kernel("linear");
    kernel.integer("act_group", 0)
        .codes(Codes::E2M1, true, 0,
               {companion(CompanionKind::SCALE, 1, 16),
                companion(CompanionKind::GLOBAL_SCALE, kPackedRows,
                          kPackedColumns, divides)});
    launch(kernel, {&x, &weight, &scale, &global, &out}, 3);
    expectProduct(x, out, 3, 0, [&](int row, int column) {
      int code = nibble(weight, row, column);
      double value = magnitudes[code & 7] * (code & 8 ? -1 : 1);
      double all = divides ? 1 / 0.37 : 0.37;
      return value * scale.at(row, column / 16) * all;
    });
  }
}

TEST(LinearTest, BytesWithPowersOfTwoOrAFactor) {
  Tensor x = Tensor(DType::F32, {3, kPackedColumns}, 1).random(1);
  Tensor fp8 =
      Tensor(DType::F8E4M3, {kPackedRows, kPackedColumns}, 1).random(2);
  Tensor power(DType::F8E8M0, {kPackedRows, 3}, 1);
  power.forEach([](uint8_t *address) { *address = 123; });
  *power.address(4, 1) = 130;
  Tensor out(DType::F32, {3, kPackedRows}, 1);
  KernelBuilder mx("linear");
  launch(mx.integer("act_group", 0).scale(1, 32), {&x, &fp8, &power, &out}, 3);
  expectProduct(x, out, 3, 0, [&](int row, int column) {
    return fp8.at(row, column) * (row == 4 && column / 32 == 1 ? 8.0 : 0.0625);
  });

  Tensor int8(DType::I8, {kPackedRows, kPackedColumns}, 1);
  int next = 0;
  int8.forEach([&](uint8_t *address) { *address = uint8_t(next += 37); });
  Tensor scale = Tensor(DType::F32, {kPackedRows, 1}, 2).random(3);
  KernelBuilder bytes("linear");
  launch(bytes.integer("act_group", 0).scale(1, kPackedColumns),
         {&x, &int8, &scale, &out}, 3);
  expectProduct(x, out, 3, 0, [&](int row, int column) {
    return int8.at(row, column) * scale.at(row, 0);
  });
}

TEST(LinearTest, ARowHasTheSameBitsInEveryBatch) {
  constexpr uint64_t tokens = 9, k = 133, n = 11;
  Tensor x = Tensor(DType::BF16, {tokens, k}).random(1);
  Tensor weight = Tensor(DType::F8E4M3, {n, k}).random(2);
  Tensor batch(DType::F32, {tokens, n});
  KernelBuilder kernel("linear");
  kernel.integer("act_group", 0);
  launch(kernel, {&x, &weight, &batch}, tokens, {DType::BF16});
  for (uint64_t t = 0; t < tokens; ++t) {
    Tensor alone(DType::F32, {1, n}), row(DType::BF16, {1, k});
    for (uint64_t i = 0; i < k; ++i)
      row.set(x.at(t, i), 0, i);
    launch(kernel, {&row, &weight, &alone}, 1, {DType::BF16});
    for (uint64_t i = 0; i < n; ++i)
      EXPECT_EQ(alone.at(0, i), batch.at(t, i));
  }
}

TEST(LinearTest, AllZeroAndTinyGroupsQuantizeToZero) {
  Tensor x = Tensor(DType::F32, {1, 4}).fill({0, 0, 1e-45, 0});
  Tensor weight = Tensor(DType::F32, {1, 4}).fill({1, 1, 1, 1});
  Tensor out(DType::F32, {1, 1});
  KernelBuilder kernel("linear");
  launch(kernel.integer("act_group", 2), {&x, &weight, &out}, 1);
  EXPECT_EQ(out.at(0, 0), 0);
}

} // namespace
} // namespace saddle::cpu
