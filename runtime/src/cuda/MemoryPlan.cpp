#include "runtime/src/cuda/MemoryPlan.h"

#include "runtime/kernels/abi.h"
#include "runtime/src/base/HostMemory.h"
#include "runtime/src/engine/Programs.h"

#include <algorithm>

namespace saddle::cuda {

using schema::ArenaKind;

StatusOr<std::vector<uint32_t>> placeRanks(uint32_t world, uint32_t devices,
                                           bool share) {
  if (devices == 0)
    return makeError(StatusCode::Unsupported,
                     "the engine needs %u device%s, but the CUDA driver sees "
                     "none",
                     world, world == 1 ? "" : "s");
  if (world > devices && !share)
    return makeError(StatusCode::ResourceExhausted,
                     "the engine has %u ranks, which need a device each, but "
                     "this machine has %u; compile for fewer ranks, or let "
                     "ranks share devices (--share-devices, slow)",
                     world, devices);
  if (world > uint64_t(devices) * kMostRanksPerDevice)
    return makeError(StatusCode::ResourceExhausted,
                     "%u ranks cannot share %u devices: at most %u ranks fit "
                     "one",
                     world, devices, kMostRanksPerDevice);
  std::vector<uint32_t> deviceOf(world);
  for (uint32_t rank = 0; rank < world; ++rank)
    deviceOf[rank] =
        world <= devices ? rank : uint32_t(uint64_t(rank) * devices / world);
  return deviceOf;
}

static uint64_t alignUp(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

uint64_t MemoryPlan::stateBytes(uint32_t stage) const {
  return saturatingSum(
      saturatingProduct(pageBytes[stage], counts.pages),
      saturatingProduct(sequenceBytes[stage], counts.sequences));
}

MemoryPlan::MemoryPlan(const schema::Engine &engine, uint64_t granularity) {
  counts.sequences = engine.limits()->max_batch();
  pageSize = engine.limits()->page_size();
  const auto &tables = *engine.arenas();
  std::vector<uint64_t> largest(tables.size());
  for (uint32_t stage = 0; stage < engine.topology()->pp(); ++stage) {
    arenas.push_back(engine::arenaBytesOf(engine, stage));
    uint64_t weights = 0, page = 0, sequence = 0;
    for (uint32_t i = 0; i < tables.size(); ++i) {
      uint64_t bytes = arenas.back()[i];
      largest[i] = std::max(largest[i], bytes);
      ArenaKind kind = tables.Get(i)->kind();
      weights += kind == ArenaKind::CONSTANT ? bytes : 0;
      page += kind == ArenaKind::PAGES ? bytes : 0;
      sequence += kind == ArenaKind::SEQUENCES ? bytes : 0;
    }
    weightBytes.push_back(weights);
    pageBytes.push_back(page);
    sequenceBytes.push_back(sequence);
  }

  heapOffsets.assign(tables.size(), kNotInHeap);
  uint64_t used = 0;
  bool hasStep = false;
  for (ArenaKind kind :
       {ArenaKind::IO, ArenaKind::TRANSIENT, ArenaKind::EXCHANGE})
    for (uint32_t i = 0; i < tables.size(); ++i) {
      if (tables.Get(i)->kind() != kind)
        continue;
      uint64_t alignment = std::max<uint64_t>(tables.Get(i)->alignment(), 256);
      if (kind == ArenaKind::IO && !hasStep) {
        // The header ends where the inputs begin.
        used = alignUp(sizeof(device::Step), alignment);
        stepOffset = used - sizeof(device::Step);
        hasStep = true;
      }
      heapOffsets[i] = alignUp(used, alignment);
      used = heapOffsets[i] + largest[i];
    }
  if (!hasStep) {
    stepOffset = alignUp(used, 256);
    used = stepOffset + sizeof(device::Step);
  }
  heapBytes = alignUp(used, granularity);
}

uint64_t roomForPages(const schema::Engine &engine, const MemoryPlan &plan,
                      const std::vector<uint32_t> &deviceOfRank,
                      const std::vector<DeviceRoom> &devices) {
  uint32_t tp = engine.topology()->tp();
  uint64_t room = UINT64_MAX;
  for (uint32_t device = 0; device < devices.size(); ++device) {
    uint64_t page = 0, rest = 0;
    for (uint32_t rank = 0; rank < deviceOfRank.size(); ++rank) {
      if (deviceOfRank[rank] != device)
        continue;
      uint32_t stage = rank / tp;
      page += plan.pageBytes[stage];
      rest = saturatingSum(
          rest, saturatingSum(plan.weightBytes[stage] + plan.heapBytes,
                              saturatingProduct(plan.sequenceBytes[stage],
                                                plan.counts.sequences)));
    }
    if (page == 0)
      continue;
    uint64_t used = saturatingSum(rest, kReservedBytes);
    uint64_t free = devices[device].freeBytes;
    room = std::min(room, free > used ? (free - used) / page : 0);
  }
  return room;
}

Status checkMemory(const schema::Engine &engine, const MemoryPlan &plan,
                   const std::vector<uint32_t> &deviceOfRank,
                   const std::vector<DeviceRoom> &devices) {
  uint32_t tp = engine.topology()->tp();
  for (uint32_t device = 0; device < devices.size(); ++device) {
    uint64_t weights = 0, state = 0, heap = 0;
    uint32_t first = 0, ranks = 0;
    for (uint32_t rank = 0; rank < deviceOfRank.size(); ++rank) {
      if (deviceOfRank[rank] != device)
        continue;
      first = ranks++ == 0 ? rank : first;
      weights += plan.weightBytes[rank / tp];
      state = saturatingSum(state, plan.stateBytes(rank / tp));
      heap += plan.heapBytes;
    }
    uint64_t needed = saturatingSum(state, weights + heap + kReservedBytes);
    if (ranks == 0 || needed <= devices[device].freeBytes)
      continue;
    constexpr double kGiB = 1 << 30;
    std::string which = ranks == 1
                            ? "rank " + std::to_string(first) + " needs"
                            : "ranks " + std::to_string(first) + " to " +
                                  std::to_string(first + ranks - 1) + " need";
    return makeError(
        StatusCode::ResourceExhausted,
        "%s: %s %.2f GiB (weights %.2f, KV cache %.2f, activations and "
        "exchanges %.2f, reserved %.2f), but %.2f GiB are free, %.2f GiB too "
        "few; ask for fewer --kv-tokens, or compile with a smaller --max-batch "
        "or for more ranks",
        devices[device].name.c_str(), which.c_str(), double(needed) / kGiB,
        double(weights) / kGiB, double(state) / kGiB, double(heap) / kGiB,
        double(kReservedBytes) / kGiB, double(devices[device].freeBytes) / kGiB,
        double(needed - devices[device].freeBytes) / kGiB);
  }
  return {};
}

} // namespace saddle::cuda
