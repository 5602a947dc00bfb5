#include "runtime/src/comm/Exchange.h"

#include "runtime/src/base/Convert.h"

#include <algorithm>
#include <cstring>

namespace saddle::comm {

using schema::CollectiveKind;
using schema::RowLayout;

namespace {

using Index = std::array<uint64_t, kMaxRank>;

/// Calls f(index of all dimensions but the last) for each row of `part`.
template <typename Function>
void forEachRow(const View &part, Function f) {
  for (unsigned i = 0; i < part.rank; ++i)
    if (part.shape[i] == 0)
      return;
  Index index{};
  while (true) {
    f(index);
    unsigned i = part.rank - 1;
    while (i > 0 && ++index[i - 1] == part.shape[i - 1])
      index[--i] = 0;
    if (i == 0)
      return;
  }
}

/// Start of the row `index`, `ahead` elements further along `dim`.
uint8_t *rowAt(const View &view, const Index &index, uint32_t dim = 0,
               uint64_t ahead = 0) {
  uint64_t offset = ahead ? ahead * view.strides[dim] : 0;
  for (unsigned i = 0; i + 1 < view.rank; ++i)
    offset += index[i] * view.strides[i];
  return view.data + offset * elementBytes(view.dtype);
}

uint64_t widthOf(const View &part) { return part.shape[part.rank - 1]; }

/// One collective in progress.
class Exchange {
public:
  Exchange(const Operation &operation, Counts counts,
           const std::vector<Buffers> &members, std::vector<float> &scratch);

  void allReduce();
  void allGather();
  void reduceScatter();

private:
  uint64_t countOf(size_t member) const {
    return counts[counts.size() == 1 ? 0 : member];
  }
  /// The member's own part, as far as it is real.
  View partOf(size_t member) const {
    View part = whole;
    part.shape[0] = std::min(part.shape[0], countOf(member));
    return part;
  }
  /// Where along `dim` the member's part lies on the large side.
  uint64_t startOf(size_t member) const;
  void zeroGap(size_t member);
  /// Adds the members' rows `index`, `ahead` further along `dim`, in rank
  /// order.
  void addRows(const Index &index, uint64_t ahead, uint64_t width);

  const Operation &operation;
  Counts counts;
  const std::vector<Buffers> &members;
  View whole; // a member's part when all its rows are real
  uint64_t largest;
  float *sums, *row;
};

Exchange::Exchange(const Operation &operation, Counts counts,
                   const std::vector<Buffers> &members,
                   std::vector<float> &scratch)
    : operation(operation), counts(counts), members(members),
      whole(operation.kind == CollectiveKind::ALL_GATHER ? members[0].input
                                                         : members[0].output),
      largest(*std::max_element(counts.begin(), counts.end())) {
  uint64_t width = widthOf(whole);
  if (scratch.size() < 2 * width)
    scratch.resize(2 * width);
  sums = scratch.data();
  row = sums + width;
}

uint64_t Exchange::startOf(size_t member) const {
  switch (operation.layout) {
  case RowLayout::PACKED: {
    uint64_t start = 0;
    for (size_t before = 0; before < member; ++before)
      start += countOf(before);
    return start;
  }
  case RowLayout::PADDED:
  case RowLayout::SHARES: // the first has a whole share
    return member * largest;
  default:
    return member * whole.shape[operation.dim];
  }
}

void Exchange::addRows(const Index &index, uint64_t ahead, uint64_t width) {
  for (size_t m = 0; m < members.size(); ++m) {
    const View &input = members[m].input;
    const uint8_t *source = rowAt(input, index, operation.dim, ahead);
    if (m == 0) {
      loadRow(source, input.dtype, sums, width);
      continue;
    }
    loadRow(source, input.dtype, row, width);
    for (uint64_t i = 0; i < width; ++i)
      sums[i] += row[i];
  }
}

void Exchange::allReduce() {
  View part = partOf(0);
  uint64_t width = widthOf(part);
  forEachRow(part, [&](const Index &index) {
    addRows(index, 0, width);
    for (const Buffers &member : members)
      storeRow(sums, member.output.dtype, rowAt(member.output, index), width);
  });
}

void Exchange::allGather() {
  for (size_t m = 0; m < members.size(); ++m) {
    View part = partOf(m);
    uint64_t start = startOf(m);
    uint64_t bytes = widthOf(part) * elementBytes(part.dtype);
    forEachRow(part, [&](const Index &index) {
      const uint8_t *source = rowAt(members[m].input, index);
      for (const Buffers &member : members)
        std::memcpy(rowAt(member.output, index, operation.dim, start), source,
                    bytes);
    });
    if (operation.layout == RowLayout::PADDED)
      zeroGap(m);
  }
}

void Exchange::zeroGap(size_t member) {
  View gap = whole;
  gap.shape[0] = largest - countOf(member);
  uint64_t start = startOf(member) + countOf(member);
  forEachRow(gap, [&](const Index &index) {
    for (const Buffers &each : members)
      std::memset(rowAt(each.output, index, 0, start), 0,
                  widthOf(gap) * elementBytes(gap.dtype));
  });
}

void Exchange::reduceScatter() {
  for (size_t m = 0; m < members.size(); ++m) {
    View part = partOf(m);
    uint64_t start = startOf(m), width = widthOf(part);
    const View &output = members[m].output;
    forEachRow(part, [&](const Index &index) {
      addRows(index, start, width);
      storeRow(sums, output.dtype, rowAt(output, index), width);
    });
  }
}

} // namespace

void exchange(const Operation &operation, Counts counts,
              const std::vector<Buffers> &members,
              std::vector<float> &scratch) {
  Exchange collective(operation, counts, members, scratch);
  switch (operation.kind) {
  case CollectiveKind::ALL_REDUCE_SUM:
    return collective.allReduce();
  case CollectiveKind::ALL_GATHER:
    return collective.allGather();
  case CollectiveKind::REDUCE_SCATTER_SUM:
    return collective.reduceScatter();
  case CollectiveKind::UNKNOWN:
    break;
  }
}

} // namespace saddle::comm
