// Ranks to devices, the layout of the symmetric part, and what does not fit.

#include "runtime/src/cuda/MemoryPlan.h"
#include "runtime/kernels/abi.h"
#include "test/unit/cuda/DeviceEngine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace saddle::cuda {
namespace {

using Ranks = std::vector<uint32_t>;

TEST(PlaceRanksTest, ARankHasADeviceOfItsOwnWhereThereAreEnough) {
  EXPECT_EQ(*placeRanks(3, 8, false), (Ranks{0, 1, 2}));
  EXPECT_EQ(*placeRanks(3, 8, true), (Ranks{0, 1, 2}));
  EXPECT_EQ(*placeRanks(2, 2, false), (Ranks{0, 1}));
}

TEST(PlaceRanksTest, SharingRanksAreBlocksOfNeighbours) {
  EXPECT_EQ(*placeRanks(4, 1, true), (Ranks{0, 0, 0, 0}));
  EXPECT_EQ(*placeRanks(8, 2, true), (Ranks{0, 0, 0, 0, 1, 1, 1, 1}));
  EXPECT_EQ(*placeRanks(5, 2, true), (Ranks{0, 0, 0, 1, 1}));
}

TEST(PlaceRanksTest, Refusals) {
  Status status = placeRanks(4, 1, false).status();
  EXPECT_EQ(status.code(), StatusCode::ResourceExhausted);
  EXPECT_EQ(status.message(),
            "the engine has 4 ranks, which need a device each, but this "
            "machine has 1; compile for fewer ranks, or let ranks share "
            "devices (--share-devices, slow)");
  status = placeRanks(33, 1, true).status();
  EXPECT_EQ(status.code(), StatusCode::ResourceExhausted);
  EXPECT_EQ(status.message(),
            "33 ranks cannot share 1 devices: at most 32 ranks fit one");
  EXPECT_EQ(placeRanks(32, 1, true)->size(), 32u);
  status = placeRanks(2, 0, true).status();
  EXPECT_EQ(status.code(), StatusCode::Unsupported);
  EXPECT_EQ(status.message(),
            "the engine needs 2 devices, but the CUDA driver sees none");
}

TEST(MemoryPlanTest, TheHeapIsTheSameForAllStages) {
  TinyOptions tiny;
  tiny.tp = 2;
  tiny.pp = 2;
  tiny.layers = 3; // two in the first stage
  auto description = deviceEngine(tiny);
  auto engine = load(*description);
  constexpr uint64_t kGranularity = 1 << 16;
  MemoryPlan plan(engine->root(), kGranularity);
  // Arenas: weights, kv, activations, io, exchange.
  EXPECT_EQ(plan.heapOffsets[0], MemoryPlan::kNotInHeap);
  EXPECT_EQ(plan.heapOffsets[1], MemoryPlan::kNotInHeap);
  // The header, 768 bytes, ends where io begins.
  EXPECT_EQ(plan.stepOffset, 0u);
  EXPECT_EQ(plan.heapOffsets[3], sizeof(device::Step));
  EXPECT_GE(plan.heapOffsets[2],
            plan.heapOffsets[3] +
                std::max(plan.arenas[0][3], plan.arenas[1][3]));
  EXPECT_GE(plan.heapOffsets[4],
            plan.heapOffsets[2] +
                std::max(plan.arenas[0][2], plan.arenas[1][2]));
  EXPECT_EQ(plan.heapOffsets[2] % 256, 0u);
  EXPECT_EQ(plan.heapOffsets[4] % 256, 0u);
  // Two blocks: groups "tp" and the transfers.
  EXPECT_GE(plan.heapBytes, plan.heapOffsets[4] + 2 * kExchangeBytes);
  EXPECT_EQ(plan.heapBytes % kGranularity, 0u);
  // The stage of two layers has more of both.
  EXPECT_GT(plan.stateBytes[0], plan.stateBytes[1]);
  EXPECT_EQ(plan.bytesOfRank(1),
            plan.weightBytes[1] + plan.stateBytes[1] + plan.heapBytes);
}

TEST(MemoryPlanTest, TheStepHeaderKeepsALargeAlignment) {
  auto description = deviceEngine({});
  description->arenas[3]->alignment = 4096;
  auto engine = load(*description);
  MemoryPlan plan(engine->root(), 4096);
  EXPECT_EQ(plan.heapOffsets[3], 4096u);
  EXPECT_EQ(plan.stepOffset, 4096 - sizeof(device::Step));
}

TEST(MemoryPlanTest, WhatDoesNotFitIsNamed) {
  TinyOptions tiny;
  tiny.tp = 4;
  auto description = deviceEngine(tiny);
  // 3 GiB of KV cache for each rank: one more value of it at the end.
  auto far = std::make_unique<schema::SliceT>();
  far->arena = 1;
  far->dtype = schema::DType::F32;
  far->shape = far->strides = {1};
  far->offset = (3ull << 30) - 4;
  description->arenas[1]->bytes = 3ull << 30;
  description->programs[0]->entries[0]->slices.push_back(std::move(far));
  auto engine = load(*description);
  MemoryPlan plan(engine->root(), 4096);
  std::vector<DeviceRoom> devices = {{"device 0 (Fake)", 8ull << 30},
                                     {"device 1 (Fake)", 4ull << 30}};
  EXPECT_TRUE(
      checkMemory(engine->root(), plan, {0, 0, 1, 1}, {devices[0], devices[0]})
          .ok());
  // 2 x 3 GiB and 0.5 GiB in reserve, of 4 GiB.
  Status status = checkMemory(engine->root(), plan, {0, 0, 1, 1}, devices);
  EXPECT_EQ(status.code(), StatusCode::ResourceExhausted);
  EXPECT_EQ(status.message(),
            "device 1 (Fake): ranks 2 to 3 need 6.50 GiB (weights 0.00, KV "
            "cache 6.00, activations and exchanges 0.00, reserved 0.50), but "
            "4.00 GiB are free, 2.50 GiB too few; compile with a smaller "
            "--max-batch or --max-seq-len, or for more ranks");
  devices[0].freeBytes = 3ull << 30;
  status = checkMemory(engine->root(), plan, {0, 1, 2, 3},
                       {devices[0], devices[1], devices[1], devices[1]});
  EXPECT_THAT(status.message(),
              testing::HasSubstr("device 0 (Fake): rank 0 needs 3.50 GiB"));
}

} // namespace
} // namespace saddle::cuda
