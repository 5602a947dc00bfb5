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

/// The factor as [pre, size] with nothing implied.
static AxisRef spell(const Mesh &mesh, AxisRef axis) {
  if (axis && axis.isWhole())
    return {axis.name, 1, mesh.axisSize(axis.name.getValue())};
  return axis;
}

AxisRef Mesh::simplify(AxisRef axis) const {
  if (!axis || factor(axis) == 1)
    return {};
  if (!axis.isWhole() && axis.size == axisSize(axis.name.getValue()))
    return {axis.name, 1, 0};
  return axis;
}

bool Mesh::overlap(AxisRef a, AxisRef b) const {
  if (!a || !b || a.name != b.name)
    return false;
  a = spell(*this, a);
  b = spell(*this, b);
  return a.pre < b.pre * b.size && b.pre < a.pre * a.size;
}

bool Mesh::isMajorFactor(AxisRef part, AxisRef whole) const {
  if (!part || !whole || part.name != whole.name)
    return false;
  part = spell(*this, part);
  whole = spell(*this, whole);
  return part.pre == whole.pre && whole.size % part.size == 0;
}

llvm::SmallVector<AxisRef> Mesh::merge(llvm::ArrayRef<AxisRef> axes) const {
  llvm::SmallVector<AxisRef> sorted;
  for (AxisRef axis : axes)
    if (factor(axis) > 1)
      sorted.push_back(spell(*this, axis));
  llvm::sort(sorted, [](AxisRef a, AxisRef b) {
    return std::make_pair(a.name.getValue(), a.pre) <
           std::make_pair(b.name.getValue(), b.pre);
  });
  llvm::SmallVector<AxisRef> merged;
  for (AxisRef axis : sorted) {
    if (!merged.empty() && merged.back().name == axis.name &&
        merged.back().pre * merged.back().size == axis.pre)
      merged.back().size *= axis.size;
    else
      merged.push_back(axis);
  }
  for (AxisRef &axis : merged)
    axis = simplify(axis);
  return merged;
}

llvm::SmallVector<AxisRef> Mesh::remove(llvm::ArrayRef<AxisRef> axes,
                                        AxisRef part) const {
  llvm::SmallVector<AxisRef> left;
  part = spell(*this, part);
  for (AxisRef axis : axes) {
    if (!overlap(axis, part)) {
      left.push_back(axis);
      continue;
    }
    axis = spell(*this, axis);
    AxisRef major{axis.name, axis.pre, part.pre / axis.pre};
    int64_t end = part.pre * part.size;
    AxisRef minor{axis.name, end, axis.pre * axis.size / end};
    for (AxisRef piece : {major, minor})
      if (piece.size > 1)
        left.push_back(simplify(piece));
  }
  return left;
}
