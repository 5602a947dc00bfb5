// decay_scan: linear attention, token by token over the state of each sequence,
// [slots, heads, rows, cols].

#include "runtime/src/cpu/Binding.h"
#include "runtime/src/cpu/Vector.h"

#include <algorithm>

namespace saddle::cpu {

std::unique_ptr<BoundKernel> bindDecayScan(const BindContext &context) {
  View q = context.operand(0), k = context.operand(1), v = context.operand(2),
       decay = context.operand(3), positions = context.operand(4),
       sequences = context.operand(5), state = context.operand(6),
       out = context.operand(7);
  uint64_t slots = state.shape[0], heads = state.shape[1],
           rows = state.shape[2], cols = state.shape[3];
  uint64_t keyWidth = q.shape[1], valueWidth = v.shape[1];
  context.scratch.require(2 * double(keyWidth) + 2 * double(valueWidth));

  return makeKernel([=, scratch = &context.scratch](uint64_t count) {
    float *qBuffer = scratch->data(), *kBuffer = qBuffer + keyWidth,
          *vBuffer = kBuffer + keyWidth, *result = vBuffer + valueWidth;
    const auto *factors = reinterpret_cast<const float *>(decay.data);
    for (uint64_t t = 0; t < count; ++t) {
      std::fill_n(result, valueWidth, 0.0f);
      int32_t position = reinterpret_cast<const int32_t *>(positions.data)[t];
      int32_t sequence = reinterpret_cast<const int32_t *>(sequences.data)[t];
      bool real = position >= 0 && sequence >= 0 && uint64_t(sequence) < slots;
      const float *query = asFloats(q.row(t), q.dtype, qBuffer, keyWidth);
      const float *key = asFloats(k.row(t), k.dtype, kBuffer, keyWidth);
      const float *value = asFloats(v.row(t), v.dtype, vBuffer, valueWidth);
      for (uint64_t head = 0; real && head < heads; ++head) {
        auto *matrix =
            reinterpret_cast<float *>(state.row(uint64_t(sequence))) +
            head * state.strides[1];
        float *sums = result + head * cols;
        for (uint64_t row = 0; row < rows; ++row) {
          float *held = matrix + row * state.strides[2];
          float keep = factors[head], add = key[head * rows + row],
                ask = query[head * rows + row];
          const float *values = value + head * cols;
          // Whatever a sequence before left in the slot does not matter.
          if (position == 0)
            std::fill_n(held, cols, 0.0f);
          for (uint64_t col = 0; col < cols; ++col) {
            held[col] = keep * held[col] + add * values[col];
            sums[col] += ask * held[col];
          }
        }
      }
      storeRow(result, out.dtype, out.row(t), valueWidth);
    }
  });
}

} // namespace saddle::cpu
