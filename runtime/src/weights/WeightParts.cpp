// Cutting weights into parts that fit a staging buffer.

#include "runtime/src/weights/WeightLoader.h"
#include "runtime/src/weights/WeightShape.h"

#include <algorithm>

namespace saddle {

using weights::WeightShape;

uint64_t partOffset(const schema::Slice &slice, const WeightPart &part) {
  WeightShape shape(slice);
  return shape.unit * (part.firstMember * shape.memberStride +
                       part.firstRow * shape.rowStride);
}

uint64_t partBytes(const schema::Slice &slice, const WeightPart &part) {
  WeightShape shape(slice);
  return shape.unit * ((part.members - 1) * shape.memberStride +
                       (part.rows - 1) * shape.rowStride + shape.cols);
}

std::vector<WeightPart> splitWeight(const schema::Slice &slice,
                                    uint64_t mostBytes) {
  WeightShape shape(slice);
  std::vector<WeightPart> parts;
  uint64_t memberBytes =
      shape.unit * std::max(shape.memberStride, shape.rows * shape.rowStride);
  bool followEachOther = shape.memberStride == shape.rows * shape.rowStride;
  if (memberBytes <= mostBytes) {
    uint64_t together =
        followEachOther && memberBytes ? mostBytes / memberBytes : 1;
    for (uint64_t m = 0; m < shape.members; m += together)
      parts.push_back(
          {m, std::min(together, shape.members - m), 0, shape.rows});
    return parts;
  }
  uint64_t rows =
      std::max<uint64_t>(1, mostBytes / (shape.unit * shape.rowStride));
  for (uint64_t m = 0; m < shape.members; ++m)
    for (uint64_t row = 0; row < shape.rows; row += rows)
      parts.push_back({m, 1, row, std::min(rows, shape.rows - row)});
  return parts;
}

} // namespace saddle
