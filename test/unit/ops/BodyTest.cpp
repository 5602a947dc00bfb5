// Bodies of kernels: how they fit together, what is refused, and that the CPU
// target runs them as it runs their ops one by one.

#include "runtime/ops/Body.h"
#include "runtime/src/cpu/Kernels.h"
#include "test/unit/ops/Views.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace saddle::ops {
namespace {

using schema::DType;

/// One kernel, as an engine file has it.
class KernelOf {
public:
  explicit KernelOf(const char *name = "fused") {
    table.name = table.op = name;
  }

  KernelOf &step(const char *op, std::vector<uint32_t> operands,
                 std::vector<std::pair<const char *, double>> reals = {}) {
    auto step = std::make_unique<schema::BodyOpT>();
    step->op = op;
    step->operands = std::move(operands);
    for (auto [name, value] : reals) {
      auto attribute = std::make_unique<schema::AttributeT>();
      attribute->name = name;
      attribute->kind = schema::AttributeKind::FLOAT;
      attribute->float_value = value;
      step->attributes.push_back(std::move(attribute));
    }
    table.body.push_back(std::move(step));
    return *this;
  }
  KernelOf &temporary(DType dtype, std::vector<uint64_t> row) {
    auto temporary = std::make_unique<schema::TemporaryT>();
    temporary->dtype = dtype;
    temporary->shape = std::move(row);
    table.temporaries.push_back(std::move(temporary));
    return *this;
  }
  const schema::Kernel &build() {
    builder.Finish(schema::Kernel::Pack(builder, &table));
    return *flatbuffers::GetRoot<schema::Kernel>(builder.GetBufferPointer());
  }

  schema::KernelT table;

private:
  flatbuffers::FlatBufferBuilder builder;
};

/// a, b, weight -> sum, out.
KernelOf addNorm() {
  KernelOf kernel;
  kernel.step("add", {0, 1, 3}).step("rms_norm", {3, 2, 4}, {{"eps", 1e-6}});
  return kernel;
}

std::string messageOf(KernelOf &kernel, size_t operands) {
  return Body::of(kernel.build(), operands).status().message();
}

TEST(BodyTest, AKernelWithoutABodyIsItsOp) {
  KernelOf kernel("add");
  auto body = Body::of(kernel.build(), 3);
  ASSERT_TRUE(body.ok()) << body.status().message();
  ASSERT_EQ(body->steps().size(), 1u);
  EXPECT_EQ(body->steps()[0].operands, (std::vector<uint32_t>{0, 1, 2}));
  EXPECT_EQ(body->outputs(), 1u);
  EXPECT_EQ(body->counted(), 0u);
  EXPECT_FALSE(body->exchanges());
}

TEST(BodyTest, RowsAreThoseThatAreSelected) {
  KernelOf kernel("select_rows");
  auto body = Body::of(kernel.build(), 3);
  ASSERT_TRUE(body.ok());
  EXPECT_EQ(body->counted(), 1u);
}

TEST(BodyTest, FactsOfOperandsComeFromTheirFirstOp) {
  KernelOf kernel = addNorm();
  auto body = Body::of(kernel.build(), 5);
  ASSERT_TRUE(body.ok()) << body.status().message();
  EXPECT_EQ(body->outputs(), 2u);
  EXPECT_EQ(body->definition(2).name, "weight");
  EXPECT_EQ(body->definition(2).traffic, Traffic::Whole);
  // `sum` is written by the add, so that is what it is.
  EXPECT_EQ(body->definition(3).role, Role::Output);
}

TEST(BodyTest, TheBodyRunsAsItsOpsDo) {
  std::vector<float> a = {1, 2, -3, 4}, b = {0.5f, -1, 3, 2}, w = {1, 2},
                     sum(4), out(4), aloneSum(4), alone(4);
  KernelOf fused = addNorm(), add("add"), norm("rms_norm");
  auto eps = std::make_unique<schema::AttributeT>();
  eps->name = "eps";
  eps->kind = schema::AttributeKind::FLOAT;
  eps->float_value = 1e-6;
  norm.table.attributes.push_back(std::move(eps));
  auto run = [](const schema::Kernel &kernel, const std::vector<View> &views) {
    ASSERT_EQ(checkLaunch(kernel, DType::F32, DType::F32, views).message(), "");
    cpu::Scratch scratch;
    auto bound = cpu::bindLaunch(kernel, views, 0, scratch);
    ASSERT_TRUE(scratch.allocate().ok());
    bound->run(2);
  };
  auto rows = [](std::vector<float> &values) {
    return denseView(DType::F32, {2, 2}, values.data());
  };
  View weight = denseView(DType::F32, {2}, w.data());
  run(fused.build(), {rows(a), rows(b), weight, rows(sum), rows(out)});
  run(add.build(), {rows(a), rows(b), rows(aloneSum)});
  run(norm.build(), {rows(aloneSum), weight, rows(alone)});
  EXPECT_EQ(sum, aloneSum);
  EXPECT_EQ(out, alone);
}

TEST(BodyTest, TemporariesHoldRowsBetweenOps) {
  // a + b in a temporary, then the norm of it: only the norm leaves.
  KernelOf kernel;
  kernel.step("add", {0, 1, 4})
      .step("rms_norm", {4, 2, 3}, {{"eps", 1e-6}})
      .temporary(DType::F32, {2});
  std::vector<float> a = {3, 0}, b = {0, 4}, w = {1, 1}, out(2);
  std::vector<View> views = {denseView(DType::F32, {1, 2}, a.data()),
                             denseView(DType::F32, {1, 2}, b.data()),
                             denseView(DType::F32, {2}, w.data()),
                             denseView(DType::F32, {1, 2}, out.data())};
  const schema::Kernel &built = kernel.build();
  ASSERT_EQ(checkLaunch(built, DType::F32, DType::F32, views).message(), "");
  cpu::Scratch scratch;
  auto bound = cpu::bindLaunch(built, views, 0, scratch);
  ASSERT_TRUE(scratch.allocate().ok());
  bound->run(1);
  // (3, 4) / sqrt(12.5)
  EXPECT_NEAR(out[0], 3 / 3.5355339f, 1e-5);
  EXPECT_NEAR(out[1], 4 / 3.5355339f, 1e-5);
}

TEST(BodyTest, ATemporaryOfAnotherWidthIsRefused) {
  KernelOf kernel;
  kernel.step("add", {0, 1, 4})
      .step("rms_norm", {4, 2, 3}, {{"eps", 1e-6}})
      .temporary(DType::F32, {3});
  std::vector<View> views = {
      denseView(DType::F32, {1, 2}), denseView(DType::F32, {1, 2}),
      denseView(DType::F32, {2}), denseView(DType::F32, {1, 2})};
  EXPECT_EQ(
      checkLaunch(kernel.build(), DType::F32, DType::F32, views).message(),
      "add: operand 2 (out): dimension 1 is 3, but an earlier operand's "
      "H is 2");
}

TEST(BodyTest, TemporariesThatCannotBeAreRefused) {
  KernelOf huge;
  huge.step("add", {0, 1, 4})
      .step("rms_norm", {4, 2, 3}, {{"eps", 1e-6}})
      .temporary(DType::F32, {uint64_t(1) << 63});
  std::vector<View> views = {
      denseView(DType::F32, {8, 2}), denseView(DType::F32, {8, 2}),
      denseView(DType::F32, {2}), denseView(DType::F32, {8, 2})};
  EXPECT_THAT(
      checkLaunch(huge.build(), DType::F32, DType::F32, views).message(),
      testing::StartsWith("temporary 0 is f32 with 1 dimensions besides"));
  KernelOf unknown;
  unknown.step("add", {0, 1, 4})
      .step("rms_norm", {4, 2, 3}, {{"eps", 1e-6}})
      .temporary(DType::UNKNOWN, {2});
  EXPECT_THAT(
      checkLaunch(unknown.build(), DType::F32, DType::F32, views).message(),
      testing::StartsWith("temporary 0 is unknown"));
}

TEST(BodyTest, UnknownOpsAreUnsupported) {
  KernelOf kernel;
  kernel.step("spin", {0, 1});
  auto body = Body::of(kernel.build(), 2);
  EXPECT_EQ(body.status().code(), StatusCode::Unsupported);
  EXPECT_EQ(body.status().message(),
            "kernel \"fused\": op \"spin\" is not an op of this runtime");
}

TEST(BodyTest, WhatDoesNotFitTogetherIsRefused) {
  KernelOf wrongCount;
  wrongCount.step("add", {0, 1});
  EXPECT_EQ(messageOf(wrongCount, 2), "add: 2 operands, expected 3");

  KernelOf outside;
  outside.step("add", {0, 1, 3});
  EXPECT_EQ(messageOf(outside, 3),
            "add: operand 2 (out) is value 3 of the body, which has 3 operands "
            "and 0 temporaries");

  KernelOf twice;
  twice.step("add", {0, 1, 2}).step("add", {0, 1, 2});
  EXPECT_EQ(messageOf(twice, 3), "add: operand 2 (out) is value 2 of the body, "
                                 "which has been written before");

  KernelOf unwritten;
  unwritten.step("add", {0, 3, 2})
      .step("add", {0, 1, 3})
      .temporary(DType::F32, {2});
  EXPECT_EQ(messageOf(unwritten, 3), "add: operand 1 (b) is temporary 0, which "
                                     "nothing has written");

  KernelOf rowless;
  rowless.step("add", {0, 1, 3})
      .step("rms_norm", {0, 3, 2}, {{"eps", 1}})
      .temporary(DType::F32, {2});
  EXPECT_EQ(messageOf(rowless, 3),
            "rms_norm: operand 1 (weight) has no "
            "run-time rows, so it cannot be temporary 0");

  KernelOf unused;
  unused.step("add", {0, 1, 3});
  EXPECT_EQ(messageOf(unused, 4), "no op of the body has operand 2");

  KernelOf unusedTemporary;
  unusedTemporary.step("add", {0, 1, 2}).temporary(DType::F32, {2});
  EXPECT_EQ(messageOf(unusedTemporary, 3), "no op of the body has temporary 0");

  KernelOf notLast;
  notLast.step("add", {0, 2, 1});
  EXPECT_EQ(messageOf(notLast, 3),
            "operand 1 is written, but operand 2, behind it, is not; outputs "
            "are the last operands");

  KernelOf attributes = addNorm();
  auto eps = std::make_unique<schema::AttributeT>();
  eps->name = "eps";
  attributes.table.attributes.push_back(std::move(eps));
  EXPECT_EQ(
      messageOf(attributes, 5),
      "fused has attributes or storages beside a body, whose ops have their "
      "own");

  flatbuffers::FlatBufferBuilder builder;
  std::vector<flatbuffers::Offset<schema::BodyOp>> none;
  builder.Finish(schema::CreateKernelDirect(builder, "k", "fused", nullptr,
                                            nullptr, &none));
  EXPECT_EQ(
      Body::of(
          *flatbuffers::GetRoot<schema::Kernel>(builder.GetBufferPointer()), 2)
          .status()
          .message(),
      "fused has an empty body, expected 1 op or more");

  KernelOf bodyless("add");
  bodyless.temporary(DType::F32, {2});
  EXPECT_EQ(messageOf(bodyless, 3),
            "add has temporaries, but no body that could use them");
}

} // namespace
} // namespace saddle::ops
