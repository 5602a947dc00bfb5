// Launches with stored weights in the shapes of MiniMax-M2.5.

#ifndef SADDLE_TEST_UNIT_CUDA_PLANS_STOREDFIXTURE_H
#define SADDLE_TEST_UNIT_CUDA_PLANS_STOREDFIXTURE_H

#include "test/unit/cuda-plans/PlanFixture.h"

namespace saddle::cuda {

class StoredPlanTest : public PlanTest {
protected:
  /// `rows` are dimensions in front of the columns.
  Operand codes(const char *name, llvm::SmallVector<int64_t> rows, int64_t cols,
                schema::Codes kind = schema::Codes::UINT, uint32_t zero = 0) {
    rows.push_back(cols / 2);
    Operand result = operand(name, u8(), rows);
    result.encoding = {kind, 2, zero};
    return result;
  }
  Operand of(const char *name, mlir::Type type, llvm::SmallVector<int64_t> rows,
             int64_t cols, int64_t group,
             schema::CompanionKind kind = schema::CompanionKind::SCALE) {
    rows.push_back(cols / group);
    return companion(name, type, rows, group, kind);
  }
  mlir::Type e8m0() { return builder.getType<mlir::Float8E8M0FNUType>(); }

  /// AWQ.
  LaunchDesc linear(int64_t tokens, int64_t rows, int64_t cols,
                    int64_t group = 128) {
    return launch(
        "linear",
        {operand("x", bf16(), {tokens, cols}), codes("w", {rows}, cols),
         of("w_scale", f32(), {rows}, cols, group),
         of("w_zero", u8(), {rows}, cols, group, schema::CompanionKind::ZERO),
         operand("out", bf16(), {tokens, rows})},
        {{"act_group", 0}});
  }
  LaunchDesc experts(int64_t tokens, int64_t inner) {
    return launch("experts",
                  {operand("x", bf16(), {tokens, 3072}),
                   operand("weights", f32(), {tokens, 8}),
                   operand("experts", i32(), {tokens, 8}),
                   codes("w13", {256, 2 * inner}, 3072),
                   of("w13_scale", f32(), {256, 2 * inner}, 3072, 128),
                   codes("w2", {256, 3072}, inner),
                   of("w2_scale", f32(), {256, 3072}, inner, 128),
                   operand("out", bf16(), {tokens, 3072})},
                  {{"act_group", 0}});
  }
};

} // namespace saddle::cuda

#endif // SADDLE_TEST_UNIT_CUDA_PLANS_STOREDFIXTURE_H
