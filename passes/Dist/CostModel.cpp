#include "passes/Dist/CostModel.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>

using namespace saddle;
using namespace saddle::dist;

RankGroup saddle::dist::rankGroup(const Machine &machine, const Mesh &mesh,
                                  llvm::ArrayRef<AxisRef> axes) {
  RankGroup result;
  for (AxisRef axis : axes)
    result.ranks *= mesh.factor(axis);
  for (const std::vector<int64_t> &ranks : mesh.groups(axes))
    // Members stand in rank order.
    result.far |= ranks.front() / machine.islandRanks !=
                  ranks.back() / machine.islandRanks;
  return result;
}

static const Link &links(const Machine &machine, RankGroup group) {
  return group.far ? machine.far : machine.near;
}

double saddle::dist::scatterTime(const Machine &machine, RankGroup group,
                                 double bytes) {
  if (group.ranks == 1)
    return 0;
  const Link &link = links(machine, group);
  auto ranks = static_cast<double>(group.ranks);
  return link.hopMicroseconds +
         bytes / ranks * (ranks - 1) / link.bytesPerMicrosecond;
}

double saddle::dist::allReduceTime(const Machine &machine, RankGroup group,
                                   double bytes) {
  if (group.ranks == 1)
    return 0;
  const Link &link = links(machine, group);
  double oneShot =
      link.hopMicroseconds +
      bytes * static_cast<double>(group.ranks - 1) / link.bytesPerMicrosecond;
  return std::min(oneShot, 2 * scatterTime(machine, group, bytes));
}

double saddle::dist::memoryTime(const Machine &machine, double bytes) {
  return bytes / machine.memoryBytesPerMicrosecond;
}
