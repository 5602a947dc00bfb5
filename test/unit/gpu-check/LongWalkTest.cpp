// Walks of the reference kernel, and of one with a fault.

#include "test/gpu/KernelCheck/LongWalk.h"

#include "runtime/src/cpu/Kernels.h"
#include "test/unit/engine/TinyEngine.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace saddle::check {
namespace {

using testing::HasSubstr;

/// Puts SiLU before every decay_scan, in the same kernel, whose outputs then
/// stand last: qkv, positions, sequences, out, state.
void activate(schema::EngineT &engine) {
  for (const auto &program : engine.programs)
    for (const auto &entry : program->entries)
      for (const auto &command : entry->commands) {
        schema::LaunchT *launch = command->action.AsLaunch();
        if (!launch || engine.kernels[launch->kernel]->op != "decay_scan")
          continue;
        auto fused =
            std::make_unique<schema::KernelT>(*engine.kernels[launch->kernel]);
        fused->name = fused->op = "silu_decay_scan";
        auto silu = std::make_unique<schema::BodyOpT>(),
             scan = std::make_unique<schema::BodyOpT>();
        silu->op = "silu";
        silu->operands = {0, 5};
        scan->op = "decay_scan";
        scan->operands = {5, 1, 2, 4, 3};
        scan->attributes = std::move(fused->attributes);
        fused->attributes.clear();
        fused->body.push_back(std::move(silu));
        fused->body.push_back(std::move(scan));
        auto activated = std::make_unique<schema::TemporaryT>();
        activated->dtype = entry->slices[launch->operands[0]]->dtype;
        activated->shape = {entry->slices[launch->operands[0]]->shape[1]};
        fused->temporaries.push_back(std::move(activated));
        std::swap(launch->operands[3], launch->operands[4]);
        launch->kernel = uint32_t(engine.kernels.size());
        engine.kernels.push_back(std::move(fused));
      }
}

class LongWalkTest : public testing::Test {
protected:
  void SetUp() override { make(false); }
  void make(bool activated) {
    TinyOptions options;
    options.layers = 2;
    options.prefillChunk = 64;
    options.maxSeqLen = 64;
    options.maxBatch = 2;
    options.recurrent = true;
    std::unique_ptr<schema::EngineT> engine = tinyEngine(options);
    if (activated)
      activate(*engine);
    file = flatBufferOf(*engine);
    launches = slowestScan(*schema::GetEngine(file.data()), 0, place);
  }
  StatusOr<LongWalkErrors>
  run(Gait gait,
      const std::function<void(uint64_t, const Operands &)> &damage = nullptr) {
    return walk(launches, {gait, 500, 7, 2},
                [&](const LaunchCase &launch, uint64_t count,
                    const Operands &operands) -> Status {
                  std::vector<View> views;
                  for (const auto &operand : operands)
                    views.push_back(operand->view());
                  cpu::Scratch scratch;
                  auto kernel = cpu::bindLaunch(*launch.kernel, views,
                                                launch.rank, scratch);
                  SADDLE_RETURN_IF_ERROR(scratch.allocate());
                  kernel->run(count);
                  if (damage)
                    damage(count, operands);
                  return {};
                });
  }

  std::vector<uint8_t> file;
  std::string place;
  std::vector<LaunchCase> launches;
};

TEST_F(LongWalkTest, TheReferenceStaysNearTheLoopInEveryGait) {
  // Of one layer, in an entry for decodes and one for prompts.
  ASSERT_EQ(launches.size(), 2u);
  EXPECT_EQ(place, "model.layers.0.self_attn.scan");
  uint64_t launchesOf[3];
  for (Gait gait : {Gait::Chunks, Gait::Odd, Gait::Decodes}) {
    StatusOr<LongWalkErrors> errors = run(gait);
    ASSERT_TRUE(errors.ok()) << errors.status().message();
    EXPECT_LE(errors->state, 1e-6);
    EXPECT_LE(errors->outputs, 5e-6); // a row has four values
    launchesOf[size_t(gait)] = errors->launches;
  }
  EXPECT_EQ(launchesOf[size_t(Gait::Chunks)], 8u); // of 64 tokens
  EXPECT_GT(launchesOf[size_t(Gait::Odd)], 9u);
  EXPECT_EQ(launchesOf[size_t(Gait::Decodes)], 500u);
}

TEST_F(LongWalkTest, SiLUInTheSameLaunchIsPartOfTheLoop) {
  make(true);
  ASSERT_EQ(launches.size(), 2u);
  EXPECT_EQ(launches[0].kernel->op()->str(), "silu_decay_scan");
  StatusOr<LongWalkErrors> errors = run(Gait::Odd);
  ASSERT_TRUE(errors.ok()) << errors.status().message();
  EXPECT_LE(errors->state, 1e-6);
  EXPECT_LE(errors->outputs, 5e-6);
  // Its out and state have changed places.
  EXPECT_EQ(outputOf(launches[0]), 3u);
  errors = run(Gait::Odd, [](uint64_t, const Operands &operands) {
    auto *value = reinterpret_cast<float *>(operands[4]->view().row(1));
    *value = std::isnan(*value) ? 1 : *value + 0.01f;
  });
  ASSERT_TRUE(errors.ok());
  EXPECT_GT(errors->state, 1e-4);
}

TEST_F(LongWalkTest, AnErrorInAStateOrAnOutputIsFound) {
  // The state's second slot; the first is nobody's.
  auto nudge = [](size_t operand, uint64_t row) {
    return [=](uint64_t, const Operands &operands) {
      auto *value =
          reinterpret_cast<float *>(operands[operand]->view().row(row));
      *value = std::isnan(*value) ? 1 : *value + 0.01f;
    };
  };
  StatusOr<LongWalkErrors> errors = run(Gait::Odd, nudge(3, 1));
  ASSERT_TRUE(errors.ok());
  EXPECT_GT(errors->state, 1e-4);
  errors = run(Gait::Chunks, nudge(4, 0));
  ASSERT_TRUE(errors.ok());
  EXPECT_LE(errors->state, 1e-6);
  EXPECT_GT(errors->outputs, 1e-4);
  errors = run(Gait::Chunks, nudge(3, 0));
  ASSERT_FALSE(errors.ok());
  EXPECT_THAT(errors.status().message(),
              HasSubstr("of a slot that no token names"));
}

TEST_F(LongWalkTest, ANaNIsAnInfiniteError) {
  StatusOr<LongWalkErrors> errors =
      run(Gait::Chunks, [](uint64_t, const Operands &operands) {
        *reinterpret_cast<float *>(operands[4]->view().row(0)) = NAN;
      });
  ASSERT_TRUE(errors.ok());
  EXPECT_EQ(errors->outputs, INFINITY);
}

} // namespace
} // namespace saddle::check
