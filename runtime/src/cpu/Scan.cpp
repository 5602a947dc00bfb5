// decay_scan: linear attention, token by token over the state of each sequence,
// [slots, heads, rows, cols].

#include "runtime/src/base/Slopes.h"
#include "runtime/src/cpu/Binding.h"
#include "runtime/src/cpu/Vector.h"

#include <algorithm>
#include <cmath>

namespace saddle::cpu {

std::unique_ptr<BoundKernel> bindDecayScan(const BindContext &context) {
  View qkv = context.operand(0), positions = context.operand(1),
       sequences = context.operand(2), state = context.operand(3),
       out = context.operand(4);
  uint64_t slots = state.shape[0], heads = state.shape[1],
           rows = state.shape[2], cols = state.shape[3];
  uint64_t width = qkv.shape[1], valueWidth = out.shape[1];
  // Decay minus one. The slowest decays are so near to one that fp32 would
  // round off up to 6e-4 of the distance, and the error adds up for as many
  // tokens as the head remembers.
  std::vector<float> losses(heads);
  for (uint64_t head = 0; head < heads; ++head)
    losses[head] =
        float(std::expm1(-context.attributes.real("rate") *
                         alibiSlope(context.rankValue("head_start") + head,
                                    context.integer("heads"))));
  context.scratch.require(double(width) + double(valueWidth));

  return makeKernel([=, losses = std::move(losses),
                     scratch = &context.scratch](uint64_t count) {
    float *buffer = scratch->data(), *result = buffer + width;
    for (uint64_t t = 0; t < count; ++t) {
      std::fill_n(result, valueWidth, 0.0f);
      int32_t position = reinterpret_cast<const int32_t *>(positions.data)[t];
      int32_t sequence = reinterpret_cast<const int32_t *>(sequences.data)[t];
      bool real = position >= 0 && sequence >= 0 && uint64_t(sequence) < slots;
      const float *query = asFloats(qkv.row(t), qkv.dtype, buffer, width);
      for (uint64_t head = 0; real && head < heads; ++head) {
        const float *key = query + rows, *value = key + rows;
        auto *matrix =
            reinterpret_cast<float *>(state.row(uint64_t(sequence))) +
            head * state.strides[1];
        float *sums = result + head * cols;
        float loss = losses[head];
        for (uint64_t row = 0; row < rows; ++row) {
          float *held = matrix + row * state.strides[2];
          float add = key[row], ask = query[row];
          // Whatever a sequence before left in the slot does not matter.
          if (position == 0)
            std::fill_n(held, cols, 0.0f);
          for (uint64_t col = 0; col < cols; ++col) {
            held[col] += loss * held[col] + add * value[col];
            sums[col] += ask * held[col];
          }
        }
        query = value + cols;
      }
      storeRow(result, out.dtype, out.row(t), valueWidth);
    }
  });
}

} // namespace saddle::cpu
