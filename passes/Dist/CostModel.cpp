#include "passes/Dist/CostModel.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>

using namespace saddle::dist;

RankGroup saddle::dist::rankGroup(const TargetModel &target, const Mesh &mesh,
                                  llvm::ArrayRef<AxisRef> axes) {
  RankGroup result;
  for (AxisRef axis : axes)
    result.ranks *= mesh.factor(axis);
  for (const std::vector<int64_t> &ranks : mesh.groups(axes))
    // Members stand in rank order.
    result.far |=
        ranks.front() / target.islandRanks != ranks.back() / target.islandRanks;
  return result;
}

static const LinkModel &links(const TargetModel &target, RankGroup group) {
  return group.far ? target.far : target.near;
}

double saddle::dist::scatterTime(const TargetModel &target, RankGroup group,
                                 double bytes) {
  if (group.ranks == 1)
    return 0;
  const LinkModel &link = links(target, group);
  auto ranks = static_cast<double>(group.ranks);
  return link.hopMicroseconds +
         bytes / ranks * (ranks - 1) / link.bytesPerMicrosecond;
}

double saddle::dist::allReduceTime(const TargetModel &target, RankGroup group,
                                   double bytes) {
  if (group.ranks == 1)
    return 0;
  const LinkModel &link = links(target, group);
  double oneShot =
      link.hopMicroseconds +
      bytes * static_cast<double>(group.ranks - 1) / link.bytesPerMicrosecond;
  return std::min(oneShot, 2 * scatterTime(target, group, bytes));
}

double saddle::dist::memoryTime(const TargetModel &target, double bytes) {
  return bytes / target.memoryBytesPerMicrosecond;
}
