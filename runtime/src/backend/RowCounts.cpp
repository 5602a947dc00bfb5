#include "runtime/src/backend/RowCounts.h"

#include <algorithm>
#include <numeric>

namespace saddle::backend {

using schema::Extent;
using schema::RowLayout;

RowCounts::RowCounts(const schema::Topology &topology, uint32_t rank)
    : coordinates(engine::coordinatesOf(topology, rank)),
      width(engine::attentionWidth(topology)), blocks(width), shares(width) {}

uint64_t firstRow(RowLayout layout, const std::vector<uint64_t> &counts,
                  uint32_t replica) {
  if (layout == RowLayout::PADDED)
    return replica * *std::max_element(counts.begin(), counts.end());
  return std::accumulate(counts.begin(), counts.begin() + replica, uint64_t(0));
}

void RowCounts::set(const Batch &newBatch, const RowRules &entry) {
  batch = &newBatch;
  uint32_t replicas = uint32_t(batch->tokenCounts.size());
  uint64_t tokens = batch->tokenCounts[coordinates.replica];
  counts[size_t(Extent::TOKENS)] = tokens;
  counts[size_t(Extent::ROWS)] = batch->rowCounts[coordinates.replica];
  counts[size_t(Extent::ALL_TOKENS)] =
      firstRow(entry.allTokens, batch->tokenCounts, replicas);
  counts[size_t(Extent::ALL_ROWS)] =
      firstRow(entry.allRows, batch->rowCounts, replicas);
  auto divide = [&](std::vector<uint64_t> &parts, uint64_t room) {
    for (uint32_t i = 0; i < width; ++i)
      parts[i] = tokens < i * room ? 0 : std::min(room, tokens - i * room);
    return parts[coordinates.member];
  };
  counts[size_t(Extent::TOKEN_BLOCK)] = divide(blocks, entry.tokens / width);
  counts[size_t(Extent::TOKEN_SHARE)] =
      divide(shares, (tokens + width - 1) / width);
}

comm::Counts RowCounts::ofMembers(const schema::Collective &collective) const {
  Extent extent = collective.extent();
  if (!engine::isAlongRows(collective))
    return {&counts[size_t(extent)], 1};
  if (collective.layout() == RowLayout::BLOCKS)
    return blocks;
  if (collective.layout() == RowLayout::SHARES)
    return shares;
  bool isRows = extent == Extent::ROWS || extent == Extent::ALL_ROWS;
  return isRows ? batch->rowCounts : batch->tokenCounts;
}

RowShare outputShare(const schema::Topology &topology, uint32_t rank,
                     uint64_t rows, bool isAlone) {
  uint64_t tp = topology.tp();
  if (rank / tp + 1 != topology.pp())
    return {0, 0};
  if (isAlone)
    return {0, rows};
  uint64_t place = rank % tp;
  return {rows * place / tp, rows * (place + 1) / tp};
}

} // namespace saddle::backend
