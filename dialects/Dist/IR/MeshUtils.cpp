#include "dialects/Dist/IR/MeshUtils.h"

#include "llvm/ADT/STLExtras.h"

#include <map>

using namespace saddle::dist;

int64_t Mesh::size() const {
  int64_t product = 1;
  for (int64_t axis : sizes)
    product *= axis;
  return product;
}

int64_t Mesh::axisSize(llvm::StringRef name) const {
  for (auto [axis, extent] : llvm::zip_equal(names, sizes))
    if (axis == name)
      return extent;
  return 0;
}

bool Mesh::has(AxisRef axis) const {
  int64_t whole = axis ? axisSize(axis.name.getValue()) : 0;
  if (whole == 0)
    return false;
  return axis.isWhole() ||
         (axis.pre > 0 && axis.size > 0 && whole % (axis.pre * axis.size) == 0);
}

bool Mesh::disjoint(AxisRef a, AxisRef b) const {
  if (a.name != b.name)
    return true;
  auto precedes = [&](AxisRef major, AxisRef minor) {
    return minor.pre % (major.pre * factor(major)) == 0;
  };
  return precedes(a, b) || precedes(b, a);
}

int64_t Mesh::factor(AxisRef axis) const {
  if (!axis)
    return 1;
  return axis.isWhole() ? axisSize(axis.name.getValue()) : axis.size;
}

RankIndex Mesh::rankIndex(AxisRef axis) const {
  if (!axis)
    return {1, 1};
  int64_t stride = 1; // ranks between neighbours along the axis
  for (size_t i = names.size(); i-- > 0;) {
    if (names[i] == axis.name.getValue())
      break;
    stride *= sizes[i];
  }
  if (axis.isWhole())
    return {stride, axisSize(axis.name.getValue())};
  int64_t minor = axisSize(axis.name.getValue()) / (axis.pre * axis.size);
  return {stride * minor, axis.size};
}

std::vector<std::vector<int64_t>>
Mesh::groups(llvm::ArrayRef<AxisRef> axes) const {
  // The group of a rank is named by its smallest member: the rank with its
  // shares along `axes` taken away.
  std::map<int64_t, std::vector<int64_t>> byFirst;
  for (int64_t rank = 0, e = size(); rank < e; ++rank) {
    int64_t first = rank;
    for (AxisRef axis : axes) {
      RankIndex index = rankIndex(axis);
      first -= ((rank / index.divisor) % index.modulus) * index.divisor;
    }
    byFirst[first].push_back(rank);
  }
  std::vector<std::vector<int64_t>> result;
  for (auto &[first, ranks] : byFirst)
    result.push_back(std::move(ranks));
  return result;
}
