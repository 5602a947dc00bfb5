#include "runtime/src/comm/Exchange.h"

#include "runtime/src/base/Convert.h"

#include <algorithm>
#include <cstring>

namespace saddle::comm {

using schema::CollectiveKind;

/// Calls f(index of all dimensions but the last) for each row of `shape`.
template <typename Function>
static void forEachRow(std::array<uint64_t, kMaxRank> shape, unsigned rank,
                       Function f) {
  std::array<uint64_t, kMaxRank> index{};
  for (unsigned i = 0; i + 1 < rank; ++i)
    if (shape[i] == 0)
      return;
  while (true) {
    f(index);
    unsigned i = rank - 1;
    while (i > 0 && ++index[i - 1] == shape[i - 1])
      index[--i] = 0;
    if (i == 0)
      return;
  }
}

/// Start of the row `index`, `ahead` elements further along `dim`.
static uint8_t *rowAt(const View &view,
                      const std::array<uint64_t, kMaxRank> &index,
                      uint32_t dim = 0, uint64_t ahead = 0) {
  uint64_t offset = ahead * view.strides[dim];
  for (unsigned i = 0; i + 1 < view.rank; ++i)
    offset += index[i] * view.strides[i];
  return view.data + offset * elementBytes(view.dtype);
}

/// sums = the members' rows `index`, `ahead` further along `dim`, added in rank
/// order.
static void addRows(const std::vector<Buffers> &members,
                    const std::array<uint64_t, kMaxRank> &index, uint32_t dim,
                    uint64_t ahead, uint64_t width, float *sums, float *row) {
  for (size_t m = 0; m < members.size(); ++m) {
    const View &input = members[m].input;
    const uint8_t *source = rowAt(input, index, dim, ahead);
    if (m == 0) {
      loadRow(source, input.dtype, sums, width);
      continue;
    }
    loadRow(source, input.dtype, row, width);
    for (uint64_t i = 0; i < width; ++i)
      sums[i] += row[i];
  }
}

void exchange(CollectiveKind kind, uint32_t dim, uint64_t count,
              const std::vector<Buffers> &members,
              std::vector<float> &scratch) {
  // The part that one member contributes (gather) or receives (the others).
  View part =
      kind == CollectiveKind::ALL_GATHER ? members[0].input : members[0].output;
  part.shape[0] = std::min(part.shape[0], count);
  uint64_t width = part.shape[part.rank - 1];
  if (width == 0)
    return;
  if (scratch.size() < 2 * width)
    scratch.resize(2 * width);
  float *sums = scratch.data(), *row = sums + width;

  if (kind == CollectiveKind::ALL_REDUCE_SUM) {
    forEachRow(part.shape, part.rank, [&](const auto &index) {
      addRows(members, index, 0, 0, width, sums, row);
      for (const Buffers &member : members)
        storeRow(sums, member.output.dtype, rowAt(member.output, index), width);
    });
    return;
  }
  uint64_t length = part.shape[dim];
  for (size_t m = 0; m < members.size(); ++m)
    forEachRow(part.shape, part.rank, [&](const auto &index) {
      if (kind == CollectiveKind::ALL_GATHER) {
        const uint8_t *source = rowAt(members[m].input, index);
        for (const Buffers &member : members)
          std::memmove(rowAt(member.output, index, dim, m * length), source,
                       width * elementBytes(part.dtype));
        return;
      }
      addRows(members, index, dim, m * length, width, sums, row);
      const View &output = members[m].output;
      storeRow(sums, output.dtype, rowAt(output, index), width);
    });
}

} // namespace saddle::comm
