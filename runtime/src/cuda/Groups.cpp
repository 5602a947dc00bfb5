#include "runtime/src/cuda/Groups.h"

#include "runtime/src/engine/Extents.h"

#include <algorithm>

namespace saddle::cuda {

static device::Group makeGroup(const schema::Topology &topology,
                               const std::vector<uint32_t> &ranks,
                               uint32_t rank, uint64_t stride) {
  device::Group group = {};
  group.size = uint32_t(ranks.size());
  group.rank = rank;
  group.width = engine::attentionWidth(topology);
  for (uint32_t i = 0; i < ranks.size(); ++i) {
    if (ranks[i] == rank)
      group.index = i;
    group.ranks[i] = ranks[i];
    group.replicas[i] = engine::coordinatesOf(topology, ranks[i]).replica;
    group.peers[i] = (int64_t(ranks[i]) - int64_t(rank)) * int64_t(stride);
  }
  return group;
}

std::vector<device::Group> groupsOf(const schema::Engine &engine, uint32_t rank,
                                    uint64_t stride) {
  const schema::Topology &topology = *engine.topology();
  std::vector<device::Group> result;
  for (const schema::RankGroups *groups : *engine.rank_groups()) {
    const auto &ranks = *groups->ranks();
    uint32_t place =
        uint32_t(std::find(ranks.begin(), ranks.end(), rank) - ranks.begin());
    auto first = ranks.begin() + place / groups->size() * groups->size();
    result.push_back(makeGroup(
        topology, std::vector<uint32_t>(first, first + groups->size()), rank,
        stride));
  }
  uint32_t tp = topology.tp(), world = tp * topology.pp();
  bool receives = rank >= tp, sends = rank + tp < world;
  result.push_back(receives
                       ? makeGroup(topology, {rank - tp, rank}, rank, stride)
                       : device::Group{});
  result.push_back(sends ? makeGroup(topology, {rank, rank + tp}, rank, stride)
                         : device::Group{});
  return result;
}

} // namespace saddle::cuda
