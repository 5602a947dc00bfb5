// Launches as a planner sees them, built by hand.

#ifndef SADDLE_TEST_UNIT_CUDAPLANS_PLANFIXTURE_H
#define SADDLE_TEST_UNIT_CUDAPLANS_PLANFIXTURE_H

#include "passes/Target/Sm90a/KernelPlan.h"

#include "mlir/IR/Builders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace saddle::cuda {

class PlanTest : public testing::Test {
protected:
  PlanTest() { context.loadDialect<engine::EngineDialect>(); }

  mlir::Type f32() { return builder.getF32Type(); }
  mlir::Type bf16() { return builder.getBF16Type(); }
  mlir::Type f16() { return builder.getF16Type(); }
  mlir::Type e4m3() { return builder.getType<mlir::Float8E4M3FNType>(); }
  mlir::Type u8() { return builder.getIntegerType(8, /*isSigned=*/false); }
  mlir::Type i32() { return builder.getI32Type(); }

  /// Dense unless `rowStride` says how far rows are apart.
  static Operand operand(const char *name, mlir::Type element,
                         llvm::ArrayRef<int64_t> shape, int64_t rowStride = 0) {
    Operand result;
    result.name = name;
    result.element = element;
    result.shape.assign(shape.begin(), shape.end());
    int64_t stride = 1;
    for (size_t i = shape.size(); i-- > 0;) {
      result.strides.insert(result.strides.begin(), stride);
      stride *= shape[i];
      if (rowStride && i + 1 == shape.size())
        stride = rowStride;
    }
    return result;
  }

  /// A scale for blocks of `rows` x `cols` of the weight before it.
  Operand scale(const char *name, llvm::ArrayRef<int64_t> shape, int64_t rows,
                int64_t cols) {
    Operand result =
        companion(name, f32(), shape, cols, schema::CompanionKind::SCALE);
    result.blockRows = rows;
    return result;
  }

  /// A companion with a number for each row and `cols` columns.
  static Operand companion(const char *name, mlir::Type element,
                           llvm::ArrayRef<int64_t> shape, int64_t cols,
                           schema::CompanionKind kind) {
    Operand result = operand(name, element, shape);
    result.companion = kind;
    result.blockRows = 1;
    result.blockCols = cols;
    return result;
  }

  LaunchDesc launch(const char *op, std::vector<Operand> operands,
                    llvm::ArrayRef<std::pair<const char *, int64_t>> constants,
                    engine::Extent extent = engine::Extent::Tokens) {
    LaunchDesc result;
    result.op = op;
    llvm::SmallVector<mlir::NamedAttribute> attributes;
    for (auto [name, value] : constants)
      attributes.push_back(
          builder.getNamedAttr(name, builder.getI64IntegerAttr(value)));
    result.constants = builder.getDictionaryAttr(attributes);
    result.operands = std::move(operands);
    result.extent = result.outputExtent = extent;
    result.capacity = result.operands[0].shape[0];
    result.tuning = &planned;
    return result;
  }

  /// The launch with one more constant.
  LaunchDesc with(LaunchDesc launch, const char *name, double value) {
    mlir::NamedAttrList constants(launch.constants);
    constants.append(name, builder.getF64FloatAttr(value));
    launch.constants = constants.getDictionary(&context);
    return launch;
  }

  /// Of a fused launch's body.
  LaunchStep step(const char *op, llvm::ArrayRef<int64_t> values,
                  llvm::ArrayRef<std::pair<const char *, int64_t>> integers,
                  llvm::ArrayRef<std::pair<const char *, double>> reals = {}) {
    llvm::SmallVector<mlir::NamedAttribute> constants;
    for (auto [name, value] : integers)
      constants.push_back(
          builder.getNamedAttr(name, builder.getI64IntegerAttr(value)));
    for (auto [name, value] : reals)
      constants.push_back(
          builder.getNamedAttr(name, builder.getF64FloatAttr(value)));
    return {op, builder.getDictionaryAttr(constants),
            llvm::SmallVector<int64_t>(values)};
  }

  /// The plan of a launch that must have one.
  static KernelPlan plan(const LaunchDesc &launch) {
    std::string error;
    mlir::FailureOr<KernelPlan> result = planKernel(launch, error);
    EXPECT_TRUE(mlir::succeeded(result)) << error;
    return mlir::succeeded(result) ? *result : KernelPlan();
  }
  static std::string errorOf(const LaunchDesc &launch) {
    std::string error;
    EXPECT_TRUE(mlir::failed(planKernel(launch, error)));
    return error;
  }

  /// What planners choose, whatever was measured.
  const Tuning planned = Tuning::candidate(0);
  mlir::MLIRContext context;
  mlir::Builder builder{&context};
};

} // namespace saddle::cuda

#endif // SADDLE_TEST_UNIT_CUDAPLANS_PLANFIXTURE_H
