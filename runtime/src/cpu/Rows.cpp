// Rows as codes (encode_rows), and copies of rows: those chosen at run time
// (embedding, select_rows), those that survive steps in pages (keep_rows,
// keep_next_rows, kept_rows), and rows of several tensors one behind the other
// (concat).

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

std::unique_ptr<BoundKernel> bindConcat(const BindContext &context) {
  std::vector<View> inputs(context.operands.begin(),
                           context.operands.end() - 1);
  View out = context.operands.back();
  return makeKernel([=](uint64_t count) {
    for (uint64_t t = 0; t < count; ++t) {
      uint8_t *to = out.row(t);
      for (const View &input : inputs) {
        uint64_t bytes = input.shape[1] * elementBytes(input.dtype);
        std::memcpy(to, input.row(t), bytes);
        to += bytes;
      }
    }
  });
}

std::unique_ptr<BoundKernel> bindEncodeRows(const BindContext &context) {
  View x = context.operand(0), codes = context.operand(1),
       factors = context.operand(2);
  uint64_t width = x.shape[1], group = context.integer("group");
  context.scratch.require(double(width));
  return makeKernel([=, scratch = &context.scratch](uint64_t count) {
    for (uint64_t t = 0; t < count; ++t)
      encodeGroups(asFloats(x.row(t), x.dtype, scratch->data(), width), width,
                   group, codes.row(t),
                   reinterpret_cast<float *>(factors.row(t)));
  });
}

//===--- Rows in pages, [pages, tokens of a page, width] -----------------===//

/// The row of a token slot; null outside the pages.
static uint8_t *keptRow(const View &kept, int64_t slot) {
  auto page = int64_t(kept.shape[1]);
  if (slot < 0 || uint64_t(slot) >= kept.shape[0] * kept.shape[1])
    return nullptr;
  return kept.data + (uint64_t(slot / page) * kept.strides[0] +
                      uint64_t(slot % page) * kept.strides[1]) *
                         elementBytes(kept.dtype);
}

static const int32_t *integers(const View &view) {
  return reinterpret_cast<const int32_t *>(view.data);
}

std::unique_ptr<BoundKernel> bindKeepRows(const BindContext &context) {
  View x = context.operand(0), slots = context.operand(1),
       kept = context.operand(2);
  uint64_t bytes = x.shape[1] * elementBytes(x.dtype);
  return makeKernel([=](uint64_t count) {
    for (uint64_t t = 0; t < count; ++t)
      if (uint8_t *to = keptRow(kept, integers(slots)[t]))
        std::memcpy(to, x.row(t), bytes);
  });
}

std::unique_ptr<BoundKernel> bindKeepNextRows(const BindContext &context) {
  View x = context.operand(0), rows = context.operand(1),
       positions = context.operand(2), sequences = context.operand(3),
       table = context.operand(4), kept = context.operand(5);
  uint64_t bytes = x.shape[1] * elementBytes(x.dtype);
  auto page = int64_t(kept.shape[1]);
  return makeKernel([=](uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      int32_t row = integers(rows)[i];
      if (row < 0 || uint64_t(row) >= positions.shape[0])
        continue;
      int64_t position = int64_t(integers(positions)[row]) + 1;
      int32_t sequence = integers(sequences)[row];
      if (sequence < 0 || uint64_t(sequence) >= table.shape[0] ||
          position < 1 || uint64_t(position / page) >= table.shape[1])
        continue;
      int64_t block = reinterpret_cast<const int32_t *>(
          table.row(uint64_t(sequence)))[position / page];
      if (uint8_t *to = keptRow(kept, block * page + position % page))
        std::memcpy(to, x.row(i), bytes);
    }
  });
}

std::unique_ptr<BoundKernel> bindKeptRows(const BindContext &context) {
  View slots = context.operand(0), kept = context.operand(1),
       out = context.operand(2);
  uint64_t bytes = out.shape[1] * elementBytes(out.dtype);
  return makeKernel([=](uint64_t count) {
    for (uint64_t t = 0; t < count; ++t) {
      if (const uint8_t *from = keptRow(kept, integers(slots)[t]))
        std::memcpy(out.row(t), from, bytes);
      else
        std::memset(out.row(t), 0, bytes);
    }
  });
}

} // namespace saddle::cpu
