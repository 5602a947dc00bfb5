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
  EXPECT_GT(plan.stateBytes(0), plan.stateBytes(1));
  // Two caches of a layer, of 4 tokens of one head of 4 floats.
  EXPECT_EQ(plan.pageBytes[1], 2 * 4 * 4 * 4u);
  plan.counts.pages = 10;
  EXPECT_EQ(plan.stateBytes(1), 10 * plan.pageBytes[1]);
  EXPECT_EQ(plan.slots(), 40u);
  plan.counts.pages = UINT64_MAX;
  EXPECT_EQ(plan.stateBytes(1), UINT64_MAX);
}

TEST(MemoryPlanTest, StateOfSequencesIsForEachSlot) {
  TinyOptions tiny;
  tiny.recurrent = true;
  auto description = deviceEngine(tiny);
  auto engine = load(*description);
  MemoryPlan plan(engine->root(), 4096);
  // 4 heads of 4 x 4 floats, for 4 slots; one page.
  EXPECT_EQ(plan.sequenceBytes[0], 4 * 4 * 4 * 4u);
  EXPECT_EQ(plan.stateBytes(0), plan.pageBytes[0] + 4 * plan.sequenceBytes[0]);
}

TEST(MemoryPlanTest, PagesTakeWhatIsLeft) {
  TinyOptions tiny;
  tiny.tp = 2;
  auto description = deviceEngine(tiny);
  auto engine = load(*description);
  MemoryPlan plan(engine->root(), 4096);
  uint64_t rest = plan.weightBytes[0] + plan.heapBytes;
  uint64_t page = plan.pageBytes[0];
  auto room = [&](std::vector<uint32_t> deviceOf, uint64_t first,
                  uint64_t second) {
    return roomForPages(engine->root(), plan, deviceOf,
                        {{"a", first}, {"b", second}});
  };
  // The device with the least decides.
  uint64_t enough = kReservedBytes + rest + 7 * page;
  EXPECT_EQ(room({0, 1}, enough, enough + page), 7u);
  EXPECT_EQ(room({0, 1}, enough + page - 1, enough - 1), 6u);
  EXPECT_EQ(room({0, 1}, enough, kReservedBytes), 0u);
  // Two ranks on one.
  EXPECT_EQ(room({0, 0}, enough + rest, 0), 3u);
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
  // A page of 3 GiB for each rank: one more state at its end.
  auto far = std::make_unique<schema::SliceT>();
  far->arena = 1;
  far->dtype = schema::DType::F32;
  far->shape = {1, 4, 1};
  far->strides = {4, 1, 1};
  far->offset = (3ull << 30) - 16;
  description->arenas[1]->bytes = 3ull << 30;
  auto state = std::make_unique<schema::StateT>();
  state->name = "far";
  state->kind = schema::StateKind::PAGED;
  state->slice = std::move(far);
  description->programs[0]->states.push_back(std::move(state));
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
  EXPECT_EQ(
      status.message(),
      "device 1 (Fake): ranks 2 to 3 need 6.50 GiB (weights 0.00, KV "
      "cache 6.00, activations and exchanges 0.00, reserved 0.50), but "
      "4.00 GiB are free, 2.50 GiB too few; ask for fewer --kv-tokens, or "
      "compile with a smaller --max-batch or for more ranks");
  devices[0].freeBytes = 3ull << 30;
  status = checkMemory(engine->root(), plan, {0, 1, 2, 3},
                       {devices[0], devices[1], devices[1], devices[1]});
  EXPECT_THAT(status.message(),
              testing::HasSubstr("device 0 (Fake): rank 0 needs 3.50 GiB"));
}

} // namespace
} // namespace saddle::cuda
