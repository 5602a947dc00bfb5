// embedding and select_rows: copies of rows chosen at run time.

#include "runtime/src/cpu/Binding.h"
#include "runtime/src/cpu/Vector.h"

#include <cstring>

namespace saddle::cpu {

std::unique_ptr<BoundKernel> bindEmbedding(const BindContext &context) {
  View tokens = context.operand(0), table = context.operand(1),
       out = context.operand(2);
  auto vocabStart = int64_t(context.rankValue("vocab_start"));
  auto vocab = int64_t(table.shape[0]);
  uint64_t width = table.shape[1];
  context.scratch.require(double(width));
  return makeKernel([=, scratch = &context.scratch](uint64_t count) {
    for (uint64_t t = 0; t < count; ++t) {
      int64_t row =
          reinterpret_cast<const int32_t *>(tokens.data)[t] - vocabStart;
      if (row < 0 || row >= vocab) {
        std::memset(out.row(t), 0, width * elementBytes(out.dtype));
        continue;
      }
      const float *values =
          asFloats(table.row(row), table.dtype, scratch->data(), width);
      storeRow(values, out.dtype, out.row(t), width);
    }
  });
}

std::unique_ptr<BoundKernel> bindSelectRows(const BindContext &context) {
  View x = context.operand(0), rows = context.operand(1),
       out = context.operand(2);
  uint64_t bytes = x.shape[1] * elementBytes(x.dtype);
  return makeKernel([=](uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      int32_t row = reinterpret_cast<const int32_t *>(rows.data)[i];
      if (row >= 0 && uint64_t(row) < x.shape[0])
        std::memcpy(out.row(i), x.row(row), bytes);
    }
  });
}

} // namespace saddle::cpu
