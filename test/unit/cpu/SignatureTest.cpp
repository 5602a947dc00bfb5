// ops::checkLaunch: what it refuses, and in which words.

#include "test/unit/cpu/KernelFixture.h"
#include "test/unit/ops/Views.h"

#include <gmock/gmock.h>

namespace saddle::cpu {
namespace {

using testing::HasSubstr;

View f32(std::vector<uint64_t> shape) {
  return ops::denseView(DType::F32, shape);
}
View i32(std::vector<uint64_t> shape) {
  return ops::denseView(DType::I32, shape);
}
View f8(std::vector<uint64_t> shape) {
  return ops::denseView(DType::F8E4M3, shape);
}

/// The message of ops::checkLaunch, or "" when it accepts.
std::string check(KernelBuilder &kernel, const std::vector<View> &operands,
                  DType compute = DType::F32, DType kv = DType::F32) {
  return ops::checkLaunch(kernel.build(), compute, kv, operands).message();
}

std::string checkLinear(const std::vector<View> &operands,
                        DType compute = DType::F32) {
  KernelBuilder kernel("linear");
  return check(kernel.integer("act_group", 0), operands, compute);
}

TEST(SignatureTest, AcceptsAWellFormedLinear) {
  EXPECT_EQ(checkLinear({f32({4, 8}), f8({6, 8}), f32({4, 6})}), "");
}

TEST(SignatureTest, RefusesAnUnknownOp) {
  KernelBuilder kernel("softmax");
  EXPECT_EQ(check(kernel, {}),
            "kernel \"kernel under test\": op \"softmax\" is "
            "not an op of this runtime");
}

TEST(SignatureTest, RefusesAWrongOperandCount) {
  EXPECT_EQ(checkLinear({f32({4, 8})}), "linear: 1 operands, expected 3");
  KernelBuilder kernel("sum_of_squares");
  EXPECT_EQ(
      check(kernel, {f32({4, 1})}),
      "sum_of_squares: 1 operands, expected 1 to 8 inputs and one output");
}

TEST(SignatureTest, RefusesAForeignDType) {
  EXPECT_EQ(checkLinear({f32({4, 8}), f8({6, 8}), f32({4, 6})}, DType::BF16),
            "linear: operand 0 (x) is f32, expected the compute dtype "
            "(compute bf16, KV f32)");
  EXPECT_THAT(checkLinear({f32({4, 8}), i32({6, 8}), f32({4, 6})}),
              HasSubstr("(w) is i32, expected f32, bf16, f16, f8e4m3 or i8"));
}

TEST(SignatureTest, RefusesAWrongRank) {
  EXPECT_EQ(checkLinear({f32({4, 8}), f8({6, 8, 1}), f32({4, 6})}),
            "linear: operand 1 (w) has 3 dimensions, expected 2");
}

TEST(SignatureTest, RefusesExtentsThatDisagree) {
  EXPECT_EQ(checkLinear({f32({4, 8}), f8({6, 7}), f32({4, 6})}),
            "linear: operand 1 (w): dimension 1 is 7, but an earlier operand's "
            "K is 8");
  EXPECT_THAT(checkLinear({f32({4, 8}), f8({6, 8}), f32({5, 6})}),
              HasSubstr("operand 2 (out): dimension 0 is 5, but an earlier "
                        "operand's n is 4"));
}

TEST(SignatureTest, RefusesEmptyDimensions) {
  EXPECT_EQ(checkLinear({f32({4, 0}), f8({6, 0}), f32({4, 6})}),
            "linear: operand 0 (x): dimension 1 is 0, expected 1 or more");
}

TEST(SignatureTest, RefusesOverlappingOrWrappingStrides) {
  View x = f32({4, 8});
  x.strides[0] = 7;
  EXPECT_EQ(checkLinear({x, f8({6, 8}), f32({4, 6})}),
            "linear: operand 0 (x): stride 0 is 7, expected at least 8");
  x.strides = {16, 2};
  EXPECT_EQ(checkLinear({x, f8({6, 8}), f32({4, 6})}),
            "linear: operand 0 (x): stride 1 is 2, expected 1");
  x.strides = {1ull << 63, 1};
  EXPECT_THAT(checkLinear({x, f8({6, 8}), f32({4, 6})}),
              HasSubstr("dimension 0 of 4 entries at stride "
                        "9223372036854775808 overflows"));
}

TEST(SignatureTest, RefusesAttributesThatDoNotFit) {
  std::vector<View> norm = {f32({4, 8}), f32({8}), f32({4, 8})};
  KernelBuilder missing("rms_norm");
  EXPECT_EQ(check(missing, norm), "rms_norm: attribute \"eps\" is missing");
  KernelBuilder kind("rms_norm");
  EXPECT_EQ(check(kind.integer("eps", 1), norm),
            "rms_norm: attribute \"eps\" is of kind INT, expected FLOAT");
  KernelBuilder infinite("rms_norm");
  EXPECT_EQ(check(infinite.real("eps", INFINITY), norm),
            "rms_norm: attribute \"eps\" is not finite");
  KernelBuilder negative("rms_norm");
  EXPECT_EQ(check(negative.real("eps", -1), norm),
            "rms_norm: attribute \"eps\" is -1, expected 0 or more");
  KernelBuilder unknown("rms_norm");
  EXPECT_EQ(check(unknown.real("eps", 1).real("beta", 1), norm),
            "rms_norm: unknown attribute \"beta\"");
  KernelBuilder twice("rms_norm");
  EXPECT_EQ(check(twice.real("eps", 1).real("eps", 1), norm),
            "rms_norm: attribute \"eps\" is given twice");
  KernelBuilder divisor("embedding");
  EXPECT_EQ(check(divisor.rank("vocab_start", 0, 0, 1, 0),
                  {i32({4}), f32({9, 8}), f32({4, 8})}),
            "embedding: attribute \"vocab_start\" needs a rank value with "
            "divisor and modulus of 1 or more");
}

TEST(SignatureTest, RefusesMoreCandidatesThanValues) {
  KernelBuilder top("top_candidates");
  EXPECT_EQ(check(top.rank("vocab_start", 0, 1, 1, 0),
                  {f32({4, 8}), f32({4, 9}), i32({4, 9})}),
            "top_candidates: 9 candidates are chosen out of 8");
  KernelBuilder merge("merge_candidates");
  EXPECT_EQ(check(merge, {f32({4, 2}), i32({4, 2}), f32({4, 3}), i32({4, 3})}),
            "merge_candidates: 3 candidates are chosen out of 2");
}

TEST(SignatureTest, RefusesNormsOutOfRange) {
  std::vector<View> views = {f32({4, 8}), f32({4, 2}), f32({8}), f32({4, 8})};
  auto message = [&](int column, int divisor) {
    KernelBuilder kernel("rms_scale");
    kernel.integer("column", column).integer("divisor", divisor);
    return check(kernel.real("eps", 0), views);
  };
  EXPECT_EQ(message(1, 8), "");
  EXPECT_EQ(message(2, 8),
            "rms_scale: attribute \"column\" is 2, but sums has 2 columns");
  EXPECT_EQ(message(0, 0),
            "rms_scale: attribute \"divisor\" is 0, expected 1 or more");
  KernelBuilder divide("divide_by_rms");
  divide.integer("column", 2).integer("divisor", 8).real("eps", 0);
  EXPECT_EQ(check(divide, {f32({4, 8}), f32({4, 2}), f32({4, 8})}),
            "divide_by_rms: attribute \"column\" is 2, but sums has 2 columns");
  KernelBuilder sums("sum_of_squares");
  EXPECT_EQ(check(sums, {f32({4, 8}), f32({4, 3}), f32({4, 3})}),
            "sum_of_squares: columns of out is 3, expected the number of "
            "inputs = 2");
}

TEST(SignatureTest, RefusesRotationsThatDoNotFitTheHead) {
  auto message = [&](int headDim, int rotaryDim, double theta) {
    KernelBuilder kernel("rope");
    kernel.integer("head_dim", headDim).integer("rotary_dim", rotaryDim);
    return check(kernel.real("theta", theta),
                 {f32({4, 24}), i32({4}), f32({4, 24})});
  };
  EXPECT_EQ(message(8, 8, 1e4), "");
  EXPECT_EQ(message(7, 4, 1e4),
            "rope: the width of x is 24, expected a multiple of head_dim = 7");
  EXPECT_EQ(message(8, 10, 1e4), "rope: attribute \"rotary_dim\" is 10, "
                                 "expected an even number up to head_dim = 8");
  EXPECT_THAT(message(8, 5, 1e4),
              HasSubstr("\"rotary_dim\" is 5, expected an"));
  EXPECT_EQ(message(8, 4, 0),
            "rope: attribute \"theta\" is 0, expected more than 0");
}

TEST(SignatureTest, RefusesHeadsThatDoNotFitTheCache) {
  View cache = f32({5, 16, 2, 8});
  auto message = [&](uint64_t width, int headDim) {
    KernelBuilder kernel("attention");
    kernel.integer("head_dim", headDim).real("scale", 1);
    return check(kernel, {f32({4, width}), cache, cache, i32({4}), i32({4}),
                          i32({3, 7}), f32({4, width})});
  };
  EXPECT_EQ(message(48, 8), "");
  EXPECT_EQ(message(40, 8), "attention: the width of q is 40, expected a "
                            "multiple of kv heads x head_dim = 16");
  EXPECT_EQ(message(48, 4), "attention: attribute \"head_dim\" is 4, expected "
                            "the caches' last dimension = 8");
  KernelBuilder append("kv_append");
  EXPECT_EQ(
      check(append, {f32({4, 8}), f32({4, 8}), i32({4}), cache, cache}),
      "kv_append: the width of k and v is 8, expected kv heads x head dim "
      "of the caches = 16");
}

TEST(SignatureTest, RefusesScansOfOtherWidthsThanTheState) {
  auto message = [&](uint64_t width, uint64_t values, int64_t heads = 2,
                     double rate = 1) {
    KernelBuilder kernel("decay_scan");
    kernel.integer("heads", heads).real("rate", rate).rank("head_start", 0);
    return check(kernel, {f32({4, width}), i32({4}), i32({4}),
                          f32({1, 2, 3, 5}), f32({4, values})});
  };
  EXPECT_EQ(message(22, 10), "");
  EXPECT_EQ(message(22, 10, 64), "");
  EXPECT_EQ(message(33, 10), "decay_scan: the width of qkv is 33, expected "
                             "heads x (2 x rows + columns) of the state = 22");
  EXPECT_EQ(message(22, 6), "decay_scan: the width of out is 6, expected heads "
                            "x columns of the state = 10");
  EXPECT_EQ(message(22, 10, 1), "decay_scan: attribute \"heads\" is 1, "
                                "expected 2 or more");
  EXPECT_EQ(message(22, 10, 2, 0), "decay_scan: attribute \"rate\" is 0, "
                                   "expected more than 0");
}

TEST(SignatureTest, RefusesMoreChoicesThanExperts) {
  KernelBuilder kernel("router_topk");
  EXPECT_EQ(check(kernel.real("routed_scale", 1),
                  {f32({4, 3}), f32({3}), f32({4, 4}), i32({4, 4})}),
            "router_topk: 4 experts are chosen out of 3");
  KernelBuilder softmax("softmax_topk");
  EXPECT_EQ(check(softmax, {f32({4, 3}), f32({4, 4}), i32({4, 4})}),
            "softmax_topk: 4 experts are chosen out of 3");
  KernelBuilder gate("shared_gate");
  EXPECT_EQ(check(gate, {f32({4, 3}), f32({4, 2}), f32({4, 3}), f32({4, 2}),
                         i32({4, 2})}),
            "shared_gate: the logit has 2 columns, expected 1");
}

TEST(SignatureTest, RefusesFactorsThatDoNotCoverTheRow) {
  auto encode = [&](uint64_t factors, int group) {
    KernelBuilder kernel("encode_rows");
    return check(kernel.integer("group", group),
                 {f32({4, 9}), f8({4, 9}), f32({4, factors})});
  };
  EXPECT_EQ(encode(3, 4), "");
  EXPECT_EQ(encode(2, 4), "encode_rows: columns of factors is 2, expected one "
                          "for each group of a row = 3");
  EXPECT_EQ(encode(3, 0),
            "encode_rows: attribute \"group\" is 0, expected 1 or more");
  KernelBuilder linear("linear_of_codes");
  EXPECT_EQ(check(linear.integer("act_group", 4),
                  {f8({4, 8}), f32({4, 3}), f8({6, 8}), f32({4, 6})}),
            "linear_of_codes: columns of factors is 3, expected one for each "
            "group of a row = 2");
  KernelBuilder values("linear_of_codes");
  EXPECT_EQ(check(values.integer("act_group", 4),
                  {f32({4, 8}), f32({4, 2}), f8({6, 8}), f32({4, 6})}),
            "linear_of_codes: operand 0 (codes) is f32, expected f8e4m3 "
            "(compute f32, KV f32)");
  KernelBuilder experts("experts_of_codes");
  experts.rank("expert_start", 0).integer("act_group", 4);
  EXPECT_EQ(check(experts, {f8({4, 8}), f32({4, 1}), f32({4, 2}), i32({4, 2}),
                            f8({3, 8, 8}), f8({3, 8, 4}), f32({4, 8})}),
            "experts_of_codes: columns of factors is 1, expected one for each "
            "group of a row = 2");
}

TEST(SignatureTest, RefusesScalesThatDoNotCoverTheWeight) {
  auto message = [&](std::vector<uint64_t> scale, int block) {
    KernelBuilder kernel("linear");
    return check(kernel.integer("act_group", 0).scale(block, 4),
                 {f32({4, 8}), f8({6, 8}), f32(scale), f32({4, 6})});
  };
  EXPECT_EQ(message({2, 2}, 4), "");
  EXPECT_EQ(message({1, 2}, 4),
            "linear: operand 2 (w_scale) has 1 rows, expected 2: one for "
            "every 4 of the weight's 6");
  EXPECT_EQ(message({2, 3}, 4),
            "linear: operand 2 (w_scale) has 3 columns, expected 2: one for "
            "every 4 of the weight's 8");
  EXPECT_EQ(message({2, 2}, 0),
            "linear: a companion has blocks of 0 x 4, expected 1 or more");
}

TEST(SignatureTest, RefusesStorageThatItCannotRead) {
  KernelBuilder zeros("linear");
  zeros.integer("act_group", 0).scale(1, 8, schema::CompanionKind::ZERO);
  EXPECT_EQ(check(zeros, {f32({4, 8}), f8({6, 8}), f32({6, 1}), f32({4, 6})}),
            "linear: a weight has a companion of kind 2, ZERO; expected codes "
            "of kind 1, UINT, without another zero");
  KernelBuilder twice("linear");
  twice.integer("act_group", 0).scale(1, 8).scale(1, 8);
  EXPECT_EQ(check(twice, {f32({4, 8}), f8({6, 8}), f32({6, 1}), f32({4, 6})}),
            "linear: 2 storages, expected none or one for each of its 1 "
            "weights that may be stored in any way");
  KernelBuilder half("experts");
  half.rank("expert_start", 0).integer("act_group", 0).plain();
  EXPECT_EQ(check(half, {f32({4, 8}), f32({4, 2}), i32({4, 2}), f32({3, 8, 8}),
                         f32({3, 8, 4}), f32({4, 8})}),
            "experts: 1 storages, expected none or one for each of its 2 "
            "weights that may be stored in any way");
  KernelBuilder table("embedding");
  table.rank("vocab_start", 0).scale(1, 8);
  EXPECT_EQ(check(table, {i32({4}), f32({6, 8}), f32({4, 8})}),
            "embedding: 1 storages, expected none or one for each of its 0 "
            "weights that may be stored in any way");
}

TEST(SignatureTest, RotatedColumnsStandTogether) {
  auto message = [&](uint64_t columns) {
    KernelBuilder kernel("linear");
    return check(kernel.integer("act_group", 0).rotated(32),
                 {f32({4, columns}), f32({6, columns}), f32({4, 6})});
  };
  EXPECT_EQ(message(64), "");
  EXPECT_EQ(message(48), "linear: operand 1 (w): dimension 1 is 48, expected a "
                         "multiple of 32, which are rotated together");
}

TEST(SignatureTest, PairsOfCodesCountTwice) {
  schema::CompanionT scale;
  scale.kind = schema::CompanionKind::SCALE;
  scale.block_cols = 4;
  auto message = [&](const View &weight, const View &scales) {
    KernelBuilder kernel("linear");
    kernel.integer("act_group", 0).codes(schema::Codes::UINT, true, 8, {scale});
    return check(kernel, {f32({4, 8}), weight, scales, f32({4, 6})});
  };
  View pairs = f8({6, 4});
  pairs.dtype = DType::U8;
  EXPECT_EQ(message(pairs, f32({6, 2})), "");
  EXPECT_EQ(message(pairs, f32({6, 1})),
            "linear: operand 2 (w_scale) has 1 columns, expected 2: one for "
            "every 4 of the weight's 8");
  EXPECT_EQ(message(f8({6, 4}), f32({6, 2})),
            "linear: operand 1 (w) is f8e4m3, expected u8 (compute f32, KV "
            "f32)");
  View whole = f8({6, 8});
  whole.dtype = DType::U8;
  EXPECT_EQ(message(whole, f32({6, 4})),
            "linear: operand 1 (w): dimension 1 is 16, but an earlier "
            "operand's K is 8");
}

TEST(SignatureTest, RefusesExpertMatricesThatDoNotPair) {
  KernelBuilder kernel("experts");
  kernel.rank("expert_start", 0).integer("act_group", 0);
  EXPECT_EQ(check(kernel, {f32({4, 8}), f32({4, 2}), i32({4, 2}),
                           f32({3, 6, 8}), f32({3, 8, 4}), f32({4, 8})}),
            "experts: rows of w13 is 6, expected 2 x columns of w2 = 8");
}

TEST(SignatureTest, ScratchRefusesAbsurdSizes) {
  Scratch scratch;
  scratch.require(1e30);
  Status status = scratch.allocate();
  EXPECT_EQ(status.code(), StatusCode::ResourceExhausted);
  EXPECT_THAT(status.message(), HasSubstr("working memory needs"));
}

} // namespace
} // namespace saddle::cpu
